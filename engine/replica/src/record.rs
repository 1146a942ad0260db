//! What the replica asks the store to keep.
//!
//! A record is named by its [`Kind`], a scope and an order. The store hides the scope (it keeps a
//! keyed hash) and keeps the order as it is, so that a range of one scope can be read in order.
//! Every value starts with a version byte and names what it belongs to, because the store cannot
//! give a scope back.

mod away;
mod check;
mod frontier;
mod message;
mod relay;
mod stated;
mod write;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use sheaf_crypto::{
    ConversationId, DeviceId, EpochId, ItemId, OperationId, RunId, SignedOperation,
    SignedUserGenesis, SignedUserOperation, UserId,
};

use crate::document::MessageId;
use crate::time::Timestamp;

pub use away::{Away, Keep};
pub(crate) use away::{AwayRecord, ForgottenRecord, KeepRecord};
pub use check::{KINDS, check};
pub(crate) use frontier::FrontierRecord;
pub use message::MessageRecord;
pub(crate) use relay::{
    CursorRecord, EvidenceRecord, OfferedRecord, OutboxRecord, Place, RelayRecord,
};
pub(crate) use stated::{Compared, NamedRecord, Sealed, StartRecord, StatedRecord, UnreadRecord};
pub use write::Write;

/// Version byte of every value here.
const VERSION: u8 = 1;

/// Kind of a record. The number is part of the store's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// This device's account.
    Account = 1,
    /// What is known of another user.
    Contact = 2,
    /// A conversation's head data.
    Conversation = 3,
    /// One signed operation of a control log, in the order of acceptance.
    Operation = 4,
    /// One epoch with its secret.
    Epoch = 5,
    /// The head of one author chain.
    Chain = 6,
    /// One accepted envelope, by segment, chain and sequence.
    Envelope = 7,
    /// One change written here and not yet sealed.
    Pending = 8,
    /// A segment's saved document.
    Snapshot = 9,
    /// A segment's figures.
    Segment = 10,
    /// One message, by time.
    Message = 11,
    /// A client token and the message it stands for.
    Token = 12,
    /// A sealed record without a receipt.
    Outbox = 13,
    /// A topic's cursor.
    Cursor = 14,
    /// A record that waits for what it depends on.
    Parked = 15,
    /// The run of this store and how it was closed.
    Run = 16,
    /// An entry of the audit log.
    Audit = 17,
    /// An accepted envelope that is not applied, for the time being or for ever.
    Withheld = 18,
    /// Where the audit log ends.
    AuditHead = 19,
    /// What is remembered of one device.
    Peer = 20,
    /// What a device has shown to know in one conversation.
    Shown = 21,
    /// An item of a forked chain beside the branch that was seen first.
    Sibling = 22,
    /// A message of this device that a fork took away, and what it was written again as.
    Lost = 23,
    /// What one device is known to have seen.
    Frontier = 24,
    /// Keys and state of the account vault.
    Vault = 25,
    /// A relay that this device has been connected to.
    Relay = 26,
    /// What a relay is known to hold of a conversation's chains.
    Offered = 27,
    /// A segment whose document is not here.
    Away = 28,
    /// What is kept of one conversation.
    Keep = 29,
    /// Proof that a relay contradicted itself.
    Evidence = 30,
    /// A snapshot: what somebody stated that a conversation comes to.
    Stated = 31,
    /// This device began at a snapshot.
    Start = 32,
    /// A device that began at a snapshot has not all of the history yet.
    Unread = 33,
    /// How many conversations the linking device named, until so many are here.
    Named = 34,
    /// What was forgotten of one conversation.
    Forgotten = 35,
    /// An entry of the history of syncs.
    Sync = 36,
}

/// Kinds that are read whole when a store is opened.
pub const RESTORED: [Kind; 31] = [
    Kind::Account,
    Kind::Contact,
    Kind::Conversation,
    Kind::Operation,
    Kind::Epoch,
    Kind::Chain,
    Kind::Segment,
    Kind::Pending,
    Kind::Outbox,
    Kind::Cursor,
    Kind::Parked,
    Kind::Run,
    Kind::Withheld,
    Kind::AuditHead,
    Kind::Sibling,
    Kind::Lost,
    Kind::Frontier,
    Kind::Relay,
    Kind::Offered,
    Kind::Evidence,
    Kind::Vault,
    Kind::Peer,
    Kind::Shown,
    Kind::Away,
    Kind::Keep,
    Kind::Stated,
    Kind::Start,
    Kind::Unread,
    Kind::Named,
    Kind::Forgotten,
    Kind::Sync,
];

