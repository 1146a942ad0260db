//! Messages to one device's inbox: sealed to its KEM key, signed by the sender inside, in as many
//! records as they need.
//!
//! `record = ver(1) || suite(1) || id(16) || index(1) || count(1) || enc || ct`.

use std::fmt;

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use sheaf_protocol::limits::PART_BYTES_MAX;

use crate::codec;
use crate::derive::hash;
use crate::device::DeviceSecrets;
use crate::epoch::Recipient;
use crate::id::{DeviceId, UserId};
use crate::kem::{self, Suite};
use crate::label;
use crate::limits;
use crate::padding::padded_len;
use crate::parts::{
    self, CONTENT_OVERHEAD_BYTES_MAX, ID_BYTES, Part, SIGNATURE_BYTES, SealError, To,
};
use crate::signature::Signature;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 2 + ID_BYTES + 2;

/// Why an inbox message could not be sealed, opened, joined or verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InboxError {
    /// The body is larger than [`limits::MESSAGE_BYTES_MAX`].
    #[error("the message is larger than its limit")]
    TooLarge,
    /// The recipient's KEM record is not its own or not usable.
    #[error("the recipient's sealing key is not usable")]
    RecipientKey,
    /// The record is not an inbox part of this version.
    #[error("the record is not an inbox message of this version")]
    Framing,
    /// No held key opens the record.
    #[error("the record does not open with any key held")]
    Unreadable,
    /// The parts are not all of one message.
    #[error("the parts are not one whole message")]
    Parts,
    /// The joined message does not decode.
    #[error("the message is malformed")]
    Malformed,
    /// The key is not that of the device named as sender.
    #[error("the message is by another device")]
    Sender,
    /// The sender did not sign this message to this device.
    #[error("the message is not signed by its sender")]
    Signature,
}

#[derive(Serialize, Deserialize)]
struct Content {
    user: UserId,
    device: DeviceId,
    #[serde(
        serialize_with = "codec::bytes",
        deserialize_with = "codec::bounded_bytes::<_, { limits::MESSAGE_BYTES_MAX }>"
    )]
    body: Vec<u8>,
}

/// Seals a body of at most [`limits::MESSAGE_BYTES_MAX`] to one device, in records of at most
/// [`PART_BYTES_MAX`].
///
/// # Errors
/// [`InboxError::TooLarge`] or [`InboxError::RecipientKey`].
pub fn seal_inbox(
    rng: &mut (impl CryptoRng + ?Sized),
    to: &Recipient,
    sender: &DeviceSecrets,
    sender_user: UserId,
    body: &[u8],
) -> Result<Vec<Vec<u8>>, InboxError> {
    if body.len() > limits::MESSAGE_BYTES_MAX {
        return Err(InboxError::TooLarge);
    }
    if to.kem.device != to.device {
        return Err(InboxError::RecipientKey);
    }
    let mut id = [0; ID_BYTES];
    rng.fill_bytes(&mut id);
    let content = Content {
        user: sender_user,
        device: sender.device(),
        body: body.to_vec(),
    };
    let bytes_max = padded_len(CONTENT_OVERHEAD_BYTES_MAX + body.len() + SIGNATURE_BYTES);
    let mut whole = codec::encode_secret(&content, bytes_max).map_err(|_| InboxError::Malformed)?;
    let padded = padded_len(whole.len() + SIGNATURE_BYTES);
    whole.resize(padded - SIGNATURE_BYTES, 0);
    let signature = sender.sign(
        label::signature::INBOX,
        &signed_parts(&to.device, &id, &content, &body_hash(body)),
    );
    whole.extend_from_slice(&signature.0);
    let mut head = vec![VERSION, to.kem.suite.into()];
    head.extend_from_slice(&id);
    let to = To {
        suite: to.kem.suite,
        public: &to.kem.public,
        info: &info(&to.device, to.kem.counter),
    };
    parts::seal(rng, &to, &head, label::hash::INBOX_MESSAGE, &whole).map_err(|error| match error {
        SealError::TooLarge => InboxError::TooLarge,
        SealError::Key => InboxError::RecipientKey,
    })
}

/// `"sheaf1/inbox" || device || counter (u64, big endian)`.
fn info(device: &DeviceId, counter: u64) -> Vec<u8> {
    [
        label::hpke::INBOX,
        device.0.as_slice(),
        &counter.to_be_bytes(),
    ]
    .concat()
}

fn body_hash(body: &[u8]) -> [u8; 32] {
    hash(&[label::hash::INBOX_BODY, body])
}

/// `recipient || id || sender's user || sender's device || H("sheaf1/inbox-body" || body)`.
fn signed_parts<'a>(
    recipient: &'a DeviceId,
    id: &'a [u8; ID_BYTES],
    content: &'a Content,
    body_hash: &'a [u8; 32],
) -> [&'a [u8]; 5] {
    [
        &recipient.0,
        id,
        &content.user.0,
        &content.device.0,
        body_hash,
    ]
}

/// One opened part. Parts belong together when their [`InboxPart::group`] is the same.
pub struct InboxPart {
    recipient: DeviceId,
    id: [u8; ID_BYTES],
    part: Part,
}

