//! One change of the store.

use serde::Serialize;

use super::{Key, Kind, encode};

/// One change of the store; a batch of them is atomic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The record.
    pub key: Key,
    /// The new value; `None` deletes.
    pub value: Option<Vec<u8>>,
    /// What stood here must be gone for good before the batch counts as durable: nothing that this
    /// device keeps may open any earlier copy of it. Only for kinds that [`Kind::is_erasable`] names.
    pub erases: bool,
}

impl Kind {
    /// Whether values of this kind hold secrets that are erased one day: device and sealing keys,
    /// epoch secrets, keys of the account vault.
    #[must_use]
    pub fn is_erasable(self) -> bool {
        matches!(self, Self::Account | Self::Epoch | Self::Vault)
    }
}

impl Write {
    /// Puts an encoded value.
    pub(crate) fn put<T: Serialize>(kind: Kind, scope: &[u8], order: &[u8], value: &T) -> Self {
        let key = Key {
            kind,
            scope: scope.to_vec(),
            order: order.to_vec(),
        };
        Self::of(key, Some(encode(value)))
    }

    /// Deletes a record.
    pub(crate) fn delete(kind: Kind, scope: &[u8], order: &[u8]) -> Self {
        let key = Key {
            kind,
            scope: scope.to_vec(),
            order: order.to_vec(),
        };
        Self::of(key, None)
    }

    /// Puts a value in its encoded form, or deletes.
    pub(crate) fn of(key: Key, value: Option<Vec<u8>>) -> Self {
        Self {
            key,
            value,
            erases: false,
        }
    }

    /// The same write, after which what stood in its place is gone for good. Costs the writing of
    /// every record that holds such secrets.
    #[must_use]
    pub(crate) fn erasing(mut self) -> Self {
        self.erases = true;
        self
    }
}
