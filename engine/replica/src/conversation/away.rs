//! Old segments that this device does not keep (docs/decisions/0015-segments-come-and-go.md).
//!
//! Whole segments are dropped, the oldest first: never the one that is written to, nothing that waits
//! to be sent, and only what every device that takes part has said to have. The segment's heads stay,
//! and prove it when it is fetched again.

use std::collections::{BTreeMap, BTreeSet};

use sheaf_crypto::DeviceId;

use super::exchange::giving::place_of;
use super::merge::envelope_order;
use super::segments::{Gone, Loading, State};
use super::{Conversation, Work};
use crate::context::Context;
use crate::document::HybridTime;
use crate::io::Event;
use crate::limits;
use crate::record::{
    self, Away, AwayRecord, EnvelopeRecord, Keep, KeepRecord, Kind, Range, RecordError, Row, Write,
};
use crate::time::Timestamp;

/// How much of the conversation is kept here.
#[derive(Default)]
pub(super) struct Keeping {
    own: Option<Keep>,
    /// What the device keeps of every conversation.
    default: Keep,
    /// Segments that somebody asked for.
    fetched: BTreeMap<u32, Timestamp>,
}

/// What the policy says of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beyond {
    /// It is to be dropped.
    Is(u32),
    /// It is not known yet when this one was written, and that decides.
    Unless(u32),
}

/// How many messages of segments, the newest first, were written after a time: so many are enough.
/// A device that was long alone writes to an old segment what is newer than much in later ones.
///
/// # Errors
/// A segment of which it is not known.
fn later(segments: &[(u32, &State)], time: Option<HybridTime>, enough: u64) -> Result<u64, u32> {
    let mut later = 0_u64;
    for (segment, state) in segments {
        if later >= enough {
            break;
        }
        let times = state.times.as_ref().ok_or(*segment)?;
        let before = times.partition_point(|written| Some(*written) <= time);
        let after = times.len().saturating_sub(before);
        later = later.saturating_add(u64::try_from(after).unwrap_or(u64::MAX));
    }
    Ok(later)
}

impl Keeping {
    pub(super) fn own(&self) -> Option<Keep> {
        self.own
    }

    pub(super) fn kept(&self) -> Keep {
        self.own.unwrap_or(self.default)
    }
}

impl Conversation {
    pub(super) fn restore_away(&mut self, away: Vec<AwayRecord>, keep: Option<KeepRecord>) {
        if let Some(keep) = keep {
            self.keeping.own = keep.keep;
            self.keeping.fetched = keep.fetched.into_iter().collect();
        }
        for record in away {
            let gone = Gone {
                why: record.why,
                upto: record.upto.into_iter().collect(),
                span: record.span,
            };
            let fetched = !matches!(record.why, Away::Dropped | Away::Forgotten);
            if fetched && !self.is_settled(record.segment) {
                self.fetching.want(record.segment);
            }
            self.segments.send_away(record.segment, gone);
        }
    }

    /// Keeps so much from now on.
    pub(crate) fn set_keep(&mut self, keep: Option<Keep>, context: &mut Context<'_>) {
        self.keeping.own = keep;
        self.keeping.fetched.clear();
        self.write_keep(context);
    }

    fn write_keep(&self, context: &mut Context<'_>) {
        let record = KeepRecord {
            conversation: self.id,
            keep: self.keeping.own,
            fetched: self.keeping.fetched.iter().map(|(s, t)| (*s, *t)).collect(),
        };
        let write = Write::put(Kind::Keep, &self.id.0, &[], &record);
        context.stage.write_last(write);
    }

    /// A segment was asked for, and is not dropped again at once.
    pub(super) fn keep_fetched(&mut self, segment: u32, context: &mut Context<'_>) {
        self.keeping.fetched.insert(segment, context.now);
        self.write_keep(context);
    }

