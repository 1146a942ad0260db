//! What every store must do. Each case runs against each back end.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the numbers of these tests are small"
)]

use sheaf_protocol::{Class, History, LogId, TopicId, hash_record};

use super::{
    Appended, DiskOptions, DiskStorage, MemoryStorage, NewRecord, Quota, RELEASES_MAX, RangeLimit,
    Storage, TopicStat, Totals,
};

const TOPIC: TopicId = TopicId([1; 32]);
/// Differs from `TOPIC` in the last byte only: keys must not run into each other.
const NEIGHBOUR: TopicId = {
    let mut id = [1; 32];
    id[31] = 2;
    TopicId(id)
};
const ALL: RangeLimit = RangeLimit {
    records_max: usize::MAX,
    bytes_max: usize::MAX,
};
const ROOMY: Quota = Quota {
    topic_bytes_max: u64::MAX,
    store_bytes_max: u64::MAX,
};

fn record(topic: TopicId, class: Class, received_ms: u64, bytes: &[u8]) -> NewRecord {
    NewRecord {
        topic,
        class,
        hash: hash_record(bytes),
        received_ms,
        bytes: bytes.to_vec(),
    }
}

fn log(bytes: &[u8]) -> NewRecord {
    record(TOPIC, Class::Log, 0, bytes)
}

fn on_each(quota: Quota, case: impl Fn(&dyn Storage)) {
    case(&MemoryStorage::new(LogId(7), quota));
    let home = tempfile::tempdir().unwrap();
    let options = DiskOptions {
        directory: home.path().to_owned(),
        cache_bytes: 8 << 20,
        check: true,
        free_bytes_min: 0,
        quota,
    };
    let disk = DiskStorage::open(options.clone(), LogId(7)).unwrap();
    case(&disk);
    disk.close().unwrap();
    assert!(disk.probe().is_err());
    // The disk must also find itself well after whatever the case did to it.
    let again = DiskStorage::open(options, LogId(8)).unwrap();
    assert_eq!((again.log(), again.moved_aside()), (LogId(7), None));
}

fn sequences(store: &dyn Storage, topic: TopicId, after: u64, upto: u64) -> Vec<u64> {
    let records = store.range(&topic, after, upto, ALL).unwrap();
    records.iter().map(|record| record.sequence).collect()
}

#[test]
fn sequences_rise_by_topic_from_one() {
    on_each(ROOMY, |store| {
        assert_eq!(store.log(), LogId(7));
        let batch = [log(b"a"), record(NEIGHBOUR, Class::Log, 0, b"a"), log(b"b")];
        let appended = store.append(&batch).unwrap();
        assert_eq!(
            appended,
            [Appended::New(1), Appended::New(1), Appended::New(2)]
        );
        assert_eq!(store.append(&[log(b"c")]).unwrap(), [Appended::New(3)]);
        assert_eq!(sequences(store, TOPIC, 0, u64::MAX), [1, 2, 3]);
        assert_eq!(sequences(store, TOPIC, 1, 2), [2]);
        assert_eq!(sequences(store, TOPIC, 3, u64::MAX), [0; 0]);
        assert_eq!(sequences(store, NEIGHBOUR, 0, u64::MAX), [1]);
        let stat = store.stat(&TOPIC).unwrap();
        assert_eq!(
            stat,
            TopicStat {
                head: 3,
                records: 3,
                bytes: 3
            }
        );
        assert_eq!(store.stat(&TopicId([9; 32])).unwrap(), TopicStat::default());
        assert_eq!(
            store.totals(),
            Totals {
                records: 4,
                bytes: 4
            }
        );
        store.probe().unwrap();
    });
}

#[test]
fn an_append_is_idempotent_within_a_batch_and_after_it() {
    on_each(ROOMY, |store| {
        let appended = store.append(&[log(b"a"), log(b"a"), log(b"b")]).unwrap();
        assert_eq!(
            appended,
            [Appended::New(1), Appended::Duplicate(1), Appended::New(2)]
        );
        assert_eq!(
            store.append(&[log(b"a")]).unwrap(),
            [Appended::Duplicate(1)]
        );
        let elsewhere = record(NEIGHBOUR, Class::Log, 0, b"a");
        assert_eq!(store.append(&[elsewhere]).unwrap(), [Appended::New(1)]);
        assert_eq!(store.totals().records, 3);
        assert_eq!(store.append(&[]).unwrap(), []);
    });
}

