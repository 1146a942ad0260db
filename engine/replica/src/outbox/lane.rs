//! What is on its way to one relay.

use std::collections::{BTreeMap, BTreeSet};

use crate::limits;
use crate::time::Timestamp;

/// Records for one connected relay. A relay that is slow or refuses holds up its own lane only.
#[derive(Default)]
pub(super) struct Lane {
    /// Unsent ones, in order.
    pub(super) unsent: BTreeSet<u64>,
    pub(super) in_flight: BTreeSet<u64>,
    /// Since when each record that was sent waits for its receipt, refused or not.
    pub(super) since: BTreeMap<u64, Timestamp>,
    /// That some wait for too long was said.
    pub(super) named: bool,
    /// Refusals of a record, and when it is tried again.
    pub(super) retries: BTreeMap<u64, (usize, Timestamp)>,
    /// The relay takes nothing before then, as it said itself.
    pub(super) shut_until: Timestamp,
}

impl Lane {
    pub(super) fn due(&self, now: Timestamp) -> Vec<u64> {
        if now < self.shut_until {
            return Vec::new();
        }
        let room = limits::APPENDS_IN_FLIGHT_MAX.saturating_sub(self.in_flight.len());
        let due = |number: &&u64| self.retries.get(number).is_none_or(|(_, at)| *at <= now);
        self.unsent.iter().filter(due).take(room).copied().collect()
    }

    pub(super) fn sent(&mut self, number: u64, now: Timestamp) {
        self.since.entry(number).or_insert(now);
        self.unsent.remove(&number);
        self.in_flight.insert(number);
    }

    pub(super) fn wants(&self, number: u64) -> bool {
        self.unsent.contains(&number) || self.in_flight.contains(&number)
    }

    pub(super) fn forget(&mut self, number: u64) {
        self.unsent.remove(&number);
        self.in_flight.remove(&number);
        self.retries.remove(&number);
        self.since.remove(&number);
        if self.late(Timestamp(u64::MAX)).is_none() {
            self.named = false;
        }
    }

    /// Records that wait for a receipt for too long: since when, and how many.
    pub(super) fn late(&self, now: Timestamp) -> Option<(Timestamp, usize)> {
        let over = |since: &&Timestamp| since.after_ms(limits::ANSWER_MS_MAX) <= now;
        let late = self.since.values().filter(over);
        let first = late.clone().min()?;
        Some((*first, late.count()))
    }

    pub(super) fn refused(&mut self, number: u64, retry_after_ms: u32, now: Timestamp) {
        let attempts = self
            .retries
            .get(&number)
            .map_or(0, |(attempts, _)| *attempts);
        let place = attempts.min(limits::RETRY_DELAYS_MS.len().saturating_sub(1));
        let delay = limits::RETRY_DELAYS_MS.get(place).copied();
        let delay = delay.unwrap_or(16_000).max(u64::from(retry_after_ms));
        let again = (attempts.saturating_add(1), now.after_ms(delay));
        self.retries.insert(number, again);
        self.in_flight.remove(&number);
        self.unsent.insert(number);
    }

    pub(super) fn soonest(&self, now: Timestamp) -> Option<Timestamp> {
        if now < self.shut_until && !self.unsent.is_empty() {
            return Some(self.shut_until);
        }
        let waiting = self.unsent.iter().filter_map(|n| self.retries.get(n));
        waiting.map(|(_, at)| *at).filter(|at| *at > now).min()
    }
}
