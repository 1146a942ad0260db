//! What an operation may do where it stands (research/keys.md 2.10), beyond what the roles decide.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is not named here is not for this place, kinds to come included"
)]

use std::collections::BTreeSet;

use sheaf_crypto::{Body, DeviceId, Forward, Operation, OperationId, Rekey, Role, UserId};
use sheaf_membership::{Act, Rank, Refusal};

use super::facts::Facts;
use super::{OperationError, View};
use super::{cut, forget, fork};
use crate::limits;
use crate::user::Devices;

pub(super) fn rank(role: Role) -> Rank {
    match role {
        Role::Reader => Rank::Reader,
        Role::Writer => Rank::Writer,
        Role::Admin => Rank::Admin,
        Role::Owner => Rank::Owner,
    }
}

/// The key that must have signed: of an attached device, or of one that attaches itself by a log
/// which shows that it is the user's.
pub(crate) fn author(view: &View, claimed: &Operation) -> Result<[u8; 32], OperationError> {
    if let Some(known) = view.attached(&claimed.user, &claimed.author, &claimed.incarnation) {
        let thaws = matches!(claimed.body, Body::ThawByRecovery(_));
        if view.frozen.contains(&claimed.author) && !thaws {
            return Err(OperationError::NotAllowed);
        }
        return Ok(known.signing);
    }
    let Body::AttachDevice { device, log, .. } = &claimed.body else {
        return Err(OperationError::NotAMember);
    };
    let member = view.members.get(&claimed.user);
    let member = member.filter(|member| member.incarnations.contains_key(&claimed.incarnation));
    if member.is_none() || *device != claimed.author {
        return Err(OperationError::NotAMember);
    }
    let devices = Devices::decode(log)?;
    let known = devices
        .device(device)
        .filter(|_| devices.user == claimed.user);
    Ok(known.ok_or(OperationError::NotAMember)?.certificate.signing)
}

/// Checks an operation and says what it means for the roles.
pub(super) fn act(
    view: &View,
    operation: &Operation,
    facts: &Facts,
) -> Result<Act<OperationId, UserId>, OperationError> {
    match &operation.body {
        Body::Add { user, role, .. } => {
            if view.members.contains_key(user) {
                return Err(Refusal::AlreadyMember.into());
            }
            check_room(view, facts.devices.len())?;
            Ok(grant(*user, *role))
        }
        Body::Promote { user, role } => {
            if !view.members.contains_key(user) {
                return Err(Refusal::NotAMember.into());
            }
            Ok(grant(*user, *role))
        }
        Body::Remove {
            user, incarnations, ..
        } => Ok(Act::Remove {
            subject: *user,
            named: incarnations.clone(),
        }),
        Body::Leave => {
            let member = view.members.get(&operation.user);
            let member = member.ok_or(OperationError::NotAMember)?;
            Ok(Act::Remove {
                subject: operation.user,
                named: member.incarnations.keys().copied().collect(),
            })
        }
        Body::Regrant {
            user,
            incarnations,
            role,
            ..
        } => Ok(Act::Regrant {
            subject: *user,
            named: incarnations.clone(),
            rank: rank(*role),
        }),
        Body::TransferOwner { to } => Ok(Act::Transfer { to: *to }),
        Body::Rename { .. } => Ok(Act::Other { least: Rank::Admin }),
        Body::Cut { .. } => {
            cut::check(view, &operation.body)?;
            // Where cuts were made at once nobody can write for all until there is another one.
            let heals = view.window.divided && !view.window.unfinished;
            let least = if heals { Rank::Writer } else { Rank::Admin };
            Ok(Act::Other { least })
        }
        Body::Forget { cut } => {
            forget::check(view, cut)?;
            Ok(Act::Other { least: Rank::Admin })
        }
        _ => {
            check_other(view, operation, facts)?;
            Ok(Act::Other {
                least: Rank::Reader,
            })
        }
    }
}

