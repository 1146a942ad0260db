//! How far a forked device is vouched for: by others, and by what of its own counts and stands.
//!
//! What others name as seen stays named. What a device wrote itself may fall with its side, and was seen
//! to count by some before it fell and by others never: it vouches only as judged, so that all devices
//! come to the same.

use std::collections::BTreeMap;

use sheaf_crypto::{DeviceId, Inner, Kind as Purpose, RunId};

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

    /// `true` if more is vouched for.
    fn take(&mut self, inner: &Inner) -> bool {
        let mut more = false;
        let before = inner.seq.saturating_sub(1);
        if inner.kind == Purpose::Content && before > self.before {
            self.before = before;
            more = true;
        }
        let own = inner.dependencies.iter();
        for seen in own.filter(|seen| seen.device == inner.device && seen.run != inner.run) {
            let named = self.named.entry(seen.run).or_default();
            more |= *named < seen.seq;
            *named = seen.seq.max(*named);
        }
        more
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
            if !self.chains.has_forked(&inner.device) && !self.is_withheld(inner) {
                for seen in &inner.dependencies {
                    if self.chains.has_forked(&seen.device)
                        && self.chains.vouch(&seen.device, &seen.run, seen.seq)
                    {
                        self.write_chain(seen.device, seen.run, context);
                    }
                }
            }
        }
        self.forks.itself.clear();
        let own = kept.iter().filter(|envelope| {
            self.chains.has_forked(&envelope.inner.device)
                && !self.forks.aside.contains(&envelope.item)
        });
        let own: Vec<&Inner> = own.map(|envelope| &envelope.inner).collect();
        // What counts may make more of it count.
        let mut more = true;
        while more {
            more = false;
            for inner in &own {
                let Inner { device, run, .. } = inner;
                if !self.stands_back(device, run, inner.seq, &inner.incarnation) {
                    let itself = self.forks.itself.entry(*device).or_default();
                    more |= itself.take(inner);
                }
            }
        }
    }
}
