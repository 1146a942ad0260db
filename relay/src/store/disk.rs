//! The embedded store: sled 0.34 with a sync that survives a power cut.
//!
//! sled's `flush` on Linux is `sync_file_range`, which does not reach the disk's own cache, so every
//! batch ends with an fdatasync of sled's file through a handle of our own.

mod draft;
mod key;
mod open;
mod read;
mod witness;

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use sheaf_protocol::{Class, History, LogId, TopicId};

use self::draft::Draft;
use self::key::{Header, TOTALS_KEY, Watermark};
pub use self::open::OpenError;
use self::open::{Opened, engine};
use self::read::{read_history, read_range, read_releases, read_stat};
use self::witness::Witness;
use super::{
    Appended, NewRecord, Quota, RangeLimit, Release, Storage, StorageError, StoredRecord,
    TopicStat, Totals, due_release, note_release,
};

/// How long a failed store stays closed before it is opened again.
const REOPEN_AFTER: Duration = Duration::from_secs(1);

/// How a [`DiskStorage`] is opened.
#[derive(Debug, Clone)]
pub struct DiskOptions {
    /// Directory of the store, its lock and its witness.
    pub directory: PathBuf,
    /// Memory that sled uses for its pages.
    pub cache_bytes: u64,
    /// Whether every record is counted at opening; without it only a lost tail is noticed.
    pub check: bool,
    /// Bytes that must stay free on the disk; below it appends are refused.
    pub free_bytes_min: u64,
    /// How full the store may become.
    pub quota: Quota,
}

/// A store in a directory.
#[derive(Debug)]
pub struct DiskStorage {
    options: DiskOptions,
    log: LogId,
    moved_aside: Option<PathBuf>,
    /// `None` while the store is closed after a failure. Readers copy the handle and let go.
    db: RwLock<Option<sled::Db>>,
    writer: Mutex<Writer>,
}

#[derive(Debug)]
struct Writer {
    watermark: Watermark,
    open: Option<(File, Witness)>,
    failed_at: Option<Instant>,
    /// Keeps other processes away; `None` once the store was closed for good.
    lock: Option<File>,
}

impl DiskStorage {
    /// Opens the store of a directory, creating it under `fresh_log` where there is none. A store
    /// found damaged is moved aside and a fresh one begun; [`DiskStorage::moved_aside`] tells.
    ///
    /// # Errors
    /// [`OpenError`] when another process holds it or the disk refuses.
    pub fn open(options: DiskOptions, fresh_log: LogId) -> Result<Self, OpenError> {
        let lock = open::lock(&options.directory)?;
        let (opened, moved_aside) = open::open_or_replace(&options, fresh_log)?;
        let Opened {
            db,
            sync,
            witness,
            watermark,
            log,
        } = opened;
        Ok(Self {
            options,
            log,
            moved_aside,
            db: RwLock::new(Some(db)),
            writer: Mutex::new(Writer {
                watermark,
                open: Some((sync, witness)),
                failed_at: None,
                lock: Some(lock),
            }),
        })
    }

    /// Where a damaged store was moved at opening, if one was found.
    #[must_use]
    pub fn moved_aside(&self) -> Option<&std::path::Path> {
        self.moved_aside.as_deref()
    }

    fn db(&self) -> Result<sled::Db, StorageError> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        db.clone().ok_or(StorageError::Closed)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open store; one that failed is opened again, at most once a second.
    fn ready(&self, writer: &mut Writer) -> Result<sled::Db, StorageError> {
        if let Ok(db) = self.db() {
            return Ok(db);
        }
        if writer.lock.is_none() {
            return Err(StorageError::Closed);
        }
        if writer
            .failed_at
            .is_some_and(|at| at.elapsed() < REOPEN_AFTER)
        {
            return Err(StorageError::Closed);
        }
        writer.failed_at = Some(Instant::now());
        let opened = open::open(&self.options, self.log)?;
        if opened.log != self.log {
            return Err(StorageError::Damaged("another store came back"));
        }
        writer.watermark = opened.watermark;
        writer.open = Some((opened.sync, opened.witness));
        let db = opened.db.clone();
        *self.db.write().unwrap_or_else(PoisonError::into_inner) = Some(opened.db);
        tracing::info!("the store is open again");
        Ok(db)
    }

