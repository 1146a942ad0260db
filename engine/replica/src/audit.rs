//! The audit log of this device: what happened to keys, members and devices, and who misbehaved.
//!
//! Entries are only ever added. Each names the hash of the one before it, so that one that is
//! changed or missing shows. The log never leaves the device, and goes back a bounded way: with
//! every entry beyond [`AUDIT_ENTRIES_MAX`](crate::limits::AUDIT_ENTRIES_MAX) the oldest one goes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use sheaf_crypto::ConversationId;

use crate::limits;
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AuditHead {
    /// Number of the entry to come.
    pub next: u64,
    /// Hash of the last entry; all zero before the first.
    pub hash: [u8; 32],
}

impl AuditHead {
    /// Decodes the value of a [`Kind::AuditHead`] record.
    ///
    /// # Errors
    /// [`RecordError`] if the bytes are not such a value.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        decode(Kind::AuditHead, bytes)
    }
}

/// Why a log is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BrokenAudit {
    /// An entry was changed, or the one before it is missing.
    #[error("the chain of the audit log is broken at entry {number}")]
    Entry {
        /// Its place.
        number: u64,
    },
    /// The log ends before the entry that was written last.
    #[error("the audit log ends before entry {number}, which was written")]
    End {
        /// The place of the first that is missing.
        number: u64,
    },
}

/// Goes over a log entry by entry.
#[derive(Debug)]
pub struct AuditVerifier {
    head: AuditHead,
    next: u64,
    /// Hash of the entry before; unknown where the oldest entries have gone.
    previous: Option<[u8; 32]>,
}

impl AuditVerifier {
    /// Begins where a log with this head begins.
    #[must_use]
    pub fn new(head: AuditHead) -> Self {
        let first = head.next.saturating_sub(limits::AUDIT_ENTRIES_MAX);
        Self {
            head,
            next: first,
            previous: (first == 0).then_some([0; 32]),
        }
    }

    /// Takes the next entry.
    ///
    /// # Errors
    /// [`BrokenAudit::Entry`] if it does not follow the one before it.
    pub fn entry(&mut self, entry: &AuditEntry) -> Result<(), BrokenAudit> {
        let previous = self.previous.unwrap_or(entry.previous);
        if entry.number != self.next || !entry.follows(&previous) {
            return Err(BrokenAudit::Entry { number: self.next });
        }
        self.next = entry.number.saturating_add(1);
        self.previous = Some(entry.hash);
        Ok(())
    }

    /// Ends the log.
    ///
    /// # Errors
    /// [`BrokenAudit::End`] if entries are missing at the end.
    pub fn end(self) -> Result<(), BrokenAudit> {
        let hash = self.previous.unwrap_or_default();
        if self.next != self.head.next || (self.head.next > 0 && hash != self.head.hash) {
            return Err(BrokenAudit::End { number: self.next });
        }
        Ok(())
    }
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

    pub(crate) fn head(&self) -> AuditHead {
        self.head
    }

    /// Adds an entry about somebody's doing that may come again and again; gives its writes. A flood
    /// of one kind by one offender is thinned out.
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
        self.append(time, what, who, conversation)
    }

    /// Adds an entry; gives its writes.
    pub(crate) fn append(
        &mut self,
        time: Timestamp,
        what: String,
        who: String,
        conversation: Option<ConversationId>,
    ) -> Vec<Write> {
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
        let mut writes = vec![
            Write::put(Kind::Audit, &[], &order, &entry),
            Write::put(Kind::AuditHead, &[], &[], &self.head),
        ];
        if let Some(oldest) = entry.number.checked_sub(limits::AUDIT_ENTRIES_MAX) {
            writes.push(Write::delete(Kind::Audit, &[], &oldest.to_be_bytes()));
        }
        writes
    }
}

#[cfg(test)]
mod tests;
