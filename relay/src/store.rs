//! What a relay keeps: topic logs of ciphertext, behind one trait.
//!
//! Every call blocks until it is done and is made from a thread that may block: a cluster back end
//! answers the same calls over a network. Fan-out to those connected is not the store's work; a
//! back end shared by several relays would feed the hub from its own watch.

pub(crate) mod disk;
mod memory;

#[cfg(test)]
mod conformance;

use sheaf_protocol::{Class, History, LogId, RecordHash, TopicId};

pub use disk::{DiskOptions, DiskStorage, OpenError};
pub use memory::MemoryStorage;

/// A record about to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// The topic.
    pub topic: TopicId,
    /// `Log` or `Inbox`; an ephemeral record is never stored.
    pub class: Class,
    /// SHA-256 of `bytes`.
    pub hash: RecordHash,
    /// When the relay received it, in milliseconds since 1970.
    pub received_ms: u64,
    /// The sealed record.
    pub bytes: Vec<u8>,
}

/// A record as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its sequence in the topic.
    pub sequence: u64,
    /// How it is kept.
    pub class: Class,
    /// When the relay received it, in milliseconds since 1970.
    pub received_ms: u64,
    /// The sealed record.
    pub bytes: Vec<u8>,
}

/// What became of one append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is durable at this sequence.
    New(u64),
    /// It was there already, at this sequence: nothing was written.
    Duplicate(u64),
    /// The topic holds as many bytes as it may.
    TopicFull,
    /// The store holds as many bytes as it may.
    StoreFull,
}

/// The most that one read returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeLimit {
    /// Records.
    pub records_max: usize,
    /// Bytes of records; the first record comes whatever its size.
    pub bytes_max: usize,
}

/// How full a store may become. What is full refuses; nothing old is evicted for something new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of records of one topic.
    pub topic_bytes_max: u64,
    /// Bytes of records of the whole store.
    pub store_bytes_max: u64,
}

/// Releases of one topic that wait at most. While so many do, a further one is not noted; the sender
/// says it again another day.
pub const RELEASES_MAX: usize = 4;

/// A release that waits for the end of its grace period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Release {
    /// The last record that may go.
    pub(crate) upto: u64,
    /// When it was noted.
    pub(crate) since_ms: u64,
}

/// Adds a release to those of its topic, which rise; false if it adds nothing.
fn note_release(releases: &mut Vec<Release>, new: Release) -> bool {
    let more = releases.last().is_none_or(|last| last.upto < new.upto);
    let room = releases.len() < RELEASES_MAX;
    if more && room {
        releases.push(new);
    }
    more && room
}

/// Up to where a topic's records may go by the releases from before a time.
fn due_release(releases: &[Release], before_ms: u64) -> Option<u64> {
    let due = releases
        .iter()
        .filter(|release| release.since_ms < before_ms);
    due.map(|release| release.upto).max()
}

/// A topic's state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TopicStat {
    /// Highest sequence ever given out; zero when the topic was never written. It stays after the
    /// records are gone, so that no sequence is used twice.
    pub head: u64,
    /// Records kept.
    pub records: u64,
    /// Bytes of the records kept.
    pub bytes: u64,
}

/// The store's state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records kept.
    pub records: u64,
    /// Bytes of the records kept.
    pub bytes: u64,
}

/// Why the store did not do what was asked. Nothing was acknowledged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// Less room is left on the disk than the reserve.
    #[error("only {free_bytes} bytes are free on the disk, the reserve is {reserve_bytes}")]
    NoSpace {
        /// Bytes free.
        free_bytes: u64,
        /// Bytes that must stay free.
        reserve_bytes: u64,
    },
    /// The engine below failed; the store reopens itself at a later call.
    #[error("the store failed: {0}")]
    Engine(#[source] sled::Error),
    /// The file system failed.
    #[error("the store's file failed: {0}")]
    File(#[source] std::io::Error),
    /// The store is closed until it can be reopened.
    #[error("the store is closed")]
    Closed,
    /// What was read is not what was written.
    #[error("the store is damaged: {0}")]
    Damaged(&'static str),
}

/// A store of topic logs.
pub trait Storage: std::fmt::Debug + Send + Sync + 'static {
    /// Incarnation of the store: random, fixed for its life.
    fn log(&self) -> LogId;

    /// Appends records in order and returns once all of them are durable. Idempotent by topic and
    /// hash; sequences start at one and rise by topic. Called by one thread at a time.
    ///
    /// # Errors
    /// [`StorageError`] when nothing can be said to be durable.
    fn append(&self, records: &[NewRecord]) -> Result<Vec<Appended>, StorageError>;

    /// Reads records with `after < sequence <= upto`, in order.
    ///
    /// # Errors
    /// [`StorageError`] when the store cannot be read.
    fn range(
        &self,
        topic: &TopicId,
        after: u64,
        upto: u64,
        limit: RangeLimit,
    ) -> Result<Vec<StoredRecord>, StorageError>;

    /// Deletes at most `records_max` inbox records of a topic up to and with a sequence; says how
    /// many. Records of other classes stay. Durable with the next append.
    ///
    /// # Errors
    /// [`StorageError`] when the store cannot be written.
    fn trim(&self, topic: &TopicId, upto: u64, records_max: usize) -> Result<usize, StorageError>;

    /// Deletes at most `records_max` records of a class received before a time, oldest first; says
    /// how many. Durable with the next append.
    ///
    /// # Errors
    /// [`StorageError`] when the store cannot be written.
    fn expire(
        &self,
        class: Class,
        before_ms: u64,
        records_max: usize,
    ) -> Result<usize, StorageError>;

    /// Notes that a topic's log records up to and with a sequence may go; false where as much is noted
    /// already, or [`RELEASES_MAX`] releases of the topic wait. Durable with the next append.
    ///
    /// # Errors
    /// [`StorageError`] when the store cannot be written.
    fn release(&self, topic: &TopicId, upto: u64, now_ms: u64) -> Result<bool, StorageError>;

    /// Takes back every release of a topic that is not done yet, and returns once that is durable.
    ///
    /// # Errors
    /// [`StorageError`] when the store cannot be written.
    fn take_back(&self, topic: &TopicId) -> Result<(), StorageError>;

    /// Deletes at most `records_max` log records whose release is from before a time; says how many.
    /// Durable with the next append.
    ///
    /// # Errors
    /// [`StorageError`] when the store cannot be written.
    fn reap(&self, before_ms: u64, records_max: usize) -> Result<usize, StorageError>;

    /// Hash over the records of a topic up to a place, and that place; `None` for the newest. Nothing,
    /// where the records around the place are gone, or it lies ahead.
    ///
    /// # Errors
    /// [`StorageError`] when the store cannot be read.
    fn history(
        &self,
        topic: &TopicId,
        sequence: Option<u64>,
    ) -> Result<Option<(u64, History)>, StorageError>;

    /// A topic's state.
    ///
    /// # Errors
    /// [`StorageError`] when the store cannot be read.
    fn stat(&self, topic: &TopicId) -> Result<TopicStat, StorageError>;

    /// The store's state.
    fn totals(&self) -> Totals;

    /// Whether an append would be tried now: reopens a store that failed and looks at the room left.
    ///
    /// # Errors
    /// The reason why not.
    fn probe(&self) -> Result<(), StorageError>;

    /// Makes everything durable, deletions included, and lets go of what the store holds. Every
    /// later call fails.
    ///
    /// # Errors
    /// [`StorageError`] when the last of it could not be made durable.
    fn close(&self) -> Result<(), StorageError>;
}
