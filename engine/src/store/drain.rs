//! One drain of the queue: its writes become one sled batch, which is atomic and made durable.

use std::collections::BTreeSet;
use std::fs::File;

use sha2::{Digest, Sha256};
use sheaf_replica::BatchId;
use sheaf_replica::record::{Kind, Write};

#[cfg(test)]
use super::erase::Step;
use super::erase::{self, Moved};
use super::garbage;
use super::recent::Drained;
use super::room::{self, Use};
use super::writer::{Ledger, Watermark};
use super::{INLINE_BYTES_MAX, OpenError, ReadError, Store, WATERMARK};
use crate::entropy::OsEntropy;

/// Writes batches. If one of them asks that what it replaces be gone, everything that holds such
/// secrets is written again under another key, and the one before is destroyed.
pub(super) fn drain(
    store: &Store,
    file: &File,
    batches: Vec<(BatchId, Vec<Write>)>,
    ledger: &mut Ledger,
) -> Result<(), String> {
    let writes: Vec<Write> = batches.into_iter().flat_map(|(_, writes)| writes).collect();
    if erase::is_asked(&writes)? {
        settle(store, file, ledger)?;
        return erase(store, file, erase::last_of_each(writes), ledger);
    }
    room::check(&store.directory, bytes(&writes, &[]), purpose(&writes))?;
    let secret = |write: &Write| write.key.kind.is_erasable() && write.value.is_some();
    // A store of version 1 becomes one of version 2 with the first secret that is written.
    if writes.iter().any(secret) && store.ring().newest().is_none() {
        store.draw_key().map_err(refused)?;
    }
    commit(store, file, (Vec::new(), writes), ledger)
}

fn erase(
    store: &Store,
    file: &File,
    writes: Vec<Write>,
    ledger: &mut Ledger,
) -> Result<(), String> {
    let written: BTreeSet<Vec<u8>> = writes.iter().map(|write| name(store, write)).collect();
    let moved = store.erasable(&written).map_err(unread)?;
    room::check(&store.directory, bytes(&writes, &moved), purpose(&writes))?;
    #[cfg(test)]
    store.reach(Step::Begun)?;
    store.draw_key().map_err(refused)?;
    #[cfg(test)]
    store.reach(Step::Drawn)?;
    commit(store, file, (moved, writes), ledger)?;
    #[cfg(test)]
    store.reach(Step::Moved)?;
    store.destroy_older_keys().map_err(refused)?;
    #[cfg(test)]
    store.reach(Step::Finished)?;
    Ok(())
}

/// Finishes an erasure that was cut short: every record goes under the newest key, which is then the
/// only one.
pub(super) fn settle(store: &Store, file: &File, ledger: &mut Ledger) -> Result<(), String> {
    if store.ring().len() < 2 {
        return Ok(());
    }
    let moved = store.erasable(&BTreeSet::new()).map_err(unread)?;
    room::check(&store.directory, bytes(&[], &moved), Use::Records)?;
    commit(store, file, (moved, Vec::new()), ledger)?;
    store.destroy_older_keys().map_err(refused)
}

/// Whether an erasure that was cut short can be finished now.
pub(super) fn is_room_to_settle(store: &Store) -> bool {
    let moved = store.erasable(&BTreeSet::new());
    moved.is_ok_and(|moved| room::check(&store.directory, bytes(&[], &moved), Use::Records).is_ok())
}

fn commit(
    store: &Store,
    file: &File,
    (moved, writes): (Vec<Moved>, Vec<Write>),
    ledger: &mut Ledger,
) -> Result<(), String> {
    let count = moved.len().saturating_add(writes.len());
    let mut batch = Batch::after(&ledger.watermark);
    for Moved { kind, key, value } in moved {
        batch.put(store, kind, key, &value)?;
    }
    for write in writes {
        let key = name(store, &write);
        match write.value {
            None => batch.delete(key),
            Some(value) => batch.put(store, write.key.kind, key, &value)?,
        }
    }
    let Batch {
        mut rows,
        hash,
        drained,
    } = batch;
    let next = ledger.watermark.next(hash.finalize().into());
    rows.insert(&WATERMARK, next.encode());
    ledger.recent.note(next.count(), &drained, &mut rows);
    let flushed = store.db.apply_batch(rows).and_then(|()| store.db.flush());
    flushed.map_err(words)?;
    file.sync_data().map_err(|error| words(error.into()))?;
    ledger.watermark = next;
    garbage::free(count);
    Ok(())
}

/// What goes to sled at once.
struct Batch {
    rows: sled::Batch,
    hash: Sha256,
    drained: Drained,
}

impl Batch {
    fn after(watermark: &Watermark) -> Self {
        let mut hash = Sha256::new();
        hash.update(watermark.hash());
        Self {
            rows: sled::Batch::default(),
            hash,
            drained: Drained::default(),
        }
    }

    fn delete(&mut self, key: Vec<u8>) {
        self.hash.update(&key);
        self.drained.delete(&key);
        self.rows.remove(key);
    }

    fn put(&mut self, store: &Store, kind: Kind, key: Vec<u8>, value: &[u8]) -> Result<(), String> {
        let sealed = store.seal_value(kind, &key, value)?;
        self.hash.update(&key);
        self.hash.update(&sealed);
        self.drained.put(&key, &sealed);
        self.insert(store, key, &sealed);
        Ok(())
    }

    fn insert(&mut self, store: &Store, key: Vec<u8>, sealed: &[u8]) {
        if sealed.len() <= INLINE_BYTES_MAX {
            self.rows.insert(key, [&[0], sealed].concat());
            return;
        }
        let mut count = 0_u32;
        for part in sealed.chunks(INLINE_BYTES_MAX) {
            self.rows.insert(store.part_key(&key, count), part);
            count = count.saturating_add(1);
        }
        self.rows
            .insert(key, [&[1], count.to_be_bytes().as_slice()].concat());
    }
}

impl Store {
    /// Seals under the newest key that can be destroyed what is erased one day, and all else under
    /// the vault alone.
    fn seal_value(&self, kind: Kind, key: &[u8], value: &[u8]) -> Result<Vec<u8>, String> {
        let (vault, number) = (&self.vault, kind as u8);
        let sealed = if kind.is_erasable() {
            let ring = self.ring();
            let newest = ring
                .newest()
                .ok_or("there is no key to seal a secret under")?;
            vault.seal_erasable(newest, number, key, value, &mut OsEntropy)
        } else {
            vault.seal_record(number, key, value, &mut OsEntropy)
        };
        sealed.map_err(|error| error.to_string())
    }
}

fn name(store: &Store, write: &Write) -> Vec<u8> {
    let mut key = store.prefix(write.key.kind, &write.key.scope);
    key.extend_from_slice(&write.key.order);
    key
}

fn words(error: sled::Error) -> String {
    match error {
        sled::Error::Io(error) if room::is_full(&error) => room::full(),
        sled::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

fn unread(error: ReadError) -> String {
    match error {
        ReadError::Sled(error) => words(error),
        other => other.to_string(),
    }
}

/// The header could not be written.
fn refused(error: OpenError) -> String {
    match error {
        OpenError::DiskFull => room::full(),
        other => other.to_string(),
    }
}

fn bytes(writes: &[Write], moved: &[Moved]) -> usize {
    let values = writes.iter().filter_map(|write| write.value.as_ref());
    let moved = moved.iter().map(|moved| moved.value.len());
    values.map(Vec::len).chain(moved).sum()
}

fn purpose(writes: &[Write]) -> Use {
    if writes.iter().all(|write| write.key.kind == Kind::Run) {
        Use::Run
    } else {
        Use::Records
    }
}
