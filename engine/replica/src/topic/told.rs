//! What one relay delivered of one topic: a rolling hash over it, and what the relay signed about it
//! (docs/decisions/0016).

use std::collections::VecDeque;

use sheaf_protocol::{Cursor, History, RecordHash, Statement, TopicId};

use crate::limits;
use crate::time::Timestamp;

/// Records that came before it was known what the ones before them come to.
struct Ahead {
    /// The place before the first of them: what the relay is asked about.
    base: u64,
    records: Vec<RecordHash>,
}

/// What is known of one topic at one relay.
#[derive(Default)]
pub(super) struct Told {
    /// The last record delivered, and the hash over everything up to it.
    at: Option<(u64, History)>,
    ahead: Option<Ahead>,
    /// Places before, oldest first.
    recent: VecDeque<(u64, History)>,
    /// The place that the relay last signed as it was counted here.
    checked: Option<u64>,
    /// Newest statement of the relay that agrees with what it delivered.
    pub(super) statement: Option<Statement>,
    /// The same of before the topic was read from its beginning once more.
    pub(super) former: Option<Statement>,
    /// A peer's statement that is to be held against the relay.
    pub(super) challenge: Option<Statement>,
    /// The relay is asked even if nothing came.
    pub(super) recheck: bool,
    /// A statement that this device's checkpoints have named.
    pub(super) named: u64,
    /// How often the topic was read from its beginning, and when last.
    again: (usize, Timestamp),
    /// When other devices were last asked for what was left out.
    pub(super) sought: Option<Timestamp>,
}

impl Told {
    /// What was known of the place up to which everything was taken in. The relay is asked about a
    /// statement beyond it: it may have been put back to before that since.
    pub(super) fn restore(&mut self, at: Option<(u64, History)>, statement: Option<Statement>) {
        self.at = at;
        self.recent.extend(at);
        let reached = at.map_or(0, |(at, _)| at);
        let beyond = statement.as_ref();
        let beyond = beyond.filter(|known| known.cursor.sequence > reached);
        self.former = beyond.cloned();
        self.checked = statement.as_ref().map(|known| known.cursor.sequence);
        self.statement = statement;
    }

    /// The relay has signed what was counted up to the last record.
    pub(super) fn is_checked(&self) -> bool {
        self.at.is_some_and(|(at, _)| self.checked == Some(at))
    }

    /// A statement that the relay contradicts has served: kept, it would contradict every further answer.
    pub(super) fn drop_at(&mut self, cursor: Cursor) {
        self.challenge = None;
        let apart = |known: &mut Statement| known.cursor == cursor;
        if self.statement.take_if(apart).is_some() {
            self.checked = None;
        }
        self.former.take_if(apart);
    }

    /// A topic that was empty when this device began to read it.
    pub(super) fn begin_empty(&mut self) {
        if self.at.is_none() && self.ahead.is_none() {
            let empty = (0, History::default());
            self.at = Some(empty);
            self.remember(empty);
        }
    }

    /// A record was delivered. Gives the places that were left out before it.
    pub(super) fn deliver(
        &mut self,
        topic: &TopicId,
        (sequence, record): (u64, RecordHash),
    ) -> Option<(u64, u64)> {
        let last = self.place();
        let before = sequence.saturating_sub(1);
        let gap = last.filter(|last| *last < before);
        match (&mut self.at, &mut self.ahead) {
            (Some((at, history)), _) if *at == before => {
                *history = history.then(topic, sequence, &record);
                *at = sequence;
                let newest = (sequence, *history);
                self.remember(newest);
            }
            (None, Some(ahead))
                if last == Some(before) && ahead.records.len() < limits::AHEAD_RECORDS_MAX =>
            {
                ahead.records.push(record);
            }
            _ => {
                self.at = None;
                self.ahead = Some(Ahead {
                    base: before,
                    records: vec![record],
                });
            }
        }
        gap.map(|last| (last.saturating_add(1), before))
    }

    fn remember(&mut self, newest: (u64, History)) {
        self.recent.push_back(newest);
        if self.recent.len() > limits::HISTORY_PLACES_MAX {
            self.recent.pop_front();
        }
    }

    /// The last record that is accounted for.
    fn place(&self) -> Option<u64> {
        let ahead = self.ahead.as_ref();
        let ahead = ahead.map(|ahead| {
            let count = u64::try_from(ahead.records.len()).unwrap_or(u64::MAX);
            ahead.base.saturating_add(count)
        });
        self.at.map(|(at, _)| at).or(ahead)
    }

    /// The place to ask the relay about before anything can be counted.
    pub(super) fn wants(&self) -> Option<u64> {
        let ahead = self.ahead.as_ref().filter(|_| self.at.is_none());
        ahead.map(|ahead| ahead.base)
    }

    /// The relay says what the records up to a place come to: from there on they are counted here.
    pub(super) fn anchor(&mut self, topic: &TopicId, sequence: u64, history: History) {
        let Some(ahead) = self.ahead.take_if(|ahead| ahead.base == sequence) else {
            return;
        };
        let mut at = (sequence, history);
        self.remember(at);
        for record in ahead.records {
            let next = at.0.saturating_add(1);
            at = (next, at.1.then(topic, next, &record));
            self.remember(at);
        }
        self.at = Some(at);
    }

