//! Devices of a user: the user log of research/keys.md 2.1, resolved.
//!
//! Who is a device follows from [`sheaf_membership::Log`], with the recovery key as the owner and
//! every device as an admin below whoever approved it. The rest is decided here, in four steps that
//! each read the one before: what is known (`known`), how things stand at some place of the history
//! (`standing`), whether an operation is allowed there (`judge`), and what the whole log says
//! (`picture`). docs/decisions/0007-user-log.md has the rules that are not in keys.md.
//!
//! A verdict depends on the operation and its causal past alone, and what the log says on the set of
//! its operations alone: no order of arrival decides anything. The bound on the whole log is the
//! one exception, because a log beyond it cannot travel.

mod author;
mod judge;
mod known;
mod picture;
mod standing;

use sheaf_crypto::{
    Author, DeviceCertificate, DeviceId, OperationId, RecoveryKeys, SignedUserOperation,
    StatementError, UserId, UserLog,
};
use sheaf_membership::{Log, Rank, Refusal};

use crate::limits;
use known::Known;
use picture::Picture;

/// Who can act in a user log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// The recovery phrase.
    Recovery,
    /// A device.
    Device(DeviceId),
}

impl From<Author> for Subject {
    fn from(author: Author) -> Self {
        match author {
            Author::Recovery => Self::Recovery,
            Author::Device(device) => Self::Device(device),
        }
    }
}

/// One live device of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserDevice {
    pub(crate) certificate: DeviceCertificate,
    /// The grant that made it a device of the user; of several the one nearest to the root.
    pub(crate) incarnation: OperationId,
    /// The device that does for all what only one needs to do. No authority comes with it.
    pub(crate) primary: bool,
    /// Another device pulled the emergency brake: it receives no new epoch.
    pub(crate) frozen: bool,
    /// The name for people: the certificate's until somebody gave another.
    pub(crate) label: String,
}

/// What has become of a device that was granted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeviceState {
    Active,
    Frozen,
    /// Its grants had effect, and a removal ended them.
    Revoked,
    /// Its grants are valid and have no effect.
    Refused(NoEffect),
}

/// Why a valid operation has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoEffect {
    /// A removal beside it took its author, or somebody above him, out.
    #[error("who approved it was taken out at the same time, by operation {0}")]
    Voided(OperationId),
    /// Devices were added side by side, and ten others come first.
    #[error("ten other devices were approved at the same time, and come first")]
    TooManyDevices,
}

/// A verified user log and what it says.
#[derive(Debug, Clone)]
pub(crate) struct Devices {
    pub(crate) user: UserId,
    log: UserLog,
    /// Bytes of the encoded log, at most.
    bytes: usize,
    known: Known,
    roles: Log<OperationId, Subject>,
    picture: Picture,
}

