//! Where a newcomer begins: at a snapshot that two devices stand for. What came before it is away,
//! and comes by itself (docs/decisions/0017-snapshots-for-newcomers.md).

mod reread;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use sheaf_crypto::{DeviceId, Inner, Kind as Purpose, item_of_record};

use super::Conversation;
use super::checkpoint::CheckpointBody;
use super::segments::Gone;
use super::stated::Statement;
use crate::context::Context;
use crate::epoch::is_safe;
use crate::limits;
use crate::record::{Away, Compared, Keep, Kind, Sealed, SegmentRecord, StartRecord, Write};
use crate::time::Timestamp;

/// A snapshot for somebody who begins, and the checkpoint of another device that verifies it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Beginning {
    made: Sealed,
    verified: Sealed,
}

/// What a snapshot stated is not all proved yet.
pub(super) struct Start {
    record: StartRecord,
    stage: Stage,
    /// When something of it came last, while there was a connection.
    since: Option<Timestamp>,
    /// How long it is waited for more, in milliseconds.
    patience: u64,
    /// What the relays gave of the frontier.
    given: reread::Given,
}

/// How history comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Devices are asked.
    Asking,
    /// The relays are read from the beginning as well.
    Reading,
    /// They were read to the end.
    Read,
}

impl Start {
    fn new(record: StartRecord, patience: u64) -> Self {
        Self {
            record,
            stage: Stage::Asking,
            since: None,
            patience,
            given: reread::Given::default(),
        }
    }

    fn upto(&self, chain: u32) -> u64 {
        let mut frontier = self.record.frontier.iter();
        let place = frontier.find(|(index, _)| *index == chain);
        place.map_or(0, |(_, seq)| *seq)
    }
}

impl Conversation {
    /// Not all is proved of what a snapshot stated when this device began.
    pub(crate) fn is_starting(&self) -> bool {
        self.start.is_some()
    }

    /// History is on its way, and what can be done by itself was not all done.
    pub(crate) fn is_beginning(&self) -> bool {
        let start = self.start.as_ref();
        start.is_some_and(|start| start.stage != Stage::Read)
    }

    pub(super) fn restore_start(&mut self, record: Option<StartRecord>) {
        let Some(record) = record else {
            return;
        };
        self.began = record.frontier.iter().copied().collect();
        if !record.proved {
            let patience = limits::START_AGAIN_PATIENCE_MS;
            self.start = Some(Box::new(Start::new(record, patience)));
        }
    }

    /// What a newcomer is given to begin at.
    pub(super) fn beginning(&self) -> Option<Beginning> {
        let known = self.usable()?;
        Some(Beginning {
            made: known.made.clone(),
            verified: known.verified.clone()?,
        })
    }

    /// Begins at a snapshot; nothing changes if it does not verify. History is asked for first of the
    /// device that gave it: that one is running.
    pub(super) fn begin_at(
        &mut self,
        beginning: &Beginning,
        by: DeviceId,
        context: &mut Context<'_>,
    ) -> bool {
        let Some((inner, statement)) = self.verified_statement(beginning, context) else {
            return false;
        };
        let item = item_of_record(&beginning.made.wire);
        let now = context.now;
        let mut upto = BTreeMap::new();
        for stated in &statement.chains {
            let name = (stated.device, stated.run);
            let places = (stated.first, stated.seq);
            let index = self.chains.take_over(name, places, stated.item, now);
            self.write_chain(name.0, name.1, context);
            self.seen.insert(name, (stated.seq, stated.item));
            self.arrivals = self.arrivals.saturating_add(stated.seq);
            upto.insert(index, stated.seq);
        }
        let then = self.control.view(&inner.control_heads);
        let then = then.map(|view| view.live().map(|(device, _)| *device).collect::<Vec<_>>());
        let own = context.account.device();
        let mut devices = then.unwrap_or_default();
        devices.retain(|device| *device != own);
        self.suppose_seen(&devices, &upto, context);
        for stated in &statement.segments {
            self.segments.restore(SegmentRecord {
                conversation: self.id,
                segment: stated.segment,
                messages: stated.messages,
                heads: stated.heads.clone(),
                tail_bytes: 0,
                snapshot_bytes: 0,
            });
            let gone = Gone {
                why: Away::Unread,
                upto: upto.clone(),
                span: None,
            };
            self.put_away(stated.segment, gone, context);
            self.fetching.want(stated.segment);
        }
        self.fetching.ask_first(by);
        self.note_heard(by, now.after_ms(1), context);
        self.remember_statement(&statement, beginning.made.clone(), Compared::Never, context);
        self.verified_by(&item, beginning.verified.clone(), context);
        let record = StartRecord {
            conversation: self.id,
            item,
            by: [beginning.made.device, beginning.verified.device],
            frontier: upto.into_iter().collect(),
            reading: false,
            proved: false,
        };
        self.began = record.frontier.iter().copied().collect();
        self.write_start(&record, context);
        let patience = limits::START_PATIENCE_MS;
        self.start = Some(Box::new(Start::new(record, patience)));
        self.note_unread(own, true, context);
        context.topics.begin_at(&statement.read);
        true
    }

