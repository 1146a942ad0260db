//! What operations do: the catalogue of research/keys.md 2.10.

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::epoch::{Forward, Rekey};
use crate::evidence::Evidence;
use crate::id::{DeviceId, EpochId, ItemId, OperationId, RunId, UserId};
use crate::limits;
use crate::thaw::ThawByRecovery;

/// What a member may do; each role may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Reads.
    Reader,
    /// Reads and writes.
    Writer,
    /// Adds members and removes those below.
    Admin,
    /// The root of the grants.
    Owner,
}

/// What a newcomer may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum History {
    /// Everything.
    Full,
    /// What was written after he joined.
    SinceJoin,
}

/// How a conversation begins. The creator's devices are those of `creator_log`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Genesis {
    /// The first owner.
    pub creator: UserId,
    /// The creator's user log, encoded by [`crate::UserLog::to_bytes`].
    #[serde(
        serialize_with = "codec::bytes",
        deserialize_with = "codec::bounded_bytes::<_, { limits::USER_LOG_BYTES_MAX }>"
    )]
    pub creator_log: Vec<u8>,
    /// A name for people.
    #[serde(deserialize_with = "codec::text::<_, { limits::NAME_BYTES_MAX }>")]
    pub name: String,
    /// What newcomers may read.
    pub history: History,
    /// Messages that one segment holds.
    pub segment_messages: u32,
    /// Makes two conversations of the same creator and name two.
    pub random: [u8; 32],
}

/// The last item of one device's run that the author of a removal had seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FrontierEntry {
    /// The device.
    pub device: DeviceId,
    /// Its run.
    pub run: RunId,
    /// The item's place.
    pub seq: u64,
    /// The item.
    pub item: ItemId,
}

/// What an operation does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// Founds the conversation.
    Genesis(Genesis),
    /// Makes a user a member.
    Add {
        /// The new member.
        user: UserId,
        /// What he may do.
        role: Role,
        /// His user log, encoded by [`crate::UserLog::to_bytes`].
        #[serde(
            serialize_with = "codec::bytes",
            deserialize_with = "codec::bounded_bytes::<_, { limits::USER_LOG_BYTES_MAX }>"
        )]
        log: Vec<u8>,
        /// Every head epoch for each of his devices.
        #[serde(deserialize_with = "codec::list::<_, _, { limits::FORWARDS_MAX }>")]
        forwards: Vec<Forward>,
    },
    /// Raises a member's role.
    Promote {
        /// Whose.
        user: UserId,
        /// To what.
        role: Role,
    },
    /// Ends a membership.
    Remove {
        /// Whose.
        user: UserId,
        /// The grants that end.
        #[serde(deserialize_with = "codec::list::<_, _, { limits::INCARNATIONS_MAX }>")]
        incarnations: Vec<OperationId>,
        /// What of the removed devices the author had seen.
        #[serde(deserialize_with = "codec::list::<_, _, { limits::FRONTIER_ENTRIES_MAX }>")]
        frontier: Vec<FrontierEntry>,
    },
    /// `Remove` and `Add` in one: the only way to lower a role.
    Regrant {
        /// Whose.
        user: UserId,
        /// The grants that end.
        #[serde(deserialize_with = "codec::list::<_, _, { limits::INCARNATIONS_MAX }>")]
        incarnations: Vec<OperationId>,
        /// What of his devices the author had seen.
        #[serde(deserialize_with = "codec::list::<_, _, { limits::FRONTIER_ENTRIES_MAX }>")]
        frontier: Vec<FrontierEntry>,
        /// The role that begins.
        role: Role,
    },
    /// Makes an admin the owner; by the owner himself.
    TransferOwner {
        /// The new owner.
        to: UserId,
    },
    /// Ends the author's own membership.
    Leave,
    /// Brings one more device of the author's user in.
    AttachDevice {
        /// The device, certified in `log`.
        device: DeviceId,
        /// The user's log, encoded by [`crate::UserLog::to_bytes`].
        #[serde(
            serialize_with = "codec::bytes",
            deserialize_with = "codec::bounded_bytes::<_, { limits::USER_LOG_BYTES_MAX }>"
        )]
        log: Vec<u8>,
        /// Every head epoch for the device.
        #[serde(deserialize_with = "codec::list::<_, _, { limits::FORWARDS_MAX }>")]
        forwards: Vec<Forward>,
    },
    /// Takes a device out.
    DetachDevice {
        /// The device.
        device: DeviceId,
        /// The user log that revokes it, encoded by [`crate::UserLog::to_bytes`]; empty where the
        /// author's own right suffices.
        #[serde(
            serialize_with = "codec::bytes",
            deserialize_with = "codec::bounded_bytes::<_, { limits::USER_LOG_BYTES_MAX }>"
        )]
        proof: Vec<u8>,
        /// What of the device the author had seen.
        #[serde(deserialize_with = "codec::list::<_, _, { limits::FRONTIER_ENTRIES_MAX }>")]
        frontier: Vec<FrontierEntry>,
    },
    /// Begins an epoch.
    Rekey(Rekey),
    /// Gives an epoch to one more device.
    Forward(Forward),
    /// Complains that a seal for the author's device does not open to what it commits to.
    BadSeal {
        /// The epoch.
        epoch: EpochId,
        /// The operation that carries the seal.
        operation: OperationId,
    },
    /// Cuts history: what came before the snapshot may be forgotten.
    Cut {
        /// SHA-256 of the snapshot.
        snapshot: [u8; 32],
        /// The first segment that is kept.
        segment: u32,
        /// Automerge heads that a replay must reach.
        #[serde(deserialize_with = "codec::list::<_, _, { limits::CUT_HEADS_MAX }>")]
        heads: Vec<[u8; 32]>,
        /// What the snapshot covers.
        #[serde(deserialize_with = "codec::list::<_, _, { limits::FRONTIER_ENTRIES_MAX }>")]
        frontier: Vec<FrontierEntry>,
    },
    /// Shows two items that one device signed for one place of its chain.
    Equivocation {
        /// One of them.
        first: Evidence,
        /// The other.
        second: Evidence,
    },
    /// The emergency brake: the device receives no new epoch, its new content waits.
    Freeze {
        /// The device.
        device: DeviceId,
    },
    /// Takes a freeze back.
    Thaw {
        /// The device.
        device: DeviceId,
    },
    /// Gives the conversation another name for people.
    Rename {
        /// The new name.
        #[serde(deserialize_with = "codec::text::<_, { limits::NAME_BYTES_MAX }>")]
        name: String,
    },
    /// Gives an epoch to many more devices at once: those that its `Rekey` had no room for.
    HandOver {
        /// One for each device.
        #[serde(deserialize_with = "codec::list::<_, _, { limits::HANDED_MAX }>")]
        forwards: Vec<Forward>,
    },
    /// Lets the secrets of the epochs that are not after a cut be forgotten, once every device has
    /// acknowledged this. Devices that come in later begin at the cut.
    Forget {
        /// The cut.
        cut: OperationId,
    },
    /// Takes back that proofs freeze a device, by the recovery key of its user: what is left where no
    /// device is senior to it.
    ThawByRecovery(ThawByRecovery),
}
