//! Opening a store: lock, check, and moving a damaged one aside.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sheaf_protocol::LogId;

use super::key::{self, Watermark};
use super::witness::Witness;
use super::{DiskOptions, key::FORMAT_KEY, key::TOTALS_KEY};
use crate::store::StorageError;

/// How long sled's own threads may hold a store that was closed.
const RELEASE_MAX: Duration = Duration::from_secs(5);
const RELEASE_PAUSE: Duration = Duration::from_millis(5);

/// Why a store did not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has the directory.
    #[error("{} is in use by another relay; stop it or choose another --data directory", .0.display())]
    InUse(PathBuf),
    /// The directory cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// What was touched.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// A fresh store cannot be made, or a damaged one not be moved aside.
    #[error("cannot open the store: {0}")]
    Storage(#[source] StorageError),
}

/// An open sled store whose contents were checked.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) db: sled::Db,
    pub(super) sync: File,
    pub(super) witness: Witness,
    pub(super) watermark: Watermark,
    pub(super) log: LogId,
}

/// Takes the directory's lock, kept for the life of the file.
pub(super) fn lock(directory: &Path) -> Result<File, OpenError> {
    let fail = |path: &Path| {
        let path = path.to_owned();
        |source| OpenError::File { path, source }
    };
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .recursive(true)
        .create(directory)
        .map_err(fail(directory))?;
    let path = directory.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(fail(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(directory.to_owned())),
        Err(TryLockError::Error(source)) => Err(OpenError::File { path, source }),
    }
}

/// Opens the store; one that is damaged is moved aside, and its new name returned with the fresh
/// one.
pub(super) fn open_or_replace(
    options: &DiskOptions,
    fresh_log: LogId,
) -> Result<(Opened, Option<PathBuf>), OpenError> {
    let error = match open(options, fresh_log) {
        Ok(opened) => return Ok((opened, None)),
        Err(StorageError::Damaged(reason)) => reason,
        Err(error) => return Err(OpenError::Storage(error)),
    };
    let aside = move_aside(&options.directory)?;
    tracing::error!(
        reason = error,
        moved_to = %aside.display(),
        "the store is damaged; it was moved aside and a fresh one begins: devices will re-offer \
         what this relay lost"
    );
    let opened = open(options, fresh_log).map_err(OpenError::Storage)?;
    Ok((opened, Some(aside)))
}

/// Opens and checks the store of a directory; one that does not exist is created.
pub(super) fn open(options: &DiskOptions, fresh_log: LogId) -> Result<Opened, StorageError> {
    let path = options.directory.join("store");
    let witness_path = options.directory.join("store.witness");
    let existed = path.exists();
    if existed {
        remove_unfinished(&path).map_err(StorageError::File)?;
    }
    let db = open_sled(&path, options.cache_bytes)?;
    let sync = File::options()
        .read(true)
        .write(true)
        .open(path.join("db"))
        .map_err(StorageError::File)?;
    let log = match db.get(FORMAT_KEY).map_err(engine)? {
        Some(bytes) => key::decode_format(&bytes)?,
        None if existed && !db.is_empty() => {
            return Err(StorageError::Damaged("the format record is gone"));
        }
        None if witness_path.exists() => {
            return Err(StorageError::Damaged(
                "the store is empty but its witness is not",
            ));
        }
        None => begin(&db, &sync, fresh_log)?,
    };
    let (mut witness, seen) = Witness::open(&witness_path, log.0).map_err(StorageError::File)?;
    let watermark = match db.get(TOTALS_KEY).map_err(engine)? {
        Some(bytes) => Watermark::decode(&bytes)?,
        None => return Err(StorageError::Damaged("the watermark is gone")),
    };
    if seen.is_some_and(|seen| watermark.batches < seen) {
        return Err(StorageError::Damaged("batches that were durable are gone"));
    }
    if options.check {
        recount(&db, watermark)?;
    }
    // What a process that died had written may be in the page cache only.
    sync.sync_data().map_err(StorageError::File)?;
    witness
        .write(watermark.batches)
        .map_err(StorageError::File)?;
    Ok(Opened {
        db,
        sync,
        witness,
        watermark,
        log,
    })
}

