//! What can be wrong with a signed statement.

use crate::codec::CodecError;
use crate::signature::SignatureError;

/// Why a statement is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    /// The bytes do not decode, or the fields contradict each other.
    #[error("the statement is malformed")]
    Malformed,
    /// A list or text is longer than its limit.
    #[error("the statement is larger than its limit")]
    TooLarge,
    /// The key is not the author's.
    #[error("the statement is by another author")]
    Author,
    /// The signature is not valid under the author's key.
    #[error("the statement is not signed by its author")]
    Signature,
    /// A device certificate does not hold together.
    #[error("the device certificate is not valid")]
    Certificate,
    /// The certified key did not agree to belong to the user.
    #[error("the device did not prove possession of its key")]
    Possession,
}

impl From<CodecError> for StatementError {
    fn from(_: CodecError) -> Self {
        Self::Malformed
    }
}

impl From<SignatureError> for StatementError {
    fn from(_: SignatureError) -> Self {
        Self::Signature
    }
}
