//! The audit log of this device: what happened to keys, members and devices, and who misbehaved.
//!
//! Entries are only ever added. Each names the hash of the one before it, so that one that is
//! changed or missing shows. The log never leaves the device.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use sheaf_crypto::ConversationId;

use crate::record::{Kind, RecordError, Write, decode};
use crate::time::Timestamp;

/// Entries about one offender and act that are written in full; of more, every power of two is.
const REPEATS_WRITTEN: u64 = 16;
/// Offenders and acts that are counted at once; beyond it the counters start anew.
const COUNTERS_MAX: usize = 4_096;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its place; the first is 0.
    pub number: u64,
    /// When, by this device's clock.
    pub time: Timestamp,
    /// What happened, in words.
    pub what: String,
    /// Who did it, as far as it is proved.
    pub who: String,
    /// Where.
    pub conversation: Option<ConversationId>,
    /// Hash of the entry before; all zero for the first.
    pub previous: [u8; 32],
    /// SHA-256 over everything above.
    pub hash: [u8; 32],
}

impl AuditEntry {
    /// Decodes the value of a [`Kind::Audit`] record.
    ///
    /// # Errors
    /// [`RecordError`] if the bytes are not such a value.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        decode(Kind::Audit, bytes)
    }

    /// Whether the hash is that of the entry, and `previous` that of the entry before.
    #[must_use]
    pub fn follows(&self, previous: &[u8; 32]) -> bool {
        self.previous == *previous && self.hash == self.digest()
    }

    fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"sheaf1/audit");
        hash.update(self.previous);
        hash.update(self.number.to_be_bytes());
        hash.update(self.time.0.to_be_bytes());
        for text in [&self.what, &self.who] {
            hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(text.as_bytes());
        }
        hash.update(self.conversation.map_or([0; 32], |id| id.0));
        hash.finalize().into()
    }
}

/// Where the log ends.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct AuditHead {
    pub(crate) next: u64,
    pub(crate) hash: [u8; 32],
}

/// Writes the log.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    head: AuditHead,
    counts: BTreeMap<(String, String), u64>,
}

impl Audit {
    pub(crate) fn restore(&mut self, head: AuditHead) {
        self.head = head;
    }

    /// Adds an entry; gives its writes. A flood of one kind by one offender is thinned out.
    pub(crate) fn add(
        &mut self,
        time: Timestamp,
        what: String,
        who: String,
        conversation: Option<ConversationId>,
    ) -> Vec<Write> {
        if self.counts.len() >= COUNTERS_MAX {
            self.counts.clear();
        }
        let count = self.counts.entry((who.clone(), what.clone())).or_default();
        *count = count.saturating_add(1);
        if *count > REPEATS_WRITTEN && !count.is_power_of_two() {
            return Vec::new();
        }
        let what = match *count {
            few if few <= REPEATS_WRITTEN => what,
            many => format!("{what} ({many} times since the start)"),
        };
        let mut entry = AuditEntry {
            number: self.head.next,
            time,
            what,
            who,
            conversation,
            previous: self.head.hash,
            hash: [0; 32],
        };
        entry.hash = entry.digest();
        self.head = AuditHead {
            next: entry.number.saturating_add(1),
            hash: entry.hash,
        };
        let order = entry.number.to_be_bytes();
        vec![
            Write::put(Kind::Audit, &[], &order, &entry),
            Write::put(Kind::AuditHead, &[], &[], &self.head),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(audit: &mut Audit, count: u64) -> Vec<AuditEntry> {
        let mut written = Vec::new();
        for number in 0..count {
            let writes = audit.add(
                Timestamp(number),
                "record does not open".to_owned(),
                "topic".to_owned(),
                None,
            );
            let row = writes.first().and_then(|write| write.value.clone());
            written.extend(row.map(|row| AuditEntry::decode(&row).unwrap()));
        }
        written
    }

    #[test]
    fn entries_are_chained_and_a_change_shows() {
        let written = entries(&mut Audit::default(), 5);
        let mut previous = [0; 32];
        for entry in &written {
            assert!(entry.follows(&previous));
            previous = entry.hash;
        }
        let mut changed = written[2].clone();
        changed.who = "nobody".to_owned();
        assert!(!changed.follows(&written[1].hash));
        assert!(!written[3].follows(&written[1].hash));
    }

    #[test]
    fn a_flood_is_thinned_out_and_counted() {
        let written = entries(&mut Audit::default(), 1_000);
        assert_eq!(written.len(), 16 + 5);
        assert!(written.last().unwrap().what.contains("512 times"));
    }
}
