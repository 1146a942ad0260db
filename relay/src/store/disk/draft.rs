//! One batch of changes, before it is applied.

use std::collections::{HashMap, HashSet};

use sheaf_protocol::{History, RecordHash, TopicId};

use super::key::{self, Header, PART_BYTES, Watermark};
use super::open::engine;
use super::read::{read_history, read_stat};
use crate::store::{Appended, NewRecord, Quota, StorageError, TopicStat};

/// Changes of one batch, seen by the records that follow in it.
pub(super) struct Draft<'a> {
    db: &'a sled::Db,
    batch: sled::Batch,
    watermark: Watermark,
    stats: HashMap<TopicId, TopicStat>,
    places: HashMap<(TopicId, RecordHash), u64>,
    /// Of topics that were written: the hash over everything up to their newest record.
    histories: HashMap<TopicId, History>,
    deleted: HashSet<(TopicId, u64)>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(db: &'a sled::Db, watermark: Watermark) -> Self {
        Self {
            db,
            batch: sled::Batch::default(),
            watermark,
            stats: HashMap::new(),
            places: HashMap::new(),
            histories: HashMap::new(),
            deleted: HashSet::new(),
        }
    }

    fn stat(&self, topic: &TopicId) -> Result<TopicStat, StorageError> {
        match self.stats.get(topic) {
            Some(stat) => Ok(*stat),
            None => read_stat(self.db, topic),
        }
    }

    fn place(&self, topic: &TopicId, hash: &RecordHash) -> Result<Option<u64>, StorageError> {
        if let Some(sequence) = self.places.get(&(*topic, *hash)) {
            return Ok(Some(*sequence));
        }
        let found = self.db.get(key::hash_key(topic, hash)).map_err(engine)?;
        found.map(|bytes| key::decode_sequence(&bytes)).transpose()
    }

    pub(super) fn append(
        &mut self,
        quota: Quota,
        record: &NewRecord,
    ) -> Result<Appended, StorageError> {
        let topic = &record.topic;
        if let Some(sequence) = self.place(topic, &record.hash)? {
            return Ok(Appended::Duplicate(sequence));
        }
        let bytes = record.bytes.len() as u64;
        let mut stat = self.stat(topic)?;
        if stat.bytes.saturating_add(bytes) > quota.topic_bytes_max {
            return Ok(Appended::TopicFull);
        }
        if self.watermark.bytes.saturating_add(bytes) > quota.store_bytes_max {
            return Ok(Appended::StoreFull);
        }
        stat.head += 1;
        stat.records += 1;
        stat.bytes += bytes;
        let sequence = stat.head;
        self.insert_parts(record, sequence);
        self.insert_history(record, sequence)?;
        self.batch
            .insert(key::hash_key(topic, &record.hash), &sequence.to_be_bytes());
        let expiry = key::expiry_key(record.class, record.received_ms, topic, sequence);
        self.batch.insert(expiry, &[]);
        self.watermark.add(topic, sequence, &record.hash, bytes);
        self.places.insert((*topic, record.hash), sequence);
        self.keep_stat(topic, stat);
        Ok(Appended::New(sequence))
    }

    fn insert_history(&mut self, record: &NewRecord, sequence: u64) -> Result<(), StorageError> {
        let topic = &record.topic;
        let before = match self.histories.get(topic) {
            Some(history) => *history,
            None => {
                let head = sequence.saturating_sub(1);
                let found = read_history(self.db, topic, Some(head))?;
                let (_, history) = found.unwrap_or_default();
                // Where nothing was kept yet, this is what the hash begins with.
                let key = key::history_key(topic, head);
                self.batch.insert(key, key::encode_history(&history));
                history
            }
        };
        let history = before.then(topic, sequence, &record.hash);
        self.histories.insert(*topic, history);
        let key = key::history_key(topic, sequence);
        self.batch.insert(key, key::encode_history(&history));
        Ok(())
    }

    fn is_kept(&self, topic: &TopicId, sequence: u64) -> Result<bool, StorageError> {
        let key = key::record_key(topic, sequence, 0);
        let gone = self.deleted.contains(&(*topic, sequence));
        Ok(!gone && self.db.contains_key(key).map_err(engine)?)
    }

    /// Lets go of hashes that are beside no record any more; the newest stays.
    fn delete_history(&mut self, topic: &TopicId, sequence: u64) -> Result<(), StorageError> {
        self.deleted.insert((*topic, sequence));
        let head = self.stat(topic)?.head;
        for place in [sequence.saturating_sub(1), sequence] {
            let after = place.saturating_add(1);
            let kept = self.is_kept(topic, place)? || self.is_kept(topic, after)?;
            if !kept && place != head {
                self.batch.remove(key::history_key(topic, place));
            }
        }
        Ok(())
    }

    fn insert_parts(&mut self, record: &NewRecord, sequence: u64) {
        let header = Header {
            class: record.class,
            received_ms: record.received_ms,
            hash: record.hash,
            length: u32::try_from(record.bytes.len()).unwrap_or(u32::MAX),
        };
        let mut parts = record.bytes.chunks(PART_BYTES);
        let mut value = header.encode();
        value.extend_from_slice(parts.next().unwrap_or_default());
        self.batch
            .insert(key::record_key(&record.topic, sequence, 0), value);
        for (part, bytes) in (1..=u8::MAX).zip(parts) {
            self.batch
                .insert(key::record_key(&record.topic, sequence, part), bytes);
        }
    }

    pub(super) fn delete(&mut self, topic: &TopicId, sequence: u64) -> Result<bool, StorageError> {
        let first = key::record_key(topic, sequence, 0);
        let Some(value) = self.db.get(&first).map_err(engine)? else {
            return Ok(false);
        };
        let (header, _) = Header::decode(&value)?;
        for part in 0..header.parts() {
            self.batch.remove(key::record_key(topic, sequence, part));
        }
        self.batch.remove(key::hash_key(topic, &header.hash));
        let expiry = key::expiry_key(header.class, header.received_ms, topic, sequence);
        self.batch.remove(expiry);
        self.delete_history(topic, sequence)?;
        let bytes = u64::from(header.length);
        let mut stat = self.stat(topic)?;
        stat.records = stat.records.saturating_sub(1);
        stat.bytes = stat.bytes.saturating_sub(bytes);
        self.watermark.remove(topic, sequence, &header.hash, bytes);
        self.keep_stat(topic, stat);
        Ok(true)
    }

    fn keep_stat(&mut self, topic: &TopicId, stat: TopicStat) {
        self.batch
            .insert(key::topic_key(topic), key::encode_stat(stat));
        self.stats.insert(*topic, stat);
    }

    pub(super) fn finish(self) -> (sled::Batch, Watermark) {
        (self.batch, self.watermark)
    }
}
