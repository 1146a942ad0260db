//! Epochs (research/keys.md 2.5): random secrets sealed to every device and chained backwards.

mod chain;
mod seal;

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::capability::CapabilityKey;
use crate::codec::{self, CodecError};
use crate::derive::{hash, kdf};
use crate::id::{ConversationId, DeviceId, EpochId};
use crate::kem::KemRecord;
use crate::label;
use crate::limits;
use sheaf_protocol::TopicId;

pub use chain::open_chain;
pub use seal::{forward, open_forward, open_rekey, rekey};

/// The secrets of one epoch: `s_e`, from which everything kept derives, and `t_e`, from which
/// ephemeral messages derive and which is erased after seven days. Wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct EpochSecret {
    kept: [u8; 32],
    ephemeral: Option<[u8; 32]>,
}

impl EpochSecret {
    pub(crate) fn new(kept: [u8; 32], ephemeral: Option<[u8; 32]>) -> Self {
        Self { kept, ephemeral }
    }

    /// `s_e`, followed by `t_e` while it is held.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(64));
        bytes.extend_from_slice(&self.kept);
        if let Some(ephemeral) = &self.ephemeral {
            bytes.extend_from_slice(ephemeral);
        }
        bytes
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`CodecError`] unless there are 32 or 64 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let (kept, rest) = bytes.split_first_chunk::<32>().ok_or(CodecError)?;
        let ephemeral = match rest {
            [] => None,
            rest => Some(<[u8; 32]>::try_from(rest).map_err(|_| CodecError)?),
        };
        Ok(Self::new(*kept, ephemeral))
    }

    /// Erases `t_e`: ephemeral messages of this epoch can no longer be read here.
    pub fn forget_ephemeral(&mut self) {
        self.ephemeral.zeroize();
    }

    /// Whether `t_e` is held.
    #[must_use]
    pub fn has_ephemeral(&self) -> bool {
        self.ephemeral.is_some()
    }

    /// `c_e = KDF(s_e, conversation, "sheaf1/epoch-commit", 32)`.
    #[must_use]
    pub fn commitment(&self, conversation: &ConversationId) -> [u8; 32] {
        *kdf(&self.kept, &conversation.0, label::key::EPOCH_COMMITMENT)
    }

    fn key(&self, epoch: &EpochId, label: &[u8]) -> Zeroizing<[u8; 32]> {
        kdf(&self.kept, &epoch.0, label)
    }
}

impl fmt::Debug for EpochSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EpochSecret").finish_non_exhaustive()
    }
}

/// `e = H("sheaf1/epoch-id" || conversation || device || seq (u64, big endian) || c_e)`.
#[must_use]
pub fn epoch_id(
    conversation: &ConversationId,
    author: DeviceId,
    seq: u64,
    commitment: &[u8; 32],
) -> EpochId {
    EpochId(hash(&[
        label::hash::EPOCH,
        &conversation.0,
        &author.0,
        &seq.to_be_bytes(),
        commitment,
    ]))
}

/// The epoch secret, sealed to one device. A seal to the all-zero device is a dummy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// Who can open it.
    pub device: DeviceId,
    /// Which of the device's KEM keys it is sealed to.
    pub counter: u64,
    /// `encapsulated key || ciphertext || tag`.
    #[serde(
        serialize_with = "codec::bytes",
        deserialize_with = "codec::bounded_bytes::<_, { limits::SEALED_BYTES_MAX }>"
    )]
    pub sealed: Vec<u8>,
}

/// A new epoch: one secret for every device of the author's view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rekey {
    /// `c_e`, which every recipient recomputes from what it opened.
    pub commitment: [u8; 32],
    /// Sorted by device, dummies first, a power of two in number.
    #[serde(deserialize_with = "codec::list::<_, _, { limits::SEALS_MAX }>")]
    pub seals: Vec<Seal>,
    /// The secrets of the parent epochs, sealed under this one; none after a cut or for newcomers
    /// who may not read the past.
    #[serde(
        serialize_with = "codec::optional_bytes",
        deserialize_with = "codec::bounded_optional_bytes::<_, { limits::CHAIN_BYTES_MAX }>"
    )]
    pub chain: Option<Vec<u8>>,
    /// The epochs that this one follows.
    #[serde(deserialize_with = "codec::list::<_, _, { limits::CHAINED_EPOCHS_MAX }>")]
    pub parents_epochs: Vec<EpochId>,
}

