//! The one thread that writes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use sha2::{Digest, Sha256};
use sheaf_replica::BatchId;
use sheaf_replica::record::{Kind, Write};

use super::guard::guarded;
use super::recent::{Drained, Recent};
use super::room::{self, Use};
use super::{INLINE_BYTES_MAX, OpenError, Store, WATERMARK, Written};
use crate::entropy::OsEntropy;

/// Batches that may wait. The driver waits when the disk is this far behind.
const QUEUE_MAX: usize = 4_096;
/// Batches that one flush covers at most.
const DRAIN_MAX: usize = 1_024;

/// Told what became of each batch.
pub(crate) type Durable = Box<dyn Fn(Written) + Send>;

enum Job {
    Write(BatchId, Vec<Write>),
    Stop,
}

/// Hands batches to the writing thread.
pub(crate) struct Writer {
    jobs: SyncSender<Job>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread knows of what it wrote.
struct Ledger {
    watermark: Watermark,
    recent: Recent,
}

/// How many drains there were, and a running hash over them.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Watermark {
    count: u64,
    hash: [u8; 32],
}

impl Watermark {
    const START: Self = Self {
        count: 0,
        hash: [0; 32],
    };

    fn encode(self) -> Vec<u8> {
        [self.count.to_be_bytes().as_slice(), &self.hash].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (count, hash) = bytes.split_first_chunk::<8>()?;
        Some(Self {
            count: u64::from_be_bytes(*count),
            hash: hash.try_into().ok()?,
        })
    }
}

impl Writer {
    pub(crate) fn start(store: Store, durable: Durable) -> Result<Self, OpenError> {
        // sled syncs a range of this file without its metadata: this handle makes it durable.
        let file = File::open(store.directory.join("records").join("db"))?;
        let (jobs, queue) = sync_channel(QUEUE_MAX);
        let thread = std::thread::Builder::new()
            .name("sheaf-store".to_owned())
            .spawn(move || write_all(&store, &file, &queue, &durable))?;
        Ok(Self {
            jobs,
            thread: Some(thread),
        })
    }

    /// Queues a batch; `false` if the thread is gone.
    pub(crate) fn write(&self, batch: BatchId, writes: Vec<Write>) -> bool {
        self.jobs.send(Job::Write(batch, writes)).is_ok()
    }

    /// Writes what is queued and ends the thread.
    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(thread) = self.thread.take() {
            // Either the thread takes it, or it has ended by itself.
            if self.jobs.send(Job::Stop).is_err() {
                tracing::debug!("store thread had ended");
            }
            if thread.join().is_err() {
                tracing::error!("store thread panicked");
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end();
    }
}

/// What is known to be durable, in a file of its own. It is neither synced nor waited for: it only
/// has to be no newer than the store. Written in place, because cutting a file short first makes
/// ext4 flush it.
struct Witness(Option<File>);

impl Witness {
    fn open(store: &Store) -> Self {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(witness(store));
        Self(file.ok())
    }