/// Why a user log or an operation was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum UserLogError {
    #[error(transparent)]
    Statement(#[from] StatementError),
    #[error(transparent)]
    Role(#[from] Refusal),
    #[error("operation is of another user")]
    OtherUser,
    #[error("author is not a device of the user")]
    UnknownAuthor,
    #[error("operation does not follow its author's last one")]
    BrokenChain,
    /// The only one that says "not yet".
    #[error("operation names parents that are not known")]
    UnknownParents,
    #[error("author was frozen before")]
    Frozen,
    #[error("the device is already part of the log")]
    KnownDevice,
    #[error("no such device is live there")]
    UnknownDevice,
    #[error("the user has {} devices already", limits::DEVICES_PER_USER_MAX)]
    TooManyDevices,
    #[error("a device does not freeze itself")]
    FreezesItself,
    #[error("author has frozen the device before")]
    AlreadyFrozen,
    #[error("the device is not frozen")]
    NotFrozen,
    #[error("only who froze a device, or somebody senior to him, thaws it")]
    NotSenior,
    #[error("only the recovery phrase does that")]
    RecoveryOnly,
    /// The only one that depends on what else has arrived.
    #[error("the log has no room for the operation")]
    Full,
}

impl Devices {
    /// Verifies a log from its genesis on. Its operations may come in any order.
    pub(crate) fn verify(log: &UserLog) -> Result<Self, UserLogError> {
        let mut devices = Self::found(log)?;
        let (_, refused) = devices.take_all(&log.operations);
        refused.map_or(Ok(devices), Err)
    }

    /// Verifies the bytes of a log.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, UserLogError> {
        Self::verify(&UserLog::from_bytes(bytes)?)
    }

    fn found(log: &UserLog) -> Result<Self, UserLogError> {
        let (user, genesis) = log.genesis.verify()?;
        let first = Subject::Device(genesis.device.device);
        let known = Known::new(log.genesis.id(), genesis);
        let root = known.root;
        let roles = Log::found_with(
            root,
            &[
                (Subject::Recovery, Rank::Owner, known.recovery_incarnation()),
                (first, Rank::Admin, root),
            ],
        );
        let picture = Picture::of(&known, &roles);
        let log = UserLog {
            genesis: log.genesis.clone(),
            operations: Vec::new(),
        };
        let bytes = log.to_bytes()?.len();
        Ok(Self {
            user,
            log,
            bytes,
            known,
            roles,
            picture,
        })
    }

    /// Adds one operation; `false` if it is known.
    pub(crate) fn insert(&mut self, signed: &SignedUserOperation) -> Result<bool, UserLogError> {
        let new = self.take(signed)?;
        if new {
            self.picture = Picture::of(&self.known, &self.roles);
        }
        Ok(new)
    }

    /// Takes over what another copy of the log knows more. Operations that do not fit are left out.
    pub(crate) fn merge(&mut self, other: &Self) -> bool {
        let (grown, _) = self.take_all(&other.log.operations);
        grown
    }

    /// Takes operations in any order; says whether any was new, and why the first was refused.
    fn take_all(&mut self, operations: &[SignedUserOperation]) -> (bool, Option<UserLogError>) {
        let mut grown = false;
        let mut refused = None;
        let mut waiting: Vec<(&SignedUserOperation, Vec<OperationId>)> = Vec::new();
        for operation in operations {
            match operation.decode() {
                Ok(claimed) => waiting.push((operation, claimed.parents)),
                Err(error) => refused = refused.or(Some(error.into())),
            }
        }
        loop {
            let before = waiting.len();
            waiting.retain(|(operation, parents)| {
                if !self.known.has_all(parents) {
                    return true;
                }
                match self.take(operation) {
                    Ok(new) => grown |= new,
                    Err(error) => {
                        refused.get_or_insert(error);
                    }
                }
                false
            });
            if waiting.len() == before {
                break;
            }
        }
        if !waiting.is_empty() {
            refused.get_or_insert(UserLogError::UnknownParents);
        }
        if grown {
            self.picture = Picture::of(&self.known, &self.roles);
        }
        (grown, refused)
    }

    pub(crate) fn log(&self) -> &UserLog {
        &self.log
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        self.log.to_bytes().unwrap_or_default()
    }

    /// A live device, frozen or not.
    pub(crate) fn device(&self, device: &DeviceId) -> Option<&UserDevice> {
        self.picture.devices.get(device)
    }

    /// The live devices, frozen ones among them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&DeviceId, &UserDevice)> {
        self.picture.devices.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.picture.devices.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= limits::DEVICES_PER_USER_MAX
    }

    /// The primary device; the first one if none is left.
    pub(crate) fn primary(&self) -> DeviceId {
        self.picture.primary
    }

    /// Whether the device does not want to be primary.
    pub(crate) fn has_declined(&self, device: &DeviceId) -> bool {
        self.picture.declined.contains(device)
    }

    /// Who would be primary if it were not the one that is.
    pub(crate) fn next_primary(&self) -> Option<DeviceId> {
        let standing = &self.picture.standing;
        let serving = standing.live.iter().filter(|(device, _)| {
            **device != self.picture.primary
                && !standing.is_frozen(device)
                && !self.has_declined(device)
        });
        let next = serving.min_by_key(|(device, live)| (live.depth, **device));
        next.map(|(device, _)| *device)
    }

    /// Who froze the device, as far as nobody took it back.
    pub(crate) fn frozen_by(&self, device: &DeviceId) -> Option<Option<DeviceId>> {
        let mut open = self.picture.standing.open.iter();
        let (_, by, _) = open.find(|(_, _, frozen)| frozen == device)?;
        Some(match by {
            Subject::Device(by) => Some(*by),
            Subject::Recovery => None,
        })
    }

    /// Grants between a live device and the root; of one that is not live, more than of any other.
    pub(crate) fn depth(&self, device: &DeviceId) -> usize {
        let live = self.picture.standing.live.get(device);
        live.map_or(usize::MAX, |live| live.depth)
    }

    pub(crate) fn is_frozen(&self, device: &DeviceId) -> bool {
        self.device(device).is_some_and(|known| known.frozen)
    }

    /// Whether the device was granted once and is not live now because of a removal: of it, or of
    /// whoever approved it, beside that approval.
    pub(crate) fn was_revoked(&self, device: &DeviceId) -> bool {
        let member = self.picture.standing.is_member(device);
        !member && self.known.was_granted(device)
    }
}

impl Devices {
    /// The keys of the recovery phrase in force.
    pub(crate) fn recovery(&self) -> &RecoveryKeys {
        self.known.recovery(self.picture.standing.rotation)
    }

    /// Every device that was ever granted, the newest certificate of each, and its state.
    pub(crate) fn everything(
        &self,
    ) -> impl Iterator<Item = (&DeviceId, &DeviceCertificate, DeviceState)> {
        let granted = self.known.granted();
        granted.filter_map(|device| {
            let certificate = match self.device(device) {
                Some(live) => &live.certificate,
                None => self.known.newest_certificate(device)?,
            };
            Some((device, certificate, self.state(device)))
        })
    }

    fn state(&self, device: &DeviceId) -> DeviceState {
        if let Some(live) = self.device(device) {
            return if live.frozen {
                DeviceState::Frozen
            } else {
                DeviceState::Active
            };
        }
        let standing = &self.picture.standing;
        if standing.is_member(device) {
            return DeviceState::Refused(NoEffect::TooManyDevices);
        }
        let voided = self.known.grants_to(device).map(|id| standing.voided(id));
        match voided.collect::<Option<Vec<_>>>() {
            Some(by) => by
                .into_iter()
                .min()
                .map_or(DeviceState::Revoked, |removal| {
                    DeviceState::Refused(NoEffect::Voided(removal))
                }),
            None => DeviceState::Revoked,
        }
    }

    /// Valid operations that have no effect now, and why; in the order of their ids.
    #[cfg(test)]
    pub(crate) fn refused(&self) -> Vec<(OperationId, NoEffect)> {
        let standing = &self.picture.standing;
        let void = standing.view.void().iter();
        let mut refused: Vec<(OperationId, NoEffect)> = void
            .map(|void| (void.operation, NoEffect::Voided(void.by)))
            .collect();
        let beyond = standing.beyond.iter();
        refused.extend(beyond.map(|grant| (*grant, NoEffect::TooManyDevices)));
        refused.sort_unstable_by_key(|(id, _)| *id);
        refused
    }
}

#[cfg(test)]
mod tests;
