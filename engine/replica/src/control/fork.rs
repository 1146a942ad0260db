//! Proofs that a device forked its own chain (research/keys.md 2.7), and what follows from them.
//!
//! A proof is judged from itself and its own past alone. The envelope's signature does not name the
//! conversation in the clear, and a run is shared by all conversations of a device: what is shown
//! counts only if it is written under a grant of this very log.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use sheaf_crypto::{
    Body, DeviceId, Evidence, Inner, ItemId, Kind, Operation, OperationId, RunId, SignedOperation,
    ThawByRecovery, UserId,
};
use sheaf_membership::Part;

use super::resolve::Past;
use super::view::Forked;
use super::{Entry, OperationError, View};
use crate::user::Devices;

/// Where a device put two items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ForkPlace {
    pub(crate) device: DeviceId,
    pub(crate) run: RunId,
    pub(crate) seq: u64,
}

/// What tells two items at one place apart: an operation by its id, anything else by what it holds.
/// The same content sealed twice is no fork: a copied store may do that with what was not sent yet.
pub(crate) fn content_of(inner: &Inner) -> [u8; 32] {
    if inner.kind == Kind::Control
        && let Ok(signed) = SignedOperation::from_bytes(&inner.body)
    {
        return signed.id().0;
    }
    let mut hash = Sha256::new();
    hash.update([u8::from(inner.kind)]);
    hash.update(&inner.body);
    hash.finalize().into()
}

/// One side of a proof.
struct Side {
    place: ForkPlace,
    user: UserId,
    incarnation: OperationId,
    content: [u8; 32],
}

fn side<'a>(
    evidence: &Evidence,
    find: &impl Fn(&OperationId) -> Option<&'a Operation>,
) -> Option<Side> {
    match evidence {
        Evidence::Shown(shown) => {
            let inner = shown.claimed().ok()?;
            let chained = matches!(inner.kind, Kind::Content | Kind::Control | Kind::Checkpoint);
            chained.then(|| Side {
                place: ForkPlace {
                    device: inner.device,
                    run: inner.run,
                    seq: inner.seq,
                },
                user: inner.user,
                incarnation: inner.incarnation,
                content: content_of(&inner),
            })
        }
        Evidence::Named(ItemId(id)) => {
            let operation = find(&OperationId(*id))?;
            Some(Side {
                place: ForkPlace {
                    device: operation.author,
                    run: operation.run,
                    seq: operation.seq,
                },
                user: operation.user,
                incarnation: operation.incarnation,
                content: *id,
            })
        }
    }
}

/// The place that a proof is about, if both of its sides are about one. `find` gives operations of
/// the proof's past.
pub(super) fn place<'a>(
    body: &Body,
    find: impl Fn(&OperationId) -> Option<&'a Operation>,
) -> Option<ForkPlace> {
    let Body::Equivocation { first, second } = body else {
        return None;
    };
    let (first, second) = (side(first, &find)?, side(second, &find)?);
    (first.place == second.place).then_some(first.place)
}

/// Checks a proof to the last signature. `find` gives operations of its past.
pub(super) fn check<'a>(
    view: &View,
    evidence: [&Evidence; 2],
    find: impl Fn(&OperationId) -> Option<&'a Operation>,
) -> Result<(), OperationError> {
    let bad = OperationError::FalseProof;
    let mut sides = Vec::new();
    for shown in evidence {
        let side = side(shown, &find).ok_or_else(|| bad.clone())?;
        let (user, attached) = view
            .device(&side.place.device)
            .ok_or(OperationError::WrongDevice)?;
        if let Evidence::Shown(shown) = shown {
            let signed = shown.verify(&attached.signing);
            signed.map_err(|_| bad.clone())?;
        }
        if *user != side.user || find(&side.incarnation).is_none() {
            return Err(bad);
        }
        sides.push(side);
    }
    let [first, second] = sides.as_slice() else {
        return Err(bad);
    };
    if first.place != second.place || first.content == second.content {
        return Err(bad);
    }
    Ok(())
}

/// Checks that the recovery key of the author's user takes back what is proved of one of his devices.
/// Whoever carries its word needs no standing for it: the author may be the frozen device itself.
pub(super) fn check_thaw(
    view: &View,
    operation: &Operation,
    thaw: &ThawByRecovery,
    log: Option<&Devices>,
) -> Result<(), OperationError> {
    let (user, _) = view
        .device(&thaw.device)
        .ok_or(OperationError::WrongDevice)?;
    let forked = view
        .forked
        .get(&thaw.device)
        .ok_or(OperationError::WrongDevice)?;
    let log = log
        .filter(|log| log.user == *user && *user == operation.user)
        .ok_or(OperationError::WrongUserLog)?;
    let rise = thaw.proofs.is_sorted_by(|one, next| one < next);
    let shown = thaw
        .proofs
        .iter()
        .all(|proof| forked.proofs.contains(proof));
    if thaw.proofs.is_empty() || !rise || !shown {
        return Err(OperationError::BadProof);
    }
    thaw.verify(&log.recovery().signing, &operation.conversation)
        .map_err(|_| OperationError::BadProof)
}

