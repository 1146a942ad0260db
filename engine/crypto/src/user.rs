//! The user log (research/keys.md 2.1): who a user is and which devices are his.

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

use crate::codec;
use crate::derive::hash;
use crate::device::{DeviceCertificate, DeviceSecrets};
use crate::id::{DeviceId, OperationId, UserId};
use crate::kem::{self, Suite};
use crate::label;
use crate::limits;
use crate::recovery::RecoveryPhrase;
use crate::signature::{self, Signature};
use crate::statement::StatementError;

/// The public keys of a recovery phrase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryKeys {
    /// Ed25519 public key.
    pub signing: [u8; 32],
    /// How the sealing key seals.
    pub suite: Suite,
    /// The sealing key.
    #[serde(
        serialize_with = "codec::bytes",
        deserialize_with = "codec::bounded_bytes::<_, { limits::KEM_PUBLIC_BYTES_MAX }>"
    )]
    pub kem: Vec<u8>,
}

impl RecoveryKeys {
    /// The public keys of a phrase.
    ///
    /// # Errors
    /// [`StatementError::Certificate`] when the sealing key cannot be derived.
    pub fn of(phrase: &RecoveryPhrase) -> Result<Self, StatementError> {
        let (suite, kem) = phrase.kem_public()?;
        Ok(Self {
            signing: phrase.signing_public(),
            suite,
            kem,
        })
    }

    fn verify_shape(&self) -> Result<(), StatementError> {
        let sound =
            signature::is_sound(&self.signing) && kem::public_is_sound(self.suite, &self.kem);
        sound.then_some(()).ok_or(StatementError::Certificate)
    }
}

/// The first statement of a user log. Its hash is the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserGenesis {
    /// The keys of the recovery phrase, which outrank every device.
    pub recovery: RecoveryKeys,
    /// The primary device. Its signature over the genesis is its proof of possession: the genesis
    /// holds the certificate and hashes to the user id, so nothing is left to bind.
    pub device: DeviceCertificate,
    /// Makes two genesis statements of the same keys two users.
    pub random: [u8; 32],
}

impl UserGenesis {
    /// Founds a user with one device.
    ///
    /// # Errors
    /// [`StatementError::TooLarge`] when the label is too long.
    pub fn create(
        rng: &mut (impl CryptoRng + ?Sized),
        phrase: &RecoveryPhrase,
        device: &DeviceSecrets,
        label: &str,
    ) -> Result<SignedUserGenesis, StatementError> {
        let mut genesis = Self {
            recovery: RecoveryKeys::of(phrase)?,
            device: device.certificate(label)?,
            random: [0; 32],
        };
        rng.fill_bytes(&mut genesis.random);
        let bytes = codec::encode_statement(&genesis)?;
        Ok(SignedUserGenesis {
            recovery_signature: phrase.sign(label::signature::GENESIS_BY_RECOVERY, &[&bytes]),
            device_signature: device.sign(label::signature::GENESIS_BY_DEVICE, &[&bytes]),
            bytes,
        })
    }
}

/// A user genesis with both signatures, verified over the bytes received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedUserGenesis {
    /// The encoded [`UserGenesis`].
    #[serde(
        serialize_with = "codec::bytes",
        deserialize_with = "codec::bounded_bytes::<_, { limits::USER_LOG_BYTES_MAX }>"
    )]
    pub bytes: Vec<u8>,
    /// By the recovery key.
    pub recovery_signature: Signature,
    /// By the first device.
    pub device_signature: Signature,
}

impl SignedUserGenesis {
    /// `H("sheaf1/user" || genesis)`.
    #[must_use]
    pub fn user(&self) -> UserId {
        UserId(hash(&[label::hash::USER, &self.bytes]))
    }

    /// The name under which later operations refer to the genesis, as the incarnation of the
    /// recovery key and of the first device: `H("sheaf1/identity-op" || genesis)`.
    #[must_use]
    pub fn id(&self) -> OperationId {
        OperationId(hash(&[label::hash::IDENTITY_OPERATION, &self.bytes]))
    }

    /// Checks keys, certificate and both signatures.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn verify(&self) -> Result<(UserId, UserGenesis), StatementError> {
        let genesis: UserGenesis = codec::decode_statement(&self.bytes)?;
        genesis.recovery.verify_shape()?;
        genesis.device.verify_shape()?;
        self.recovery_signature.verify(
            &genesis.recovery.signing,
            label::signature::GENESIS_BY_RECOVERY,
            &[&self.bytes],
        )?;
        self.device_signature.verify(
            &genesis.device.signing,
            label::signature::GENESIS_BY_DEVICE,
            &[&self.bytes],
        )?;
        Ok((self.user(), genesis))
    }
}

