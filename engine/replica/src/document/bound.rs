//! Every bound of a document. A change beyond one is refused by every device alike, because each
//! bound looks only at the change and its causal past.

/// Longest text of a message, in bytes.
pub const TEXT_BYTES_MAX: usize = 32 * 1024;
/// Messages that one change holds at most.
pub const MESSAGES_PER_CHANGE_MAX: usize = 128;
/// Longest name of an imported author, in bytes.
pub(super) const ORIGIN_BYTES_MAX: usize = 256;
/// Farthest imported time from the epoch, in milliseconds either way.
pub(super) const ORIGIN_MS_MAX: i64 = 1 << 53;

/// Largest uncompressed change, in bytes. Room for eight of the longest messages.
pub const CHANGE_BYTES_MAX: usize = 320 * 1024;
/// Operations of one change.
pub(super) const CHANGE_OPS_MAX: usize = 16_384;
/// Dependencies of one change: a device of each member, and some runs.
pub(super) const CHANGE_DEPS_MAX: usize = 1_024;
/// Highest operation counter in a segment. Automerge itself breaks at `u32::MAX`.
pub(super) const OP_COUNTER_MAX: u64 = 1 << 20;
/// Bytes of all changes of one actor in one segment.
pub const AUTHOR_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Messages of one actor in one segment.
pub const AUTHOR_MESSAGES_MAX: u32 = 65_536;

/// Longest key of a map in the application state, in bytes.
pub(super) const KEY_BYTES_MAX: usize = 1_024;
/// Longest scalar in the application state, in bytes.
pub(super) const SCALAR_BYTES_MAX: usize = 64 * 1024;
/// Farthest start or step of a counter from zero. With [`OP_COUNTER_MAX`] steps no sum overflows.
pub(super) const COUNTER_STEP_MAX: u64 = 1 << 32;
/// Objects within objects, the root of the application state counted as one.
pub(super) const DEPTH_MAX: u8 = 32;

/// Bytes of a payload once inflated.
pub const INFLATED_BYTES_MAX: usize = 1024 * 1024;
/// Changes of one payload.
pub(super) const PAYLOAD_CHANGES_MAX: usize = 4_096;
/// Bytes of all changes of one payload once rebuilt.
pub(super) const PAYLOAD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of one message of the sync protocol.
pub const SYNC_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Hashes in any one list of a sync message.
pub(super) const SYNC_HASHES_MAX: usize = 65_536;
