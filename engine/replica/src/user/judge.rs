//! Whether an operation is allowed where it was written.

use std::sync::Arc;

use sheaf_crypto::{
    Author, DeviceId, OperationId, SignedUserOperation, UserBody, UserOperation, limits,
};
use sheaf_membership::{Act, Log, Operation, Rank};

use super::known::{Entry, Known};
use super::standing::Standing;
use super::{Devices, Subject, UserLogError};

/// Room that an operation takes in a log beside its own bytes: a signature and lengths.
const OPERATION_EXTRA_BYTES: usize = 64 + 8;

impl Devices {
    /// Judges an operation and takes it if it is allowed; `false` if it is known.
    ///
    /// What the log says is not drawn anew: that is for whoever has nothing more to take.
    pub(super) fn take(&mut self, signed: &SignedUserOperation) -> Result<bool, UserLogError> {
        let id = signed.id();
        if self.known.contains(&id) {
            return Ok(false);
        }
        let claimed = signed.decode()?;
        if claimed.user != self.user {
            return Err(UserLogError::OtherUser);
        }
        let bytes = self.bytes + signed.bytes.len() + OPERATION_EXTRA_BYTES;
        if !self.has_room(claimed.author, bytes) {
            return Err(UserLogError::Full);
        }
        let past = self.known.past(&claimed.parents);
        let view = self.roles.view(&claimed.parents);
        let (past, view) = past.zip(view).ok_or(UserLogError::UnknownParents)?;
        let standing = Standing::of(&self.known, &self.roles, Arc::clone(&view), past);
        let case = Case {
            known: &self.known,
            roles: &self.roles,
            standing: &standing,
            author: claimed.author.into(),
            incarnation: match claimed.author {
                Author::Recovery => self.known.recovery_incarnation(),
                Author::Device(_) => claimed.incarnation,
            },
            claimed: &claimed,
        };
        case.authenticate(signed)?;
        let act = case.judge()?;
        let thawed = case.thawed();
        let (author, incarnation) = (case.author, case.incarnation);
        self.roles.insert(&Operation {
            id,
            parents: claimed.parents.clone(),
            author,
            incarnation,
            act,
        })?;
        let entry = Entry {
            id,
            author,
            incarnation,
            operation: claimed,
            past: standing.past,
        };
        self.known.push(entry, &thawed);
        self.log.operations.push(signed.clone());
        self.bytes = bytes;
        Ok(true)
    }

    /// Whether the log may grow by one operation to so many bytes.
    pub(super) fn has_room(&self, author: Author, bytes: usize) -> bool {
        let (operations_free, bytes_free) = match author {
            Author::Recovery => (0, 0),
            Author::Device(_) => (
                crate::limits::USER_LOG_OPERATIONS_FOR_PHRASE,
                crate::limits::USER_LOG_BYTES_FOR_PHRASE,
            ),
        };
        self.log.operations.len() + operations_free < limits::USER_LOG_OPERATIONS_MAX
            && bytes + bytes_free <= limits::USER_LOG_BYTES_MAX
    }
}

/// An operation before its judge.
struct Case<'a> {
    known: &'a Known,
    roles: &'a Log<OperationId, Subject>,
    standing: &'a Standing,
    author: Subject,
    incarnation: OperationId,
    claimed: &'a UserOperation,
}

