//! Key slots: the master key, sealed under what unlocks it. The box is the committing one, so that
//! one slot cannot be made to open under many passphrases.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Vault, VaultError};
use crate::codec;
use crate::committing::{BoxError, Derived, OVERHEAD_BYTES};
use crate::derive::kdf;
use crate::label;
use crate::limits;

const SEALED_BYTES: usize = 32 + OVERHEAD_BYTES;

/// What opens a vault.
pub enum Unlock<'a> {
    /// A passphrase, stretched by Argon2id.
    Passphrase(&'a str),
    /// 32 random bytes from a file or a keyring, used without stretching.
    KeyFile(&'a [u8; 32]),
}

impl fmt::Debug for Unlock<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passphrase(_) => "Passphrase",
            Self::KeyFile(_) => "KeyFile",
        })
    }
}

/// How hard guessing a passphrase is (research/keys.md 2.13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Argon2Params {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for Argon2Params {
    /// 64 MiB, 3 passes, 4 lanes: the second choice of RFC 9106.
    fn default() -> Self {
        Self {
            memory_kib: 64 * 1024,
            passes: 3,
            lanes: 4,
        }
    }
}

/// How a slot's key comes about; the slot is bound to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Lock {
    Passphrase {
        salt: [u8; 16],
        params: Argon2Params,
    },
    KeyFile {
        salt: [u8; 16],
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Slot {
    lock: Lock,
    #[serde(
        serialize_with = "codec::bytes",
        deserialize_with = "codec::bounded_bytes::<_, SEALED_BYTES>"
    )]
    sealed: Vec<u8>,
}

/// The part of a vault that is stored in the clear: its slots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultHeader {
    #[serde(deserialize_with = "codec::list::<_, _, { limits::VAULT_SLOTS_MAX }>")]
    slots: Vec<Slot>,
}

/// A header on the way from one secret to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// Opens by the old secret and by the new one.
    pub both: VaultHeader,
    /// Opens by the new one, and by those that have nothing to do with the change.
    pub after: VaultHeader,
}

impl VaultHeader {
    /// Opens the vault with the first slot that fits.
    ///
    /// # Errors
    /// [`VaultError::WrongKey`], [`VaultError::NoSlot`], [`VaultError::Damaged`],
    /// [`VaultError::Header`] when a slot asks for more than the limits allow.
    pub fn open(&self, unlock: &Unlock<'_>) -> Result<Vault, VaultError> {
        let mut refusal = VaultError::NoSlot;
        for slot in &self.slots {
            let Some(key) = slot.lock.key(unlock)? else {
                continue;
            };
            let lock = codec::encode(&slot.lock).map_err(|_| VaultError::Header)?;
            match Derived::open(&key, label::sealed::SLOT, &[&lock], &slot.sealed) {
                Ok((_, opened)) => {
                    let master = opened.as_slice().try_into();
                    return master
                        .map(|master| Vault::of(Zeroizing::new(master)))
                        .map_err(|_| VaultError::Damaged);
                }
                Err(BoxError::Commitment) => refusal = VaultError::WrongKey,
                Err(BoxError::Framing | BoxError::Ciphertext) => refusal = VaultError::Damaged,
            }
        }
        Err(refusal)
    }

    /// Adds a slot, so that the vault opens with one more passphrase or key file.
    ///
    /// # Errors
    /// [`VaultError::Header`] beyond [`limits::VAULT_SLOTS_MAX`] slots or the limits on parameters,
    /// [`VaultError::Stretch`] when Argon2id refuses them.
    pub fn add(
        &mut self,
        rng: &mut (impl CryptoRng + ?Sized),
        vault: &Vault,
        unlock: &Unlock<'_>,
        params: Argon2Params,
    ) -> Result<(), VaultError> {
        if self.slots.len() >= limits::VAULT_SLOTS_MAX {
            return Err(VaultError::Header);
        }
        let mut salt = [0; 16];
        rng.fill_bytes(&mut salt);
        let lock = match unlock {
            Unlock::Passphrase(_) => Lock::Passphrase { salt, params },
            Unlock::KeyFile(_) => Lock::KeyFile { salt },
        };
        let key = lock.key(unlock)?.ok_or(VaultError::NoSlot)?;
        let context = codec::encode(&lock).map_err(|_| VaultError::Header)?;
        let sealed = Derived::draw(rng, &key, label::sealed::SLOT, &[&context])
            .seal(vault.master.as_slice())
            .map_err(|_| VaultError::Header)?;
        self.slots.push(Slot { lock, sealed });
        Ok(())
    }

