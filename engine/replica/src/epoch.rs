//! Epochs whose secret this device holds, and which of them it may write under.

use std::collections::BTreeMap;
use std::sync::Arc;

use sheaf_crypto::{ConversationId, DeviceId, EpochId, EpochKeys, EpochSecret};

use crate::control::View;
use crate::limits;
use crate::time::Timestamp;

/// One epoch that this device can read.
pub(crate) struct Held {
    pub(crate) keys: Arc<EpochKeys>,
    pub(crate) secret: EpochSecret,
    pub(crate) learned: Timestamp,
    /// Envelopes accepted under it.
    pub(crate) envelopes: u64,
}

/// All epochs that this device can read.
#[derive(Default)]
pub(crate) struct Epochs {
    held: BTreeMap<EpochId, Held>,
}

impl Epochs {
    pub(crate) fn learn(
        &mut self,
        conversation: &ConversationId,
        epoch: EpochId,
        secret: EpochSecret,
        learned: Timestamp,
    ) -> Arc<EpochKeys> {
        let keys = Arc::new(EpochKeys::derive(conversation, epoch, &secret));
        let held = Held {
            keys: Arc::clone(&keys),
            secret,
            learned,
            envelopes: 0,
        };
        self.held.insert(epoch, held);
        keys
    }

    pub(crate) fn get(&self, epoch: &EpochId) -> Option<&Held> {
        self.held.get(epoch)
    }

    pub(crate) fn holds(&self, epoch: &EpochId) -> bool {
        self.held.contains_key(epoch)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&EpochId, &Held)> {
        self.held.iter()
    }

    /// Counts an envelope.
    pub(crate) fn count(&mut self, epoch: &EpochId) {
        if let Some(held) = self.held.get_mut(epoch) {
            held.envelopes = held.envelopes.saturating_add(1);
        }
    }

    /// The epoch to write under (research/keys.md 2.5): held by every member device of the view
    /// and by nobody else, not too old and not used too often; of several the one with the longest
    /// chain, then the largest id. Nothing means: draw a new one first.
    pub(crate) fn usable(&self, view: &View, now: Timestamp) -> Option<EpochId> {
        let live: Vec<DeviceId> = view.devices().map(|(device, _)| *device).collect();
        self.held
            .iter()
            .filter_map(|(epoch, held)| {
                let facts = view.epochs.get(epoch)?;
                let fresh = now.since_ms(held.learned) <= limits::EPOCH_AGE_MS_MAX
                    && held.envelopes < limits::EPOCH_ENVELOPES_MAX;
                let inside = holders(view, epoch)
                    .iter()
                    .all(|device| live.contains(device));
                let complete = live
                    .iter()
                    .all(|device| holders(view, epoch).contains(device));
                (fresh && inside && complete).then_some((facts.depth, *epoch))
            })
            .max()
            .map(|(_, epoch)| epoch)
    }
}

/// Devices that can hold an epoch's secret as far as a view tells: those it was given to, and those
/// that were given an epoch whose chain reaches it.
pub(crate) fn holders(view: &View, epoch: &EpochId) -> Vec<DeviceId> {
    let mut holders = Vec::new();
    for (candidate, facts) in &view.epochs {
        if reaches(view, candidate, epoch) {
            holders.extend(facts.holders.iter().copied());
        }
    }
    holders.sort_unstable();
    holders.dedup();
    holders
}

fn reaches(view: &View, from: &EpochId, to: &EpochId) -> bool {
    let mut open = vec![*from];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(epoch) = open.pop() {
        if epoch == *to {
            return true;
        }
        if seen.insert(epoch)
            && let Some(facts) = view.epochs.get(&epoch)
        {
            open.extend(facts.parents.iter().copied());
        }
    }
    false
}
