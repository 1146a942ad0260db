//! Where each chain begins for whoever does not read from the first item on: nobody is expected to
//! have what he may not have (docs/decisions/0009-cuts.md).

use std::collections::{BTreeMap, BTreeSet};

use sheaf_crypto::{Dependency, DeviceId, Inner, OperationId, RunId};

use super::super::Conversation;
use super::Frontiers;
use crate::chain::Chain;
use crate::control::{Reader, Standing};
use crate::limits;

/// By chain index: the first item that names each cut as seen.
pub(super) type Begun = BTreeMap<u32, BTreeMap<OperationId, u64>>;

/// A chain as far as it concerns one device.
#[derive(Clone, Copy)]
pub(in crate::conversation) struct Concern {
    pub(in crate::conversation) name: (DeviceId, RunId),
    /// Chain index.
    pub(in crate::conversation) index: u32,
    /// The first item that the device may have.
    pub(in crate::conversation) from: u64,
    /// The last one here.
    pub(in crate::conversation) head: u64,
}

impl Frontiers {
    /// An item is the first of its chain to name some cuts. Of too many the oldest are forgotten:
    /// from there on the chain counts as one that always knew them.
    pub(super) fn begin(&mut self, chain: u32, cuts: &[OperationId], seq: u64) {
        if cuts.is_empty() {
            return;
        }
        let begun = self.begun.entry(chain).or_default();
        for cut in cuts {
            begun.entry(*cut).or_insert(seq);
        }
        while begun.len() > limits::CUTS_BEGUN_MAX {
            let oldest = begun.iter().min_by_key(|(_, seq)| **seq);
            let Some(oldest) = oldest.map(|(cut, _)| *cut) else {
                break;
            };
            begun.remove(&oldest);
        }
    }
}

impl Conversation {
    /// The cuts that an item names, and of what it names as seen that which its author need not
    /// have read: a cut that he learned of from somebody else's invite or answer. One that he has
    /// read as well he names twice.
    pub(super) fn named_cuts(&self, inner: &Inner) -> (Vec<OperationId>, BTreeSet<OperationId>) {
        let view = self.control.current();
        if view.cuts.is_empty() {
            return (Vec::new(), BTreeSet::new());
        }
        let of_cut = |seen: &Dependency| {
            let cut = OperationId(seen.item.0);
            view.cuts.contains_key(&cut).then_some(cut)
        };
        let mut times: BTreeMap<OperationId, usize> = BTreeMap::new();
        for cut in inner.dependencies.iter().filter_map(of_cut) {
            let times = times.entry(cut).or_default();
            *times = times.saturating_add(1);
        }
        let named = times.keys().copied().collect();
        let once = times.into_iter().filter(|(_, times)| *times < 2);
        (named, once.map(|(cut, _)| cut).collect())
    }

    /// What an item names as seen and its author has read.
    pub(in crate::conversation) fn read_by<'a>(
        &self,
        inner: &'a Inner,
    ) -> impl Iterator<Item = &'a Dependency> + use<'a> {
        let (_, unread) = self.named_cuts(inner);
        let seen = inner.dependencies.iter();
        seen.filter(move |seen| !unread.contains(&OperationId(seen.item.0)))
    }

    /// What was read, after the cuts that are named as new. A cut that was read is named twice: one that
    /// is named once need not have been.
    pub(in crate::conversation) fn name_read(
        &self,
        mut named: Vec<Dependency>,
        read: impl Iterator<Item = Dependency>,
    ) -> Vec<Dependency> {
        let view = self.control.current();
        for seen in read {
            if view.cuts.contains_key(&OperationId(seen.item.0)) && !named.contains(&seen) {
                named.push(seen);
            }
            named.push(seen);
        }
        named.truncate(limits::DEPENDENCIES_MAX);
        named
    }

    fn knew(&self, chain: &Chain, cut: &OperationId) -> bool {
        chain.cuts.iter().any(|known| self.control.saw(known, cut))
    }

    /// Every chain that a device may have items of, with the first one that it may have.
    pub(in crate::conversation) fn concerns(&self, device: &DeviceId) -> Vec<Concern> {
        let view = self.control.current();
        let reader = view.device(device).map(|(user, _)| (*user, *device));
        let newcomer = reader.filter(|reader| self.control.is_newcomer(reader));
        let beginnings = newcomer.map(|reader| self.control.beginnings(&reader));
        let chains = self.chains.iter();
        let concern = chains.filter_map(|(name, chain)| {
            let from = match &beginnings {
                None => chain.first,
                Some(_) if name.0 == *device => chain.first,
                Some(cuts) => self.begins(chain, cuts)?,
            };
            Some(Concern {
                name: *name,
                index: chain.index,
                from: from.max(chain.first),
                head: chain.head,
            })
        });
        concern.collect()
    }

    /// Items that a device wrote after the last one that counts of a membership that has ended, and
    /// before the first one that can be read from where it begins now. Checkpoints are no matter.
    pub(in crate::conversation) fn left_behind(&self, reader: &Reader) -> u64 {
        let beginnings = self.control.beginnings(reader);
        let view = self.control.current();
        let chains = self.chains.of_device(&reader.1);
        let left = chains.filter_map(|(run, chain)| {
            let Standing::Ended(removals) = view.standing(&reader.1, &chain.incarnation) else {
                return None;
            };
            let counts = self.control.frontier(&removals, &reader.1, run);
            let counts = counts.max(chain.vouched).max(chain.first.saturating_sub(1));
            let last = *self.frontiers.substance.get(&chain.index)?;
            let begins = self.begins(chain, &beginnings);
            let last = begins.map_or(last, |begins| last.min(begins.saturating_sub(1)));
            Some(last.saturating_sub(counts))
        });
        left.sum()
    }

    /// The first item of a chain whose author knew all cuts of one of some sets.
    fn begins(&self, chain: &Chain, beginnings: &[BTreeSet<OperationId>]) -> Option<u64> {
        let begun = self.frontiers.begun.get(&chain.index);
        let place = |cut: &OperationId| {
            let named = begun.and_then(|begun| begun.get(cut)).copied();
            named.or_else(|| self.knew(chain, cut).then_some(0))
        };
        let all = |cuts: &BTreeSet<OperationId>| {
            let mut cuts = cuts.iter();
            cuts.try_fold(0, |last, cut| place(cut).map(|place| last.max(place)))
        };
        beginnings.iter().filter_map(all).min()
    }
}
