//! Forgetting: secrets from before a cut that devices let go of, and devices that begin at such a
//! cut (docs/decisions/0020-forgetting.md).

use std::collections::BTreeSet;

use sheaf_crypto::{Body, DeviceId, EpochId, OperationId};
use sheaf_membership::Part;

use super::resolve::Past;
use super::view::View;
use super::{ControlLog, OperationError};

/// What the log says of a statement that lets secrets be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Forgetting {
    /// The cut that they lie before.
    pub(crate) cut: OperationId,
    /// Nothing voids it.
    stands: bool,
}

impl Past<'_> {
    /// Everything that lets secrets be forgotten, whether or not it stands.
    pub(super) fn forgets(&self, view: &mut View) {
        for (id, entry) in self.entries {
            if let Body::Forget { cut } = &entry.operation.body {
                let forgetting = Forgetting {
                    cut: *cut,
                    stands: self.stands(id, Part::Other),
                };
                view.forgets.insert(**id, forgetting);
            }
        }
    }
}

/// Whether a device that some operations brought in can read everything in a cut's window, as far as
/// what is forgotten goes; of a device that nothing has brought in yet: whether it will.
pub(super) fn reads(
    view: &View,
    attachments: Option<&BTreeSet<OperationId>>,
    cut: Option<&OperationId>,
    saw: &impl Fn(&OperationId, &OperationId) -> bool,
) -> bool {
    let after = |forgetting: &Forgetting| cut.is_some_and(|cut| saw(cut, &forgetting.cut));
    match attachments.filter(|attachments| !attachments.is_empty()) {
        None => view.forgets.values().all(after),
        Some(attachments) => attachments.iter().any(|attachment| {
            let known = view.forgets.iter().filter(|(id, _)| saw(attachment, id));
            known.map(|(_, forgetting)| forgetting).all(after)
        }),
    }
}

/// Whether what is let go of lies before a cut that everybody can write after.
pub(super) fn check(view: &View, cut: &OperationId) -> Result<(), OperationError> {
    let known = view.cuts.get(cut).filter(|cut| cut.stands);
    let alone = known.is_some_and(|known| view.cut_of(known.segment) == Some(*cut));
    alone.then_some(()).ok_or(OperationError::BadForget)
}

/// Cuts before which secrets were to be forgotten, where the statement comes to nothing because others
/// that were made at the same time share the window, and no later one made up for it.
pub(super) fn in_vain(
    view: &View,
    saw: &impl Fn(&OperationId, &OperationId) -> bool,
) -> Vec<OperationId> {
    let stands = |cut: &OperationId| view.cuts.get(cut).is_some_and(|cut| cut.stands);
    let known = view.forgets.values().filter(|known| known.stands);
    let cuts: BTreeSet<OperationId> = known.map(|known| known.cut).filter(stands).collect();
    let held = cuts.iter().filter(|cut| check(view, cut).is_ok());
    let held: Vec<OperationId> = held.copied().collect();
    let made_up = |cut: &OperationId| held.iter().any(|held| held == cut || saw(held, cut));
    cuts.into_iter().filter(|cut| !made_up(cut)).collect()
}

impl ControlLog {
    /// What brought a device in; of one that is out, everything that did.
    pub(super) fn attachments(&self, device: &DeviceId) -> BTreeSet<OperationId> {
        if let Some(known) = self.current.attachments.get(device) {
            return known.clone();
        }
        let entries = self.entries.iter();
        let brought = entries.filter(|(_, entry)| entry.facts.devices.contains_key(device));
        brought.map(|(id, _)| *id).collect()
    }

    /// Whether an operation brings a device in.
    pub(crate) fn brings_in(&self, operation: &OperationId, device: &DeviceId) -> bool {
        let entry = self.entries.get(operation);
        entry.is_some_and(|entry| entry.facts.devices.contains_key(device))
    }

    /// For each time that a device was brought in: the cuts that it begins at because what lies before
    /// them is forgotten. Of several times any counts.
    pub(super) fn forgotten_before(&self, device: &DeviceId) -> Vec<BTreeSet<OperationId>> {
        let forgets = &self.current.forgets;
        let attachments = self.attachments(device);
        if attachments.is_empty() {
            let cuts = forgets.values().map(|forgetting| forgetting.cut);
            return vec![cuts.collect()];
        }
        let known = |at: &OperationId| {
            let known = forgets.iter().filter(|(id, _)| self.saw(at, id));
            known.map(|(_, forgetting)| forgetting.cut).collect()
        };
        attachments.iter().map(known).collect()
    }

    /// Whether an epoch lies before what was forgotten when a device came in, or will come in now.
    pub(crate) fn is_forgotten_for(&self, device: &DeviceId, epoch: &EpochId) -> bool {
        let times = self.forgotten_before(device);
        let before = |cut: &OperationId| self.is_before(epoch, cut);
        times.iter().all(|cuts| cuts.iter().any(before))
    }

    /// Whether a device begins at something that is forgotten and that the author of an item who knew
    /// these cuts did not know.
    pub(crate) fn begins_after(&self, device: &DeviceId, cuts: &BTreeSet<OperationId>) -> bool {
        let times = self.forgotten_before(device);
        let unknown = |cut: &OperationId| !cuts.iter().any(|known| self.saw(known, cut));
        times.iter().all(|cuts| cuts.iter().any(unknown))
    }

    /// What is to be forgotten: every statement that stands, of a cut that stands and has its window
    /// for itself.
    pub(crate) fn forgettings(&self) -> Vec<(OperationId, Forgetting)> {
        let view = &self.current;
        let known = view.forgets.iter();
        let stand = known
            .filter(|(_, forgetting)| forgetting.stands && check(view, &forgetting.cut).is_ok());
        stand.map(|(id, forgetting)| (*id, *forgetting)).collect()
    }

    /// Cuts before which secrets were to be forgotten, and were not.
    pub(crate) fn forgotten_in_vain(&self) -> Vec<OperationId> {
        in_vain(&self.current, &|later, earlier| self.saw(later, earlier))
    }

    /// Whether an epoch was drawn by somebody who did not know a cut.
    pub(crate) fn is_before(&self, epoch: &EpochId, cut: &OperationId) -> bool {
        let facts = self.current.epochs.get(epoch);
        facts.is_some_and(|facts| !self.saw(&facts.operation, cut))
    }

    /// Whether a segment is of a window that somebody opened who did not know a cut.
    pub(crate) fn lies_before(&self, segment: u32, cut: &OperationId) -> bool {
        let mut windows = self.current.cuts_of(segment).peekable();
        windows.peek().is_none() || windows.any(|window| !self.saw(&window, cut))
    }
}

#[cfg(test)]
mod tests;