impl InboxPart {
    /// The digest of the whole message, from inside the seal: whoever cannot read the message
    /// cannot slip a part into it.
    #[must_use]
    pub fn group(&self) -> [u8; 32] {
        self.part.digest
    }

    /// Which part this is, from zero.
    #[must_use]
    pub fn index(&self) -> u8 {
        self.part.index
    }

    /// How many parts the message has.
    #[must_use]
    pub fn count(&self) -> u8 {
        self.part.count
    }
}

impl fmt::Debug for InboxPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboxPart")
            .field("index", &self.part.index)
            .field("count", &self.part.count)
            .finish_non_exhaustive()
    }
}

/// Opens one record of this device's inbox with whichever KEM secret fits, newest first.
///
/// # Errors
/// [`InboxError::Framing`] or [`InboxError::Unreadable`].
pub fn open_inbox_part(me: &DeviceSecrets, record: &[u8]) -> Result<InboxPart, InboxError> {
    if record.len() > PART_BYTES_MAX {
        return Err(InboxError::Framing);
    }
    let (header, sealed) = record
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or(InboxError::Framing)?;
    let [VERSION, suite, id @ .., index, count] = *header else {
        return Err(InboxError::Framing);
    };
    let suite = Suite::try_from(suite).map_err(|_| InboxError::Framing)?;
    if index >= count {
        return Err(InboxError::Framing);
    }
    let recipient = me.device();
    let opened = me
        .kem_secrets()
        .filter(|(_, held, _)| *held == suite)
        .find_map(|(counter, suite, secret)| {
            kem::open((suite, secret), &info(&recipient, counter), header, sealed).ok()
        })
        .ok_or(InboxError::Unreadable)?;
    let part = Part::of(index, count, &opened).ok_or(InboxError::Framing)?;
    Ok(InboxPart {
        recipient,
        id,
        part,
    })
}

/// Joins the parts of one message, in any order.
///
/// # Errors
/// [`InboxError::Parts`] unless each part of one message is there exactly once;
/// [`InboxError::Malformed`].
pub fn join_inbox_parts(mut parts: Vec<InboxPart>) -> Result<JoinedInbox, InboxError> {
    parts.sort_by_key(|part| part.part.index);
    let first = parts.first().ok_or(InboxError::Parts)?;
    let (recipient, id) = (first.recipient, first.id);
    if parts
        .iter()
        .any(|part| (part.recipient, part.id) != (recipient, id))
    {
        return Err(InboxError::Parts);
    }
    let parts = parts.iter().map(|part| &part.part);
    let message = parts::join(parts, label::hash::INBOX_MESSAGE).ok_or(InboxError::Parts)?;
    let (content, signature) = parts::read(&message, padded_len).ok_or(InboxError::Malformed)?;
    Ok(JoinedInbox {
        recipient,
        id,
        content,
        signature,
    })
}

/// A whole message whose sender is not yet verified.
pub struct JoinedInbox {
    recipient: DeviceId,
    id: [u8; ID_BYTES],
    content: Content,
    signature: Signature,
}

impl JoinedInbox {
    /// The user named as sender.
    #[must_use]
    pub fn sender_user(&self) -> UserId {
        self.content.user
    }

    /// The device named as sender.
    #[must_use]
    pub fn sender_device(&self) -> DeviceId {
        self.content.device
    }

    /// The body before verification: only good for finding the sender's key in it, since an
    /// invitation brings its sender's user log along.
    #[must_use]
    pub fn unverified_body(&self) -> &[u8] {
        &self.content.body
    }

    /// Checks the sender's signature over recipient, message and body.
    ///
    /// # Errors
    /// [`InboxError::Sender`] or [`InboxError::Signature`].
    pub fn verify(self, signing: &[u8; 32]) -> Result<InboxMessage, InboxError> {
        if self.content.device != DeviceId::of_key(signing) {
            return Err(InboxError::Sender);
        }
        let hash = body_hash(&self.content.body);
        self.signature
            .verify(
                signing,
                label::signature::INBOX,
                &signed_parts(&self.recipient, &self.id, &self.content, &hash),
            )
            .map_err(|_| InboxError::Signature)?;
        Ok(InboxMessage {
            id: self.id,
            sender_user: self.content.user,
            sender_device: self.content.device,
            body: self.content.body,
        })
    }
}

impl fmt::Debug for JoinedInbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinedInbox")
            .field("sender_device", &self.content.device)
            .finish_non_exhaustive()
    }
}

/// A verified message. The sender's device signed that it speaks for `sender_user`; whether that
/// user has such a device is for the user's log to say.
#[derive(Clone, PartialEq, Eq)]
pub struct InboxMessage {
    /// Random, by the sender: the same message twice has the same id.
    pub id: [u8; 16],
    /// The user named by the sender.
    pub sender_user: UserId,
    /// The sending device.
    pub sender_device: DeviceId,
    /// What was sent.
    pub body: Vec<u8>,
}

impl fmt::Debug for InboxMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboxMessage")
            .field("sender_user", &self.sender_user)
            .field("sender_device", &self.sender_device)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
