//! The store on disk: one sled tree, every value sealed, one writer.
//!
//! A key is kind, keyed hash of the scope, order (docs/STORAGE.md). One thread drains the queue of
//! batches, applies them as one sled batch, flushes, and makes sled's file durable through a handle
//! of its own, because sled's flush alone does not survive a power cut on Linux. Only then is a
//! batch reported as durable.

mod backup;
mod budget;
mod check;
mod drain;
mod erase;
mod garbage;
mod guard;
mod header;
mod identity;
mod recent;
mod ring;
mod room;
mod stats;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use sheaf_crypto::{Argon2Params, Unlock, Vault};
use sheaf_replica::record::{Kind, Range, Row};
use sheaf_replica::{BatchId, record};
use sled::IVec;
use zeroize::Zeroizing;

use guard::guarded;
use ring::Ring;

pub use backup::{BackupError, BackupMade, Overwrite};
pub(crate) use backup::{restore, write as write_backup};
pub use check::{CheckReport, KindReport};
pub use erase::ErasableReport;
pub(crate) use room::full;
pub use room::has_room;
pub use stats::Weight;
pub(crate) use writer::{Durable, Writer};

/// Values longer than this are kept in parts: sled puts large values into files of their own, which
/// the flush of its main file does not cover.
const INLINE_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a key before its order.
const NAME_BYTES: usize = 17;
/// First byte of the keys of parts.
const PART: u8 = 0xf0;
/// First byte of the keys of what the last drains wrote.
const RECENT: u8 = 0xfd;
/// Key of the watermark.
const WATERMARK: [u8; 1] = [0xff];
/// Memory for pages: four times as much is no faster at any history's length that was measured.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// Why a store did not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no store at this place.
    #[error("there is no store in {}; create an account or link this device first", .0.display())]
    NoStore(PathBuf),
    /// Another process has it open.
    #[error("the store in {} is in use by another process; close that one first", .0.display())]
    InUse(PathBuf),
    /// The passphrase or key does not open it.
    #[error("the passphrase or key file does not open this store")]
    WrongKey,
    /// It was written by a newer version.
    #[error("the store was written by a newer version ({0}); use that version")]
    TooNew(u8),
    /// It lost or changed something that was durable.
    #[error(
        "the store is damaged: {0}; keep a copy and restore a backup, or link the device again"
    )]
    Damaged(String),
    /// The disk is full: nothing is lost, but the store cannot even be opened.
    #[error("no space is left on the disk of the store; nothing saved is lost, make room first")]
    DiskFull,
    /// The disk failed.
    #[error("the store could not be read or written: {0}")]
    Io(#[source] std::io::Error),
}

impl From<std::io::Error> for OpenError {
    fn from(error: std::io::Error) -> Self {
        if room::is_full(&error) {
            Self::DiskFull
        } else {
            Self::Io(error)
        }
    }
}

impl From<guard::Broken> for ReadError {
    fn from(broken: guard::Broken) -> Self {
        Self::Broken(broken.to_string())
    }
}

/// A store that cannot be read any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A value does not open or does not decode.
    #[error("the store is damaged: a stored record does not open")]
    Damaged,
    /// The disk failed.
    #[error("the store could not be read: {0}")]
    Sled(#[from] sled::Error),
    /// The store does not make sense to the library that reads it.
    #[error("the store is damaged: {0}")]
    Broken(String),
}

/// An open store. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Store {
    db: sled::Db,
    vault: Arc<Vault>,
    /// Locked, because readers on other threads must not meet a record whose key has just gone: who
    /// reads holds it from the row to its opening, the writing thread while it changes the keys.
    ring: Arc<RwLock<Ring>>,
    directory: PathBuf,
    #[cfg(test)]
    look: Option<erase::Look>,
    /// Which store this is: a copy has another.
    pub(crate) fingerprint: [u8; 32],
}

impl Store {
    /// Opens a store, or makes one where there is none.
    pub(crate) fn open(
        directory: &Path,
        unlock: &Unlock<'_>,
        create: Option<Argon2Params>,
    ) -> Result<Self, OpenError> {
        let opened = match header::read(directory)? {
            Some(known) => header::unlock(&known, unlock)?,
            None => match create {
                Some(params) => header::create(directory, unlock, params)?,
                None => return Err(OpenError::NoStore(directory.to_path_buf())),
            },
        };
        let store = Self::over(directory, opened)?;
        header::clear_leftovers(directory)?;
        guarded(|| {
            writer::check(&store)?;
            recent::check(&store)?;
            writer::recover(&store)
        })
        .unwrap_or_else(|broken| Err(OpenError::Damaged(broken.to_string())))?;
        Ok(store)
    }

