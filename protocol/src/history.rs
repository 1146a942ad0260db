//! What a relay says that it has delivered: a rolling hash over a topic's records, and the relay's
//! signature under it (docs/decisions/0016).

use std::fmt;

use data_encoding::HEXLOWER;
use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::id::{Cursor, RecordHash, RelayId, TopicId};

const HISTORY_LABEL: &[u8] = b"sheaf1/history";
const STATEMENT_LABEL: &[u8] = b"sheaf1/statement";

/// Hash over all stored records of a topic up to a place, in the order of their sequences. All zero
/// before the first.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct History(pub [u8; 32]);

impl History {
    /// The hash after one more record: `SHA-256("sheaf1/history" || before || topic || sequence, big
    /// endian || record hash)`.
    #[must_use]
    pub fn then(&self, topic: &TopicId, sequence: u64, record: &RecordHash) -> Self {
        let hash = Sha256::new()
            .chain_update(HISTORY_LABEL)
            .chain_update(self.0)
            .chain_update(topic.0)
            .chain_update(sequence.to_be_bytes())
            .chain_update(record.0);
        Self(hash.finalize().into())
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short: String = HEXLOWER.encode(&self.0).chars().take(8).collect();
        write!(f, "history({short})")
    }
}

/// A relay's word about the records of a topic up to a place. Two that disagree about one place are
/// proof of misbehaviour that anyone can check.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Statement {
    /// The topic.
    pub topic: TopicId,
    /// The place.
    pub cursor: Cursor,
    /// Hash over the records up to there.
    pub history: History,
    /// The relay's Ed25519 signature over [`statement_message`].
    #[serde(with = "serde_bytes")]
    pub signature: Vec<u8>,
}

/// A statement that the relay's key did not sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the statement is not signed by this relay")]
#[non_exhaustive]
pub struct StatementError;

/// The bytes that a relay signs: label, topic, log id, sequence (both big endian), history.
#[must_use]
pub fn statement_message(topic: &TopicId, cursor: Cursor, history: &History) -> Vec<u8> {
    let mut message = Vec::with_capacity(STATEMENT_LABEL.len() + 80);
    message.extend_from_slice(STATEMENT_LABEL);
    message.extend_from_slice(&topic.0);
    message.extend_from_slice(&cursor.log.0.to_be_bytes());
    message.extend_from_slice(&cursor.sequence.to_be_bytes());
    message.extend_from_slice(&history.0);
    message
}

impl Statement {
    /// Checks the signature against the relay's key.
    ///
    /// # Errors
    /// [`StatementError`] when the key or the signature is not valid.
    pub fn verify(&self, relay: &RelayId) -> Result<(), StatementError> {
        let key = VerifyingKey::from_bytes(&relay.0).map_err(|_| StatementError)?;
        let signature = Signature::from_slice(&self.signature).map_err(|_| StatementError)?;
        let message = statement_message(&self.topic, self.cursor, &self.history);
        key.verify_strict(&message, &signature)
            .map_err(|_| StatementError)
    }
}
