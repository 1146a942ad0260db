//! How far a forked device is vouched for: by others, and by what of its own counts and stands.
//!
//! What others name as seen stays named. What a device wrote itself may fall with its side, and was seen
//! to count by some before it fell and by others never: it vouches only as judged, so that all devices
//! come to the same.

use std::collections::{BTreeMap, BTreeSet};

use sheaf_crypto::{Dependency, DeviceId, Inner, Kind as Purpose, RunId};

use super::{Conversation, Kept};
use crate::context::Context;

/// What the items of a device that count vouch for of its own.
#[derive(Debug, Default)]
pub(super) struct Itself {
    /// In every run: what comes before the newest content.
    before: u64,
    /// In other runs: what is named as seen.
    named: BTreeMap<RunId, u64>,
}

impl Itself {
    pub(super) fn upto(&self, run: &RunId) -> u64 {
        let named = self.named.get(run).copied().unwrap_or(0);
        named.max(self.before)
    }

    fn take(&mut self, inner: &Inner) {
        if inner.kind == Purpose::Content {
            self.before = self.before.max(inner.seq.saturating_sub(1));
        }
        for seen in of_itself(inner) {
            let named = self.named.entry(seen.run).or_default();
            *named = seen.seq.max(*named);
        }
    }
}

/// What an item names as seen of other runs of its device.
fn of_itself(inner: &Inner) -> impl Iterator<Item = &Dependency> {
    let seen = inner.dependencies.iter();
    seen.filter(|seen| seen.device == inner.device && seen.run != inner.run)
}

/// Items of a device that do not count yet: by place, and by run and place.
#[derive(Default)]
struct Rest<'a> {
    by_place: BTreeMap<(u64, usize), &'a Inner>,
    by_run: BTreeMap<RunId, BTreeSet<(u64, usize)>>,
}

impl<'a> Rest<'a> {
    fn put(&mut self, number: usize, inner: &'a Inner) {
        let place = (inner.seq, number);
        self.by_place.insert(place, inner);
        self.by_run.entry(inner.run).or_default().insert(place);
    }

    /// The first item up to a place: of one run, or of any.
    fn take(&mut self, run: Option<&RunId>, upto: u64) -> Option<&'a Inner> {
        let first = match run {
            Some(run) => self.by_run.get(run)?.first().copied(),
            None => self.by_place.keys().next().copied(),
        };
        let place = first.filter(|(seq, _)| *seq <= upto)?;
        let inner = self.by_place.remove(&place)?;
        if let Some(of_run) = self.by_run.get_mut(&inner.run) {
            of_run.remove(&place);
        }
        Some(inner)
    }
}

impl Conversation {
    /// A device is seen to fork: what was vouched for is counted anew when it is judged.
    pub(super) fn count_vouched_anew(&mut self, device: &DeviceId, context: &mut Context<'_>) {
        if !self.chains.has_forked(device) {
            for run in self.chains.forget_vouched(device) {
                self.write_chain(*device, run, context);
            }
        }
    }

    /// How far forked devices are vouched for, from what was read.
    pub(super) fn count_vouched(&mut self, kept: &[Kept], context: &mut Context<'_>) {
        for Kept { inner, .. } in kept {
            let mut named = inner.dependencies.iter();
            let names = named.any(|seen| self.chains.has_forked(&seen.device));
            if !names || self.chains.has_forked(&inner.device) || self.is_withheld(inner) {
                continue;
            }
            for seen in &inner.dependencies {
                if self.chains.has_forked(&seen.device)
                    && self.chains.vouch(&seen.device, &seen.run, seen.seq)
                {
                    self.write_chain(seen.device, seen.run, context);
                }
            }
        }
        self.forks.itself.clear();
        let forked: Vec<DeviceId> = self.chains.forked().copied().collect();
        for device in forked {
            let itself = self.count_itself(&device, kept);
            self.forks.itself.insert(device, itself);
        }
    }

    /// What counts may make more of it count: each item is looked at once for it.
    fn count_itself(&self, device: &DeviceId, kept: &[Kept]) -> Itself {
        let (mut counting, mut rest) = (Vec::new(), Rest::default());
        let own = kept.iter().filter(|kept| kept.inner.device == *device);
        let own = own.filter(|kept| !self.forks.aside.contains(&kept.item));
        for (number, Kept { inner, .. }) in own.enumerate() {
            if self.stands_back(device, &inner.run, inner.seq, &inner.incarnation) {
                rest.put(number, inner);
            } else {
                counting.push(inner);
            }
        }
        let mut itself = Itself::default();
        while let Some(inner) = counting.pop() {
            itself.take(inner);
            while let Some(more) = rest.take(None, itself.before) {
                counting.push(more);
            }
            for seen in of_itself(inner) {
                while let Some(more) = rest.take(Some(&seen.run), itself.upto(&seen.run)) {
                    counting.push(more);
                }
            }
        }
        itself
    }
}