/// Checks what leaves the roles as they are.
fn check_other(view: &View, operation: &Operation, facts: &Facts) -> Result<(), OperationError> {
    match &operation.body {
        Body::AttachDevice { device, .. } => {
            if view.device(device).is_some() {
                return Err(OperationError::WrongDevice);
            }
            check_room(view, 1)
        }
        Body::DetachDevice { device, .. } => {
            check_detach(view, operation, device, facts.log.as_ref())
        }
        Body::Rekey(rekey) => check_rekey(view, operation, rekey),
        Body::Forward(forward) => check_handed(view, std::slice::from_ref(forward)),
        Body::HandOver { forwards } => check_handed(view, forwards),
        Body::BadSeal { epoch, .. } => match view.epochs.get(epoch) {
            Some(_) => Ok(()),
            None => Err(OperationError::UnknownEpoch),
        },
        Body::Freeze { device } => check_freeze(view, operation, device, false),
        Body::Thaw { device } => {
            check_freeze(view, operation, device, true)?;
            check_senior(view, operation, device)
        }
        Body::ThawByRecovery(thaw) => fork::check_thaw(view, operation, thaw, facts.log.as_ref()),
        // Judged to the last signature where it is taken in.
        Body::Equivocation { .. } => Ok(()),
        _ => Err(OperationError::Unsupported),
    }
}

fn grant(to: UserId, role: Role) -> Act<OperationId, UserId> {
    Act::Grant {
        to,
        rank: rank(role),
    }
}

fn check_room(view: &View, more: usize) -> Result<(), OperationError> {
    if view.devices().count().saturating_add(more) > limits::DEVICES_PER_CONVERSATION_MAX {
        return Err(OperationError::TooManyDevices);
    }
    Ok(())
}

/// Secrets go to live member devices, to each once, and are those of the epochs that they name.
fn check_handed(view: &View, forwards: &[Forward]) -> Result<(), OperationError> {
    let live: BTreeSet<DeviceId> = view.live().map(|(id, _)| *id).collect();
    let named: BTreeSet<DeviceId> = forwards.iter().map(|forward| forward.device).collect();
    if forwards.is_empty() || named.len() != forwards.len() || !named.is_subset(&live) {
        return Err(OperationError::WrongRecipients);
    }
    let mut forwards = forwards.iter();
    forwards.try_for_each(|forward| check_commitment(view, forward))
}

pub(super) fn check_commitment(view: &View, forward: &Forward) -> Result<(), OperationError> {
    match view.epochs.get(&forward.epoch) {
        Some(facts) if facts.commitment == forward.commitment => Ok(()),
        Some(_) | None => Err(OperationError::UnknownEpoch),
    }
}

/// Nobody outside may be given the secret. Members who are left out get it by a `Forward`: more
/// devices than fit into one record are sealed to that way.
fn check_rekey(view: &View, operation: &Operation, rekey: &Rekey) -> Result<(), OperationError> {
    let named: BTreeSet<DeviceId> = rekey.recipients().collect();
    let live: BTreeSet<DeviceId> = view.live().map(|(id, _)| *id).collect();
    if !named.is_subset(&live) || !named.contains(&operation.author) {
        return Err(OperationError::WrongRecipients);
    }
    let known = |epoch| view.epochs.contains_key(epoch);
    if !rekey.parents_epochs.iter().all(known) {
        return Err(OperationError::UnknownEpoch);
    }
    Ok(())
}

fn check_detach(
    view: &View,
    operation: &Operation,
    device: &DeviceId,
    proof: Option<&Devices>,
) -> Result<(), OperationError> {
    let (user, _) = view.device(device).ok_or(OperationError::WrongDevice)?;
    if let Some(log) = proof {
        let revoked = log.user == *user && log.was_revoked(device);
        return revoked.then_some(()).ok_or(OperationError::BadProof);
    }
    let own = *user == operation.user;
    let admin = view.role(&operation.user) >= Some(Role::Admin);
    let below = view.role(user) < Some(Role::Admin);
    if own || admin && below {
        Ok(())
    } else {
        Err(OperationError::NotAllowed)
    }
}

fn check_freeze(
    view: &View,
    operation: &Operation,
    device: &DeviceId,
    frozen: bool,
) -> Result<(), OperationError> {
    let (user, _) = view.device(device).ok_or(OperationError::WrongDevice)?;
    if *user != operation.user || *device == operation.author {
        return Err(OperationError::NotAllowed);
    }
    if view.frozen.contains(device) != frozen {
        return Err(OperationError::WrongDevice);
    }
    Ok(())
}

/// Who proved that a device forked took no part in its user's log: only a strictly senior device of
/// the same user takes that back.
fn check_senior(
    view: &View,
    operation: &Operation,
    device: &DeviceId,
) -> Result<(), OperationError> {
    let depth = |device| view.device(device).map(|(_, attached)| attached.depth);
    let senior = depth(&operation.author) < depth(device);
    if view.forked.contains_key(device) && !senior {
        return Err(OperationError::NotAllowed);
    }
    Ok(())
}
