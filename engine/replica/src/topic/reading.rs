//! How far one topic was read at one relay.

use std::collections::VecDeque;

use sheaf_protocol::{Cursor, Delivery, LogId, RequestId};

use super::Origin;
use super::release::Released;
use super::repair::Faults;
use super::told::Told;

/// One topic at one relay.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) cursor: Option<Cursor>,
    /// How far its records are taken in; behind the cursor while a document is being read. Only
    /// this is made durable.
    pub(super) taken: Option<Cursor>,
    /// It was read to its end at least once.
    pub(super) caught_up: bool,
    /// The relay's store was replaced or rolled back at some time: what is known may come again.
    pub(super) replaced: bool,
    /// Highest sequence that the relay is known to have had here: read, or promised by a receipt.
    pub(super) highest: u64,
    /// Incarnation of the store that this was in, where nothing was read from it yet.
    log: Option<LogId>,
    /// That, when the subscription was asked for.
    pub(super) expected: u64,
    pub(super) subscribed: bool,
    /// Number of the subscription that records come by.
    pub(super) subscription: u64,
    pub(super) live: bool,
    /// It is not read until records that wait have found what they wait for.
    pub(super) paused: bool,
    /// How far history was delivered: what the relay has not delivered up to there, it does not have.
    reached: u64,
    /// Subscriptions on this connection. What is said of one may come after the next was asked for.
    asked: u32,
    /// Records ahead of the cursor.
    pub(super) early: VecDeque<(u64, Vec<Delivery>)>,
    early_records: usize,
    pub(super) faults: Faults,
    /// A record came by this subscription.
    pub(super) delivered: bool,
    pub(super) told: Told,
    pub(super) released: Released,
    /// Sequence of the newest record, as the relay said on this connection.
    pub(super) stated: Option<u64>,
    /// How far its records were taken in when the connection came.
    pub(super) counted_from: u64,
}

/// Records that fit behind the cursor.
pub(super) struct Advance {
    pub(super) records: Vec<Delivery>,
    pub(super) before: Option<Cursor>,
    pub(super) cursor: Cursor,
}

impl Reading {
    /// One that begins in the middle: what is before that is not read.
    pub(super) fn begun(cursor: Cursor) -> Self {
        Self {
            cursor: Some(cursor),
            taken: Some(cursor),
            caught_up: true,
            highest: cursor.sequence,
            counted_from: cursor.sequence,
            ..Self::default()
        }
    }

    pub(super) fn at(&self) -> u64 {
        self.cursor.map_or(0, |cursor| cursor.sequence)
    }

    /// Records that come behind a place can be taken: what is before them came, or does not exist.
    pub(super) fn fits(&self, previous: u64) -> bool {
        previous <= self.at().max(self.reached)
    }

    /// History was delivered to its end.
    pub(super) fn reach(&mut self, sequence: u64) {
        self.live = true;
        if self.asked == 1 {
            self.reached = self.reached.max(sequence);
        }
        let at = self.at();
        let reaches = |records: &[Delivery]| records.last().is_some_and(|d| d.sequence > at);
        self.early.retain(|(_, records)| reaches(records));
        self.early_records = self.early.iter().map(|(_, records)| records.len()).sum();
    }

    /// The relay's store is of this incarnation: a cursor of another one means nothing in it.
    pub(super) fn expect_log(&mut self, log: LogId) {
        let known = self.cursor.map(|cursor| cursor.log).or(self.log);
        if known.is_some_and(|known| known != log) {
            self.begin_anew();
            self.told.forget();
        }
        self.log = Some(log);
    }

    /// What is there is not what was read: it is read from the beginning.
    pub(super) fn begin_anew(&mut self) {
        self.cursor = None;
        self.taken = None;
        self.highest = 0;
        self.replaced = true;
        self.told.begin_anew();
        self.released = Released::default();
        self.count_anew();
        self.drop_early();
    }

    /// The relay says that it had a record, and has nothing any more of what was not read: it was let
    /// go of, which those may ask for who have it (docs/decisions/0018-relays-let-go.md).
    pub(super) fn has_let_go(&self, sequence: u64) -> bool {
        !self.delivered && self.stated >= Some(sequence)
    }