    fn write_start(&self, record: &StartRecord, context: &mut Context<'_>) {
        let write = Write::put(Kind::Start, &self.id.0, &[], record);
        context.stage.write_last(write);
    }

    /// A snapshot by a device that takes part, verified by another one.
    fn verified_statement(
        &mut self,
        beginning: &Beginning,
        context: &Context<'_>,
    ) -> Option<(Inner, Statement)> {
        if !self.is_plain() {
            return None;
        }
        let inner = self.signed(&beginning.made, Purpose::Snapshot)?;
        let checkpoint = self.signed(&beginning.verified, Purpose::Checkpoint)?;
        let item = item_of_record(&beginning.made.wire);
        let verified = CheckpointBody::decode(&checkpoint.body)?.verified == Some(item);
        let statement = Statement::decode(&inner.body)?;
        let own = context.account.device();
        let view = self.control.current();
        let live =
            |device: &DeviceId| *device != own && view.live().any(|(known, _)| known == device);
        let mut chains = statement.chains.iter();
        let members = chains.all(|stated| {
            stated.device != own && self.control.signing_key(&stated.device).is_some()
        });
        let mut segments = statement.segments.iter();
        let windows = segments.all(|stated| view.has_segment(stated.segment));
        let sound = verified
            && inner.device != checkpoint.device
            && live(&inner.device)
            && live(&checkpoint.device)
            && members
            && windows;
        sound.then_some((inner, statement))
    }

    /// Opens an item as its author could write it; its place in a chain is not looked at.
    fn signed(&mut self, sealed: &Sealed, kind: Purpose) -> Option<Inner> {
        let held = self.epochs.get(&sealed.epoch)?;
        let opened = sheaf_crypto::open(&held.keys, &sealed.wire).ok()?;
        let mut heads = opened.control_heads().iter();
        if heads.any(|head| !self.control.contains(head)) {
            return None;
        }
        let view = self.control.view(opened.control_heads())?;
        let member = view.members.get(&opened.user())?;
        let signing = member.devices.get(&opened.device())?.signing;
        let inner = opened.verify(&signing).ok()?;
        let may = inner.kind == kind
            && inner.device == sealed.device
            && member.incarnations.contains_key(&inner.incarnation)
            && is_safe(&self.control, &view, &sealed.epoch);
        may.then_some(inner)
    }

    /// Something of the history came.
    pub(super) fn start_advanced(&mut self, now: Timestamp) {
        if let Some(start) = &mut self.start {
            start.since = Some(now);
        }
    }

    /// Goes on with what a snapshot stated.
    pub(super) fn follow_start(&mut self, context: &mut Context<'_>) {
        if self.start.is_none() || self.is_busy() {
            return;
        }
        if self.chains.forked().next().is_some() {
            return self.drop_start(None, context);
        }
        self.leave_beyond_policy(context);
        let unread = |(_, gone): &(u32, &Gone)| gone.why == Away::Unread;
        if !self.segments.away().any(|away| unread(&away)) {
            return self.end_start(context);
        }
        if !context.link_is_up() {
            if let Some(start) = &mut self.start {
                start.since = None;
            }
            return;
        }
        self.wait_for_history(context);
    }

