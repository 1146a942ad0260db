use sheaf_replica::record::Key;
use std::sync::mpsc;

use super::*;

pub(super) const KEY: [u8; 32] = [7; 32];

pub(super) fn open(directory: &Path) -> Result<Store, OpenError> {
    Store::open(
        directory,
        &Unlock::KeyFile(&KEY),
        Some(Argon2Params::default()),
    )
}

pub(super) fn write(store: &Store, batch: u64, writes: Vec<record::Write>) {
    let (told, heard) = mpsc::channel();
    let durable: Durable = Box::new(move |written| told.send(written).unwrap());
    let writer = Writer::start(store.clone(), durable).unwrap();
    assert!(writer.write(BatchId(batch), writes));
    assert_eq!(heard.recv().unwrap(), (BatchId(batch), Ok(())));
    writer.stop();
}

fn put(scope: &[u8], order: &[u8], value: &[u8]) -> record::Write {
    let key = Key {
        kind: Kind::Message,
        scope: scope.to_vec(),
        order: order.to_vec(),
    };
    record::Write {
        key,
        value: Some(value.to_vec()),
        erases: false,
    }
}

fn values(rows: &[Row]) -> Vec<Vec<u8>> {
    rows.iter().map(|row| row.value.clone()).collect()
}

#[test]
fn what_is_written_is_read_in_order_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let large = vec![9; 100_000];
    {
        let store = open(home.path()).unwrap();
        write(
            &store,
            1,
            vec![put(b"a", &[2], b"two"), put(b"a", &[1], b"one")],
        );
        write(
            &store,
            2,
            vec![put(b"a", &[3], &large), put(b"b", &[1], b"other")],
        );
    }
    let store = open(home.path()).unwrap();
    let range = Range {
        kind: Kind::Message,
        scope: b"a".to_vec(),
        from: vec![0],
        to: vec![9],
    };
    let rows = store.range(&range).unwrap();
    assert_eq!(
        values(&rows),
        [b"one".to_vec(), b"two".to_vec(), large.clone()]
    );
    assert_eq!(rows[0].order, [1]);
    let newest = store
        .page(Kind::Message, b"a", (None, Some(&[3])), 1, Newest::First)
        .unwrap();
    assert_eq!(values(&newest), [b"two".to_vec()]);
    let oldest = store
        .page(Kind::Message, b"a", (Some(&[1]), None), 9, Newest::Last)
        .unwrap();
    assert_eq!(values(&oldest), [b"two".to_vec(), large]);
    assert_eq!(store.scan(Kind::Message).unwrap().len(), 4);
}

#[test]
fn neither_values_nor_scopes_are_on_the_disk_in_plain() {
    let home = tempfile::tempdir().unwrap();
    {
        let store = open(home.path()).unwrap();
        write(&store, 1, vec![put(b"canary-scope", &[1], b"canary-value")]);
    }
    for file in walk(home.path()) {
        let bytes = std::fs::read(&file).unwrap();
        for needle in [b"canary-scope".as_slice(), b"canary-value"] {
            assert!(
                !bytes.windows(needle.len()).any(|w| w == needle),
                "{}",
                file.display()
            );
        }
    }
}

pub(super) fn walk(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path))
        } else {
            files.push(path)
        }
    }
    files
}

#[test]
fn a_wrong_key_a_second_process_and_a_missing_store_are_told_apart() {
    let home = tempfile::tempdir().unwrap();
    let unlock = Unlock::KeyFile(&KEY);
    assert!(matches!(
        Store::open(home.path(), &unlock, None),
        Err(OpenError::NoStore(_))
    ));
    let store = open(home.path()).unwrap();
    assert!(matches!(open(home.path()), Err(OpenError::InUse(_))));
    drop(store);
    let wrong = Store::open(home.path(), &Unlock::KeyFile(&[8; 32]), None);
    assert!(matches!(wrong, Err(OpenError::WrongKey)));
    let wrong = Store::open(home.path(), &Unlock::Passphrase("x"), None);
    assert!(matches!(wrong, Err(OpenError::WrongKey)));
}

#[test]
fn a_store_that_lost_its_tail_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let records = |home: &Path| home.join("records");
    {
        write(
            &open(home.path()).unwrap(),
            1,
            vec![put(b"a", &[1], b"one")],
        );
    }
    std::fs::create_dir(records(copy.path())).unwrap();
    for file in std::fs::read_dir(records(home.path())).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_file() {
            std::fs::copy(file.path(), records(copy.path()).join(file.file_name())).unwrap();
        }
    }
    {
        write(
            &open(home.path()).unwrap(),
            2,
            vec![put(b"a", &[2], b"two")],
        );
    }
    std::fs::remove_dir_all(records(home.path())).unwrap();
    std::fs::rename(records(copy.path()), records(home.path())).unwrap();
    assert!(matches!(open(home.path()), Err(OpenError::Damaged(_))));
}

