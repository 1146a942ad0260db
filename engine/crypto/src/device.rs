//! A device: its secrets and the certificate that says what it can be reached by.

use std::fmt;

use ed25519_dalek::SigningKey;
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use sheaf_protocol::RelayId;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::codec::{self, CodecError};
use crate::derive::kdf;
use crate::id::{DeviceId, UserId};
use crate::kem::{self, KemRecord, Suite};
use crate::label;
use crate::limits;
use crate::signature::{self, Signature};
use crate::statement::StatementError;

/// What a user log says about a device (research/keys.md 2.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceCertificate {
    /// `H("sheaf1/dev" || signing)`.
    pub device: DeviceId,
    /// Ed25519 public key.
    pub signing: [u8; 32],
    /// The sealing key at the time of the certificate; newer records may follow outside the log.
    pub kem: KemRecord,
    /// Whoever holds this may write to, and read the ciphertext of, the device's inbox topic.
    pub inbox_seed: [u8; 32],
    /// A name for people, at most [`limits::LABEL_BYTES_MAX`] bytes.
    #[serde(deserialize_with = "codec::text::<_, { limits::LABEL_BYTES_MAX }>")]
    pub label: String,
    /// Policy bits; none is defined yet.
    pub policy: u32,
}

impl DeviceCertificate {
    /// Checks what the certificate alone can show: the id is the key's, the key is not weak, the
    /// sealing key is sound and signed by it, the label is within bounds.
    ///
    /// # Errors
    /// [`StatementError::Certificate`].
    pub fn verify_shape(&self) -> Result<(), StatementError> {
        let sound = self.device == DeviceId::of_key(&self.signing)
            && signature::is_sound(&self.signing)
            && self.kem.device == self.device
            && self.kem.verify(&self.signing)
            && self.label.len() <= limits::LABEL_BYTES_MAX;
        sound.then_some(()).ok_or(StatementError::Certificate)
    }

    /// Checks that the holder of the certified key wants to be a device of this user.
    ///
    /// # Errors
    /// [`StatementError::Certificate`] or [`StatementError::Possession`].
    pub fn verify_possession(
        &self,
        user: &UserId,
        possession: &Signature,
    ) -> Result<(), StatementError> {
        self.verify_shape()?;
        possession
            .verify(
                &self.signing,
                label::signature::POSSESSION,
                &[&user.0, &codec::encode(self)?],
            )
            .map_err(|_| StatementError::Possession)
    }
}

/// The private keys of one device. They never leave it; every one is wiped on drop.
pub struct DeviceSecrets {
    signing: SigningKey,
    secrets: Secrets,
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct Secrets {
    signing: [u8; 32],
    inbox_seed: [u8; 32],
    link_seed: [u8; 32],
    #[serde(deserialize_with = "codec::list::<_, _, { limits::KEM_SECRETS_MAX }>")]
    kem: Vec<KemSecret>,
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct KemSecret {
    counter: u64,
    #[zeroize(skip)]
    suite: Suite,
    secret: [u8; 32],
}

/// Room for the encoded secrets: three seeds, and each KEM secret with its counter and suite.
const SECRETS_BYTES_MAX: usize = 1 + 3 * 32 + 4 + limits::KEM_SECRETS_MAX * (10 + 1 + 32);

impl DeviceSecrets {
    /// Draws all keys of a new device.
    #[must_use]
    pub fn generate(rng: &mut (impl CryptoRng + ?Sized), suite: Suite) -> Self {
        let mut secrets = Secrets {
            signing: [0; 32],
            inbox_seed: [0; 32],
            link_seed: [0; 32],
            kem: Vec::with_capacity(limits::KEM_SECRETS_MAX),
        };
        rng.fill_bytes(&mut secrets.signing);
        rng.fill_bytes(&mut secrets.inbox_seed);
        rng.fill_bytes(&mut secrets.link_seed);
        let mut device = Self::of(secrets);
        device.push_kem(rng, suite, 0);
        device
    }

    fn of(secrets: Secrets) -> Self {
        Self {
            signing: SigningKey::from_bytes(&secrets.signing),
            secrets,
        }
    }

    fn push_kem(&mut self, rng: &mut (impl CryptoRng + ?Sized), suite: Suite, counter: u64) {
        let mut kem = KemSecret {
            counter,
            suite,
            secret: [0; 32],
        };
        rng.fill_bytes(&mut kem.secret);
        self.secrets.kem.push(kem);
    }

    /// Which device this is.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        DeviceId::of_key(&self.signing_public())
    }

    /// The Ed25519 public key.
    #[must_use]
    pub fn signing_public(&self) -> [u8; 32] {
        self.signing.verifying_key().to_bytes()
    }

    /// The seed of the device's inbox topic.
    #[must_use]
    pub fn inbox_seed(&self) -> &[u8; 32] {
        &self.secrets.inbox_seed
    }

    /// `version(1) || postcard(signing seed, inbox seed, link seed, KEM secrets)`, for the vault.
    ///
    /// # Errors
    /// [`CodecError`] when more KEM secrets are held than the format has room for.
    pub fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, CodecError> {
        codec::encode_secret(
            &(codec::STATEMENT_VERSION, &self.secrets),
            SECRETS_BYTES_MAX,
        )
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`CodecError`] for bytes of another version or shape.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let secrets: Secrets = codec::decode_statement(bytes)?;
        let rising = secrets
            .kem
            .iter()
            .zip(secrets.kem.iter().skip(1))
            .all(|(older, newer)| older.counter < newer.counter);
        if secrets.kem.is_empty() || !rising {
            return Err(CodecError);
        }
        Ok(Self::of(secrets))
    }

