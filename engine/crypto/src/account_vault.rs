//! The account vault: what a new device needs to go on with an account, sealed to the recovery key
//! and signed by the device that wrote it, in as many records as it takes (research/keys.md 2.9).
//!
//! `record = ver(1) || suite(1) || id(16) || generation(8) || counter(8) || index(1) || count(1) ||
//! enc || ct`, integers big endian.
//!
//! The size shows a bucket and nothing else: whole vaults are padded to [`limits::VAULT_BYTES_MIN`]
//! times a power of two, and all records but the last have the same size.

use std::fmt;

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use sheaf_protocol::limits::PART_BYTES_MAX;
use zeroize::Zeroizing;

use crate::codec;
use crate::derive::hash;
use crate::device::DeviceSecrets;
use crate::id::{DeviceId, UserId};
use crate::kem::{self, Suite};
use crate::label;
use crate::limits;
use crate::parts::{
    self, CONTENT_OVERHEAD_BYTES_MAX, ID_BYTES, Part, SIGNATURE_BYTES, SealError, To,
};
use crate::recovery::RecoveryPhrase;
use crate::signature::Signature;
use crate::user::RecoveryKeys;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 2 + ID_BYTES + 8 + 8 + 2;

/// Why an account vault could not be sealed, opened, joined or verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccountVaultError {
    /// The body is larger than [`limits::VAULT_BODY_BYTES_MAX`].
    #[error("the vault is larger than its limit")]
    TooLarge,
    /// The recovery key is not usable.
    #[error("the recovery key is not usable")]
    RecoveryKey,
    /// The record is not a part of a vault of this version.
    #[error("the record is not part of a vault of this version")]
    Framing,
    /// The record is sealed to another phrase, or was altered.
    #[error("the record does not open with this recovery phrase")]
    Unreadable,
    /// The parts are not all of one vault.
    #[error("the parts are not one whole vault")]
    Parts,
    /// The joined vault does not decode.
    #[error("the vault is malformed")]
    Malformed,
    /// The key is not that of the device named as writer.
    #[error("the vault is by another device")]
    Writer,
    /// The writer did not sign this vault.
    #[error("the vault is not signed by its writer")]
    Signature,
}

/// Which vault of a topic this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct VaultNumber {
    /// How often the recovery phrase was replaced before, as its writer's user log has it.
    pub generation: u64,
    /// Rises with every vault of one writer; the milliseconds of its writer's clock at least, so
    /// that vaults of several writers have an order.
    pub counter: u64,
}

#[derive(Serialize, Deserialize)]
struct Content {
    user: UserId,
    device: DeviceId,
    #[serde(
        serialize_with = "codec::bytes",
        deserialize_with = "codec::bounded_bytes::<_, { limits::VAULT_BODY_BYTES_MAX }>"
    )]
    body: Vec<u8>,
}

impl Drop for Content {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.body);
    }
}

/// Seals a body of at most [`limits::VAULT_BODY_BYTES_MAX`] to a recovery key.
///
/// # Errors
/// [`AccountVaultError::TooLarge`] or [`AccountVaultError::RecoveryKey`].
pub fn seal_account_vault(
    rng: &mut (impl CryptoRng + ?Sized),
    recovery: &RecoveryKeys,
    (user, writer): (UserId, &DeviceSecrets),
    number: VaultNumber,
    body: &[u8],
) -> Result<Vec<Vec<u8>>, AccountVaultError> {
    if body.len() > limits::VAULT_BODY_BYTES_MAX {
        return Err(AccountVaultError::TooLarge);
    }
    let mut id = [0; ID_BYTES];
    rng.fill_bytes(&mut id);
    let content = Content {
        user,
        device: writer.device(),
        body: body.to_vec(),
    };
    let bytes_max = bucket(CONTENT_OVERHEAD_BYTES_MAX + body.len() + SIGNATURE_BYTES);
    let mut whole =
        codec::encode_secret(&content, bytes_max).map_err(|_| AccountVaultError::Malformed)?;
    let padded = bucket(whole.len() + SIGNATURE_BYTES);
    whole.resize(padded - SIGNATURE_BYTES, 0);
    let signature = writer.sign(
        label::signature::VAULT,
        &signed_parts(
            &recovery.signing,
            &id,
            &number.bytes(),
            &content,
            &body_hash(body),
        ),
    );
    whole.extend_from_slice(&signature.0);
    let mut head = vec![VERSION, recovery.suite.into()];
    head.extend_from_slice(&id);
    head.extend_from_slice(&number.bytes());
    let to = To {
        suite: recovery.suite,
        public: &recovery.kem,
        info: &info(&recovery.signing),
    };
    parts::seal(rng, &to, &head, label::hash::VAULT_WHOLE, &whole).map_err(|error| match error {
        SealError::TooLarge => AccountVaultError::TooLarge,
        SealError::Key => AccountVaultError::RecoveryKey,
    })
}

