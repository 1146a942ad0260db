use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use sheaf_protocol::{RecordHash, hash_record};

use super::*;

const TOPIC: TopicId = TopicId([3; 32]);

fn options(directory: &Path) -> DiskOptions {
    DiskOptions {
        directory: directory.to_owned(),
        cache_bytes: 8 << 20,
        check: true,
        free_bytes_min: 0,
        quota: Quota {
            topic_bytes_max: u64::MAX,
            store_bytes_max: u64::MAX,
        },
    }
}

fn fill(directory: &Path, batches: u64) {
    let store = DiskStorage::open(options(directory), LogId(1)).unwrap();
    for number in 0..batches {
        let batch: Vec<_> = (0..20_u64)
            .map(|place| [number.to_be_bytes(), place.to_be_bytes()].concat())
            .map(|start| [start, vec![7; 300]].concat())
            .map(|bytes| NewRecord {
                topic: TOPIC,
                class: Class::Log,
                hash: hash_record(&bytes),
                received_ms: 1,
                bytes,
            })
            .collect();
        store.append(&batch).unwrap();
    }
}

#[test]
fn a_second_owner_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let store = DiskStorage::open(options(home.path()), LogId(1)).unwrap();
    let error = DiskStorage::open(options(home.path()), LogId(1)).unwrap_err();
    assert!(matches!(error, OpenError::InUse(_)), "{error}");
    drop(store);
    DiskStorage::open(options(home.path()), LogId(1)).unwrap();
}

#[test]
fn a_lost_store_beside_its_witness_is_noticed() {
    let home = tempfile::tempdir().unwrap();
    fill(home.path(), 2);
    std::fs::remove_dir_all(home.path().join("store")).unwrap();
    let store = DiskStorage::open(options(home.path()), LogId(2)).unwrap();
    assert_eq!(store.log(), LogId(2));
    assert!(store.moved_aside().is_some());
    assert_eq!(store.stat(&TOPIC).unwrap().head, 0);
}

#[test]
fn a_store_rolled_back_beside_its_witness_is_noticed() {
    let home = tempfile::tempdir().unwrap();
    fill(home.path(), 2);
    let witness = home.path().join("store.witness");
    let mut early = Witness::open(&witness, 1).unwrap().0;
    early.write(99).unwrap();
    let store = DiskStorage::open(options(home.path()), LogId(2)).unwrap();
    assert_eq!(store.log(), LogId(2));
    assert!(store.moved_aside().is_some());
}

#[test]
fn a_torn_or_foreign_witness_says_nothing() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("witness");
    Witness::open(&path, 1).unwrap().0.write(9).unwrap();
    assert_eq!(Witness::open(&path, 1).unwrap().1, Some(9));
    assert_eq!(Witness::open(&path, 2).unwrap().1, None);
    std::fs::write(&path, [1; 20]).unwrap();
    assert_eq!(Witness::open(&path, 1).unwrap().1, None);
}

/// sled opens many damaged files without a word. Here every damage is either harmless (it hit what
/// is not used) or noticed, and then the store is moved aside under a new log id.
#[test]
fn damage_is_noticed_or_harmless() {
    let home = tempfile::tempdir().unwrap();
    let original = home.path().join("original");
    fill(&original, 20);
    let length = std::fs::metadata(original.join("store/db")).unwrap().len();
    let mut noticed = 0;
    for trial in 0..16_u64 {
        let copy = home.path().join(format!("copy-{trial}"));
        std::fs::create_dir_all(copy.join("store")).unwrap();
        for name in ["store/db", "store/conf", "store.witness"] {
            std::fs::copy(original.join(name), copy.join(name)).unwrap();
        }
        let db = copy.join("store/db");
        let mut file = File::options().read(true).write(true).open(db).unwrap();
        let place = length / 17 * (trial + 1);
        if trial % 4 == 3 {
            file.set_len(place).unwrap();
        } else {
            let mut byte = [0];
            file.seek(SeekFrom::Start(place)).unwrap();
            file.read_exact(&mut byte).unwrap();
            file.seek(SeekFrom::Start(place)).unwrap();
            file.write_all(&[byte[0] ^ 1]).unwrap();
        }
        drop(file);
        let store = DiskStorage::open(options(&copy), LogId(2)).unwrap();
        if store.moved_aside().is_some() {
            noticed += 1;
            assert_eq!(store.log(), LogId(2));
        } else {
            assert_eq!(store.log(), LogId(1));
            assert_eq!(store.totals().records, 400);
        }
    }
    assert!(noticed > 0);
}

