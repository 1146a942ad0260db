//! HPKE (RFC 9180) to a device's or a recovery key: suite 1 X25519, suite 2 X-Wing.

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::{Kem, X25519HkdfSha256, XWing};
use hpke::{Deserializable, OpModeR, OpModeS, Serializable};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::codec::{self, CodecError};
use crate::id::DeviceId;
use crate::label;
use crate::limits;
use crate::signature::Signature;

/// How a KEM key seals. HKDF-SHA256 and ChaCha20-Poly1305 in both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Suite {
    /// X25519 alone (`DHKEM(X25519, HKDF-SHA256)`).
    X25519,
    /// ML-KEM-768 and X25519 together: secret while one of the two holds.
    #[default]
    XWing,
}

impl From<Suite> for u8 {
    fn from(suite: Suite) -> Self {
        match suite {
            Suite::X25519 => 1,
            Suite::XWing => 2,
        }
    }
}

impl TryFrom<u8> for Suite {
    type Error = CodecError;

    fn try_from(byte: u8) -> Result<Self, CodecError> {
        match byte {
            1 => Ok(Self::X25519),
            2 => Ok(Self::XWing),
            _ => Err(CodecError),
        }
    }
}

/// Sealing to a key or opening with it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the seal does not fit this key")]
pub(crate) struct KemError;

/// A device's current sealing key, signed by the device. The highest counter wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KemRecord {
    /// Whose key it is.
    pub device: DeviceId,
    /// Rises with every rotation.
    pub counter: u64,
    /// How the key seals.
    pub suite: Suite,
    /// The public key: 32 bytes in suite 1, 1,216 in suite 2.
    #[serde(
        serialize_with = "codec::bytes",
        deserialize_with = "codec::bounded_bytes::<_, { limits::KEM_PUBLIC_BYTES_MAX }>"
    )]
    pub public: Vec<u8>,
    /// By the device, over `"sheaf1/kem-sig" || device || counter || suite || public`.
    pub signature: Signature,
}

impl KemRecord {
    /// Checks that the record is by this Ed25519 key, that the key is the device's and that the
    /// sealing key is sound.
    #[must_use]
    pub fn verify(&self, signing: &[u8; 32]) -> bool {
        self.device == DeviceId::of_key(signing)
            && public_is_sound(self.suite, &self.public)
            && self
                .signature
                .verify(
                    signing,
                    label::signature::KEM_RECORD,
                    &record_parts(
                        &self.device,
                        &self.counter.to_be_bytes(),
                        &[self.suite.into()],
                        &self.public,
                    ),
                )
                .is_ok()
    }
}

pub(crate) fn record_parts<'a>(
    device: &'a DeviceId,
    counter: &'a [u8; 8],
    suite: &'a [u8; 1],
    public: &'a [u8],
) -> [&'a [u8]; 4] {
    [&device.0, counter, suite, public]
}

/// Whether a sealing key parses and its X25519 part is not of small order.
pub(crate) fn public_is_sound(suite: Suite, public: &[u8]) -> bool {
    let parses = match suite {
        Suite::X25519 => <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(public).is_ok(),
        Suite::XWing => <XWing as Kem>::PublicKey::from_bytes(public).is_ok(),
    };
    // X-Wing's public key ends with its X25519 half (draft-connolly-cfrg-xwing-kem).
    parses
        && public.last_chunk::<32>().is_some_and(|point| {
            StaticSecret::from([1; 32])
                .diffie_hellman(&PublicKey::from(*point))
                .was_contributory()
        })
}

pub(crate) fn public_of(suite: Suite, secret: &[u8; 32]) -> Result<Vec<u8>, KemError> {
    match suite {
        Suite::X25519 => public_with::<X25519HkdfSha256>(secret),
        Suite::XWing => public_with::<XWing>(secret),
    }
}

/// `encapsulated key || ciphertext || tag`, HPKE mode base.
pub(crate) fn seal<R: CryptoRng + ?Sized>(
    rng: &mut R,
    (suite, public): (Suite, &[u8]),
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, KemError> {
    match suite {
        Suite::X25519 => seal_with::<X25519HkdfSha256, R>(rng, public, info, aad, plaintext),
        Suite::XWing => seal_with::<XWing, R>(rng, public, info, aad, plaintext),
    }
}

pub(crate) fn open(
    (suite, secret): (Suite, &[u8; 32]),
    info: &[u8],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, KemError> {
    match suite {
        Suite::X25519 => open_with::<X25519HkdfSha256>(secret, info, aad, sealed),
        Suite::XWing => open_with::<XWing>(secret, info, aad, sealed),
    }
}

/// Bytes of an encapsulated key.
pub(crate) fn encapsulated_bytes(suite: Suite) -> usize {
    match suite {
        Suite::X25519 => <X25519HkdfSha256 as Kem>::EncappedKey::size(),
        Suite::XWing => <XWing as Kem>::EncappedKey::size(),
    }
}

fn public_with<K: Kem>(secret: &[u8; 32]) -> Result<Vec<u8>, KemError> {
    let secret = K::PrivateKey::from_bytes(secret).map_err(|_| KemError)?;
    Ok(K::sk_to_pk(&secret).to_bytes().to_vec())
}

fn seal_with<K: Kem, R: CryptoRng + ?Sized>(
    mut rng: &mut R,
    public: &[u8],
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, KemError> {
    let public = K::PublicKey::from_bytes(public).map_err(|_| KemError)?;
    let (encapsulated, mut context) =
        hpke::setup_sender_with_rng::<ChaCha20Poly1305, HkdfSha256, K>(
            &OpModeS::Base,
            &public,
            info,
            &mut rng,
        )
        .map_err(|_| KemError)?;
    let mut sealed = encapsulated.to_bytes().to_vec();
    sealed.extend(context.seal(plaintext, aad).map_err(|_| KemError)?);
    Ok(sealed)
}

fn open_with<K: Kem>(
    secret: &[u8; 32],
    info: &[u8],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, KemError> {
    let secret = K::PrivateKey::from_bytes(secret).map_err(|_| KemError)?;
    let (encapsulated, ciphertext) = sealed
        .split_at_checked(K::EncappedKey::size())
        .ok_or(KemError)?;
    let encapsulated = K::EncappedKey::from_bytes(encapsulated).map_err(|_| KemError)?;
    let mut context = hpke::setup_receiver::<ChaCha20Poly1305, HkdfSha256, K>(
        &OpModeR::Base,
        &secret,
        &encapsulated,
        info,
    )
    .map_err(|_| KemError)?;
    context
        .open(ciphertext, aad)
        .map(Zeroizing::new)
        .map_err(|_| KemError)
}

#[cfg(test)]
mod tests;
