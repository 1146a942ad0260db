//! Which epoch a sender may use.
//!
//! An epoch is a shared secret. Whoever holds the secret of one opens those of the epochs that its
//! chain reaches. A sender uses an epoch only if its creating operation follows every removal and
//! freeze that has effect in the sender's view, and nobody outside the view is known to hold it
//! (research/keys.md 2.5). Receivers ask the same question of the view that the sender declares.

use std::collections::{BTreeMap, BTreeSet};

use fixedbitset::FixedBitSet;

use crate::operation::Key;

/// A secret handed to one device after the epoch was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handed<D, O> {
    /// The operation that handed it on.
    pub operation: O,
    /// Who got it.
    pub device: D,
}

/// An epoch, as its operations tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch<E, D, O> {
    /// The epoch.
    pub id: E,
    /// The operation that made it.
    pub operation: O,
    /// Devices to which that operation seals the secret, its author among them.
    pub sealed: BTreeSet<D>,
    /// Epochs whose secrets the chain of this one opens.
    pub parents: Vec<E>,
    /// When it was made, in milliseconds since 1970.
    pub created_at_ms: u64,
}

/// Why an epoch may not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable<D, O> {
    /// The view does not hold the epoch.
    #[error("the epoch is not known here")]
    Unknown,
    /// The epoch was made by somebody who did not know of a removal or a freeze.
    #[error("the epoch does not follow the removal {0:?}")]
    Before(O),
    /// Somebody outside may hold the secret.
    #[error("device {0:?} holds the epoch and is not a member device")]
    HeldOutside(D),
    /// History was cut after it.
    #[error("the epoch was closed by a cut")]
    Cut,
    /// Older than [`EpochLimits::age_ms`].
    #[error("the epoch is too old")]
    TooOld,
    /// Used for [`EpochLimits::envelopes`] envelopes.
    #[error("the epoch has as many envelopes as it may")]
    TooManyEnvelopes,
}

/// What bounds an epoch's life (research/keys.md 2.13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochLimits {
    /// The age at which it ends, in milliseconds.
    pub age_ms: u64,
    /// The envelopes after which it ends.
    pub envelopes: u64,
}

impl Default for EpochLimits {
    fn default() -> Self {
        Self {
            age_ms: 7 * 24 * 60 * 60 * 1000,
            envelopes: 5_000,
        }
    }
}

/// A place in the history of a conversation, as far as epochs depend on it.
#[derive(Debug, Clone)]
pub struct Place<'a, E, D, O, K, F> {
    /// Live devices of the members.
    pub devices: &'a BTreeSet<D>,
    /// Effective removals and open freezes.
    pub endings: &'a [O],
    /// Epochs that a cut closed.
    pub cut: &'a BTreeSet<E>,
    /// Envelopes seen under each epoch; none if it is absent.
    pub envelopes: &'a BTreeMap<E, u64>,
    /// The time there, in milliseconds since 1970.
    pub now_ms: u64,
    /// How long an epoch may live.
    pub limits: EpochLimits,
    /// Whether an operation is part of this place's history.
    pub knows: K,
    /// Whether the first operation has the second in its past.
    pub follows: F,
}

/// The epochs of a conversation.
///
/// One table serves every place: what a place does not know is left out by its `knows`.
#[derive(Debug, Clone)]
pub struct Epochs<E, D, O> {
    entries: Vec<Entry<E, D, O>>,
    indices: BTreeMap<E, usize>,
}

#[derive(Debug, Clone)]
struct Entry<E, D, O> {
    epoch: Epoch<E, D, O>,
    handed: Vec<Handed<D, O>>,
    /// Epochs that this one's secret opens, itself among them.
    below: FixedBitSet,
    /// How many they are.
    length: usize,
}

impl<E: Key, D: Key, O: Key> Default for Epochs<E, D, O> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            indices: BTreeMap::new(),
        }
    }
}

impl<E: Key, D: Key, O: Key> Epochs<E, D, O> {
    /// No epochs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an epoch after those that its chain opens; a known one is left as it is. Gives false,
    /// and adds nothing, if a parent is missing.
    #[must_use = "an epoch without its parents is not in the table"]
    pub fn insert(&mut self, epoch: Epoch<E, D, O>) -> bool {
        if self.indices.contains_key(&epoch.id) {
            return true;
        }
        let at = self.entries.len();
        let mut below = FixedBitSet::with_capacity(at + 1);
        below.insert(at);
        for parent in &epoch.parents {
            let Some(entry) = self.entry(parent) else {
                return false;
            };
            below.union_with(&entry.below);
        }
        self.indices.insert(epoch.id, at);
        self.entries.push(Entry {
            length: below.count_ones(..),
            epoch,
            handed: Vec::new(),
            below,
        });
        true
    }

