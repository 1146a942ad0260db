//! How far topics were read, for people to see.

use std::collections::{BTreeMap, BTreeSet};

use sheaf_crypto::ConversationId;
use sheaf_protocol::RelayId;

use super::reading::Reading;
use super::{Owner, Topic, Topics};
use crate::progress::Count;

/// All topics in one look.
#[derive(Default)]
pub(crate) struct ReadSoFar {
    /// The inbox may hold something that is not here.
    pub(crate) inbox_open: bool,
    /// By conversation: connected relays at which some topic is not read to its end. A conversation
    /// without a connection is named by none.
    pub(crate) open_at: BTreeMap<ConversationId, BTreeSet<Option<RelayId>>>,
    /// Topics of conversations that are not read to their end.
    pub(crate) open: u64,
    /// Places read since each connection came, of those that the relays said to have.
    pub(crate) records: Count,
    /// Places that are known to be still to read.
    pub(crate) left: u64,
}

impl Topics {
    /// How far everything was read.
    pub(crate) fn read_so_far(&self) -> ReadSoFar {
        let mut so_far = ReadSoFar {
            records: Count {
                done: 0,
                of: self.is_connected().then_some(0),
            },
            ..ReadSoFar::default()
        };
        for topic in self.topics.values() {
            match topic.owner {
                Owner::Inbox => {
                    so_far.inbox_open |= self.connected().any(|relay| !topic.is_live(&relay));
                }
                Owner::Epoch(conversation, _) => self.add(conversation, topic, &mut so_far),
                Owner::Rendezvous | Owner::Vault => {}
            }
        }
        so_far
    }

    fn add(&self, conversation: ConversationId, topic: &Topic, so_far: &mut ReadSoFar) {
        let mut open_at = BTreeSet::new();
        if !self.is_connected() && !topic.was_caught_up() {
            open_at.insert(None);
        }
        for relay in self.connected() {
            let reading = topic.readings.get(&relay);
            if reading.is_none_or(Reading::is_open) {
                open_at.insert(Some(relay));
            }
            let records = &mut so_far.records;
            let counted = reading.and_then(Reading::counted);
            records.of = match (counted, records.of) {
                (Some((_, of)), Some(known)) => Some(known.saturating_add(of)),
                _ => None,
            };
            if let Some((done, of)) = counted {
                records.done = records.done.saturating_add(done);
                so_far.left = so_far.left.saturating_add(of.saturating_sub(done));
            }
        }
        if !open_at.is_empty() {
            so_far.open = so_far.open.saturating_add(1);
            let known = so_far.open_at.entry(conversation).or_default();
            known.extend(open_at);
        }
    }
}

impl Reading {
    /// What the relay said to have is not all taken in. What came after that is no history.
    fn is_open(&self) -> bool {
        if !self.subscribed {
            return !self.caught_up || self.paused || self.faults.waits();
        }
        let came = self
            .stated
            .map_or(self.at(), |stated| stated.min(self.at()));
        !self.live || self.taken_at() < came
    }

    /// Places read since the connection came, and how many there were to read; nothing before the
    /// relay has said that.
    fn counted(&self) -> Option<(u64, u64)> {
        let stated = self.stated?;
        let of = stated.saturating_sub(self.counted_from);
        let done = match self.is_open() {
            false => of,
            true => self.taken_at().saturating_sub(self.counted_from).min(of),
        };
        Some((done, of))
    }

    /// A connection begins, or all is read anew.
    pub(super) fn count_anew(&mut self) {
        self.stated = None;
        self.counted_from = self.taken_at();
    }

    fn taken_at(&self) -> u64 {
        self.taken.map_or(0, |cursor| cursor.sequence)
    }
}
