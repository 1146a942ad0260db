//! A relay that is a list of records by topic, and may show each device another order.

use std::collections::BTreeMap;

use ed25519_dalek::{Signer, SigningKey};
use sheaf_protocol::{
    Cursor, Delivery, ErrorCode, LogId, Receipt, Refusal, RelayId, ServerFrame, TopicId,
    hash_record, receipt_message,
};

pub(super) const LOG: LogId = LogId(7);

/// What the relay keeps; a record's sequence is its place, from one.
#[derive(Clone, Default)]
pub(super) struct Log(pub(super) BTreeMap<TopicId, Vec<Vec<u8>>>);

impl Log {
    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    pub(super) fn id() -> RelayId {
        RelayId(Self::key().verifying_key().to_bytes())
    }

    pub(super) fn push(&mut self, topic: TopicId, record: Vec<u8>) -> u64 {
        let records = self.0.entry(topic).or_default();
        records.push(record);
        records.len() as u64
    }

    /// What a device appends: again it gets the place that it has.
    pub(super) fn append(&mut self, topic: TopicId, record: &[u8]) -> u64 {
        let known = self.0.get(&topic).and_then(|records| {
            let mut records = records.iter();
            records.position(|known| known == record)
        });
        known.map_or_else(
            || self.push(topic, record.to_vec()),
            |place| place as u64 + 1,
        )
    }

    pub(super) fn head(&self, topic: &TopicId) -> u64 {
        self.0.get(topic).map_or(0, |records| records.len() as u64)
    }

    pub(super) fn after(&self, topic: TopicId, previous: u64) -> ServerFrame {
        let records = self.0.get(&topic).map_or(&[][..], Vec::as_slice);
        let later = (1..).zip(records).filter(|(place, _)| *place > previous);
        let records = later.map(|(sequence, record)| Delivery {
            sequence,
            record: record.clone(),
        });
        ServerFrame::Records {
            topic,
            previous,
            records: records.collect(),
        }
    }

    pub(super) fn receipt(topic: TopicId, sequence: u64, record: &[u8]) -> Receipt {
        let cursor = Cursor { log: LOG, sequence };
        let record = hash_record(record);
        let signature = Self::key().sign(&receipt_message(&topic, cursor, &record));
        Receipt {
            topic,
            cursor,
            record,
            signature: signature.to_bytes().to_vec(),
        }
    }
}

/// What an older relay answers to a question that it cannot read.
pub(super) fn refused() -> ServerFrame {
    ServerFrame::Refused(Refusal {
        request: None,
        topic: None,
        code: ErrorCode::BadFrame,
        retry_after_ms: 0,
        message: String::new(),
    })
}

/// What the relay shows to one device.
#[derive(Default)]
pub(super) struct Feed {
    pub(super) log: Log,
    copied: BTreeMap<TopicId, usize>,
    /// Records that are held back, and those of them that have come.
    pub(super) hidden: Vec<Vec<u8>>,
    /// Records, and what is shown in their place.
    pub(super) instead: Vec<(Vec<u8>, Vec<u8>)>,
    held: Vec<(TopicId, Vec<u8>)>,
}

impl Feed {
    /// Takes over what the relay has, but for what is held back.
    pub(super) fn copy(&mut self, log: &Log) {
        for (topic, records) in &log.0 {
            let copied = self.copied.entry(*topic).or_default();
            // A device that was taken over from another world is ahead of this one.
            let Some(new) = records.get(*copied..) else {
                continue;
            };
            for record in new {
                let mut instead = self.instead.iter();
                let other = instead.find(|(known, _)| known == record);
                let record = other.map_or(record, |(_, shown)| shown);
                if self.hidden.contains(record) {
                    self.held.push((*topic, record.clone()));
                } else {
                    self.log.push(*topic, record.clone());
                }
            }
            *copied = records.len();
        }
    }

    /// Shows what was held back.
    pub(super) fn reveal(&mut self) {
        self.hidden.clear();
        for (topic, record) in std::mem::take(&mut self.held) {
            self.log.push(topic, record);
        }
    }
}
