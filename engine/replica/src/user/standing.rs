//! How things stand at some place of the history: what an operation written there is judged by.

use std::collections::BTreeMap;
use std::sync::Arc;

use fixedbitset::FixedBitSet;
use sheaf_crypto::{DeviceId, OperationId, UserBody};
use sheaf_membership::{Log, Part, View};

use super::Subject;
use super::known::{Entry, Known};
use crate::limits;

/// Who is a device and who is frozen, as a function of a past.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub(super) view: Arc<View<OperationId, Subject>>,
    pub(super) past: FixedBitSet,
    /// The live devices, each with its live incarnation nearest to the root.
    pub(super) live: BTreeMap<DeviceId, Live>,
    /// Live grants of devices that come after the first ten.
    pub(super) beyond: Vec<OperationId>,
    /// Freezes that nobody took back.
    pub(super) open: Vec<(OperationId, Subject, DeviceId)>,
    /// The rotation that brought the recovery key in force.
    pub(super) rotation: Option<OperationId>,
}

/// A device's place in the tree of grants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Live {
    pub(super) incarnation: OperationId,
    pub(super) depth: usize,
}

impl Standing {
    pub(super) fn of(
        known: &Known,
        roles: &Log<OperationId, Subject>,
        view: Arc<View<OperationId, Subject>>,
        past: FixedBitSet,
    ) -> Self {
        let mut standing = Self {
            view,
            past,
            live: BTreeMap::new(),
            beyond: Vec::new(),
            open: Vec::new(),
            rotation: None,
        };
        standing.take_devices(known, roles);
        standing.open = standing.open_freezes(known);
        let rotations = standing.below(&known.rotations);
        let newest = known.newest(rotations).into_iter().map(|entry| entry.id);
        standing.rotation = newest.max();
        standing
    }

    /// The first ten devices are live. Of two with as many operations below them the smaller id is
    /// first: nobody gains by choosing one, since being eleventh takes ten others of his own user.
    fn take_devices(&mut self, known: &Known, roles: &Log<OperationId, Subject>) {
        let mut devices = Vec::new();
        for (subject, member) in self.view.members() {
            let Subject::Device(device) = subject else {
                continue;
            };
            let ranks = member.incarnations().map(|id| known.rank_of_grant(&id));
            if let Some(earliest) = ranks.min() {
                devices.push((earliest, *device, member));
            }
        }
        devices.sort_unstable_by_key(|(earliest, ..)| *earliest);
        for (at, (_, device, member)) in devices.into_iter().enumerate() {
            if at >= limits::DEVICES_PER_USER_MAX {
                self.beyond.extend(member.incarnations());
                continue;
            }
            let depth = |id: &OperationId| roles.depth(id).unwrap_or(usize::MAX);
            let nearest = member
                .incarnations()
                .min_by_key(|id| (depth(id), known.rank_of_grant(id)));
            if let Some(incarnation) = nearest {
                let depth = depth(&incarnation);
                self.live.insert(device, Live { incarnation, depth });
            }
        }
    }

    fn open_freezes(&self, known: &Known) -> Vec<(OperationId, Subject, DeviceId)> {
        let mut open = Vec::new();
        for at in self.below(&known.freezes) {
            let thawed = known
                .thaws_of(at)
                .filter(|thaw| self.past.contains(*thaw))
                .filter_map(|thaw| known.at(thaw))
                .any(|thaw| self.stands(thaw));
            let Some(freeze) = known.at(at).filter(|freeze| self.stands(freeze)) else {
                continue;
            };
            if let (false, UserBody::Freeze { device }) = (thawed, &freeze.operation.body) {
                open.push((freeze.id, freeze.author, *device));
            }
        }
        open
    }

    /// Those of some operations that are part of this past.
    pub(super) fn below<'a>(&'a self, some: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
        some.iter().copied().filter(|at| self.past.contains(*at))
    }

    /// Whether an operation that neither grants nor removes has effect.
    pub(super) fn stands(&self, entry: &Entry) -> bool {
        self.view.voided_by(&entry.id, Part::Other).is_none()
    }

    /// The removal that takes a grant its effect.
    pub(super) fn voided(&self, grant: OperationId) -> Option<OperationId> {
        self.view.voided_by(&grant, Part::Grant)
    }

    /// Whether the resolver has the device in, those beyond ten included.
    pub(super) fn is_member(&self, device: &DeviceId) -> bool {
        self.view.member(&Subject::Device(*device)).is_some()
    }

    pub(super) fn is_live(&self, device: &DeviceId) -> bool {
        self.live.contains_key(device)
    }

    pub(super) fn is_frozen(&self, device: &DeviceId) -> bool {
        self.open.iter().any(|(_, _, frozen)| frozen == device)
    }
}
