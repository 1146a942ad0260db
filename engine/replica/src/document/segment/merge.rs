//! Changes from other devices.

use std::collections::{BTreeMap, VecDeque};

use automerge::{Automerge, Change, ReadDoc};

use super::Segment;
use crate::document::codec::decode_payload;
use crate::document::error::Refusal;
use crate::document::gate::{self, Passed, Sender, Verdict, guarded};
use crate::document::message::NewMessage;

/// The changes of one envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The only actor that the envelope's author may use here.
    pub actor: [u8; 16],
    /// What ids of the author's messages end in.
    pub author_tag: [u8; 8],
    /// The changes, uncompressed, in the order of the actor's chain.
    pub changes: Vec<Vec<u8>>,
}

/// What became of one [`Incoming`]. Its changes are taken together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is in the segment now.
    Applied {
        /// The messages that are new and show. One whose id was there already was written at the
        /// same time by the same device and takes the place of the other.
        messages: Vec<NewMessage>,
        /// Whether the application state was written to.
        changed_document: bool,
    },
    /// Nothing was taken; hand it in again once these changes are here.
    Missing(Vec<[u8; 32]>),
    /// All of it was in the segment before.
    Duplicate,
    /// Nothing of it was or will be taken.
    Refused(Refusal),
}

/// Changes that passed the gate and wait to be applied together.
#[derive(Default)]
struct Stage {
    changes: Vec<Change>,
    hashes: Vec<[u8; 32]>,
    has_marks: bool,
}

impl Segment {
    /// Decodes one envelope's payload. See [`decode_payload`].
    ///
    /// # Errors
    /// [`crate::document::CodecError`] if the payload is malformed or beyond a bound.
    pub fn incoming(
        &self,
        actor: [u8; 16],
        author_tag: [u8; 8],
        payload: &[u8],
    ) -> Result<Incoming, crate::document::CodecError> {
        let changes = decode_payload(&self.genesis, &actor, payload)?;
        Ok(Incoming {
            actor,
            author_tag,
            changes,
        })
    }

    /// Merges envelopes, in whatever order they come; all that pass the gate are applied at once.
    /// The outcomes are in the order of `batch`.
    pub fn merge(&mut self, batch: &[Incoming]) -> Vec<Outcome> {
        let start = self.index.mark();
        let mut stage = Stage::default();
        let (outcomes, order) = self.stage_all(batch, &mut stage);
        if stage.changes.is_empty() {
            self.index.settle();
            return outcomes;
        }
        if let Some(doc) = self.applied(stage) {
            self.doc = doc;
            self.index.settle();
            return outcomes;
        }
        self.index.take_back(start);
        self.merge_singly(batch, outcomes, &order)
    }

    /// Stages what can be staged; what waits for another envelope of the batch is tried again when
    /// that one is in. Also returns the order in which envelopes were staged.
    fn stage_all(&mut self, batch: &[Incoming], stage: &mut Stage) -> (Vec<Outcome>, Vec<usize>) {
        let mut outcomes = vec![Outcome::Duplicate; batch.len()];
        let mut order = Vec::with_capacity(batch.len());
        let mut waiting: BTreeMap<[u8; 32], Vec<usize>> = BTreeMap::new();
        let mut queue: VecDeque<usize> = (0..batch.len()).collect();
        while let Some(number) = queue.pop_front() {
            let (Some(incoming), Some(slot)) = (batch.get(number), outcomes.get_mut(number)) else {
                continue;
            };
            let staged = stage.hashes.len();
            *slot = self.stage(incoming, stage);
            match slot {
                Outcome::Applied { .. } => {
                    order.push(number);
                    for hash in stage.hashes.iter().skip(staged) {
                        queue.extend(waiting.remove(hash).unwrap_or_default());
                    }
                }
                Outcome::Missing(deps) => {
                    if let Some(first) = deps.first() {
                        waiting.entry(*first).or_default().push(number);
                    }
                }
                Outcome::Duplicate | Outcome::Refused(_) => {}
            }
        }
        (outcomes, order)
    }

