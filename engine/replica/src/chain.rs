//! Author chains: the items of one device and run, in their order.
//!
//! `seq` and `previous` run over content and control items alike (research/keys.md 2.3). A new run
//! starts from the last item of an earlier one (2.7).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sheaf_crypto::{Dependency, DeviceId, ItemId, OperationId, RunId};

use crate::limits;
use crate::record::ChainRecord;
use crate::time::Timestamp;

/// Items of a chain whose ids are remembered, to tell a replay from an equivocation.
const ITEMS_REMEMBERED: usize = 8_192;

/// One chain.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    /// Short name within the conversation, as the store orders chains.
    pub(crate) index: u32,
    pub(crate) first: u64,
    pub(crate) head: u64,
    pub(crate) item: ItemId,
    pub(crate) last_seen: Timestamp,
    /// Content of this device was refused: what follows is kept and not applied.
    pub(crate) quarantined: bool,
    /// The grant under which the head was written.
    pub(crate) incarnation: OperationId,
    /// The last item that another member's item names as seen.
    pub(crate) vouched: u64,
    /// The last cuts that the author of its last content knew.
    pub(crate) cuts: BTreeSet<OperationId>,
    /// Ids of the newest items, the last of them `item`.
    recent: VecDeque<ItemId>,
}

/// How an item stands to what is known of its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It is the next one.
    Next,
    /// It is known.
    Known,
    /// Something is known at its place, too old to tell whether it is the same.
    Old,
    /// Another item is known at its place.
    Conflict,
    /// It names another item before it than the one that is known.
    Broken,
    /// It begins a run after an item of another run that is too old to tell whether it is the one that is
    /// known at its place.
    Start,
    /// Something before it is missing.
    Gap,
}

/// All chains of a conversation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chains {
    chains: BTreeMap<(DeviceId, RunId), Chain>,
    next_index: u32,
    /// What was seen of chains that are not known yet.
    ahead: BTreeMap<(DeviceId, RunId), u64>,
    /// Devices in quarantine, whether or not they have a chain here.
    held: BTreeSet<DeviceId>,
    /// Items of forked chains beside the branch that is followed here.
    aside: BTreeMap<DeviceId, BTreeMap<ItemId, (RunId, u64)>>,
}

impl Chain {
    fn item_at(&self, seq: u64) -> Option<ItemId> {
        let back = usize::try_from(self.head.checked_sub(seq)?).ok()?;
        let place = self.recent.len().checked_sub(back.checked_add(1)?)?;
        self.recent.get(place).copied()
    }
}

impl Chains {
    pub(crate) fn restore(&mut self, record: &ChainRecord) {
        let chain = Chain {
            index: record.index,
            first: record.first,
            head: record.head,
            item: record.item,
            last_seen: record.last_seen,
            quarantined: record.quarantined,
            incarnation: record.incarnation,
            vouched: record.vouched,
            cuts: record.cuts.iter().copied().collect(),
            recent: VecDeque::from([record.item]),
        };
        self.next_index = self.next_index.max(record.index.saturating_add(1));
        self.chains.insert((record.device, record.run), chain);
    }

    pub(crate) fn get(&self, device: &DeviceId, run: &RunId) -> Option<&Chain> {
        self.chains.get(&(*device, *run))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&(DeviceId, RunId), &Chain)> {
        self.chains.iter()
    }

    /// Chains of one device.
    pub(crate) fn of_device(&self, device: &DeviceId) -> impl Iterator<Item = (&RunId, &Chain)> {
        let from = (*device, RunId([0; 16]));
        let to = (*device, RunId([255; 16]));
        self.chains
            .range(from..=to)
            .map(|((_, run), chain)| (run, chain))
    }

    /// Where an item stands.
    pub(crate) fn place(
        &self,
        (device, run): (&DeviceId, &RunId),
        seq: u64,
        previous: Option<&ItemId>,
        item: &ItemId,
    ) -> Place {
        if self.is_aside(device, item) {
            return Place::Known;
        }
        match self.get(device, run).filter(|chain| chain.head > 0) {
            Some(chain) if seq <= chain.head => match chain.item_at(seq) {
                Some(known) if known == *item => Place::Known,
                Some(_) => Place::Conflict,
                None => Place::Old,
            },
            Some(chain) if Some(seq) == chain.head.checked_add(1) => {
                if previous == Some(&chain.item) {
                    Place::Next
                } else {
                    Place::Broken
                }
            }
            // The branch beside the one that is followed here is the longer one.
            Some(_) if self.reach(device, run).saturating_add(1) >= seq => Place::Broken,
            Some(_) => Place::Gap,
            None => self.place_of_run(device, seq, previous),
        }
    }

