//! Whose a topic is, and what proves access to it.

use std::sync::Arc;

use sheaf_crypto::{CapabilityKey, ConversationId, EpochId, EpochKeys};
use sheaf_protocol::{AccessProof, RelayId};

/// Whose records a topic holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// One epoch of a conversation.
    Epoch(ConversationId, EpochId),
    /// This device's inbox.
    Inbox,
    /// The meeting place of two devices that are being linked.
    Rendezvous,
    /// The account vault, read by a device that is to become one of the account.
    Vault,
}

/// What proves access.
#[derive(Clone)]
pub(crate) enum Capability {
    /// An epoch's.
    Epoch(Arc<EpochKeys>),
    /// Another one.
    Key(Arc<CapabilityKey>),
}

impl Capability {
    pub(crate) fn prove(&self, relay: &RelayId, exporter: &[u8; 32]) -> AccessProof {
        match self {
            Self::Epoch(keys) => keys.capability().prove(relay, exporter),
            Self::Key(key) => key.prove(relay, exporter),
        }
    }
}
