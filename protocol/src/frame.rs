//! Frames: what travels between a device and a relay inside one QUIC connection.
//!
//! On the wire a frame is a `u32` length in little endian, then that many bytes: one version byte
//! and a postcard-encoded [`ClientFrame`] or [`ServerFrame`]. The length is checked against
//! [`FRAME_BYTES_MAX`](crate::limits::FRAME_BYTES_MAX) before the body is read.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::access::AccessProof;
use crate::history::Statement;
use crate::id::{Cursor, LogId, RequestId, TopicId};
use crate::limits;
use crate::receipt::Receipt;

/// Version of the frames in this crate.
pub const VERSION: u8 = 1;
/// Bytes of the length prefix.
pub const FRAME_PREFIX_BYTES: usize = 4;

/// How long and for whom a relay keeps a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    /// Kept until trimmed or expired; read by many.
    Log,
    /// One reader, trimmed at its acknowledgement, at most 45 days.
    Inbox,
    /// Fanned out to those connected, never stored, no receipt.
    Ephemeral,
}

/// What a device says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientFrame {
    /// First frame of a connection.
    Hello {
        /// Highest frame version that the device speaks.
        version: u8,
        /// Admission token, where the relay asks for one.
        token: Option<String>,
    },
    /// Proof of access to one topic, valid for the rest of the connection.
    Prove(AccessProof),
    /// Deliver everything after a cursor, then everything that comes.
    Subscribe {
        /// Number of the request, named by the answer.
        request: RequestId,
        /// A topic proved before.
        topic: TopicId,
        /// Where to go on; `None` for the beginning.
        after: Option<Cursor>,
    },
    /// Deliver no more of a topic.
    Unsubscribe {
        /// The topic.
        topic: TopicId,
    },
    /// Append one record.
    Append {
        /// Number of the request, named by the receipt or the refusal.
        request: RequestId,
        /// A topic proved before.
        topic: TopicId,
        /// How the record is kept.
        class: Class,
        /// The sealed record.
        #[serde(with = "serde_bytes")]
        record: Vec<u8>,
    },
    /// Delete an inbox's records up to and with a cursor.
    Trim {
        /// An inbox topic proved before.
        topic: TopicId,
        /// The last record to delete.
        upto: Cursor,
    },
    /// Asks for a [`ServerFrame::Pong`]: shows that both sides are there, and how far apart.
    Ping {
        /// Comes back in the answer.
        token: u64,
    },
    /// Proves and subscribes to many topics at once: what a device says when it connects again. At
    /// most [`FOLLOWED_MAX`](limits::FOLLOWED_MAX) topics.
    Follow {
        /// Number of the request, named by the answer.
        request: RequestId,
        /// The topics.
        topics: Vec<Followed>,
    },
    /// Asks for a signed [`ServerFrame::Statement`] about a topic's records up to a place.
    Witness {
        /// Number of the request, named by the answer.
        request: RequestId,
        /// A topic proved before.
        topic: TopicId,
        /// The place; `None` for the newest record.
        sequence: Option<u64>,
    },
    /// Nobody needs a topic's records of class log up to and with a cursor any more: they go when the
    /// grace period is over, unless somebody takes that back.
    Release {
        /// A topic proved before.
        topic: TopicId,
        /// The last record; `None` takes back what is not deleted yet.
        upto: Option<Cursor>,
    },
}

/// One topic of a [`ClientFrame::Follow`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Followed {
    /// Ed25519 public key whose hash is the topic.
    pub capability: [u8; 32],
    /// Ed25519 signature over [`access_message`](crate::access_message).
    #[serde(with = "serde_bytes")]
    pub signature: Vec<u8>,
    /// Where to go on; `None` for the beginning.
    pub after: Option<Cursor>,
}

/// How one topic of a [`ClientFrame::Follow`] differs from what the device has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Place of the topic in the request, from zero.
    pub place: u32,
    /// Sequence of the newest record; zero when there is none.
    pub head: u64,
    /// The cursor is of another log: delivery starts from the beginning.
    pub restarted: bool,
}

/// One record and its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Sequence of the record in its topic.
    pub sequence: u64,
    /// The sealed record.
    #[serde(with = "serde_bytes")]
    pub record: Vec<u8>,
}