    /// A run that is not known yet starts after an item of an earlier run, or at the beginning.
    fn place_of_run(&self, device: &DeviceId, seq: u64, previous: Option<&ItemId>) -> Place {
        let Some(previous) = previous else {
            return if seq == 1 { Place::Next } else { Place::Broken };
        };
        let Some(before) = seq.checked_sub(1).filter(|before| *before > 0) else {
            return Place::Broken;
        };
        if self.is_aside(device, previous) {
            return Place::Next;
        }
        let known = self.reaching(device, before);
        let known: BTreeSet<Option<ItemId>> = known.map(|chain| chain.item_at(before)).collect();
        match (known.contains(&Some(*previous)), known.contains(&None)) {
            (true, _) => Place::Next,
            (false, true) => Place::Start,
            // Two runs may have reached the same sequence: the other one may still come.
            (false, false) => Place::Gap,
        }
    }

    fn reaching(&self, device: &DeviceId, seq: u64) -> impl Iterator<Item = &Chain> {
        let chains = self.of_device(device).map(|(_, chain)| chain);
        chains.filter(move |chain| chain.first <= seq && seq <= chain.head)
    }

    /// Indices of a device's chains that have an item at a place which is too old to be remembered.
    pub(crate) fn old_at(&self, device: &DeviceId, seq: u64) -> Vec<u32> {
        let old = self.reaching(device, seq);
        let old = old.filter(|chain| chain.item_at(seq).is_none());
        old.map(|chain| chain.index).collect()
    }

    /// Takes the next item in and gives its chain.
    pub(crate) fn accept(
        &mut self,
        device: DeviceId,
        run: RunId,
        seq: u64,
        item: ItemId,
        incarnation: OperationId,
        now: Timestamp,
    ) -> &mut Chain {
        let next_index = &mut self.next_index;
        let vouched = self.ahead.remove(&(device, run)).unwrap_or(0);
        let chain = self.chains.entry((device, run)).or_insert_with(|| {
            let index = *next_index;
            *next_index = index.saturating_add(1);
            let recent = VecDeque::new();
            Chain {
                index,
                first: seq,
                head: seq,
                item,
                last_seen: now,
                quarantined: false,
                incarnation,
                vouched,
                cuts: BTreeSet::new(),
                recent,
            }
        });
        // A newcomer begins in the middle, and again in the middle after he was away.
        if chain.head.checked_add(1) != Some(seq) {
            chain.first = seq;
            chain.recent.clear();
        }
        chain.incarnation = incarnation;
        chain.head = seq;
        chain.item = item;
        chain.last_seen = now;
        chain.recent.push_back(item);
        if chain.recent.len() > ITEMS_REMEMBERED {
            chain.recent.pop_front();
        }
        chain
    }

    /// A chain is known to go from one item to another, which others say that they have.
    pub(crate) fn take_over(
        &mut self,
        (device, run): (DeviceId, RunId),
        (first, seq): (u64, u64),
        item: ItemId,
        now: Timestamp,
    ) -> u32 {
        let chain = self.accept(device, run, seq, item, OperationId::default(), now);
        chain.first = first;
        chain.vouched = chain.vouched.max(seq);
        chain.recent = VecDeque::from([item]);
        chain.index
    }

    /// A device was heard of otherwise than by an item; gives the run in which that is noted.
    pub(crate) fn heard(&mut self, device: &DeviceId, now: Timestamp) -> Option<RunId> {
        let own = self.chains.iter_mut().filter(|((d, _), _)| d == device);
        let ((_, run), chain) = own.max_by_key(|(_, chain)| chain.last_seen)?;
        chain.last_seen = now.max(chain.last_seen);
        Some(*run)
    }

    /// Forgets how far the chains of all devices but one go; their indices stay theirs. Gives them.
    pub(crate) fn empty_all_but(&mut self, own: &DeviceId) -> Vec<(DeviceId, RunId)> {
        let mut emptied = Vec::new();
        for ((device, run), chain) in &mut self.chains {
            if device != own {
                (chain.first, chain.head) = (1, 0);
                (chain.item, chain.vouched) = (ItemId([0; 32]), 0);
                chain.recent.clear();
                emptied.push((*device, *run));
            }
        }
        emptied
    }

    /// The id of an item of a chain, if it is remembered.
    pub(crate) fn item(&self, device: &DeviceId, run: &RunId, seq: u64) -> Option<ItemId> {
        self.get(device, run).and_then(|chain| chain.item_at(seq))
    }

    /// Another member has seen a chain up to this item; `false` if that was known.
    pub(crate) fn vouch(&mut self, device: &DeviceId, run: &RunId, seq: u64) -> bool {
        match self.chains.get_mut(&(*device, *run)) {
            Some(chain) if chain.vouched < seq => {
                chain.vouched = seq;
                true
            }
            Some(_) => false,
            None => {
                if self.ahead.len() < limits::CHAINS_AHEAD_MAX {
                    let seen = self.ahead.entry((*device, *run)).or_default();
                    *seen = seq.max(*seen);
                }
                false
            }
        }
    }

    /// Forgets how far a device's chains are vouched for; gives the runs concerned.
    pub(crate) fn forget_vouched(&mut self, device: &DeviceId) -> Vec<RunId> {
        self.ahead.retain(|(ahead, _), _| ahead != device);
        let mut runs = Vec::new();
        for ((author, run), chain) in &mut self.chains {
            if author == device && std::mem::take(&mut chain.vouched) > 0 {
                runs.push(*run);
            }
        }
        runs
    }