impl Rekey {
    /// The devices that hold a seal, dummies left out.
    pub fn recipients(&self) -> impl Iterator<Item = DeviceId> + '_ {
        self.seals
            .iter()
            .map(|seal| seal.device)
            .filter(|device| *device != DeviceId::default())
    }
}

/// An epoch secret, sealed afterwards to one device that lacks it. It never carries `t_e`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// Which epoch.
    pub epoch: EpochId,
    /// Its commitment `c_e`.
    pub commitment: [u8; 32],
    /// Who can open it.
    pub device: DeviceId,
    /// Which of the device's KEM keys it is sealed to.
    pub counter: u64,
    /// `encapsulated key || ciphertext || tag`.
    #[serde(
        serialize_with = "codec::bytes",
        deserialize_with = "codec::bounded_bytes::<_, { limits::SEALED_BYTES_MAX }>"
    )]
    pub sealed: Vec<u8>,
}

/// A device and the key to seal to it with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// The device.
    pub device: DeviceId,
    /// Its newest KEM record.
    pub kem: KemRecord,
}

/// Why an epoch secret could not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// No seal is for this device.
    #[error("no seal is for this device")]
    NotARecipient,
    /// The seal is to a KEM key that is not held (any more).
    #[error("the secret of the sealing key is not held")]
    NoKemSecret,
    /// The seal, or the chain, does not open.
    #[error("the seal does not open")]
    BadSeal,
    /// What was sealed is not the secret that the statement commits to.
    #[error("the sealed secret is not the one committed to")]
    Commitment,
    /// A recipient's KEM record does not belong to it or is not a usable key.
    #[error("a recipient's sealing key is not usable")]
    RecipientKey,
    /// No recipient, the same one twice, or more than the limits allow.
    #[error("the recipients are not a set within the limits")]
    Recipients,
}

/// The keys of one epoch, derived once.
pub struct EpochKeys {
    conversation: ConversationId,
    epoch: EpochId,
    commitment: [u8; 32],
    envelope: Zeroizing<[u8; 32]>,
    blob: Zeroizing<[u8; 32]>,
    ephemeral: Option<Zeroizing<[u8; 32]>>,
    capability: CapabilityKey,
}

impl EpochKeys {
    /// Derives every key: `KDF(s_e, e, label, 32)`.
    #[must_use]
    pub fn derive(conversation: &ConversationId, epoch: EpochId, secret: &EpochSecret) -> Self {
        let ephemeral = secret
            .ephemeral
            .as_ref()
            .map(|ephemeral| kdf(ephemeral, &epoch.0, label::key::EPHEMERAL));
        Self {
            conversation: *conversation,
            epoch,
            commitment: secret.commitment(conversation),
            envelope: secret.key(&epoch, label::key::ENVELOPE),
            blob: secret.key(&epoch, label::key::BLOB),
            ephemeral,
            capability: CapabilityKey::from_seed(&secret.key(&epoch, label::key::CAPABILITY)),
        }
    }

    /// The conversation.
    #[must_use]
    pub fn conversation(&self) -> ConversationId {
        self.conversation
    }

    /// The epoch.
    #[must_use]
    pub fn epoch(&self) -> EpochId {
        self.epoch
    }

    /// The topic that the epoch's envelopes are on.
    #[must_use]
    pub fn topic(&self) -> TopicId {
        self.capability.topic()
    }

    /// The key that opens the topic.
    #[must_use]
    pub fn capability(&self) -> &CapabilityKey {
        &self.capability
    }

    /// `c_e`.
    #[must_use]
    pub fn commitment(&self) -> [u8; 32] {
        self.commitment
    }

    /// The key that wraps the keys of large payloads.
    #[must_use]
    pub fn blob_key(&self) -> &[u8; 32] {
        &self.blob
    }

    /// The key of ephemeral messages, while `t_e` is held.
    #[must_use]
    pub fn ephemeral_key(&self) -> Option<&[u8; 32]> {
        self.ephemeral.as_deref()
    }

    pub(crate) fn envelope_key(&self) -> &[u8; 32] {
        &self.envelope
    }
}

impl fmt::Debug for EpochKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EpochKeys")
            .field("conversation", &self.conversation)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