    fn wait_for_history(&mut self, context: &mut Context<'_>) {
        let Some(start) = &mut self.start else {
            return;
        };
        match start.stage {
            Stage::Asking => {
                let since = *start.since.get_or_insert(context.now);
                let due = since.after_ms(start.patience);
                if start.record.reading || due <= context.now {
                    self.read_from_beginning(context);
                } else {
                    context.agenda.at(due, self.id);
                }
            }
            Stage::Reading => {
                if context.topics.conversation_live(&self.id) {
                    start.stage = Stage::Read;
                    // What came is in the store: every segment is tried anew.
                    self.fetching.begin_anew();
                }
            }
            Stage::Read => self.judge_start(context),
        }
    }

    /// All that the snapshot stated was proved, or is left to others by the policy.
    fn end_start(&mut self, context: &mut Context<'_>) {
        let Some(mut start) = self.start.take() else {
            return;
        };
        start.record.proved = true;
        self.write_start(&start.record, context);
        let dropped = self.segments.away().next().is_some();
        if !dropped {
            let right = |known: &mut crate::record::StatedRecord| {
                (known.compared, known.told) = (Compared::Right, true);
            };
            self.edit_stated(&start.record.item, right, context);
        }
    }

    /// What is beyond what is kept here is not fetched.
    fn leave_beyond_policy(&mut self, context: &mut Context<'_>) {
        let beyond = match self.keeping.kept() {
            Keep::All => return,
            Keep::Messages(count) => self.beyond_messages(u64::from(count)),
            Keep::Months(months) => {
                let kept = limits::MONTH_MS.saturating_mul(u64::from(months));
                self.beyond_time(context.now.0.saturating_sub(kept))
            }
        };
        for segment in beyond {
            self.put_away_as(segment, Away::Dropped, context);
            self.fetching.leave(segment);
        }
    }

    /// Segments that were never here and that so many newer messages come after.
    fn beyond_messages(&self, count: u64) -> Vec<u32> {
        let mut newer = 0_u64;
        let mut beyond = Vec::new();
        let all: Vec<(u32, u32)> = self.segments.all().map(|(s, m, _)| (s, m)).collect();
        for (segment, messages) in all.into_iter().rev() {
            let gone = self.segments.gone(segment);
            if newer >= count && gone.is_some_and(|gone| gone.why == Away::Unread) {
                beyond.push(segment);
            }
            newer = newer.saturating_add(u64::from(messages));
        }
        beyond
    }

    /// Segments that were never here, before one that was all written before a time.
    fn beyond_time(&mut self, time_ms: u64) -> Vec<u32> {
        let loaded: Vec<u32> = self.segments.loaded();
        for segment in loaded {
            self.segments.date(segment);
        }
        let here = self.segments.here();
        let old = here.filter(|(_, state)| {
            state
                .newest()
                .flatten()
                .is_some_and(|newest| newest.ms() < time_ms)
        });
        let Some(newest) = old.map(|(segment, _)| segment).max() else {
            return Vec::new();
        };
        let away = self.segments.away();
        let before = away.filter(|(s, gone)| *s < newest && gone.why == Away::Unread);
        before.map(|(segment, _)| segment).collect()
    }

    /// An item does not follow what a snapshot states, and not all of that is proved.
    pub(super) fn contradicts_start(&self, chain: u32, seq: u64) -> bool {
        let start = self.start.as_ref();
        start.is_some_and(|start| seq <= start.upto(chain).saturating_add(1))
    }

    /// Whether an item was taken over when this device began: it need not be in the store.
    pub(super) fn began_after(&self, chain: u32, seq: u64) -> bool {
        self.began.get(&chain) >= Some(&seq)
    }

    /// Segments that a snapshot states and that are not here.
    fn unread(&self) -> BTreeSet<u32> {
        let away = self.segments.away();
        let unread = away.filter(|(_, gone)| gone.why == Away::Unread);
        unread.map(|(segment, _)| segment).collect()
    }
}
