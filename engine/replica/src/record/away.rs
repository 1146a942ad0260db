//! Records of segments whose documents are not here.

use serde::{Deserialize, Serialize};

use sheaf_crypto::{ConversationId, OperationId};

use super::{Key, Kind, RecordError, Write, decode_version, encode_version};
use crate::document::MessageId;
use crate::time::Timestamp;

/// How much of a conversation's history a device keeps. What is beyond it is dropped here, whole old
/// segments at a time, and can be fetched again from a device that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Keep {
    /// All of it.
    #[default]
    All,
    /// At least so many of the newest messages.
    Messages(u32),
    /// At least what is younger than so many months of 30 days.
    Months(u32),
}

/// Why a segment's document is not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Away {
    /// It was dropped by policy. It is fetched when somebody asks for it.
    Dropped,
    /// The store lost part of it. It is fetched by itself.
    Damaged,
    /// This device began at a snapshot that states it, and never had it. It is fetched by itself.
    Unread,
    /// It was dropped by policy, and the secrets that would open it were forgotten since: nobody can
    /// give it any more.
    Forgotten,
}

const FIRST: u8 = 1;
/// The second version says which messages it held.
const SECOND: u8 = 2;

/// A segment whose document is not here. Its heads and figures stay in its own record.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AwayRecord {
    pub(crate) conversation: ConversationId,
    pub(crate) segment: u32,
    pub(crate) why: Away,
    /// Highest sequence that the recorded heads may hold, by chain index: what came later is kept
    /// as envelopes and applied when the segment is here again.
    pub(crate) upto: Vec<(u32, u64)>,
    /// Its oldest and its newest message, where they were here.
    #[serde(skip)]
    pub(crate) span: Option<(MessageId, MessageId)>,
}

impl AwayRecord {
    /// In the first version where that says all.
    pub(crate) fn write(&self) -> Write {
        let key = Key {
            kind: Kind::Away,
            scope: self.conversation.0.to_vec(),
            order: self.segment.to_be_bytes().to_vec(),
        };
        let value = match self.span {
            None => encode_version(FIRST, self),
            Some(span) => encode_version(SECOND, &(self, span)),
        };
        Write::of(key, Some(value))
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.first() != Some(&SECOND) {
            return decode_version(Kind::Away, FIRST, bytes);
        }
        let (record, span): (Self, _) = decode_version(Kind::Away, SECOND, bytes)?;
        Ok(Self {
            span: Some(span),
            ..record
        })
    }
}

/// What is kept of one conversation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct KeepRecord {
    pub(crate) conversation: ConversationId,
    /// Where that is another thing than of the others.
    pub(crate) keep: Option<Keep>,
    /// Segments that somebody asked for, and since when they are here again.
    pub(crate) fetched: Vec<(u32, Timestamp)>,
}

/// What was forgotten of one conversation: secrets from before a cut, and what only they open.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ForgottenRecord {
    pub(crate) conversation: ConversationId,
    /// The cuts.
    pub(crate) cuts: Vec<OperationId>,
    /// Segments whose saved documents are all that there is of them.
    pub(crate) segments: Vec<u32>,
    /// By chain index: the last item whose envelope was erased.
    pub(crate) upto: Vec<(u32, u64)>,
    /// That something came late was said.
    pub(crate) noticed: bool,
}

#[cfg(test)]
mod tests;