/// Removes snapshots that sled did not finish, because the disk was full or the power went: it would
/// take one for the newest, and the whole store for damaged. The finished one before it is there.
fn remove_unfinished(store: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(store)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Opens sled. Its threads may hold the file for a moment after the store was closed within this
/// process; other processes are kept away by our own lock, so waiting for them is never right.
fn open_sled(path: &Path, cache_bytes: u64) -> Result<sled::Db, StorageError> {
    let config = sled::Config::new()
        .path(path)
        .cache_capacity(cache_bytes)
        .flush_every_ms(None);
    let begun = Instant::now();
    loop {
        match try_open_sled(&config) {
            Err(StorageError::Engine(sled::Error::Io(error)))
                if error.kind() == ErrorKind::Other && begun.elapsed() < RELEASE_MAX =>
            {
                std::thread::sleep(RELEASE_PAUSE);
            }
            result => return result,
        }
    }
}

/// sled panics on some damaged files; that is damage too, and must not end the process.
fn try_open_sled(config: &sled::Config) -> Result<sled::Db, StorageError> {
    // Nothing of a failed opening is used afterwards.
    match std::panic::catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(sled::Error::Corruption { .. } | sled::Error::ReportableBug(_))) => {
            Err(StorageError::Damaged("the store's file is corrupt"))
        }
        Ok(Err(error)) => Err(StorageError::Engine(error)),
        Err(_) => Err(StorageError::Damaged(
            "the store's file cannot be recovered",
        )),
    }
}

fn begin(db: &sled::Db, sync: &File, log: LogId) -> Result<LogId, StorageError> {
    let mut batch = sled::Batch::default();
    batch.insert(FORMAT_KEY, key::encode_format(log));
    batch.insert(TOTALS_KEY, Watermark::default().encode());
    db.apply_batch(batch).map_err(engine)?;
    db.flush().map_err(engine)?;
    sync.sync_data().map_err(StorageError::File)?;
    Ok(log)
}

/// Counts what is there and compares it with what the last batch said.
fn recount(db: &sled::Db, expected: Watermark) -> Result<(), StorageError> {
    let mut found = Watermark {
        batches: expected.batches,
        ..Watermark::default()
    };
    // Length still to come, and parts seen, of the record under way.
    let mut open_bytes = 0_usize;
    for item in db.scan_prefix([key::RECORD_KIND]) {
        let (name, value) = item.map_err(engine)?;
        let (topic, sequence, part) = key::decode_record_key(&name)?;
        let piece = if part == 0 {
            if open_bytes != 0 {
                return Err(StorageError::Damaged("a part of a record is gone"));
            }
            let (header, piece) = key::Header::decode(&value)?;
            found.add(&topic, sequence, &header.hash, u64::from(header.length));
            open_bytes = header.length as usize;
            piece.len()
        } else {
            value.len()
        };
        open_bytes = open_bytes
            .checked_sub(piece)
            .ok_or(StorageError::Damaged("a record is longer than it was"))?;
    }
    if open_bytes != 0 || found != expected {
        return Err(StorageError::Damaged("records that were durable are gone"));
    }
    Ok(())
}

fn move_aside(directory: &Path) -> Result<PathBuf, OpenError> {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |age| age.as_secs());
    let mut aside = directory.join(format!("store.damaged-{seconds}"));
    let mut copy = 1;
    while aside.exists() {
        aside = directory.join(format!("store.damaged-{seconds}-{copy}"));
        copy += 1;
    }
    let rename = |from: PathBuf, to: PathBuf| {
        std::fs::rename(&from, &to).map_err(|source| OpenError::File { path: from, source })
    };
    let witness = directory.join("store.witness");
    rename(directory.join("store"), aside.clone())?;
    if witness.exists() {
        rename(witness, aside.join("witness"))?;
    }
    Ok(aside)
}

pub(super) fn engine(error: sled::Error) -> StorageError {
    if matches!(error, sled::Error::Corruption { .. }) {
        return StorageError::Damaged("the store's file is corrupt");
    }
    StorageError::Engine(error)
}
