//! Who is a member, which epoch may be used, and which side of a fork stands: three rules.
//!
//! Nothing here signs, seals, waits, reads a clock or draws at random. [`Log`] resolves the
//! operations of a conversation or of a user (research/keys.md 2.3); [`Epochs`] says under which
//! secret an envelope may be sealed (2.5); [`winner`] says which of two items at one place of a
//! chain stands (2.7). Each is a function of what it was told, in any order. The tests hold each
//! against a second, slow and direct implementation.
//!
//! # The resolver
//! - **valid**: judged in the view of an operation's parents, once and for ever.
//! - **kills**: a removal *r* kills an operation that is not in its past and whose author acts under
//!   an incarnation that *r* names, and a concurrent grant to *r*'s subject unless the granter's
//!   incarnation is above the remover's.
//! - **above**: one incarnation is above another if the chain of the other runs through it, or if it
//!   stands at the top and the other does not. At the top stand the root, and whoever was made owner
//!   by one who stood there.
//! - **effective**: removals by grounded labelling, undecided ones included; grants whose chain no
//!   effective removal kills. Live is an effective grant that no effective removal names.
//!
//! # Where the prose and the model leave a choice
//! - *Whose rank counts.* The prose says the author is an admin; the model takes the rank of the
//!   incarnation that the operation names. The model is followed: authority flows along the chain,
//!   so it must come from the grant that the chain runs through.
//! - *Promotion.* The model promotes writers to admins alone. Here a grant to a member must raise:
//!   its rank is above the member's highest one.
//! - *Regrant and transfer* are not in the model. A regrant is a removal and then a grant, a
//!   transfer a grant and then a removal of the author; the halves are judged and killed apart. A
//!   concurrent removal of the same member therefore voids the grant in a regrant and leaves its
//!   removal standing: two concurrent regrants of one member put the member out. Two concurrent
//!   transfers by one owner attack each other, are both in doubt, and so the owner is out and
//!   neither heir is owner: nobody can pretend to have been first. That needs an owner who forks, or
//!   two of his devices.
//! - *Regranting oneself* is refused: the new grant would hang on an incarnation that it ends. So is
//!   the owner's leaving without an heir.
//! - *A new owner's reach.* His incarnation hangs on the old owner's, and stands in its place: above
//!   all who are not at the top, whoever admitted them.
//! - *Later, not concurrent alone.* In the prose and in the model a removal kills what is concurrent
//!   with it. That lets somebody act who is removed, in a view where a fork voids the removal. Here
//!   it kills what such a one writes after it, too (docs/decisions/0006-kill-rule.md).
//! - *Bounds.* See [`Limits`]: a bound on what is side by side cannot be a function of one
//!   operation's past, so it is not complete.

mod epoch;
mod fork;
mod log;
mod operation;
mod refusal;
mod view;

pub use epoch::{Epoch, EpochLimits, Epochs, Handed, Place, Unusable};
pub use fork::{Winner, winner};
pub use log::{Inserted, Limits, Log};
pub use operation::{Act, Key, Operation, Rank};
pub use refusal::Refusal;
pub use view::{Member, Part, RemovalFact, View, Void};
