//! What a control log says at some place of its history.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is not named here is not for this place, kinds to come included"
)]

use std::collections::{BTreeMap, BTreeSet};

use sheaf_crypto::{
    Body, DeviceCertificate, DeviceId, EpochId, Forward, KemRecord, Operation, OperationId,
    Recipient, Rekey, Role, UserId, epoch_id,
};

use super::OperationError;
use crate::limits;
use crate::user::Devices;

/// A device that takes part in a conversation.
#[derive(Debug, Clone)]
pub(crate) struct Attached {
    pub(crate) signing: [u8; 32],
    pub(crate) kem: KemRecord,
    pub(crate) inbox_seed: [u8; 32],
}

impl Attached {
    fn of(certificate: &DeviceCertificate) -> Self {
        Self {
            signing: certificate.signing,
            kem: certificate.kem.clone(),
            inbox_seed: certificate.inbox_seed,
        }
    }
}

/// A user who takes part.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) role: Role,
    /// The grants that made the user a member: more than one if admins added the user at once.
    pub(crate) incarnations: BTreeSet<OperationId>,
    pub(crate) devices: BTreeMap<DeviceId, Attached>,
}

/// What the log says of an epoch, whether or not its secret is held here.
#[derive(Debug, Clone)]
pub(crate) struct EpochFacts {
    pub(crate) operation: OperationId,
    pub(crate) commitment: [u8; 32],
    pub(crate) parents: Vec<EpochId>,
    /// Length of the longest chain below it.
    pub(crate) depth: u32,
    /// Devices that were given the secret directly.
    pub(crate) holders: BTreeSet<DeviceId>,
}

/// Members, devices and epochs.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub(crate) name: String,
    pub(crate) members: BTreeMap<UserId, Member>,
    pub(crate) epochs: BTreeMap<EpochId, EpochFacts>,
    /// Epochs that no other epoch is chained to.
    pub(crate) newest: BTreeSet<EpochId>,
}

