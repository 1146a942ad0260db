//! Linking a device (research/keys.md 2.2): the existing device E shows a code, the new device N
//! consumes it, and the digits that N shows are typed into E.
//!
//! Pure state machines, bytes in and bytes out. Both sides write to one rendezvous topic, so each
//! message says its step and each side reads only the other's:
//! `message = ver(1) || step(1) || index(1) || count(1) || payload`.

mod channel;
mod code;
mod join;
mod offer;

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::derive::{hash, kdf};
use crate::device::DeviceCertificate;
use crate::id::UserId;
use crate::label;
use crate::signature::Signature;

pub use join::{Join, JoinShown};
pub use offer::{Approved, Offer, OfferReady, OfferWaiting};

/// Why linking stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The text is not a link code of this version.
    #[error("not a valid link code")]
    Code,
    /// The code's five minutes are over.
    #[error("the link code has expired")]
    Expired,
    /// The message is of another step: one's own, a repetition, or of the other side's future.
    #[error("the message is not the one expected at this step")]
    OtherStep,
    /// The message does not open under this code's keys.
    #[error("the message does not belong to this link code")]
    Unreadable,
    /// The message opens but is malformed, or names keys that do not hold together.
    #[error("the other device's message is not valid")]
    Invalid,
    /// The revealed value is not the one committed to, or the proof of possession is not valid.
    #[error("the other device did not keep to its commitment")]
    Commitment,
    /// The digits typed are not those shown. There is no second try.
    #[error("the digits do not match; start again with a new code")]
    Digits,
    /// The account is larger than its limit.
    #[error("the account is larger than its limit")]
    TooLarge,
    /// The account's parts are not complete.
    #[error("the account is not complete")]
    Parts,
}

/// Which message of the exchange this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkStep {
    /// N to E: certificate and commitment.
    Request,
    /// E to N: the user, E's certificate, E's random value.
    Reply,
    /// N to E: N's random value and its proof of possession.
    Reveal,
    /// E to N: one part of the account.
    Account {
        /// Which part, from zero.
        index: u8,
        /// Of how many.
        count: u8,
    },
}

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 4;

impl LinkStep {
    fn header(self) -> [u8; HEADER_BYTES] {
        match self {
            Self::Request => [VERSION, 1, 0, 1],
            Self::Reply => [VERSION, 2, 0, 1],
            Self::Reveal => [VERSION, 3, 0, 1],
            Self::Account { index, count } => [VERSION, 4, index, count],
        }
    }

    /// Reads a message's step; nothing for what is no message of this exchange.
    #[must_use]
    pub fn of(message: &[u8]) -> Option<Self> {
        match *message.first_chunk::<HEADER_BYTES>()? {
            [VERSION, 1, 0, 1] => Some(Self::Request),
            [VERSION, 2, 0, 1] => Some(Self::Reply),
            [VERSION, 3, 0, 1] => Some(Self::Reveal),
            [VERSION, 4, index, count] if index < count => Some(Self::Account { index, count }),
            _ => None,
        }
    }

    /// The payload of a message of this very step.
    fn payload(self, message: &[u8]) -> Result<&[u8], LinkError> {
        if message.len() > sheaf_protocol::limits::PART_BYTES_MAX {
            return Err(LinkError::Invalid);
        }
        message
            .strip_prefix(&self.header())
            .ok_or(LinkError::OtherStep)
    }
}

/// N to E, under HPKE.
#[derive(Serialize, Deserialize)]
struct Request {
    certificate: DeviceCertificate,
    /// `H("sheaf1/sas-commit" || r_N || certificate)`.
    commitment: [u8; 32],
}

/// E to N.
#[derive(Serialize, Deserialize)]
struct Reply {
    user: UserId,
    certificate: DeviceCertificate,
    random: [u8; 32],
}

/// N to E.
#[derive(Serialize, Deserialize)]
struct Reveal {
    random: [u8; 32],
    possession: Signature,
}

/// The commitment of N's random value and certificate.
fn commitment(random: &[u8; 32], certificate: &DeviceCertificate) -> Result<[u8; 32], LinkError> {
    let certificate = codec::encode(certificate).map_err(|_| LinkError::Invalid)?;
    Ok(hash(&[label::hash::LINK_COMMITMENT, random, &certificate]))
}

/// All that both sides must agree on: the code, both messages as sent and as read.
struct Transcript<'a> {
    code: &'a [u8],
    request: &'a [u8],
    request_body: &'a [u8],
    reply: &'a [u8],
    reply_body: &'a [u8],
}

impl Transcript<'_> {
    /// `H("sheaf1/link-transcript" || each item with its length (u32, big endian) in front)`.
    fn digest(&self) -> [u8; 32] {
        let mut bytes = label::hash::LINK_TRANSCRIPT.to_vec();
        for item in [
            self.code,
            self.request,
            self.request_body,
            self.reply,
            self.reply_body,
        ] {
            let length = u32::try_from(item.len()).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(item);
        }
        hash(&[&bytes])
    }
}

/// `KDF(r_N || r_E, transcript, "sheaf1/sas", 8) mod 10^6`, six digits.
fn digits(random_new: &[u8; 32], random_existing: &[u8; 32], transcript: &[u8; 32]) -> String {
    let random = [random_new.as_slice(), random_existing].concat();
    let number = u64::from_be_bytes(*kdf::<8>(&random, transcript, label::key::LINK_DIGITS));
    format!("{:06}", number % 1_000_000)
}

#[cfg(test)]
mod tests;
