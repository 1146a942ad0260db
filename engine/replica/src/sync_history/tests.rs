//! What the history says after connections, files, stops and many of them.

use super::*;
use crate::record::decode;

const RELAY: RelayId = RelayId([1; 32]);
const OTHER: RelayId = RelayId([2; 32]);

fn connected(relays: &[RelayId], caught_up: bool, items: u64) -> Standing {
    Standing {
        relays: relays.to_vec(),
        caught_up,
        file: false,
        figures: SyncFigures {
            items_received: items,
            ..SyncFigures::default()
        },
    }
}

/// A history and the store that it is written to.
#[derive(Default)]
struct Kept {
    history: SyncHistory,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    writes: usize,
}

impl Kept {
    fn look(&mut self, second: u64, standing: Standing) {
        let writes = self.history.look(Timestamp(second * 1_000), standing);
        self.take(writes);
    }

    fn end(&mut self, second: u64) {
        let write = self.history.end(Timestamp(second * 1_000));
        self.take(write);
    }

    fn take(&mut self, writes: impl IntoIterator<Item = Write>) {
        for write in writes {
            self.writes += 1;
            match write.value {
                Some(value) => self.rows.insert(write.key.order, value),
                None => self.rows.remove(&write.key.order),
            };
        }
    }

    fn stored(&self) -> Vec<SyncEntry> {
        let rows = self.rows.values();
        rows.map(|row| decode(Kind::Sync, row).unwrap()).collect()
    }

    /// The program is started anew.
    fn again(self) -> Self {
        let mut history = SyncHistory::default();
        for entry in self.stored() {
            history.restore(entry);
        }
        Self { history, ..self }
    }
}

#[test]
fn an_entry_goes_from_the_first_hello_to_the_last_goodbye() {
    let mut kept = Kept::default();
    kept.look(1, connected(&[], false, 3));
    assert!(kept.stored().is_empty(), "nothing is connected");
    kept.look(2, connected(&[RELAY], false, 0));
    kept.look(3, connected(&[RELAY, OTHER], false, 4));
    kept.look(4, connected(&[OTHER], true, 5));
    kept.look(5, connected(&[OTHER], false, 0));
    kept.look(6, connected(&[], false, 1));
    kept.look(7, connected(&[], false, 1));
    let stored = kept.stored();
    let [entry] = stored.as_slice() else {
        panic!("one entry, not {stored:?}");
    };
    assert_eq!(entry.began, Timestamp(2_000));
    assert_eq!(entry.caught_up, Some(Timestamp(4_000)));
    assert_eq!(entry.ended, Some(Timestamp(6_000)));
    assert_eq!(entry.relays, [RELAY, OTHER]);
    assert_eq!(entry.figures.items_received, 11, "what was on its way, too");
    assert_eq!(stored, kept.history.entries().cloned().collect::<Vec<_>>());
}

#[test]
fn a_lasting_connection_is_written_once_a_minute() {
    let mut kept = Kept::default();
    for second in 0..600 {
        kept.look(second, connected(&[RELAY], true, 1));
    }
    assert_eq!(kept.writes, 10);
    kept.end(600);
    kept.look(601, connected(&[RELAY], true, 0));
    let stored = kept.stored();
    assert_eq!(
        stored.len(),
        1,
        "the connection goes after the program's end"
    );
    assert_eq!(stored[0].figures.items_received, 600);
}

#[test]
fn a_program_that_was_killed_leaves_an_entry_without_an_end() {
    let mut kept = Kept::default();
    kept.look(1, connected(&[RELAY], true, 7));
    let mut kept = kept.again();
    kept.look(9, connected(&[RELAY], false, 0));
    kept.end(10);
    let ends: Vec<_> = kept.stored().iter().map(|entry| entry.ended).collect();
    assert_eq!(ends, [None, Some(Timestamp(10_000))]);
    assert_eq!(kept.stored()[0].figures.items_received, 7);
}

#[test]
fn a_file_is_an_entry_without_a_relay() {
    let mut kept = Kept::default();
    let file = Standing {
        file: true,
        ..connected(&[], false, 1)
    };
    kept.look(1, file);
    kept.look(2, connected(&[], false, 2));
    let stored = kept.stored();
    assert_eq!(stored.len(), 1);
    assert!(stored[0].relays.is_empty() && stored[0].ended.is_some());
    assert_eq!(stored[0].figures.items_received, 3);
}

#[test]
fn the_newest_are_kept() {
    let mut kept = Kept::default();
    let max = u64::try_from(limits::SYNC_ENTRIES_MAX).unwrap();
    for turn in 0..max + 10 {
        kept.look(2 * turn, connected(&[RELAY], true, 0));
        kept.look(2 * turn + 1, connected(&[], false, 0));
    }
    let stored = kept.again().stored();
    assert_eq!(stored.len(), limits::SYNC_ENTRIES_MAX);
    assert_eq!(stored[0].number, 10);
}