impl Case<'_> {
    /// The author was there, signed this and was free to.
    fn authenticate(&self, signed: &SignedUserOperation) -> Result<(), UserLogError> {
        let live = self.standing.view.live(&self.author, &self.incarnation);
        if live.is_none() {
            return Err(UserLogError::UnknownAuthor);
        }
        match self.claimed.author {
            Author::Recovery if self.claimed.incarnation != self.known.root => {
                return Err(UserLogError::UnknownAuthor);
            }
            Author::Recovery => {
                let keys = self.known.recovery(self.standing.rotation);
                signed.verify(&keys.signing)?;
            }
            Author::Device(device) => {
                let certificate = self.known.certificate(&self.incarnation);
                let certificate = certificate
                    .filter(|_| self.standing.is_live(&device))
                    .ok_or(UserLogError::UnknownAuthor)?;
                signed.verify(&certificate.signing)?;
                if self.standing.is_frozen(&device) {
                    return Err(UserLogError::Frozen);
                }
            }
        }
        if !self.follows() {
            return Err(UserLogError::BrokenChain);
        }
        Ok(())
    }

    /// Whether the operation goes on from one of its author's that he had not gone on from, as far
    /// as its past tells. Two that go on from one side by side are two operations.
    fn follows(&self) -> bool {
        let own = self.known.by_author(&self.author);
        let own = own.filter(|at| self.standing.past.contains(*at));
        let newest = self.known.newest(own);
        match self.claimed.previous {
            None => newest.is_empty() && self.claimed.seq == 1,
            Some(previous) => newest.iter().any(|last| {
                last.id == previous && Some(self.claimed.seq) == last.operation.seq.checked_add(1)
            }),
        }
    }

    /// What the operation is to the resolver, if the rules that are not the resolver's allow it.
    fn judge(&self) -> Result<Act<OperationId, Subject>, UserLogError> {
        let other = Act::Other { least: Rank::Admin };
        match &self.claimed.body {
            UserBody::AddDevice { certificate, .. } => {
                if self.standing.is_member(&certificate.device) {
                    return Err(UserLogError::KnownDevice);
                }
                if self.standing.live.len() >= limits::DEVICES_PER_USER_MAX {
                    return Err(UserLogError::TooManyDevices);
                }
                Ok(Act::Grant {
                    to: Subject::Device(certificate.device),
                    rank: Rank::Admin,
                })
            }
            UserBody::RevokeDevice {
                device,
                incarnations,
            } => Ok(Act::Remove {
                subject: Subject::Device(*device),
                named: incarnations.clone(),
            }),
            UserBody::Freeze { device } => self.judge_freeze(device).map(|()| other),
            UserBody::Thaw { device } => self.judge_thaw(device).map(|()| other),
            UserBody::Handover { to: device } | UserBody::RenameDevice { device, .. } => {
                self.judge_live(device).map(|()| other)
            }
            UserBody::Decline => match self.author {
                Subject::Device(_) => Ok(other),
                Subject::Recovery => Err(UserLogError::UnknownDevice),
            },
            UserBody::RotateRecovery { .. } => match self.author {
                Subject::Recovery => Ok(other),
                Subject::Device(_) => Err(UserLogError::RecoveryOnly),
            },
        }
    }

    fn judge_live(&self, device: &DeviceId) -> Result<(), UserLogError> {
        if !self.standing.is_live(device) {
            return Err(UserLogError::UnknownDevice);
        }
        Ok(())
    }

    fn judge_freeze(&self, device: &DeviceId) -> Result<(), UserLogError> {
        self.judge_live(device)?;
        if self.author == Subject::Device(*device) {
            return Err(UserLogError::FreezesItself);
        }
        let mut open = self.standing.open.iter();
        if open.any(|(_, by, frozen)| *by == self.author && frozen == device) {
            return Err(UserLogError::AlreadyFrozen);
        }
        Ok(())
    }

    fn judge_thaw(&self, device: &DeviceId) -> Result<(), UserLogError> {
        self.judge_live(device)?;
        let open = self.standing.open.iter();
        let freezes = open.filter(|(_, _, frozen)| frozen == device);
        let mut freezes = freezes.map(|(id, ..)| id).peekable();
        if freezes.peek().is_none() {
            return Err(UserLogError::NotFrozen);
        }
        let mut freezes = freezes.filter_map(|id| self.known.find(id));
        if !freezes.any(|freeze| self.may_take_back(freeze)) {
            return Err(UserLogError::NotSenior);
        }
        Ok(())
    }

    /// The freezes in the past that this operation takes back, whether or not they have effect now:
    /// those of others stay.
    fn thawed(&self) -> Vec<usize> {
        let UserBody::Thaw { device: thawed } = &self.claimed.body else {
            return Vec::new();
        };
        let freezes = self.standing.below(&self.known.freezes);
        let own = freezes.filter(|at| {
            self.known.at(*at).is_some_and(|freeze| {
                matches!(&freeze.operation.body, UserBody::Freeze { device } if device == thawed)
                    && self.may_take_back(freeze)
            })
        });
        own.collect()
    }

    /// Whether the author made the freeze, or is above whoever did.
    fn may_take_back(&self, freeze: &Entry) -> bool {
        let above = || self.roles.chain(&freeze.incarnation).unwrap_or_default();
        freeze.author == self.author || above().contains(&self.incarnation)
    }
}
