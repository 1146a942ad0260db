//! From the operations of a past to what they say together.
//!
//! Nothing here depends on the order in which operations came: who holds which role is the
//! resolver's, a device needs an attachment that has seen every detachment of it, and of several
//! names the one nobody has replaced counts, the largest operation if there are two.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is not named here is not for this place, kinds to come included"
)]

use std::collections::{BTreeMap, BTreeSet};

use sheaf_crypto::{Body, DeviceId, Forward, OperationId, Role, UserId};
use sheaf_membership::{Log, Part, Rank};

use super::Entry;
use super::view::{EpochFacts, Member, View};

type Roles = sheaf_membership::View<OperationId, UserId>;

/// The operations of one past.
pub(super) struct Past<'a> {
    log: &'a Log<OperationId, UserId>,
    roles: &'a Roles,
    /// In causal order.
    pub(super) entries: &'a [(&'a OperationId, &'a Entry)],
    /// Every operation known, to find one by its id.
    pub(super) all: &'a BTreeMap<OperationId, Entry>,
}

pub(super) fn view(
    log: &Log<OperationId, UserId>,
    roles: &Roles,
    entries: &[(&OperationId, &Entry)],
    all: &BTreeMap<OperationId, Entry>,
) -> View {
    let past = Past {
        log,
        roles,
        entries,
        all,
    };
    let mut view = View::default();
    past.members(&mut view);
    past.endings(&mut view);
    past.void_grants(&mut view);
    past.devices(&mut view);
    past.freezes(&mut view);
    past.names(&mut view);
    past.forgets(&mut view);
    past.cuts(&mut view);
    for (id, entry) in entries {
        open_epochs(&mut view, **id, entry);
    }
    view
}

fn role(rank: Rank) -> Role {
    match rank {
        Rank::Reader => Role::Reader,
        Rank::Writer => Role::Writer,
        Rank::Admin => Role::Admin,
        Rank::Owner => Role::Owner,
    }
}

