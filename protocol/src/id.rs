//! Identifiers and places that a relay can see.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Text that is not an identifier of the kind asked for.
#[derive(Debug, thiserror::Error)]
#[error("not a valid identifier: expected {expected}")]
#[non_exhaustive]
pub struct IdError {
    /// What a valid text looks like.
    pub expected: &'static str,
}

/// A topic: an append-only log of ciphertext on a relay. It is the hash of a capability public key
/// (research/keys.md 2.8), so it says nothing about who uses it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicId(pub [u8; 32]);

/// SHA-256 of a record's bytes: the name under which an append is idempotent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecordHash(pub [u8; 32]);

/// A relay's Ed25519 public key: its identity in TLS, in its address and under its receipts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RelayId(pub [u8; 32]);

/// One incarnation of a relay's store: drawn at random when the store is created, so that a wiped
/// or replaced store is recognised by every device that holds a cursor into the old one.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct LogId(pub u64);

/// A request's number, chosen by the device and unique within one connection.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct RequestId(pub u64);

/// A place in a topic: monotonic within one [`LogId`], not dense, otherwise opaque. A cursor names
/// the last record that has been read; reading goes on after it.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Cursor {
    /// The incarnation of the store that the sequence belongs to.
    pub log: LogId,
    /// Position in the topic; the first record has a sequence above zero.
    pub sequence: u64,
}

/// SHA-256 of a record.
#[must_use]
pub fn hash_record(bytes: &[u8]) -> RecordHash {
    RecordHash(Sha256::digest(bytes).into())
}

macro_rules! hex_id {
    ($name:ident, $what:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let short: String = HEXLOWER.encode(&self.0).chars().take(8).collect();
                write!(f, concat!($what, "({})"), short)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                HEXLOWER
                    .decode(text.as_bytes())
                    .ok()
                    .and_then(|bytes| bytes.try_into().ok())
                    .map(Self)
                    .ok_or(IdError {
                        expected: "64 lowercase hexadecimal digits",
                    })
            }
        }
    };
}

hex_id!(TopicId, "topic");
hex_id!(RecordHash, "record");

impl fmt::Display for RelayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

impl fmt::Debug for RelayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "relay({self})")
    }
}

impl FromStr for RelayId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        BASE64URL_NOPAD
            .decode(text.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or(IdError {
                expected: "43 characters of unpadded base64url",
            })
    }
}
