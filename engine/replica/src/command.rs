//! What an app asks of a replica, and what it gets back.

mod info;

use sheaf_crypto::{ConversationId, DeviceId, History, Role, UserId};

use crate::document::{DocumentError, DocumentTransaction, MessageId, Origin};
use crate::record::Keep;
use crate::vault::{VaultRecovery, VaultSetting};

pub use info::{
    ContactInfo, ConversationInfo, DamagedRecord, DeviceInfo, DeviceStanding, ForgettingInfo,
    PeerInfo, SnapshotInfo,
};

/// Number of a command, chosen by the driver; the completion names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// A change of a conversation's shared document, applied inside one transaction.
pub type DocumentChange =
    Box<dyn FnOnce(&mut DocumentTransaction<'_, '_>) -> Result<(), DocumentError> + Send>;

/// Text to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The text.
    pub text: String,
    /// The message it answers.
    pub reply_to: Option<MessageId>,
    /// A notice, not something said.
    pub system: bool,
    /// Where it was imported from.
    pub origin: Option<Origin>,
}

impl Draft {
    /// A plain text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            reply_to: None,
            system: false,
            origin: None,
        }
    }
}

/// What an app asks for.
#[allow(
    missing_debug_implementations,
    reason = "a document change is a closure"
)]
#[non_exhaustive]
pub enum Command {
    /// Create an account with this device as its first.
    CreateAccount {
        /// The person's name.
        name: String,
        /// The device's name.
        device: String,
        /// Where the account's inboxes are read.
        relay: Option<String>,
    },
    /// Join an existing account by a link code.
    JoinAccount {
        /// The code shown by the existing device.
        code: String,
        /// This device's name.
        device: String,
    },
    /// Become a new device of an account whose other devices are lost; they are revoked.
    RecoverAccount {
        /// The recovery phrase.
        phrase: RecoveryWords,
        /// The account's card, as any contact has it.
        card: String,
        /// This device's name.
        device: String,
    },
    /// The same with nothing but the phrase: from the vault on the relay. It is answered when the
    /// vault's topic was read to its end.
    RecoverFromVault {
        /// The recovery phrase.
        phrase: RecoveryWords,
        /// This device's name.
        device: String,
    },
    /// Give up a recovery that waits for the relay.
    CancelRecovery,
    /// Keep a vault of the account on the relay, or empty it and keep none.
    SetVault {
        /// Which.
        setting: VaultSetting,
        /// The phrase in force, where this device does not have the vault's key yet.
        phrase: Option<RecoveryWords>,
    },
    /// Write the vault now if something changed since the last one.
    PublishVault,
    /// Take every freeze of a device back by the phrase, where no device is senior enough.
    ThawByPhrase {
        /// The phrase in force.
        phrase: RecoveryWords,
        /// The device.
        device: DeviceId,
    },
    /// Replace the recovery phrase.
    RotateRecovery {
        /// The phrase in force.
        phrase: RecoveryWords,
    },
    /// Remember which relays the card names: addresses separated by blanks.
    SetRelays(Option<String>),
    /// Add a contact by card.
    AddContact {
        /// The card's text.
        card: String,
        /// A name to use instead of the card's.
        alias: Option<String>,
    },
    /// Show a link code and wait for a new device.
    StartLink,
    /// Approve the new device by the digits that it shows.
    ApproveLink {
        /// The six digits.
        digits: String,
    },
    /// Give up linking.
    CancelLink,
    /// Create a conversation.
    CreateConversation {
        /// Its name.
        name: String,
        /// Contacts to invite at once.
        members: Vec<UserId>,
        /// Messages of a segment; `None` for the default.
        segment_messages: Option<u32>,
        /// What newcomers may read.
        history: History,
    },
    /// Add a contact to a conversation.
    AddMember {
        /// The conversation.
        conversation: ConversationId,
        /// The contact.
        user: UserId,
        /// The role given.
        role: Role,
    },
    /// Remove a member, or leave where it is oneself.
    RemoveMember {
        /// The conversation.
        conversation: ConversationId,
        /// The member.
        user: UserId,
    },
    /// Give a member another role.
    SetRole {
        /// The conversation.
        conversation: ConversationId,
        /// The member.
        user: UserId,
        /// The role; making somebody the owner ends one's own membership.
        role: Role,
    },
    /// Give a conversation another name.
    RenameConversation {
        /// The conversation.
        conversation: ConversationId,
        /// The name.
        name: String,
    },
    /// Change one's own device list.
    ChangeDevice {
        /// The device.
        device: DeviceId,
        /// What becomes of it.
        change: DeviceChange,
    },
    /// Say that a contact's safety number was compared, or take that back.
    SetVerified {
        /// The contact.
        user: UserId,
        /// Whether it was.
        verified: bool,
    },
    /// Refuse a contact's invites, or take them again.
    SetBlocked {
        /// The contact.
        user: UserId,
        /// Whether they are refused.
        blocked: bool,
    },
    /// Let a device's content count again that was held back as misbehaviour.
    LiftQuarantine(DeviceId),
    /// Cut the history: what is written from now on opens nothing from before, and who is added later
    /// begins here.
    CutHistory(ConversationId),
    /// The same, and have the secrets of before erased once every device has acknowledged it.
    ForgetHistory(ConversationId),
    /// Draw a new epoch.
    Rotate(ConversationId),
    /// Ask other devices what they have, send them what they lack and take what is missing here.
    /// The answers come as [`Event::Exchanged`](crate::Event::Exchanged).
    Resync {
        /// The conversations; all if there is none.
        conversations: Vec<ConversationId>,
        /// The devices to ask; all that take part if there is none.
        devices: Vec<DeviceId>,
        /// Compare the documents too, by the Automerge sync protocol.
        full: bool,
    },
    /// Put together what a device lacks of a conversation, sealed to it, for a file.
    Export {
        /// The conversation.
        conversation: ConversationId,
        /// The device.
        device: DeviceId,
    },
    /// Take in what another device put together for this one.
    ImportBundle {
        /// The records, in their order.
        records: Vec<Vec<u8>>,
    },
    /// Keep so much of a conversation on this device from now on.
    SetKeep {
        /// The conversation.
        conversation: ConversationId,
        /// How much; `None` for what the device keeps of every conversation.
        keep: Option<Keep>,
    },
    /// Fetch a segment that is not here from a device that holds it; the newest one for `None`.
    Fetch(ConversationId, Option<u32>),
    /// Remove damaged records that can be derived or fetched, and begin to.
    Repair(Vec<DamagedRecord>),
    /// Acknowledge at once what was seen, instead of a while later.
    Acknowledge,
    /// Send one message.
    Send {
        /// The conversation.
        conversation: ConversationId,
        /// What to send.
        draft: Draft,
        /// Sending again with the same token gives the first message back.
        token: Option<String>,
    },
    /// Send many messages as few changes.
    Import {
        /// The conversation.
        conversation: ConversationId,
        /// The messages, at most [`BULK_MESSAGES_MAX`](crate::limits::BULK_MESSAGES_MAX).
        drafts: Vec<ImportDraft>,
    },
    /// Change the conversation's shared document.
    Change {
        /// The conversation.
        conversation: ConversationId,
        /// The change.
        change: DocumentChange,
    },
    /// Save what is worth saving and end the run in order.
    Close,
}

