//! The committing AEAD of research/keys.md 2.6, shared by envelopes, epoch chains and vault slots.
//!
//! `box = ver(1) || suite(1) || N(24) || com(32) || ct`. The commitment binds key, nonce and header,
//! so one box opens under one key only.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::derive::{hash, kdf};

const VERSION: u8 = 1;
/// HKDF-SHA256, XChaCha20-Poly1305, Ed25519.
const SUITE: u8 = 1;
const NONCE_BYTES: usize = 24;
const COMMITMENT_BYTES: usize = 32;
const PREFIX_BYTES: usize = 2 + NONCE_BYTES + COMMITMENT_BYTES;
const TAG_BYTES: usize = 16;
/// What a box is longer than its plaintext.
pub(crate) const OVERHEAD_BYTES: usize = PREFIX_BYTES + TAG_BYTES;

/// Why a box does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BoxError {
    /// Too short, or of another version or suite.
    Framing,
    /// Sealed under another key or for another place.
    Commitment,
    /// Right key and place, altered ciphertext.
    Ciphertext,
}

/// One box's key, commitment and header.
pub(crate) struct Derived {
    key: Zeroizing<[u8; 32]>,
    nonce: [u8; NONCE_BYTES],
    header: Vec<u8>,
    pub(crate) header_hash: [u8; 32],
    pub(crate) commitment: [u8; COMMITMENT_BYTES],
}

impl Derived {
    /// `header = label || ver || suite || context || N`; `HKDF(salt N, ikm key, info H(header))`.
    fn new(key: &[u8; 32], label: &[u8], context: &[&[u8]], nonce: [u8; NONCE_BYTES]) -> Self {
        let mut header = label.to_vec();
        header.extend_from_slice(&[VERSION, SUITE]);
        for part in context {
            header.extend_from_slice(part);
        }
        header.extend_from_slice(&nonce);
        let header_hash = hash(&[&header]);
        let okm = kdf::<64>(key, &nonce, &header_hash);
        let (mut box_key, mut commitment) = (Zeroizing::new([0; 32]), [0; COMMITMENT_BYTES]);
        for (to, from) in box_key.iter_mut().chain(&mut commitment).zip(okm.iter()) {
            *to = *from;
        }
        Self {
            key: box_key,
            nonce,
            header,
            header_hash,
            commitment,
        }
    }

    /// Draws the nonce of a new box.
    pub(crate) fn draw(
        rng: &mut (impl CryptoRng + ?Sized),
        key: &[u8; 32],
        label: &[u8],
        context: &[&[u8]],
    ) -> Self {
        let mut nonce = [0; NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        Self::new(key, label, context, nonce)
    }

    pub(crate) fn seal(&self, plaintext: &[u8]) -> Result<Vec<u8>, BoxError> {
        let payload = Payload {
            msg: plaintext,
            aad: &self.header,
        };
        let ciphertext = XChaCha20Poly1305::new((&*self.key).into())
            .encrypt(&XNonce::from(self.nonce), payload)
            .map_err(|_| BoxError::Framing)?;
        let mut sealed = Vec::with_capacity(PREFIX_BYTES + ciphertext.len());
        sealed.extend_from_slice(&[VERSION, SUITE]);
        sealed.extend_from_slice(&self.nonce);
        sealed.extend_from_slice(&self.commitment);
        sealed.extend_from_slice(&ciphertext);
        Ok(sealed)
    }

    /// Checks length, version, suite, then the commitment in constant time, then opens.
    pub(crate) fn open(
        key: &[u8; 32],
        label: &[u8],
        context: &[&[u8]],
        sealed: &[u8],
    ) -> Result<(Self, Zeroizing<Vec<u8>>), BoxError> {
        let rest = sealed
            .strip_prefix(&[VERSION, SUITE])
            .ok_or(BoxError::Framing)?;
        let (nonce, rest) = rest
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(BoxError::Framing)?;
        let (commitment, ciphertext) = rest
            .split_first_chunk::<COMMITMENT_BYTES>()
            .ok_or(BoxError::Framing)?;
        if ciphertext.len() < TAG_BYTES {
            return Err(BoxError::Framing);
        }
        let derived = Self::new(key, label, context, *nonce);
        if !bool::from(derived.commitment.ct_eq(commitment)) {
            return Err(BoxError::Commitment);
        }
        let payload = Payload {
            msg: ciphertext,
            aad: &derived.header,
        };
        let plaintext = XChaCha20Poly1305::new((&*derived.key).into())
            .decrypt(&XNonce::from(derived.nonce), payload)
            .map_err(|_| BoxError::Ciphertext)?;
        Ok((derived, Zeroizing::new(plaintext)))
    }
}
