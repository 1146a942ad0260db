//! Changes made on this device.

use automerge::transaction::Transactable;
use automerge::{ActorId, Automerge, ObjId, ObjType};

use super::Segment;
use crate::document::bound;
use crate::document::error::{DocumentError, Refusal};
use crate::document::gate::{self, Sender, Verdict, guarded};
use crate::document::genesis::Genesis;
use crate::document::message::{MessageKind, NewMessage};
use crate::document::shape;
use crate::document::transaction::DocumentTransaction;

/// A change made on this device, already in the segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalChange {
    /// The change, uncompressed, for [`crate::document::encode_payload`].
    pub bytes: Vec<u8>,
    /// Its hash.
    pub hash: [u8; 32],
    /// The messages in it, if it holds messages.
    pub messages: Vec<NewMessage>,
}

impl Segment {
    /// Appends messages as one change of `actor`.
    ///
    /// The caller answers for the actor: it must be this device's, and no other copy of the store
    /// may write with it.
    ///
    /// # Errors
    /// [`DocumentError::Empty`] without messages; [`DocumentError::Refused`] if other devices would
    /// refuse the change, in which case the segment is as before.
    pub fn append(
        &mut self,
        actor: [u8; 16],
        messages: &[NewMessage],
    ) -> Result<LocalChange, DocumentError> {
        self.check_append(&actor, messages)?;
        self.doc.set_actor(ActorId::from(actor));
        let genesis = self.genesis;
        let written = guarded(|| write_messages(&mut self.doc, &genesis, messages));
        written
            .ok_or(DocumentError::Inconsistent)?
            .map_err(DocumentError::Operation)?;
        let change = self.last_change().ok_or(DocumentError::Inconsistent)?;
        let (hash, bytes) = (change.hash().0, change.raw_bytes().to_vec());
        match self.examine_local(&actor, &bytes) {
            Verdict::Admitted(passed) => {
                self.index.enter(passed.entry);
                self.index.settle();
                Ok(LocalChange {
                    bytes,
                    hash,
                    messages: messages.to_vec(),
                })
            }
            Verdict::Known | Verdict::Missing(_) | Verdict::Refused(_) => {
                Err(DocumentError::Inconsistent)
            }
        }
    }

    /// Changes the application state in one change of `actor`; `None` if the closure changed
    /// nothing. The closure cannot reach the messages.
    ///
    /// # Errors
    /// What the closure returned, or [`DocumentError::Refused`] if other devices would refuse the
    /// change. The segment is as before then.
    pub fn change(
        &mut self,
        actor: [u8; 16],
        edit: impl FnOnce(&mut DocumentTransaction<'_, '_>) -> Result<(), DocumentError>,
    ) -> Result<Option<LocalChange>, DocumentError> {
        let mut doc = self.doc.clone();
        doc.set_actor(ActorId::from(actor));
        let root = self.genesis.object(Genesis::document_op());
        let done = doc.transact(|tx| edit(&mut DocumentTransaction::new(tx, root)));
        let done = done.map_err(|failure| failure.error)?;
        let Some(hash) = done.hash else {
            return Ok(None);
        };
        let change = automerge::ReadDoc::get_change_by_hash(&doc, &hash);
        let bytes = change
            .ok_or(DocumentError::Inconsistent)?
            .raw_bytes()
            .to_vec();
        match self.examine_local(&actor, &bytes) {
            Verdict::Admitted(passed) => {
                self.index.enter(passed.entry);
                self.index.settle();
                self.doc = doc;
                Ok(Some(LocalChange {
                    bytes,
                    hash: hash.0,
                    messages: Vec::new(),
                }))
            }
            Verdict::Refused(refusal) => Err(DocumentError::Refused(refusal)),
            Verdict::Known | Verdict::Missing(_) => Err(DocumentError::Inconsistent),
        }
    }

    fn examine_local(&self, actor: &[u8; 16], bytes: &[u8]) -> Verdict {
        let sender = Sender {
            actor: *actor,
            author_tag: None,
        };
        gate::examine(&self.index, &self.genesis, &sender, bytes)
    }

    fn last_change(&self) -> Option<automerge::Change> {
        let [head] = self.doc.get_heads()[..] else {
            return None;
        };
        automerge::ReadDoc::get_change_by_hash(&self.doc, &head)
    }

