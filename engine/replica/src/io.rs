//! The two doors of a replica: what goes in, what comes out.

use sheaf_crypto::{ConversationId, DeviceId, Role, UserId};
use sheaf_protocol::{ClientFrame, LogId, RelayId, ServerFrame};

use crate::command::{Command, CommandError, CommandId, Reply};
use crate::document::MessageId;
use crate::misbehaviour::{Misbehaviour, Quarantine};
use crate::progress::Progress;
use crate::record::{MessageRecord, Range, Row, Write};
use crate::time::Timestamp;

/// Number of a batch of writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// Number of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoadId(pub u64);

/// What happens to a replica.
#[allow(missing_debug_implementations, reason = "a command may hold a closure")]
#[non_exhaustive]
pub enum Input {
    /// The app asks for something.
    Command(CommandId, Command),
    /// A relay said something.
    Received(RelayId, ServerFrame),
    /// A batch is durable.
    Persisted(BatchId),
    /// A batch could not be written: the store is full or broken. Everything that waits for it
    /// fails; the driver stops and the store is opened again later.
    PersistFailed(BatchId, String),
    /// A read is answered.
    Loaded(LoadId, Vec<Row>),
    /// A read failed: the store is damaged.
    LoadFailed(LoadId, String),
    /// A relay's hello was received. There may be connections to several relays at once.
    LinkUp {
        /// The relay's proven key.
        relay: RelayId,
        /// TLS exporter of the connection, for proofs of access.
        exporter: [u8; 32],
        /// Incarnation of the relay's store.
        log: LogId,
    },
    /// The connection to a relay is gone.
    LinkDown(RelayId),
    /// What is read from the relays from now on.
    Reading(Scope),
    /// The time asked for by [`Output::Wait`] has come.
    Elapsed,
}

/// How much is read from the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// Every topic.
    #[default]
    Everything,
    /// What must not wait: the inbox, a device link under way, and of each conversation the topic of
    /// its newest epoch, in which the control log and the newest messages are. History that was never
    /// read is left for later.
    Critical,
}

/// The connection's life, as an app shows it. The driver finds it out; the replica only names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum LifeCycle {
    /// There is no connection.
    #[default]
    Disconnected,
    /// One is being built.
    Connecting,
    /// The relay's key is proved; it has not let this device in yet.
    Authenticating,
    /// The relay said hello; topics are being read.
    Synchronizing,
    /// Every topic was read to its end; what comes, comes at once.
    Active,
    /// As active, with a slow heartbeat: the app has done nothing for a while.
    Idle,
    /// Only what is critical is read.
    Backgrounded,
    /// The connection is being closed by this device.
    Disconnecting,
}

impl LifeCycle {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Connecting => "connecting",
            Self::Authenticating => "authenticating",
            Self::Synchronizing => "synchronizing",
            Self::Active => "active",
            Self::Idle => "idle",
            Self::Backgrounded => "backgrounded",
            Self::Disconnecting => "disconnecting",
        }
    }
}

/// What a replica wants done.
#[derive(Debug)]
#[non_exhaustive]
pub enum Output {
    /// Write a batch, durably and atomically, then say [`Input::Persisted`]; not before what its
    /// writes replace is gone, where they ask for that ([`Write::erases`]).
    Persist(BatchId, Vec<Write>),
    /// Read ranges, then say [`Input::Loaded`].
    Load(LoadId, Vec<Range>),
    /// Send a frame to a relay.
    Transmit(RelayId, ClientFrame),
    /// Tell the app.
    Notify(Event),
    /// Answer a command.
    Complete(CommandId, Result<Reply, CommandError>),
    /// Say [`Input::Elapsed`] at this time; a later wait replaces an earlier one.
    Wait(Timestamp),
}