#[test]
fn records_of_every_size_come_back_as_they_were() {
    on_each(ROOMY, |store| {
        let sizes = [0, 1, 4_095, 4_096, 4_097, 8_192, 10_000, 65_535, 65_536];
        for (number, size) in (1_u8..).zip(sizes) {
            let bytes: Vec<u8> = (0..size)
                .map(|place| number ^ (place % 251) as u8)
                .collect();
            let class = if number % 2 == 0 {
                Class::Log
            } else {
                Class::Inbox
            };
            store
                .append(&[record(TOPIC, class, u64::from(number), &bytes)])
                .unwrap();
            let found = store
                .range(&TOPIC, u64::from(number) - 1, u64::MAX, ALL)
                .unwrap();
            assert_eq!((found.len(), found[0].class), (1, class));
            assert_eq!(found[0].received_ms, u64::from(number));
            assert!(found[0].bytes == bytes, "{size} bytes");
        }
    });
}

#[test]
fn a_read_stops_at_its_limits_but_always_moves() {
    on_each(ROOMY, |store| {
        for number in 0..10_u8 {
            store.append(&[log(&[number; 5_000])]).unwrap();
        }
        let read = |records_max, bytes_max| {
            let limit = RangeLimit {
                records_max,
                bytes_max,
            };
            store.range(&TOPIC, 0, u64::MAX, limit).unwrap().len()
        };
        assert_eq!(read(3, usize::MAX), 3);
        assert_eq!(read(usize::MAX, 10_000), 2);
        assert_eq!(read(usize::MAX, 14_999), 2);
        assert_eq!(read(usize::MAX, 1), 1);
        assert_eq!(read(0, 0), 1);
    });
}

#[test]
fn a_trim_deletes_inbox_records_and_no_sequence_comes_again() {
    on_each(ROOMY, |store| {
        for number in 1..=6_u64 {
            let class = if number == 2 {
                Class::Log
            } else {
                Class::Inbox
            };
            let bytes = [number.to_be_bytes().to_vec(), vec![0; 5_000]].concat();
            store
                .append(&[record(TOPIC, class, number, &bytes)])
                .unwrap();
            store
                .append(&[record(NEIGHBOUR, Class::Inbox, number, &bytes)])
                .unwrap();
        }
        assert_eq!(store.trim(&TOPIC, 5, 2).unwrap(), 2);
        assert_eq!(sequences(store, TOPIC, 0, u64::MAX), [2, 4, 5, 6]);
        assert_eq!(store.trim(&TOPIC, 5, 100).unwrap(), 2);
        assert_eq!(store.trim(&TOPIC, 5, 100).unwrap(), 0);
        assert_eq!(sequences(store, TOPIC, 0, u64::MAX), [2, 6]);
        assert_eq!(store.trim(&TOPIC, u64::MAX, 100).unwrap(), 1);
        assert_eq!(store.stat(&TOPIC).unwrap().head, 6);
        assert_eq!(store.totals().records, 7);
        // What was trimmed is forgotten: appended again it is a new record.
        let first = [1_u64.to_be_bytes().to_vec(), vec![0; 5_000]].concat();
        let again = record(TOPIC, Class::Inbox, 9, &first);
        assert_eq!(store.append(&[again]).unwrap(), [Appended::New(7)]);
    });
}

#[test]
fn expiry_goes_by_class_and_age() {
    on_each(ROOMY, |store| {
        for number in 1..=4_u64 {
            let bytes = number.to_be_bytes();
            store
                .append(&[record(TOPIC, Class::Log, number * 10, &bytes)])
                .unwrap();
            store
                .append(&[record(NEIGHBOUR, Class::Inbox, number * 10, &bytes)])
                .unwrap();
        }
        assert_eq!(store.expire(Class::Log, 30, 1).unwrap(), 1);
        assert_eq!(sequences(store, TOPIC, 0, u64::MAX), [2, 3, 4]);
        assert_eq!(store.expire(Class::Log, 30, 100).unwrap(), 1);
        assert_eq!(store.expire(Class::Log, 30, 100).unwrap(), 0);
        assert_eq!(sequences(store, NEIGHBOUR, 0, u64::MAX), [1, 2, 3, 4]);
        assert_eq!(store.expire(Class::Inbox, u64::MAX, 100).unwrap(), 4);
        assert_eq!(store.expire(Class::Log, u64::MAX, 100).unwrap(), 2);
        assert_eq!(store.totals(), Totals::default());
        let next = store.append(&[log(b"new")]).unwrap();
        assert_eq!(next, [Appended::New(5)]);
    });
}