/// Who signed a user operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Author {
    /// One of the user's devices.
    Device(DeviceId),
    /// The recovery key, which has no device.
    Recovery,
}

/// What a user operation does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserBody {
    /// Approves a device.
    AddDevice {
        /// The new device.
        certificate: DeviceCertificate,
        /// By the new device, over `"sheaf1/possession" || user || certificate`.
        possession: Signature,
    },
    /// Ends a device.
    RevokeDevice {
        /// Which device.
        device: DeviceId,
        /// The grants that are ended; a later grant to the same device is another.
        #[serde(deserialize_with = "codec::list::<_, _, { limits::INCARNATIONS_MAX }>")]
        incarnations: Vec<OperationId>,
    },
    /// The emergency brake: the device receives no new epoch, its new content waits.
    Freeze {
        /// Which device.
        device: DeviceId,
    },
    /// Takes a freeze back; by a key strictly senior to the freezer's.
    Thaw {
        /// Which device.
        device: DeviceId,
    },
    /// Makes a device the primary one: the one that does for all what only one needs to do. Any
    /// live device or the recovery key says so. No authority passes on, and no grant begins or ends.
    Handover {
        /// The new primary device.
        to: DeviceId,
    },
    /// Replaces the recovery phrase; by the recovery key only.
    RotateRecovery {
        /// The new keys.
        recovery: RecoveryKeys,
        /// By the new recovery key, over `"sheaf1/recovery-possession" || user || keys`.
        possession: Signature,
    },
    /// Gives a device another name for people.
    RenameDevice {
        /// Which device.
        device: DeviceId,
        /// The new name.
        #[serde(deserialize_with = "codec::text::<_, { limits::LABEL_BYTES_MAX }>")]
        label: String,
    },
    /// The author is not to be the primary device, because it is about to be away or does not want
    /// to: the next one in order is, until a later handover names the author. By a device only.
    Decline,
}

/// One operation of a user log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserOperation {
    /// Whose log.
    pub user: UserId,
    /// Who signs.
    pub author: Author,
    /// The grant under which the author acts: an operation, or [`SignedUserGenesis::id`].
    pub incarnation: OperationId,
    /// Place in the author's chain within this log.
    pub seq: u64,
    /// The author's operation before this one.
    pub previous: Option<OperationId>,
    /// The heads that the author had seen, strictly rising.
    #[serde(deserialize_with = "codec::list::<_, _, { limits::PARENTS_MAX }>")]
    pub parents: Vec<OperationId>,
    /// What it does.
    pub body: UserBody,
}

impl UserOperation {
    fn check(&self) -> Result<(), StatementError> {
        if self.parents.len() > limits::PARENTS_MAX {
            return Err(StatementError::TooLarge);
        }
        if !self.parents.is_sorted_by(|lower, higher| lower < higher) {
            return Err(StatementError::Malformed);
        }
        match &self.body {
            UserBody::AddDevice {
                certificate,
                possession,
            } => certificate.verify_possession(&self.user, possession),
            UserBody::RotateRecovery {
                recovery,
                possession,
            } => {
                recovery.verify_shape()?;
                possession
                    .verify(
                        &recovery.signing,
                        label::signature::ROTATED_RECOVERY,
                        &[&self.user.0, &codec::encode(recovery)?],
                    )
                    .map_err(|_| StatementError::Possession)
            }
            UserBody::RevokeDevice { incarnations, .. } => {
                bounded(incarnations.len(), limits::INCARNATIONS_MAX)
            }
            UserBody::RenameDevice { label, .. } => bounded(label.len(), limits::LABEL_BYTES_MAX),
            UserBody::Freeze { .. }
            | UserBody::Thaw { .. }
            | UserBody::Handover { .. }
            | UserBody::Decline => Ok(()),
        }
    }
}

fn bounded(length: usize, length_max: usize) -> Result<(), StatementError> {
    if length > length_max {
        return Err(StatementError::TooLarge);
    }
    Ok(())
}

