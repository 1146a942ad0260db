use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};

use sheaf_crypto::{Argon2Params, Unlock};
use sheaf_replica::BatchId;
use sheaf_replica::record::Key;

use super::super::tests::{KEY, open, walk, write};
use super::super::{Durable, OpenError, Writer};
use super::*;

mod kem;

const OLD: &[u8] = b"a secret that is to go";
const NEW: &[u8] = b"what stands in its place";

fn put(kind: Kind, scope: &[u8], value: &[u8]) -> Write {
    let key = Key {
        kind,
        scope: scope.to_vec(),
        order: Vec::new(),
    };
    Write {
        key,
        value: Some(value.to_vec()),
        erases: false,
    }
}

fn erasing(write: Write) -> Write {
    Write {
        erases: true,
        ..write
    }
}

fn deleted(kind: Kind, scope: &[u8]) -> Write {
    Write {
        value: None,
        ..put(kind, scope, b"")
    }
}

fn attempt(store: &Store, writes: Vec<Write>) -> Result<(), String> {
    let (told, heard) = mpsc::channel();
    let durable: Durable = Box::new(move |written| told.send(written).unwrap());
    let writer = Writer::start(store.clone(), durable).unwrap();
    assert!(writer.write(BatchId(1), writes));
    let (_, result) = heard.recv().unwrap();
    writer.stop();
    result
}

/// A store with an account, twenty epochs, keys of a vault that take several rows, and a message.
fn filled() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path()).unwrap();
    let mut writes = vec![
        put(Kind::Account, b"", OLD),
        put(Kind::Vault, b"", &[3; 40_000]),
        put(Kind::Message, b"m", b"a message"),
    ];
    writes.extend((0..20).map(|number| put(Kind::Epoch, &[number], &[number; 60])));
    write(&store, 1, writes);
    home
}

/// What the batch asks that erases the account's secret and an epoch.
fn asked() -> Vec<Write> {
    vec![
        erasing(put(Kind::Account, b"", NEW)),
        deleted(Kind::Epoch, &[7]),
        put(Kind::Message, b"m", b"another message"),
    ]
}

/// Which of the two states a store is in; every other one fails.
fn is_erased(store: &Store) -> bool {
    let one = |kind| store.scan(kind).unwrap()[0].value.clone();
    let mut epochs: Vec<_> = store.scan(Kind::Epoch).unwrap();
    epochs.sort_by(|one, other| one.value.cmp(&other.value));
    let first: Vec<u8> = epochs.iter().map(|row| row.value[0]).collect();
    assert_eq!(one(Kind::Vault), [3; 40_000]);
    let account = one(Kind::Account);
    let erased = account == NEW;
    let numbers = (0..20).filter(|number| !erased || *number != 7);
    assert_eq!(first, numbers.collect::<Vec<u8>>());
    let message: &[u8] = if erased {
        b"another message"
    } else {
        b"a message"
    };
    assert_eq!(one(Kind::Message), message);
    assert!(erased || account == OLD);
    erased
}

type Files = BTreeMap<PathBuf, Vec<u8>>;

fn copied(home: &Path) -> Files {
    let files = walk(home).into_iter();
    files
        .map(|file| {
            let name = file.strip_prefix(home).unwrap().to_owned();
            (name, std::fs::read(file).unwrap())
        })
        .collect()
}

fn laid_out(files: &Files) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let file = home.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }
    home
}

/// Rows as sled has them.
type Rows = Vec<(Vec<u8>, Vec<u8>)>;

fn rows(store: &Store) -> Rows {
    let rows = store.db.iter().map(|row| row.unwrap());
    rows.map(|(key, value)| (key.to_vec(), value.to_vec()))
        .collect()
}

