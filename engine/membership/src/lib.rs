//! Membership rules.
mod log;
mod operation;
mod refusal;
mod view;

pub use log::{Inserted, Limits, Log};
pub use operation::{Act, Key, Operation, Rank};
pub use refusal::Refusal;
pub use view::{Member, Part, RemovalFact, View, Void};
