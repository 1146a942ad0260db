//! A store in memory: the twin by which the conformance suite judges the others.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sheaf_protocol::{Class, History, LogId, RecordHash, TopicId};

use super::{
    Appended, NewRecord, Quota, RangeLimit, Release, Storage, StorageError, StoredRecord,
    TopicStat, Totals, due_release, note_release,
};

/// Keeps everything in memory and loses it at the end of the process.
#[derive(Debug)]
pub struct MemoryStorage {
    log: LogId,
    quota: Quota,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    topics: HashMap<TopicId, Topic>,
    totals: Totals,
}

#[derive(Debug, Default)]
struct Topic {
    stat: TopicStat,
    records: BTreeMap<u64, (RecordHash, StoredRecord)>,
    places: HashMap<RecordHash, u64>,
    /// By sequence: the hash over everything up to there.
    histories: BTreeMap<u64, History>,
    releases: Vec<Release>,
}

impl MemoryStorage {
    /// An empty store.
    #[must_use]
    pub fn new(log: LogId, quota: Quota) -> Self {
        Self {
            log,
            quota,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn append(&mut self, quota: Quota, new: &NewRecord) -> Appended {
        let bytes = new.bytes.len() as u64;
        let topic = self.topics.entry(new.topic).or_default();
        if let Some(sequence) = topic.places.get(&new.hash) {
            return Appended::Duplicate(*sequence);
        }
        if topic.stat.bytes.saturating_add(bytes) > quota.topic_bytes_max {
            return Appended::TopicFull;
        }
        if self.totals.bytes.saturating_add(bytes) > quota.store_bytes_max {
            return Appended::StoreFull;
        }
        topic.stat.head += 1;
        topic.stat.records += 1;
        topic.stat.bytes += bytes;
        self.totals.records += 1;
        self.totals.bytes += bytes;
        let sequence = topic.stat.head;
        let before = topic.histories.entry(sequence - 1).or_default();
        let history = before.then(&new.topic, sequence, &new.hash);
        topic.histories.insert(sequence, history);
        topic.places.insert(new.hash, sequence);
        let record = StoredRecord {
            sequence,
            class: new.class,
            received_ms: new.received_ms,
            bytes: new.bytes.clone(),
        };
        topic.records.insert(sequence, (new.hash, record));
        Appended::New(sequence)
    }

    fn delete(&mut self, topic: &TopicId, sequences: &[u64]) -> usize {
        let Some(topic) = self.topics.get_mut(topic) else {
            return 0;
        };
        for sequence in sequences {
            if let Some((hash, record)) = topic.records.remove(sequence) {
                topic.places.remove(&hash);
                topic.stat.records -= 1;
                topic.stat.bytes -= record.bytes.len() as u64;
                self.totals.records -= 1;
                self.totals.bytes -= record.bytes.len() as u64;
                for place in [sequence - 1, *sequence] {
                    let kept = [place, place + 1].map(|n| topic.records.contains_key(&n));
                    if kept == [false; 2] && place != topic.stat.head {
                        topic.histories.remove(&place);
                    }
                }
            }
        }
        sequences.len()
    }
}

impl Storage for MemoryStorage {
    fn log(&self) -> LogId {
        self.log
    }

    fn append(&self, records: &[NewRecord]) -> Result<Vec<Appended>, StorageError> {
        let mut state = self.state();
        Ok(records
            .iter()
            .map(|record| state.append(self.quota, record))
            .collect())
    }

    fn range(
        &self,
        topic: &TopicId,
        after: u64,
        upto: u64,
        limit: RangeLimit,
    ) -> Result<Vec<StoredRecord>, StorageError> {
        let state = self.state();
        let mut found = Vec::new();
        let mut bytes = 0_usize;
        let records = state.topics.get(topic).map(|topic| &topic.records);
        for (sequence, (_, record)) in records.into_iter().flatten() {
            if *sequence <= after || *sequence > upto {
                continue;
            }
            bytes = bytes.saturating_add(record.bytes.len());
            if !found.is_empty() && (bytes > limit.bytes_max || found.len() >= limit.records_max) {
                break;
            }
            found.push(record.clone());
        }
        Ok(found)
    }

    fn trim(&self, topic: &TopicId, upto: u64, records_max: usize) -> Result<usize, StorageError> {
        let mut state = self.state();
        let records = state.topics.get(topic).map(|topic| &topic.records);
        let doomed: Vec<u64> = records
            .into_iter()
            .flatten()
            .filter(|(sequence, (_, record))| **sequence <= upto && record.class == Class::Inbox)
            .map(|(sequence, _)| *sequence)
            .take(records_max)
            .collect();
        Ok(state.delete(topic, &doomed))
    }

    fn expire(
        &self,
        class: Class,
        before_ms: u64,
        records_max: usize,
    ) -> Result<usize, StorageError> {
        let mut state = self.state();
        let mut doomed: BTreeMap<(u64, TopicId, u64), ()> = BTreeMap::new();
        let topics: BTreeMap<_, _> = state.topics.iter().collect();
        for (id, topic) in topics {
            for (sequence, (_, record)) in &topic.records {
                if record.class == class && record.received_ms < before_ms {
                    doomed.insert((record.received_ms, *id, *sequence), ());
                }
            }
        }
        let doomed: Vec<_> = doomed.into_keys().take(records_max).collect();
        for (_, topic, sequence) in &doomed {
            state.delete(topic, &[*sequence]);
        }
        Ok(doomed.len())
    }

    fn release(&self, topic: &TopicId, upto: u64, now_ms: u64) -> Result<bool, StorageError> {
        let mut state = self.state();
        let Some(topic) = state.topics.get_mut(topic) else {
            return Ok(false);
        };
        let release = Release {
            upto: upto.min(topic.stat.head),
            since_ms: now_ms,
        };
        Ok(release.upto > 0 && note_release(&mut topic.releases, release))
    }

    fn take_back(&self, topic: &TopicId) -> Result<(), StorageError> {
        if let Some(topic) = self.state().topics.get_mut(topic) {
            topic.releases.clear();
        }
        Ok(())
    }

    fn reap(&self, before_ms: u64, records_max: usize) -> Result<usize, StorageError> {
        let mut state = self.state();
        let mut reaped = 0_usize;
        let mut topics: Vec<TopicId> = state.topics.keys().copied().collect();
        topics.sort_unstable();
        for id in topics {
            let left = records_max.saturating_sub(reaped);
            let Some(topic) = state.topics.get_mut(&id).filter(|_| left > 0) else {
                continue;
            };
            let Some(upto) = due_release(&topic.releases, before_ms) else {
                continue;
            };
            let records = topic.records.range(..=upto);
            let doomed = records.filter(|(_, (_, record))| record.class == Class::Log);
            let doomed: Vec<u64> = doomed.map(|(sequence, _)| *sequence).take(left).collect();
            if doomed.len() < left {
                topic
                    .releases
                    .retain(|release| release.since_ms >= before_ms);
            }
            reaped = reaped.saturating_add(state.delete(&id, &doomed));
        }
        Ok(reaped)
    }

    fn history(
        &self,
        topic: &TopicId,
        sequence: Option<u64>,
    ) -> Result<Option<(u64, History)>, StorageError> {
        let state = self.state();
        let Some(topic) = state.topics.get(topic) else {
            return Ok((sequence.unwrap_or(0) == 0).then(Default::default));
        };
        let sequence = sequence.unwrap_or(topic.stat.head);
        let history = topic.histories.get(&sequence);
        Ok(history.map(|history| (sequence, *history)))
    }

    fn stat(&self, topic: &TopicId) -> Result<TopicStat, StorageError> {
        let state = self.state();
        Ok(state
            .topics
            .get(topic)
            .map_or_else(TopicStat::default, |topic| topic.stat))
    }

    fn totals(&self) -> Totals {
        self.state().totals
    }

    fn probe(&self) -> Result<(), StorageError> {
        Ok(())
    }

    fn close(&self) -> Result<(), StorageError> {
        Ok(())
    }
}
