//! Errors and refusals of documents.

use thiserror::Error;

/// A local operation on a document failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// The saved bytes are not a document of this segment, or do not load.
    #[error("snapshot of segment does not load")]
    Snapshot,
    /// A save did not load again with the same heads, so it was not given out.
    #[error("saved segment does not load again with the same heads")]
    Unverified,
    /// The document and the index beside it disagree: a fault of this program.
    #[error("document and index disagree")]
    Inconsistent,
    /// Other devices would refuse this change, so it was not made.
    #[error("change would be refused by others")]
    Refused(#[source] Refusal),
    /// A change of messages without any message.
    #[error("no message to append")]
    Empty,
    /// Automerge refused an operation of the application.
    #[error("operation on document failed")]
    Operation(#[source] automerge::AutomergeError),
    /// An object of another document, or one that is not part of the application state.
    #[error("object is not part of the application state")]
    UnknownObject,
}

/// Why a change from outside is not merged. The verdict depends on the change and its causal past
/// only, [`Refusal::Equivocation`] aside, which is proof against its author.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Not a single uncompressed change chunk with a right checksum.
    #[error("not a change chunk")]
    Malformed,
    /// The change is longer than [`super::CHANGE_BYTES_MAX`].
    #[error("change is too long")]
    TooLong,
    /// The payload does not decode.
    #[error("payload does not decode")]
    Payload,
    /// No change at all.
    #[error("nothing in it")]
    Empty,
    /// The change names another actor than the sender may use.
    #[error("actor is not the sender's")]
    ForeignActor,
    /// No author is known for the actor.
    #[error("actor is unknown")]
    UnknownActor,
    /// Not the encoding that Automerge itself would write.
    #[error("change is not in canonical form")]
    NotCanonical,
    /// Time, message or extra bytes in a change that has none.
    #[error("change carries what no change of ours carries")]
    Extra,
    /// Dependencies are unsorted, repeated or too many.
    #[error("dependencies are not a sorted set")]
    Dependencies,
    /// The sequence number does not follow the actor's last change in the causal past.
    #[error("sequence number does not follow")]
    Sequence,
    /// Another change with the same actor and sequence number is here already.
    #[error("actor wrote two changes with one sequence number")]
    Equivocation,
    /// The first operation does not follow the causal past.
    #[error("operation counter does not follow")]
    StartOp,
    /// The operation counter is beyond what a segment may hold.
    #[error("segment is full of operations")]
    OpCounter,
    /// More operations than one change may hold.
    #[error("too many operations in a change")]
    TooManyOps,
    /// The actor has written its share of bytes or messages of this segment.
    #[error("author has used its share of the segment")]
    AuthorShare,
    /// A message whose id names another device.
    #[error("message id names another author")]
    ForeignMessage,
    /// A message id that an earlier message has.
    #[error("message id is taken")]
    MessageExists,
    /// A text, name or time of a message is out of bounds, or a change holds too many messages.
    #[error("message is out of bounds")]
    MessageBounds,
    /// A message that answers one that is not older.
    #[error("message answers a later one")]
    ReplyOrder,
    /// An object outside of the application state, or one that is not in the causal past.
    #[error("object is not part of the application state")]
    UnknownObject,
    /// An element or overwritten operation that is not in the causal past or not in its place.
    #[error("operation refers to what is not there")]
    UnknownOperation,
    /// An operation that no object of this kind takes.
    #[error("operation does not fit its object")]
    WrongOperation,
    /// A key, scalar, counter or depth of the application state is out of bounds.
    #[error("application state is out of bounds")]
    StateBounds,
    /// Automerge failed or panicked on it although the gate had let it through.
    #[error("change could not be applied")]
    NotApplicable,
}

/// A payload does not encode or decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CodecError {
    /// A format byte of another version.
    #[error("unknown format of payload")]
    Format,
    /// Ends early, goes on too long, or a field is out of range.
    #[error("payload is malformed")]
    Malformed,
    /// More bytes or changes than a payload may hold.
    #[error("payload is too large")]
    TooLarge,
    /// The compressor failed.
    #[error("payload does not compress")]
    Compression,
}

/// A message of the sync protocol was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The message does not decode or is out of bounds.
    #[error("sync message is malformed")]
    Malformed,
    /// Automerge failed or panicked on it; the state is as before, and a fresh one will do.
    #[error("sync message could not be taken")]
    NotApplicable,
}
