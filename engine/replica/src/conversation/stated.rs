//! Snapshots: what a device states that the conversation comes to, signed, for those who come later
//! (docs/decisions/0017-snapshots-for-newcomers.md).

mod compare;

use serde::{Deserialize, Serialize};

use sheaf_crypto::{DeviceId, EpochId, Inner, ItemId, Kind as Purpose, RunId, item_of_record};

use super::checkpoint::CheckpointBody;
use super::inbound::{Source, Verdict};
use super::{Conversation, Work};
use crate::command::{CommandError, SnapshotInfo};
use crate::context::Context;
use crate::control::View;
use crate::epoch::Choice;
use crate::limits;
use crate::record::{Compared, EnvelopeRecord, Kind, Sealed, StatedRecord, Write};
use crate::time::Timestamp;
use crate::topic::Read;

pub(super) use compare::Comparing;

const VERSION: u8 = 1;

/// What a snapshot says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Statement {
    version: u8,
    pub(super) chains: Vec<StatedChain>,
    pub(super) segments: Vec<StatedSegment>,
    /// How far its maker had read each topic; everything up to there is part of the frontier.
    pub(super) read: Vec<Read>,
}

/// One chain up to the frontier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StatedChain {
    pub(super) device: DeviceId,
    pub(super) run: RunId,
    pub(super) first: u64,
    pub(super) seq: u64,
    pub(super) item: ItemId,
}

/// One document at the frontier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StatedSegment {
    pub(super) segment: u32,
    pub(super) heads: Vec<[u8; 32]>,
    /// A figure to show; only the heads prove anything.
    pub(super) messages: u32,
}

/// Snapshots that are remembered, the oldest first, and when the next is made here.
#[derive(Default)]
pub(super) struct Stated {
    known: Vec<StatedRecord>,
    due: Option<Timestamp>,
}

/// A snapshot that was just taken in.
pub(super) struct NewStatement {
    pub(super) inner: Inner,
    pub(super) item: ItemId,
    pub(super) epoch: EpochId,
    pub(super) wire: Vec<u8>,
}

impl Statement {
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (statement, rest) = postcard::take_from_bytes::<Self>(bytes).ok()?;
        let chains = statement.chains.iter();
        let names = chains.map(|chain| (chain.device, chain.run));
        let chains = statement.chains.iter();
        let sound = rest.is_empty()
            && statement.version == VERSION
            && names.is_sorted_by(|a, b| a < b)
            && chains.map(|chain| chain.first).all(|first| first > 0)
            && statement.chains.iter().all(|c| c.first <= c.seq)
            && statement
                .segments
                .is_sorted_by(|a, b| a.segment < b.segment)
            && statement.segments.iter().all(|s| !s.heads.is_empty())
            && statement
                .segments
                .iter()
                .all(|s| s.heads.is_sorted_by(|a, b| a < b));
        sound.then_some(statement)
    }

    fn items(&self) -> u64 {
        let chains = self.chains.iter();
        let items = chains.map(|c| c.seq.saturating_sub(c.first).saturating_add(1));
        items.fold(0, u64::saturating_add)
    }
}

impl Stated {
    pub(super) fn restore(&mut self, mut records: Vec<StatedRecord>) {
        records.sort_unstable_by_key(|record| record.number);
        self.known = records;
    }

    pub(super) fn get(&self, item: &ItemId) -> Option<&StatedRecord> {
        self.known.iter().find(|known| known.item == *item)
    }

    /// The newest that is right as far as it was compared here and has not been told to be so.
    pub(super) fn to_tell(&self) -> Option<ItemId> {
        let newest = self.known.iter().next_back()?;
        let right = newest.compared == Compared::Right && !newest.told;
        right.then_some(newest.item)
    }
}

impl Conversation {
    /// Neither cuts nor forks nor what is kept back stand in the way of a snapshot.
    pub(super) fn is_plain(&self) -> bool {
        let view = self.control.current();
        !view.since_join
            && view.cuts.is_empty()
            && view.forked.is_empty()
            && self.chains.forked().next().is_none()
            && self.kept_back().next().is_none()
            && !self.is_starting()
    }

    /// Items and segments beyond the last snapshot that is not known to be false.
    fn beyond_statement(&self) -> (u64, u32) {
        let chains = self.chains.iter().map(|(_, chain)| chain);
        let items = chains.map(|c| c.head.saturating_sub(c.first).saturating_add(1));
        let items = items.fold(0, u64::saturating_add);
        let segments = u32::try_from(self.segments.indices().count()).unwrap_or(u32::MAX);
        let mut known = self.stated.known.iter().rev();
        let last = known.find(|known| known.compared != Compared::False);
        let (then, filled) = last.map_or((0, 1), |last| (last.items, last.segments));
        (items.saturating_sub(then), segments.saturating_sub(filled))
    }

