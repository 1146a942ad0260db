//! Proof of access to a topic (research/keys.md 2.8).
//!
//! The topic is the hash of a capability key. Whoever signs with that key, over this relay and this
//! very connection, may read and append. The relay keeps no account and no table.

use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::id::{RelayId, TopicId};

const TOPIC_LABEL: &[u8] = b"sheaf1/topic";
const ACCESS_LABEL: &[u8] = b"sheaf1/access";
/// The one operation of this version: read and append.
const OPERATION_READ_APPEND: u8 = 1;

/// A capability's public key and its signature over [`access_message`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AccessProof {
    /// The topic asked for.
    pub topic: TopicId,
    /// Ed25519 public key whose hash is the topic.
    pub capability: [u8; 32],
    /// Ed25519 signature over [`access_message`].
    #[serde(with = "serde_bytes")]
    pub signature: Vec<u8>,
}

/// Why a proof of access was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// The capability key does not hash to the topic.
    #[error("the capability key is not the topic's")]
    WrongTopic,
    /// The capability is not a valid Ed25519 public key.
    #[error("the capability is not a valid key")]
    BadKey,
    /// The signature is not by that key over this relay and connection.
    #[error("the signature does not prove access on this connection")]
    BadSignature,
}

/// `H("sheaf1/topic" || capability public key)`.
#[must_use]
pub fn topic_of_capability(capability: &[u8; 32]) -> TopicId {
    TopicId(
        Sha256::new()
            .chain_update(TOPIC_LABEL)
            .chain_update(capability)
            .finalize()
            .into(),
    )
}

/// The bytes that a capability signs: label, relay key, TLS exporter of the connection, operation,
/// topic. The exporter binds the proof to one connection, so it cannot be replayed on another.
#[must_use]
pub fn access_message(relay: &RelayId, exporter: &[u8; 32], topic: &TopicId) -> Vec<u8> {
    let mut message = Vec::with_capacity(ACCESS_LABEL.len() + 97);
    message.extend_from_slice(ACCESS_LABEL);
    message.extend_from_slice(&relay.0);
    message.extend_from_slice(exporter);
    message.push(OPERATION_READ_APPEND);
    message.extend_from_slice(&topic.0);
    message
}

impl AccessProof {
    /// Checks the proof for one relay and one connection.
    ///
    /// # Errors
    /// Says which of the three checks failed.
    pub fn verify(&self, relay: &RelayId, exporter: &[u8; 32]) -> Result<(), AccessError> {
        if topic_of_capability(&self.capability) != self.topic {
            return Err(AccessError::WrongTopic);
        }
        let key = VerifyingKey::from_bytes(&self.capability).map_err(|_| AccessError::BadKey)?;
        let signature =
            Signature::from_slice(&self.signature).map_err(|_| AccessError::BadSignature)?;
        key.verify_strict(&access_message(relay, exporter, &self.topic), &signature)
            .map_err(|_| AccessError::BadSignature)
    }
}
