//! A backup becomes a store again: read to its end and verified first, then written into a
//! directory of its own, verified there, and only then put in its place.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use sheaf_crypto::{Unlock, Vault};
use sheaf_replica::record::Kind;

use super::super::garbage;
use super::super::guard::guarded;
use super::super::ring::Ring;
use super::super::{CheckReport, OpenError, ReadError, Store, header};
use super::{
    BackupError, CLOSING, Hashed, MAGIC, ROW, VERSION, beside, io, sync_directory, verify_closing,
};

/// Rows that one batch takes.
const BATCH_ROWS: usize = 512;

/// Restores a backup where there is no store. `accept` looks at the new store before it is put in
/// its place.
pub(crate) fn restore<T>(
    file: &Path,
    directory: &Path,
    unlock: &Unlock<'_>,
    accept: impl FnOnce(&Store, &CheckReport) -> Result<T, OpenError>,
) -> Result<T, BackupError> {
    let exists = || BackupError::StoreExists(directory.to_path_buf());
    if directory.exists() {
        return Err(exists());
    }
    let (header, opened) = open(file, unlock)?;
    // To its end without writing anything: what is damaged costs no room.
    read(file, &opened.0, |_, _| Ok(()))?;
    if let Some(parent) = directory.parent() {
        std::fs::create_dir_all(parent).map_err(io(parent))?;
    }
    let fresh = beside(directory, "restoring");
    let done = build(file, &header, opened, &fresh, accept).and_then(|accepted| {
        sync_all(&fresh).map_err(io(&fresh))?;
        // Refused by the system where a store has come about meanwhile.
        match std::fs::rename(&fresh, directory) {
            Err(_) if directory.exists() => Err(exists()),
            placed => placed
                .and_then(|()| sync_directory(directory))
                .map(|()| accepted)
                .map_err(io(directory)),
        }
    });
    if fresh.exists()
        && let Err(error) = std::fs::remove_dir_all(&fresh)
    {
        tracing::warn!(%error, directory = %fresh.display(), "left behind");
    }
    done
}

fn build<T>(
    file: &Path,
    header: &[u8],
    opened: (Vault, Ring),
    fresh: &Path,
    accept: impl FnOnce(&Store, &CheckReport) -> Result<T, OpenError>,
) -> Result<T, BackupError> {
    if fresh.exists() {
        std::fs::remove_dir_all(fresh).map_err(io(fresh))?;
    }
    std::fs::create_dir(fresh).map_err(io(fresh))?;
    let store = Store::around(fresh, header, opened)?;
    let mut batch = sled::Batch::default();
    let mut waiting = 0;
    read(file, &store.vault, |key, value| {
        // The run is that of the lost store: this one begins its own.
        if key.first() != Some(&(Kind::Run as u8)) {
            batch.insert(key, value);
            waiting += 1;
        }
        if waiting < BATCH_ROWS {
            return Ok(());
        }
        waiting = 0;
        apply(&store, std::mem::take(&mut batch))
    })?;
    apply(&store, batch)?;
    let flushed = guarded(|| store.db.flush());
    flushed
        .map_err(|broken| OpenError::Damaged(broken.to_string()))?
        .map_err(failed)?;
    let damaged = |error: ReadError| BackupError::Damaged(error.to_string());
    let report = store.check().map_err(damaged)?;
    if !report.is_sound() {
        return Err(BackupError::Damaged("a record does not open".to_owned()));
    }
    Ok(accept(&store, &report)?)
}

fn apply(store: &Store, batch: sled::Batch) -> Result<(), BackupError> {
    let applied = guarded(|| store.db.apply_batch(batch));
    let applied = applied.map_err(|broken| OpenError::Damaged(broken.to_string()))?;
    applied.map_err(failed)?;
    garbage::free(BATCH_ROWS);
    Ok(())
}

fn failed(error: sled::Error) -> OpenError {
    match error {
        sled::Error::Io(error) => error.into(),
        other => OpenError::Io(std::io::Error::other(other)),
    }
}

/// Opens the vault of a backup.
fn open(file: &Path, unlock: &Unlock<'_>) -> Result<(Vec<u8>, (Vault, Ring)), BackupError> {
    let (header, _) = begin(file)?;
    let known = header::parse(&header).map_err(|error| match error {
        OpenError::Damaged(what) => BackupError::Damaged(what),
        other => other.into(),
    })?;
    let opened = header::unlock(&known, unlock)?;
    Ok((header, opened))
}

/// Reads up to the first row.
fn begin(file: &Path) -> Result<(Vec<u8>, Hashed<BufReader<File>>), BackupError> {
    let opened = File::open(file).map_err(io(file))?;
    let mut input = Hashed::new(BufReader::new(opened));
    let no_backup = |_| BackupError::NoBackup(file.to_path_buf());
    let magic: [u8; MAGIC.len()] = input.take().map_err(no_backup)?;
    if magic != MAGIC {
        return Err(BackupError::NoBackup(file.to_path_buf()));
    }
    match input.take()? {
        [VERSION] => {}
        [newer] if newer > VERSION => return Err(OpenError::TooNew(newer).into()),
        _ => return Err(BackupError::NoBackup(file.to_path_buf())),
    }
    let header = input.take_sized()?;
    Ok((header, input))
}

/// Reads every row, and fails at the end if anything is not as it was written.
fn read(
    file: &Path,
    vault: &Vault,
    mut each: impl FnMut(Vec<u8>, Vec<u8>) -> Result<(), BackupError>,
) -> Result<(), BackupError> {
    let (_, mut input) = begin(file)?;
    let mut rows = 0_u64;
    loop {
        match input.take()? {
            [ROW] => {
                let (key, value) = (input.take_sized()?, input.take_sized()?);
                each(key, value)?;
                rows = rows.saturating_add(1);
            }
            [CLOSING] => break,
            _ => return Err(BackupError::Damaged("a part of it is unknown".to_owned())),
        }
    }
    let digest = input.digest();
    let sealed = input.take_sized()?;
    let mut more = [0];
    if input.inner.read(&mut more).map_err(io(file))? != 0 {
        return Err(BackupError::Damaged("something follows its end".to_owned()));
    }
    verify_closing(vault, rows, digest, &sealed)
}

/// Makes every file below a directory durable, and the names of them.
fn sync_all(directory: &Path) -> Result<(), std::io::Error> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_all(&path)?;
        } else {
            File::open(&path)?.sync_all()?;
        }
    }
    File::open(directory)?.sync_all()
}
