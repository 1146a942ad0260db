//! Epochs whose secret this device holds, and which of them it may write under.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sheaf_crypto::{ConversationId, DeviceId, EpochId, EpochKeys, EpochSecret};

use crate::control::{ControlLog, View};
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

/// What has to happen before this device may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Write under this epoch.
    Use(EpochId),
    /// Hand this epoch to these devices first.
    Forward(EpochId, Vec<DeviceId>),
    /// Draw a new epoch first.
    Rekey,
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

    /// Drops an epoch's secret and keys.
    pub(crate) fn forget(&mut self, epoch: &EpochId) {
        self.held.remove(epoch);
    }

    /// The newest epoch that a device can read as well as this one.
    pub(crate) fn newest_held_by(&self, view: &View, device: &DeviceId) -> Option<EpochId> {
        let shared = self.held.keys().filter_map(|epoch| {
            let depth = view.epochs.get(epoch)?.depth;
            view.holders(epoch)
                .contains(device)
                .then_some((depth, *epoch))
        });
        shared.max().map(|(_, epoch)| epoch)
    }

    /// Counts an envelope.
    pub(crate) fn count(&mut self, epoch: &EpochId) {
        if let Some(held) = self.held.get_mut(epoch) {
            held.envelopes = held.envelopes.saturating_add(1);
        }
    }

    /// An epoch that all member devices and nobody else can read, however old.
    pub(crate) fn safe(&self, control: &ControlLog) -> Option<EpochId> {
        let view = control.current();
        let safe = self
            .held
            .keys()
            .filter(|epoch| is_safe(control, view, epoch));
        let whole = safe.filter(|epoch| {
            let holders = view.holders(epoch);
            view.live().all(|(device, _)| holders.contains(device))
        });
        let deepest = whole.filter_map(|epoch| Some((view.epochs.get(epoch)?.depth, *epoch)));
        deepest.max().map(|(_, epoch)| epoch)
    }

    /// The epoch to write under (research/keys.md 2.5): safe, not too old and not used too often;
    /// of several the one with the longest chain, then the largest id. It is forwarded first to
    /// member devices that lack it, unless they are so many that a new epoch costs less.
    pub(crate) fn choose(&self, control: &ControlLog, now: Timestamp) -> Choice {
        let view = control.current();
        let fresh = |held: &Held| {
            now.since_ms(held.learned) <= limits::EPOCH_AGE_MS_MAX
                && held.envelopes < limits::EPOCH_ENVELOPES_MAX
        };
        let best = self
            .held
            .iter()
            .filter(|(epoch, held)| fresh(held) && is_safe(control, view, epoch))
            .filter_map(|(epoch, _)| Some((view.epochs.get(epoch)?.depth, *epoch)))
            .max();
        let Some((_, epoch)) = best else {
            return Choice::Rekey;
        };
        let holders = view.holders(&epoch);
        let lacking: Vec<DeviceId> = view
            .live()
            .map(|(device, _)| *device)
            .filter(|device| !holders.contains(device))
            .collect();
        match lacking.len() {
            0 => Choice::Use(epoch),
            few if few <= limits::FORWARDS_BEFORE_REKEY_MAX => Choice::Forward(epoch, lacking),
            _ => Choice::Rekey,
        }
    }
}

/// Rules (a), (b) and the cuts of (c) of research/keys.md 2.5: every removal and freeze of the view is in the past of
/// the operation that began the epoch, so is every cut, and whoever can hold its secret is a live device of the view.
pub(crate) fn is_safe(control: &ControlLog, view: &View, epoch: &EpochId) -> bool {
    let Some(facts) = view.epochs.get(epoch) else {
        return false;
    };
    let after = view
        .removals
        .iter()
        .all(|removal| control.saw(&facts.operation, removal));
    let live: BTreeSet<DeviceId> = view.live().map(|(device, _)| *device).collect();
    after && control.is_open(view, &facts.operation) && view.holders(epoch).is_subset(&live)
}
