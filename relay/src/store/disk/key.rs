//! Bytes of the disk: one tree, the kind of data first, big endian, so that one batch is atomic
//! over all kinds.
//!
//! ```text
//! m format                                  version 1 | log id 8
//! m totals                                  version 1 | batches 8 | records 8 | bytes 8 | sum 16
//! t topic 32                                version 1 | head 8 | records 8 | bytes 8
//! r topic 32 | sequence 8 | part 1          part 0: header 46, then the first part of the record
//!                                           parts 1..: the parts that follow
//! h topic 32 | record hash 32               sequence 8
//! s topic 32 | sequence 8                   version 1 | history 32: over the records up to there
//! g topic 32                                version 1 | (upto 8 | since ms 8)...: releases that wait
//! e class 1 | received ms 8 | topic 32 | sequence 8     empty
//!
//! header   version 1 | class 1 | received ms 8 | record hash 32 | record length 4
//! ```
//!
//! Records are cut into parts of [`PART_BYTES`] because sled moves a page of more than an eighth of
//! a megabyte into a file of its own, which it does not sync: with parts no page gets that large
//! (a page holds at most about twenty values), and a sync of one file covers everything.

use sha2::{Digest, Sha256};
use sheaf_protocol::{Class, History, LogId, RecordHash, TopicId};

use crate::store::{Release, StorageError, TopicStat};

/// Bytes of one part of a record.
pub(super) const PART_BYTES: usize = 4096;
/// Bytes of the header in front of a record's first part.
pub(super) const HEADER_BYTES: usize = 46;
/// Version of every value.
const VERSION: u8 = 1;

pub(super) const FORMAT_KEY: &[u8] = b"mformat";
pub(super) const TOTALS_KEY: &[u8] = b"mtotals";
/// Every release key starts with it.
pub(super) const RELEASE_KIND: u8 = b'g';
/// Every record key starts with it.
pub(super) const RECORD_KIND: u8 = b'r';

const DAMAGED: StorageError = StorageError::Damaged("a value does not decode");

/// Takes fixed pieces off the front of a value.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn versioned(bytes: &'a [u8]) -> Result<Self, StorageError> {
        let mut reader = Reader(bytes);
        match reader.take::<1>()? {
            [VERSION] => Ok(reader),
            _ => Err(StorageError::Damaged("a value has an unknown version")),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], StorageError> {
        let (piece, rest) = self.0.split_first_chunk::<N>().ok_or(DAMAGED)?;
        self.0 = rest;
        Ok(*piece)
    }

    fn number(&mut self) -> Result<u64, StorageError> {
        Ok(u64::from_be_bytes(self.take()?))
    }
}

/// Running state of the whole store, written with every batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Watermark {
    /// Batches written.
    pub(super) batches: u64,
    /// Records kept.
    pub(super) records: u64,
    /// Bytes kept.
    pub(super) bytes: u64,
    /// Sum over the records kept of the hash of (topic, sequence, record hash): the same whatever
    /// the order, so that it can be recounted from what is there.
    pub(super) sum: u128,
}

impl Watermark {
    pub(super) fn add(&mut self, topic: &TopicId, sequence: u64, hash: &RecordHash, bytes: u64) {
        self.records = self.records.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        self.sum = self.sum.wrapping_add(term(topic, sequence, hash));
    }

    pub(super) fn remove(&mut self, topic: &TopicId, sequence: u64, hash: &RecordHash, bytes: u64) {
        self.records = self.records.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.sum = self.sum.wrapping_sub(term(topic, sequence, hash));
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.batches.to_be_bytes());
        bytes.extend_from_slice(&self.records.to_be_bytes());
        bytes.extend_from_slice(&self.bytes.to_be_bytes());
        bytes.extend_from_slice(&self.sum.to_be_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StorageError> {
        let mut reader = Reader::versioned(bytes)?;
        Ok(Self {
            batches: reader.number()?,
            records: reader.number()?,
            bytes: reader.number()?,
            sum: u128::from_be_bytes(reader.take()?),
        })
    }
}

fn term(topic: &TopicId, sequence: u64, hash: &RecordHash) -> u128 {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(topic.0)
        .chain_update(sequence.to_be_bytes())
        .chain_update(hash.0)
        .finalize()
        .into();
    digest
        .first_chunk::<16>()
        .map_or(0, |half| u128::from_be_bytes(*half))
}

/// What stands in front of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) class: Class,
    pub(super) received_ms: u64,
    pub(super) hash: RecordHash,
    pub(super) length: u32,
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + PART_BYTES);
        bytes.push(VERSION);
        bytes.push(class_byte(self.class));
        bytes.extend_from_slice(&self.received_ms.to_be_bytes());
        bytes.extend_from_slice(&self.hash.0);
        bytes.extend_from_slice(&self.length.to_be_bytes());
        bytes
    }

    /// Header and the first part of the record.
    pub(super) fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), StorageError> {
        let mut reader = Reader::versioned(bytes)?;
        let header = Self {
            class: match reader.take::<1>()? {
                [0] => Class::Log,
                [1] => Class::Inbox,
                _ => return Err(DAMAGED),
            },
            received_ms: reader.number()?,
            hash: RecordHash(reader.take()?),
            length: u32::from_be_bytes(reader.take()?),
        };
        Ok((header, reader.0))
    }

    /// Parts that the record was cut into, the first one included.
    pub(super) fn parts(&self) -> u8 {
        let parts = (self.length as usize).div_ceil(PART_BYTES).max(1);
        u8::try_from(parts).unwrap_or(u8::MAX)
    }
}