    /// Makes a snapshot where one is worth it, once everybody has everything. The device with the
    /// lowest id does it, then the next.
    pub(super) fn state(&mut self, context: &mut Context<'_>) {
        let (items, segments) = self.beyond_statement();
        let worth = items >= limits::SNAPSHOT_ITEMS || segments >= limits::SNAPSHOT_SEGMENTS;
        if !worth || !self.may_state(context) {
            self.stated.due = None;
            return;
        }
        let own = context.account.device();
        match self.stated.due {
            None => {
                let view = self.control.current();
                let before = view.live().filter(|(device, _)| **device < own).count();
                let turn = u64::try_from(before).unwrap_or(u64::MAX);
                let delay = turn.saturating_mul(limits::SNAPSHOT_TURN_MS);
                self.state_in(delay.saturating_add(limits::ACKNOWLEDGE_MS_MIN), context);
            }
            Some(due) if due <= context.now => {
                if let Err(error) = self.state_now(context) {
                    tracing::warn!(%error, "no snapshot is made");
                    // Nothing is woken for it: it is tried with what comes after that.
                    self.stated.due = Some(context.now.after_ms(limits::UPKEEP_MS));
                }
            }
            Some(_) => {}
        }
    }

    fn state_in(&mut self, delay: u64, context: &mut Context<'_>) {
        let due = context.now.after_ms(delay);
        self.stated.due = Some(due);
        context.agenda.at(due, self.id);
    }

    fn may_state(&self, context: &Context<'_>) -> bool {
        let own = context.account.device();
        context.link_is_up()
            && self.pending.is_empty()
            && !self.is_waiting()
            && !self.is_busy()
            && self.is_plain()
            && self.segments.away().next().is_none()
            && self.is_part(context)
            && context.topics.conversation_live(&self.id)
            && self.all_have_everything(own)
    }

    fn state_now(&mut self, context: &mut Context<'_>) -> Result<(), CommandError> {
        let Choice::Use(epoch) = self.epochs.choose(&self.control, context.now) else {
            self.stated.due = Some(context.now.after_ms(limits::SNAPSHOT_TURN_MS));
            return Ok(());
        };
        let fault = |what: &str| CommandError::Fault(what.to_owned());
        let statement = self
            .statement(context)
            .ok_or_else(|| fault("not every chain can be named"))?;
        let body = postcard::to_allocvec(&statement).map_err(|e| fault(&e.to_string()))?;
        if body.len() > limits::SNAPSHOT_STATEMENT_BYTES_MAX {
            return Err(fault("the conversation is too large for one"));
        }
        let wire = self.send_item(Purpose::Snapshot, body, epoch, context)?;
        self.stated.due = None;
        let made = Sealed {
            device: context.account.device(),
            epoch,
            wire,
        };
        self.remember_statement(&statement, made, Compared::Right, context);
        Ok(())
    }

    /// What the conversation comes to here; nothing if this device's next item cannot name all of it.
    fn statement(&self, context: &Context<'_>) -> Option<Statement> {
        let own = (context.account.device(), self.own_run(context));
        let named = self.unacknowledged(context);
        let mut chains = Vec::new();
        for ((device, run), chain) in self.chains.iter() {
            let Some((seq, item)) = self.counted(device, run) else {
                continue;
            };
            let mut named = named.iter();
            let named = named
                .find(|seen| (seen.device, seen.run) == (*device, *run))
                .map_or(0, |seen| seen.seq);
            let seen = self.has_seen(&own.0, chain.index).max(named);
            if (*device, *run) != own && seen < seq {
                return None;
            }
            chains.push(StatedChain {
                device: *device,
                run: *run,
                first: chain.first,
                seq,
                item,
            });
        }
        let segments = self.segments.all();
        let segments = segments.filter(|(_, _, heads)| !heads.is_empty());
        let segments = segments.map(|(segment, messages, heads)| StatedSegment {
            segment,
            heads: heads.to_vec(),
            messages,
        });
        let mut read = context.topics.taken(&self.id);
        let view = self.control.current();
        let depth = |topic: &sheaf_protocol::TopicId| {
            let mut held = self.epochs.iter();
            let epoch = held.find(|(_, held)| held.keys.topic() == *topic);
            let facts = epoch.and_then(|(epoch, _)| view.epochs.get(epoch));
            facts.map_or(0, |facts| facts.depth)
        };
        for (_, _, topics) in &mut read {
            topics.sort_by_cached_key(|(topic, _)| std::cmp::Reverse(depth(topic)));
            topics.truncate(limits::SNAPSHOT_TOPICS_MAX);
        }
        Some(Statement {
            version: VERSION,
            chains,
            segments: segments.collect(),
            read,
        })
    }