/// Name of a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// What it is.
    pub kind: Kind,
    /// What it belongs to; hidden by the store.
    pub scope: Vec<u8>,
    /// Where it stands within its scope; kept readable and in order by the store.
    pub order: Vec<u8>,
}

/// A range of records of one scope, ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// What is read.
    pub kind: Kind,
    /// What it belongs to.
    pub scope: Vec<u8>,
    /// First order.
    pub from: Vec<u8>,
    /// Last order.
    pub to: Vec<u8>,
}

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What it is.
    pub kind: Kind,
    /// Where it stands within its scope.
    pub order: Vec<u8>,
    /// Its value; empty if it is there and does not open.
    pub value: Vec<u8>,
}

/// Bytes that are not a value of a version that this program knows: damaged, or newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a stored record of kind {0:?} does not decode: it was written by a newer version, or is damaged; \
     use the newest version, or restore the store from a backup"
)]
#[non_exhaustive]
pub struct RecordError(pub Kind);

/// Encodes a value with its version.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    encode_version(VERSION, value)
}

fn encode_version<T: Serialize>(version: u8, value: &T) -> Vec<u8> {
    // Serialising plain data into memory has no way to fail; an empty value is refused at decoding.
    postcard::to_extend(value, vec![version]).unwrap_or_default()
}

/// Decodes a value of this version.
pub(crate) fn decode<T: DeserializeOwned>(kind: Kind, bytes: &[u8]) -> Result<T, RecordError> {
    decode_version(kind, VERSION, bytes)
}

fn decode_version<T: DeserializeOwned>(
    kind: Kind,
    version: u8,
    bytes: &[u8],
) -> Result<T, RecordError> {
    match bytes.split_first() {
        Some((found, body)) if *found == version => match postcard::take_from_bytes(body) {
            Ok((value, [])) => Ok(value),
            Ok(_) | Err(_) => Err(RecordError(kind)),
        },
        Some(_) | None => Err(RecordError(kind)),
    }
}

/// This device's account.
#[derive(Serialize, Deserialize)]
pub(crate) struct AccountRecord {
    #[serde(with = "serde_bytes")]
    pub(crate) secrets: Vec<u8>,
    pub(crate) name: String,
    pub(crate) device_name: String,
    pub(crate) genesis: SignedUserGenesis,
    pub(crate) operations: Vec<SignedUserOperation>,
    pub(crate) relay_hint: Option<String>,
}

impl Drop for AccountRecord {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.secrets);
    }
}

/// Reads the value of a [`Kind::Token`] record: the message sent with the token, and when.
///
/// # Errors
/// [`RecordError`] if the bytes are not such a value.
pub fn decode_token(bytes: &[u8]) -> Result<(MessageId, Timestamp), RecordError> {
    let record: TokenRecord = decode(Kind::Token, bytes)?;
    Ok((record.message, record.used))
}

/// What is known of another user.
#[derive(Serialize, Deserialize)]
pub(crate) struct ContactRecord {
    pub(crate) user: UserId,
    pub(crate) name: String,
    /// Name that this person chose, over the one the contact gives.
    pub(crate) alias: Option<String>,
    #[serde(with = "serde_bytes")]
    pub(crate) log: Vec<u8>,
    pub(crate) relay: Option<String>,
    pub(crate) added: Timestamp,
    /// The devices there were when the person was verified.
    pub(crate) verified: Option<Vec<DeviceId>>,
    pub(crate) blocked: bool,
}

/// A conversation's head data.
#[derive(Serialize, Deserialize)]
pub(crate) struct ConversationRecord {
    pub(crate) conversation: ConversationId,
    pub(crate) created: Timestamp,
}

/// One signed operation.
#[derive(Serialize, Deserialize)]
pub(crate) struct OperationRecord {
    pub(crate) conversation: ConversationId,
    pub(crate) number: u64,
    pub(crate) operation: SignedOperation,
}

/// One epoch.
#[derive(Serialize, Deserialize)]
pub(crate) struct EpochRecord {
    pub(crate) conversation: ConversationId,
    pub(crate) epoch: EpochId,
    #[serde(with = "serde_bytes")]
    pub(crate) secret: Vec<u8>,
    pub(crate) learned: Timestamp,
}

impl Drop for EpochRecord {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.secret);
    }
}

