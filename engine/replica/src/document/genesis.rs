//! The first change of a segment: the same on every device, so that devices which open a segment
//! at the same time have the same objects.

use automerge::transaction::{CommitOptions, Transactable};
use automerge::{ActorId, Automerge, ObjId, ObjType, ROOT};
use sha2::{Digest, Sha256};

use super::error::DocumentError;
use super::id::MessageId;

const LABEL: &[u8] = b"sheaf1/segment";
pub(super) const MESSAGES: &str = "messages";
pub(super) const DOCUMENT: &str = "document";
/// Maps that share the messages of a segment. Chosen by measurement: decision 0003.
pub(super) const SHARDS: u8 = 32;
const SHARD_NAMES: &str = "0123456789abcdefghijklmnopqrstuv";

/// Operation that made the map of the first shard; the others follow it.
const FIRST_SHARD_OP: u64 = 2;
/// Operation that made the root of the application state.
const DOCUMENT_OP: u64 = FIRST_SHARD_OP + SHARDS as u64;
/// Last operation of the first change.
const LAST_OP: u64 = DOCUMENT_OP;

/// What every device knows of a segment before it has seen any change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Genesis {
    actor: [u8; 16],
    time_s: u32,
}

impl Genesis {
    /// The genesis of segment `index` of a conversation: SHA-256 over the label
    /// `sheaf1/segment`, the conversation id and the index, big-endian. The first 16 bytes are the
    /// actor, the next four the time in seconds.
    #[must_use]
    pub fn of(conversation: &[u8; 32], index: u32) -> Self {
        let digest: [u8; 32] = Sha256::new()
            .chain_update(LABEL)
            .chain_update(conversation)
            .chain_update(index.to_be_bytes())
            .finalize()
            .into();
        let mut actor = [0; 16];
        let mut time = [0; 4];
        for (to, from) in actor.iter_mut().chain(time.iter_mut()).zip(digest) {
            *to = from;
        }
        Self {
            actor,
            time_s: u32::from_be_bytes(time),
        }
    }

    /// The actor of the first change. No device has it.
    pub(super) fn actor(&self) -> &[u8; 16] {
        &self.actor
    }

    /// A document that holds the first change and nothing else.
    pub(super) fn document(&self) -> Result<Automerge, DocumentError> {
        let mut doc = Automerge::new().with_actor(ActorId::from(self.actor));
        let mut tx = doc.transaction();
        let messages = tx
            .put_object(ROOT, MESSAGES, ObjType::Map)
            .map_err(DocumentError::Operation)?;
        for name in SHARD_NAMES.chars() {
            tx.put_object(&messages, name.to_string(), ObjType::Map)
                .map_err(DocumentError::Operation)?;
        }
        tx.put_object(ROOT, DOCUMENT, ObjType::Map)
            .map_err(DocumentError::Operation)?;
        tx.commit_with(CommitOptions::default().with_time(i64::from(self.time_s)));
        Ok(doc)
    }

    /// Last operation of the first change.
    pub(super) fn last_op() -> u64 {
        LAST_OP
    }

    /// Operation that made the root of the application state.
    pub(super) fn document_op() -> u64 {
        DOCUMENT_OP
    }

    /// Operation that made the map in which the message belongs.
    ///
    /// Milliseconds and counter together spread both live messages and bulk imports, whose
    /// messages differ in the counter only.
    pub(super) fn shard_op(id: &MessageId) -> u64 {
        let time = id.time();
        FIRST_SHARD_OP + (time.ms() + u64::from(time.counter())) % u64::from(SHARDS)
    }

    /// The object that the operation `counter` of the first change made.
    pub(super) fn object(&self, counter: u64) -> ObjId {
        ObjId::Id(counter, ActorId::from(self.actor), 0)
    }
}