#[test]
fn what_is_released_goes_after_the_grace_period_unless_it_is_taken_back() {
    on_each(ROOMY, |store| {
        assert!(!store.release(&TOPIC, 9, 1).unwrap(), "nothing is there");
        for number in 1..=8_u64 {
            let class = [Class::Log, Class::Inbox][usize::from(number == 2)];
            let bytes = number.to_be_bytes();
            store
                .append(&[record(TOPIC, class, number, &bytes)])
                .unwrap();
            store
                .append(&[record(NEIGHBOUR, Class::Log, number, &bytes)])
                .unwrap();
        }
        assert!(store.release(&TOPIC, 4, 100).unwrap());
        assert!(!store.release(&TOPIC, 4, 110).unwrap());
        assert!(store.release(&TOPIC, 6, 120).unwrap());
        assert_eq!(store.reap(100, 10).unwrap(), 0);
        // A piece at a time, and only what was released before that time.
        assert_eq!(store.reap(101, 2).unwrap(), 2);
        assert_eq!(sequences(store, TOPIC, 0, u64::MAX), [2, 4, 5, 6, 7, 8]);
        assert_eq!(store.reap(101, 2).unwrap(), 1);
        assert_eq!(store.reap(101, 2).unwrap(), 0);
        assert_eq!(sequences(store, TOPIC, 0, u64::MAX), [2, 5, 6, 7, 8]);
        store.take_back(&TOPIC).unwrap();
        assert_eq!(store.reap(u64::MAX, 10).unwrap(), 0);
        // Beyond what is there nothing can be released.
        assert!(store.release(&TOPIC, u64::MAX, 130).unwrap());
        store.append(&[log(b"later")]).unwrap();
        assert_eq!(store.reap(u64::MAX, 10).unwrap(), 4);
        assert_eq!(sequences(store, TOPIC, 0, u64::MAX), [2, 9]);
        assert_eq!(sequences(store, NEIGHBOUR, 0, u64::MAX).len(), 8);
        assert_eq!(store.stat(&TOPIC).unwrap().head, 9);
    });
}

#[test]
fn releases_of_a_topic_are_bounded() {
    on_each(ROOMY, |store| {
        for number in 1..=6_u64 {
            store
                .append(&[record(TOPIC, Class::Log, number, &number.to_be_bytes())])
                .unwrap();
            let noted = store.release(&TOPIC, number, number).unwrap();
            assert_eq!(noted, number <= RELEASES_MAX as u64);
        }
        assert_eq!(store.reap(u64::MAX, 10).unwrap(), RELEASES_MAX);
        assert!(store.release(&TOPIC, 6, 7).unwrap());
    });
}

#[test]
fn a_history_goes_over_every_record_and_outlives_those_before_it() {
    on_each(ROOMY, |store| {
        assert_eq!(
            store.history(&TOPIC, None).unwrap(),
            Some((0, History::default()))
        );
        let mut expected = vec![History::default()];
        for number in 1..=6_u64 {
            let class = [Class::Log, Class::Inbox][usize::from(number == 3)];
            let bytes = number.to_be_bytes();
            let new = record(TOPIC, class, number, &bytes);
            let before = expected.last().unwrap();
            expected.push(before.then(&TOPIC, number, &new.hash));
            store.append(&[new.clone(), new]).unwrap();
        }
        let says = |place: usize| store.history(&TOPIC, Some(place as u64)).unwrap();
        for (place, history) in expected.iter().enumerate() {
            assert_eq!(says(place), Some((place as u64, *history)));
        }
        assert_eq!(says(7), None);
        // A record in the middle is trimmed, then the first ones expire.
        assert_eq!(store.trim(&TOPIC, 6, 9).unwrap(), 1);
        assert_eq!(store.expire(Class::Log, 4, 9).unwrap(), 2);
        assert_eq!((says(0), says(1), says(2)), (None, None, None));
        assert_eq!(says(3), Some((3, expected[3])));
        assert_eq!(store.expire(Class::Log, u64::MAX, 9).unwrap(), 3);
        assert_eq!(says(5), None);
        assert_eq!(
            store.history(&TOPIC, None).unwrap(),
            Some((6, expected[6])),
            "the newest stays for what comes"
        );
    });
}

