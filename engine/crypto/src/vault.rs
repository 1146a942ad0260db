//! At rest (research/keys.md 2.9): a random master key, locked in slots, seals every stored record.

mod erasable;
mod slot;

use std::fmt;
use std::sync::OnceLock;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use rand_core::CryptoRng;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::derive::kdf;
use crate::label;

pub use erasable::{ErasableKey, LOCKED_KEY_BYTES};
pub use slot::{Argon2Params, Replaced, Unlock, VaultHeader};

/// The layout of a sealed record.
const SCHEMA: u8 = 1;
/// The record is sealed under the key that derives from the master key. Other values are for keys
/// that can be destroyed one by one.
const MASTER_KEY_ID: u8 = 0;
const NONCE_BYTES: usize = 24;
const HMAC_BLOCK_BYTES: usize = 64;

/// Why a vault or a record of it does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// No slot opens with this passphrase or key file.
    #[error("the passphrase or key does not open this vault")]
    WrongKey,
    /// The vault has no slot of this kind.
    #[error("the vault has no slot for this kind of key")]
    NoSlot,
    /// The header does not decode, or asks for more than the limits allow.
    #[error("the vault's header is malformed")]
    Header,
    /// A slot's commitment fits but its content was altered.
    #[error("the vault's slot is damaged")]
    Damaged,
    /// The record was altered, or belongs to another name, kind or vault.
    #[error("the stored record does not open")]
    Record,
    /// Argon2id refused its parameters.
    #[error("the passphrase could not be stretched with these parameters")]
    Stretch,
}

/// An open vault.
pub struct Vault {
    master: Zeroizing<[u8; 32]>,
    kinds: Box<[OnceLock<KindKeys>; 256]>,
}

/// The two keys of one kind of record.
#[derive(Clone)]
struct KindKeys {
    value: Zeroizing<[u8; 32]>,
    name: Zeroizing<[u8; 32]>,
}

impl Vault {
    fn of(master: Zeroizing<[u8; 32]>) -> Self {
        Self {
            master,
            kinds: Box::new([const { OnceLock::new() }; 256]),
        }
    }

    /// Draws a master key and locks it in one slot.
    ///
    /// # Errors
    /// [`VaultError::Stretch`] when Argon2id refuses the parameters.
    pub fn create(
        rng: &mut (impl CryptoRng + ?Sized),
        unlock: &Unlock<'_>,
        params: Argon2Params,
    ) -> Result<(VaultHeader, Self), VaultError> {
        let mut master = Zeroizing::new([0; 32]);
        rng.fill_bytes(master.as_mut_slice());
        let vault = Self::of(master);
        let mut header = VaultHeader::default();
        header.add(rng, &vault, unlock, params)?;
        Ok((header, vault))
    }

    /// Seals one record: `schema(1) || key id(1) || N(24) || ct`, bound to its kind and name.
    ///
    /// # Errors
    /// [`VaultError::Record`] for a value beyond what the cipher takes (256 GiB).
    pub fn seal_record(
        &self,
        kind: u8,
        name: &[u8],
        value: &[u8],
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Vec<u8>, VaultError> {
        let mut nonce = [0; NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        let keys = self.keys(kind);
        let payload = Payload {
            msg: value,
            aad: &aad(kind, name),
        };
        let ciphertext = XChaCha20Poly1305::new((&*keys.value).into())
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| VaultError::Record)?;
        let mut sealed = Vec::with_capacity(2 + NONCE_BYTES + ciphertext.len());
        sealed.extend_from_slice(&[SCHEMA, MASTER_KEY_ID]);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&ciphertext);
        Ok(sealed)
    }

    /// Opens one record.
    ///
    /// # Errors
    /// [`VaultError::Record`].
    pub fn open_record(
        &self,
        kind: u8,
        name: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let rest = sealed
            .strip_prefix(&[SCHEMA, MASTER_KEY_ID])
            .ok_or(VaultError::Record)?;
        let (nonce, ciphertext) = rest
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(VaultError::Record)?;
        let payload = Payload {
            msg: ciphertext,
            aad: &aad(kind, name),
        };
        let keys = self.keys(kind);
        XChaCha20Poly1305::new((&*keys.value).into())
            .decrypt(&XNonce::from(*nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| VaultError::Record)
    }

    /// The name under which a key is stored, so that the store shows no key:
    /// `HMAC-SHA256(name key of the kind, key)[0..16]`.
    #[must_use]
    pub fn name(&self, kind: u8, key: &[u8]) -> [u8; 16] {
        // HMAC fills a short key up with zeroes to the hash's block: the fixed size cannot fail.
        let mut block = Zeroizing::new([0; HMAC_BLOCK_BYTES]);
        for (to, from) in block.iter_mut().zip(self.keys(kind).name.iter()) {
            *to = *from;
        }
        let mut mac = Hmac::<Sha256>::new((&*block).into());
        mac.update(key);
        let tag: [u8; 32] = mac.finalize().into_bytes().into();
        let [name @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = tag;
        name
    }

    /// The keys of a kind, derived once.
    fn keys(&self, kind: u8) -> KindKeys {
        let derive = || KindKeys {
            value: kdf(self.master.as_slice(), &[kind], label::key::STORE_VALUE),
            name: kdf(self.master.as_slice(), &[kind], label::key::STORE_NAME),
        };
        self.kinds
            .get(usize::from(kind))
            .map_or_else(derive, |slot| slot.get_or_init(derive).clone())
    }
}

/// `"sheaf1/store" || kind || name || schema || key id`.
fn aad(kind: u8, name: &[u8]) -> Vec<u8> {
    [
        label::associated::STORE,
        &[kind],
        name,
        &[SCHEMA, MASTER_KEY_ID],
    ]
    .concat()
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