/// What a relay says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerFrame {
    /// Answer to the device's hello: the connection is up.
    Hello {
        /// Frame version used from here on.
        version: u8,
        /// Incarnation of the relay's store.
        log: LogId,
        /// Largest record taken, in bytes.
        record_bytes_max: u32,
    },
    /// A subscription stands.
    Subscribed {
        /// The request answered.
        request: RequestId,
        /// The topic.
        topic: TopicId,
        /// Sequence of the newest record; zero when there is none.
        head: u64,
        /// The cursor asked for is of another log: delivery starts from the beginning.
        restarted: bool,
    },
    /// Records of one topic, in order.
    Records {
        /// The topic.
        topic: TopicId,
        /// Sequence of the record before the first one here; zero at the beginning. A device whose
        /// cursor is lower has a gap.
        previous: u64,
        /// The records; sequences rise.
        records: Vec<Delivery>,
    },
    /// Everything up to the cursor has been delivered; from here on records arrive as they come.
    CaughtUp {
        /// The topic.
        topic: TopicId,
        /// Sequence of the last record delivered; zero when there is none.
        sequence: u64,
    },
    /// An appended record is durable.
    Receipt {
        /// The request answered.
        request: RequestId,
        /// The signed promise.
        receipt: Receipt,
    },
    /// A request was refused and changed nothing.
    Refused(Refusal),
    /// The relay is about to close: connect again after the delay.
    GoAway {
        /// Delay before connecting again, in milliseconds.
        reconnect_ms: u32,
    },
    /// Answer to a [`ClientFrame::Ping`].
    Pong {
        /// The token of the question.
        token: u64,
    },
    /// All subscriptions of a [`ClientFrame::Follow`] stand. Topics that are not named here have
    /// nothing new: no `CaughtUp` follows for them, what comes is live.
    Followed {
        /// The request answered.
        request: RequestId,
        /// [`digest_topics`] over the heads of the topics that are not named: equal to the device's
        /// own, or the two do not speak of the same.
        digest: [u8; 32],
        /// The topics that have something new.
        changed: Vec<Changed>,
    },
    /// Answer to a [`ClientFrame::Witness`].
    Statement {
        /// The request answered.
        request: RequestId,
        /// What the relay says.
        statement: Statement,
    },
}

/// SHA-256 over topics and the sequence that each stands at, in the order given.
#[must_use]
pub fn digest_topics(topics: impl IntoIterator<Item = (TopicId, u64)>) -> [u8; 32] {
    let mut digest = Sha256::new_with_prefix(b"sheaf1/unchanged");
    for (topic, sequence) in topics {
        digest.update(topic.0);
        digest.update(sequence.to_be_bytes());
    }
    digest.finalize().into()
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The request, where there is one.
    pub request: Option<RequestId>,
    /// The topic, where there is one.
    pub topic: Option<TopicId>,
    /// The reason, for programs.
    pub code: ErrorCode,
    /// Try again after this many milliseconds; zero means that trying again does not help.
    pub retry_after_ms: u32,
    /// The reason, for people: coarse, and never about content.
    pub message: String,
}

/// Reasons of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The frame does not decode or does not fit its place.
    BadFrame,
    /// No common version.
    Version,
    /// The relay does not admit this device.
    NotAdmitted,
    /// The topic was not proved on this connection, or the proof is wrong.
    NoAccess,
    /// The record is larger than the relay takes.
    RecordTooLarge,
    /// The topic, the device or the relay is full: nothing old is evicted for something new.
    Full,
    /// Too fast; see `retry_after_ms`.
    RateLimited,
    /// The relay's store failed; see `retry_after_ms`.
    Unavailable,
    /// The relay is shutting down.
    Draining,
    /// Nothing is kept about the place that was asked about.
    Gone,
}

/// Bytes that are not a frame of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Longer than a frame may be.
    #[error("frame of {0} bytes is over the limit of {max}", max = limits::FRAME_BYTES_MAX)]
    TooLarge(usize),
    /// The version byte is not one that this program speaks.
    #[error("frame version {0} is not known")]
    Version(u8),
    /// The bytes do not decode, or something follows the frame.
    #[error("frame does not decode")]
    Malformed,
}

/// Encodes a device's frame, length prefix included.
#[must_use]
pub fn encode_client_frame(frame: &ClientFrame) -> Vec<u8> {
    encode(frame)
}

/// Encodes a relay's frame, length prefix included.
#[must_use]
pub fn encode_server_frame(frame: &ServerFrame) -> Vec<u8> {
    encode(frame)
}

/// Decodes a device's frame from the bytes after the length prefix.
///
/// # Errors
/// [`DecodeError`] for anything but exactly one frame of a known version.
pub fn decode_client_frame(bytes: &[u8]) -> Result<ClientFrame, DecodeError> {
    decode(bytes)
}

/// Decodes a relay's frame from the bytes after the length prefix.
///
/// # Errors
/// [`DecodeError`] for anything but exactly one frame of a known version.
pub fn decode_server_frame(bytes: &[u8]) -> Result<ServerFrame, DecodeError> {
    decode(bytes)
}

fn encode<T: Serialize>(frame: &T) -> Vec<u8> {
    let mut bytes = vec![0; FRAME_PREFIX_BYTES];
    bytes.push(VERSION);
    // Serialising plain data into memory has no way to fail; an empty frame is refused by any peer.
    let bytes = postcard::to_extend(frame, bytes).unwrap_or_default();
    seal_length(bytes)
}

fn seal_length(mut bytes: Vec<u8>) -> Vec<u8> {
    let length = bytes.len().saturating_sub(FRAME_PREFIX_BYTES);
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    for (place, byte) in bytes.iter_mut().zip(length) {
        *place = byte;
    }
    bytes
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    if bytes.len() > limits::FRAME_BYTES_MAX {
        return Err(DecodeError::TooLarge(bytes.len()));
    }
    let (version, body) = bytes.split_first().ok_or(DecodeError::Malformed)?;
    if *version != VERSION {
        return Err(DecodeError::Version(*version));
    }
    match postcard::take_from_bytes(body) {
        Ok((frame, [])) => Ok(frame),
        Ok(_) | Err(_) => Err(DecodeError::Malformed),
    }
}

#[cfg(test)]
mod tests;
