//! Proof that a relay contradicted itself, for anybody who has its key.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use crate::history::Statement;
use crate::id::{Cursor, RelayId, TopicId};
use crate::limits;
use crate::receipt::Receipt;

/// What a piece of evidence begins with as text.
const PREFIX: &str = "sheaf-evidence:";
/// Version of the bytes.
const VERSION: u8 = 1;

/// Two signed words of one relay that cannot both be true.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Evidence {
    /// The relay whose key signed both.
    pub relay: RelayId,
    /// What it signed.
    pub words: Contradiction,
}

/// The two words.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Contradiction {
    /// Two histories up to one place.
    Histories(Statement, Statement),
    /// Two records at one place.
    Records(Receipt, Receipt),
}

/// What a piece of evidence proves. Why the relay did it does not follow: it lied, its store was put
/// back to a backup, or two relays use one key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The relay.
    pub relay: RelayId,
    /// The topic.
    pub topic: TopicId,
    /// The place about which it said two things.
    pub cursor: Cursor,
    /// A word for what it said two of: `histories` or `records`.
    pub of: &'static str,
}

/// Why something is no evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// The text or the bytes are no piece of evidence of this version.
    #[error("this is no piece of evidence that this version can read")]
    Malformed,
    /// One of the two is not signed by the relay.
    #[error("the relay did not sign both statements")]
    Signature,
    /// The two are not about the same topic, store and place.
    #[error("the two statements are not about the same place")]
    Apart,
    /// The two say the same.
    #[error("the two statements do not contradict each other")]
    Same,
}

impl Evidence {
    /// Checks it, with nothing but what it holds.
    ///
    /// # Errors
    /// [`EvidenceError`] where it proves nothing.
    pub fn verify(&self) -> Result<Verdict, EvidenceError> {
        let relay = self.relay;
        let (topic, cursor, of, together, differ) = match &self.words {
            Contradiction::Histories(one, other) => {
                let signed = one.verify(&relay).is_ok() && other.verify(&relay).is_ok();
                if !signed {
                    return Err(EvidenceError::Signature);
                }
                let together = one.topic == other.topic && one.cursor == other.cursor;
                let differ = one.history != other.history;
                (one.topic, one.cursor, "histories", together, differ)
            }
            Contradiction::Records(one, other) => {
                let signed = one.verify(&relay).is_ok() && other.verify(&relay).is_ok();
                if !signed {
                    return Err(EvidenceError::Signature);
                }
                let together = one.topic == other.topic && one.cursor == other.cursor;
                let differ = one.record != other.record;
                (one.topic, one.cursor, "records", together, differ)
            }
        };
        match (together, differ) {
            (false, _) => Err(EvidenceError::Apart),
            (true, false) => Err(EvidenceError::Same),
            (true, true) => Ok(Verdict {
                relay,
                topic,
                cursor,
                of,
            }),
        }
    }

    /// The bytes that are kept: a version, then postcard.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Serialising plain data into memory has no way to fail; nothing is no evidence.
        postcard::to_extend(self, vec![VERSION]).unwrap_or_default()
    }

    /// Reads what [`Self::to_bytes`] made. It is not verified.
    ///
    /// # Errors
    /// [`EvidenceError::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EvidenceError> {
        let (version, body) = bytes.split_first().ok_or(EvidenceError::Malformed)?;
        if *version != VERSION || bytes.len() > limits::EVIDENCE_BYTES_MAX {
            return Err(EvidenceError::Malformed);
        }
        match postcard::take_from_bytes::<Self>(body) {
            // One piece has one text: whatever else would decode is refused.
            Ok((piece, [])) if piece.to_bytes() == bytes => Ok(piece),
            Ok(_) | Err(_) => Err(EvidenceError::Malformed),
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", BASE64URL_NOPAD.encode(&self.to_bytes()))
    }
}

impl FromStr for Evidence {
    type Err = EvidenceError;

    fn from_str(text: &str) -> Result<Self, EvidenceError> {
        let text = text.strip_prefix(PREFIX).ok_or(EvidenceError::Malformed)?;
        if text.len() > limits::EVIDENCE_BYTES_MAX.saturating_mul(2) {
            return Err(EvidenceError::Malformed);
        }
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes());
        Self::from_bytes(&bytes.map_err(|_| EvidenceError::Malformed)?)
    }
}

#[cfg(test)]
mod tests;