    /// Makes a store without rows from the header of another.
    fn around(directory: &Path, header: &[u8], opened: (Vault, Ring)) -> Result<Self, OpenError> {
        header::write(directory, header)?;
        Self::over(directory, opened)
    }

    fn over(directory: &Path, (vault, ring): (Vault, Ring)) -> Result<Self, OpenError> {
        let db = guarded(|| open_sled(directory))
            .unwrap_or_else(|broken| Err(OpenError::Damaged(broken.to_string())))?;
        Ok(Self {
            db,
            vault: Arc::new(vault),
            ring: Arc::new(RwLock::new(ring)),
            directory: directory.to_path_buf(),
            #[cfg(test)]
            look: None,
            fingerprint: identity::fingerprint(directory)?,
        })
    }

    /// The keys that can be destroyed, to read with. Not to be taken twice by one reader.
    fn ring(&self) -> RwLockReadGuard<'_, Ring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring_mut(&self) -> RwLockWriteGuard<'_, Ring> {
        self.ring.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts another secret in the place of the one that opened this store.
    pub(crate) fn change_secret(
        &self,
        old: &Unlock<'_>,
        new: &Unlock<'_>,
        params: Argon2Params,
    ) -> Result<(), OpenError> {
        let _ring = self.ring_mut();
        header::change(&self.directory, &self.vault, (old, new), params)
    }

    fn prefix(&self, kind: Kind, scope: &[u8]) -> Vec<u8> {
        let mut key = Vec::with_capacity(NAME_BYTES);
        key.push(kind as u8);
        key.extend_from_slice(&self.vault.name(kind as u8, scope));
        key
    }

    /// Every record of a kind.
    pub(crate) fn scan(&self, kind: Kind) -> Result<Vec<Row>, ReadError> {
        let ring = self.ring();
        guarded(|| {
            let found = self.db.scan_prefix([kind as u8]);
            found.map(|pair| self.row(&ring, kind, pair?)).collect()
        })?
    }

    /// The records of a range, in order. One that does not open and can be derived or fetched has no
    /// value.
    pub(crate) fn range(&self, range: &Range) -> Result<Vec<Row>, ReadError> {
        let prefix = self.prefix(range.kind, &range.scope);
        let from = [prefix.as_slice(), &range.from].concat();
        let to = [prefix.as_slice(), &range.to].concat();
        let ring = self.ring();
        guarded(|| {
            let found = self.db.range(from..=to);
            found
                .map(|pair| self.row_or_gap(&ring, range.kind, pair?))
                .collect()
        })?
    }

    /// The first or last records of a scope strictly between two orders.
    pub(crate) fn page(
        &self,
        kind: Kind,
        scope: &[u8],
        (after, before): (Option<&[u8]>, Option<&[u8]>),
        limit: usize,
        newest: Newest,
    ) -> Result<Vec<Row>, ReadError> {
        use std::ops::Bound;
        let prefix = self.prefix(kind, scope);
        let key = |order: &[u8]| [prefix.as_slice(), order].concat();
        let from = Bound::Excluded(key(after.unwrap_or_default()));
        let to = match before {
            Some(before) => Bound::Excluded(key(before)),
            None => Bound::Included(key(&[0xff; 64])),
        };
        let ring = self.ring();
        guarded(|| {
            let found = self.db.range((from, to));
            let taken: Vec<_> = match newest {
                Newest::First => found.rev().take(limit).collect(),
                Newest::Last => found.take(limit).collect(),
            };
            let rows = taken.into_iter();
            rows.map(|pair| self.row(&ring, kind, pair?)).collect()
        })?
    }

    /// One record.
    pub(crate) fn point(&self, kind: Kind, scope: &[u8]) -> Result<Option<Row>, ReadError> {
        let key = self.prefix(kind, scope);
        let ring = self.ring();
        guarded(|| {
            let found = self.db.get(&key)?;
            found
                .map(|value| self.row(&ring, kind, (key.as_slice().into(), value)))
                .transpose()
        })?
    }

    fn row_or_gap(&self, ring: &Ring, kind: Kind, pair: (IVec, IVec)) -> Result<Row, ReadError> {
        let order = pair.0.get(NAME_BYTES..).unwrap_or_default().to_vec();
        match self.row(ring, kind, pair) {
            Err(ReadError::Damaged) if check::is_replaceable(kind) => Ok(Row {
                kind,
                order,
                value: Vec::new(),
            }),
            read => read,
        }
    }

    fn row(&self, ring: &Ring, kind: Kind, (key, sealed): (IVec, IVec)) -> Result<Row, ReadError> {
        let order = key.get(NAME_BYTES..).unwrap_or_default().to_vec();
        let value = self.open_value(ring, kind, &key, &sealed)?.to_vec();
        Ok(Row { kind, order, value })
    }

    fn open_value(
        &self,
        ring: &Ring,
        kind: Kind,
        key: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, ReadError> {
        let value = match sealed.split_first() {
            Some((0, inline)) => ring.open(&self.vault, kind as u8, key, inline),
            Some((1, count)) => {
                let whole = self.join(key, count)?;
                ring.open(&self.vault, kind as u8, key, &whole)
            }
            Some(_) | None => return Err(ReadError::Damaged),
        };
        value.map_err(|_| ReadError::Damaged)
    }

    fn part_key(&self, key: &[u8], index: u32) -> Vec<u8> {
        let mut part = vec![PART];
        part.extend_from_slice(&self.vault.name(PART, key));
        part.extend_from_slice(&index.to_be_bytes());
        part
    }

    fn join(&self, key: &[u8], count: &[u8]) -> Result<Vec<u8>, ReadError> {
        let count = count
            .try_into()
            .map(u32::from_be_bytes)
            .map_err(|_| ReadError::Damaged)?;
        let mut whole = Vec::new();
        for index in 0..count {
            let part = self
                .db
                .get(self.part_key(key, index))?
                .ok_or(ReadError::Damaged)?;
            whole.extend_from_slice(&part);
        }
        Ok(whole)
    }

    /// Everything that a replica is opened over.
    pub(crate) fn restored(&self) -> Result<Vec<Row>, ReadError> {
        let mut rows = Vec::new();
        for kind in record::RESTORED {
            rows.extend(self.scan(kind)?);
        }
        Ok(rows)
    }
}

/// Whether a key is of what the store notes about itself, and not of a row.
fn is_bookkeeping(key: &[u8]) -> bool {
    key == WATERMARK || key.first() == Some(&RECENT)
}

/// Which end of a range is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Newest {
    /// From the newest back.
    First,
    /// From the oldest on.
    Last,
}

/// The result of a batch.
pub(crate) type Written = (BatchId, Result<(), String>);

fn open_sled(directory: &Path) -> Result<sled::Db, OpenError> {
    let config = sled::Config::new()
        .path(directory.join("records"))
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(None);
    room::clear_leftovers(&directory.join("records"))?;
    // A store that this very process has just closed is let go a moment later.
    let mut last = None;
    for _ in 0..50 {
        match config.open() {
            Ok(db) => return Ok(db),
            Err(sled::Error::Io(error)) if is_locked(&error) => {
                std::thread::sleep(std::time::Duration::from_millis(10));
                last = Some(error);
            }
            Err(sled::Error::Io(error)) => return Err(error.into()),
            Err(other) => return Err(OpenError::Damaged(other.to_string())),
        }
    }
    tracing::debug!(?last, "store is locked");
    Err(OpenError::InUse(directory.to_path_buf()))
}

fn is_locked(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::WouldBlock || error.to_string().contains("lock")
}

#[cfg(test)]
impl Store {
    /// Flips a bit in every stored record of a kind; gives how many there are.
    pub(crate) fn flip(&self, kind: Kind) -> usize {
        let found: Vec<_> = self.db.scan_prefix([kind as u8]).flatten().collect();
        for (place, (key, value)) in found.iter().enumerate() {
            let mut altered = value.to_vec();
            if let Some(byte) = altered.iter_mut().rev().nth(place % 16) {
                *byte ^= 1 << (place % 8);
            }
            self.db.insert(key, altered).unwrap();
        }
        self.db.flush().unwrap();
        found.len()
    }
}

#[cfg(test)]
mod tests;
