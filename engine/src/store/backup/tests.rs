use std::path::Path;

use sheaf_crypto::{Argon2Params, Unlock};
use sheaf_replica::BatchId;
use sheaf_replica::record::{Key, Kind, Write};

use super::*;
use crate::store::Writer;

const KEY: [u8; 32] = [7; 32];

fn open(directory: &Path) -> Store {
    let unlock = Unlock::KeyFile(&KEY);
    Store::open(directory, &unlock, Some(Argon2Params::default())).unwrap()
}

/// A message of so many bytes of text, encoded by hand.
fn message(number: u8, bytes: usize) -> Write {
    let key = Key {
        kind: Kind::Message,
        scope: b"scope".to_vec(),
        order: vec![number],
    };
    let length = [
        0x80 | (bytes & 0x7f),
        0x80 | (bytes >> 7 & 0x7f),
        bytes >> 14,
    ];
    let length = length.map(|byte| u8::try_from(byte).unwrap());
    let text = vec![b'x'; bytes];
    // Version, message, author, device, segment, text, no answer, no notice, no origin.
    let (ids, end) = ([number; 16 + 32 + 32], [0; 3]);
    let parts: [&[u8]; 6] = [&[1], &ids, &[0], &length, &text, &end];
    let value = Some(parts.concat());
    Write {
        key,
        value,
        erases: false,
    }
}

fn fill(store: &Store, writes: Vec<Write>) {
    let (told, heard) = std::sync::mpsc::channel();
    let durable = Box::new(move |written| told.send(written).unwrap());
    let writer = Writer::start(store.clone(), durable).unwrap();
    assert!(writer.write(BatchId(1), writes));
    assert_eq!(heard.recv().unwrap(), (BatchId(1), Ok(())));
    writer.stop();
}

/// A store with a few rows, one of them in parts, and its backup.
fn backup() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home.path().join("state"));
    let writes = (1..6).map(|number| message(number, if number == 3 { 40_000 } else { 90 }));
    fill(&store, writes.collect());
    let file = home.path().join("backup");
    let made = write(&store, &file, Overwrite::Never).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    assert_eq!(made.bytes, bytes.len() as u64);
    assert_eq!(made.rows, 5 + 3);
    (home, file, bytes)
}

fn restored(home: &Path, file: &Path) -> Result<u64, BackupError> {
    let state = home.join("restored");
    let unlock = Unlock::KeyFile(&KEY);
    restore(file, &state, &unlock, |_, report| Ok(report.records()))
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let name = |entry: std::fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<String> = entries.map(|entry| name(entry.unwrap())).collect();
    names.sort();
    names
}

#[test]
fn a_restored_store_holds_the_same_rows_and_is_another_store() {
    let (home, file, _) = backup();
    assert_eq!(restored(home.path(), &file).unwrap(), 5);
    let (old, new) = (
        open(&home.path().join("state")),
        open(&home.path().join("restored")),
    );
    assert_eq!(
        old.scan(Kind::Message).unwrap(),
        new.scan(Kind::Message).unwrap()
    );
    assert_ne!(old.fingerprint, new.fingerprint);
    assert_eq!(names(home.path()), ["backup", "restored", "state"]);
    // Going on writes, and the next open finds everything.
    fill(&new, vec![message(9, 10)]);
    drop(new);
    let again = open(&home.path().join("restored"));
    assert_eq!(again.scan(Kind::Message).unwrap().len(), 6);
}

#[test]
fn nothing_is_overwritten() {
    let (home, file, bytes) = backup();
    let store = open(&home.path().join("state"));
    let refused = write(&store, &file, Overwrite::Never);
    assert!(matches!(refused, Err(BackupError::FileExists(_))));
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    write(&store, &file, Overwrite::Replace).unwrap();
    std::fs::create_dir(home.path().join("restored")).unwrap();
    let refused = restored(home.path(), &file);
    assert!(matches!(refused, Err(BackupError::StoreExists(_))));
    assert_eq!(names(home.path()), ["backup", "restored", "state"]);
}