    /// Notes that an operation gave the secret to one more device. Gives false if the epoch is
    /// unknown.
    #[must_use = "what an unknown epoch is handed on to is not noted"]
    pub fn hand(&mut self, epoch: &E, handed: Handed<D, O>) -> bool {
        let entry = self.indices.get(epoch);
        let Some(entry) = entry.and_then(|at| self.entries.get_mut(*at)) else {
            return false;
        };
        if !entry.handed.contains(&handed) {
            entry.handed.push(handed);
        }
        true
    }

    /// The epoch as it was inserted.
    pub fn get(&self, epoch: &E) -> Option<&Epoch<E, D, O>> {
        Some(&self.entry(epoch)?.epoch)
    }

    /// How many secrets the epoch's secret opens, its own among them; zero for an unknown epoch.
    pub fn length(&self, epoch: &E) -> usize {
        self.entry(epoch).map_or(0, |entry| entry.length)
    }

    /// Devices that may hold the epoch's secret, as far as the place tells: to whom it or an epoch
    /// whose chain reaches it was sealed or handed.
    pub fn holders<K: Fn(&O) -> bool, F>(
        &self,
        epoch: &E,
        place: &Place<'_, E, D, O, K, F>,
    ) -> BTreeSet<D> {
        let Some(at) = self.indices.get(epoch) else {
            return BTreeSet::new();
        };
        let mut holders = BTreeSet::new();
        for entry in self.entries.iter().skip(*at) {
            if !entry.below.contains(*at) || !(place.knows)(&entry.epoch.operation) {
                continue;
            }
            holders.extend(&entry.epoch.sealed);
            let handed = entry.handed.iter();
            let known = handed.filter(|handed| (place.knows)(&handed.operation));
            holders.extend(known.map(|handed| handed.device));
        }
        holders
    }

    /// Member devices that do not hold the epoch; they get it before it is used.
    pub fn missing_holders<K: Fn(&O) -> bool, F>(
        &self,
        epoch: &E,
        place: &Place<'_, E, D, O, K, F>,
    ) -> BTreeSet<D> {
        let holders = self.holders(epoch, place);
        place.devices.difference(&holders).copied().collect()
    }

    /// Whether an envelope written at a place may be sealed under the epoch.
    ///
    /// # Errors
    /// The first of the rules of research/keys.md 2.5 that it breaks.
    pub fn usable<K, F>(
        &self,
        epoch: &E,
        place: &Place<'_, E, D, O, K, F>,
    ) -> Result<(), Unusable<D, O>>
    where
        K: Fn(&O) -> bool,
        F: Fn(&O, &O) -> bool,
    {
        let entry = self.entry(epoch).ok_or(Unusable::Unknown)?;
        if !(place.knows)(&entry.epoch.operation) {
            return Err(Unusable::Unknown);
        }
        judge_life(&entry.epoch, place)?;
        let made_by = &entry.epoch.operation;
        let mut endings = place.endings.iter();
        if let Some(ending) = endings.find(|ending| !(place.follows)(made_by, ending)) {
            return Err(Unusable::Before(*ending));
        }
        let holders = self.holders(epoch, place);
        match holders.difference(place.devices).next() {
            Some(outside) => Err(Unusable::HeldOutside(*outside)),
            None => Ok(()),
        }
    }

    /// The epoch under which `sender` writes: of the usable ones that he holds the one that opens
    /// most, then the one with the largest identifier. `None`: make a new one first.
    pub fn choose<K, F>(&self, sender: &D, place: &Place<'_, E, D, O, K, F>) -> Option<E>
    where
        K: Fn(&O) -> bool,
        F: Fn(&O, &O) -> bool,
    {
        let mut candidates: Vec<(usize, E)> = self
            .entries
            .iter()
            .map(|entry| (entry.length, entry.epoch.id))
            .collect();
        candidates.sort_unstable();
        let mut newest = candidates.iter().rev().map(|(_, epoch)| *epoch);
        newest.find(|epoch| {
            self.usable(epoch, place).is_ok() && self.holders(epoch, place).contains(sender)
        })
    }

    fn entry(&self, epoch: &E) -> Option<&Entry<E, D, O>> {
        self.entries.get(*self.indices.get(epoch)?)
    }
}

fn judge_life<E: Key, D: Key, O: Key, K, F>(
    epoch: &Epoch<E, D, O>,
    place: &Place<'_, E, D, O, K, F>,
) -> Result<(), Unusable<D, O>> {
    if place.cut.contains(&epoch.id) {
        return Err(Unusable::Cut);
    }
    if place.now_ms.saturating_sub(epoch.created_at_ms) > place.limits.age_ms {
        return Err(Unusable::TooOld);
    }
    if place.envelopes.get(&epoch.id).copied().unwrap_or(0) >= place.limits.envelopes {
        return Err(Unusable::TooManyEnvelopes);
    }
    Ok(())
}
