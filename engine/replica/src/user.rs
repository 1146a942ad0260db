//! Devices of a user: the user log of research/keys.md 2.1, resolved.
//!
//! Devices are only ever added here: the operations that take a device away are part of the format
//! and are refused by name, so that no device believes half of a log.

use std::collections::{BTreeMap, BTreeSet};

use sheaf_crypto::{
    Author, DeviceCertificate, DeviceId, DeviceSecrets, OperationId, SignedUserOperation,
    StatementError, UserBody, UserId, UserLog, UserOperation,
};

use crate::limits;

/// One device of a user.
#[derive(Debug, Clone)]
pub(crate) struct UserDevice {
    pub(crate) certificate: DeviceCertificate,
    /// The grant that made it a device of the user.
    pub(crate) incarnation: OperationId,
    /// The first device of the user.
    pub(crate) primary: bool,
}

/// A verified user log and what it says.
#[derive(Debug, Clone)]
pub(crate) struct Devices {
    pub(crate) user: UserId,
    log: UserLog,
    ids: BTreeSet<OperationId>,
    heads: BTreeSet<OperationId>,
    devices: BTreeMap<DeviceId, UserDevice>,
    /// Place of each author in its chain.
    chains: BTreeMap<DeviceId, (u64, OperationId)>,
}

/// Why a user log or an operation was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum UserLogError {
    #[error(transparent)]
    Statement(#[from] StatementError),
    #[error("operation is of another user")]
    OtherUser,
    #[error("author is not a device of the user")]
    UnknownAuthor,
    #[error("operation does not follow its author's last one")]
    BrokenChain,
    #[error("operation names parents that are not known")]
    UnknownParents,
    #[error("the device is already part of the log")]
    KnownDevice,
    #[error("operation of a kind that this version does not take")]
    Unsupported,
}

impl Devices {
    /// Verifies a log from its genesis on.
    pub(crate) fn verify(log: &UserLog) -> Result<Self, UserLogError> {
        let (user, genesis) = log.genesis.verify()?;
        let root = log.genesis.id();
        let first = UserDevice {
            certificate: genesis.device.clone(),
            incarnation: root,
            primary: true,
        };
        let mut devices = Self {
            user,
            log: UserLog {
                genesis: log.genesis.clone(),
                operations: Vec::new(),
            },
            ids: BTreeSet::from([root]),
            heads: BTreeSet::from([root]),
            devices: BTreeMap::from([(genesis.device.device, first)]),
            chains: BTreeMap::new(),
        };
        for operation in &log.operations {
            devices.insert(operation)?;
        }
        Ok(devices)
    }

    /// Verifies the bytes of a log.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, UserLogError> {
        Self::verify(&UserLog::from_bytes(bytes)?)
    }

    /// Adds one operation; `false` if it is known.
    pub(crate) fn insert(&mut self, signed: &SignedUserOperation) -> Result<bool, UserLogError> {
        let id = signed.id();
        if self.ids.contains(&id) {
            return Ok(false);
        }
        let claimed = signed.decode()?;
        if claimed.user != self.user {
            return Err(UserLogError::OtherUser);
        }
        let Author::Device(author) = claimed.author else {
            return Err(UserLogError::Unsupported);
        };
        let device = self
            .devices
            .get(&author)
            .ok_or(UserLogError::UnknownAuthor)?;
        if device.incarnation != claimed.incarnation {
            return Err(UserLogError::UnknownAuthor);
        }
        let operation = signed.verify(&device.certificate.signing)?;
        let place = self.chains.get(&author);
        let follows = match place {
            None => operation.seq == 1 && operation.previous.is_none(),
            Some((seq, last)) => {
                operation.seq == seq.saturating_add(1) && operation.previous == Some(*last)
            }
        };
        if !follows {
            return Err(UserLogError::BrokenChain);
        }
        if !operation
            .parents
            .iter()
            .all(|parent| self.ids.contains(parent))
        {
            return Err(UserLogError::UnknownParents);
        }
        self.apply(&operation, id)?;
        self.chains.insert(author, (operation.seq, id));
        self.ids.insert(id);
        for parent in &operation.parents {
            self.heads.remove(parent);
        }
        self.heads.insert(id);
        self.log.operations.push(signed.clone());
        Ok(true)
    }

    fn apply(&mut self, operation: &UserOperation, id: OperationId) -> Result<(), UserLogError> {
        let UserBody::AddDevice {
            certificate,
            possession,
        } = &operation.body
        else {
            return Err(UserLogError::Unsupported);
        };
        certificate.verify_shape()?;
        certificate.verify_possession(&self.user, possession)?;
        if self.devices.contains_key(&certificate.device) {
            return Err(UserLogError::KnownDevice);
        }
        let device = UserDevice {
            certificate: certificate.clone(),
            incarnation: id,
            primary: false,
        };
        self.devices.insert(certificate.device, device);
        Ok(())
    }

    /// Signs and inserts the operation that adds a device.
    pub(crate) fn add_device(
        &mut self,
        author: &DeviceSecrets,
        certificate: &DeviceCertificate,
        possession: &sheaf_crypto::Signature,
    ) -> Result<SignedUserOperation, UserLogError> {
        let device = self
            .devices
            .get(&author.device())
            .ok_or(UserLogError::UnknownAuthor)?;
        let place = self.chains.get(&author.device());
        let operation = UserOperation {
            user: self.user,
            author: Author::Device(author.device()),
            incarnation: device.incarnation,
            seq: place.map_or(1, |(seq, _)| seq.saturating_add(1)),
            previous: place.map(|(_, id)| *id),
            parents: self.heads.iter().copied().collect(),
            body: UserBody::AddDevice {
                certificate: certificate.clone(),
                possession: *possession,
            },
        };
        let signed = SignedUserOperation::sign(&operation, author)?;
        self.insert(&signed)?;
        Ok(signed)
    }

    /// Takes over what another copy of the log knows more. Operations that do not fit are left out.
    pub(crate) fn merge(&mut self, other: &Self) -> bool {
        let mut grown = false;
        for operation in &other.log.operations {
            grown |= self.insert(operation).unwrap_or(false);
        }
        grown
    }

    pub(crate) fn log(&self) -> &UserLog {
        &self.log
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        self.log.to_bytes().unwrap_or_default()
    }

    pub(crate) fn device(&self, device: &DeviceId) -> Option<&UserDevice> {
        self.devices.get(device)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&DeviceId, &UserDevice)> {
        self.devices.iter()
    }

    pub(crate) fn was_revoked(&self, _: &DeviceId) -> bool {
        false
    }

    pub(crate) fn is_frozen(&self, _: &DeviceId) -> bool {
        false
    }

    pub(crate) fn len(&self) -> usize {
        self.devices.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= limits::DEVICES_PER_USER_MAX
    }
}
