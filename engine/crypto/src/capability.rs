//! Capabilities: the key whose hash is a topic (research/keys.md 2.8).

use std::fmt;

use ed25519_dalek::{Signer, SigningKey};
use sheaf_protocol::{AccessProof, RelayId, TopicId, access_message, topic_of_capability};

use crate::derive::kdf;
use crate::label;

/// The signing key that opens one topic. Wiped on drop.
pub struct CapabilityKey {
    signing: SigningKey,
    topic: TopicId,
}

impl CapabilityKey {
    /// The capability of an Ed25519 seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let signing = SigningKey::from_bytes(seed);
        let topic = topic_of_capability(&signing.verifying_key().to_bytes());
        Self { signing, topic }
    }

    /// The topic that this capability opens.
    #[must_use]
    pub fn topic(&self) -> TopicId {
        self.topic
    }

    /// Proves access to one relay over one connection.
    #[must_use]
    pub fn prove(&self, relay: &RelayId, exporter: &[u8; 32]) -> AccessProof {
        let message = access_message(relay, exporter, &self.topic);
        AccessProof {
            topic: self.topic,
            capability: self.signing.verifying_key().to_bytes(),
            signature: self.signing.sign(&message).to_bytes().to_vec(),
        }
    }
}

impl fmt::Debug for CapabilityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CapabilityKey").field(&self.topic).finish()
    }
}

/// The capability of a device's inbox: `KDF(inbox seed, "", "sheaf1/inbox-cap")`.
#[must_use]
pub fn inbox_capability(inbox_seed: &[u8; 32]) -> CapabilityKey {
    CapabilityKey::from_seed(&kdf(inbox_seed, &[], label::key::INBOX_CAPABILITY))
}
