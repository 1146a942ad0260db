//! Records of snapshots: statements of what a conversation comes to.

use serde::{Deserialize, Serialize};

use sheaf_crypto::{ConversationId, DeviceId, EpochId, ItemId};

/// How a statement stands to what is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Compared {
    /// It could not be compared.
    Never,
    /// Its frontier is right; its documents are being compared.
    Frontier,
    /// All of it is right.
    Right,
    /// It is false.
    False,
}

/// An item with the key it is sealed under, by a device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sealed {
    pub(crate) device: DeviceId,
    pub(crate) epoch: EpochId,
    #[serde(with = "serde_bytes")]
    pub(crate) wire: Vec<u8>,
}

/// A statement that was taken in or made here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StatedRecord {
    pub(crate) conversation: ConversationId,
    /// Order in which statements came.
    pub(crate) number: u64,
    pub(crate) item: ItemId,
    pub(crate) made: Sealed,
    /// A checkpoint of another device that verifies it.
    pub(crate) verified: Option<Sealed>,
    pub(crate) compared: Compared,
    /// This device has told the others what it found.
    pub(crate) told: bool,
    /// Items up to its frontier.
    pub(crate) items: u64,
    /// Segments that it states.
    pub(crate) segments: u32,
}

/// A device began at a statement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StartRecord {
    pub(crate) conversation: ConversationId,
    /// The statement.
    pub(crate) item: ItemId,
    /// Who made it and who verified it.
    pub(crate) by: [DeviceId; 2],
    /// By chain index: the last item of the frontier.
    pub(crate) frontier: Vec<(u32, u64)>,
    /// The relays are read from the beginning.
    pub(crate) reading: bool,
    /// All of it is proved.
    pub(crate) proved: bool,
}

/// What a device was told of its account when it was linked.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct NamedRecord {
    /// Conversations that the linking device takes part in.
    pub(crate) conversations: u64,
}

/// A device has said that it is without history that it named as seen.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct UnreadRecord {
    pub(crate) conversation: ConversationId,
    pub(crate) device: DeviceId,
}