#[test]
fn a_value_moved_to_another_name_does_not_open() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path()).unwrap();
    write(
        &store,
        1,
        vec![put(b"a", &[1], b"one"), put(b"a", &[2], b"two")],
    );
    let keys: Vec<_> = store
        .db
        .scan_prefix([Kind::Message as u8])
        .keys()
        .map(|key| key.unwrap())
        .collect();
    let first = store.db.get(&keys[0]).unwrap().unwrap();
    store.db.insert(&keys[1], first).unwrap();
    assert!(matches!(store.scan(Kind::Message), Err(ReadError::Damaged)));
}

#[test]
fn a_snapshot_that_was_not_finished_does_no_harm() {
    let home = tempfile::tempdir().unwrap();
    {
        let store = open(home.path()).unwrap();
        write(&store, 1, vec![put(b"a", &[1], b"one")]);
    }
    drop(open(home.path()).unwrap());
    let unfinished = home.path().join("records/snap.00000000FFFFFFFF.generating");
    std::fs::write(&unfinished, b"").unwrap();
    let store = open(home.path()).unwrap();
    assert_eq!(store.scan(Kind::Message).unwrap().len(), 1);
    assert!(!unfinished.exists());
}

/// A store of a few hundred records, some of them in parts, and a snapshot of sled's.
fn filled() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path()).unwrap();
    for number in 0..20_u8 {
        let value = vec![number; if number % 5 == 0 { 40_000 } else { 300 }];
        let writes = (0..10).map(|order| put(&[number], &[order], &value));
        write(&store, u64::from(number) + 1, writes.collect());
    }
    drop(store);
    drop(open(home.path()).unwrap());
    home
}

/// Everything that an app may read; `false` if the store says that it is damaged.
fn read_all(directory: &Path) -> bool {
    let store = match open(directory) {
        Ok(store) => store,
        Err(OpenError::Damaged(_) | OpenError::WrongKey | OpenError::TooNew(_)) => return false,
        Err(other) => panic!("{other}"),
    };
    let range = Range {
        kind: Kind::Message,
        scope: vec![5],
        from: vec![0],
        to: vec![9],
    };
    let page = store.page(Kind::Message, &[7], (None, None), 5, Newest::First);
    let whole = store.scan(Kind::Message).and(store.restored());
    whole.and(store.range(&range)).and(page).is_ok()
}

/// `SHEAF_FLIPS` sets how many.
#[test]
fn flipped_bits_are_damage_and_never_a_panic() {
    let home = filled();
    let flips = std::env::var("SHEAF_FLIPS").map_or(60, |text| text.parse().unwrap());
    let files = walk(home.path());
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % below as u64).unwrap()
    };
    let mut noticed = 0;
    for _ in 0..flips {
        let copy = tempfile::tempdir().unwrap();
        let file = files[next(files.len())].clone();
        for from in &files {
            let to = copy.path().join(from.strip_prefix(home.path()).unwrap());
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            let mut bytes = std::fs::read(from).unwrap();
            if *from == file && !bytes.is_empty() {
                let place = next(bytes.len());
                bytes[place] ^= 1 << next(8);
            }
            std::fs::write(to, bytes).unwrap();
        }
        noticed += usize::from(!read_all(copy.path()));
    }
    println!("{noticed} of {flips} were noticed");
    assert!(noticed > 0);
}

/// Loses one thing behind the store's back, and gives what the next open says.
fn open_without(lose: impl Fn(&Store)) -> Result<Store, OpenError> {
    let home = tempfile::tempdir().unwrap();
    {
        let store = open(home.path()).unwrap();
        for number in 0..20_u8 {
            let long = if number == 4 { 40_000 } else { 20 };
            let again = put(b"a", &[number / 2], &vec![number; long]);
            write(&store, u64::from(number), vec![again]);
        }
        let delete = record::Write {
            value: None,
            ..put(b"a", &[0], b"")
        };
        write(&store, 20, vec![delete]);
        lose(&store);
        store.db.flush().unwrap();
    }
    open(home.path())
}

fn messages(store: &Store) -> Vec<IVec> {
    let found = store.db.scan_prefix([Kind::Message as u8]);
    found.keys().map(|key| key.unwrap()).collect()
}

#[test]
fn a_write_that_was_lost_in_the_midst_is_missed_at_the_next_open() {
    assert!(open_without(|_| {}).is_ok());
    let damaged = |lose: &dyn Fn(&Store)| {
        let opened = open_without(lose);
        assert!(matches!(opened, Err(OpenError::Damaged(_))));
    };
    damaged(&|store| {
        store.db.remove(&messages(store)[3]).unwrap();
    });
    damaged(&|store| {
        let key = store.prefix(Kind::Message, b"a");
        store.db.insert([key, vec![0]].concat(), &[0]).unwrap();
    });
    for row in [3_u64, 21] {
        damaged(&move |store| {
            let key = [[RECENT].as_slice(), &row.to_be_bytes()].concat();
            assert!(store.db.remove(key).unwrap().is_some());
        });
    }
}