    /// Drops what is beyond the policy, given what the device keeps of every conversation.
    pub(crate) fn tidy(&mut self, default: Keep, context: &mut Context<'_>) {
        self.keeping.default = default;
        let now = context.now;
        let before = self.keeping.fetched.len();
        self.keeping
            .fetched
            .retain(|_, since| now.since_ms(*since) < limits::FETCHED_KEPT_MS);
        if self.keeping.fetched.len() != before {
            self.write_keep(context);
        }
        if self.is_starting() {
            // Devices that were asked in vain may be there now.
            self.fetching.begin_anew();
            self.run(context);
        }
        if self.droppable(now).is_some() {
            self.work.push_back(Work::Drop);
            self.run(context);
        }
    }

    /// What the policy says of the oldest segment here.
    fn droppable(&mut self, now: Timestamp) -> Option<Beyond> {
        let keep = self.keeping.kept();
        if keep == Keep::All || self.chains.forked().next().is_some() {
            return None;
        }
        let window = self.control.current().window.first;
        let writing = self.segments.writing(window);
        let fetched = &self.keeping.fetched;
        let here = self.segments.here();
        // What nobody else could give back is kept.
        let settled = &self.forgotten;
        let here = here.filter(|(s, _)| !fetched.contains_key(s) && !settled.holds(*s));
        let here: Vec<_> = here.collect();
        let ((segment, oldest), newer) = here.split_last()?;
        if *segment >= writing || newer.is_empty() || self.has_unsealed(*segment) {
            return None;
        }
        if let Keep::Messages(count) = keep {
            let newer = newer.iter().map(|(_, state)| u64::from(state.messages));
            if newer.sum::<u64>() < u64::from(count) {
                return None;
            }
        }
        let Some(newest) = oldest.newest() else {
            return Some(Beyond::Unless(*segment));
        };
        let beyond = match keep {
            Keep::All => false,
            Keep::Messages(count) => match later(newer, newest, u64::from(count)) {
                Ok(later) => later >= u64::from(count),
                Err(undated) => return Some(Beyond::Unless(undated)),
            },
            Keep::Months(months) => {
                let kept = limits::MONTH_MS.saturating_mul(u64::from(months));
                newest.is_none_or(|newest| newest.ms().saturating_add(kept) < now.0)
            }
        };
        beyond.then_some(Beyond::Is(*segment))
    }

    fn has_unsealed(&self, segment: u32) -> bool {
        self.pending
            .iter()
            .any(|pending| pending.segment == segment)
    }

    /// Reads the oldest segment to drop it, and those whose times decide about that.
    pub(super) fn drop_oldest(&mut self, context: &mut Context<'_>) -> Option<Work> {
        let next = self.droppable(context.now)?;
        let (Beyond::Unless(segment) | Beyond::Is(segment)) = next;
        if !self.segments.is_ready(segment) {
            self.load(segment, context);
            return Some(Work::Drop);
        }
        if matches!(next, Beyond::Unless(_)) {
            self.segments.date(segment);
            return Some(Work::Drop);
        }
        let load = context.stage.load(vec![self.all_of(segment)]);
        self.segments.loading = Some(Loading::Drop(load, segment));
        None
    }

    /// All envelopes of a segment.
    pub(super) fn all_of(&self, segment: u32) -> Range {
        Range {
            kind: Kind::Envelope,
            scope: self.id.0.to_vec(),
            from: envelope_order(segment, 0, 0).to_vec(),
            to: envelope_order(segment, u32::MAX, u64::MAX).to_vec(),
        }
    }

