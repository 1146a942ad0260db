//! Going over a whole store: every record is opened and decoded.

use std::collections::{BTreeMap, BTreeSet};

use sheaf_crypto::ConversationId;
use sheaf_replica::DamagedRecord;
use sheaf_replica::record::{self, KINDS, Kind};

use super::erase::ErasableReport;
use super::guard::guarded;
use super::{PART, ReadError, Store, is_bookkeeping};

/// What a store holds, and what of it is damaged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CheckReport {
    /// One line for every kind that occurs.
    pub kinds: Vec<KindReport>,
    /// Rows of no kind that this version knows.
    pub unknown: u64,
    /// How many of the damaged records can be derived again or fetched from other devices.
    pub replaceable: u64,
    /// Records whose secrets are erased one day.
    pub erasable: ErasableReport,
    /// Every record opens, and still the whole makes no sense.
    pub contradiction: Option<String>,
}

/// The records of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct KindReport {
    /// Its word, as docs/STORAGE.md lists it.
    pub kind: &'static str,
    /// How many there are.
    pub records: u64,
    /// How many of them do not open or do not decode.
    pub damaged: u64,
}

/// Whether a damaged record of a kind can be derived again, or fetched from other devices.
pub(super) fn is_replaceable(kind: Kind) -> bool {
    matches!(kind, Kind::Envelope | Kind::Snapshot | Kind::Message)
}

impl CheckReport {
    /// Something is damaged, and all of it can be derived again or fetched.
    #[must_use]
    pub fn is_replaceable(&self) -> bool {
        self.replaceable > 0 && self.replaceable == self.damaged() && self.contradiction.is_none()
    }

    /// Nothing is damaged.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damaged() == 0 && self.contradiction.is_none()
    }

    /// All records.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.records).sum()
    }

    /// Damaged records, unknown rows included.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        let damaged: u64 = self.kinds.iter().map(|kind| kind.damaged).sum();
        damaged.saturating_add(self.unknown)
    }
}

impl Store {
    /// Opens and decodes every record.
    pub(crate) fn check(&self) -> Result<CheckReport, ReadError> {
        guarded(|| self.check_all())?
    }

    /// Damaged records of some conversations that can be derived again or fetched.
    pub(crate) fn damaged(&self, ids: &[ConversationId]) -> Result<Vec<DamagedRecord>, ReadError> {
        guarded(|| self.find_damaged(ids))?
    }

    fn find_damaged(&self, ids: &[ConversationId]) -> Result<Vec<DamagedRecord>, ReadError> {
        let ring = self.ring();
        let mut damaged = Vec::new();
        for id in ids {
            for kind in KINDS.into_iter().filter(|kind| is_replaceable(*kind)) {
                for pair in self.db.scan_prefix(self.prefix(kind, &id.0)) {
                    let row = self.row_or_gap(&ring, kind, pair?)?;
                    if record::check(&row).is_err() {
                        damaged.push(DamagedRecord {
                            conversation: *id,
                            kind,
                            order: row.order,
                        });
                    }
                }
            }
        }
        Ok(damaged)
    }

    fn check_all(&self) -> Result<CheckReport, ReadError> {
        let mut found: BTreeMap<Kind, (u64, u64)> = BTreeMap::new();
        let (mut unknown, mut replaceable) = (0_u64, 0_u64);
        let ring = self.ring();
        for pair in self.db.iter() {
            let (key, value) = pair?;
            if is_bookkeeping(&key) || key.first() == Some(&PART) {
                continue;
            }
            let Some(kind) = key.first().and_then(|number| Kind::of(*number)) else {
                unknown = unknown.saturating_add(1);
                continue;
            };
            let good = match self.row(&ring, kind, (key, value)) {
                Ok(row) => record::check(&row).is_ok(),
                Err(ReadError::Damaged) => false,
                Err(other) => return Err(other),
            };
            if !good && is_replaceable(kind) {
                replaceable = replaceable.saturating_add(1);
            }
            let (records, damaged) = found.entry(kind).or_default();
            *records = records.saturating_add(1);
            *damaged = damaged.saturating_add(u64::from(!good));
        }
        let known: BTreeSet<Kind> = found.keys().copied().collect();
        let kinds = KINDS.into_iter().filter(|kind| known.contains(kind));
        let kinds = kinds.map(|kind| {
            let (records, damaged) = found.get(&kind).copied().unwrap_or_default();
            KindReport {
                kind: kind.name(),
                records,
                damaged,
            }
        });
        Ok(CheckReport {
            kinds: kinds.collect(),
            unknown,
            replaceable,
            erasable: self.count_erasable(&ring)?,
            contradiction: None,
        })
    }
}