/// The head of one author chain.
#[derive(Serialize, Deserialize)]
pub(crate) struct ChainRecord {
    pub(crate) conversation: ConversationId,
    pub(crate) index: u32,
    pub(crate) device: DeviceId,
    pub(crate) run: RunId,
    pub(crate) first: u64,
    pub(crate) head: u64,
    pub(crate) item: ItemId,
    pub(crate) last_seen: Timestamp,
    pub(crate) quarantined: bool,
    /// The grant under which the head was written.
    pub(crate) incarnation: OperationId,
    /// The last item that another member's item names as seen.
    pub(crate) vouched: u64,
    /// The last cuts that the author of its last content knew.
    pub(crate) cuts: Vec<OperationId>,
}

/// One accepted envelope.
#[derive(Serialize, Deserialize)]
pub(crate) struct EnvelopeRecord {
    pub(crate) epoch: EpochId,
    /// Position in the order of acceptance within the conversation.
    pub(crate) arrival: u64,
    /// The content was refused and is not part of the document.
    pub(crate) refused: bool,
    #[serde(with = "serde_bytes")]
    pub(crate) wire: Vec<u8>,
}

/// An accepted envelope that is not applied.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WithheldRecord {
    pub(crate) conversation: ConversationId,
    pub(crate) device: DeviceId,
    pub(crate) run: RunId,
    pub(crate) seq: u64,
    /// The item before it.
    pub(crate) previous: Option<ItemId>,
    pub(crate) segment: u32,
    pub(crate) incarnation: OperationId,
    /// Position in the order in which such items came, which is causal.
    pub(crate) arrival: u64,
}

/// What a device has shown to know in one conversation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ShownRecord {
    pub(crate) conversation: ConversationId,
    pub(crate) device: DeviceId,
    /// The control heads of its newest item.
    pub(crate) heads: Vec<OperationId>,
    /// Counter of the sealing key that it announced last; 0 for its certificate's.
    pub(crate) kem: u64,
}

/// An item of a forked chain beside the branch that was seen first. Its envelope is kept with the
/// others, under an index of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SiblingRecord {
    pub(crate) conversation: ConversationId,
    /// Position in the order of arrival.
    pub(crate) number: u32,
    pub(crate) device: DeviceId,
    pub(crate) run: RunId,
    pub(crate) seq: u64,
    pub(crate) item: ItemId,
    /// The segment that its content is for.
    pub(crate) segment: u32,
}

/// A message of this device that a fork took away.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LostRecord {
    pub(crate) conversation: ConversationId,
    pub(crate) message: MessageRecord,
    /// What it was written again as; its own id once it shows again.
    pub(crate) copy: Option<MessageId>,
}

/// One change written here and not yet sealed.
#[derive(Serialize, Deserialize)]
pub(crate) struct PendingRecord {
    pub(crate) conversation: ConversationId,
    pub(crate) number: u64,
    pub(crate) segment: u32,
    pub(crate) run: RunId,
    pub(crate) messages: Vec<MessageId>,
    #[serde(with = "serde_bytes")]
    pub(crate) change: Vec<u8>,
}

/// A segment's saved document.
#[derive(Serialize, Deserialize)]
pub(crate) struct SnapshotRecord {
    /// Highest sequence that the snapshot holds, by chain index.
    pub(crate) covered: Vec<(u32, u64)>,
    #[serde(with = "serde_bytes")]
    pub(crate) document: Vec<u8>,
}

/// A segment's figures.
#[derive(Serialize, Deserialize)]
pub(crate) struct SegmentRecord {
    pub(crate) conversation: ConversationId,
    pub(crate) segment: u32,
    pub(crate) messages: u32,
    pub(crate) heads: Vec<[u8; 32]>,
    /// Bytes of envelopes after the last snapshot.
    pub(crate) tail_bytes: u64,
    pub(crate) snapshot_bytes: u64,
}

/// A client token.
#[derive(Serialize, Deserialize)]
pub(crate) struct TokenRecord {
    pub(crate) message: MessageId,
    pub(crate) used: Timestamp,
}

/// A record that waits.
#[derive(Serialize, Deserialize)]
pub(crate) struct ParkedRecord {
    pub(crate) conversation: ConversationId,
    pub(crate) epoch: EpochId,
    pub(crate) number: u64,
    #[serde(with = "serde_bytes")]
    pub(crate) wire: Vec<u8>,
}

/// The run of this store.
#[derive(Serialize, Deserialize)]
pub(crate) struct RunRecord {
    pub(crate) run: RunId,
    /// The store was closed in order; the run may go on.
    pub(crate) clean: bool,
    /// Which store this was written to: a copy has another.
    pub(crate) fingerprint: [u8; 32],
}