#[test]
fn what_is_full_refuses_and_keeps_what_it_has() {
    let quota = Quota {
        topic_bytes_max: 10,
        store_bytes_max: 15,
    };
    on_each(quota, |store| {
        let appended = store
            .append(&[log(b"123456"), log(b"12345"), log(b"1234")])
            .unwrap();
        assert_eq!(
            appended,
            [Appended::New(1), Appended::TopicFull, Appended::New(2)]
        );
        let other = |bytes| record(NEIGHBOUR, Class::Inbox, 0, bytes);
        assert_eq!(
            store.append(&[other(b"654321")]).unwrap(),
            [Appended::StoreFull]
        );
        assert_eq!(
            store.append(&[other(b"54321")]).unwrap(),
            [Appended::New(1)]
        );
        assert_eq!(sequences(store, TOPIC, 0, u64::MAX), [1, 2]);
        store.trim(&NEIGHBOUR, 1, 9).unwrap();
        assert_eq!(store.append(&[other(b"4321")]).unwrap(), [Appended::New(2)]);
        assert_eq!(
            store.append(&[log(b"1234")]).unwrap(),
            [Appended::Duplicate(2)]
        );
    });
}

fn release(
    store: &dyn Storage,
    topic: &TopicId,
    (upto, now, before): (u64, u64, u64),
) -> (bool, usize) {
    let noted = store.release(topic, upto, now).unwrap();
    (noted, store.reap(before, 3).unwrap())
}

fn same(
    disk: &dyn Storage,
    memory: &dyn Storage,
    topic: &TopicId,
    places: [Option<u64>; 4],
    turn: u64,
) {
    assert_eq!(disk.totals(), memory.totals());
    assert_eq!(disk.stat(topic).unwrap(), memory.stat(topic).unwrap());
    for place in places {
        let kept = disk.history(topic, place).unwrap();
        assert_eq!(kept, memory.history(topic, place).unwrap(), "turn {turn}");
    }
    let read = |store: &dyn Storage| store.range(topic, 0, u64::MAX, ALL).unwrap();
    assert!(read(disk) == read(memory), "turn {turn}");
}

/// Random work on both stores side by side.
#[test]
fn the_disk_agrees_with_memory() {
    let quota = Quota {
        topic_bytes_max: 60_000,
        store_bytes_max: 150_000,
    };
    let home = tempfile::tempdir().unwrap();
    let options = DiskOptions {
        directory: home.path().to_owned(),
        cache_bytes: 8 << 20,
        check: true,
        free_bytes_min: 0,
        quota,
    };
    let memory = MemoryStorage::new(LogId(1), quota);
    let mut disk = DiskStorage::open(options.clone(), LogId(1)).unwrap();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut dice = |sides: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % sides
    };
    for turn in 0..600_u64 {
        let topic = TopicId([dice(4) as u8; 32]);
        match dice(20) {
            0 => {
                let upto = dice(40);
                assert_eq!(
                    disk.trim(&topic, upto, 5).unwrap(),
                    memory.trim(&topic, upto, 5).unwrap()
                );
            }
            1 => {
                let before = turn.saturating_sub(dice(200));
                for class in [Class::Log, Class::Inbox] {
                    let gone = disk.expire(class, before, 7).unwrap();
                    assert_eq!(gone, memory.expire(class, before, 7).unwrap());
                }
            }
            2 => {
                let released = (dice(40), turn, turn.saturating_sub(dice(50)));
                assert_eq!(
                    release(&disk, &topic, released),
                    release(&memory, &topic, released)
                );
            }
            3 => [&disk as &dyn Storage, &memory]
                .map(|store| store.take_back(&topic))
                .into_iter()
                .for_each(Result::unwrap),
            4 => {
                drop(disk);
                disk = DiskStorage::open(options.clone(), LogId(2)).unwrap();
                assert_eq!(disk.moved_aside(), None);
            }
            _ => {
                let class = if dice(2) == 0 {
                    Class::Log
                } else {
                    Class::Inbox
                };
                let batch: Vec<_> = (0..dice(6))
                    .map(|_| vec![dice(30) as u8; dice(9_000) as usize])
                    .map(|bytes| record(topic, class, turn, &bytes))
                    .collect();
                assert_eq!(disk.append(&batch).unwrap(), memory.append(&batch).unwrap());
            }
        }
        let places = [None, Some(0), Some(dice(40)), Some(dice(40))];
        same(&disk, &memory, &topic, places, turn);
    }
}
