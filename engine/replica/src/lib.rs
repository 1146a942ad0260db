//! One device's mind, without input or output, clock or entropy.
//!
//! A [`Replica`] is driven through two doors: [`Replica::handle`] takes an [`Input`] and never
//! fails, [`Replica::poll_output`] gives what is to be done, and is drained after every input. Time
//! and randomness are arguments, so that a run can be repeated bit by bit.
//!
//! Bad bytes from outside are an outcome, a named [`Misbehaviour`], never an error or a panic.

pub mod document;

mod account;
mod agenda;
mod audit;
mod chain;
mod command;
mod context;
mod control;
mod conversation;
mod epoch;
mod inbox;
mod io;
pub mod limits;
mod linking;
mod misbehaviour;
mod outbox;
mod peer;
mod progress;
pub mod record;
mod replica;
mod stage;
mod sync_history;
mod time;
mod topic;
mod user;
mod vault;

pub use audit::{AuditEntry, AuditHead, AuditVerifier, BrokenAudit};
pub use command::{
    Command, CommandError, CommandId, ContactInfo, ConversationInfo, DamagedRecord, DeviceChange,
    DeviceInfo, DeviceStanding, DocumentChange, Draft, ForgettingInfo, ImportDraft, PeerInfo,
    RecoveryWords, Reply, SnapshotInfo,
};
pub use conversation::ForkInfo;
pub use document::{MessageId, Origin};
pub use io::{BatchId, Event, Input, LifeCycle, LoadId, Output, Scope};
pub use misbehaviour::{Act, Misbehaviour, Offence, Quarantine, Suspect};
pub use progress::{Count, Progress, ProgressReason, ProgressStage};
pub use record::{Away, Keep, MessageRecord, RecordError};
pub use replica::{
    DeviceReport, EvidenceInfo, Mark, Overview, Policy, QuarantineInfo, RelayInfo, Replica,
    ReportedConversation, Settled, check_name,
};
pub use sync_history::{SyncEntry, SyncFigures};
pub use time::Timestamp;
pub use vault::{VaultRecovery, VaultSetting, VaultStatus};