/// What becomes of one of one's own devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceChange {
    /// It has another name.
    Rename(String),
    /// It gets no new secret, and its new content waits.
    Freeze,
    /// A freeze is taken back.
    Thaw,
    /// It is no device of the account any more.
    Revoke,
    /// It is the primary one.
    Primary,
    /// It is not to be primary until a handover names it again: this very device only.
    Decline,
}

/// One message of an import. A reply names the place of its target in the same import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportDraft {
    /// The message.
    pub draft: Draft,
    /// Index, in this very batch, of the message answered; for targets imported by earlier batches
    /// set `draft.reply_to`.
    pub reply_in_batch: Option<usize>,
}

/// What a command gives back.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// Nothing but success.
    Done,
    /// An account was created.
    AccountCreated {
        /// The person.
        user: UserId,
        /// This device.
        device: DeviceId,
        /// The recovery phrase, shown once and kept nowhere.
        phrase: RecoveryWords,
    },
    /// This device belongs to an account again.
    Recovered {
        /// The person.
        user: UserId,
        /// This device.
        device: DeviceId,
    },
    /// This device belongs to an account again, with what the vault held.
    RecoveredFromVault(VaultRecovery),
    /// The recovery phrase was replaced by this one, shown once and kept nowhere.
    RecoveryRotated(RecoveryWords),
    /// A contact was added.
    ContactAdded(UserId),
    /// The code to show.
    LinkStarted {
        /// The code.
        code: String,
    },
    /// A device was approved.
    LinkApproved {
        /// The new device.
        device: DeviceId,
    },
    /// A conversation was created.
    ConversationCreated(ConversationId),
    /// A device was revoked.
    Revoked {
        /// The device.
        device: DeviceId,
        /// Conversations that it is out of, under new keys.
        rotated: Vec<ConversationId>,
        /// Conversations where this device cannot take it out.
        outstanding: Vec<ConversationId>,
    },
    /// A new epoch was drawn.
    Rotated(sheaf_crypto::EpochId),
    /// Messages are durable on this device.
    Sent(Vec<MessageId>),
    /// Which devices were asked, by conversation.
    Resyncing(Vec<(ConversationId, DeviceId)>),
    /// Records for a file that only one device can read.
    Exported(Vec<Vec<u8>>),
    /// A segment is here again, proved to be what it was.
    Fetched {
        /// Which.
        segment: u32,
        /// Messages in it.
        messages: u64,
        /// There are older ones that are not here.
        older: bool,
    },
    /// Everything there is is here.
    NothingOlder,
    /// How many messages to this device a file held, and why others of its records were refused.
    Imported {
        /// Messages that were taken in.
        taken: u64,
        /// Why records were refused; the first few.
        refused: Vec<String>,
    },
}