    /// A subscription is asked for.
    pub(super) fn begin(&mut self, request: RequestId, log: LogId) {
        self.expect_log(log);
        self.subscribed = true;
        self.subscription = request.0;
        self.live = false;
        self.asked = self.asked.saturating_add(1);
        self.reached = 0;
        self.expected = self.highest;
        self.delivered = false;
    }

    /// The connection is gone.
    pub(super) fn disconnect(&mut self) {
        self.stop();
        self.asked = 0;
    }

    /// The connection is gone, or the subscription ends.
    pub(super) fn stop(&mut self) {
        self.subscribed = false;
        self.live = false;
        self.reached = 0;
        self.drop_early();
    }

    /// It is not asked for, nor being waited with.
    pub(super) fn is_idle(&self) -> bool {
        !self.subscribed && !self.paused && !self.faults.waits()
    }

    pub(super) fn drop_early(&mut self) {
        self.early.clear();
        self.early_records = 0;
    }

    /// Keeps records that are ahead of the cursor; gives how many wait.
    pub(super) fn keep_early(&mut self, previous: u64, records: Vec<Delivery>) -> usize {
        self.early_records = self.early_records.saturating_add(records.len());
        self.early.push_back((previous, records));
        self.early_records
    }

    /// What waited and fits now.
    pub(super) fn take_early(&mut self, log: LogId) -> Option<Advance> {
        loop {
            let mut early = self.early.iter();
            let place = early.position(|(previous, _)| self.fits(*previous))?;
            let (_, records) = self.early.remove(place)?;
            self.early_records = self.early_records.saturating_sub(records.len());
            // What came twice says nothing new, and others wait behind it.
            if let Some(advance) = self.advance(log, records) {
                return Some(advance);
            }
        }
    }

    pub(super) fn advance(&mut self, log: LogId, records: Vec<Delivery>) -> Option<Advance> {
        let at = self.at();
        let sequence = records.last().map(|delivery| delivery.sequence)?;
        if sequence <= at {
            return None;
        }
        let before = self.cursor;
        let cursor = Cursor { log, sequence };
        self.cursor = Some(cursor);
        self.highest = self.highest.max(sequence);
        let fresh = records.into_iter().filter(|d| d.sequence > at);
        Some(Advance {
            records: fresh.collect(),
            before,
            cursor,
        })
    }

    /// Whether records that came from an origin are of the subscription that stands.
    pub(super) fn is_of(&self, origin: &Origin) -> bool {
        self.subscription == origin.subscription
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_began_before_the_cursor_and_reaches_past_it_is_taken() {
        let log = LogId(1);
        let deliveries = |range: std::ops::RangeInclusive<u64>| {
            let delivery = |sequence| Delivery {
                sequence,
                record: vec![1],
            };
            range.map(delivery).collect::<Vec<_>>()
        };
        let mut reading = Reading::default();
        reading.keep_early(1, deliveries(2..=2));
        reading.keep_early(2, deliveries(3..=5));
        assert!(reading.advance(log, deliveries(1..=4)).is_some());
        reading.reach(4);
        let advance = reading.take_early(log).unwrap();
        let taken: Vec<u64> = advance.records.iter().map(|d| d.sequence).collect();
        assert_eq!(taken, [5]);
        assert!(reading.take_early(log).is_none());
        assert_eq!(reading.early_records, 0);
    }

    #[test]
    fn what_came_twice_hides_nothing_that_waits_behind_it() {
        let log = LogId(1);
        let delivery = |sequence| {
            let record = vec![1];
            vec![Delivery { sequence, record }]
        };
        let mut reading = Reading::default();
        for (previous, sequence) in [(1, 2), (1, 2), (2, 3)] {
            reading.keep_early(previous, delivery(sequence));
        }
        assert!(reading.take_early(log).is_none());
        assert!(reading.advance(log, delivery(1)).is_some());
        let taken = std::iter::from_fn(|| reading.take_early(log));
        assert_eq!(taken.map(|advance| advance.records.len()).sum::<usize>(), 2);
        assert_eq!(reading.at(), 3);
    }
}
