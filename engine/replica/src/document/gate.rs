//! The gate: what a change from outside must be before Automerge sees it.
//!
//! The verdict is a function of the change and its causal past, so every device that holds the past
//! comes to the same one. The single exception is [`Refusal::Equivocation`]: of two changes with
//! one actor and sequence number the first to arrive stands, and the second is proof.

mod state;

use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::Change;

use super::bound;
use super::chunk::Chunk;
use super::error::Refusal;
use super::genesis::Genesis;
use super::index::{Admitted, Content, Index, OpRef, Past, Share};
use super::message::NewMessage;
use super::shape::MessageChange;

/// Who hands in a change, as the envelope around it proved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender {
    /// The only actor whose changes are taken.
    pub(super) actor: [u8; 16],
    /// Tag that ids of new messages must bear; `None` for changes that are in the document already
    /// and only enter the index.
    pub(super) author_tag: Option<[u8; 8]>,
}

/// What the gate says of one change.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is here already.
    Known,
    /// It waits for these.
    Missing(Vec<[u8; 32]>),
    /// It stays outside.
    Refused(Refusal),
    /// It may be applied.
    Admitted(Box<Passed>),
}

/// A change that may be applied.
#[derive(Debug)]
pub(super) struct Passed {
    pub(super) entry: Admitted,
    /// The change for Automerge; `None` for one that is in the document already.
    pub(super) change: Option<Change>,
    pub(super) messages: Vec<NewMessage>,
    /// Automerge can write a text whose marks it does not read again, so the document has to be
    /// loaded once before it is trusted.
    pub(super) has_marks: bool,
}

/// Examines one change.
pub(super) fn examine(index: &Index, genesis: &Genesis, sender: &Sender, bytes: &[u8]) -> Verdict {
    if bytes.len() > bound::CHANGE_BYTES_MAX {
        return Verdict::Refused(Refusal::TooLong);
    }
    let Some((chunk, hash)) = Chunk::read(bytes) else {
        return Verdict::Refused(Refusal::Malformed);
    };
    if index.contains(&hash) {
        return Verdict::Known;
    }
    if let Err(refusal) = check_head(&chunk, sender) {
        return Verdict::Refused(refusal);
    }
    let past = match index.past(&sender.actor, &chunk.deps) {
        Ok(past) => past,
        Err(missing) => return Verdict::Missing(missing),
    };
    let candidate = Candidate {
        index,
        genesis,
        sender,
        bytes,
        chunk: &chunk,
        hash,
        past,
    };
    match candidate.examine() {
        Ok(passed) => Verdict::Admitted(Box::new(passed)),
        Err(refusal) => Verdict::Refused(refusal),
    }
}

/// What can be said without the past.
fn check_head(chunk: &Chunk<'_>, sender: &Sender) -> Result<(), Refusal> {
    if chunk.actor != sender.actor {
        return Err(Refusal::ForeignActor);
    }
    if chunk.time != 0 || !chunk.message.is_empty() || !chunk.extra.is_empty() {
        return Err(Refusal::Extra);
    }
    let sorted = chunk.deps.is_sorted_by(|left, right| left < right);
    if !sorted || chunk.deps.is_empty() || chunk.deps.len() > bound::CHANGE_DEPS_MAX {
        return Err(Refusal::Dependencies);
    }
    if chunk.start_op > bound::OP_COUNTER_MAX {
        return Err(Refusal::OpCounter);
    }
    Ok(())
}

/// A change whose causal past is here.
struct Candidate<'a> {
    index: &'a Index,
    genesis: &'a Genesis,
    sender: &'a Sender,
    bytes: &'a [u8],
    chunk: &'a Chunk<'a>,
    hash: [u8; 32],
    past: Past,
}

