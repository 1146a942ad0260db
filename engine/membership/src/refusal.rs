//! Why an operation is refused.

/// Why an operation is refused.
///
/// The verdict follows from the operation and its past alone, so it is the same on every replica
/// and for ever; [`Refusal::UnknownParents`] alone says "not yet".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Keep the operation until [`crate::Log::missing`] is empty, then try again.
    #[error("an earlier operation has not arrived yet")]
    UnknownParents,
    /// The author, or the grant he names, has no live role where he wrote it.
    #[error("the author had no such role at that point")]
    NotLive,
    /// The incarnation is live and does not suffice.
    #[error("the author's role does not allow it")]
    RankTooLow,
    /// A grant must add somebody or raise somebody.
    #[error("already a member with that role or a higher one")]
    AlreadyMember,
    /// Who should be removed, regranted or made owner is not there.
    #[error("not a member")]
    NotAMember,
    /// Only the owner's heir is made owner, and only an admin inherits.
    #[error("only an admin can become the owner")]
    NotAnAdmin,
    /// An admin is removed by those above him in the chain of grants, or by himself.
    #[error("only somebody senior to an admin can remove him")]
    NotSenior,
    /// The owner is made and unmade by a transfer alone.
    #[error("the owner changes only by handing over himself")]
    OwnerOnlyByHimself,
    /// A removal names other incarnations than those live in its author's view.
    #[error("the roles to be ended are not those the member had at that point")]
    WrongIncarnations,
    /// More operations in the past than [`crate::Limits::operations`].
    #[error("the log has as many operations as it may")]
    TooManyOperations,
    /// The author forked into more branches than [`crate::Limits::width`].
    #[error("the author wrote too many operations side by side")]
    BubbleTooWide,
}
