//! What is kept about relays. Cursors and outbox entries have a second version, since a device
//! reads from several relays: the first version names none. Cursors have a third, which says what
//! was delivered. The older ones are still read.

use serde::{Deserialize, Serialize};

use sheaf_crypto::ConversationId;
use sheaf_protocol::{Class, Cursor, Evidence, History, LogId, RelayId, Statement, TopicId};

use super::{Key, Kind, RecordError, Write, decode_version, encode_version};
use crate::document::MessageId;
use crate::time::Timestamp;

const FIRST: u8 = 1;
const SECOND: u8 = 2;
const THIRD: u8 = 3;

/// An item's place: chain index and sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) conversation: ConversationId,
    pub(crate) chain: u32,
    pub(crate) seq: u64,
}

/// A sealed record that no receipt makes done with.
#[derive(Serialize, Deserialize)]
pub(crate) struct OutboxRecord {
    pub(crate) number: u64,
    pub(crate) topic: TopicId,
    /// Seed of the capability, for topics that this device does not follow itself.
    #[serde(with = "serde_bytes")]
    pub(crate) inbox_seed: Vec<u8>,
    pub(crate) class: Class,
    pub(crate) conversation: Option<ConversationId>,
    pub(crate) messages: Vec<MessageId>,
    #[serde(with = "serde_bytes")]
    pub(crate) record: Vec<u8>,
    /// The item that it is.
    pub(crate) place: Option<Place>,
    /// Relays where the recipient reads; none for anywhere.
    pub(crate) relays: Vec<RelayId>,
    /// Relays that have it, once one of them counts.
    pub(crate) receipts: Vec<RelayId>,
}

#[derive(Serialize, Deserialize)]
struct FirstOutboxRecord {
    number: u64,
    topic: TopicId,
    #[serde(with = "serde_bytes")]
    inbox_seed: Vec<u8>,
    class: Class,
    conversation: Option<ConversationId>,
    messages: Vec<MessageId>,
    #[serde(with = "serde_bytes")]
    record: Vec<u8>,
}

/// A topic's cursor at one relay.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CursorRecord {
    pub(crate) topic: TopicId,
    pub(crate) cursor: Cursor,
    pub(crate) caught_up: bool,
    /// Which relay; a record of the first version names none.
    pub(crate) relay: Option<RelayId>,
    /// The relay's store was replaced or rolled back at some time.
    pub(crate) replaced: bool,
    /// Highest sequence that the relay is known to have had.
    pub(crate) highest: u64,
    /// Hash over everything up to the cursor, as delivered; from the third version on.
    pub(crate) history: Option<History>,
    /// The newest that the relay signed about it.
    pub(crate) statement: Option<Statement>,
}

#[derive(Serialize, Deserialize)]
struct SecondCursorRecord {
    topic: TopicId,
    cursor: Cursor,
    caught_up: bool,
    relay: Option<RelayId>,
    replaced: bool,
    highest: u64,
}

#[derive(Serialize, Deserialize)]
struct FirstCursorRecord {
    topic: TopicId,
    cursor: Cursor,
    caught_up: bool,
}

/// A relay that this device has been connected to.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct RelayRecord {
    pub(crate) relay: RelayId,
    /// Incarnation of its store at the last hello.
    pub(crate) log: LogId,
    /// When that was.
    pub(crate) hello: Timestamp,
}

/// Proof that a relay contradicted itself.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct EvidenceRecord {
    pub(crate) number: u64,
    /// When it was found.
    pub(crate) found: Timestamp,
    pub(crate) piece: Evidence,
}

/// What a relay is known to hold of the chains of a conversation.
#[derive(Serialize, Deserialize)]
pub(crate) struct OfferedRecord {
    pub(crate) conversation: ConversationId,
    pub(crate) relay: RelayId,
    /// By chain index: up to which item everything is there.
    pub(crate) upto: Vec<(u32, u64)>,
    /// Chains of devices that are gone are offered too.
    pub(crate) whole: bool,
}

impl CursorRecord {
    pub(crate) fn write(&self) -> Write {
        let order = self.relay.map(|relay| relay.0.to_vec());
        let order = order.unwrap_or_default();
        put(Kind::Cursor, THIRD, (&self.topic.0, order), self)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        match bytes.first() {
            Some(&FIRST) => {}
            Some(&SECOND) => {
                let second: SecondCursorRecord = decode_version(Kind::Cursor, SECOND, bytes)?;
                return Ok(Self {
                    topic: second.topic,
                    cursor: second.cursor,
                    caught_up: second.caught_up,
                    relay: second.relay,
                    replaced: second.replaced,
                    highest: second.highest,
                    history: None,
                    statement: None,
                });
            }
            _ => return decode_version(Kind::Cursor, THIRD, bytes),
        }
        let first: FirstCursorRecord = decode_version(Kind::Cursor, FIRST, bytes)?;
        Ok(Self {
            topic: first.topic,
            cursor: first.cursor,
            caught_up: first.caught_up,
            relay: None,
            replaced: false,
            highest: 0,
            history: None,
            statement: None,
        })
    }
}

impl OutboxRecord {
    pub(crate) fn write(&self) -> Write {
        let order = self.number.to_be_bytes().to_vec();
        put(Kind::Outbox, SECOND, (&[], order), self)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.first() != Some(&FIRST) {
            return decode_version(Kind::Outbox, SECOND, bytes);
        }
        let first: FirstOutboxRecord = decode_version(Kind::Outbox, FIRST, bytes)?;
        Ok(Self {
            number: first.number,
            topic: first.topic,
            inbox_seed: first.inbox_seed,
            class: first.class,
            conversation: first.conversation,
            messages: first.messages,
            record: first.record,
            place: None,
            relays: Vec::new(),
            receipts: Vec::new(),
        })
    }
}

fn put<T: Serialize>(
    kind: Kind,
    version: u8,
    (scope, order): (&[u8], Vec<u8>),
    value: &T,
) -> Write {
    let key = Key {
        kind,
        scope: scope.to_vec(),
        order,
    };
    Write::of(key, Some(encode_version(version, value)))
}

#[cfg(test)]
mod tests;
