//! The history of syncs: what each connection to the relays, and each file, brought and took.
//!
//! An entry begins with the first relay's hello and ends when no relay is connected any more. It is
//! written when it begins, when everything was read, when it ends, and in between at most once a
//! minute: after a crash it has no end and the figures of the last of these.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use sheaf_protocol::RelayId;

use crate::io::Event;
use crate::limits;
use crate::record::{Kind, Write};
use crate::time::Timestamp;

/// How much came and went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SyncFigures {
    /// Items of other devices, and of this device's earlier runs, that were taken in.
    pub items_received: u64,
    /// Items of this device that are durable at a relay for the first time.
    pub items_sent: u64,
    /// Messages that came, those in segments that were fetched whole included.
    pub messages_received: u64,
    /// Messages of this device that are durable at a relay for the first time.
    pub messages_sent: u64,
    /// Segments that were fetched whole.
    pub segments_fetched: u64,
    /// Devices' answers to what they have, by conversation.
    pub answers: u64,
    /// Records that came with these answers.
    pub brought: u64,
}

impl SyncFigures {
    /// Counts what an event tells.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "only what came or went counts, of kinds to come as well"
    )]
    pub(crate) fn heed(&mut self, event: &Event) {
        match event {
            Event::MessagesReceived { messages, .. } => {
                add(&mut self.messages_received, count(messages.len()));
            }
            Event::MessagesSent { messages, .. } => {
                add(&mut self.messages_sent, count(messages.len()));
            }
            Event::SegmentFetched { messages, .. } => {
                add(&mut self.segments_fetched, 1);
                add(&mut self.messages_received, *messages);
            }
            Event::Exchanged { brought, more, .. } => {
                add(&mut self.answers, u64::from(!more));
                add(&mut self.brought, *brought);
            }
            _ => {}
        }
    }

    pub(crate) fn item_received(&mut self) {
        add(&mut self.items_received, 1);
    }

    pub(crate) fn item_sent(&mut self) {
        add(&mut self.items_sent, 1);
    }

    fn grow(&mut self, by: &Self) {
        add(&mut self.items_received, by.items_received);
        add(&mut self.items_sent, by.items_sent);
        add(&mut self.messages_received, by.messages_received);
        add(&mut self.messages_sent, by.messages_sent);
        add(&mut self.segments_fetched, by.segments_fetched);
        add(&mut self.answers, by.answers);
        add(&mut self.brought, by.brought);
    }
}

fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// One sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SyncEntry {
    /// Its place; the first is 0.
    pub number: u64,
    /// When it began, by this device's clock.
    pub began: Timestamp,
    /// When every topic had been read to its end for the first time.
    pub caught_up: Option<Timestamp>,
    /// When it ended; `None` while it lasts, and if the program was stopped without an order.
    pub ended: Option<Timestamp>,
    /// The relays that were connected; none if a file was taken in.
    pub relays: Vec<RelayId>,
    /// What came and went.
    pub figures: SyncFigures,
}

/// How things stand at the end of an input.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// Relays that are connected.
    pub(crate) relays: Vec<RelayId>,
    /// Every topic was read to its end.
    pub(crate) caught_up: bool,
    /// A file was taken in.
    pub(crate) file: bool,
    /// What the input brought.
    pub(crate) figures: SyncFigures,
}

/// The newest entries.
#[derive(Debug, Default)]
pub(crate) struct SyncHistory {
    entries: BTreeMap<u64, SyncEntry>,
    /// The newest one is of this run of the program: what still comes belongs to it.
    current: bool,
    written: Timestamp,
    /// The program ends: nothing begins any more.
    over: bool,
}

impl SyncHistory {
    pub(crate) fn restore(&mut self, entry: SyncEntry) {
        self.entries.insert(entry.number, entry);
    }

    /// All that are kept, in order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &SyncEntry> {
        self.entries.values()
    }

    /// Follows what happened; gives what is to be written.
    pub(crate) fn look(&mut self, now: Timestamp, standing: Standing) -> Vec<Write> {
        let mut writes = Vec::new();
        let lasts = self.newest().is_some_and(|entry| entry.ended.is_none());
        let connected = !standing.relays.is_empty();
        if !lasts && !self.over && (connected || standing.file) {
            writes.extend(self.begin(now));
        }
        let Some(entry) = self.newest() else {
            return writes;
        };
        let before = (entry.relays.len(), entry.caught_up, entry.ended);
        let figures = entry.figures;
        entry.figures.grow(&standing.figures);
        for relay in standing.relays {
            if !entry.relays.contains(&relay) && entry.relays.len() < limits::SYNC_RELAYS_MAX {
                entry.relays.push(relay);
            }
        }
        if connected && standing.caught_up {
            entry.caught_up.get_or_insert(now);
        }
        if !connected {
            entry.ended.get_or_insert(now);
        }
        let moved = before != (entry.relays.len(), entry.caught_up, entry.ended);
        let counted = figures != entry.figures;
        let late = !connected || self.written.after_ms(limits::SYNC_WRITE_MS) <= now;
        if moved || (counted && late) {
            writes.extend(self.write(now));
        }
        writes
    }

    /// The program ends in order.
    pub(crate) fn end(&mut self, now: Timestamp) -> Option<Write> {
        self.over = true;
        self.newest()?.ended.get_or_insert(now);
        self.write(now)
    }

    fn newest(&mut self) -> Option<&mut SyncEntry> {
        let newest = self.entries.values_mut().next_back();
        newest.filter(|_| self.current)
    }

    fn begin(&mut self, now: Timestamp) -> Option<Write> {
        let last = self.entries.last_key_value().map(|(number, _)| *number);
        let number = last.map_or(0, |last| last.saturating_add(1));
        let entry = SyncEntry {
            number,
            began: now,
            caught_up: None,
            ended: None,
            relays: Vec::new(),
            figures: SyncFigures::default(),
        };
        self.entries.insert(number, entry);
        self.current = true;
        if self.entries.len() <= limits::SYNC_ENTRIES_MAX {
            return None;
        }
        let (oldest, _) = self.entries.pop_first()?;
        Some(Write::delete(Kind::Sync, &[], &oldest.to_be_bytes()))
    }

    fn write(&mut self, now: Timestamp) -> Option<Write> {
        self.written = now;
        let entry = self.newest()?;
        let order = entry.number.to_be_bytes();
        Some(Write::put(Kind::Sync, &[], &order, entry))
    }
}

#[cfg(test)]
mod tests;