    /// The author of a chain's last content knew these cuts.
    pub(crate) fn knew(&mut self, device: &DeviceId, run: &RunId, cuts: BTreeSet<OperationId>) {
        if let Some(chain) = self.chains.get_mut(&(*device, *run)) {
            chain.cuts = cuts;
        }
    }

    /// The last cuts that a device knew where one of its chains stands; of a run that has written
    /// nothing, where it goes on from.
    pub(crate) fn cuts(&self, device: &DeviceId, run: &RunId) -> BTreeSet<OperationId> {
        let newest = || {
            let chains = self.of_device(device).map(|(_, chain)| chain);
            chains.max_by_key(|chain| chain.head)
        };
        let chain = self.get(device, run).or_else(newest);
        chain.map(|chain| chain.cuts.clone()).unwrap_or_default()
    }

    /// The last item of a chain that another member has seen.
    pub(crate) fn vouched(&self, device: &DeviceId, run: &RunId) -> u64 {
        self.get(device, run).map_or(0, |chain| chain.vouched)
    }

    /// Keeps what follows from a device from being applied.
    pub(crate) fn quarantine(&mut self, device: &DeviceId) {
        self.held.insert(*device);
        for ((author, _), chain) in &mut self.chains {
            if author == device {
                chain.quarantined = true;
            }
        }
    }

    /// Ends a device's quarantine; gives the runs concerned.
    pub(crate) fn lift(&mut self, device: &DeviceId) -> Vec<RunId> {
        self.held.remove(device);
        let mut runs = Vec::new();
        for ((author, run), chain) in &mut self.chains {
            if author == device && chain.quarantined {
                chain.quarantined = false;
                runs.push(*run);
            }
        }
        runs
    }

    pub(crate) fn is_quarantined(&self, device: &DeviceId) -> bool {
        self.held.contains(device) || self.of_device(device).any(|(_, chain)| chain.quarantined)
    }

    /// Whether everything that an item names as seen has been accepted here.
    pub(crate) fn satisfies(&self, dependency: &Dependency) -> bool {
        let (device, run) = (&dependency.device, &dependency.run);
        let followed = self.get(device, run).map_or(0, |chain| chain.head);
        followed.max(self.reach(device, run)) >= dependency.seq
    }

    /// Whether somebody names items of forked chains, or others than those that are known here.
    pub(crate) fn saw_another(&self, dependencies: &[Dependency]) -> bool {
        !self.aside.is_empty() || dependencies.iter().any(|seen| self.is_another(seen))
    }

    /// Whether somebody names another item than the ones that are known at its place.
    pub(crate) fn is_another(&self, seen: &Dependency) -> bool {
        let chain = self.get(&seen.device, &seen.run);
        let known = chain.and_then(|chain| chain.item_at(seen.seq));
        known.is_some_and(|known| known != seen.item) && !self.is_aside(&seen.device, &seen.item)
    }

    /// An item beside the branch that is followed here.
    pub(crate) fn put_aside(&mut self, device: DeviceId, run: RunId, seq: u64, item: ItemId) {
        let aside = self.aside.entry(device).or_default();
        aside.insert(item, (run, seq));
    }

    pub(crate) fn is_aside(&self, device: &DeviceId, item: &ItemId) -> bool {
        let aside = self.aside.get(device);
        aside.is_some_and(|aside| aside.contains_key(item))
    }

    /// Devices that forked a chain, as far as it was seen here.
    pub(crate) fn forked(&self) -> impl Iterator<Item = &DeviceId> {
        self.aside.keys()
    }

    pub(crate) fn has_forked(&self, device: &DeviceId) -> bool {
        self.aside.contains_key(device)
    }

    /// The highest place beside the branch that is followed here; 0 if there is none.
    fn reach(&self, device: &DeviceId, run: &RunId) -> u64 {
        let aside = self.aside.get(device).into_iter().flatten();
        let of_run = aside.filter(|(_, (known, _))| known == run);
        of_run.map(|(_, (_, seq))| *seq).max().unwrap_or(0)
    }

    /// Whether the items before a place of a device's chain are here, on whichever branch.
    pub(crate) fn reaches(&self, device: &DeviceId, seq: u64) -> bool {
        let followed = self.of_device(device).map(|(_, chain)| chain.head).max();
        let aside = self.aside.get(device).into_iter().flatten();
        let aside = aside.map(|(_, (_, seq))| *seq).max();
        followed.max(aside).unwrap_or(0).saturating_add(1) >= seq
    }

    /// The newest item of a device over all its runs: what a new run goes on from.
    pub(crate) fn newest_of(&self, device: &DeviceId) -> Option<(u64, ItemId)> {
        self.of_device(device)
            .map(|(_, chain)| (chain.head, chain.item))
            .max_by_key(|(seq, _)| *seq)
    }
}

#[cfg(test)]
mod tests;