    fn note(&self, watermark: Watermark) {
        if let Some(file) = &self.0
            && let Err(error) = file.write_all_at(&watermark.encode(), 0)
        {
            tracing::debug!(%error, "witness not written");
        }
    }
}

fn write_all(store: &Store, file: &File, queue: &Receiver<Job>, durable: &Durable) {
    let mut ledger = Ledger {
        watermark: current(store).unwrap_or(Watermark::START),
        // It was read whole when the store was opened.
        recent: Recent::of(store).unwrap_or_default(),
    };
    let witness = Witness::open(store);
    while let Ok(job) = queue.recv() {
        let mut jobs = vec![job];
        while jobs.len() < DRAIN_MAX
            && let Ok(job) = queue.try_recv()
        {
            jobs.push(job);
        }
        let mut batches = Vec::new();
        let mut stop = false;
        for job in jobs {
            match job {
                Job::Write(batch, writes) => batches.push((batch, writes)),
                Job::Stop => stop = true,
            }
        }
        let ids: Vec<BatchId> = batches.iter().map(|(batch, _)| *batch).collect();
        let result = if batches.is_empty() {
            Ok(())
        } else {
            guarded(|| drain(store, file, batches, &mut ledger))
                .unwrap_or_else(|broken| Err(broken.to_string()))
        };
        let failed = result.is_err();
        for id in ids {
            durable((id, result.clone()));
        }
        if !failed {
            witness.note(ledger.watermark);
        }
        // After a failed write the state in memory is ahead of the disk: nothing more is written.
        if stop || failed {
            return;
        }
    }
}

fn drain(
    store: &Store,
    file: &File,
    batches: Vec<(BatchId, Vec<Write>)>,
    ledger: &mut Ledger,
) -> Result<(), String> {
    let writes: Vec<Write> = batches.into_iter().flat_map(|(_, writes)| writes).collect();
    room::check(&store.directory, bytes(&writes), purpose(&writes))?;
    let mut batch = sled::Batch::default();
    let mut hash = Sha256::new();
    hash.update(ledger.watermark.hash);
    let mut drained = Drained::default();
    for write in writes {
        let mut key = store.prefix(write.key.kind, &write.key.scope);
        key.extend_from_slice(&write.key.order);
        hash.update(&key);
        match write.value {
            None => {
                drained.delete(&key);
                batch.remove(key);
            }
            Some(value) => {
                let kind = write.key.kind as u8;
                let sealed = store.vault.seal_record(kind, &key, &value, &mut OsEntropy);
                let sealed = sealed.map_err(|error| error.to_string())?;
                hash.update(&sealed);
                drained.put(&key, &sealed);
                insert(store, &mut batch, key, &sealed);
            }
        }
    }
    let next = Watermark {
        count: ledger.watermark.count.saturating_add(1),
        hash: hash.finalize().into(),
    };
    batch.insert(&WATERMARK, next.encode());
    ledger.recent.note(next.count, &drained, &mut batch);
    let flushed = store.db.apply_batch(batch).and_then(|()| store.db.flush());
    flushed.map_err(words)?;
    file.sync_data().map_err(|error| words(error.into()))?;
    ledger.watermark = next;
    Ok(())
}

fn words(error: sled::Error) -> String {
    match error {
        sled::Error::Io(error) if room::is_full(&error) => room::full(),
        sled::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

fn bytes(writes: &[Write]) -> usize {
    let values = writes.iter().filter_map(|write| write.value.as_ref());
    values.map(Vec::len).sum()
}

fn purpose(writes: &[Write]) -> Use {
    if writes.iter().all(|write| write.key.kind == Kind::Run) {
        Use::Run
    } else {
        Use::Records
    }
}

fn insert(store: &Store, batch: &mut sled::Batch, key: Vec<u8>, sealed: &[u8]) {
    if sealed.len() <= INLINE_BYTES_MAX {
        batch.insert(key, [&[0], sealed].concat());
        return;
    }
    let mut count = 0_u32;
    for part in sealed.chunks(INLINE_BYTES_MAX) {
        batch.insert(store.part_key(&key, count), part);
        count = count.saturating_add(1);
    }
    batch.insert(key, [&[1], count.to_be_bytes().as_slice()].concat());
}

fn witness(store: &Store) -> PathBuf {
    store.directory.join("store.witness")
}

fn current(store: &Store) -> Option<Watermark> {
    Watermark::decode(&store.db.get(WATERMARK).ok()??)
}

/// How many drains there were.
pub(super) fn drains(store: &Store) -> u64 {
    current(store).map_or(0, |watermark| watermark.count)
}

/// Compares the store with what was last known to be durable: a store that lost its tail is older.
pub(super) fn check(store: &Store) -> Result<(), OpenError> {
    let Some(known) = std::fs::read(witness(store))
        .ok()
        .and_then(|b| Watermark::decode(&b))
    else {
        return Ok(());
    };
    let here = current(store).unwrap_or(Watermark::START);
    let forked = here.count == known.count && here.hash != known.hash;
    if here.count < known.count || forked {
        let lost = known.count.saturating_sub(here.count);
        return Err(OpenError::Damaged(format!(
            "{lost} durable writes are missing"
        )));
    }
    Ok(())
}