    /// The device's newest sealing key, signed.
    ///
    /// # Errors
    /// [`StatementError::Malformed`] when the device holds no KEM secret.
    pub fn kem_record(&self) -> Result<KemRecord, StatementError> {
        let newest = self.secrets.kem.last().ok_or(StatementError::Malformed)?;
        let public = kem::public_of(newest.suite, &newest.secret)
            .map_err(|_| StatementError::Certificate)?;
        let device = self.device();
        let signature = Signature::create(
            &self.signing,
            label::signature::KEM_RECORD,
            &kem::record_parts(
                &device,
                &newest.counter.to_be_bytes(),
                &[newest.suite.into()],
                &public,
            ),
        );
        Ok(KemRecord {
            device,
            counter: newest.counter,
            suite: newest.suite,
            public,
            signature,
        })
    }

    /// Draws the next sealing key. The older ones stay until [`Self::forget_kem_before`].
    ///
    /// # Errors
    /// [`StatementError::TooLarge`] while [`limits::KEM_SECRETS_MAX`] secrets are held.
    pub fn rotate_kem(
        &mut self,
        rng: &mut (impl CryptoRng + ?Sized),
        suite: Suite,
    ) -> Result<KemRecord, StatementError> {
        let newest = self.secrets.kem.last().map_or(0, |kem| kem.counter);
        let next = newest.checked_add(1).ok_or(StatementError::TooLarge)?;
        if self.secrets.kem.len() >= limits::KEM_SECRETS_MAX {
            return Err(StatementError::TooLarge);
        }
        self.push_kem(rng, suite, next);
        self.kem_record()
    }

    /// Counter of the newest sealing key.
    #[must_use]
    pub fn kem_counter(&self) -> u64 {
        self.secrets.kem.last().map_or(0, |kem| kem.counter)
    }

    /// Erases the sealing key of one counter, the newest excepted.
    pub fn forget_kem(&mut self, counter: u64) {
        let newest = self.kem_counter();
        self.secrets
            .kem
            .retain(|kem| kem.counter != counter || kem.counter == newest);
    }

    /// Erases every sealing key older than `counter`, the newest excepted.
    pub fn forget_kem_before(&mut self, counter: u64) {
        let newest = self.secrets.kem.last().map_or(0, |kem| kem.counter);
        self.secrets
            .kem
            .retain(|kem| kem.counter >= counter || kem.counter == newest);
    }

    /// What others need to know of this device.
    ///
    /// # Errors
    /// [`StatementError::TooLarge`] when the label is longer than [`limits::LABEL_BYTES_MAX`].
    pub fn certificate(&self, label: &str) -> Result<DeviceCertificate, StatementError> {
        if label.len() > limits::LABEL_BYTES_MAX {
            return Err(StatementError::TooLarge);
        }
        Ok(DeviceCertificate {
            device: self.device(),
            signing: self.signing_public(),
            kem: self.kem_record()?,
            inbox_seed: self.secrets.inbox_seed,
            label: label.to_owned(),
            policy: 0,
        })
    }

    /// Proof that this device wants to belong to `user`: a signature over
    /// `"sheaf1/possession" || user || certificate`.
    ///
    /// # Errors
    /// [`StatementError::Certificate`] when the certificate is another device's.
    pub fn prove_possession(
        &self,
        user: &UserId,
        certificate: &DeviceCertificate,
    ) -> Result<Signature, StatementError> {
        if certificate.signing != self.signing_public() {
            return Err(StatementError::Certificate);
        }
        Ok(Signature::create(
            &self.signing,
            label::signature::POSSESSION,
            &[&user.0, &codec::encode(certificate)?],
        ))
    }

    /// The Ed25519 seed of the key by which this device is known to one relay, so that two relays
    /// cannot tell that they serve the same device: `KDF(link seed, relay, "sheaf1/relay-auth")`.
    #[must_use]
    pub fn relay_identity_seed(&self, relay: &RelayId) -> Zeroizing<[u8; 32]> {
        kdf(&self.secrets.link_seed, &relay.0, label::key::RELAY_AUTH)
    }

    pub(crate) fn sign(&self, label: &[u8], parts: &[&[u8]]) -> Signature {
        Signature::create(&self.signing, label, parts)
    }

    /// The KEM secret of one counter.
    pub(crate) fn kem_secret(&self, counter: u64) -> Option<(Suite, &[u8; 32])> {
        self.secrets
            .kem
            .iter()
            .find(|kem| kem.counter == counter)
            .map(|kem| (kem.suite, &kem.secret))
    }

    /// All KEM secrets with their counters, newest first.
    pub(crate) fn kem_secrets(&self) -> impl Iterator<Item = (u64, Suite, &[u8; 32])> {
        self.secrets
            .kem
            .iter()
            .rev()
            .map(|kem| (kem.counter, kem.suite, &kem.secret))
    }
}

impl fmt::Debug for DeviceSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeviceSecrets")
            .field(&self.device())
            .finish()
    }
}

#[cfg(test)]
mod tests;
