//! What a vault says.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use sheaf_crypto::{DeviceId, EpochId, SignedOperation, UserId};

use crate::time::Timestamp;

/// Version byte of a body.
const VERSION: u8 = 1;

/// The content of a vault.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct VaultBody {
    /// The vault is turned off: nothing is to be had from it, nor from older ones.
    pub(crate) erased: bool,
    /// The user log, as a statement: it shows who wrote this and whose phrase opens it.
    #[serde(with = "serde_bytes")]
    pub(crate) log: Vec<u8>,
    pub(crate) name: String,
    pub(crate) relay: Option<String>,
    pub(crate) contacts: Vec<VaultContact>,
    pub(crate) conversations: Vec<VaultConversation>,
    /// Conversations that found no room.
    pub(crate) left_out: u64,
}

/// A contact, with what this person decided about him.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct VaultContact {
    pub(crate) user: UserId,
    pub(crate) name: String,
    pub(crate) alias: Option<String>,
    #[serde(with = "serde_bytes")]
    pub(crate) log: Vec<u8>,
    pub(crate) relay: Option<String>,
    pub(crate) added: Timestamp,
    pub(crate) verified: Option<Vec<DeviceId>>,
    pub(crate) blocked: bool,
}

/// A conversation: its control log in causal order, and the secrets that open its topics.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct VaultConversation {
    pub(crate) operations: Vec<SignedOperation>,
    /// `s_e` of every epoch held, never `t_e`.
    pub(crate) epochs: Vec<VaultEpoch>,
}

/// One epoch's secret. Wiped on drop.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct VaultEpoch {
    pub(crate) epoch: EpochId,
    pub(crate) secret: [u8; 32],
}

impl Drop for VaultEpoch {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.secret);
    }
}

/// Bytes that are no body of this version.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("its content does not decode")]
pub(crate) struct VaultBodyError;

impl VaultBody {
    pub(crate) fn encode(&self) -> Result<Zeroizing<Vec<u8>>, VaultBodyError> {
        let bytes = postcard::to_extend(self, vec![VERSION]).map_err(|_| VaultBodyError)?;
        Ok(Zeroizing::new(bytes))
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, VaultBodyError> {
        match bytes.split_first() {
            Some((&VERSION, body)) => match postcard::take_from_bytes(body) {
                Ok((value, [])) => Ok(value),
                Ok(_) | Err(_) => Err(VaultBodyError),
            },
            Some(_) | None => Err(VaultBodyError),
        }
    }
}

impl VaultConversation {
    /// Bytes that it takes in an encoded body.
    pub(crate) fn encoded_bytes(&self) -> usize {
        postcard::to_allocvec(self).map_or(usize::MAX, |bytes| Zeroizing::new(bytes).len())
    }
}
