//! Proof that a device signed an envelope, for whoever must judge two that contradict each other.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::envelope::{EnvelopeError, Inner, decode_inner};
use crate::id::{DeviceId, ItemId};
use crate::label;
use crate::limits;
use crate::signature::Signature;

/// The signed part of an opened envelope.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedInner {
    /// `H(header)` of the envelope.
    pub header_hash: [u8; 32],
    /// `com` of the envelope.
    pub commitment: [u8; 32],
    /// Content and padding as they were signed.
    #[serde(
        serialize_with = "codec::bytes",
        deserialize_with = "codec::bounded_bytes::<_, { limits::EVIDENCE_BYTES_MAX }>"
    )]
    pub inner: Vec<u8>,
    /// The author's signature.
    pub signature: Signature,
}

impl SignedInner {
    /// What the signed part says, not yet verified: enough to find the author's key.
    ///
    /// # Errors
    /// [`EnvelopeError::UnknownKind`], [`EnvelopeError::Malformed`], [`EnvelopeError::Padding`].
    pub fn claimed(&self) -> Result<Inner, EnvelopeError> {
        decode_inner(&self.inner)
    }

    /// Checks the signature and gives what was signed.
    ///
    /// # Errors
    /// As [`crate::Opened::verify`], and those of decoding.
    pub fn verify(&self, signing: &[u8; 32]) -> Result<Inner, EnvelopeError> {
        let inner = decode_inner(&self.inner)?;
        self.check(&inner.device, signing)?;
        Ok(inner)
    }

    pub(crate) fn check(&self, device: &DeviceId, signing: &[u8; 32]) -> Result<(), EnvelopeError> {
        if *device != DeviceId::of_key(signing) {
            return Err(EnvelopeError::Author);
        }
        self.signature
            .verify(
                signing,
                label::signature::ENVELOPE,
                &[&self.header_hash, &self.commitment, &self.inner],
            )
            .map_err(|_| EnvelopeError::Signature)
    }
}

impl fmt::Debug for SignedInner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedInner").finish_non_exhaustive()
    }
}

/// One of two contradicting siblings, shown or named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Evidence {
    /// The signed part itself.
    Shown(SignedInner),
    /// An item that is not shown: an operation, which the control log holds with its own signature,
    /// or a record too large to show, which proves nothing by itself.
    Named(ItemId),
}
