//! What the resolver needs to know of an operation.

use std::fmt::Debug;

/// A role's place in the order: reader < writer < admin < owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rank {
    /// Reads.
    Reader,
    /// Reads and writes.
    Writer,
    /// Also grants ranks up to its own, and removes who is below.
    Admin,
    /// Nobody else ends it; passes on by [`Act::Transfer`].
    Owner,
}

/// One operation of a log, reduced to what membership depends on.
///
/// The identifier is a hash over the rest, so that two operations with one identifier are the same
/// and parents are older than their children (research/keys.md 2.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation<I, S> {
    /// The operation; also the incarnation that it gives, if it gives one.
    pub id: I,
    /// The newest operations that its author knew. Everything below them is its past.
    pub parents: Vec<I>,
    /// Who signed it.
    pub author: S,
    /// The grant under which the author acts; it must be live in the view of the parents.
    pub incarnation: I,
    /// What it does.
    pub act: Act<I, S>,
}

/// What an operation does to the membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act<I, S> {
    /// Adds somebody who is absent, or raises somebody who is present.
    Grant {
        /// Who gets the rank.
        to: S,
        /// At most admin, and above what a present member has.
        rank: Rank,
    },
    /// Removes a member. By the member: leaving.
    Remove {
        /// Who is removed.
        subject: S,
        /// All live incarnations of the subject in the view of the parents.
        named: Vec<I>,
    },
    /// [`Act::Remove`] and then [`Act::Grant`] in one operation; the only way to lower a rank.
    Regrant {
        /// Whose rank is replaced; not the author's.
        subject: S,
        /// All live incarnations of the subject in the view of the parents.
        named: Vec<I>,
        /// The new rank, at most admin.
        rank: Rank,
    },
    /// The owner makes an admin owner, and leaves.
    Transfer {
        /// The new owner.
        to: S,
    },
    /// Any other kind of operation.
    Other {
        /// What the author's incarnation must be at least.
        least: Rank,
    },
}

/// What serves as an identifier here: small, ordered and printable.
pub trait Key: Copy + Ord + Debug {}

impl<T: Copy + Ord + Debug> Key for T {}
