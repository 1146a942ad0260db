//! Going over a store: what its kinds are called, and whether a value decodes.

use crate::audit::{AuditEntry, AuditHead};
use crate::peer::PeerRecord;
use crate::sync_history::SyncEntry;
use crate::vault::VaultRecord;

use super::{
    AccountRecord, AwayRecord, ChainRecord, ContactRecord, ConversationRecord, CursorRecord,
    EnvelopeRecord, EpochRecord, EvidenceRecord, ForgottenRecord, FrontierRecord, KeepRecord, Kind,
    LostRecord, MessageRecord, NamedRecord, OfferedRecord, OperationRecord, OutboxRecord,
    ParkedRecord, PendingRecord, RecordError, RelayRecord, Row, RunRecord, SegmentRecord,
    ShownRecord, SiblingRecord, SnapshotRecord, StartRecord, StatedRecord, TokenRecord,
    UnreadRecord, WithheldRecord, decode,
};

/// Every kind, in the order of its number.
pub const KINDS: [Kind; 36] = [
    Kind::Account,
    Kind::Contact,
    Kind::Conversation,
    Kind::Operation,
    Kind::Epoch,
    Kind::Chain,
    Kind::Envelope,
    Kind::Pending,
    Kind::Snapshot,
    Kind::Segment,
    Kind::Message,
    Kind::Token,
    Kind::Outbox,
    Kind::Cursor,
    Kind::Parked,
    Kind::Run,
    Kind::Audit,
    Kind::Withheld,
    Kind::AuditHead,
    Kind::Peer,
    Kind::Shown,
    Kind::Sibling,
    Kind::Lost,
    Kind::Frontier,
    Kind::Vault,
    Kind::Relay,
    Kind::Offered,
    Kind::Away,
    Kind::Keep,
    Kind::Evidence,
    Kind::Stated,
    Kind::Start,
    Kind::Unread,
    Kind::Named,
    Kind::Forgotten,
    Kind::Sync,
];

impl Kind {
    /// The kind of a number, if it is one.
    #[must_use]
    pub fn of(number: u8) -> Option<Self> {
        KINDS.into_iter().find(|kind| *kind as u8 == number)
    }

    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Contact => "contact",
            Self::Conversation => "conversation",
            Self::Operation => "operation",
            Self::Epoch => "epoch",
            Self::Chain => "chain",
            Self::Envelope => "envelope",
            Self::Pending => "pending",
            Self::Snapshot => "snapshot",
            Self::Segment => "segment",
            Self::Message => "message",
            Self::Token => "token",
            Self::Outbox => "outbox",
            Self::Cursor => "cursor",
            Self::Parked => "parked",
            Self::Run => "run",
            Self::Audit => "audit",
            Self::Withheld => "withheld",
            Self::AuditHead => "audit head",
            Self::Sibling => "sibling",
            Self::Lost => "lost",
            Self::Frontier => "frontier",
            Self::Relay => "relay",
            Self::Offered => "offered",
            Self::Evidence => "evidence",
            Self::Vault => "vault",
            Self::Peer => "peer",
            Self::Shown => "shown",
            Self::Away => "away",
            Self::Keep => "keep",
            Self::Stated => "snapshot statement",
            Self::Start => "start",
            Self::Unread => "unread",
            Self::Named => "named",
            Self::Forgotten => "forgotten",
            Self::Sync => "sync",
        }
    }
}

/// Whether a row decodes as what its kind says.
///
/// # Errors
/// [`RecordError`] if it does not.
pub fn check(row: &Row) -> Result<(), RecordError> {
    let (kind, value) = (row.kind, row.value.as_slice());
    match kind {
        Kind::Account => decode::<AccountRecord>(kind, value).map(drop),
        Kind::Contact => decode::<ContactRecord>(kind, value).map(drop),
        Kind::Conversation => decode::<ConversationRecord>(kind, value).map(drop),
        Kind::Operation => decode::<OperationRecord>(kind, value).map(drop),
        Kind::Epoch => decode::<EpochRecord>(kind, value).map(drop),
        Kind::Chain => decode::<ChainRecord>(kind, value).map(drop),
        Kind::Frontier => FrontierRecord::decode(value).map(drop),
        Kind::Envelope => decode::<EnvelopeRecord>(kind, value).map(drop),
        Kind::Pending => decode::<PendingRecord>(kind, value).map(drop),
        Kind::Snapshot => decode::<SnapshotRecord>(kind, value).map(drop),
        Kind::Segment => decode::<SegmentRecord>(kind, value).map(drop),
        Kind::Message => decode::<MessageRecord>(kind, value).map(drop),
        Kind::Token => decode::<TokenRecord>(kind, value).map(drop),
        Kind::Outbox => OutboxRecord::decode(value).map(drop),
        Kind::Cursor => CursorRecord::decode(value).map(drop),
        Kind::Relay => decode::<RelayRecord>(kind, value).map(drop),
        Kind::Offered => decode::<OfferedRecord>(kind, value).map(drop),
        Kind::Evidence => decode::<EvidenceRecord>(kind, value).map(drop),
        Kind::Parked => decode::<ParkedRecord>(kind, value).map(drop),
        Kind::Run => decode::<RunRecord>(kind, value).map(drop),
        Kind::Withheld => decode::<WithheldRecord>(kind, value).map(drop),
        Kind::Audit => decode::<AuditEntry>(kind, value).map(drop),
        Kind::AuditHead => decode::<AuditHead>(kind, value).map(drop),
        Kind::Vault => decode::<VaultRecord>(kind, value).map(drop),
        Kind::Peer => decode::<PeerRecord>(kind, value).map(drop),
        Kind::Shown => decode::<ShownRecord>(kind, value).map(drop),
        Kind::Sibling => decode::<SiblingRecord>(kind, value).map(drop),
        Kind::Lost => decode::<LostRecord>(kind, value).map(drop),
        Kind::Away => AwayRecord::decode(value).map(drop),
        Kind::Keep => decode::<KeepRecord>(kind, value).map(drop),
        Kind::Stated => decode::<StatedRecord>(kind, value).map(drop),
        Kind::Start => decode::<StartRecord>(kind, value).map(drop),
        Kind::Unread => decode::<UnreadRecord>(kind, value).map(drop),
        Kind::Named => decode::<NamedRecord>(kind, value).map(drop),
        Kind::Forgotten => decode::<ForgottenRecord>(kind, value).map(drop),
        Kind::Sync => decode::<SyncEntry>(kind, value).map(drop),
    }
}
