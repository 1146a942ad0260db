//! What a checkpoint says besides what it names as seen.

use serde::{Deserialize, Serialize};

use sheaf_crypto::{Inner, ItemId, KemRecord};
use sheaf_protocol::{RelayId, Statement};

use super::Conversation;
use crate::context::Context;
use crate::limits;

const FIRST: u8 = 1;
/// The second version adds statements of relays.
const SECOND: u8 = 2;
/// The third version says everything.
const THIRD: u8 = 3;

/// The body of a checkpoint.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CheckpointBody {
    /// Digest of the document heads of the newest segments, where nothing of its author waits.
    pub(super) documents: Vec<(u32, [u8; 32])>,
    /// Its author's newest sealing key, the first time that the conversation is told of it.
    pub(super) kem: Option<KemRecord>,
    /// What relays have stated to its author.
    pub(super) statements: Vec<(RelayId, Statement)>,
    /// A snapshot that is right by all that its author has.
    pub(super) verified: Option<ItemId>,
    /// Whether its author is still without history that it names as seen, where it ever was.
    pub(super) unread: Option<bool>,
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

#[derive(Serialize, Deserialize)]
struct ThirdBody {
    version: u8,
    documents: Vec<(u32, [u8; 32])>,
    kem: Option<KemRecord>,
    statements: Vec<(RelayId, Statement)>,
    verified: Option<ItemId>,
    unread: Option<bool>,
}

impl CheckpointBody {
    /// Who knows the first version only reads nothing of the second: a sealing key is announced in
    /// the first where nothing is said of snapshots, and the statements are left to the next
    /// checkpoint.
    pub(super) fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        if self.verified.is_some() || self.unread.is_some() {
            return postcard::to_allocvec(&ThirdBody {
                version: THIRD,
                documents: self.documents.clone(),
                kem: self.kem.clone(),
                statements: self.statements.clone(),
                verified: self.verified,
                unread: self.unread,
            });
        }
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
                    ..Self::default()
                }),
                Ok(_) | Err(_) => None,
            },
            SECOND => match postcard::take_from_bytes::<SecondBody>(bytes) {
                Ok((body, [])) => Some(Self {
                    documents: body.documents,
                    statements: body.statements,
                    ..Self::default()
                }),
                Ok(_) | Err(_) => None,
            },
            THIRD => match postcard::take_from_bytes::<ThirdBody>(bytes) {
                Ok((body, [])) => Some(Self {
                    documents: body.documents,
                    kem: body.kem,
                    statements: body.statements,
                    verified: body.verified,
                    unread: body.unread,
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
