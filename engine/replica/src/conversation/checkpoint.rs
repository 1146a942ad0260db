//! What a checkpoint says besides what it names as seen.

use serde::{Deserialize, Serialize};

use sheaf_crypto::{Inner, KemRecord};
use sheaf_protocol::{RelayId, Statement};

use super::Conversation;
use crate::context::Context;
use crate::limits;

const FIRST: u8 = 1;
/// The second version adds statements of relays.
const SECOND: u8 = 2;

/// The body of a checkpoint.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CheckpointBody {
    /// Digest of the document heads of the newest segments, where nothing of its author waits.
    pub(super) documents: Vec<(u32, [u8; 32])>,
    /// Its author's newest sealing key, the first time that the conversation is told of it.
    pub(super) kem: Option<KemRecord>,
    /// What relays have stated to its author.
    pub(super) statements: Vec<(RelayId, Statement)>,
}

#[derive(Serialize, Deserialize)]
struct FirstBody {
    version: u8,
    documents: Vec<(u32, [u8; 32])>,
    kem: Option<KemRecord>,
}

#[derive(Serialize, Deserialize)]
struct SecondBody {
    version: u8,
    documents: Vec<(u32, [u8; 32])>,
    statements: Vec<(RelayId, Statement)>,
}

impl CheckpointBody {
    /// Who knows the first version only reads nothing of the second: a sealing key is announced in
    /// the first, and the statements are left to the next checkpoint.
    pub(super) fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        if self.kem.is_some() || self.statements.is_empty() {
            return postcard::to_allocvec(&FirstBody {
                version: FIRST,
                documents: self.documents.clone(),
                kem: self.kem.clone(),
            });
        }
        postcard::to_allocvec(&SecondBody {
            version: SECOND,
            documents: self.documents.clone(),
            statements: self.statements.clone(),
        })
    }

    /// Nothing for bytes that are not a body, or of a later version.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        match *bytes.first()? {
            FIRST => match postcard::take_from_bytes::<FirstBody>(bytes) {
                Ok((body, [])) => Some(Self {
                    documents: body.documents,
                    kem: body.kem,
                    statements: Vec::new(),
                }),
                Ok(_) | Err(_) => None,
            },
            SECOND => match postcard::take_from_bytes::<SecondBody>(bytes) {
                Ok((body, [])) => Some(Self {
                    documents: body.documents,
                    kem: None,
                    statements: body.statements,
                }),
                Ok(_) | Err(_) => None,
            },
            _ => None,
        }
    }
}

impl Conversation {
    /// Holds what relays have stated to the author of a checkpoint against them.
    pub(super) fn heed_statements(&mut self, inner: &Inner, context: &mut Context<'_>) {
        if inner.device == context.account.device() {
            return;
        }
        let body = CheckpointBody::decode(&inner.body);
        let statements = body.into_iter().flat_map(|body| body.statements);
        for (relay, statement) in statements.take(limits::STATEMENTS_PER_CHECKPOINT) {
            let told = (relay, &statement);
            let (topics, stage) = (&mut *context.topics, &mut *context.stage);
            let finding = topics.heed(told, inner.device, &self.id, stage);
            stage.find(finding);
        }
    }
}

#[cfg(test)]
mod tests;
