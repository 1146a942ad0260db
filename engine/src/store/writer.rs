//! The one thread that writes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use sheaf_replica::BatchId;
use sheaf_replica::record::{Key, Write};

use super::budget::{Budget, QUEUE_BYTES_MAX};
use super::drain::{drain, is_room_to_settle, settle};
use super::guard::guarded;
use super::recent::Recent;
use super::{OpenError, Store, WATERMARK, Written};

/// Batches that may wait. The driver waits when the disk is this far behind, or by so many bytes as the
/// [`Budget`] says.
const QUEUE_MAX: usize = 4_096;
/// Batches that one flush covers at most.
const DRAIN_MAX: usize = 1_024;
/// No flush covers another batch once it has so many rows: sled frees none of the pages that these
/// replace before it has written all of them.
const DRAIN_ROWS: usize = 1_024;

/// Told what became of each batch.
pub(crate) type Durable = Box<dyn Fn(Written) + Send>;

enum Job {
    Write(BatchId, Vec<Write>, usize),
    Stop,
}

/// Hands batches to the writing thread.
pub(crate) struct Writer {
    jobs: SyncSender<Job>,
    budget: Arc<Budget>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread knows of what it wrote.
pub(super) struct Ledger {
    pub(super) watermark: Watermark,
    pub(super) recent: Recent,
}

impl Ledger {
    fn of(store: &Store) -> Self {
        Self {
            watermark: current(store).unwrap_or(Watermark::START),
            // It was read whole when the store was opened.
            recent: Recent::of(store).unwrap_or_default(),
        }
    }
}

/// How many drains there were, and a running hash over them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Watermark {
    count: u64,
    hash: [u8; 32],
}

impl Watermark {
    const START: Self = Self {
        count: 0,
        hash: [0; 32],
    };

    pub(super) fn count(self) -> u64 {
        self.count
    }

    pub(super) fn hash(self) -> [u8; 32] {
        self.hash
    }

    pub(super) fn next(self, hash: [u8; 32]) -> Self {
        let count = self.count.saturating_add(1);
        Self { count, hash }
    }

    pub(super) fn encode(self) -> Vec<u8> {
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
        let file = main_file(&store)?;
        let (jobs, queue) = sync_channel(QUEUE_MAX);
        let budget = Arc::new(Budget::default());
        let ends = Ends(Arc::clone(&budget));
        let thread = std::thread::Builder::new()
            .name("sheaf-store".to_owned())
            .spawn(move || write_all(&store, &file, &queue, &ends.0, &durable))?;
        Ok(Self {
            jobs,
            budget,
            thread: Some(thread),
        })
    }

    /// Queues a batch; `false` if the thread is gone.
    pub(crate) fn write(&self, batch: BatchId, writes: Vec<Write>) -> bool {
        let bytes = held(&writes);
        self.budget.take(bytes) && self.jobs.send(Job::Write(batch, writes, bytes)).is_ok()
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

/// However the thread ends, nobody waits for it any longer.
struct Ends(Arc<Budget>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.end();
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

/// sled syncs a range of this file without its metadata: this handle makes it durable.
fn main_file(store: &Store) -> Result<File, OpenError> {
    Ok(File::open(store.directory.join("records").join("db"))?)
}

/// Finishes an erasure that a crash cut short, if the disk has room for it and all that it is about
/// can be read: if not, both keys are kept, and the store is opened nevertheless.
pub(super) fn recover(store: &Store) -> Result<(), OpenError> {
    if store.ring().len() < 2 {
        return Ok(());
    }
    if !is_room_to_settle(store) {
        tracing::warn!("an erasure that was cut short is not finished");
        return Ok(());
    }
    let mut ledger = Ledger::of(store);
    settle(store, &main_file(store)?, &mut ledger)
        .map_err(|reason| OpenError::Io(std::io::Error::other(reason)))?;
    Witness::open(store).note(ledger.watermark);
    Ok(())
}

fn write_all(
    store: &Store,
    file: &File,
    queue: &Receiver<Job>,
    budget: &Budget,
    durable: &Durable,
) {
    let mut ledger = Ledger::of(store);
    let witness = Witness::open(store);
    while let Ok(job) = queue.recv() {
        let (batches, bytes, stop) = gather(job, queue);
        let ids: Vec<BatchId> = batches.iter().map(|(batch, _)| *batch).collect();
        let result = if batches.is_empty() {
            Ok(())
        } else {
            guarded(|| drain(store, file, batches, &mut ledger))
                .unwrap_or_else(|broken| Err(broken.to_string()))
        };
        budget.give_back(bytes);
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

/// Bytes of memory that writes hold while they wait: of small ones, more than their values have.
fn held(writes: &[Write]) -> usize {
    let of = |write: &Write| {
        let Key { scope, order, .. } = &write.key;
        let value = write.value.as_ref().map_or(0, Vec::capacity);
        let key = scope.capacity().saturating_add(order.capacity());
        size_of::<Write>().saturating_add(key).saturating_add(value)
    };
    writes.iter().map(of).fold(0, usize::saturating_add)
}

/// What one flush covers: the batches that wait, with their bytes, and whether the thread ends then.
fn gather(first: Job, queue: &Receiver<Job>) -> (Vec<(BatchId, Vec<Write>)>, usize, bool) {
    let (mut batches, mut bytes, mut rows) = (Vec::new(), 0_usize, 0_usize);
    let mut next = Some(first);
    while let Some(job) = next {
        match job {
            Job::Write(batch, writes, size) => {
                rows = rows.saturating_add(writes.len());
                batches.push((batch, writes));
                bytes = bytes.saturating_add(size);
            }
            Job::Stop => return (batches, bytes, true),
        }
        let few = batches.len() < DRAIN_MAX && rows < DRAIN_ROWS;
        let more = few && bytes < QUEUE_BYTES_MAX / 2;
        next = more.then(|| queue.try_recv().ok()).flatten();
    }
    (batches, bytes, false)
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
