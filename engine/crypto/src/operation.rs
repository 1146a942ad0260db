//! The control log of a conversation (research/keys.md 2.3): signed, hash-linked operations.

mod body;

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::derive::hash;
use crate::device::DeviceSecrets;
use crate::id::{ConversationId, DeviceId, ItemId, OperationId, RunId, UserId};
use crate::label;
use crate::limits;
use crate::signature::Signature;
use crate::statement::StatementError;

pub use body::{Body, FrontierEntry, Genesis, History, Role};

/// One operation of a control log, in the order of its encoding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// The conversation; all zero in its genesis, whose hash it is.
    pub conversation: ConversationId,
    /// The signing device.
    pub author: DeviceId,
    /// Its user.
    pub user: UserId,
    /// The grant under which the author acts; all zero in the genesis.
    pub incarnation: OperationId,
    /// The device's run.
    pub run: RunId,
    /// Place in the device's chain, which content shares.
    pub seq: u64,
    /// The item before it in the chain.
    pub previous: Option<ItemId>,
    /// The heads of the control log that the author had seen, strictly rising.
    #[serde(deserialize_with = "codec::list::<_, _, { limits::PARENTS_MAX }>")]
    pub parents: Vec<OperationId>,
    /// What it does.
    pub body: Body,
}

impl Operation {
    /// What every receiver checks before anything else.
    fn check(&self) -> Result<(), StatementError> {
        let zero = (ConversationId::default(), OperationId::default());
        let founding = matches!(self.body, Body::Genesis(_));
        let named = if founding {
            (self.conversation, self.incarnation) == zero
                && self.parents.is_empty()
                && self.previous.is_none()
        } else {
            self.conversation != zero.0 && self.incarnation != zero.1 && !self.parents.is_empty()
        };
        let rising = self.parents.is_sorted_by(|lower, higher| lower < higher);
        if !named || !rising {
            return Err(StatementError::Malformed);
        }
        Ok(())
    }
}

/// An operation with its signature, verified over the bytes received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedOperation {
    /// The encoded [`Operation`].
    #[serde(
        serialize_with = "codec::bytes",
        deserialize_with = "codec::bounded_bytes::<_, { limits::STATEMENT_BYTES_MAX }>"
    )]
    pub bytes: Vec<u8>,
    /// By the author's device, over `"sheaf1/op-sig" || bytes`.
    pub signature: Signature,
}

impl SignedOperation {
    /// Bytes that it takes, about.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len().saturating_add(64)
    }

    /// Signs by a device.
    ///
    /// # Errors
    /// [`StatementError::Author`] when the operation names another device. What receivers would
    /// refuse (lists over their limits, parents out of order) is refused here.
    pub fn sign(operation: &Operation, device: &DeviceSecrets) -> Result<Self, StatementError> {
        if operation.author != device.device() {
            return Err(StatementError::Author);
        }
        operation.check()?;
        let bytes = codec::encode_statement(operation)?;
        // The limits live in the decoder; what does not come back the same is beyond one of them.
        let decodes: Result<Operation, _> = codec::decode_statement(&bytes);
        if bytes.len() > limits::STATEMENT_BYTES_MAX || decodes.as_ref() != Ok(operation) {
            return Err(StatementError::TooLarge);
        }
        let signature = device.sign(label::signature::OPERATION, &[&bytes]);
        Ok(Self { bytes, signature })
    }

    /// `H("sheaf1/op" || bytes)`.
    #[must_use]
    pub fn id(&self) -> OperationId {
        OperationId(hash(&[label::hash::OPERATION, &self.bytes]))
    }

    /// The conversation that this operation founds, if it is a genesis:
    /// `H("sheaf1/conv" || bytes)`.
    #[must_use]
    pub fn founded(&self) -> ConversationId {
        ConversationId(hash(&[label::hash::CONVERSATION, &self.bytes]))
    }

    /// What the bytes say, not yet verified: enough to find the author's key and the parents.
    ///
    /// # Errors
    /// [`StatementError::Malformed`].
    pub fn decode(&self) -> Result<Operation, StatementError> {
        let operation: Operation = codec::decode_statement(&self.bytes)?;
        operation.check()?;
        Ok(operation)
    }

    /// Checks that `signing` is the named device's key and signed these bytes.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn verify(&self, signing: &[u8; 32]) -> Result<Operation, StatementError> {
        let operation = self.decode()?;
        if operation.author != DeviceId::of_key(signing) {
            return Err(StatementError::Author);
        }
        self.signature
            .verify(signing, label::signature::OPERATION, &[&self.bytes])?;
        Ok(operation)
    }

    /// `postcard(bytes, signature)`: the body of a control envelope.
    ///
    /// # Errors
    /// [`StatementError::Malformed`] when it cannot be encoded.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StatementError> {
        Ok(codec::encode(self)?)
    }

    /// Reads what [`Self::to_bytes`] wrote, strictly. Nothing is verified.
    ///
    /// # Errors
    /// [`StatementError::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StatementError> {
        Ok(codec::decode(bytes)?)
    }
}

#[cfg(test)]
mod tests;