    /// Passes one envelope through the gate and enters it into the index.
    fn stage(&mut self, incoming: &Incoming, stage: &mut Stage) -> Outcome {
        let mark = self.index.mark();
        let staged = stage.changes.len();
        let had_marks = stage.has_marks;
        let outcome = self.stage_changes(incoming, stage);
        if !matches!(outcome, Outcome::Applied { .. }) {
            self.index.take_back(mark);
            stage.changes.truncate(staged);
            stage.hashes.truncate(staged);
            stage.has_marks = had_marks;
        }
        outcome
    }

    fn stage_changes(&mut self, incoming: &Incoming, stage: &mut Stage) -> Outcome {
        let Incoming {
            actor,
            author_tag,
            changes,
        } = incoming;
        if actor == self.genesis.actor() {
            return Outcome::Refused(Refusal::ForeignActor);
        }
        if changes.is_empty() {
            return Outcome::Refused(Refusal::Empty);
        }
        let sender = Sender {
            actor: *actor,
            author_tag: Some(*author_tag),
        };
        let mut shown = Vec::new();
        let mut changed_document = false;
        let mut any = false;
        for bytes in changes {
            let passed = match gate::examine(&self.index, &self.genesis, &sender, bytes) {
                Verdict::Known => continue,
                Verdict::Missing(deps) => return Outcome::Missing(deps),
                Verdict::Refused(refusal) => return Outcome::Refused(refusal),
                Verdict::Admitted(passed) => *passed,
            };
            any = true;
            changed_document |= passed.messages.is_empty();
            shown.extend(self.enter(passed, stage));
        }
        if any {
            Outcome::Applied {
                messages: shown,
                changed_document,
            }
        } else {
            Outcome::Duplicate
        }
    }

    fn enter(&mut self, passed: Passed, stage: &mut Stage) -> Vec<NewMessage> {
        stage.hashes.push(passed.entry.hash);
        let ids = self.index.enter(passed.entry);
        stage.changes.extend(passed.change);
        stage.has_marks |= passed.has_marks;
        let mut messages = passed.messages;
        if ids.len() < messages.len() {
            messages.retain(|message| ids.contains(&message.id));
        }
        messages
    }

    /// A copy of the document with the changes in it, if Automerge takes them all and can load
    /// what it then saves where marks are concerned.
    fn applied(&self, stage: Stage) -> Option<Automerge> {
        guarded(|| {
            let mut doc = self.doc.clone();
            doc.apply_changes(stage.changes).ok()?;
            if !doc.get_missing_deps(&[]).is_empty() {
                return None;
            }
            if stage.has_marks {
                let loaded = Automerge::load(&doc.save_nocompress()).ok()?;
                if loaded.get_heads() != doc.get_heads() {
                    return None;
                }
            }
            Some(doc)
        })
        .flatten()
    }

    /// The slow way after a batch that could not be applied: one envelope after the other, so that
    /// only those are refused that Automerge does not take, and those that wait for them.
    fn merge_singly(
        &mut self,
        batch: &[Incoming],
        mut outcomes: Vec<Outcome>,
        order: &[usize],
    ) -> Vec<Outcome> {
        for number in order {
            let Some(incoming) = batch.get(*number) else {
                continue;
            };
            let mark = self.index.mark();
            let mut stage = Stage::default();
            let mut outcome = self.stage(incoming, &mut stage);
            if !stage.changes.is_empty() {
                if let Some(doc) = self.applied(stage) {
                    self.doc = doc;
                } else {
                    self.index.take_back(mark);
                    outcome = Outcome::Refused(Refusal::NotApplicable);
                }
            }
            if let Some(slot) = outcomes.get_mut(*number) {
                *slot = outcome;
            }
            self.index.settle();
        }
        self.index.settle();
        outcomes
    }
}