    /// Closes the store after a failure: what sled holds in memory can no longer be trusted.
    fn fail(&self, writer: &mut Writer, error: &StorageError) {
        tracing::error!(%error, "the store failed and is closed until it can be reopened");
        writer.open = None;
        writer.failed_at = Some(Instant::now());
        *self.db.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn check_room(&self) -> Result<(), StorageError> {
        let reserve_bytes = self.options.free_bytes_min;
        if reserve_bytes == 0 {
            return Ok(());
        }
        let room = rustix::fs::statvfs(&self.options.directory)
            .map_err(|error| StorageError::File(error.into()))?;
        let free_bytes = room.f_bavail.saturating_mul(room.f_frsize);
        if free_bytes < reserve_bytes {
            return Err(StorageError::NoSpace {
                free_bytes,
                reserve_bytes,
            });
        }
        Ok(())
    }

    /// Applies a batch; where `durable` it returns only once the disk has it.
    fn commit(
        &self,
        writer: &mut Writer,
        db: &sled::Db,
        mut batch: sled::Batch,
        mut watermark: Watermark,
        durable: bool,
    ) -> Result<(), StorageError> {
        watermark.batches = watermark.batches.saturating_add(1);
        batch.insert(TOTALS_KEY, watermark.encode());
        let result = apply(writer, db, batch, watermark.batches, durable);
        match &result {
            Ok(()) => writer.watermark = watermark,
            Err(error) => self.fail(writer, error),
        }
        result
    }

    fn keep_releases(
        &self,
        writer: &mut Writer,
        db: &sled::Db,
        topic: &TopicId,
        releases: &[Release],
        durable: bool,
    ) -> Result<(), StorageError> {
        let mut batch = sled::Batch::default();
        match releases {
            [] => batch.remove(key::release_key(topic)),
            _ => batch.insert(key::release_key(topic), key::encode_releases(releases)),
        }
        let watermark = writer.watermark;
        self.commit(writer, db, batch, watermark, durable)
    }

    fn delete(
        &self,
        writer: &mut Writer,
        db: &sled::Db,
        doomed: &[(TopicId, u64)],
    ) -> Result<usize, StorageError> {
        let mut draft = Draft::new(db, writer.watermark);
        let mut count = 0;
        for (topic, sequence) in doomed {
            count += usize::from(draft.delete(topic, *sequence)?);
        }
        if count > 0 {
            let (batch, watermark) = draft.finish();
            self.commit(writer, db, batch, watermark, false)?;
        }
        Ok(count)
    }
}

/// At most so many records of a class of a topic, up to and with a sequence.
fn upto_of_class(
    db: &sled::Db,
    class: Class,
    topic: &TopicId,
    upto: u64,
    records_max: usize,
) -> Result<Vec<(TopicId, u64)>, StorageError> {
    let mut found = Vec::new();
    let all = key::record_key(topic, 0, 0)..=key::record_key(topic, upto, u8::MAX);
    for item in db.range(all) {
        if found.len() >= records_max {
            break;
        }
        let (name, value) = item.map_err(engine)?;
        let (_, sequence, part) = key::decode_record_key(&name)?;
        if part == 0 && Header::decode(&value)?.0.class == class {
            found.push((*topic, sequence));
        }
    }
    Ok(found)
}

fn apply(
    writer: &mut Writer,
    db: &sled::Db,
    batch: sled::Batch,
    batches: u64,
    durable: bool,
) -> Result<(), StorageError> {
    db.apply_batch(batch).map_err(engine)?;
    if durable {
        db.flush().map_err(engine)?;
        let (sync, witness) = writer.open.as_mut().ok_or(StorageError::Closed)?;
        sync.sync_data().map_err(StorageError::File)?;
        witness.write(batches).map_err(StorageError::File)?;
    }
    Ok(())
}

impl Storage for DiskStorage {
    fn log(&self) -> LogId {
        self.log
    }

    fn append(&self, records: &[NewRecord]) -> Result<Vec<Appended>, StorageError> {
        let mut writer = self.writer();
        let db = self.ready(&mut writer)?;
        self.check_room()?;
        let mut draft = Draft::new(&db, writer.watermark);
        let results: Result<Vec<_>, _> = records
            .iter()
            .map(|record| draft.append(self.options.quota, record))
            .collect();
        let (batch, watermark) = draft.finish();
        let results = results.inspect_err(|error| self.fail(&mut writer, error))?;
        if results
            .iter()
            .any(|result| matches!(result, Appended::New(_)))
        {
            self.commit(&mut writer, &db, batch, watermark, true)?;
        }
        Ok(results)
    }

