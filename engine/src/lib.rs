//! The engine that an app embeds: encrypted store, link to a relay, and one device's mind between
//! them.
//!
//! ```no_run
//! # async fn example(secret: &str, relay: sheaf_protocol::RelayAddress)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! use sheaf_engine::{Draft, Engine, Page};
//!
//! let engine = Engine::builder("state").passphrase(secret).relay(relay).open().await?;
//! let conversation = engine.create_conversation("Harvest", &[], None).await?;
//! let message = conversation.send(Draft::text("hello")).await?; // durable here on return
//! for message in conversation.messages(Page::default())? {
//!     println!("{}", message.text);
//! }
//! # Ok(()) }
//! ```

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the enums of the replica's doors, of the protocol and of quinn are non-exhaustive"
)]

mod account;
mod activity;
mod builder;
mod bundle;
mod conversation;
mod driver;
mod engine;
mod entropy;
mod history;
mod link;
mod links;
mod listing;
mod relays;
mod store;
mod sync;
mod vault;

pub use account::RevocationReport;
pub use activity::{Activity, LinkStatus};
pub use builder::{EngineBuilder, Restored};
pub use bundle::{BundleError, BundleTaken};
pub use conversation::{Conversation, Page};
pub use driver::LinkState;
pub use engine::{AccountCreated, Counters, Engine, EngineError, EventStream};
pub use history::{ConversationStats, FetchedSegment, Repaired};
pub use link::{LinkError, Sockets, Transport};
pub use listing::Listed;
pub use relays::RelayStatus;
pub use store::{
    BackupError, BackupMade, CheckReport, ErasableReport, KindReport, OpenError, Overwrite,
    ReadError, Weight, has_room,
};

pub use sync::{Barrier, Resynced};

pub use sheaf_crypto::{
    Argon2Params, ConversationId, DeviceId, EpochId, History, Role, UserId, fingerprint,
    safety_number,
};
pub use sheaf_protocol::{Evidence, EvidenceError, RelayAddress, RelayId, TopicId, Verdict};
pub use sheaf_replica::{
    Act, AuditEntry, Away, BrokenAudit, CommandError, ContactInfo, ConversationInfo, Count,
    DeviceInfo, DeviceReport, DeviceStanding, Draft, Event, EvidenceInfo, ForgettingInfo, ForkInfo,
    ImportDraft, Keep, LifeCycle, MessageId, MessageRecord, Misbehaviour, Offence, Origin,
    Overview, PeerInfo, Policy, Progress, ProgressReason, ProgressStage, Quarantine,
    QuarantineInfo, RecoveryWords, ReportedConversation, SnapshotInfo, Suspect, SyncEntry,
    SyncFigures, Timestamp, VaultRecovery, VaultSetting, VaultStatus, check_name, document, limits,
};
