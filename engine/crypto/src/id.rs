//! Identifiers of the construction. None of them is visible to a relay.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use crate::derive::hash;
use crate::label;

/// Text that is not an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {what}: expected {digits} lowercase hexadecimal digits")]
#[non_exhaustive]
pub struct IdError {
    /// The kind of identifier asked for.
    pub what: &'static str,
    /// How many digits it has.
    pub digits: usize,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub struct $name(pub [u8; $bytes]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let short: String = HEXLOWER.encode(&self.0).chars().take(8).collect();
                write!(f, concat!($what, "({})"), short)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                HEXLOWER
                    .decode(text.as_bytes())
                    .ok()
                    .and_then(|bytes| bytes.try_into().ok())
                    .map(Self)
                    .ok_or(IdError { what: $what, digits: 2 * $bytes })
            }
        }
    };
}

id! {
    /// A user: `H("sheaf1/user" || genesis)`. It never changes, whatever devices come and go.
    UserId, 32, "user"
}
id! {
    /// A device: `H("sheaf1/dev" || Ed25519 public key)`.
    DeviceId, 32, "device"
}
id! {
    /// A conversation: `H("sheaf1/conv" || genesis operation)`. All zero inside that genesis.
    ConversationId, 32, "conversation"
}
id! {
    /// An epoch: `H("sheaf1/epoch-id" || conversation || device || seq || commitment)`.
    EpochId, 32, "epoch"
}
id! {
    /// A signed operation of a user log or of a conversation's control log.
    OperationId, 32, "operation"
}
id! {
    /// One item of a device's chain: a sealed content record, or a control operation.
    ItemId, 32, "item"
}
id! {
    /// A run of a device: an author sub-chain with an Automerge actor of its own.
    RunId, 16, "run"
}

impl DeviceId {
    /// The device that an Ed25519 public key belongs to.
    #[must_use]
    pub fn of_key(signing: &[u8; 32]) -> Self {
        Self(hash(&[label::hash::DEVICE, signing]))
    }
}

impl From<OperationId> for ItemId {
    /// Control items are named by their operation, so that one operation published under several
    /// epochs is one item.
    fn from(operation: OperationId) -> Self {
        Self(operation.0)
    }
}

/// Names a content item: SHA-256 of its sealed record.
#[must_use]
pub fn item_of_record(wire: &[u8]) -> ItemId {
    ItemId(hash(&[wire]))
}

/// What a segment's document comes to, for devices to compare:
/// `H("sheaf1/documents" || conversation || segment (u32, big endian) || heads in rising order)`.
#[must_use]
pub fn document_digest(
    conversation: &ConversationId,
    segment: u32,
    heads: &[[u8; 32]],
) -> [u8; 32] {
    let mut heads = heads.to_vec();
    heads.sort_unstable();
    hash(&[
        label::hash::DOCUMENTS,
        &conversation.0,
        &segment.to_be_bytes(),
        heads.as_flattened(),
    ])
}

/// The Automerge actor of one device, conversation, segment and run:
/// `H("sheaf1/actor" || device || conversation || segment (u32, big endian) || run)[0..16]`.
#[must_use]
pub fn actor_bytes(
    device: &DeviceId,
    conversation: &ConversationId,
    segment: u32,
    run: &RunId,
) -> [u8; 16] {
    let [actor @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = hash(&[
        label::hash::ACTOR,
        &device.0,
        &conversation.0,
        &segment.to_be_bytes(),
        &run.0,
    ]);
    actor
}
