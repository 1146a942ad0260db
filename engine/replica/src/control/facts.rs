//! What an operation says, decoded once.

use std::collections::BTreeMap;

use sheaf_crypto::{Body, DeviceCertificate, DeviceId, EpochId, KemRecord, Operation, epoch_id};

use super::OperationError;
use crate::user::Devices;

/// A device that takes part in a conversation.
#[derive(Debug, Clone)]
pub(crate) struct Attached {
    pub(crate) signing: [u8; 32],
    pub(crate) kem: KemRecord,
    pub(crate) inbox_seed: [u8; 32],
    /// Grants between the device and the first one of its user, as the log said that it came with.
    pub(crate) depth: usize,
}

impl Attached {
    fn of(certificate: &DeviceCertificate, depth: usize) -> Self {
        Self {
            signing: certificate.signing,
            kem: certificate.kem.clone(),
            inbox_seed: certificate.inbox_seed,
            depth,
        }
    }
}

/// The parts of an operation that are costly to decode.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// Devices that it brings in.
    pub(super) devices: BTreeMap<DeviceId, Attached>,
    /// The user log that it carries.
    pub(super) log: Option<Devices>,
    /// The epoch that it begins.
    pub(super) epoch: Option<EpochId>,
}

impl Facts {
    pub(super) fn of(operation: &Operation) -> Result<Self, OperationError> {
        let mut facts = Self::default();
        match &operation.body {
            Body::Genesis(genesis) => facts.take_all(&genesis.creator_log)?,
            Body::Add { user, log, .. } => {
                facts.take_all(log)?;
                if facts.log.as_ref().is_none_or(|log| log.user != *user) {
                    return Err(OperationError::WrongUserLog);
                }
            }
            Body::AttachDevice { device, log, .. } => {
                let devices = Devices::decode(log)?;
                let known = devices
                    .device(device)
                    .filter(|_| devices.user == operation.user)
                    .ok_or(OperationError::WrongUserLog)?;
                facts.devices.insert(
                    *device,
                    Attached::of(&known.certificate, devices.depth(device)),
                );
                facts.log = Some(devices);
            }
            Body::DetachDevice { proof, .. } if !proof.is_empty() => {
                facts.log = Some(Devices::decode(proof)?);
            }
            Body::ThawByRecovery(thaw) => facts.log = Some(Devices::decode(&thaw.log)?),
            Body::Rekey(rekey) => {
                facts.epoch = Some(epoch_id(
                    &operation.conversation,
                    operation.author,
                    operation.seq,
                    &rekey.commitment,
                ));
            }
            _ => {}
        }
        Ok(facts)
    }

    fn take_all(&mut self, log: &[u8]) -> Result<(), OperationError> {
        let devices = Devices::decode(log)?;
        for (device, known) in devices.iter() {
            self.devices.insert(
                *device,
                Attached::of(&known.certificate, devices.depth(device)),
            );
        }
        self.log = Some(devices);
        Ok(())
    }
}