    /// The relay says nothing about the place asked for: what came is not counted. Counting may begin
    /// at the last record.
    pub(super) fn no_anchor(&mut self) {
        self.ahead = self.place().map(|base| Ahead {
            base,
            records: Vec::new(),
        });
        self.at = None;
    }

    /// The last record counted and the hash there.
    pub(super) fn at(&self) -> Option<(u64, History)> {
        self.at
    }

    /// The hash at a place, as far as it was counted here.
    pub(super) fn counted(&self, sequence: u64) -> Option<History> {
        let at = self.at.filter(|(at, _)| *at == sequence);
        let mut recent = self.recent.iter().rev();
        let recent = recent.find(|(place, _)| *place == sequence);
        at.or(recent.copied()).map(|(_, history)| history)
    }

    /// A peer was told this: it is compared with what was counted, or held against the relay. Of
    /// several, one that is known to differ is the one to keep.
    pub(super) fn hold_against(&mut self, peer: &Statement) {
        let counted = self.counted(peer.cursor.sequence);
        if counted == Some(peer.history) {
            return self.agree(peer);
        }
        let at = self.at.map_or(0, |(at, _)| at);
        let known = self.challenge.as_ref().map(|known| known.cursor.sequence);
        if counted.is_some() || known.is_none_or(|known| known > at) {
            self.challenge = Some(peer.clone());
        }
    }

    /// The relay signed what was counted here.
    pub(super) fn agree(&mut self, statement: &Statement) {
        let sequence = statement.cursor.sequence;
        if self.at.is_some_and(|(at, _)| at == sequence) {
            self.checked = Some(sequence);
        }
        let newest = self.statement.as_ref().map(|known| known.cursor.sequence);
        if newest.is_none_or(|newest| newest < sequence) {
            self.statement = Some(statement.clone());
        }
    }

    /// Reading goes back to a place.
    pub(super) fn rewind(&mut self, to: u64) {
        let history = self.counted(to);
        self.recent.retain(|(place, _)| *place <= to);
        self.ahead = None;
        self.at = history.map(|history| (to, history));
    }

    /// The topic is to be read from its beginning once more, which is then taken to happen. `Err`: not
    /// before that time.
    pub(super) fn may_read_again(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        let (count, last) = self.again;
        let since = now.since_ms(last);
        let count = if since > limits::RESUBSCRIBE_FORGIVEN_MS {
            0
        } else {
            count
        };
        let delays = limits::RESUBSCRIBE_DELAYS_MS;
        let delay = delays.get(count).or(delays.last()).copied();
        let delay = delay.unwrap_or_default();
        if since < delay {
            return Err(last.after_ms(delay));
        }
        self.again = (count.saturating_add(1), now);
        Ok(())
    }

    /// The topic is read from its beginning.
    pub(super) fn begin_anew(&mut self) {
        let former = self.statement.take().or(self.former.take());
        *self = Self {
            former,
            challenge: self.challenge.take(),
            again: self.again,
            sought: self.sought,
            ..Self::default()
        };
    }

    /// The store is another one: what was said about the old one says nothing about it.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use sheaf_protocol::LogId;

    use super::*;

    const TOPIC: TopicId = TopicId([7; 32]);

    fn counted_to(places: u64) -> Told {
        let mut told = Told::default();
        told.begin_empty();
        for sequence in 1..=places {
            told.deliver(&TOPIC, (sequence, RecordHash([1; 32])));
        }
        told
    }

    /// A cursor is written with what its place came to; records behind it may be counted already.
    #[test]
    fn what_a_place_came_to_is_known_while_more_is_counted() {
        let before = counted_to(8);
        let mut told = Told::default();
        told.restore(before.at(), None);
        told.deliver(&TOPIC, (9, RecordHash([2; 32])));
        assert_eq!(told.counted(8), before.counted(8));
        assert_eq!(counted_to(2).counted(0), Some(History::default()));
    }

    #[test]
    fn a_statement_beyond_what_was_taken_in_is_held_against_the_relay() {
        let (before, later) = (counted_to(8), counted_to(10));
        let stated = |told: &Told| {
            let (sequence, history) = told.at().unwrap();
            let log = LogId(4);
            Some(Statement {
                topic: TOPIC,
                cursor: Cursor { log, sequence },
                history,
                signature: Vec::new(),
            })
        };
        let mut told = Told::default();
        told.restore(before.at(), stated(&later));
        assert_eq!(told.former, stated(&later));
        // What the relay let go of in between never comes: it is asked once what came all the same.
        assert!(!told.is_checked());
        told.agree(&stated(&before).unwrap());
        assert!(told.is_checked());
        assert_eq!(told.statement, stated(&later));
        let mut told = Told::default();
        told.restore(before.at(), stated(&before));
        assert_eq!(told.former, None);
    }
}