#[test]
fn a_failed_store_opens_again() {
    let home = tempfile::tempdir().unwrap();
    fill(home.path(), 1);
    let store = DiskStorage::open(options(home.path()), LogId(2)).unwrap();
    store.fail(&mut store.writer(), &StorageError::Closed);
    assert!(
        store
            .range(
                &TOPIC,
                0,
                9,
                RangeLimit {
                    records_max: 1,
                    bytes_max: 1
                }
            )
            .is_err()
    );
    assert!(matches!(store.probe(), Err(StorageError::Closed)));
    store.writer().failed_at = None;
    store.probe().unwrap();
    assert_eq!(store.stat(&TOPIC).unwrap().head, 20);
}

/// The bytes of the disk are pinned: another layout needs another version.
#[test]
fn the_bytes_of_the_disk_are_pinned() {
    let header = Header {
        class: Class::Inbox,
        received_ms: 0x0102,
        hash: RecordHash([9; 32]),
        length: 0x0304,
    };
    let expected = [&[1, 1, 0, 0, 0, 0, 0, 0, 1, 2][..], &[9; 32], &[0, 0, 3, 4]].concat();
    assert_eq!(header.encode(), expected);
    assert_eq!(Header::decode(&expected).unwrap(), (header, &[][..]));
    assert_eq!(expected.len(), key::HEADER_BYTES);
    let name = key::record_key(&TOPIC, 5, 6);
    assert_eq!(
        name,
        [&b"r"[..], &[3; 32], &[0, 0, 0, 0, 0, 0, 0, 5, 6]].concat()
    );
    assert_eq!(key::decode_record_key(&name).unwrap(), (TOPIC, 5, 6));
}

#[test]
fn a_snapshot_that_was_not_finished_does_no_harm() {
    let home = tempfile::tempdir().unwrap();
    fill(home.path(), 2);
    fill(home.path(), 1);
    let unfinished = home.path().join("store/snap.00000000FFFFFFFF.generating");
    std::fs::write(&unfinished, b"").unwrap();
    let store = DiskStorage::open(options(home.path()), LogId(2)).unwrap();
    assert_eq!(store.log(), LogId(1));
    assert!(store.moved_aside().is_none());
    assert!(!unfinished.exists());
}

/// The histories of a store that an older program wrote begin where this one goes on.
#[test]
fn a_store_without_histories_begins_at_its_head() {
    let home = tempfile::tempdir().unwrap();
    fill(home.path(), 1);
    {
        let db = sled::open(home.path().join("store")).unwrap();
        for item in db.scan_prefix(b"s") {
            db.remove(item.unwrap().0).unwrap();
        }
        db.flush().unwrap();
    }
    let store = DiskStorage::open(options(home.path()), LogId(1)).unwrap();
    assert_eq!(store.moved_aside(), None);
    let zero = History::default();
    assert_eq!(store.history(&TOPIC, None).unwrap(), Some((20, zero)));
    assert_eq!(store.history(&TOPIC, Some(19)).unwrap(), None);
    let new = NewRecord {
        topic: TOPIC,
        class: Class::Log,
        hash: hash_record(b"new"),
        received_ms: 1,
        bytes: b"new".to_vec(),
    };
    let expected = zero.then(&TOPIC, 21, &new.hash);
    store.append(&[new]).unwrap();
    assert_eq!(store.history(&TOPIC, Some(20)).unwrap(), Some((20, zero)));
    assert_eq!(store.history(&TOPIC, None).unwrap(), Some((21, expected)));
    assert_eq!(store.history(&TOPIC, Some(19)).unwrap(), None);
}