    fn range(
        &self,
        topic: &TopicId,
        after: u64,
        upto: u64,
        limit: RangeLimit,
    ) -> Result<Vec<StoredRecord>, StorageError> {
        if after >= upto {
            return Ok(Vec::new());
        }
        read_range(&self.db()?, topic, after, upto, limit)
    }

    fn trim(&self, topic: &TopicId, upto: u64, records_max: usize) -> Result<usize, StorageError> {
        let mut writer = self.writer();
        let db = self.ready(&mut writer)?;
        let doomed = upto_of_class(&db, Class::Inbox, topic, upto, records_max)?;
        self.delete(&mut writer, &db, &doomed)
    }

    fn release(&self, topic: &TopicId, upto: u64, now_ms: u64) -> Result<bool, StorageError> {
        let mut writer = self.writer();
        let db = self.ready(&mut writer)?;
        let mut releases = read_releases(&db, topic)?;
        let release = Release {
            upto: upto.min(read_stat(&db, topic)?.head),
            since_ms: now_ms,
        };
        let noted = release.upto > 0 && note_release(&mut releases, release);
        if noted {
            self.keep_releases(&mut writer, &db, topic, &releases, false)?;
        }
        Ok(noted)
    }

    fn take_back(&self, topic: &TopicId) -> Result<(), StorageError> {
        let mut writer = self.writer();
        let db = self.ready(&mut writer)?;
        if read_releases(&db, topic)?.is_empty() {
            return Ok(());
        }
        self.keep_releases(&mut writer, &db, topic, &[], true)
    }

    fn reap(&self, before_ms: u64, records_max: usize) -> Result<usize, StorageError> {
        let mut writer = self.writer();
        let db = self.ready(&mut writer)?;
        let mut reaped = 0_usize;
        for item in db.scan_prefix([key::RELEASE_KIND]) {
            let (name, value) = item.map_err(engine)?;
            let topic = key::decode_release_key(&name)?;
            let mut releases = key::decode_releases(&value)?;
            let left = records_max.saturating_sub(reaped);
            let Some(upto) = due_release(&releases, before_ms).filter(|_| left > 0) else {
                continue;
            };
            let doomed = upto_of_class(&db, Class::Log, &topic, upto, left)?;
            let whole = doomed.len() < left;
            reaped = reaped.saturating_add(self.delete(&mut writer, &db, &doomed)?);
            if whole {
                releases.retain(|release| release.since_ms >= before_ms);
                self.keep_releases(&mut writer, &db, &topic, &releases, false)?;
            }
        }
        Ok(reaped)
    }

    fn expire(
        &self,
        class: Class,
        before_ms: u64,
        records_max: usize,
    ) -> Result<usize, StorageError> {
        let mut writer = self.writer();
        let db = self.ready(&mut writer)?;
        let mut doomed = Vec::new();
        let all = key::expiry_bound(class, 0)..key::expiry_bound(class, before_ms);
        for item in db.range(all).take(records_max) {
            let (name, _) = item.map_err(engine)?;
            doomed.push(key::decode_expiry_key(&name)?);
        }
        self.delete(&mut writer, &db, &doomed)
    }

    fn history(
        &self,
        topic: &TopicId,
        sequence: Option<u64>,
    ) -> Result<Option<(u64, History)>, StorageError> {
        read_history(&self.db()?, topic, sequence)
    }

    fn stat(&self, topic: &TopicId) -> Result<TopicStat, StorageError> {
        read_stat(&self.db()?, topic)
    }

    fn totals(&self) -> Totals {
        let Watermark { records, bytes, .. } = self.writer().watermark;
        Totals { records, bytes }
    }

    fn probe(&self) -> Result<(), StorageError> {
        let mut writer = self.writer();
        self.ready(&mut writer)?;
        self.check_room()
    }

    fn close(&self) -> Result<(), StorageError> {
        let mut writer = self.writer();
        let db = self.ready(&mut writer)?;
        let result = flush(&mut writer, &db);
        *self.db.write().unwrap_or_else(PoisonError::into_inner) = None;
        drop(db);
        writer.open = None;
        writer.lock = None;
        result
    }
}

fn flush(writer: &mut Writer, db: &sled::Db) -> Result<(), StorageError> {
    db.flush().map_err(engine)?;
    let batches = writer.watermark.batches;
    let (sync, witness) = writer.open.as_mut().ok_or(StorageError::Closed)?;
    sync.sync_data().map_err(StorageError::File)?;
    witness.write(batches).map_err(StorageError::File)
}

#[cfg(test)]
mod tests;
