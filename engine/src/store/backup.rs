//! A store in one file: its header, its rows as they are sealed at rest, and a closing record that
//! binds all of it (docs/STORAGE.md). Nothing is opened on the way out but to see that it opens.

mod restore;

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use sheaf_crypto::Vault;

use super::guard::guarded;
use super::header;
use super::{OpenError, Store, is_bookkeeping, room};
use crate::entropy::OsEntropy;

pub(crate) use restore::restore;

const MAGIC: &[u8] = b"sheaf-backup";
const VERSION: u8 = 1;
const ROW: u8 = 1;
const CLOSING: u8 = 2;
/// Kind and name that the closing record is sealed under; no row of a store has them.
const CLOSING_KIND: u8 = 0xfe;
const CLOSING_NAME: &[u8] = b"backup";
/// Longest header, key, value or closing record that is read back.
const BYTES_MAX: usize = 64 * 1024;

/// Why a backup was not made or not restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// There is a file of this name.
    #[error("{} exists already", .0.display())]
    FileExists(PathBuf),
    /// There is a store where one is to be restored.
    #[error("there is a store in {} already; nothing is restored over it", .0.display())]
    StoreExists(PathBuf),
    /// It is not a backup of a store.
    #[error("{} is no backup of a store", .0.display())]
    NoBackup(PathBuf),
    /// It was cut short, altered, or put together from several.
    #[error("the backup is damaged: {0}; nothing was restored, use another one")]
    Damaged(String),
    /// A file could not be read or written.
    #[error("{} could not be read or written: {error}", .file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system says.
        #[source]
        error: std::io::Error,
    },
}

/// A backup that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupMade {
    /// Rows of the store in it.
    pub rows: u64,
    /// Its length.
    pub bytes: u64,
}

/// Whether a file of the same name may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// It is left alone, and nothing is written.
    Never,
    /// It is replaced once the new one is complete.
    Replace,
}

/// Writes a backup of an open store to a file: beside it first, synced, then renamed.
pub(crate) fn write(
    store: &Store,
    file: &Path,
    overwrite: Overwrite,
) -> Result<BackupMade, BackupError> {
    let refused = || BackupError::FileExists(file.to_path_buf());
    if overwrite == Overwrite::Never && file.exists() {
        return Err(refused());
    }
    let partial = beside(file, "partial");
    let made = write_partial(store, &partial);
    let done = made.and_then(|made| {
        if overwrite == Overwrite::Never && file.exists() {
            return Err(refused());
        }
        let placed = std::fs::rename(&partial, file).and_then(|()| sync_directory(file));
        placed.map(|()| made).map_err(io(file))
    });
    if done.is_err() {
        forget(&partial);
    }
    done
}

fn write_partial(store: &Store, partial: &Path) -> Result<BackupMade, BackupError> {
    // No key goes while rows that are under it are copied.
    let ring = store.ring();
    let header = header::bytes(&store.directory)?;
    let out = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(partial)
        .map_err(io(partial))?;
    let mut out = Hashed::new(BufWriter::new(out));
    let mut rows = 0_u64;
    let mut copy = || -> Result<(), CopyError> {
        out.put(&[MAGIC, &[VERSION]].concat())?;
        out.put_sized(&header)?;
        for pair in store.db.iter() {
            let (key, value) = pair?;
            if is_bookkeeping(&key) {
                continue;
            }
            out.put(&[ROW])?;
            out.put_sized(&key)?;
            out.put_sized(&value)?;
            rows = rows.saturating_add(1);
        }
        out.put(&[CLOSING])?;
        Ok(())
    };
    guarded(&mut copy)
        .map_err(|broken| OpenError::Damaged(broken.to_string()))?
        .map_err(|error| error.named(partial))?;
    drop(ring);
    let closing = closing(rows, out.digest());
    let sealed = store
        .vault
        .seal_record(CLOSING_KIND, CLOSING_NAME, &closing, &mut OsEntropy)
        .map_err(|error| OpenError::Damaged(error.to_string()))?;
    let end = out.put_sized(&sealed).and_then(|()| out.finish());
    let bytes = end.map_err(io(partial))?;
    Ok(BackupMade { rows, bytes })
}