/// Proof that the holder of a new phrase agrees to recover `user`.
///
/// # Errors
/// [`StatementError::Certificate`] when the keys are not the phrase's.
pub fn prove_recovery_possession(
    user: &UserId,
    phrase: &RecoveryPhrase,
    keys: &RecoveryKeys,
) -> Result<Signature, StatementError> {
    if keys.signing != phrase.signing_public() {
        return Err(StatementError::Certificate);
    }
    Ok(phrase.sign(
        label::signature::ROTATED_RECOVERY,
        &[&user.0, &codec::encode(keys)?],
    ))
}

/// A user operation with its signature, verified over the bytes received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedUserOperation {
    /// The encoded [`UserOperation`].
    #[serde(
        serialize_with = "codec::bytes",
        deserialize_with = "codec::bounded_bytes::<_, { limits::USER_LOG_BYTES_MAX }>"
    )]
    pub bytes: Vec<u8>,
    /// By the author, over `"sheaf1/identity-op-sig" || bytes`.
    pub signature: Signature,
}

impl SignedUserOperation {
    /// Signs by a device.
    ///
    /// # Errors
    /// [`StatementError::Author`] when the operation names another author; what its receivers would
    /// refuse is refused here.
    pub fn sign(operation: &UserOperation, device: &DeviceSecrets) -> Result<Self, StatementError> {
        if operation.author != Author::Device(device.device()) {
            return Err(StatementError::Author);
        }
        operation.check()?;
        let bytes = codec::encode_statement(operation)?;
        let signature = device.sign(label::signature::IDENTITY_OPERATION, &[&bytes]);
        Ok(Self { bytes, signature })
    }

    /// Signs by the recovery key.
    ///
    /// # Errors
    /// As [`Self::sign`].
    pub fn sign_with_recovery(
        operation: &UserOperation,
        phrase: &RecoveryPhrase,
    ) -> Result<Self, StatementError> {
        if operation.author != Author::Recovery {
            return Err(StatementError::Author);
        }
        operation.check()?;
        let bytes = codec::encode_statement(operation)?;
        let signature = phrase.sign(label::signature::IDENTITY_OPERATION, &[&bytes]);
        Ok(Self { bytes, signature })
    }

    /// `H("sheaf1/identity-op" || bytes)`.
    #[must_use]
    pub fn id(&self) -> OperationId {
        OperationId(hash(&[label::hash::IDENTITY_OPERATION, &self.bytes]))
    }

    /// What the bytes say, not yet verified: enough to find the author's key.
    ///
    /// # Errors
    /// [`StatementError::Malformed`].
    pub fn decode(&self) -> Result<UserOperation, StatementError> {
        Ok(codec::decode_statement(&self.bytes)?)
    }

    /// Checks the author's signature, the fields, and for a new device its proof of possession.
    /// `signing` is the key of the named device, or the recovery key in force.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn verify(&self, signing: &[u8; 32]) -> Result<UserOperation, StatementError> {
        let operation = self.decode()?;
        if let Author::Device(device) = operation.author
            && device != DeviceId::of_key(signing)
        {
            return Err(StatementError::Author);
        }
        self.signature.verify(
            signing,
            label::signature::IDENTITY_OPERATION,
            &[&self.bytes],
        )?;
        operation.check()?;
        Ok(operation)
    }
}

/// A whole user log, as it travels: the proof of who a user's devices are. Nothing in it is verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserLog {
    /// The founding statement.
    pub genesis: SignedUserGenesis,
    /// The operations, parents before children.
    #[serde(deserialize_with = "codec::list::<_, _, { limits::USER_LOG_OPERATIONS_MAX }>")]
    pub operations: Vec<SignedUserOperation>,
}

impl UserLog {
    /// `version(1) || postcard(log)`.
    ///
    /// # Errors
    /// [`StatementError::TooLarge`] when the log is beyond its limits.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StatementError> {
        bounded(self.operations.len(), limits::USER_LOG_OPERATIONS_MAX)?;
        let bytes = codec::encode_statement(self)?;
        bounded(bytes.len(), limits::USER_LOG_BYTES_MAX)?;
        Ok(bytes)
    }

    /// Reads what [`Self::to_bytes`] wrote, strictly.
    ///
    /// # Errors
    /// [`StatementError::TooLarge`] or [`StatementError::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StatementError> {
        bounded(bytes.len(), limits::USER_LOG_BYTES_MAX)?;
        Ok(codec::decode_statement(bytes)?)
    }

    /// The user that the log is about.
    #[must_use]
    pub fn user(&self) -> UserId {
        self.genesis.user()
    }
}

#[cfg(test)]
mod tests;
