//! One document of a conversation, with what is known of its changes.

mod local;
mod merge;
mod sync;

use automerge::{Automerge, ReadDoc};

pub use self::local::LocalChange;
pub use self::merge::{Incoming, Outcome};
pub use self::sync::SyncState;

use super::chunk::Chunk;
use super::error::DocumentError;
use super::gate::{self, Sender, Verdict, guarded};
use super::genesis::Genesis;
use super::id::MessageId;
use super::index::{Index, OpRef};
use super::message::{MessageKind, NewMessage, Origin};
use super::shape;
use super::value::Value;

/// A segment of a conversation: a bounded document that every member device replicates.
#[derive(Debug)]
pub struct Segment {
    genesis: Genesis,
    doc: Automerge,
    index: Index,
}

/// A message in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// The actor that wrote it.
    pub actor: [u8; 16],
    /// What it holds.
    pub message: NewMessage,
}

impl Segment {
    /// Segment `index` of a conversation before anything is written. Every device makes the same.
    ///
    /// # Errors
    /// None that Automerge is known to give.
    pub fn genesis(conversation: &[u8; 32], index: u32) -> Result<Self, DocumentError> {
        let genesis = Genesis::of(conversation, index);
        let doc = genesis.document()?;
        let [head] = doc.get_heads()[..] else {
            return Err(DocumentError::Inconsistent);
        };
        Ok(Self {
            genesis,
            doc,
            index: Index::new(&genesis, head.0),
        })
    }

    /// Loads what [`Segment::save`] gave. Every change in it passes the gate again, except that
    /// nobody says any more which device an actor belongs to.
    ///
    /// # Errors
    /// [`DocumentError::Snapshot`] if the bytes are anything else.
    pub fn load(
        conversation: &[u8; 32],
        index: u32,
        snapshot: &[u8],
    ) -> Result<Self, DocumentError> {
        let fresh = Self::genesis(conversation, index)?;
        let loaded = guarded(|| {
            let doc = Automerge::load(snapshot).ok()?;
            let changes = doc.get_changes(&[]);
            Some((doc, changes))
        });
        let (doc, changes) = loaded.flatten().ok_or(DocumentError::Snapshot)?;
        let mut segment = Self { doc, ..fresh };
        for change in &changes {
            segment.enter_loaded(change.raw_bytes())?;
        }
        // Equal counts: the first change is among them.
        let orphans = !segment.doc.get_missing_deps(&[]).is_empty();
        if orphans || changes.len() != segment.index.change_count() {
            return Err(DocumentError::Snapshot);
        }
        segment.index.settle();
        Ok(segment)
    }

    fn enter_loaded(&mut self, bytes: &[u8]) -> Result<(), DocumentError> {
        let (chunk, _) = Chunk::read(bytes).ok_or(DocumentError::Snapshot)?;
        // The first change is known, and no other may have its actor.
        let actor = chunk
            .actor
            .try_into()
            .map_err(|_| DocumentError::Snapshot)?;
        let sender = Sender {
            actor,
            author_tag: None,
        };
        match gate::examine(&self.index, &self.genesis, &sender, bytes) {
            Verdict::Known => Ok(()),
            Verdict::Admitted(passed) => {
                self.index.enter(passed.entry);
                Ok(())
            }
            Verdict::Missing(_) | Verdict::Refused(_) => Err(DocumentError::Snapshot),
        }
    }

    /// The segment as bytes that are known to load again with the same heads.
    ///
    /// # Errors
    /// [`DocumentError::Unverified`] if they do not. Then the changes must be kept and a new
    /// segment made from them.
    pub fn save(&self) -> Result<Vec<u8>, DocumentError> {
        let verified = guarded(|| {
            let bytes = self.doc.save();
            let loaded = Automerge::load(&bytes).ok()?;
            (loaded.get_heads() == self.doc.get_heads()).then_some(bytes)
        });
        verified.flatten().ok_or(DocumentError::Unverified)
    }