impl View {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }

    pub(super) fn admit(&mut self, devices: &Devices, role: Role, incarnation: OperationId) {
        let attached = devices
            .iter()
            .map(|(id, device)| (*id, Attached::of(&device.certificate)));
        let incarnations = BTreeSet::from([incarnation]);
        let member = Member {
            role,
            incarnations,
            devices: attached.collect(),
        };
        self.members.insert(devices.user, member);
    }

    /// A member device that acts under a live grant.
    pub(crate) fn attached(
        &self,
        user: &UserId,
        device: &DeviceId,
        incarnation: &OperationId,
    ) -> Option<&Attached> {
        let member = self.members.get(user)?;
        member
            .incarnations
            .contains(incarnation)
            .then(|| member.devices.get(device))
            .flatten()
    }

    /// A member device and its user.
    pub(crate) fn device(&self, device: &DeviceId) -> Option<(&UserId, &Attached)> {
        self.members
            .iter()
            .find_map(|(user, member)| member.devices.get(device).map(|attached| (user, attached)))
    }

    /// Every member device.
    pub(crate) fn devices(&self) -> impl Iterator<Item = (&DeviceId, &Attached)> {
        self.members
            .values()
            .flat_map(|member| member.devices.iter())
    }

    /// Every member device as a recipient of seals.
    pub(crate) fn recipients(&self) -> Vec<Recipient> {
        let mut recipients: Vec<Recipient> = self
            .devices()
            .map(|(device, attached)| Recipient {
                device: *device,
                kem: attached.kem.clone(),
            })
            .collect();
        recipients.sort_by_key(|recipient| recipient.device);
        recipients
    }

    pub(crate) fn role(&self, user: &UserId) -> Option<Role> {
        self.members.get(user).map(|member| member.role)
    }

    /// Whether an operation may stand on this view. The author is known to be a member device.
    pub(super) fn check(&self, operation: &Operation) -> Result<(), OperationError> {
        match &operation.body {
            Body::Add {
                user,
                role,
                log,
                forwards,
            } => {
                let author = self
                    .role(&operation.user)
                    .ok_or(OperationError::NotAMember)?;
                if author < Role::Admin || *role > Role::Admin {
                    return Err(OperationError::NotAllowed);
                }
                if self.members.contains_key(user) {
                    return Err(OperationError::AlreadyMember);
                }
                let devices = Devices::decode(log)?;
                if devices.user != *user {
                    return Err(OperationError::WrongUserLog);
                }
                self.check_room(devices.len())?;
                let added: Vec<DeviceId> = devices.iter().map(|(id, _)| *id).collect();
                self.check_forwards(&added, forwards)
            }
            Body::AttachDevice {
                device,
                log,
                forwards,
            } => {
                let devices = Devices::decode(log)?;
                if devices.user != operation.user || devices.device(device).is_none() {
                    return Err(OperationError::WrongUserLog);
                }
                self.check_room(1)?;
                self.check_forwards(&[*device], forwards)
            }
            Body::Rekey(rekey) => {
                let named: BTreeSet<DeviceId> = rekey.recipients().collect();
                let live: BTreeSet<DeviceId> = self.devices().map(|(id, _)| *id).collect();
                if named != live {
                    return Err(OperationError::WrongRecipients);
                }
                let known = |epoch| self.epochs.contains_key(epoch);
                if rekey.parents_epochs.iter().all(known) {
                    Ok(())
                } else {
                    Err(OperationError::UnknownEpoch)
                }
            }
            Body::Forward(forward) => self.check_forwards_to(&forward.device, forward),
            _ => Err(OperationError::Unsupported),
        }
    }

    fn check_room(&self, more: usize) -> Result<(), OperationError> {
        if self.devices().count().saturating_add(more) > limits::DEVICES_PER_CONVERSATION_MAX {
            return Err(OperationError::TooManyDevices);
        }
        Ok(())
    }

    /// A newcomer's device must be able to read from the moment it is added.
    fn check_forwards(
        &self,
        devices: &[DeviceId],
        forwards: &[Forward],
    ) -> Result<(), OperationError> {
        let given: BTreeSet<(DeviceId, EpochId)> = forwards
            .iter()
            .map(|forward| (forward.device, forward.epoch))
            .collect();
        let wanted = devices
            .iter()
            .flat_map(|d| self.newest.iter().map(move |e| (*d, *e)));
        for pair in wanted {
            if !given.contains(&pair) {
                return Err(OperationError::MissingForward);
            }
        }
        for forward in forwards {
            if !devices.contains(&forward.device) {
                return Err(OperationError::WrongRecipients);
            }
            self.check_commitment(forward)?;
        }
        Ok(())
    }

    fn check_forwards_to(
        &self,
        device: &DeviceId,
        forward: &Forward,
    ) -> Result<(), OperationError> {
        if self.device(device).is_none() {
            return Err(OperationError::WrongRecipients);
        }
        self.check_commitment(forward)
    }

    fn check_commitment(&self, forward: &Forward) -> Result<(), OperationError> {
        match self.epochs.get(&forward.epoch) {
            Some(facts) if facts.commitment == forward.commitment => Ok(()),
            Some(_) | None => Err(OperationError::UnknownEpoch),
        }
    }

    /// Takes an accepted operation in.
    pub(super) fn apply(
        &mut self,
        id: OperationId,
        operation: &Operation,
    ) -> Result<(), OperationError> {
        match &operation.body {
            Body::Genesis(genesis) => {
                self.name.clone_from(&genesis.name);
                self.admit(&Devices::decode(&genesis.creator_log)?, Role::Owner, id);
            }
            Body::Add {
                user,
                role,
                log,
                forwards,
            } => {
                // Two admins may add the same user at once: both grants stand, the higher role
                // counts, and the devices that either names are attached.
                let devices = Devices::decode(log)?;
                match self.members.get_mut(user) {
                    None => self.admit(&devices, *role, id),
                    Some(member) => {
                        for (device, known) in devices.iter() {
                            member
                                .devices
                                .entry(*device)
                                .or_insert_with(|| Attached::of(&known.certificate));
                        }
                        member.incarnations.insert(id);
                        member.role = member.role.max(*role);
                    }
                }
                self.give(forwards);
            }
            Body::AttachDevice {
                device,
                log,
                forwards,
            } => {
                let devices = Devices::decode(log)?;
                let known = devices.device(device).ok_or(OperationError::WrongUserLog)?;
                let member = self
                    .members
                    .get_mut(&operation.user)
                    .ok_or(OperationError::NotAMember)?;
                member
                    .devices
                    .insert(*device, Attached::of(&known.certificate));
                self.give(forwards);
            }
            Body::Rekey(rekey) => self.open_epoch(id, operation, rekey),
            Body::Forward(forward) => self.give(std::slice::from_ref(forward)),
            _ => return Err(OperationError::Unsupported),
        }
        Ok(())
    }

    fn open_epoch(&mut self, id: OperationId, operation: &Operation, rekey: &Rekey) {
        let epoch = epoch_id(
            &operation.conversation,
            operation.author,
            operation.seq,
            &rekey.commitment,
        );
        let below = rekey
            .parents_epochs
            .iter()
            .filter_map(|epoch| self.epochs.get(epoch));
        let depth = below
            .map(|facts| facts.depth.saturating_add(1))
            .max()
            .unwrap_or(0);
        for parent in &rekey.parents_epochs {
            self.newest.remove(parent);
        }
        self.newest.insert(epoch);
        let facts = EpochFacts {
            operation: id,
            commitment: rekey.commitment,
            parents: rekey.parents_epochs.clone(),
            depth,
            holders: rekey.recipients().collect(),
        };
        self.epochs.insert(epoch, facts);
    }

    fn give(&mut self, forwards: &[Forward]) {
        for forward in forwards {
            if let Some(facts) = self.epochs.get_mut(&forward.epoch) {
                facts.holders.insert(forward.device);
            }
        }
    }
}
