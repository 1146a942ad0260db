//! Envelopes (research/keys.md 2.6): what a relay keeps. `ver || suite || N || com || ct` is all that
//! is visible; the topic implies the epoch.

use std::fmt;

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use sheaf_protocol::limits::RECORD_BYTES_MAX;

use crate::codec::{self, CodecError};
use crate::committing::{self, BoxError, Derived};
use crate::device::DeviceSecrets;
use crate::epoch::EpochKeys;
use crate::evidence::{Evidence, SignedInner};
use crate::id::{DeviceId, ItemId, OperationId, RunId, UserId};
use crate::label;
use crate::limits;
use crate::padding::padded_len;
use crate::signature::Signature;

pub(crate) const SIGNATURE_BYTES: usize = 64;

/// What an envelope's body is. A kind that is not listed is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
#[repr(u8)]
pub enum Kind {
    /// Automerge changes of one document.
    Content = 1,
    /// One signed operation of the control log.
    Control = 2,
    /// Original records, published again for who lacks them.
    Bundle = 3,
    /// A statement of what the conversation comes to: its chains and the heads of its documents.
    Snapshot = 4,
    /// Messages of two devices that compare and repair their documents.
    Sync = 5,
    /// Presence and typing; never stored.
    Presence = 6,
    /// A device's daily statement of the heads it holds.
    Checkpoint = 7,
}

impl From<Kind> for u8 {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Content => 1,
            Kind::Control => 2,
            Kind::Bundle => 3,
            Kind::Snapshot => 4,
            Kind::Sync => 5,
            Kind::Presence => 6,
            Kind::Checkpoint => 7,
        }
    }
}

impl TryFrom<u8> for Kind {
    type Error = CodecError;

    fn try_from(byte: u8) -> Result<Self, CodecError> {
        match byte {
            1 => Ok(Self::Content),
            2 => Ok(Self::Control),
            3 => Ok(Self::Bundle),
            4 => Ok(Self::Snapshot),
            5 => Ok(Self::Sync),
            6 => Ok(Self::Presence),
            7 => Ok(Self::Checkpoint),
            _ => Err(CodecError),
        }
    }
}

/// The last item of another device's run that the author had merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dependency {
    /// The other device.
    pub device: DeviceId,
    /// Its run.
    pub run: RunId,
    /// The item's place in the run.
    pub seq: u64,
    /// The item.
    pub item: ItemId,
}

/// What an envelope holds, in the order of its encoding.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inner {
    /// What the body is.
    pub kind: Kind,
    /// The author.
    pub user: UserId,
    /// The author's device.
    pub device: DeviceId,
    /// The device's run.
    pub run: RunId,
    /// The grant under which the author writes.
    pub incarnation: OperationId,
    /// Place in the device's chain.
    pub seq: u64,
    /// The item before it in the chain.
    pub previous: Option<ItemId>,
    /// Heads of the control log that the author had seen.
    #[serde(deserialize_with = "codec::list::<_, _, { limits::CONTROL_HEADS_MAX }>")]
    pub control_heads: Vec<OperationId>,
    /// Items of other devices that the author had merged.
    #[serde(deserialize_with = "codec::list::<_, _, { limits::DEPENDENCIES_MAX }>")]
    pub dependencies: Vec<Dependency>,
    /// The payload, as `kind` says.
    #[serde(
        serialize_with = "codec::bytes",
        deserialize_with = "codec::bounded_bytes::<_, { RECORD_BYTES_MAX }>"
    )]
    pub body: Vec<u8>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("kind", &self.kind)
            .field("device", &self.device)
            .field("seq", &self.seq)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Why an envelope could not be sealed, opened or verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// Too short, too long, or of another version or suite.
    #[error("the bytes are not an envelope of this version")]
    Framing,
    /// Sealed under another key: another epoch, conversation or topic.
    #[error("the envelope is not sealed under this epoch")]
    Commitment,
    /// The ciphertext was altered.
    #[error("the envelope's ciphertext was altered")]
    Ciphertext,
    /// The kind is not known to this version.
    #[error("the envelope is of unknown kind {0}")]
    UnknownKind(u8),
    /// The content does not decode.
    #[error("the envelope's content is malformed")]
    Malformed,
    /// The padding is not zero or not of the one length that fits.
    #[error("the envelope's padding is not canonical")]
    Padding,
    /// The sealed envelope would be larger than a record may be.
    #[error("the envelope would take {bytes} bytes, more than {bytes_max}")]
    TooLarge {
        /// What it would take.
        bytes: usize,
        /// What a record may take.
        bytes_max: usize,
    },
    /// The key is not that of the device named as author.
    #[error("the envelope is by another device")]
    Author,
    /// The author's device did not sign this.
    #[error("the envelope is not signed by its author")]
    Signature,
}

impl From<BoxError> for EnvelopeError {
    fn from(error: BoxError) -> Self {
        match error {
            BoxError::Framing => Self::Framing,
            BoxError::Commitment => Self::Commitment,
            BoxError::Ciphertext => Self::Ciphertext,
        }
    }
}

