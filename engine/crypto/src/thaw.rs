//! The recovery key's word that a device goes on although proofs of a fork freeze it.

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::id::{ConversationId, DeviceId, OperationId};
use crate::label;
use crate::limits;
use crate::recovery::RecoveryPhrase;
use crate::signature::{Signature, SignatureError};

/// Takes proofs of forks of one device back. The proofs are named: whoever keeps this word has none
/// for a fork that is proved later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThawByRecovery {
    /// The device.
    pub device: DeviceId,
    /// The operations that show its forks; they rise strictly.
    #[serde(deserialize_with = "codec::list::<_, _, { limits::PROOFS_THAWED_MAX }>")]
    pub proofs: Vec<OperationId>,
    /// The user's log, which says whose recovery key it is, encoded by [`crate::UserLog::to_bytes`].
    #[serde(
        serialize_with = "codec::bytes",
        deserialize_with = "codec::bounded_bytes::<_, { limits::USER_LOG_BYTES_MAX }>"
    )]
    pub log: Vec<u8>,
    /// By the recovery key over the conversation, the device and the proofs.
    pub signature: Signature,
}

impl ThawByRecovery {
    /// Signs the word for some proofs of one conversation.
    #[must_use]
    pub fn sign(
        phrase: &RecoveryPhrase,
        conversation: &ConversationId,
        device: DeviceId,
        proofs: Vec<OperationId>,
        log: Vec<u8>,
    ) -> Self {
        let message = message(conversation, &device, &proofs);
        Self {
            signature: phrase.sign(label::signature::THAW, &[&message]),
            device,
            proofs,
            log,
        }
    }

    /// Checks the signature under a recovery key, which the caller takes from the verified log.
    ///
    /// # Errors
    /// [`SignatureError`] where it is not by that key, or about something else.
    pub fn verify(
        &self,
        recovery: &[u8; 32],
        conversation: &ConversationId,
    ) -> Result<(), SignatureError> {
        let message = message(conversation, &self.device, &self.proofs);
        self.signature
            .verify(recovery, label::signature::THAW, &[&message])
    }
}

/// `conversation(32) || device(32) || proof(32) ...`: every part has its length, the last takes the rest.
fn message(conversation: &ConversationId, device: &DeviceId, proofs: &[OperationId]) -> Vec<u8> {
    let mut message = Vec::with_capacity(64 + 32 * proofs.len());
    message.extend_from_slice(&conversation.0);
    message.extend_from_slice(&device.0);
    for proof in proofs {
        message.extend_from_slice(&proof.0);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rng;

    #[test]
    fn it_counts_for_what_it_names_and_for_nothing_else() {
        let phrase = RecoveryPhrase::generate(&mut rng(1));
        let other = RecoveryPhrase::generate(&mut rng(2));
        let here = ConversationId([1; 32]);
        let proofs = vec![OperationId([3; 32]), OperationId([4; 32])];
        let thaw = ThawByRecovery::sign(&phrase, &here, DeviceId([2; 32]), proofs, Vec::new());
        let key = phrase.signing_public();
        assert_eq!(thaw.verify(&key, &here), Ok(()));
        assert!(thaw.verify(&other.signing_public(), &here).is_err());
        assert!(thaw.verify(&key, &ConversationId([9; 32])).is_err());
        let mut changed = [thaw.clone(), thaw.clone(), thaw];
        changed[0].device = DeviceId([9; 32]);
        changed[1].proofs.pop();
        changed[2].proofs.push(OperationId([9; 32]));
        for changed in changed {
            assert!(changed.verify(&key, &here).is_err());
        }
    }
}