    /// Takes out the slots that `unlock` opens, but never the last one of the vault.
    ///
    /// # Errors
    /// [`VaultError::WrongKey`] when it opens none, or no other would be left.
    pub fn remove(&mut self, unlock: &Unlock<'_>) -> Result<(), VaultError> {
        let mut kept = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            let alone = Self {
                slots: vec![slot.clone()],
            };
            if alone.open(unlock).is_err() {
                kept.push(slot.clone());
            }
        }
        if kept.is_empty() || kept.len() == self.slots.len() {
            return Err(VaultError::WrongKey);
        }
        self.slots = kept;
        Ok(())
    }

    /// Puts a new slot in the place of those that `old` opens, in two steps, so that at any moment
    /// one of the two secrets opens the vault. The master key stays.
    ///
    /// # Errors
    /// [`VaultError::WrongKey`] when `old` opens no slot; as [`Self::add`] otherwise.
    pub fn replace(
        &self,
        rng: &mut (impl CryptoRng + ?Sized),
        vault: &Vault,
        (old, new): (&Unlock<'_>, &Unlock<'_>),
        params: Argon2Params,
    ) -> Result<Replaced, VaultError> {
        let mut both = self.clone();
        both.add(rng, vault, new, params)?;
        // The new one comes first: it is the only one left if the two secrets are the same.
        let added: Vec<Slot> = both.slots.last().cloned().into_iter().collect();
        let kept = self.slots.iter().filter(|slot| {
            let slots = vec![(*slot).clone()];
            Self { slots }.open(old).is_err()
        });
        let after = Self {
            slots: added.into_iter().chain(kept.cloned()).collect(),
        };
        if after.slots.len() == both.slots.len() {
            return Err(VaultError::WrongKey);
        }
        Ok(Replaced { both, after })
    }

    /// `version(1) || postcard(header)`.
    ///
    /// # Errors
    /// [`VaultError::Header`] when it cannot be encoded.
    pub fn to_bytes(&self) -> Result<Vec<u8>, VaultError> {
        codec::encode_statement(self).map_err(|_| VaultError::Header)
    }

    /// Reads what [`Self::to_bytes`] wrote, strictly.
    ///
    /// # Errors
    /// [`VaultError::Header`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, VaultError> {
        codec::decode_statement(bytes).map_err(|_| VaultError::Header)
    }
}

impl Lock {
    /// The slot's key, or nothing when the lock is of the other kind.
    fn key(&self, unlock: &Unlock<'_>) -> Result<Option<Zeroizing<[u8; 32]>>, VaultError> {
        match (self, unlock) {
            (Self::Passphrase { salt, params }, Unlock::Passphrase(passphrase)) => {
                stretch(passphrase, salt, *params).map(Some)
            }
            (Self::KeyFile { salt }, Unlock::KeyFile(key)) => {
                Ok(Some(kdf(*key, salt, label::key::SLOT_KEY_FILE)))
            }
            (Self::Passphrase { .. }, Unlock::KeyFile(_))
            | (Self::KeyFile { .. }, Unlock::Passphrase(_)) => Ok(None),
        }
    }
}

fn stretch(
    passphrase: &str,
    salt: &[u8; 16],
    params: Argon2Params,
) -> Result<Zeroizing<[u8; 32]>, VaultError> {
    if params.memory_kib > limits::ARGON2_MEMORY_KIB_MAX
        || params.passes > limits::ARGON2_PASSES_MAX
        || params.lanes > limits::ARGON2_LANES_MAX
    {
        return Err(VaultError::Header);
    }
    let params = Params::new(params.memory_kib, params.passes, params.lanes, Some(32))
        .map_err(|_| VaultError::Stretch)?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, key.as_mut_slice())
        .map_err(|_| VaultError::Stretch)?;
    Ok(key)
}