impl VaultNumber {
    fn bytes(self) -> [u8; 16] {
        let number = (u128::from(self.generation) << 64) | u128::from(self.counter);
        number.to_be_bytes()
    }

    fn of(bytes: [u8; 16]) -> Option<Self> {
        let (generation, counter) = bytes.split_first_chunk::<8>()?;
        Some(Self {
            generation: u64::from_be_bytes(*generation),
            counter: u64::from_be_bytes(counter.try_into().ok()?),
        })
    }
}

/// The padded size of a whole vault: [`limits::VAULT_BYTES_MIN`] times a power of two.
fn bucket(bytes: usize) -> usize {
    let mut size = limits::VAULT_BYTES_MIN;
    while size < bytes {
        size = size.saturating_mul(2);
    }
    size
}

/// `"sheaf1/vault" || recovery signing key`.
fn info(recovery: &[u8; 32]) -> Vec<u8> {
    [label::hpke::VAULT, recovery.as_slice()].concat()
}

/// `recovery signing key || id || generation || counter || user || device ||
/// H("sheaf1/vault-body" || body)`.
fn signed_parts<'a>(
    recovery: &'a [u8; 32],
    id: &'a [u8; ID_BYTES],
    number: &'a [u8; 16],
    content: &'a Content,
    body_hash: &'a [u8; 32],
) -> [&'a [u8]; 6] {
    [
        recovery,
        id,
        number,
        &content.user.0,
        &content.device.0,
        body_hash,
    ]
}

fn body_hash(body: &[u8]) -> [u8; 32] {
    hash(&[label::hash::VAULT_BODY, body])
}

/// One opened part. Parts belong together when their [`AccountVaultPart::group`] is the same.
pub struct AccountVaultPart {
    recovery: [u8; 32],
    id: [u8; ID_BYTES],
    number: VaultNumber,
    part: Part,
}

impl AccountVaultPart {
    /// The digest of the whole vault, from inside the seal.
    #[must_use]
    pub fn group(&self) -> [u8; 32] {
        self.part.digest
    }

    /// Which vault it says it is part of.
    #[must_use]
    pub fn number(&self) -> VaultNumber {
        self.number
    }

    /// Which part this is, from zero.
    #[must_use]
    pub fn index(&self) -> u8 {
        self.part.index
    }

    /// How many parts the vault has.
    #[must_use]
    pub fn count(&self) -> u8 {
        self.part.count
    }
}

impl fmt::Debug for AccountVaultPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountVaultPart")
            .field("number", &self.number)
            .field("index", &self.part.index)
            .field("count", &self.part.count)
            .finish_non_exhaustive()
    }
}