/// How many of the account's and the epochs' earlier rows open with what the store has now.
fn opened(store: &Store, earlier: &Rows) -> usize {
    let ring = store.ring();
    let count = earlier.iter().filter(|(key, sealed)| {
        let kind = Kind::of(key[0]).filter(|kind| kind.is_erasable());
        // What is in parts names the parts that there are now.
        kind.is_some_and(|kind| {
            sealed[0] == 0 && store.open_value(&ring, kind, key, sealed).is_ok()
        })
    });
    count.count()
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn what_was_erased_opens_with_nothing_that_is_left() {
    let home = filled();
    let before = copied(home.path());
    let store = open(home.path()).unwrap();
    let earlier = rows(&store);
    // Written over as all else is, the older value is there for whoever has the files.
    write(&store, 2, vec![put(Kind::Account, b"", b"in between")]);
    assert!(opened(&store, &earlier) >= 21);
    write(&store, 3, asked());
    assert_eq!(opened(&store, &earlier), 0);
    drop(store);
    let store = open(home.path()).unwrap();
    assert!(is_erased(&store));
    assert_eq!(opened(&store, &earlier), 0);
    drop(store);
    let after = copied(home.path());
    let (header, records) = (Path::new("store.header"), Path::new("records/db"));
    // sled still has the sealed bytes of before,
    let account = earlier
        .iter()
        .find(|(key, _)| key[0] == Kind::Account as u8);
    assert!(contains(&after[records], &account.unwrap().1));
    // but no file has the key, and the device's own files of before are of no use with the header
    // that it has now.
    let locked = &before[header][before[header].len() - 60..];
    assert!(contains(&before[header], locked));
    for (name, bytes) in &after {
        assert!(!contains(bytes, locked), "{}", name.display());
    }
    let mut mixed = before.clone();
    let whole = laid_out(&mixed);
    assert!(!is_erased(&open(whole.path()).unwrap()));
    mixed.insert(header.to_owned(), after[header].clone());
    let mixed = laid_out(&mixed);
    // It is refused or does not open; with the key it would be as whole as above.
    if let Ok(store) = open(mixed.path()) {
        assert!(matches!(store.scan(Kind::Account), Err(ReadError::Damaged)));
        assert!(matches!(store.scan(Kind::Epoch), Err(ReadError::Damaged)));
    }
}

/// The home at every step of an erasure, as a crash leaves it.
fn steps() -> Vec<(Step, Files)> {
    let home = filled();
    let mut store = open(home.path()).unwrap();
    let (seen, directory) = (Arc::new(Mutex::new(Vec::new())), home.path().to_owned());
    let into = Arc::clone(&seen);
    store.look(Arc::new(move |step| {
        into.lock().unwrap().push((step, copied(&directory)));
        Ok(())
    }));
    attempt(&store, asked()).unwrap();
    let seen = seen.lock().unwrap().clone();
    let reached: Vec<Step> = seen.iter().map(|(step, _)| *step).collect();
    assert_eq!(
        reached,
        [Step::Begun, Step::Drawn, Step::Moved, Step::Finished]
    );
    seen
}

#[test]
fn a_crash_at_any_step_loses_nothing_and_leaves_one_key() {
    let steps = steps();
    let account = |store: &Store| {
        let rows = rows(store).into_iter();
        let found = rows.filter(|(key, _)| key[0] == Kind::Account as u8);
        found.collect::<Rows>()
    };
    let first = account(&open(laid_out(&steps[0].1).path()).unwrap());
    for (step, files) in &steps {
        let home = laid_out(files);
        let store = open(home.path()).unwrap();
        assert_eq!(is_erased(&store), *step >= Step::Moved, "{step:?}");
        assert_eq!(store.ring().len(), 1);
        let report = store.count_erasable(&store.ring()).unwrap();
        assert!(!report.unfinished && report.unprotected == 0);
        // What was under way goes on to its end: the first key opens nothing any more.
        let gone = *step >= Step::Drawn;
        assert_eq!(opened(&store, &first), usize::from(!gone), "{step:?}");
        // And again: everything is as a store has to be.
        write(&store, 9, asked());
        drop(store);
        assert!(is_erased(&open(home.path()).unwrap()));
    }
}

/// The power goes while sled writes: any part of what it wrote is there. Then the header has both
/// keys, and whatever sled makes of it opens.
#[test]
fn a_write_that_broke_off_in_the_midst_opens_with_one_of_the_keys() {
    let steps = steps();
    let (drawn, moved) = (&steps[1].1, &steps[2].1);
    let records = Path::new("records/db");
    let (old, new) = (&drawn[records], &moved[records]);
    let at = |place: usize, from: &[u8]| from.get(place).copied().unwrap_or_default();
    let changed: Vec<usize> = (0..old.len().max(new.len()))
        .filter(|place| at(*place, old) != at(*place, new))
        .collect();
    assert!(!changed.is_empty());
    let mut found = [0, 0];
    for part in 0..=24 {
        let cut = changed[(changed.len() - 1) * part / 24] + part / 24;
        let mut torn = new[..cut.min(new.len())].to_vec();
        torn.extend_from_slice(old.get(cut..).unwrap_or_default());
        torn.resize(old.len().max(new.len()), 0);
        let mut files = drawn.clone();
        files.insert(records.to_owned(), torn);
        let home = laid_out(&files);
        let store = open(home.path()).unwrap();
        found[usize::from(is_erased(&store))] += 1;
        assert_eq!(store.ring().len(), 1);
    }
    println!("{} as before, {} erased", found[0], found[1]);
    assert!(found[0] > 0 && found[1] > 0);
}

#[test]
fn a_disk_that_takes_no_more_changes_nothing_acknowledged() {
    for step in [Step::Begun, Step::Drawn, Step::Moved, Step::Finished] {
        let home = filled();
        let mut store = open(home.path()).unwrap();
        store.look(Arc::new(move |at| match at == step {
            true => Err("no space is left".to_owned()),
            false => Ok(()),
        }));
        assert!(attempt(&store, asked()).is_err(), "{step:?}");
        drop(store);
        let store = open(home.path()).unwrap();
        assert_eq!(is_erased(&store), step >= Step::Moved);
        assert_eq!(store.ring().len(), 1);
    }
}

#[test]
fn an_erasure_whose_header_cannot_be_written_is_not_acknowledged() {
    let home = filled();
    let store = open(home.path()).unwrap();
    let before = std::fs::read(home.path().join("store.header")).unwrap();
    let place = home.path().join("store.header.new");
    std::fs::create_dir(&place).unwrap();
    assert!(attempt(&store, asked()).is_err());
    std::fs::remove_dir(&place).unwrap();
    assert_eq!(
        std::fs::read(home.path().join("store.header")).unwrap(),
        before
    );
    drop(store);
    assert!(!is_erased(&open(home.path()).unwrap()));
}

#[test]
fn only_what_is_sealed_under_such_a_key_can_be_erased() {
    let home = filled();
    let store = open(home.path()).unwrap();
    let refused = attempt(&store, vec![erasing(put(Kind::Message, b"m", b"x"))]);
    assert!(refused.unwrap_err().contains("destroyed"));
    drop(store);
    assert!(!is_erased(&open(home.path()).unwrap()));
}

#[test]
fn of_several_writes_of_one_record_only_the_last_is_written() {
    let home = filled();
    let store = open(home.path()).unwrap();
    let large = [OLD, &[9; 40_000]].concat();
    let mut writes = vec![put(Kind::Account, b"", &large)];
    writes.extend(asked());
    write(&store, 2, writes);
    assert!(is_erased(&store));
    // Nothing of the larger one is there under the key that the store has now.
    let ring = store.ring();
    let generation = ring.newest().unwrap().generation();
    let mut parts = Vec::new();
    for (key, value) in rows(&store) {
        if key[0] == super::super::PART && ErasableKey::generation_of(&value) == Some(generation) {
            parts.push(value);
        }
    }
    // The first part of the vault's keys.
    assert_eq!(parts.len(), 1);
}

/// A store as an earlier version wrote it.
fn first_version() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path()).unwrap();
    *store.ring_mut() = Ring::default();
    header::keep(home.path(), &store.vault, &store.ring()).unwrap();
    let key = store.prefix(Kind::Account, b"");
    let sealed = store
        .vault
        .seal_record(
            Kind::Account as u8,
            &key,
            OLD,
            &mut crate::entropy::OsEntropy,
        )
        .unwrap();
    store
        .db
        .insert(key, [&[0], sealed.as_slice()].concat())
        .unwrap();
    store.db.flush().unwrap();
    drop(store);
    home
}