    /// Everything that the gate of another device would look at, before anything is written.
    fn check_append(&self, actor: &[u8; 16], messages: &[NewMessage]) -> Result<(), DocumentError> {
        let first = messages.first().ok_or(DocumentError::Empty)?;
        let refused = |refusal| Err(DocumentError::Refused(refusal));
        if messages.len() > bound::MESSAGES_PER_CHANGE_MAX {
            return refused(Refusal::MessageBounds);
        }
        if actor == self.genesis.actor() {
            return refused(Refusal::ForeignActor);
        }
        let mut ids: Vec<_> = messages.iter().map(|message| message.id).collect();
        ids.sort_unstable();
        let distinct = ids.is_sorted_by(|left, right| left < right);
        if !distinct || ids.iter().any(|id| self.index.messages().contains_key(id)) {
            return refused(Refusal::MessageExists);
        }
        for message in messages {
            message
                .check(Some(first.id.author_tag()))
                .map_err(DocumentError::Refused)?;
        }
        self.check_room(actor, messages)
    }

    /// Whether one more change of `actor`, of any size that others take, finds room. One whose room
    /// is used up writes to the next segment.
    #[must_use]
    pub fn has_room(&self, actor: &[u8; 16]) -> bool {
        let Ok(past) = self.index.past(actor, &self.heads()) else {
            return false;
        };
        let share = self.index.share(actor, past.own_seq);
        let change = u64::try_from(bound::CHANGE_BYTES_MAX).unwrap_or(u64::MAX);
        let operations = u64::try_from(bound::CHANGE_OPS_MAX).unwrap_or(u64::MAX);
        let messages = u32::try_from(bound::MESSAGES_PER_CHANGE_MAX).unwrap_or(u32::MAX);
        share.bytes.saturating_add(change) <= bound::AUTHOR_BYTES_MAX
            && share.messages.saturating_add(messages) <= bound::AUTHOR_MESSAGES_MAX
            && past.max_op.saturating_add(operations) <= bound::OP_COUNTER_MAX
    }

    fn check_room(&self, actor: &[u8; 16], messages: &[NewMessage]) -> Result<(), DocumentError> {
        let heads = self.heads();
        let past = self
            .index
            .past(actor, &heads)
            .map_err(|_| DocumentError::Inconsistent)?;
        if self
            .index
            .change_of(actor, past.own_seq.saturating_add(1))
            .is_some()
        {
            return Err(DocumentError::Inconsistent);
        }
        let change = shape::MessageChange {
            // Automerge names the actor's last change beside the heads.
            deps: heads
                .into_iter()
                .chain(self.index.change_of(actor, past.own_seq))
                .collect(),
            actor: *actor,
            seq: past.own_seq.saturating_add(1),
            start_op: past.max_op.saturating_add(1),
            messages: messages.to_vec(),
        };
        let length = change.write(&self.genesis).len();
        let share = self.index.share(actor, past.own_seq);
        let bytes = share
            .bytes
            .saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        let count = u32::try_from(messages.len()).unwrap_or(u32::MAX);
        let refusal = if length > bound::CHANGE_BYTES_MAX {
            Refusal::TooLong
        } else if change.max_op() > bound::OP_COUNTER_MAX {
            Refusal::OpCounter
        } else if change.deps.len() > bound::CHANGE_DEPS_MAX {
            Refusal::Dependencies
        } else if bytes > bound::AUTHOR_BYTES_MAX
            || share.messages.saturating_add(count) > bound::AUTHOR_MESSAGES_MAX
        {
            Refusal::AuthorShare
        } else {
            return Ok(());
        };
        Err(DocumentError::Refused(refusal))
    }
}

fn write_messages(
    doc: &mut Automerge,
    genesis: &Genesis,
    messages: &[NewMessage],
) -> Result<(), automerge::AutomergeError> {
    let written = doc.transact(|tx| {
        for message in messages {
            let shard: ObjId = genesis.object(Genesis::shard_op(&message.id));
            let object = tx.put_object(&shard, message.id.to_string(), ObjType::Map)?;
            tx.put(&object, shape::TEXT, message.text.as_str())?;
            if let Some(reply) = &message.reply_to {
                tx.put(&object, shape::REPLY, reply.as_bytes().to_vec())?;
            }
            if message.kind == MessageKind::System {
                tx.put(&object, shape::KIND, shape::KIND_SYSTEM)?;
            }
            if let Some(origin) = &message.origin {
                tx.put(&object, shape::BY, origin.author.as_str())?;
                let at = automerge::ScalarValue::Timestamp(origin.time_ms);
                tx.put(&object, shape::AT, at)?;
            }
        }
        Ok(())
    });
    written.map(drop).map_err(|failure| failure.error)
}
