//! What the last drains wrote: a bounded list of keys and hashes, compared at the next open, so that
//! a batch that was lost in the midst of sled's log is missed (docs/STORAGE.md).

use std::collections::{BTreeMap, VecDeque};

use sha2::{Digest, Sha256};

use sheaf_replica::record::Kind;

use super::{OpenError, RECENT, ReadError, Store, writer};

/// Records that are remembered at most; one drain that is larger is remembered in part.
const RECORDS_MAX: usize = 4_096;
/// Bytes of their values: what the next open reads again.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// Records that one row of the list names: it stays within one of sled's pages.
const ROW_RECORDS_MAX: usize = 128;
/// Bytes of a hash that are kept: damage is looked for here, not malice.
const HASH_BYTES: usize = 8;

/// Longer keys are not in the list; there are none: 17 bytes and an order of a few dozen.
const KEY_BYTES_MAX: usize = 255;

/// What became of one key.
type Mark = [u8; HASH_BYTES];
/// The mark of a key that was deleted.
const DELETED: Mark = [0; HASH_BYTES];

/// One row of the list.
#[derive(Debug, Clone, Copy)]
struct Held {
    number: u64,
    records: usize,
    bytes: usize,
}

/// The list as the writing thread keeps it.
#[derive(Debug, Default)]
pub(super) struct Recent {
    held: VecDeque<Held>,
    records: usize,
    bytes: usize,
}

/// What one drain writes.
#[derive(Debug, Default)]
pub(super) struct Drained {
    marks: Vec<(Vec<u8>, Mark, usize)>,
}

impl Drained {
    pub(super) fn put(&mut self, key: &[u8], sealed: &[u8]) {
        self.push(key, mark(sealed), sealed.len());
    }

    pub(super) fn delete(&mut self, key: &[u8]) {
        self.push(key, DELETED, 0);
    }

    fn push(&mut self, key: &[u8], mark: Mark, bytes: usize) {
        if key.len() <= KEY_BYTES_MAX {
            self.marks.push((key.to_vec(), mark, bytes));
        }
    }
}

impl Recent {
    /// The list that a store holds.
    pub(super) fn of(store: &Store) -> Result<Self, ReadError> {
        let mut recent = Self::default();
        for row in rows(store)? {
            recent.push(Held {
                number: row.number,
                records: row.marks.len(),
                bytes: row.bytes,
            });
        }
        Ok(recent)
    }

    fn push(&mut self, held: Held) {
        self.records = self.records.saturating_add(held.records);
        self.bytes = self.bytes.saturating_add(held.bytes);
        self.held.push_back(held);
    }

    /// Adds what a drain writes to its batch, and takes the oldest rows off.
    pub(super) fn note(&mut self, drain: u64, drained: &Drained, batch: &mut sled::Batch) {
        let newest = drained.marks.len().saturating_sub(RECORDS_MAX);
        let last = drained.marks.get(newest..).unwrap_or_default();
        let mut number = self.held.back().map_or(0, |held| held.number);
        for marks in last.chunks(ROW_RECORDS_MAX) {
            number = number.saturating_add(1);
            let bytes = marks.iter().map(|(_, _, bytes)| *bytes).sum();
            batch.insert(row_key(number), encode(drain, marks));
            self.push(Held {
                number,
                records: marks.len(),
                bytes,
            });
        }
        while self.is_too_long()
            && let Some(oldest) = self.held.pop_front()
        {
            self.records = self.records.saturating_sub(oldest.records);
            self.bytes = self.bytes.saturating_sub(oldest.bytes);
            batch.remove(row_key(oldest.number));
        }
    }

    fn is_too_long(&self) -> bool {
        self.held.len() > 1 && (self.records > RECORDS_MAX || self.bytes > BYTES_MAX)
    }
}