impl Candidate<'_> {
    fn examine(self) -> Result<Passed, Refusal> {
        let chunk = self.chunk;
        if chunk.seq != self.past.own_seq.saturating_add(1) {
            return Err(Refusal::Sequence);
        }
        if self
            .index
            .change_of(&self.sender.actor, chunk.seq)
            .is_some()
        {
            return Err(Refusal::Equivocation);
        }
        if chunk.start_op != self.past.max_op.saturating_add(1) {
            return Err(Refusal::StartOp);
        }
        match MessageChange::read(chunk, self.genesis) {
            Some(change) => self.examine_messages(change),
            None => self.examine_state(),
        }
    }

    fn examine_messages(self, change: MessageChange) -> Result<Passed, Refusal> {
        let mut placed: Vec<(OpRef, _)> = Vec::with_capacity(change.messages.len());
        for (counter, message) in change.placed() {
            message.check(self.sender.author_tag)?;
            if self.index.message_in(&self.past, &message.id) {
                return Err(Refusal::MessageExists);
            }
            placed.push((
                OpRef {
                    counter,
                    actor: self.sender.actor,
                },
                message.id,
            ));
        }
        let mut ids: Vec<_> = change.messages.iter().map(|message| message.id).collect();
        ids.sort_unstable();
        if !ids.is_sorted_by(|left, right| left < right) {
            return Err(Refusal::MessageExists);
        }
        let max_op = change.max_op();
        let count = u32::try_from(placed.len()).unwrap_or(u32::MAX);
        let parsed = self
            .sender
            .author_tag
            .map(|_| parse(self.bytes))
            .transpose()?;
        let entry = self.admit(max_op, count, Content::Messages(placed))?;
        Ok(Passed {
            entry,
            change: parsed,
            messages: change.messages,
            has_marks: false,
        })
    }

    fn examine_state(self) -> Result<Passed, Refusal> {
        let parsed = parse(self.bytes)?;
        if parsed.len() > bound::CHANGE_OPS_MAX {
            return Err(Refusal::TooManyOps);
        }
        if parsed.is_empty() {
            return Err(Refusal::Empty);
        }
        let expanded = guarded(|| {
            let expanded = parsed.decode();
            let again = Change::from(expanded.clone());
            (again.raw_bytes() == self.bytes).then_some(expanded)
        })
        .ok_or(Refusal::NotCanonical)?
        .ok_or(Refusal::NotCanonical)?;
        let found = state::examine(
            self.index,
            &self.past,
            self.genesis,
            &self.sender.actor,
            &expanded,
        )?;
        let has_marks = found.has_marks;
        let content = Content::State {
            objects: found.objects,
            facts: found.facts,
        };
        let entry = self.admit(parsed.max_op(), 0, content)?;
        Ok(Passed {
            entry,
            change: Some(parsed),
            messages: Vec::new(),
            has_marks,
        })
    }

    /// Checks what the actor has used of the segment.
    fn admit(self, max_op: u64, messages: u32, content: Content) -> Result<Admitted, Refusal> {
        if max_op > bound::OP_COUNTER_MAX {
            return Err(Refusal::OpCounter);
        }
        let before = self.index.share(&self.sender.actor, self.past.own_seq);
        let length = u64::try_from(self.bytes.len()).unwrap_or(u64::MAX);
        let share = Share {
            bytes: before.bytes.saturating_add(length),
            messages: before.messages.saturating_add(messages),
        };
        if share.bytes > bound::AUTHOR_BYTES_MAX || share.messages > bound::AUTHOR_MESSAGES_MAX {
            return Err(Refusal::AuthorShare);
        }
        Ok(Admitted {
            hash: self.hash,
            actor: self.sender.actor,
            start_op: self.chunk.start_op,
            max_op,
            past: self.past,
            share,
            content,
        })
    }
}

fn parse(bytes: &[u8]) -> Result<Change, Refusal> {
    guarded(|| Change::try_from(bytes).ok())
        .flatten()
        .ok_or(Refusal::NotCanonical)
}

/// Runs `work` on Automerge's code; `None` if it panicked. What `work` changed must be thrown away
/// then.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}