    /// What payloads of this segment are encoded with.
    #[must_use]
    pub fn key(&self) -> &Genesis {
        &self.genesis
    }

    /// The heads, sorted: equal heads, equal segments.
    #[must_use]
    pub fn heads(&self) -> Vec<[u8; 32]> {
        let mut heads: Vec<[u8; 32]> = self.doc.get_heads().iter().map(|head| head.0).collect();
        heads.sort_unstable();
        heads
    }

    /// How many messages the segment holds.
    #[must_use]
    pub fn message_count(&self) -> u32 {
        u32::try_from(self.index.messages().len()).unwrap_or(u32::MAX)
    }

    /// How many changes the segment holds, the first one included.
    #[must_use]
    pub fn change_count(&self) -> usize {
        self.index.change_count()
    }

    /// Whether the change with this hash is here.
    #[must_use]
    pub fn contains_change(&self, hash: &[u8; 32]) -> bool {
        self.index.contains(hash)
    }

    /// Every actor with the number and hash of its last change here, the first change's included.
    pub fn tips(&self) -> impl Iterator<Item = ([u8; 16], u64, [u8; 32])> {
        self.index.tips()
    }

    /// All changes that are not in the past of `heads`, in causal order, uncompressed. Heads that
    /// are not here count as nothing.
    #[must_use]
    pub fn changes_after(&self, heads: &[[u8; 32]]) -> Vec<Vec<u8>> {
        let known: Vec<_> = heads
            .iter()
            .filter(|head| self.index.contains(head))
            .map(|head| automerge::ChangeHash(*head))
            .collect();
        let changes = self.doc.get_changes(&known);
        changes
            .iter()
            .map(|change| change.raw_bytes().to_vec())
            .collect()
    }

    /// The messages, sorted by id.
    pub fn messages(&self) -> impl Iterator<Item = StoredMessage> {
        self.index
            .messages()
            .iter()
            .filter_map(|(id, op)| self.stored(*id, op))
    }

    /// The message with this id.
    #[must_use]
    pub fn message(&self, id: &MessageId) -> Option<StoredMessage> {
        self.index
            .messages()
            .get(id)
            .and_then(|op| self.stored(*id, op))
    }

    fn stored(&self, id: MessageId, op: &OpRef) -> Option<StoredMessage> {
        let object = automerge::ObjId::Id(op.counter, automerge::ActorId::from(op.actor), 0);
        let (mut text, mut reply_to, mut kind) = (None, None, MessageKind::Text);
        let (mut by, mut at) = (None, None);
        for field in self.doc.map_range(&object, ..) {
            let key = field.key;
            let value = field.value.into_value();
            let scalar = value.as_scalar().map(Value::from_scalar);
            match (key.as_ref(), scalar) {
                (shape::TEXT, Some(Value::String(words))) => text = Some(words),
                (shape::REPLY, Some(Value::Bytes(bytes))) => {
                    reply_to = bytes
                        .try_into()
                        .ok()
                        .and_then(|bytes| MessageId::from_bytes(bytes).ok());
                }
                (shape::KIND, Some(_)) => kind = MessageKind::System,
                (shape::BY, Some(Value::String(author))) => by = Some(author),
                (shape::AT, Some(Value::Timestamp(time_ms))) => at = Some(time_ms),
                _ => {}
            }
        }
        let origin = by
            .zip(at)
            .map(|(author, time_ms)| Origin { author, time_ms });
        let message = NewMessage {
            id,
            text: text?,
            reply_to,
            kind,
            origin,
        };
        Some(StoredMessage {
            actor: op.actor,
            message,
        })
    }

    /// The application state, as it shows now.
    #[must_use]
    pub fn map_snapshot(&self) -> Value {
        let root = self.genesis.object(Genesis::document_op());
        let hydrated = ReadDoc::hydrate(&self.doc, &root, None);
        hydrated.map_or(Value::Null, |value| Value::from_hydrated(&value))
    }
}