/// Compares the list with the store.
pub(super) fn check(store: &Store) -> Result<(), OpenError> {
    let missing = || OpenError::Damaged("a durable write is missing".to_owned());
    let unread = |error: ReadError| OpenError::Damaged(error.to_string());
    let rows = rows(store).map_err(unread)?;
    let follows = |pair: &[Row]| match pair {
        [one, next] => one.number.checked_add(1) == Some(next.number) && one.drain <= next.drain,
        _ => true,
    };
    if !rows.windows(2).all(follows) {
        return Err(missing());
    }
    // A store of an earlier version has no list.
    if let Some(newest) = rows.last()
        && writer::drains(store) != newest.drain
    {
        return Err(missing());
    }
    let marks = rows.into_iter().flat_map(|row| row.marks);
    let last: BTreeMap<Vec<u8>, Mark> = marks.collect();
    for (key, mark) in last {
        let found = mark_of(store, &key);
        if matches!(found, Ok(found) if found == mark) {
            continue;
        }
        // An older value that opens is what a lost write leaves.
        if mark != DELETED && is_altered(store, &key).map_err(unread)? {
            tracing::warn!("a stored record does not open; it is derived again or fetched");
            continue;
        }
        found.map_err(unread)?;
        return Err(missing());
    }
    Ok(())
}

/// Whether a record is there, does not open, and can be derived again or fetched.
fn is_altered(store: &Store, key: &[u8]) -> Result<bool, ReadError> {
    let kind = key.first().and_then(|number| Kind::of(*number));
    let Some(kind) = kind.filter(|kind| super::check::is_replaceable(*kind)) else {
        return Ok(false);
    };
    let Some(value) = store.db.get(key)? else {
        return Ok(false);
    };
    match store.row(&store.ring(), kind, (key.into(), value)) {
        Err(ReadError::Damaged) => Ok(true),
        read => read.map(|_| false),
    }
}

/// What is there now.
fn mark_of(store: &Store, key: &[u8]) -> Result<Mark, ReadError> {
    let Some(value) = store.db.get(key)? else {
        return Ok(DELETED);
    };
    match value.split_first() {
        Some((0, inline)) => Ok(mark(inline)),
        Some((1, count)) => Ok(mark(&store.join(key, count)?)),
        Some(_) | None => Err(ReadError::Damaged),
    }
}

fn mark(sealed: &[u8]) -> Mark {
    let hash: [u8; 32] = Sha256::digest(sealed).into();
    let [
        mark @ ..,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
    ] = hash;
    mark
}

/// One row of the list: `drain(8) || bytes(4) || [length(1) || key || mark(8)]`.
struct Row {
    number: u64,
    drain: u64,
    bytes: usize,
    marks: Vec<(Vec<u8>, Mark)>,
}

fn row_key(number: u64) -> Vec<u8> {
    [[RECENT].as_slice(), &number.to_be_bytes()].concat()
}

fn encode(drain: u64, marks: &[(Vec<u8>, Mark, usize)]) -> Vec<u8> {
    let bytes: usize = marks.iter().map(|(_, _, bytes)| *bytes).sum();
    let mut row = drain.to_be_bytes().to_vec();
    row.extend_from_slice(&u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes());
    for (key, mark, _) in marks {
        row.push(u8::try_from(key.len()).unwrap_or(u8::MAX));
        row.extend_from_slice(key);
        row.extend_from_slice(mark);
    }
    row
}

fn rows(store: &Store) -> Result<Vec<Row>, ReadError> {
    let mut rows = Vec::new();
    for pair in store.db.scan_prefix([RECENT]) {
        let (key, value) = pair?;
        rows.push(decode(&key, &value).ok_or(ReadError::Damaged)?);
    }
    Ok(rows)
}

fn decode(key: &[u8], value: &[u8]) -> Option<Row> {
    let number = u64::from_be_bytes(key.strip_prefix(&[RECENT])?.try_into().ok()?);
    let (drain, rest) = value.split_first_chunk::<8>()?;
    let (bytes, mut rest) = rest.split_first_chunk::<4>()?;
    let mut marks = Vec::new();
    while let Some((length, tail)) = rest.split_first() {
        let (key, tail) = tail.split_at_checked(usize::from(*length))?;
        let (mark, tail) = tail.split_first_chunk::<HASH_BYTES>()?;
        marks.push((key.to_vec(), *mark));
        rest = tail;
    }
    Some(Row {
        number,
        drain: u64::from_be_bytes(*drain),
        bytes: usize::try_from(u32::from_be_bytes(*bytes)).ok()?,
        marks,
    })
}