#[test]
fn a_wrong_key_opens_no_backup() {
    let (home, file, _) = backup();
    let state = home.path().join("restored");
    let refused = restore(&file, &state, &Unlock::KeyFile(&[8; 32]), |_, _| Ok(()));
    let wrong = matches!(refused, Err(BackupError::Store(OpenError::WrongKey)));
    assert!(wrong && !state.exists());
}

/// Every refusal leaves nothing behind.
fn refused(home: &Path, file: &Path, bytes: &[u8], what: &str) {
    std::fs::write(file, bytes).unwrap();
    assert!(restored(home, file).is_err(), "{what}");
    assert_eq!(names(home), ["backup", "state"], "{what}");
}

#[test]
fn every_altered_byte_is_found() {
    let (home, file, bytes) = backup();
    // All of the header, the first rows and the closing record; samples of what lies between.
    let places = (0..600).chain((600..bytes.len() - 300).step_by(97));
    let mut count = 0;
    for place in places.chain(bytes.len() - 300..bytes.len()) {
        let mut altered = bytes.clone();
        altered[place] ^= 1 << (place % 8);
        refused(home.path(), &file, &altered, &format!("byte {place}"));
        count += 1;
    }
    println!("{count} altered backups were refused");
}

#[test]
fn every_shorter_and_longer_file_is_found() {
    let (home, file, bytes) = backup();
    let lengths = (0..400).chain((400..bytes.len() - 200).step_by(61));
    let mut count = 0;
    for length in lengths.chain(bytes.len() - 200..bytes.len()) {
        let what = format!("{length} bytes");
        refused(home.path(), &file, &bytes[..length], &what);
        count += 1;
    }
    println!("{count} shortened backups were refused");
    let longer = [bytes.as_slice(), &[0]].concat();
    refused(home.path(), &file, &longer, "a byte more");
}

/// The parts of a backup: what is before the rows, each row, and the closing record.
fn parts(bytes: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>, Vec<u8>) {
    let sized = |at: usize| 4 + u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let mut at = MAGIC.len() + 1;
    at += sized(at);
    let head = bytes[..at].to_vec();
    let mut rows = Vec::new();
    while bytes[at] == ROW {
        let from = at;
        at += 1;
        at += sized(at);
        at += sized(at);
        rows.push(bytes[from..at].to_vec());
    }
    (head, rows, bytes[at..].to_vec())
}

#[test]
fn rows_that_were_dropped_swapped_or_put_in_are_found() {
    let (home, file, bytes) = backup();
    let (head, rows, end) = parts(&bytes);
    let whole = |rows: &[Vec<u8>]| [head.as_slice(), &rows.concat(), &end].concat();
    assert_eq!(whole(&rows), bytes);
    for dropped in 0..rows.len() {
        let mut rows = rows.clone();
        rows.remove(dropped);
        refused(home.path(), &file, &whole(&rows), "dropped");
    }
    for swapped in 1..rows.len() {
        let mut rows = rows.clone();
        rows.swap(0, swapped);
        refused(home.path(), &file, &whole(&rows), "swapped");
    }
    let mut twice = rows.clone();
    twice.push(rows[0].clone());
    refused(home.path(), &file, &whole(&twice), "twice");
    refused(home.path(), &file, &whole(&[]), "all dropped");
    // Another backup of the same store: its rows or its end do not fit this one.
    let store = open(&home.path().join("state"));
    fill(&store, vec![message(1, 91), message(7, 1)]);
    let later = home.path().join("later");
    write(&store, &later, Overwrite::Never).unwrap();
    let (_, other_rows, other_end) = parts(&std::fs::read(&later).unwrap());
    std::fs::remove_file(&later).unwrap();
    let mut mixed = rows.clone();
    mixed[0].clone_from(&other_rows[0]);
    refused(home.path(), &file, &whole(&mixed), "a newer row");
    let ended = [head.as_slice(), &rows.concat(), &other_end].concat();
    refused(home.path(), &file, &ended, "another's end");
    // The untouched one is still good.
    std::fs::write(&file, &bytes).unwrap();
    assert_eq!(restored(home.path(), &file).unwrap(), 5);
}