impl Past<'_> {
    fn find(&self, id: &OperationId) -> Option<&Operation> {
        self.all.get(id).map(|entry| &entry.operation)
    }

    /// Proofs of this past, with what each is about. Whoever showed one, it counts.
    fn proofs(&self) -> Vec<(OperationId, ForkPlace)> {
        let proofs = self.entries.iter().filter_map(|(id, entry)| {
            let place = place(&entry.operation.body, |id| self.find(id))?;
            Some((**id, place))
        });
        proofs.collect()
    }

    /// Freezes every device of which there is a proof that no thaw has seen, and that the recovery key
    /// has not taken back.
    pub(super) fn forks(&self, view: &mut View, thaws: &[(&OperationId, DeviceId)]) {
        let by_recovery = self.taken_back();
        for (proof, place) in self.proofs() {
            view.proved.insert(place);
            let thawed = thaws
                .iter()
                .any(|(thaw, device)| *device == place.device && self.saw(thaw, &proof));
            if thawed || by_recovery.contains(&proof) {
                continue;
            }
            view.removals.insert(proof);
            view.frozen.insert(place.device);
            let forked = view.forked.entry(place.device).or_insert_with(|| Forked {
                seq: place.seq,
                proofs: BTreeSet::new(),
            });
            forked.seq = place.seq.min(forked.seq);
            forked.proofs.insert(proof);
        }
    }

    /// Proofs that the recovery key of the forker's user has taken back.
    fn taken_back(&self) -> BTreeSet<OperationId> {
        let thaws = self
            .entries
            .iter()
            .filter_map(|(id, entry)| match &entry.operation.body {
                Body::ThawByRecovery(thaw) if self.stands(id, Part::Other) => Some(&thaw.proofs),
                _ => None,
            });
        thaws.flatten().copied().collect()
    }

    /// Takes grants of forked devices back that nobody else had built on when the fork was shown,
    /// and what hangs on them. Removals stand.
    pub(super) fn void_grants(&self, view: &mut View) {
        let proofs = self.proofs();
        if proofs.is_empty() {
            return;
        }
        let mut void: BTreeMap<OperationId, OperationId> = BTreeMap::new();
        for (id, entry) in self.entries {
            let of_author = |(_, place): &&(OperationId, ForkPlace)| {
                place.device == entry.operation.author && place.seq <= entry.operation.seq
            };
            let proofs: Vec<OperationId> = proofs
                .iter()
                .filter(of_author)
                .map(|(proof, _)| *proof)
                .collect();
            let Some(proof) = proofs.iter().min() else {
                continue;
            };
            let after = proofs.iter().any(|proof| self.saw(id, proof));
            if grants(&entry.operation.body) && !after && !self.is_shared(id, entry, &proofs) {
                void.insert(**id, *proof);
            }
        }
        // In causal order: what hangs on a void grant is void.
        for (id, entry) in self.entries {
            if let Some(proof) = void.get(&entry.operation.incarnation).copied()
                && grants(&entry.operation.body)
            {
                void.insert(**id, proof);
            }
        }
        take_back(view, &void);
    }

    /// Another user's operation has seen it, and no proof.
    fn is_shared(&self, id: &OperationId, entry: &Entry, proofs: &[OperationId]) -> bool {
        self.entries.iter().any(|(other, by)| {
            by.operation.user != entry.operation.user
                && self.saw(other, id)
                && !proofs.contains(other)
                && !proofs.iter().any(|proof| self.saw(other, proof))
        })
    }
}

fn grants(body: &Body) -> bool {
    matches!(
        body,
        Body::Add { .. } | Body::Promote { .. } | Body::Regrant { .. } | Body::TransferOwner { .. }
    )
}

fn take_back(view: &mut View, void: &BTreeMap<OperationId, OperationId>) {
    let mut out: BTreeSet<UserId> = BTreeSet::new();
    for (user, member) in &mut view.members {
        let gone: Vec<OperationId> = member
            .incarnations
            .keys()
            .filter(|id| void.contains_key(*id))
            .copied()
            .collect();
        for id in &gone {
            member.incarnations.remove(id);
            if let Some(proof) = void.get(id) {
                view.ended.entry(*id).or_default().insert(*proof);
            }
        }
        if !gone.is_empty() {
            view.void.insert(*user, gone);
        }
        match member.incarnations.values().max() {
            Some(role) => member.role = *role,
            None => {
                out.insert(*user);
            }
        }
    }
    for user in out {
        view.members.remove(&user);
    }
}