    pub(super) fn remember_statement(
        &mut self,
        statement: &Statement,
        made: Sealed,
        compared: Compared,
        context: &mut Context<'_>,
    ) {
        let last = self.stated.known.iter().next_back();
        let record = StatedRecord {
            conversation: self.id,
            number: last.map_or(0, |last| last.number.saturating_add(1)),
            item: item_of_record(&made.wire),
            told: made.device == context.account.device(),
            made,
            verified: None,
            compared,
            items: statement.items(),
            segments: u32::try_from(statement.segments.len()).unwrap_or(u32::MAX),
        };
        self.write_stated(&record, context);
        self.stated.known.push(record);
        // One that can be used is kept, however many come that nobody verifies.
        let used = self.usable().map(|used| used.item);
        while self.stated.known.len() > limits::SNAPSHOTS_KEPT_MAX {
            let mut known = self.stated.known.iter();
            let Some(oldest) = known.position(|known| Some(known.item) != used) else {
                break;
            };
            let oldest = self.stated.known.remove(oldest);
            let order = oldest.number.to_be_bytes();
            let write = Write::delete(Kind::Stated, &self.id.0, &order);
            context.stage.write_last(write);
        }
    }

    fn write_stated(&self, record: &StatedRecord, context: &mut Context<'_>) {
        let order = record.number.to_be_bytes();
        let write = Write::put(Kind::Stated, &self.id.0, &order, record);
        context.stage.write_last(write);
    }

    pub(super) fn edit_stated(
        &mut self,
        item: &ItemId,
        change: impl FnOnce(&mut StatedRecord),
        context: &mut Context<'_>,
    ) {
        let mut known = self.stated.known.iter_mut();
        let Some(record) = known.find(|known| known.item == *item) else {
            return;
        };
        change(record);
        let record = record.clone();
        self.write_stated(&record, context);
    }

    /// The newest snapshot that two devices stand for which take part.
    pub(super) fn usable(&self) -> Option<&StatedRecord> {
        if !self.is_plain() {
            return None;
        }
        let view = self.control.current();
        let live = |by: &Sealed| view.live().any(|(device, _)| *device == by.device);
        let mut known = self.stated.known.iter().rev();
        known.find(|known| {
            known.compared != Compared::False
                && live(&known.made)
                && known.verified.as_ref().is_some_and(live)
        })
    }

    /// The same, as shown to people.
    pub(super) fn snapshot(&self) -> Option<SnapshotInfo> {
        let known = self.usable()?;
        Some(SnapshotInfo {
            maker: known.made.device,
            verifier: known.verified.as_ref()?.device,
            items: known.items,
            segments: known.segments,
        })
    }

    /// A snapshot comes in: its place in the chain is that of any item.
    pub(super) fn examine_statement(
        &mut self,
        source: Source,
        wire: &[u8],
        inner: Inner,
        view: &View,
        context: &mut Context<'_>,
    ) -> Verdict {
        let item = item_of_record(wire);
        if let Err(verdict) = self.placed(&inner, item, wire, source, (None, view), context) {
            return verdict;
        }
        self.accept_written(&inner, item, view, context);
        self.epochs.count(&source.epoch);
        self.keep_aside(&inner, source.epoch, wire.to_vec(), context);
        let withheld = self.is_withheld(&inner);
        if withheld {
            self.withhold(&inner, limits::ASIDE, context);
        } else {
            self.vouched(&inner, context);
        }
        self.work.push_back(Work::Retry);
        if withheld {
            return Verdict::Done;
        }
        Verdict::Stated(Box::new(NewStatement {
            inner,
            item,
            epoch: source.epoch,
            wire: wire.to_vec(),
        }))
    }

    /// Takes note of what a checkpoint says of snapshots.
    pub(super) fn note_told(
        &mut self,
        inner: &Inner,
        epoch: EpochId,
        wire: &[u8],
        context: &mut Context<'_>,
    ) {
        let Some(body) = CheckpointBody::decode(&inner.body) else {
            return;
        };
        if let Some(unread) = body.unread {
            self.note_unread(inner.device, unread, context);
        }
        let Some(item) = body.verified else {
            return;
        };
        let by = Sealed {
            device: inner.device,
            epoch,
            wire: wire.to_vec(),
        };
        self.verified_by(&item, by, context);
    }

    pub(super) fn verified_by(&mut self, item: &ItemId, by: Sealed, context: &mut Context<'_>) {
        let view = std::sync::Arc::clone(self.control.current());
        let live = |by: &Sealed| view.live().any(|(device, _)| *device == by.device);
        let change = |known: &mut StatedRecord| {
            let stands = known.verified.as_ref().is_some_and(live);
            if known.made.device != by.device && !stands {
                known.verified = Some(by);
            }
        };
        self.edit_stated(item, change, context);
    }

    /// Opens a snapshot that is remembered.
    pub(super) fn stated_by(&self, known: &StatedRecord) -> Option<(Inner, Statement)> {
        let envelope = EnvelopeRecord {
            epoch: known.made.epoch,
            arrival: 0,
            refused: false,
            wire: known.made.wire.clone(),
        };
        let inner = self.reopened(&envelope)?;
        let statement = Statement::decode(&inner.body)?;
        Some((inner, statement))
    }
}
