//! Reading records and topics.

use sheaf_protocol::{History, TopicId};

use super::key::{self, Header};
use super::open::engine;
use crate::store::{RangeLimit, Release, StorageError, StoredRecord, TopicStat};

pub(super) fn read_stat(db: &sled::Db, topic: &TopicId) -> Result<TopicStat, StorageError> {
    let found = db.get(key::topic_key(topic)).map_err(engine)?;
    found.map_or(Ok(TopicStat::default()), |bytes| key::decode_stat(&bytes))
}

/// Hash over the records up to a place. At the head of a topic of which an older program wrote the
/// newest records it begins with zeros.
pub(super) fn read_history(
    db: &sled::Db,
    topic: &TopicId,
    sequence: Option<u64>,
) -> Result<Option<(u64, History)>, StorageError> {
    let head = read_stat(db, topic)?.head;
    let sequence = sequence.unwrap_or(head);
    let found = db.get(key::history_key(topic, sequence)).map_err(engine)?;
    match found {
        Some(bytes) => Ok(Some((sequence, key::decode_history(&bytes)?))),
        None => Ok((sequence == head).then_some((sequence, History::default()))),
    }
}

/// Reads the records of a key range, putting their parts together.
pub(super) fn read_range(
    db: &sled::Db,
    topic: &TopicId,
    after: u64,
    upto: u64,
    limit: RangeLimit,
) -> Result<Vec<StoredRecord>, StorageError> {
    let first = key::record_key(topic, after.saturating_add(1), 0);
    let last = key::record_key(topic, upto, u8::MAX);
    let mut records: Vec<StoredRecord> = Vec::new();
    let mut missing = 0_usize;
    let mut bytes = 0_usize;
    for item in db.range(first..=last) {
        let (name, value) = item.map_err(engine)?;
        let (_, sequence, part) = key::decode_record_key(&name)?;
        let piece = if part == 0 {
            let (header, piece) = Header::decode(&value)?;
            let length = header.length as usize;
            bytes = bytes.saturating_add(length);
            let full = bytes > limit.bytes_max || records.len() >= limit.records_max;
            if missing != 0 || (full && !records.is_empty()) {
                break;
            }
            missing = length;
            records.push(StoredRecord {
                sequence,
                class: header.class,
                received_ms: header.received_ms,
                bytes: Vec::with_capacity(length),
            });
            piece
        } else {
            &value
        };
        let record = records
            .last_mut()
            .filter(|record| record.sequence == sequence)
            .ok_or(StorageError::Damaged("a record has lost its beginning"))?;
        record.bytes.extend_from_slice(piece);
        missing = missing
            .checked_sub(piece.len())
            .ok_or(StorageError::Damaged("a record is longer than it was"))?;
    }
    if missing != 0 {
        return Err(StorageError::Damaged("a record has lost its end"));
    }
    Ok(records)
}

/// Releases of a topic that wait.
pub(super) fn read_releases(db: &sled::Db, topic: &TopicId) -> Result<Vec<Release>, StorageError> {
    let found = db.get(key::release_key(topic)).map_err(engine)?;
    found.map_or(Ok(Vec::new()), |bytes| key::decode_releases(&bytes))
}
