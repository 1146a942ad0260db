//! The other side of a fork that no relay shows: others have it, and name it.

use std::collections::{BTreeMap, BTreeSet};

use sheaf_crypto::{Dependency, DeviceId, RunId};

use super::super::Conversation;
use super::super::parked::Need;
use crate::limits;

impl Conversation {
    /// Content builds on changes that are not here, and its author saw other items than those that are
    /// known here: they are asked for.
    pub(in crate::conversation) fn want_others(&mut self, seen: &[Dependency]) {
        for seen in seen.iter().filter(|seen| self.chains.is_another(seen)) {
            if self.exchange.wanted.len() >= limits::EXCHANGES_MAX {
                return;
            }
            let wanted = &mut self.exchange.wanted;
            let seq = wanted.entry((seen.device, seen.run)).or_insert(seen.seq);
            *seq = seen.seq.min(*seq);
        }
    }

    /// An item came beside the branch of its chain that is followed here.
    pub(in crate::conversation) fn other_came(&mut self, device: DeviceId, run: RunId) {
        self.exchange.wanted.remove(&(device, run));
    }

    /// Whether a device was not asked yet because of these segments, since the start or since its
    /// documents were the same.
    pub(in crate::conversation) fn is_new_difference(
        &mut self,
        device: DeviceId,
        segments: &BTreeSet<u32>,
    ) -> bool {
        let last = self.exchange.differing.insert(device, segments.clone());
        last.as_ref() != Some(segments)
    }

    /// What is wanted so, in words.
    pub(in crate::conversation) fn wanted(&self) -> impl Iterator<Item = String> {
        let wanted = self.exchange.wanted.iter();
        wanted.map(|((device, _), seq)| format!("another item {seq} of device {device}"))
    }

    /// Chains of which an item is waited for at a place where another one is known here, and the place
    /// before it: the other side of a fork is not known to be one before it is here.
    pub(super) fn agreed(&self) -> BTreeMap<(DeviceId, RunId), u64> {
        let mut agreed = BTreeMap::new();
        let mut note = |name, seq: u64| {
            let upto = agreed.entry(name).or_insert(u64::MAX);
            *upto = seq.saturating_sub(1).min(*upto);
        };
        for (name, seq) in &self.exchange.wanted {
            note(*name, *seq);
        }
        for waiting in self.waiting() {
            let Need::Chain(device, seq) = &waiting.need else {
                continue;
            };
            let before = seq.saturating_sub(1);
            let runs = self.chains.of_device(device);
            let reach = runs.filter(|(_, c)| c.first <= before && before <= c.head);
            for (run, _) in reach {
                note((*device, *run), before);
            }
        }
        agreed
    }
}