fn version(home: &Path) -> u8 {
    std::fs::read(home.join("store.header")).unwrap()[b"sheaf-store".len()]
}

#[test]
fn a_store_of_an_earlier_version_becomes_one_of_this_with_its_first_secret() {
    let home = first_version();
    let account = |store: &Store| store.scan(Kind::Account).unwrap()[0].value.clone();
    let store = open(home.path()).unwrap();
    assert_eq!(account(&store), OLD);
    write(&store, 1, vec![put(Kind::Message, b"m", b"no secret")]);
    assert_eq!(version(home.path()), 1);
    write(&store, 2, vec![put(Kind::Epoch, b"e", b"a secret")]);
    assert_eq!(version(home.path()), 2);
    drop(store);
    let store = open(home.path()).unwrap();
    let counted = |store: &Store| store.count_erasable(&store.ring()).unwrap();
    assert_eq!(counted(&store).unprotected, 1);
    assert_eq!(
        (counted(&store).records, counted(&store).generation),
        (1, Some(1))
    );
    write(&store, 3, vec![erasing(deleted(Kind::Epoch, b"e"))]);
    assert_eq!(account(&store), OLD);
    assert_eq!(counted(&store).unprotected, 0);
    assert_eq!(
        (counted(&store).records, counted(&store).generation),
        (1, Some(2))
    );
    // Asked of a store of the earlier version at once.
    let home = first_version();
    let store = open(home.path()).unwrap();
    write(&store, 1, vec![erasing(put(Kind::Account, b"", NEW))]);
    drop(store);
    let store = open(home.path()).unwrap();
    assert_eq!(account(&store), NEW);
    assert_eq!(counted(&store).unprotected, 0);
}

