//! Named misbehaviour: what others do that nobody should. It is data, never an error: it changes
//! nothing, is counted and reported.

mod conduct;

use sheaf_crypto::{ConversationId, DeviceId};
use sheaf_protocol::{RelayId, TopicId};

pub(crate) use conduct::{Conduct, Rate};
pub use conduct::{Offence, Quarantine};

/// Who did what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misbehaviour {
    /// Who, as far as it is proved.
    pub by: Suspect,
    /// What.
    pub act: Act,
    /// Where.
    pub conversation: Option<ConversationId>,
}

/// Who misbehaved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Suspect {
    /// A device, proved by its signature.
    Device(DeviceId),
    /// The relay, or whoever else can append to the topic: nothing proves more.
    Topic(TopicId),
    /// The relay: only it can have done it.
    Relay(RelayId),
}

impl std::fmt::Display for Suspect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Device(device) => write!(f, "device {device}"),
            Self::Topic(topic) => write!(f, "whoever appends to topic {topic}"),
            Self::Relay(relay) => write!(f, "relay {relay}"),
        }
    }
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Act {
    /// The record is not an envelope of this topic and epoch: truncated, altered, or sealed for
    /// another one.
    #[error("record does not open: {0}")]
    Unopenable(String),
    /// The signature inside is not the claimed device's.
    #[error("signature is not by the device that the envelope names")]
    BadSignature,
    /// The device is not attached to the conversation in the view that it names.
    #[error("author is not a member device in the view that it names")]
    NotAMember,
    /// The role does not allow it.
    #[error("author's role does not allow it")]
    NotAllowed,
    /// The epoch is not part of the view that the envelope names.
    #[error("envelope is sealed under an epoch outside its own view")]
    WrongEpoch,
    /// A record was delivered again.
    #[error("record was delivered before")]
    Replayed,
    /// Two different items of one device claim the same place in its chain.
    #[error("two items of one device claim sequence {sequence}")]
    Equivocation {
        /// The place.
        sequence: u64,
    },
    /// The chain's previous item is not the one that it names.
    #[error("item {sequence} does not follow the item before it")]
    BrokenChain {
        /// The place.
        sequence: u64,
    },
    /// The content does not pass the gate.
    #[error("content was refused: {0}")]
    RefusedContent(String),
    /// What it stated that the conversation comes to is not so.
    #[error("snapshot is false: {0}")]
    FalseSnapshot(String),
    /// The operation is not valid where it stands.
    #[error("operation was refused: {0}")]
    RefusedOperation(String),
    /// An inbox message does not open or is not signed by the sender that it names.
    #[error("inbox message was refused: {0}")]
    RefusedInbox(String),
    /// A record of the vault topic does not open with the phrase, or is not by a live device of the
    /// account.
    #[error("vault was refused: {0}")]
    RefusedVault(String),
    /// The relay's receipt is not signed by its key or names another record.
    #[error("receipt is not valid")]
    BadReceipt,
    /// The relay delivered records out of order or outside what was asked for.
    #[error("delivery does not fit the subscription")]
    BadDelivery,
    /// The relay's store is not the one that the cursor is of: wiped, restored or replaced.
    #[error("the relay's store was replaced")]
    StoreReplaced,
    /// The relay's store is the same one with fewer records than it had: restored from a backup.
    #[error("the relay's store was rolled back")]
    RolledBack,
    /// The relay states or promises something else than it delivered.
    #[error(
        "the relay states another history than it delivered: its store was put back, or it lies"
    )]
    OtherHistory,
    /// Two signed words of the relay cannot both be true: there is evidence.
    #[error("the relay signed two words that contradict each other")]
    Contradiction,
    /// The relay's statement is not signed by its key or not about what was asked.
    #[error("statement is not valid")]
    BadStatement,
    /// Records in the middle of a topic did not come: expired, trimmed, or kept back.
    #[error("records {from} to {to} of a topic were left out")]
    LeftOut {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
    /// The relay told a peer of records that it does not deliver here.
    #[error("the relay keeps back records that it told another device of")]
    Withheld,
    /// The relay leaves questions about what it holds without an answer.
    #[error("the relay does not say what it holds")]
    Unanswered,
    /// The relay leaves appends without a receipt, or refuses them.
    #[error("the relay has not confirmed what was sent to it")]
    Unconfirmed,
    /// This device's own store is older than what it has already sent: restored or copied.
    #[error("this device's own store was rolled back or copied")]
    OwnRollback,
}