fn class_byte(class: Class) -> u8 {
    match class {
        Class::Log => 0,
        Class::Inbox => 1,
        Class::Ephemeral => 2,
    }
}

pub(super) fn encode_stat(stat: TopicStat) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&stat.head.to_be_bytes());
    bytes.extend_from_slice(&stat.records.to_be_bytes());
    bytes.extend_from_slice(&stat.bytes.to_be_bytes());
    bytes
}

pub(super) fn decode_stat(bytes: &[u8]) -> Result<TopicStat, StorageError> {
    let mut reader = Reader::versioned(bytes)?;
    Ok(TopicStat {
        head: reader.number()?,
        records: reader.number()?,
        bytes: reader.number()?,
    })
}

pub(super) fn encode_format(log: LogId) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&log.0.to_be_bytes());
    bytes
}

pub(super) fn decode_format(bytes: &[u8]) -> Result<LogId, StorageError> {
    Ok(LogId(Reader::versioned(bytes)?.number()?))
}

pub(super) fn decode_sequence(bytes: &[u8]) -> Result<u64, StorageError> {
    Reader(bytes).number()
}

pub(super) fn topic_key(topic: &TopicId) -> Vec<u8> {
    [&b"t"[..], &topic.0[..]].concat()
}

pub(super) fn record_key(topic: &TopicId, sequence: u64, part: u8) -> Vec<u8> {
    [
        &[RECORD_KIND],
        &topic.0[..],
        &sequence.to_be_bytes(),
        &[part],
    ]
    .concat()
}

/// Topic, sequence and part that a record key names.
pub(super) fn decode_record_key(key: &[u8]) -> Result<(TopicId, u64, u8), StorageError> {
    let mut reader = Reader(key);
    let [_kind] = reader.take::<1>()?;
    let topic = TopicId(reader.take()?);
    let sequence = reader.number()?;
    let [part] = reader.take::<1>()?;
    Ok((topic, sequence, part))
}

pub(super) fn hash_key(topic: &TopicId, hash: &RecordHash) -> Vec<u8> {
    [&b"h"[..], &topic.0[..], &hash.0[..]].concat()
}

pub(super) fn release_key(topic: &TopicId) -> Vec<u8> {
    [&[RELEASE_KIND], &topic.0[..]].concat()
}

/// The topic that a release key names.
pub(super) fn decode_release_key(key: &[u8]) -> Result<TopicId, StorageError> {
    let mut reader = Reader(key);
    let [_kind] = reader.take::<1>()?;
    Ok(TopicId(reader.take()?))
}

pub(super) fn encode_releases(releases: &[Release]) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    for release in releases {
        bytes.extend_from_slice(&release.upto.to_be_bytes());
        bytes.extend_from_slice(&release.since_ms.to_be_bytes());
    }
    bytes
}

pub(super) fn decode_releases(bytes: &[u8]) -> Result<Vec<Release>, StorageError> {
    let mut reader = Reader::versioned(bytes)?;
    let mut releases = Vec::new();
    while !reader.0.is_empty() {
        releases.push(Release {
            upto: reader.number()?,
            since_ms: reader.number()?,
        });
    }
    Ok(releases)
}

pub(super) fn history_key(topic: &TopicId, sequence: u64) -> Vec<u8> {
    [&b"s"[..], &topic.0[..], &sequence.to_be_bytes()].concat()
}

pub(super) fn encode_history(history: &History) -> Vec<u8> {
    [&[VERSION], &history.0[..]].concat()
}

pub(super) fn decode_history(bytes: &[u8]) -> Result<History, StorageError> {
    Ok(History(Reader::versioned(bytes)?.take()?))
}

pub(super) fn expiry_key(
    class: Class,
    received_ms: u64,
    topic: &TopicId,
    sequence: u64,
) -> Vec<u8> {
    [
        &[b'e', class_byte(class)],
        &received_ms.to_be_bytes()[..],
        &topic.0[..],
        &sequence.to_be_bytes(),
    ]
    .concat()
}

/// First key of a class that is *not* received before a time.
pub(super) fn expiry_bound(class: Class, before_ms: u64) -> Vec<u8> {
    [&[b'e', class_byte(class)], &before_ms.to_be_bytes()[..]].concat()
}

/// Topic and sequence that an expiry key names.
pub(super) fn decode_expiry_key(key: &[u8]) -> Result<(TopicId, u64), StorageError> {
    let mut reader = Reader(key);
    let _kind_class_time = reader.take::<10>()?;
    Ok((TopicId(reader.take()?), reader.number()?))
}
