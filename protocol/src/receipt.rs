//! A relay's signed promise that a record is durable.

use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::id::{Cursor, RecordHash, RelayId, TopicId};

const RECEIPT_LABEL: &[u8] = b"sheaf1/receipt";

/// Answer to an append, given only after the record is durable. Two receipts of one relay that
/// disagree about a cursor are proof of misbehaviour that anyone can check.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// The topic appended to.
    pub topic: TopicId,
    /// Where the record is.
    pub cursor: Cursor,
    /// SHA-256 of the record.
    pub record: RecordHash,
    /// The relay's Ed25519 signature over [`receipt_message`].
    #[serde(with = "serde_bytes")]
    pub signature: Vec<u8>,
}

/// A receipt that the relay's key did not sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the receipt is not signed by this relay")]
#[non_exhaustive]
pub struct ReceiptError;

/// The bytes that a relay signs: label, topic, log id, sequence (both big endian), record hash.
#[must_use]
pub fn receipt_message(topic: &TopicId, cursor: Cursor, record: &RecordHash) -> Vec<u8> {
    let mut message = Vec::with_capacity(RECEIPT_LABEL.len() + 80);
    message.extend_from_slice(RECEIPT_LABEL);
    message.extend_from_slice(&topic.0);
    message.extend_from_slice(&cursor.log.0.to_be_bytes());
    message.extend_from_slice(&cursor.sequence.to_be_bytes());
    message.extend_from_slice(&record.0);
    message
}

impl Receipt {
    /// Checks the signature against the relay's pinned key.
    ///
    /// # Errors
    /// [`ReceiptError`] when the key or the signature is not valid.
    pub fn verify(&self, relay: &RelayId) -> Result<(), ReceiptError> {
        let key = VerifyingKey::from_bytes(&relay.0).map_err(|_| ReceiptError)?;
        let signature = Signature::from_slice(&self.signature).map_err(|_| ReceiptError)?;
        let message = receipt_message(&self.topic, self.cursor, &self.record);
        key.verify_strict(&message, &signature)
            .map_err(|_| ReceiptError)
    }
}
