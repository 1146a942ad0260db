//! How much room the records of a conversation take.

use std::collections::BTreeMap;

use sheaf_crypto::ConversationId;
use sheaf_replica::record::Kind;

use super::guard::guarded;
use super::{NAME_BYTES, ReadError, Store};

/// Records and their bytes as they are stored, without what the store itself adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Weight {
    /// How many.
    pub records: u64,
    /// Bytes of keys and sealed values.
    pub bytes: u64,
}

impl Weight {
    fn add(&mut self, bytes: usize) {
        self.records = self.records.saturating_add(1);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// The records of one conversation.
#[derive(Debug, Default)]
pub(crate) struct Weighed {
    pub(crate) messages: Weight,
    pub(crate) envelopes: Weight,
    pub(crate) snapshots: Weight,
    pub(crate) parked: Weight,
    pub(crate) withheld: Weight,
    /// Bytes of envelopes and snapshots by segment.
    pub(crate) segments: BTreeMap<u32, u64>,
}

impl Store {
    /// Bytes of the whole store on the disk.
    pub(crate) fn disk_bytes(&self) -> Result<u64, ReadError> {
        guarded(|| Ok(self.db.size_on_disk()?))?
    }

    /// How much room a conversation takes.
    pub(crate) fn weigh(&self, id: &ConversationId) -> Result<Weighed, ReadError> {
        guarded(|| {
            let mut segments = BTreeMap::new();
            Ok(Weighed {
                messages: self.weigh_kind(Kind::Message, id, None)?,
                envelopes: self.weigh_kind(Kind::Envelope, id, Some(&mut segments))?,
                snapshots: self.weigh_kind(Kind::Snapshot, id, Some(&mut segments))?,
                parked: self.weigh_kind(Kind::Parked, id, None)?,
                withheld: self.weigh_kind(Kind::Withheld, id, None)?,
                segments,
            })
        })?
    }

    fn weigh_kind(
        &self,
        kind: Kind,
        id: &ConversationId,
        mut segments: Option<&mut BTreeMap<u32, u64>>,
    ) -> Result<Weight, ReadError> {
        let mut weight = Weight::default();
        for pair in self.db.scan_prefix(self.prefix(kind, &id.0)) {
            let (key, value) = pair?;
            let mut bytes = key.len().saturating_add(value.len());
            if let Some((1, count)) = value.split_first() {
                bytes = bytes.saturating_add(self.part_bytes(&key, count)?);
            }
            weight.add(bytes);
            let order = key.get(NAME_BYTES..).unwrap_or_default();
            if let (Some(segments), Some(segment)) = (&mut segments, order.first_chunk()) {
                let known = segments.entry(u32::from_be_bytes(*segment)).or_default();
                *known = known.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
            }
        }
        Ok(weight)
    }

    fn part_bytes(&self, key: &[u8], count: &[u8]) -> Result<usize, ReadError> {
        let count = count.first_chunk().map_or(0, |c| u32::from_be_bytes(*c));
        let mut bytes = 0_usize;
        for index in 0..count {
            let part = self.db.get(self.part_key(key, index))?;
            // What is damaged is weighed as far as it goes.
            let Some(part) = part else { break };
            bytes = bytes.saturating_add(part.len());
        }
        Ok(bytes)
    }
}