    /// The segment is read: it is dropped if everybody has it. What was refused stays.
    pub(super) fn drop_with(
        &mut self,
        segment: u32,
        rows: &[Row],
        context: &mut Context<'_>,
    ) -> Result<(), RecordError> {
        if self.droppable(context.now) != Some(Beyond::Is(segment)) {
            return Ok(());
        }
        let mut spans: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        let mut orders = Vec::new();
        for row in rows {
            let envelope: EnvelopeRecord = record::decode(row.kind, &row.value)?;
            let (chain, seq) = place_of(&row.order).ok_or(RecordError(Kind::Envelope))?;
            if envelope.refused {
                continue;
            }
            let (first, last) = spans.entry(chain).or_insert((seq, seq));
            (*first, *last) = ((*first).min(seq), (*last).max(seq));
            orders.push(row.order.clone());
        }
        let Some(document) = self.segments.loaded_document(segment) else {
            return Ok(());
        };
        let messages: Vec<_> = document.messages().map(|m| m.message.id).collect();
        if document.heads() != self.segments.recorded(segment)
            || !self.is_everywhere(&spans, context.account.device())
        {
            return Ok(());
        }
        let (scope, stage) = (&self.id.0, &mut *context.stage);
        for order in orders {
            stage.write(Write::delete(Kind::Envelope, scope, &order));
        }
        for message in &messages {
            stage.write(Write::delete(Kind::Message, scope, message.as_bytes()));
        }
        let upto = spans.into_iter().map(|(chain, (_, last))| (chain, last));
        let (oldest, newest) = (messages.iter().min(), messages.iter().max());
        let gone = Gone {
            why: Away::Dropped,
            upto: upto.collect(),
            span: oldest.copied().zip(newest.copied()),
        };
        self.put_away(segment, gone, context);
        context.stage.notify(Event::SegmentDropped {
            conversation: self.id,
            segment,
            messages: u64::try_from(messages.len()).unwrap_or(u64::MAX),
        });
        self.work.push_back(Work::Drop);
        Ok(())
    }

    /// Whether every device that takes part and may have them has said to have these items, and at
    /// least one may have all of them.
    fn is_everywhere(&self, spans: &BTreeMap<u32, (u64, u64)>, own: DeviceId) -> bool {
        let view = self.control.current();
        let mut holders = 0_usize;
        for (device, _) in view.live().filter(|(device, _)| **device != own) {
            if self.is_unread(device) {
                return false;
            }
            let concerns = self.concerns(device);
            let mut whole = true;
            for (chain, (first, last)) in spans {
                match concerns.iter().find(|of| of.index == *chain) {
                    Some(of) if of.name.0 == *device => {}
                    Some(of) if of.from > *last => whole = false,
                    Some(_) if self.has_seen(device, *chain) < *last => return false,
                    Some(of) => whole &= of.from <= *first,
                    None => whole = false,
                }
            }
            holders = holders.saturating_add(usize::from(whole));
        }
        holders > 0
    }

    /// The segment's document is not here any more.
    pub(super) fn put_away(&mut self, segment: u32, gone: Gone, context: &mut Context<'_>) {
        let upto = gone.upto.iter();
        let record = AwayRecord {
            conversation: self.id,
            segment,
            why: gone.why,
            upto: upto.map(|(chain, last)| (*chain, *last)).collect(),
            span: gone.span,
        };
        context.stage.write(record.write());
        self.drop_snapshot(segment, context);
        self.segments.send_away(segment, gone);
        self.segments.write(segment, self.id, context.stage);
    }

    /// A segment that is away stays so for another reason.
    pub(super) fn put_away_as(&mut self, segment: u32, why: Away, context: &mut Context<'_>) {
        if let Some(gone) = self.segments.gone(segment) {
            let gone = Gone {
                why,
                ..gone.clone()
            };
            self.put_away(segment, gone, context);
        }
    }

    pub(super) fn drop_snapshot(&self, segment: u32, context: &mut Context<'_>) {
        let order = segment.to_be_bytes();
        let write = Write::delete(Kind::Snapshot, &self.id.0, &order);
        context.stage.write(write);
    }

    /// Whether a device lacks something that is not here either.
    pub(super) fn lacks_what_is_away(&self, device: &DeviceId) -> bool {
        let concerns = self.concerns(device);
        let lacking: BTreeSet<u32> = self
            .segments
            .away()
            .flat_map(|(_, gone)| gone.upto.iter())
            .filter(|(chain, last)| {
                concerns.iter().any(|of| {
                    of.index == **chain
                        && of.name.0 != *device
                        && of.from <= **last
                        && self.has_seen(device, **chain) < **last
                })
            })
            .map(|(chain, _)| *chain)
            .collect();
        !lacking.is_empty()
    }

    /// Devices that may hold what is not here.
    pub(super) fn holders(&self, context: &Context<'_>) -> Vec<DeviceId> {
        let own = context.account.device();
        let live = self.control.current().live();
        live.map(|(device, _)| *device)
            .filter(|device| *device != own)
            .collect()
    }
}