/// What went wrong while rows were copied.
enum CopyError {
    Store(sled::Error),
    File(std::io::Error),
}

impl CopyError {
    fn named(self, file: &Path) -> BackupError {
        match self {
            Self::Store(sled::Error::Io(error)) => BackupError::Store(error.into()),
            Self::Store(error) => OpenError::Damaged(error.to_string()).into(),
            Self::File(error) => io(file)(error),
        }
    }
}

impl From<sled::Error> for CopyError {
    fn from(error: sled::Error) -> Self {
        Self::Store(error)
    }
}

impl From<std::io::Error> for CopyError {
    fn from(error: std::io::Error) -> Self {
        Self::File(error)
    }
}

/// `count(8) || SHA-256 of everything before the closing record's length`.
fn closing(rows: u64, digest: [u8; 32]) -> Vec<u8> {
    [rows.to_be_bytes().as_slice(), &digest].concat()
}

/// Writes or reads, and hashes what passes.
struct Hashed<T> {
    inner: T,
    hash: Sha256,
    bytes: u64,
}

impl<T> Hashed<T> {
    fn new(inner: T) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            bytes: 0,
        }
    }

    fn passed(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(length);
    }

    /// The hash of all that has passed.
    fn digest(&self) -> [u8; 32] {
        self.hash.clone().finalize().into()
    }
}

impl Hashed<BufWriter<File>> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), std::io::Error> {
        self.passed(bytes);
        self.inner.write_all(bytes)
    }

    fn put_sized(&mut self, bytes: &[u8]) -> Result<(), std::io::Error> {
        let length = u32::try_from(bytes.len()).map_err(std::io::Error::other)?;
        self.put(&length.to_be_bytes())?;
        self.put(bytes)
    }

    fn finish(&mut self) -> Result<u64, std::io::Error> {
        self.inner.flush()?;
        self.inner.get_ref().sync_all()?;
        Ok(self.bytes)
    }
}

impl Hashed<BufReader<File>> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        let mut bytes = [0; N];
        self.inner
            .read_exact(&mut bytes)
            .map_err(|error| cut_short(&error))?;
        self.passed(&bytes);
        Ok(bytes)
    }

    fn take_sized(&mut self) -> Result<Vec<u8>, BackupError> {
        let length = u32::from_be_bytes(self.take()?);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > BYTES_MAX {
            return Err(BackupError::Damaged("a part of it is too long".to_owned()));
        }
        let mut bytes = vec![0; length];
        self.inner
            .read_exact(&mut bytes)
            .map_err(|error| cut_short(&error))?;
        self.passed(&bytes);
        Ok(bytes)
    }
}

fn cut_short(error: &std::io::Error) -> BackupError {
    BackupError::Damaged(match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "its end is missing".to_owned(),
        _ => error.to_string(),
    })
}

fn io(file: &Path) -> impl Fn(std::io::Error) -> BackupError {
    let file = file.to_path_buf();
    move |error| {
        if room::is_full(&error) {
            return OpenError::DiskFull.into();
        }
        let file = file.clone();
        BackupError::Io { file, error }
    }
}

/// A name beside a file that nobody else uses.
fn beside(file: &Path, what: &str) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!(".{name}.{}.{what}", std::process::id()))
}

fn sync_directory(file: &Path) -> Result<(), std::io::Error> {
    let parent = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

fn forget(partial: &Path) {
    if let Err(error) = std::fs::remove_file(partial) {
        tracing::debug!(%error, "nothing to remove");
    }
}

/// Opens the closing record and compares it with what was read.
fn verify_closing(
    vault: &Vault,
    rows: u64,
    digest: [u8; 32],
    sealed: &[u8],
) -> Result<(), BackupError> {
    let opened = vault.open_record(CLOSING_KIND, CLOSING_NAME, sealed);
    let opened =
        opened.map_err(|_| BackupError::Damaged("its closing record does not open".to_owned()))?;
    if *opened != closing(rows, digest) {
        let what = "its rows are not those that were backed up";
        return Err(BackupError::Damaged(what.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