/// What has happened, for the app.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Messages of others (or of own other devices) are here and durable.
    MessagesReceived {
        /// The conversation.
        conversation: ConversationId,
        /// The messages, in the order of acceptance.
        messages: Vec<MessageRecord>,
    },
    /// Messages written here are durable at a relay.
    MessagesSent {
        /// The conversation.
        conversation: ConversationId,
        /// The messages.
        messages: Vec<MessageId>,
    },
    /// The conversation's shared document changed.
    DocumentChanged {
        /// The conversation.
        conversation: ConversationId,
    },
    /// A conversation is on this device for the first time.
    ConversationAdded {
        /// The conversation.
        conversation: ConversationId,
        /// Who created the invite; `None` if this device created it.
        by: Option<UserId>,
    },
    /// A person was added to a conversation.
    MemberAdded {
        /// The conversation.
        conversation: ConversationId,
        /// The person.
        user: UserId,
    },
    /// A device was attached to a conversation.
    DeviceAttached {
        /// The conversation.
        conversation: ConversationId,
        /// Whose device.
        user: UserId,
        /// The device.
        device: DeviceId,
    },
    /// A member was removed from a conversation, or left it.
    MemberRemoved {
        /// The conversation.
        conversation: ConversationId,
        /// The person.
        user: UserId,
    },
    /// A member has another role.
    RoleChanged {
        /// The conversation.
        conversation: ConversationId,
        /// The person.
        user: UserId,
        /// The new role.
        role: Role,
    },
    /// A device was taken out of a conversation.
    DeviceDetached {
        /// The conversation.
        conversation: ConversationId,
        /// The device.
        device: DeviceId,
    },
    /// A conversation has another name.
    ConversationRenamed {
        /// The conversation.
        conversation: ConversationId,
        /// The name.
        name: String,
    },
    /// A device was added to one's own account.
    DeviceAdded {
        /// The device.
        device: DeviceId,
        /// Its name.
        name: String,
    },
    /// A contact was added, here or on another own device.
    ContactAdded {
        /// The person.
        user: UserId,
    },
    /// A contact's device list is another than before.
    ContactDevicesChanged {
        /// The person.
        user: UserId,
        /// The contact was verified: the new devices are vouched for by the old ones.
        verified: bool,
    },
    /// A new device asks to be linked and waits for its digits to be typed here.
    LinkRequested {
        /// The name that it gives itself.
        name: String,
    },
    /// The digits to type on the existing device.
    LinkDigits {
        /// Six digits.
        digits: String,
        /// Fingerprint of the account joined.
        fingerprint: String,
    },
    /// This device was approved and belongs to an account now.
    LinkCompleted {
        /// The account.
        user: UserId,
        /// This device.
        device: DeviceId,
    },
    /// Linking ended without a new device.
    LinkFailed {
        /// Why.
        reason: String,
    },
    /// The relay's hello was received.
    Connected {
        /// The relay.
        relay: RelayId,
    },
    /// The connection is gone.
    Disconnected {
        /// The relay.
        relay: RelayId,
    },
    /// The connection's life went on.
    LifeCycleChanged {
        /// Where it is now.
        state: LifeCycle,
        /// Name of what carries the connection, while there is one.
        transport: Option<&'static str>,
    },
    /// The store could not be written or read. From here on nothing is taken in, no command is done and
    /// no relay is connected to; what is here can be read. It goes on when the store is opened again.
    StoreFailed {
        /// What the disk said.
        reason: String,
        /// The disk is full: it can go on once there is room.
        full: bool,
    },
    /// All topics were read to their end at every relay that there is a connection to.
    CaughtUp,
    /// How the first sync of this device, or a longer catch-up, goes on. Comes at each change of stage
    /// and else at most every 250 ms while something changes; from the beginning, which says why,
    /// until the stage is done.
    Progress(Progress),
    /// A device that has the same items has other documents.
    DocumentsDiffer {
        /// The conversation.
        conversation: ConversationId,
        /// The device.
        device: DeviceId,
        /// The segments concerned.
        segments: Vec<u32>,
    },
    /// Another device said what it has, and sent what was missing here; what is missing there goes
    /// to it.
    Exchanged {
        /// The conversation.
        conversation: ConversationId,
        /// The other device.
        device: DeviceId,
        /// Items and operations that the other device has and this one had not.
        missing_here: u64,
        /// Items and operations that the other device lacked.
        missing_there: u64,
        /// Records that came with the answer.
        brought: u64,
        /// More is to come.
        more: bool,
    },
    /// A segment's document was dropped from this device by its policy.
    SegmentDropped {
        /// The conversation.
        conversation: ConversationId,
        /// The segment.
        segment: u32,
        /// Messages in it.
        messages: u64,
    },
    /// The store lost part of a segment; it is fetched from another device.
    SegmentDamaged {
        /// The conversation.
        conversation: ConversationId,
        /// The segment.
        segment: u32,
    },
    /// The secrets of epochs from before a cut were erased on this device.
    SecretsForgotten {
        /// The conversation.
        conversation: ConversationId,
        /// Epochs whose secret was held.
        epochs: u64,
    },
    /// This device is back in a conversation that it did not know to be out of. What it wrote meanwhile
    /// may have reached nobody, and will not: it lies before a cut that is forgotten.
    LeftBehind {
        /// The conversation.
        conversation: ConversationId,
        /// Messages and other items.
        items: u64,
    },
    /// A segment is here again, proved to be what it was.
    SegmentFetched {
        /// The conversation.
        conversation: ConversationId,
        /// The segment.
        segment: u32,
        /// Messages in it.
        messages: u64,
    },
    /// A device put several items at one place of its chain, and one of them stands now.
    ForkJudged {
        /// The conversation.
        conversation: ConversationId,
        /// The device.
        device: DeviceId,
        /// The place.
        sequence: u64,
    },
    /// Messages do not show any more: they are on a side of a fork that does not stand, or built on
    /// it.
    MessagesSetAside {
        /// The conversation.
        conversation: ConversationId,
        /// The messages.
        messages: Vec<MessageId>,
    },
    /// What was written on this device was built on a side of a fork that does not stand.
    EditsSetAside {
        /// The conversation.
        conversation: ConversationId,
        /// Messages, which are written again under new names.
        messages: Vec<MessageId>,
        /// At most so many other changes of the shared document, which have to be made again.
        changes: u32,
    },
    /// Somebody did what nobody should.
    Misbehaved(Misbehaviour),
    /// A device did too much of what nobody should: its content is kept back for a time.
    DeviceQuarantined {
        /// The device.
        device: DeviceId,
        /// Until when, and for what.
        quarantine: Quarantine,
    },
    /// A quarantine has ended; what was kept back is taken in.
    QuarantineEnded {
        /// The device.
        device: DeviceId,
        /// Somebody lifted it as a false alarm.
        lifted: bool,
    },
    /// A relay refused something.
    RelayRefused {
        /// Which one.
        relay: RelayId,
        /// What the relay says.
        message: String,
        /// When it may be tried again, in milliseconds; zero for never.
        retry_after_ms: u32,
    },
    /// A relay contradicted itself under its own signature: there is a proof that anybody can check.
    EvidenceFound {
        /// The relay.
        relay: RelayId,
    },
    /// Events were dropped because nobody read them in time; start again from views.
    EventsLost {
        /// How many.
        count: u64,
    },
}