/// Twenty-four words that give total power over an account. Wiped from memory when dropped; the
/// debug form hides them.
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryWords(pub zeroize::Zeroizing<String>);

impl std::fmt::Debug for RecoveryWords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecoveryWords(hidden)")
    }
}

/// Why a command was refused. It changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// There is an account already.
    #[error("this store already holds an account")]
    AccountExists,
    /// There is no account yet.
    #[error("there is no account here; create one or link this device first")]
    NoAccount,
    /// A name is empty, too long or holds control characters.
    #[error("{what} must have 1 to {max} bytes and no control characters", max = crate::limits::NAME_BYTES_MAX)]
    BadName {
        /// Which name.
        what: &'static str,
    },
    /// The card does not decode or its signatures are wrong.
    #[error("the card is not valid: {0}")]
    BadCard(String),
    /// The user is not a contact.
    #[error("{0} is not a contact; add the person's card first")]
    UnknownContact(UserId),
    /// The card is one's own.
    #[error("this card is your own")]
    OwnCard,
    /// There is no such conversation.
    #[error("there is no conversation {0} on this device")]
    UnknownConversation(ConversationId),
    /// The person is a member already.
    #[error("{0} is a member already")]
    AlreadyMember(UserId),
    /// The words are no recovery phrase, or not this account's.
    #[error("the recovery phrase does not fit: {0}")]
    BadPhrase(String),
    /// There is no vault to go on with, or no key to write one.
    #[error("no vault: {0}")]
    NoVault(String),
    /// The device is not one's own.
    #[error("this is not a device of your account")]
    UnknownDevice,
    /// Nothing of the device is held back.
    #[error("nothing of this device is held back")]
    NotQuarantined,
    /// The contact is blocked.
    #[error("{0} is blocked; unblock the contact first")]
    Blocked(UserId),
    /// The conversation has so many devices, and no room for so many more.
    #[error(
        "a conversation holds {max} devices at most; this one has {0}, and {1} would be added",
        max = crate::limits::DEVICES_PER_CONVERSATION_MAX
    )]
    ConversationFull(usize, usize),
    /// The person is not a member.
    #[error("{0} is not a member of this conversation")]
    NotAMember(UserId),
    /// The role does not allow it.
    #[error("your role in this conversation does not allow this")]
    NotAllowed,
    /// The rules of the conversation do not allow it.
    #[error("the conversation does not allow this: {0}")]
    Refused(String),
    /// The text is empty or too long.
    #[error("a message needs 1 to {max} bytes of text", max = crate::limits::TEXT_BYTES_MAX)]
    BadText,
    /// The message answered is not known or lies out of range.
    #[error("the message to answer is not known here")]
    BadReply,
    /// The token is empty or too long.
    #[error("a token needs 1 to {max} bytes", max = crate::limits::TOKEN_BYTES_MAX)]
    BadToken,
    /// A bulk command holds too many messages.
    #[error("a bulk change holds at most {max} messages", max = crate::limits::BULK_MESSAGES_MAX)]
    TooMany,
    /// The segment size is out of range.
    #[error("a segment holds 1 to {max} messages", max = crate::limits::SEGMENT_MESSAGES_MAX)]
    BadSegmentSize,
    /// A queue of this device is full.
    #[error("{what} is full; connect to a relay and try again")]
    QueueFull {
        /// Which queue.
        what: &'static str,
    },
    /// More relays than an account can have, or one that is no address.
    #[error(
        "an account has at most {max} relays, and their addresses {bytes} bytes together",
        max = crate::limits::RELAYS_MAX,
        bytes = sheaf_crypto::limits::RELAY_BYTES_MAX
    )]
    BadRelays,
    /// The relay cannot be reached.
    #[error("the relay cannot be reached; linking needs both devices online")]
    RelayUnreachable,
    /// Linking failed.
    #[error("linking failed: {0}")]
    Link(String),
    /// The account has as many devices as it may.
    #[error("the account already has {max} devices", max = crate::limits::DEVICES_PER_USER_MAX)]
    TooManyDevices,
    /// The app's own change of the document failed.
    #[error("the change was not made: {0}")]
    ChangeFailed(String),
    /// What is asked for was dropped here, and none of these devices gave it yet.
    #[error("this history is not on this device, and no other device has given it yet")]
    NotHere(Vec<DeviceId>),
    /// What is asked for was dropped here, and the secrets that would open it were forgotten.
    #[error(
        "older messages are not on this device, and cannot be fetched any more: the secrets that would \
         open them were forgotten"
    )]
    Forgotten,
    /// A stored record is damaged.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// The store could not write.
    #[error("the store could not write: {0}")]
    StoreFailed(String),
    /// A fault of our own; the conversation is reloaded from the store.
    #[error("internal fault: {0}")]
    Fault(String),
}
