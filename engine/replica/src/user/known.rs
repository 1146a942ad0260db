//! The operations taken so far, by dense index, with the past of each.
//!
//! An index is given when an operation is taken, after everything in its past. It is never compared
//! for anything that shows outside: it differs from replica to replica.

use std::collections::BTreeMap;

use fixedbitset::FixedBitSet;
use sheaf_crypto::{
    DeviceCertificate, DeviceId, OperationId, RecoveryKeys, UserBody, UserGenesis, UserOperation,
};

use super::Subject;

/// One operation that was taken.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) id: OperationId,
    pub(super) author: Subject,
    /// The author's incarnation as the resolver knows it.
    pub(super) incarnation: OperationId,
    pub(super) operation: UserOperation,
    /// The operations below, the genesis left out.
    pub(super) past: FixedBitSet,
}

/// A genesis and the operations above it.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) root: OperationId,
    genesis: UserGenesis,
    entries: Vec<Entry>,
    index: BTreeMap<OperationId, usize>,
    by_author: BTreeMap<Subject, Vec<usize>>,
    /// Grants of each device; the genesis is the first device's first and not among them.
    grants: BTreeMap<DeviceId, Vec<usize>>,
    pub(super) freezes: Vec<usize>,
    /// The thaws that take a freeze back, by the freeze.
    thaws: BTreeMap<usize, Vec<usize>>,
    pub(super) handovers: Vec<usize>,
    pub(super) declines: Vec<usize>,
    pub(super) renames: Vec<usize>,
    pub(super) rotations: Vec<usize>,
}

impl Known {
    pub(super) fn new(root: OperationId, genesis: UserGenesis) -> Self {
        Self {
            root,
            grants: BTreeMap::from([(genesis.device.device, Vec::new())]),
            genesis,
            entries: Vec::new(),
            index: BTreeMap::new(),
            by_author: BTreeMap::new(),
            freezes: Vec::new(),
            thaws: BTreeMap::new(),
            handovers: Vec::new(),
            declines: Vec::new(),
            renames: Vec::new(),
            rotations: Vec::new(),
        }
    }

    /// What the resolver calls the recovery key's grant. On paper it bears the name of the genesis
    /// as the first device's does; the resolver needs two names for two grants.
    pub(super) fn recovery_incarnation(&self) -> OperationId {
        OperationId(self.root.0.map(|byte| !byte))
    }

    /// Takes an allowed operation. `thawed` are the freezes that it takes back.
    pub(super) fn push(&mut self, entry: Entry, thawed: &[usize]) {
        let at = self.entries.len();
        match &entry.operation.body {
            UserBody::AddDevice { certificate, .. } => {
                self.grants.entry(certificate.device).or_default().push(at);
            }
            UserBody::Freeze { .. } => self.freezes.push(at),
            UserBody::Handover { .. } => self.handovers.push(at),
            UserBody::Decline => self.declines.push(at),
            UserBody::RenameDevice { .. } => self.renames.push(at),
            UserBody::RotateRecovery { .. } => self.rotations.push(at),
            UserBody::Thaw { .. } | UserBody::RevokeDevice { .. } => {}
        }
        for freeze in thawed {
            self.thaws.entry(*freeze).or_default().push(at);
        }
        self.by_author.entry(entry.author).or_default().push(at);
        self.index.insert(entry.id, at);
        self.entries.push(entry);
    }

    pub(super) fn contains(&self, id: &OperationId) -> bool {
        *id == self.root || self.index.contains_key(id)
    }

    pub(super) fn has_all(&self, ids: &[OperationId]) -> bool {
        ids.iter().all(|id| self.contains(id))
    }

    pub(super) fn at(&self, at: usize) -> Option<&Entry> {
        self.entries.get(at)
    }

    pub(super) fn index_of(&self, id: &OperationId) -> Option<usize> {
        self.index.get(id).copied()
    }

    pub(super) fn find(&self, id: &OperationId) -> Option<&Entry> {
        self.at(self.index_of(id)?)
    }

    /// Some operations and everything below them; `None` if one is unknown.
    pub(super) fn past(&self, parents: &[OperationId]) -> Option<FixedBitSet> {
        let mut past = FixedBitSet::with_capacity(self.entries.len());
        for parent in parents.iter().filter(|parent| **parent != self.root) {
            let at = self.index_of(parent)?;
            past.insert(at);
            past.union_with(&self.at(at)?.past);
        }
        Some(past)
    }

    pub(super) fn everything(&self) -> FixedBitSet {
        let mut all = FixedBitSet::with_capacity(self.entries.len());
        all.insert_range(..);
        all
    }

    /// Those of some operations that are in the past of none of them.
    pub(super) fn newest(&self, some: impl Iterator<Item = usize>) -> Vec<&Entry> {
        let some: Vec<usize> = some.collect();
        let mut below = FixedBitSet::with_capacity(self.entries.len());
        for entry in some.iter().filter_map(|at| self.at(*at)) {
            below.union_with(&entry.past);
        }
        let newest = some.iter().filter(|at| !below.contains(**at));
        newest.filter_map(|at| self.at(*at)).collect()
    }

    pub(super) fn by_author(&self, author: &Subject) -> impl Iterator<Item = usize> {
        self.by_author.get(author).into_iter().flatten().copied()
    }

    pub(super) fn thaws_of(&self, freeze: usize) -> impl Iterator<Item = usize> {
        self.thaws.get(&freeze).into_iter().flatten().copied()
    }

    /// Where a grant stands among all: operations below it, then its id. Nothing is below the
    /// genesis.
    pub(super) fn rank_of_grant(&self, incarnation: &OperationId) -> (usize, OperationId) {
        let below = self
            .find(incarnation)
            .map_or(0, |entry| entry.past.count_ones(..).saturating_add(1));
        (below, *incarnation)
    }

    /// The certificate that a grant gave.
    pub(super) fn certificate(&self, incarnation: &OperationId) -> Option<&DeviceCertificate> {
        if *incarnation == self.root {
            return Some(&self.genesis.device);
        }
        let UserBody::AddDevice { certificate, .. } = &self.find(incarnation)?.operation.body
        else {
            return None;
        };
        Some(certificate)
    }

    pub(super) fn first_device(&self) -> DeviceId {
        self.genesis.device.device
    }

    /// The keys that a rotation brought; the founding ones before the first.
    pub(super) fn recovery(&self, rotation: Option<OperationId>) -> &RecoveryKeys {
        let rotated = rotation.and_then(|id| self.find(&id));
        if let Some(UserBody::RotateRecovery { recovery, .. }) =
            rotated.map(|entry| &entry.operation.body)
        {
            return recovery;
        }
        &self.genesis.recovery
    }

    pub(super) fn was_granted(&self, device: &DeviceId) -> bool {
        self.grants.contains_key(device)
    }

    pub(super) fn granted(&self) -> impl Iterator<Item = &DeviceId> {
        self.grants.keys()
    }

    /// All grants of a device that were ever made.
    pub(super) fn grants_to(&self, device: &DeviceId) -> impl Iterator<Item = OperationId> {
        let first = (*device == self.first_device()).then_some(self.root);
        let later = self.grants.get(device).into_iter().flatten();
        let later = later.filter_map(|at| self.at(*at)).map(|entry| entry.id);
        first.into_iter().chain(later)
    }

    pub(super) fn newest_certificate(&self, device: &DeviceId) -> Option<&DeviceCertificate> {
        let newest = self
            .grants_to(device)
            .max_by_key(|id| self.rank_of_grant(id))?;
        self.certificate(&newest)
    }
}