#[test]
fn a_record_that_is_derived_again_does_not_keep_the_store_from_being_opened() {
    let store = open_without(|store| {
        let keys = messages(store);
        let other = store.db.get(&keys[5]).unwrap().unwrap();
        store.db.insert(&keys[3], other).unwrap();
    });
    let report = store.unwrap().check().unwrap();
    // The test writes values that are no messages; all that open are counted as damaged, too.
    assert_eq!(report.replaceable, report.damaged());
    assert!(!report.is_sound());
}

#[test]
fn the_list_of_what_was_written_last_is_bounded() {
    let home = tempfile::tempdir().unwrap();
    for round in 0..6_u64 {
        let store = open(home.path()).unwrap();
        let writes = (0..1_000_u64).map(|order| {
            let order = (order * (round + 1)).to_be_bytes();
            put(b"a", &order, &round.to_be_bytes())
        });
        write(&store, round, writes.collect());
        let listed: usize = store
            .db
            .scan_prefix([RECENT])
            .values()
            .map(|value| value.unwrap().len())
            .sum();
        assert!(listed < 4_096 * 48, "{listed}");
    }
    let store = open(home.path()).unwrap();
    let many = (0..9_000_u64).map(|order| put(b"b", &order.to_be_bytes(), b"x"));
    write(&store, 9, many.collect());
    drop(store);
    let started = std::time::Instant::now();
    drop(open(home.path()).unwrap());
    println!("opened in {:?}", started.elapsed());
}

#[test]
fn another_secret_opens_the_store_and_a_crash_in_between_loses_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (old, new) = (Unlock::KeyFile(&KEY), Unlock::KeyFile(&[9; 32]));
    let store = open(home.path()).unwrap();
    write(&store, 1, vec![put(b"a", &[1], b"one")]);
    let before = header::bytes(home.path()).unwrap();
    let wrong = store.change_secret(&Unlock::KeyFile(&[8; 32]), &new, Argon2Params::default());
    assert!(wrong.is_err());
    assert_eq!(header::bytes(home.path()).unwrap(), before);
    store
        .change_secret(&old, &new, Argon2Params::default())
        .unwrap();
    drop(store);
    let after = header::bytes(home.path()).unwrap();
    let opens = |secret: &Unlock<'_>| {
        let store = Store::open(home.path(), secret, None)?;
        let read = store.scan(Kind::Message).unwrap();
        assert_eq!(values(&read), [b"one".to_vec()]);
        Ok::<_, OpenError>(())
    };
    assert!(matches!(opens(&old), Err(OpenError::WrongKey)));
    opens(&new).unwrap();
    // Whatever of a new header was written beside the present one when the power went, the present
    // one opens.
    for (present, secret) in [(&before, &old), (&after, &new)] {
        header::write(home.path(), present).unwrap();
        for length in (0..after.len()).step_by(7) {
            let partial = home.path().join("store.header.new");
            std::fs::write(&partial, &after[..length]).unwrap();
            opens(secret).unwrap();
        }
    }
}

/// Flips bits where sled has written something: every one is either noticed or changes nothing.
#[test]
fn no_flipped_bit_loses_a_recent_write_in_silence() {
    for home in [filled(), often_opened()] {
        flip_written(&home);
    }
}

/// A store that a process at a time wrote one record to.
fn often_opened() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    for number in 0..60_u8 {
        let store = open(home.path()).unwrap();
        let value = vec![number; 2_000];
        write(&store, 1, vec![put(&[number % 7], &[number], &value)]);
    }
    home
}

fn flip_written(home: &tempfile::TempDir) {
    let whole = open(home.path()).unwrap().scan(Kind::Message).unwrap();
    let flips = std::env::var("SHEAF_FLIPS").map_or(60, |text| text.parse().unwrap());
    let files = walk(home.path());
    let db = files.iter().find(|file| file.ends_with("db")).unwrap();
    let bytes = std::fs::read(db).unwrap();
    let written: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let (mut noticed, mut harmless, mut silent) = (0, 0, 0);
    for round in 0..flips {
        let copy = tempfile::tempdir().unwrap();
        for from in &files {
            let to = copy.path().join(from.strip_prefix(home.path()).unwrap());
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(from, to).unwrap();
        }
        let mut altered = bytes.clone();
        altered[written[round * 104_729 % written.len()]] ^= 1 << (round % 8);
        std::fs::write(copy.path().join("records/db"), altered).unwrap();
        let read = open(copy.path()).map(|store| store.scan(Kind::Message));
        match read {
            Ok(Ok(rows)) if rows == whole => harmless += 1,
            Ok(Ok(_)) => silent += 1,
            Ok(Err(_)) | Err(OpenError::Damaged(_)) => noticed += 1,
            Err(other) => panic!("{other}"),
        }
    }
    println!("{noticed} were noticed, {harmless} changed nothing, {silent} went unnoticed");
    assert_eq!(silent, 0);
}