impl Past<'_> {
    pub(super) fn stands(&self, id: &OperationId, part: Part) -> bool {
        self.roles.voided_by(id, part).is_none()
    }

    pub(super) fn saw(&self, later: &OperationId, earlier: &OperationId) -> bool {
        self.log.past_contains(later, earlier)
    }

    fn members(&self, view: &mut View) {
        for (user, standing) in self.roles.members() {
            let member = Member {
                role: role(standing.rank),
                incarnations: standing
                    .live
                    .iter()
                    .map(|(id, rank)| (*id, role(*rank)))
                    .collect(),
                devices: BTreeMap::new(),
                origins: BTreeSet::new(),
            };
            view.members.insert(*user, member);
        }
    }

    /// Which grants ended by what, and which devices were taken out.
    fn endings(&self, view: &mut View) {
        for removal in self.roles.effective_removals() {
            view.removals.insert(removal.operation);
            let kept = self.all.get(&removal.operation).is_some_and(|entry| {
                // A lower role that still writes ends nothing that was written.
                matches!(&entry.operation.body, Body::Regrant { role, .. } if *role >= Role::Writer)
            });
            for incarnation in removal.named.iter().filter(|_| !kept) {
                let by = view.ended.entry(*incarnation).or_default();
                by.insert(removal.operation);
            }
        }
        for void in self.roles.void() {
            if void.part == Part::Grant {
                let by = view.ended.entry(void.operation).or_default();
                by.insert(void.by);
            }
        }
        for (id, entry) in self.entries {
            if let Body::DetachDevice { device, proof, .. } = &entry.operation.body
                && (!proof.is_empty() || self.stands(id, Part::Other))
            {
                view.removals.insert(**id);
                view.detached.entry(*device).or_default().insert(**id);
            }
        }
    }

    fn devices(&self, view: &mut View) {
        for (id, entry) in self.entries {
            let (user, incarnation, part) = match &entry.operation.body {
                Body::Genesis(genesis) => (genesis.creator, **id, Part::Grant),
                Body::Add { user, .. } => (*user, **id, Part::Grant),
                Body::AttachDevice { .. } => {
                    let operation = &entry.operation;
                    (operation.user, operation.incarnation, Part::Other)
                }
                _ => continue,
            };
            if !self.stands(id, part) || !self.carried(view, &user, incarnation, id) {
                continue;
            }
            for (device, attached) in &entry.facts.devices {
                let gone = view.detached.get(device);
                let back = gone.is_none_or(|by| by.iter().all(|by| self.saw(id, by)));
                if back && let Some(member) = view.members.get_mut(&user) {
                    member.devices.insert(*device, attached.clone());
                    let brought = view.attachments.entry(*device).or_default();
                    brought.insert(**id);
                }
            }
        }
        // A device that came back is no longer out.
        let here: BTreeSet<DeviceId> = view.devices().map(|(device, _)| *device).collect();
        view.detached.retain(|device, _| !here.contains(device));
    }

    /// Whether what was attached under a grant still is: the grant is live, or a live grant to the
    /// same user came after the attachment and after no end of that grant but its own.
    fn carried(
        &self,
        view: &View,
        user: &UserId,
        incarnation: OperationId,
        attachment: &OperationId,
    ) -> bool {
        let Some(member) = view.members.get(user) else {
            return false;
        };
        let mut open: Vec<OperationId> = member.incarnations.keys().copied().collect();
        let mut seen = BTreeSet::new();
        while let Some(live) = open.pop() {
            if live == incarnation {
                return true;
            }
            if !seen.insert(live) || !self.saw(&live, attachment) {
                continue;
            }
            match self.all.get(&live).map(|entry| &entry.operation.body) {
                Some(Body::Regrant { incarnations, .. }) => {
                    open.extend(incarnations.iter().copied());
                }
                Some(Body::Promote { .. }) => open.extend(self.grants_before(view, &live, user)),
                _ => {}
            }
        }
        false
    }

    /// Grants to a user that an operation had seen, and no end of which it had seen.
    pub(super) fn grants_before(
        &self,
        view: &View,
        operation: &OperationId,
        user: &UserId,
    ) -> Vec<OperationId> {
        let grants = self.entries.iter().filter(|(id, entry)| {
            let to = match &entry.operation.body {
                Body::Genesis(genesis) => &genesis.creator,
                Body::Add { user, .. }
                | Body::Promote { user, .. }
                | Body::Regrant { user, .. } => user,
                _ => return false,
            };
            to == user && self.saw(operation, id)
        });
        let open = grants.filter(|(id, _)| {
            let ends = view.ended.get(*id).into_iter().flatten();
            !ends.into_iter().any(|end| self.saw(operation, end))
        });
        open.map(|(id, _)| **id).collect()
    }

    fn freezes(&self, view: &mut View) {
        let thaws: Vec<(&OperationId, DeviceId)> = self
            .entries
            .iter()
            .filter_map(|(id, entry)| match &entry.operation.body {
                Body::Thaw { device } if self.stands(id, Part::Other) => Some((*id, *device)),
                _ => None,
            })
            .collect();
        for (id, entry) in self.entries {
            let Body::Freeze { device } = &entry.operation.body else {
                continue;
            };
            let thawed = thaws
                .iter()
                .any(|(thaw, thawed)| thawed == device && self.saw(thaw, id));
            if thawed || !self.stands(id, Part::Other) {
                continue;
            }
            view.removals.insert(**id);
            view.frozen.insert(*device);
        }
        self.forks(view, &thaws);
    }

    fn names(&self, view: &mut View) {
        let mut names: Vec<(&OperationId, &str)> = Vec::new();
        for (id, entry) in self.entries {
            match &entry.operation.body {
                Body::Genesis(genesis) => genesis.name.clone_into(&mut view.name),
                Body::Rename { name } if self.stands(id, Part::Other) => {
                    names.retain(|(earlier, _)| !self.saw(id, earlier));
                    names.push((*id, name));
                }
                _ => {}
            }
        }
        if let Some((_, name)) = names.into_iter().max() {
            name.clone_into(&mut view.name);
        }
    }
}

fn open_epochs(view: &mut View, id: OperationId, entry: &Entry) {
    match &entry.operation.body {
        Body::Rekey(rekey) => {
            let Some(epoch) = entry.facts.epoch else {
                return;
            };
            let below = rekey
                .parents_epochs
                .iter()
                .filter_map(|e| view.epochs.get(e));
            let depth = below.map(|facts| facts.depth.saturating_add(1)).max();
            let facts = EpochFacts {
                operation: id,
                commitment: rekey.commitment,
                parents: rekey.parents_epochs.clone(),
                chained: rekey.chain.is_some(),
                depth: depth.unwrap_or(0),
                holders: rekey.recipients().collect(),
            };
            for parent in &rekey.parents_epochs {
                view.newest.remove(parent);
            }
            view.newest.insert(epoch);
            view.epochs.insert(epoch, facts);
        }
        Body::Add { forwards, .. }
        | Body::AttachDevice { forwards, .. }
        | Body::HandOver { forwards } => give(view, forwards),
        Body::Forward(forward) => give(view, std::slice::from_ref(forward)),
        _ => {}
    }
}

fn give(view: &mut View, forwards: &[Forward]) {
    for forward in forwards {
        if let Some(facts) = view.epochs.get_mut(&forward.epoch) {
            facts.holders.insert(forward.device);
        }
    }
}
