//! The documents of a conversation: bounded Automerge documents ("segments") and the gate in front
//! of them.
//!
//! Everything here is a pure function of its arguments: no clock, no entropy, no threads, and no
//! order that depends on hashing. Two devices that hold the same changes hold the same heads, the
//! same messages and the same refusals, in whatever order the changes reached them.
//!
//! * [`Segment`] holds one document, makes local changes and merges foreign ones.
//! * [`encode_payload`] and [`decode_payload`] carry whole changes between devices.
//! * [`Refusal`] names every reason for which a change from outside stays outside.
//!
//! **Architecture invariant:** no change from outside reaches Automerge before the gate has found
//! it canonical, causally complete and within the schema, and even then it is applied to a copy.

mod bound;
mod chunk;
mod codec;
mod column;
mod error;
mod gate;
mod genesis;
mod id;
mod index;
mod message;
mod segment;
mod shape;
mod transaction;
mod value;
mod varint;

#[cfg(test)]
mod tests;

pub use bound::{
    AUTHOR_BYTES_MAX, AUTHOR_MESSAGES_MAX, CHANGE_BYTES_MAX, INFLATED_BYTES_MAX,
    MESSAGES_PER_CHANGE_MAX, SYNC_BYTES_MAX, TEXT_BYTES_MAX,
};
pub(crate) use chunk::change_hash;
pub use codec::{decode_payload, encode_payload};
pub use error::{CodecError, DocumentError, Refusal, SyncError};
pub use genesis::Genesis;
pub use id::{HybridTime, IdError, MessageId};
pub use message::{MessageKind, NewMessage, Origin};
pub use segment::{Incoming, LocalChange, Outcome, Segment, StoredMessage, SyncState};
pub use transaction::{DocumentTransaction, ObjectId, Scalar};
pub use value::Value;