#[test]
fn a_header_that_is_cut_short_altered_or_newer_is_refused() {
    let home = filled();
    let bytes = header::bytes(home.path()).unwrap();
    assert_eq!(bytes[b"sheaf-store".len()], 2);
    for length in 0..bytes.len() {
        assert!(header::parse(&bytes[..length]).is_err());
    }
    let unlock = Unlock::KeyFile(&KEY);
    for place in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[place] ^= 1;
        let read = header::parse(&altered).and_then(|header| header::unlock(&header, &unlock));
        assert!(read.is_err(), "byte {place}");
    }
    let mut newer = bytes;
    newer[b"sheaf-store".len()] = 3;
    assert!(matches!(header::parse(&newer), Err(OpenError::TooNew(3))));
}

#[test]
fn another_secret_goes_on_with_the_key_there_is() {
    let home = filled();
    let store = open(home.path()).unwrap();
    let run = store.fingerprint;
    write(&store, 2, asked());
    let other = Unlock::KeyFile(&[9; 32]);
    store
        .change_secret(&Unlock::KeyFile(&KEY), &other, Argon2Params::default())
        .unwrap();
    drop(store);
    let store = Store::open(home.path(), &other, None).unwrap();
    assert!(is_erased(&store));
    // The header was written four times, and it is the same store.
    assert_eq!(store.fingerprint, run);
    write(&store, 3, asked());
    assert!(is_erased(&store));
}

#[test]
fn readers_meet_no_record_whose_key_has_just_gone() {
    let home = filled();
    let store = open(home.path()).unwrap();
    let reader = store.clone();
    let (stop, stopped) = mpsc::channel::<()>();
    let reading = std::thread::spawn(move || {
        let mut reads = 0_u32;
        while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
            assert_eq!(reader.scan(Kind::Epoch).unwrap().len(), 20);
            reads += 1;
        }
        reads
    });
    let (told, heard) = mpsc::channel();
    let durable: Durable = Box::new(move |written| told.send(written).unwrap());
    let writer = Writer::start(store.clone(), durable).unwrap();
    for batch in 0..25 {
        let again = erasing(put(Kind::Account, b"", NEW));
        assert!(writer.write(BatchId(batch), vec![again]));
        assert_eq!(heard.recv().unwrap().1, Ok(()));
    }
    writer.stop();
    stop.send(()).unwrap();
    println!("{} reads", reading.join().unwrap());
    assert_eq!(
        store.count_erasable(&store.ring()).unwrap().generation,
        Some(26)
    );
}

/// How long it takes where there are many; run with `--nocapture`.
#[test]
fn many_epochs_are_written_again_at_once() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path()).unwrap();
    let epochs = (0..5_000_u32).map(|n| put(Kind::Epoch, &n.to_be_bytes(), &[7; 120]));
    write(&store, 1, epochs.collect());
    let started = std::time::Instant::now();
    write(
        &store,
        2,
        vec![erasing(deleted(Kind::Epoch, &9_u32.to_be_bytes()))],
    );
    println!("erased among 5,000 in {:?}", started.elapsed());
    drop(store);
    let store = open(home.path()).unwrap();
    assert_eq!(store.scan(Kind::Epoch).unwrap().len(), 4_999);
}
