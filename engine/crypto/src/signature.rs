//! Ed25519 with `verify_strict` only. What is signed always starts with a label.

use std::fmt;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An Ed25519 signature: 64 bytes on the wire, without a length.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature(pub [u8; 64]);

/// A signature that is not by the key asked about, or a key that must not be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not valid under this key")]
#[non_exhaustive]
pub struct SignatureError;

impl Signature {
    pub(crate) fn create(key: &SigningKey, label: &[u8], parts: &[&[u8]]) -> Self {
        Self(key.sign(&message(label, parts)).to_bytes())
    }

    pub(crate) fn verify(
        &self,
        key: &[u8; 32],
        label: &[u8],
        parts: &[&[u8]],
    ) -> Result<(), SignatureError> {
        let signature = ed25519_dalek::Signature::from_bytes(&self.0);
        VerifyingKey::from_bytes(key)
            .and_then(|key| key.verify_strict(&message(label, parts), &signature))
            .map_err(|_| SignatureError)
    }
}

/// Whether a public key is a point on the curve and not of small order.
pub(crate) fn is_sound(key: &[u8; 32]) -> bool {
    VerifyingKey::from_bytes(key).is_ok_and(|key| !key.is_weak())
}

fn message(label: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut message = label.to_vec();
    for part in parts {
        message.extend_from_slice(part);
    }
    message
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("signature")
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        for byte in &self.0 {
            tuple.serialize_element(byte)?;
        }
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Two halves, because serde reads arrays up to 32 only; neither carries a length.
        let (point, scalar) = <([u8; 32], [u8; 32])>::deserialize(deserializer)?;
        let mut bytes = [0; 64];
        for (to, from) in bytes.iter_mut().zip(point.into_iter().chain(scalar)) {
            *to = from;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests;
