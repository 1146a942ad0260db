//! What the whole log says: the live devices, their names, and which of them is primary.

use std::collections::{BTreeMap, BTreeSet};

use sheaf_crypto::{DeviceId, OperationId, UserBody};
use sheaf_membership::Log;

use super::known::Known;
use super::standing::{Live, Standing};
use super::{Subject, UserDevice};

/// What a log says, drawn anew when it has grown.
#[derive(Debug, Clone)]
pub(super) struct Picture {
    pub(super) standing: Standing,
    pub(super) devices: BTreeMap<DeviceId, UserDevice>,
    pub(super) primary: DeviceId,
    pub(super) declined: BTreeSet<DeviceId>,
}

impl Picture {
    pub(super) fn of(known: &Known, roles: &Log<OperationId, Subject>) -> Self {
        let standing = Standing::of(known, roles, roles.current(), known.everything());
        let declined = declined(known, &standing);
        let primary = primary(known, roles, &standing, &declined);
        let mut devices = BTreeMap::new();
        for (device, live) in &standing.live {
            let Some(certificate) = known.certificate(&live.incarnation) else {
                continue;
            };
            let label = renamed(known, &standing, device, live);
            let shown = UserDevice {
                certificate: certificate.clone(),
                incarnation: live.incarnation,
                primary: *device == primary,
                frozen: standing.is_frozen(device),
                label: label.unwrap_or(&certificate.label).to_owned(),
            };
            devices.insert(*device, shown);
        }
        Self {
            standing,
            devices,
            primary,
            declined,
        }
    }
}

/// Of the handovers that no other has in its past, the one by the author nearest to the root says
/// who is primary, then the one with the largest id. Without any it is the first device.
///
/// If that device is gone, frozen or has declined, the next one in order follows that has not: the
/// live one nearest to the root, then the smallest. If nobody is left who wants to, it stays with the
/// one that was named.
fn primary(
    known: &Known,
    roles: &Log<OperationId, Subject>,
    standing: &Standing,
    declined: &BTreeSet<DeviceId>,
) -> DeviceId {
    let effective = |at: &usize| known.at(*at).is_some_and(|entry| standing.stands(entry));
    let handovers = standing.below(&known.handovers).filter(effective);
    let newest = known.newest(handovers).into_iter();
    let decisive = newest.min_by(|one, other| {
        let depth = |id| roles.depth(id).unwrap_or(usize::MAX);
        let by_depth = depth(&one.incarnation).cmp(&depth(&other.incarnation));
        by_depth.then(other.id.cmp(&one.id))
    });
    let mut wanted = known.first_device();
    if let Some(UserBody::Handover { to }) = decisive.map(|entry| &entry.operation.body) {
        wanted = *to;
    }
    let serves = |device: &DeviceId| {
        standing.is_live(device) && !standing.is_frozen(device) && !declined.contains(device)
    };
    if serves(&wanted) {
        return wanted;
    }
    let live = standing.live.iter();
    let mut order: Vec<_> = live.map(|(device, live)| (live.depth, *device)).collect();
    order.sort_unstable();
    let mut serving = order.iter().filter(|(_, device)| serves(device));
    if let Some((_, device)) = serving.next() {
        return *device;
    }
    if standing.is_live(&wanted) {
        return wanted;
    }
    order
        .first()
        .map_or(known.first_device(), |(_, device)| *device)
}

/// Devices that declined and were not named by a handover since.
fn declined(known: &Known, standing: &Standing) -> BTreeSet<DeviceId> {
    let mut declined = BTreeSet::new();
    for at in standing.below(&known.declines) {
        let Some(entry) = known.at(at).filter(|entry| standing.stands(entry)) else {
            continue;
        };
        let Subject::Device(author) = entry.author else {
            continue;
        };
        let mut later = standing
            .below(&known.handovers)
            .filter_map(|handover| known.at(handover))
            .filter(|handover| handover.past.contains(at) && standing.stands(handover));
        let named = later.any(
            |handover| matches!(handover.operation.body, UserBody::Handover { to } if to == author),
        );
        if !named {
            declined.insert(author);
        }
    }
    declined
}

/// The newest name that somebody gave the device since it was granted; of two side by side the one
/// with the larger id.
fn renamed<'a>(
    known: &'a Known,
    standing: &Standing,
    device: &DeviceId,
    live: &Live,
) -> Option<&'a str> {
    let granted = known.find(&live.incarnation);
    let since = |at: &usize| granted.is_none_or(|grant| !grant.past.contains(*at));
    let name_of = |at: usize| {
        let UserBody::RenameDevice { device, label } = &known.at(at)?.operation.body else {
            return None;
        };
        Some((device, label))
    };
    let own = standing
        .below(&known.renames)
        .filter(since)
        .filter(|at| name_of(*at).is_some_and(|(named, _)| named == device))
        .filter(|at| known.at(*at).is_some_and(|entry| standing.stands(entry)));
    let last = known.newest(own).into_iter().max_by_key(|entry| entry.id)?;
    name_of(known.index_of(&last.id)?).map(|(_, label)| label.as_str())
}
