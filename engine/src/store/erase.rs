//! Erasing: sled keeps older values in its files, so what is to be gone is sealed under a key that is
//! destroyed (docs/decisions/0019-erasing.md).
//!
//! 1. The next key is drawn; the header is written with both.
//! 2. Every record that holds such secrets is written again under the next key, in one sled batch
//!    with what was asked for.
//! 3. The header is written with the next key alone.
//!
//! Each step is durable before the next begins. After a crash between two of them the header has two
//! keys and every record is under one of them: the next opening does steps 2 and 3.

use std::collections::BTreeSet;

use sheaf_crypto::ErasableKey;
use sheaf_replica::record::{KINDS, Kind, Write};
use zeroize::Zeroizing;

use super::header;
use super::ring::Ring;
use super::{OpenError, ReadError, Store};

/// A record on its way to the next key.
pub(super) struct Moved {
    pub(super) kind: Kind,
    pub(super) key: Vec<u8>,
    pub(super) value: Zeroizing<Vec<u8>>,
}

/// What a store holds of records whose secrets are erased one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ErasableReport {
    /// Which key they are under now; `None` in a store that was made by an earlier version and wrote
    /// no secret since.
    pub generation: Option<u64>,
    /// Records under that key.
    pub records: u64,
    /// Records under the vault alone, from an earlier version: their older values are not erased.
    pub unprotected: u64,
    /// An erasure was cut short and waits for room on the disk.
    pub unfinished: bool,
}

/// Whether one of the writes asks that what it replaces be gone.
pub(super) fn is_asked(writes: &[Write]) -> Result<bool, String> {
    let mut asking = writes.iter().filter(|write| write.erases).peekable();
    let asked = asking.peek().is_some();
    match asking.find(|write| !write.key.kind.is_erasable()) {
        Some(write) => Err(format!(
            "records of kind {:?} are not sealed under a key that can be destroyed",
            write.key.kind
        )),
        None => Ok(asked),
    }
}

/// Of several writes of one record only the last: what it replaces must not reach the disk under the
/// next key.
pub(super) fn last_of_each(writes: Vec<Write>) -> Vec<Write> {
    let mut known = BTreeSet::new();
    let newest_first = writes.into_iter().rev();
    let mut kept: Vec<Write> = newest_first
        .filter(|write| known.insert(write.key.clone()))
        .collect();
    kept.reverse();
    kept
}

impl Store {
    /// Every record that holds such secrets and is not among `written`.
    pub(super) fn erasable(&self, written: &BTreeSet<Vec<u8>>) -> Result<Vec<Moved>, ReadError> {
        let ring = self.ring();
        let mut found = Vec::new();
        for kind in KINDS.into_iter().filter(|kind| kind.is_erasable()) {
            for pair in self.db.scan_prefix([kind as u8]) {
                let (key, sealed) = pair?;
                if written.contains(key.as_ref()) {
                    continue;
                }
                let value = self.open_value(&ring, kind, &key, &sealed)?;
                let key = key.to_vec();
                found.push(Moved { kind, key, value });
            }
        }
        Ok(found)
    }

    /// Draws a key and makes it durable beside the one there is, if there is one.
    pub(super) fn draw_key(&self) -> Result<(), OpenError> {
        let mut ring = self.ring_mut();
        ring.draw();
        let kept = header::keep(&self.directory, &self.vault, &ring);
        if kept.is_err() {
            ring.undraw();
        }
        kept
    }

    /// Destroys every key but the newest.
    pub(super) fn destroy_older_keys(&self) -> Result<(), OpenError> {
        let mut ring = self.ring_mut();
        let older = ring.take_older();
        let kept = header::keep(&self.directory, &self.vault, &ring);
        drop(older);
        kept
    }

    /// Counts, for a report. The records are opened elsewhere.
    pub(super) fn count_erasable(&self, ring: &Ring) -> Result<ErasableReport, ReadError> {
        let mut report = ErasableReport {
            generation: ring.newest().map(ErasableKey::generation),
            unfinished: ring.len() > 1,
            ..ErasableReport::default()
        };
        for kind in KINDS.into_iter().filter(|kind| kind.is_erasable()) {
            for pair in self.db.scan_prefix([kind as u8]) {
                let (key, sealed) = pair?;
                match self.generation(&key, &sealed)? {
                    None => report.unprotected = report.unprotected.saturating_add(1),
                    Some(found) if Some(found) == report.generation => {
                        report.records = report.records.saturating_add(1);
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(report)
    }

    /// Which key a record is under; its first part says so if it is in parts.
    fn generation(&self, key: &[u8], sealed: &[u8]) -> Result<Option<u64>, ReadError> {
        Ok(match sealed.split_first() {
            Some((0, inline)) => ErasableKey::generation_of(inline),
            Some(_) | None => self
                .db
                .get(self.part_key(key, 0))?
                .and_then(|part| ErasableKey::generation_of(&part)),
        })
    }
}

/// Where an erasure is.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Nothing is written yet.
    Begun,
    /// The header has both keys.
    Drawn,
    /// Every record is under the next key.
    Moved,
    /// The header has the next key alone.
    Finished,
}

/// What a test does at each step; an error is what a disk says that takes no more.
#[cfg(test)]
pub(super) type Look = std::sync::Arc<dyn Fn(Step) -> Result<(), String> + Send + Sync>;

#[cfg(test)]
impl Store {
    /// Looks in at every erasure from now on.
    pub(super) fn look(&mut self, look: Look) {
        self.look = Some(look);
    }

    pub(super) fn reach(&self, step: Step) -> Result<(), String> {
        self.look.as_ref().map_or(Ok(()), |look| look(step))
    }
}

#[cfg(test)]
mod tests;
