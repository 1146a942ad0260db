//! The keys that can be destroyed. Records whose secrets are erased one day are sealed under the
//! newest of them and the vault; there are two while an erasure is under way (docs/STORAGE.md).

use sheaf_crypto::{ErasableKey, Vault, VaultError};
use zeroize::Zeroizing;

use crate::entropy::OsEntropy;

/// Keys at a time: the present one, and the next one while records move to it.
pub(super) const KEYS_MAX: usize = 2;

/// A key as the header keeps it.
#[derive(Debug, Clone)]
pub(super) struct Locked {
    pub(super) generation: u64,
    pub(super) sealed: Vec<u8>,
}

/// The keys there are, oldest first. None in a store of version 1 that wrote no secret since.
#[derive(Debug, Default)]
pub(super) struct Ring(Vec<ErasableKey>);

impl Ring {
    /// The keys of a new store.
    pub(super) fn first() -> Self {
        let mut ring = Self::default();
        ring.draw();
        ring
    }

    pub(super) fn unlock(vault: &Vault, locked: &[Locked]) -> Result<Self, VaultError> {
        let keys = locked.iter();
        keys.map(|key| vault.unlock(key.generation, &key.sealed))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub(super) fn lock(&self, vault: &Vault) -> Result<Vec<Locked>, VaultError> {
        let lock = |key: &ErasableKey| {
            let sealed = vault.lock(key, &mut OsEntropy)?;
            let generation = key.generation();
            Ok(Locked { generation, sealed })
        };
        self.0.iter().map(lock).collect()
    }

    /// Adds the next key.
    pub(super) fn draw(&mut self) {
        let generation = self.newest().map_or(0, ErasableKey::generation);
        let next = ErasableKey::draw(&mut OsEntropy, generation.saturating_add(1));
        self.0.push(next);
    }

    /// Takes the newest key back, under which nothing was sealed.
    pub(super) fn undraw(&mut self) {
        drop(self.0.pop());
    }

    pub(super) fn newest(&self) -> Option<&ErasableKey> {
        self.0.last()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The keys before the newest, out of the ring.
    pub(super) fn take_older(&mut self) -> Vec<ErasableKey> {
        let older = self.0.len().saturating_sub(1);
        self.0.drain(..older).collect()
    }

    /// Opens a record, whatever it is sealed under.
    pub(super) fn open(
        &self,
        vault: &Vault,
        kind: u8,
        name: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let Some(generation) = ErasableKey::generation_of(sealed) else {
            return vault.open_record(kind, name, sealed);
        };
        let key = self.0.iter().find(|key| key.generation() == generation);
        vault.open_erasable(key.ok_or(VaultError::Record)?, kind, name, sealed)
    }
}