/// Opens one record of the vault topic.
///
/// # Errors
/// [`AccountVaultError::Framing`] or [`AccountVaultError::Unreadable`].
pub fn open_account_vault_part(
    phrase: &RecoveryPhrase,
    record: &[u8],
) -> Result<AccountVaultPart, AccountVaultError> {
    if record.len() > PART_BYTES_MAX {
        return Err(AccountVaultError::Framing);
    }
    let (header, sealed) = record
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or(AccountVaultError::Framing)?;
    let [VERSION, suite, rest @ .., index, count] = *header else {
        return Err(AccountVaultError::Framing);
    };
    let (id, number) = rest
        .split_first_chunk::<ID_BYTES>()
        .ok_or(AccountVaultError::Framing)?;
    let number = number
        .try_into()
        .ok()
        .and_then(VaultNumber::of)
        .ok_or(AccountVaultError::Framing)?;
    let suite = Suite::try_from(suite).map_err(|_| AccountVaultError::Framing)?;
    if index >= count {
        return Err(AccountVaultError::Framing);
    }
    let (held, secret) = phrase.kem_secret();
    if held != suite {
        return Err(AccountVaultError::Unreadable);
    }
    let recovery = phrase.signing_public();
    let opened = kem::open((suite, &secret), &info(&recovery), header, sealed)
        .map_err(|_| AccountVaultError::Unreadable)?;
    let part = Part::of(index, count, &opened).ok_or(AccountVaultError::Framing)?;
    Ok(AccountVaultPart {
        recovery,
        id: *id,
        number,
        part,
    })
}

/// Joins the parts of one vault, in any order.
///
/// # Errors
/// [`AccountVaultError::Parts`] unless each part of one vault is there exactly once;
/// [`AccountVaultError::Malformed`].
pub fn join_account_vault(
    mut parts: Vec<AccountVaultPart>,
) -> Result<JoinedVault, AccountVaultError> {
    parts.sort_by_key(|part| part.part.index);
    let first = parts.first().ok_or(AccountVaultError::Parts)?;
    let (recovery, id, number) = (first.recovery, first.id, first.number);
    let one = |part: &AccountVaultPart| (part.recovery, part.id, part.number);
    if parts.iter().any(|part| one(part) != (recovery, id, number)) {
        return Err(AccountVaultError::Parts);
    }
    let parts = parts.iter().map(|part| &part.part);
    let vault = parts::join(parts, label::hash::VAULT_WHOLE).ok_or(AccountVaultError::Parts)?;
    let (content, signature) = parts::read(&vault, bucket).ok_or(AccountVaultError::Malformed)?;
    Ok(JoinedVault {
        recovery,
        id,
        number,
        content,
        signature,
    })
}

/// A whole vault whose writer is not yet verified.
pub struct JoinedVault {
    recovery: [u8; 32],
    id: [u8; ID_BYTES],
    number: VaultNumber,
    content: Content,
    signature: Signature,
}

impl JoinedVault {
    /// Whose account it says it is of.
    #[must_use]
    pub fn user(&self) -> UserId {
        self.content.user
    }

    /// The device named as writer.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.content.device
    }

    /// Which vault it is.
    #[must_use]
    pub fn number(&self) -> VaultNumber {
        self.number
    }

    /// The body before verification: only good for finding the writer's key, since a vault brings
    /// its account's user log along.
    #[must_use]
    pub fn unverified_body(&self) -> &[u8] {
        &self.content.body
    }

    /// Checks the writer's signature over recovery key, number, account and body.
    ///
    /// # Errors
    /// [`AccountVaultError::Writer`] or [`AccountVaultError::Signature`].
    pub fn verify(self, signing: &[u8; 32]) -> Result<AccountVault, AccountVaultError> {
        if self.content.device != DeviceId::of_key(signing) {
            return Err(AccountVaultError::Writer);
        }
        let number = self.number.bytes();
        let body_hash = body_hash(&self.content.body);
        self.signature
            .verify(
                signing,
                label::signature::VAULT,
                &signed_parts(&self.recovery, &self.id, &number, &self.content, &body_hash),
            )
            .map_err(|_| AccountVaultError::Signature)?;
        Ok(AccountVault {
            user: self.content.user,
            device: self.content.device,
            number: self.number,
            body: Zeroizing::new(self.content.body.clone()),
        })
    }
}

impl fmt::Debug for JoinedVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinedVault")
            .field("device", &self.content.device)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// A verified vault. Whether the writer is a device of the account is for the user log to say.
pub struct AccountVault {
    /// Whose account.
    pub user: UserId,
    /// The device that wrote it.
    pub device: DeviceId,
    /// Which vault it is.
    pub number: VaultNumber,
    /// What was sealed; it holds secrets.
    pub body: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for AccountVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountVault")
            .field("device", &self.device)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
