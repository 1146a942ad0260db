//! What a replica tells of what it knows.

use sheaf_crypto::{ConversationId, DeviceId, History, Role, UserId};

use crate::document::MessageId;
use crate::record::{Away, Keep, Kind};
use crate::time::Timestamp;

/// A device of a user, as shown to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// The device.
    pub device: DeviceId,
    /// Its name.
    pub name: String,
    /// It is this very device.
    pub this: bool,
    /// How it stands.
    pub state: DeviceStanding,
    /// Why it never became a device of the account, if it was approved in vain.
    pub refused: Option<String>,
    /// It is the user's primary device.
    pub primary: bool,
    /// When something it wrote was last seen; `None` if never.
    pub last_seen: Option<Timestamp>,
    /// Name of the device that froze it, while it is frozen.
    pub frozen_by: Option<String>,
    /// It does not want to be primary.
    pub declined: bool,
}

/// How a device of one's own stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceStanding {
    /// It takes part.
    Active,
    /// It gets no new secret until it is thawed.
    Frozen,
    /// It is no device of the account any more, or never became one.
    Revoked,
}

/// A contact, as shown to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactInfo {
    /// The person.
    pub user: UserId,
    /// The name used here.
    pub name: String,
    /// Number of devices known.
    pub devices: usize,
    /// When the contact was added.
    pub added: Timestamp,
    /// The safety number was compared.
    pub verified: bool,
    /// The device list is another than it was then.
    pub changed: bool,
    /// Invites are refused.
    pub blocked: bool,
}

/// A conversation, as shown to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationInfo {
    /// Its id.
    pub conversation: ConversationId,
    /// Its name.
    pub name: String,
    /// Its members: person, name used here, role, number of devices.
    pub members: Vec<(UserId, String, Role, usize)>,
    /// Messages that this device holds.
    pub messages: u64,
    /// Changes written here and not yet sealed, plus sealed ones without a receipt.
    pub pending: u64,
    /// Records that wait for what they depend on.
    pub parked: u64,
    /// What records wait for, in words; the first few.
    pub waiting: Vec<String>,
    /// Document heads by segment.
    pub heads: Vec<(u32, Vec<[u8; 32]>)>,
    /// Segments whose documents are not here, and why.
    pub away: Vec<(u32, Away)>,
    /// The oldest and the newest message of those of them that this device has had.
    pub spans: Vec<(u32, MessageId, MessageId)>,
    /// What this device keeps of it; `None` for what it keeps of every conversation.
    pub keep: Option<Keep>,
    /// Secrets from before a cut that are still to be forgotten here, and what that waits for.
    pub forgetting: Option<ForgettingInfo>,
    /// The snapshot that a newcomer would begin at; `None` where he would read from the beginning.
    pub snapshot: Option<SnapshotInfo>,
    /// What newcomers may read.
    pub history: History,
    /// The segment that this person's reading begins with, where older ones are not shown; `None`
    /// for somebody who reads from the beginning.
    pub since: Option<u32>,
    /// Epochs known: id and whether the secret is held.
    pub epochs: Vec<(sheaf_crypto::EpochId, bool)>,
    /// The epoch that this device would write under now; none if it has to draw one first.
    pub writing: Option<sheaf_crypto::EpochId>,
    /// Valid operations without effect, each with the removal that voids it.
    pub void: Vec<(sheaf_crypto::OperationId, sheaf_crypto::OperationId)>,
    /// Devices that receive no new secret, by a freeze or by a proof that they forked their chain.
    pub frozen: Vec<DeviceId>,
    /// Places where a device put two items, and what stands there.
    pub forks: Vec<crate::conversation::ForkInfo>,
    /// This device takes part: its user is a member, and it is neither detached nor frozen.
    pub takes_part: bool,
    /// Topics of the epochs whose secret is held here.
    pub topics: Vec<sheaf_protocol::TopicId>,
    /// All topics of the conversation have been read to their end on the present connection.
    pub caught_up: bool,
    /// How the other devices that take part stand.
    pub peers: Vec<PeerInfo>,
    /// It is proved that every device that takes part has everything that this one has, and the
    /// other way round.
    pub synced: bool,
}

/// A snapshot that two devices stand for, both of which take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// The device that made it.
    pub maker: DeviceId,
    /// Another one that has compared it with what it holds.
    pub verifier: DeviceId,
    /// Items up to it.
    pub items: u64,
    /// Segments that it states.
    pub segments: u32,
}

/// What the forgetting of secrets waits for. With nothing named it waits for what the conversation
/// waits for as a whole: to be read to its end, and for what is on its way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ForgettingInfo {
    /// Devices that have not acknowledged it and who is out, or lack something, or have other documents.
    pub devices: Vec<DeviceId>,
    /// A fork is known: judging it takes everything that was kept.
    pub disputed: bool,
    /// Something is kept back of a device in quarantine or frozen.
    pub kept_back: bool,
    /// Another cut was made at the same time and shares its window by chance: nothing is forgotten
    /// until it is asked for again.
    pub shared: bool,
}

/// How another device of a conversation stands, as its own signed items say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// The device.
    pub device: DeviceId,
    /// Whose it is.
    pub user: UserId,
    /// Its name, as its user gave it; the id's first digits where that is not known here.
    pub name: String,
    /// Items here that it has not said to have; checkpoints in between count.
    pub lacks: u64,
    /// Segments in which it has the same items and states other documents.
    pub differs: Vec<u32>,
    /// When an item of it was last taken in, or history that it gave.
    pub last_seen: Option<Timestamp>,
}

impl PeerInfo {
    /// It is proved that the device has everything that this one has, with the same documents.
    #[must_use]
    pub fn has_everything(&self) -> bool {
        self.lacks == 0 && self.differs.is_empty()
    }
}

/// A record of a conversation that does not open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedRecord {
    /// The conversation.
    pub conversation: ConversationId,
    /// An envelope, a snapshot or a message; others are not repaired.
    pub kind: Kind,
    /// Where it stands.
    pub order: Vec<u8>,
}