/// Seals and signs. The result is a record of Padme's length, at most [`RECORD_BYTES_MAX`].
///
/// # Errors
/// [`EnvelopeError::Author`] when `inner` names another device, [`EnvelopeError::TooLarge`],
/// [`EnvelopeError::Malformed`] when a list is longer than its limit.
pub fn seal(
    keys: &EpochKeys,
    inner: &Inner,
    device: &DeviceSecrets,
    rng: &mut (impl CryptoRng + ?Sized),
) -> Result<Vec<u8>, EnvelopeError> {
    if inner.device != device.device() {
        return Err(EnvelopeError::Author);
    }
    if inner.control_heads.len() > limits::CONTROL_HEADS_MAX
        || inner.dependencies.len() > limits::DEPENDENCIES_MAX
    {
        return Err(EnvelopeError::Malformed);
    }
    let mut plaintext = codec::encode(inner).map_err(|_| EnvelopeError::Malformed)?;
    let fixed = committing::OVERHEAD_BYTES + SIGNATURE_BYTES;
    let wire_bytes = padded_len(plaintext.len() + fixed);
    if wire_bytes > RECORD_BYTES_MAX {
        return Err(EnvelopeError::TooLarge {
            bytes: wire_bytes,
            bytes_max: RECORD_BYTES_MAX,
        });
    }
    plaintext.resize(wire_bytes - fixed, 0);
    let context = context(keys);
    let derived = Derived::draw(
        rng,
        keys.envelope_key(),
        label::sealed::ENVELOPE,
        &[&context],
    );
    let signature = device.sign(
        label::signature::ENVELOPE,
        &[&derived.header_hash, &derived.commitment, &plaintext],
    );
    plaintext.extend_from_slice(&signature.0);
    Ok(derived.seal(&plaintext)?)
}

/// Opens, in the order that binds: length, commitment in constant time, AEAD, strict decoding. The
/// signature is not yet checked: see [`Opened::verify`].
///
/// # Errors
/// Says which step refused.
pub fn open(keys: &EpochKeys, wire: &[u8]) -> Result<Opened, EnvelopeError> {
    if wire.len() > RECORD_BYTES_MAX || padded_len(wire.len()) != wire.len() {
        return Err(EnvelopeError::Framing);
    }
    let (derived, plaintext) = Derived::open(
        keys.envelope_key(),
        label::sealed::ENVELOPE,
        &[&context(keys)],
        wire,
    )?;
    let (inner, signature) = plaintext
        .split_last_chunk::<SIGNATURE_BYTES>()
        .ok_or(EnvelopeError::Malformed)?;
    let signed = SignedInner {
        header_hash: derived.header_hash,
        commitment: derived.commitment,
        inner: inner.to_vec(),
        signature: Signature(*signature),
    };
    let inner = decode_inner(&signed.inner)?;
    Ok(Opened { signed, inner })
}

/// `conversation || e || topic_e`.
fn context(keys: &EpochKeys) -> Vec<u8> {
    [keys.conversation().0, keys.epoch().0, keys.topic().0].concat()
}

/// Decodes `postcard(Inner) || zeroes`, where the zeroes are as many as the wire's length asks for.
pub(crate) fn decode_inner(bytes: &[u8]) -> Result<Inner, EnvelopeError> {
    let kind = *bytes.first().ok_or(EnvelopeError::Malformed)?;
    Kind::try_from(kind).map_err(|_| EnvelopeError::UnknownKind(kind))?;
    let (inner, pad): (Inner, &[u8]) =
        postcard::take_from_bytes(bytes).map_err(|_| EnvelopeError::Malformed)?;
    let fixed = committing::OVERHEAD_BYTES + SIGNATURE_BYTES;
    let canonical = padded_len(fixed + bytes.len() - pad.len()) == fixed + bytes.len();
    if !canonical || pad.iter().any(|byte| *byte != 0) {
        return Err(EnvelopeError::Padding);
    }
    Ok(inner)
}

/// An envelope that opened under the epoch's key but whose author is not yet verified. It says only
/// whom to verify.
pub struct Opened {
    signed: SignedInner,
    inner: Inner,
}

impl Opened {
    /// The device that is named as author.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.inner.device
    }

    /// The user that is named as author.
    #[must_use]
    pub fn user(&self) -> UserId {
        self.inner.user
    }

    /// What the body claims to be.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.inner.kind
    }

    /// The body before verification: only good for finding the author's key in it, where a device
    /// attaches itself.
    #[must_use]
    pub fn unverified_body(&self) -> &[u8] {
        &self.inner.body
    }

    /// The control heads at which the author's authority is to be judged.
    #[must_use]
    pub fn control_heads(&self) -> &[OperationId] {
        &self.inner.control_heads
    }

    /// The run, the sequence and the incarnation that are claimed.
    #[must_use]
    pub fn place(&self) -> (RunId, u64, OperationId) {
        (self.inner.run, self.inner.seq, self.inner.incarnation)
    }

    /// What an `Equivocation` shows to prove that the author signed this: the signed part, or only
    /// the item's name where that part is larger than [`limits::EVIDENCE_BYTES_MAX`].
    #[must_use]
    pub fn evidence(&self, item: ItemId) -> Evidence {
        if self.signed.inner.len() > limits::EVIDENCE_BYTES_MAX {
            Evidence::Named(item)
        } else {
            Evidence::Shown(self.signed.clone())
        }
    }

    /// Checks the author's signature over header, commitment and content.
    ///
    /// # Errors
    /// [`EnvelopeError::Author`] when `signing` is not the named device's key,
    /// [`EnvelopeError::Signature`].
    pub fn verify(self, signing: &[u8; 32]) -> Result<Inner, EnvelopeError> {
        self.signed.check(&self.inner.device, signing)?;
        Ok(self.inner)
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("kind", &self.inner.kind)
            .field("device", &self.inner.device)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
