use sheaf_replica::record::Key;
use std::sync::mpsc;

use super::*;

const KEY: [u8; 32] = [7; 32];

fn open(directory: &Path) -> Result<Store, OpenError> {
    Store::open(
        directory,
        &Unlock::KeyFile(&KEY),
        Some(Argon2Params::default()),
    )
}

fn write(store: &Store, batch: u64, writes: Vec<record::Write>) {
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

fn walk(directory: &Path) -> Vec<PathBuf> {
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
