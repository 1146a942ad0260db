//! Keys that can be destroyed: what is sealed under one and the vault opens with neither alone, so a
//! device that lets the key go has let go every copy of what it sealed.

use std::fmt;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::{NONCE_BYTES, SCHEMA, Vault, VaultError};
use crate::derive::kdf;
use crate::label;

/// The record is sealed under a key that can be destroyed; its generation follows.
const ERASABLE_KEY_ID: u8 = 1;
const GENERATION_BYTES: usize = 8;
/// Kind and name that such a key is itself sealed under, in the vault's record form; no row of a
/// store has that kind.
const LOCKED_KIND: u8 = 0xfc;
const LOCKED_NAME: &[u8] = b"erasable";

/// Bytes of what [`Vault::lock`] gives.
pub const LOCKED_KEY_BYTES: usize = 2 + NONCE_BYTES + 32 + 16;

/// A key of 32 random bytes that is kept in one place only, so that it can be destroyed.
pub struct ErasableKey {
    generation: u64,
    key: Zeroizing<[u8; 32]>,
}

impl ErasableKey {
    /// Draws a key. No two keys of one vault have the same generation.
    pub fn draw(rng: &mut (impl CryptoRng + ?Sized), generation: u64) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        rng.fill_bytes(key.as_mut_slice());
        Self { generation, key }
    }

    /// Which key it is; the newest has the highest.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The generation of the key that a record is sealed under; `None` if the vault alone opens it.
    #[must_use]
    pub fn generation_of(sealed: &[u8]) -> Option<u64> {
        let rest = sealed.strip_prefix(&[SCHEMA, ERASABLE_KEY_ID])?;
        let (generation, _) = rest.split_first_chunk::<GENERATION_BYTES>()?;
        Some(u64::from_be_bytes(*generation))
    }
}

impl fmt::Debug for ErasableKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErasableKey")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl Vault {
    /// Seals a key that can be destroyed, for the one place where it is kept.
    ///
    /// # Errors
    /// [`VaultError::Record`]: never for a key of this size.
    pub fn lock(
        &self,
        key: &ErasableKey,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Vec<u8>, VaultError> {
        self.seal_record(LOCKED_KIND, &locked_name(key.generation), &*key.key, rng)
    }

    /// Opens what [`Self::lock`] sealed.
    ///
    /// # Errors
    /// [`VaultError::Record`] if it was altered, or is another generation's or vault's.
    pub fn unlock(&self, generation: u64, locked: &[u8]) -> Result<ErasableKey, VaultError> {
        let opened = self.open_record(LOCKED_KIND, &locked_name(generation), locked)?;
        let key = opened.as_slice().try_into();
        let key = key.map_err(|_| VaultError::Record)?;
        Ok(ErasableKey {
            generation,
            key: Zeroizing::new(key),
        })
    }

    /// Seals one record under the vault and a key that can be destroyed:
    /// `schema(1) || key id(1) || generation(8) || N(24) || ct`, bound to its kind and name.
    ///
    /// # Errors
    /// [`VaultError::Record`] for a value beyond what the cipher takes (256 GiB).
    pub fn seal_erasable(
        &self,
        key: &ErasableKey,
        kind: u8,
        name: &[u8],
        value: &[u8],
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Vec<u8>, VaultError> {
        let mut nonce = [0; NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        let prefix = prefix(key.generation);
        let payload = Payload {
            msg: value,
            aad: &aad(kind, name, &prefix),
        };
        let ciphertext = self
            .erasable_cipher(key, kind)
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| VaultError::Record)?;
        Ok([prefix.as_slice(), &nonce, &ciphertext].concat())
    }

    /// Opens one record that [`Self::seal_erasable`] sealed under the same key.
    ///
    /// # Errors
    /// [`VaultError::Record`].
    pub fn open_erasable(
        &self,
        key: &ErasableKey,
        kind: u8,
        name: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let prefix = prefix(key.generation);
        let rest = sealed.strip_prefix(&prefix).ok_or(VaultError::Record)?;
        let (nonce, ciphertext) = rest
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(VaultError::Record)?;
        let payload = Payload {
            msg: ciphertext,
            aad: &aad(kind, name, &prefix),
        };
        self.erasable_cipher(key, kind)
            .decrypt(&XNonce::from(*nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| VaultError::Record)
    }

    /// Under `KDF(MK || EK, kind)`.
    fn erasable_cipher(&self, key: &ErasableKey, kind: u8) -> XChaCha20Poly1305 {
        let mut both = Zeroizing::new([0; 64]);
        let from = self.master.iter().chain(key.key.iter());
        for (to, from) in both.iter_mut().zip(from) {
            *to = *from;
        }
        let value = kdf::<32>(both.as_slice(), &[kind], label::key::STORE_ERASABLE);
        XChaCha20Poly1305::new((&*value).into())
    }
}

fn locked_name(generation: u64) -> Vec<u8> {
    [LOCKED_NAME, &generation.to_be_bytes()].concat()
}

/// `schema || key id || generation`.
fn prefix(generation: u64) -> [u8; 2 + GENERATION_BYTES] {
    let mut prefix = [0; 2 + GENERATION_BYTES];
    let bytes = [SCHEMA, ERASABLE_KEY_ID]
        .into_iter()
        .chain(generation.to_be_bytes());
    for (to, from) in prefix.iter_mut().zip(bytes) {
        *to = from;
    }
    prefix
}

/// `"sheaf1/store" || kind || name || schema || key id || generation`.
fn aad(kind: u8, name: &[u8], prefix: &[u8]) -> Vec<u8> {
    [label::associated::STORE, &[kind], name, prefix].concat()
}

#[cfg(test)]
mod tests;
