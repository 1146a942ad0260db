//! Messages to this device alone: invites, and news of one's own account.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use sheaf_crypto::{
    Card, ConversationId, InboxPart, JoinedInbox, SignedUserOperation, join_inbox_parts,
    open_inbox_part,
};

use crate::account::Account;
use crate::conversation::{Answer, Ask, Beginning, Invite};
use crate::limits;
use crate::time::Timestamp;
use crate::vault::{VaultKey, VaultSetting};

/// Version byte of a body.
const VERSION: u8 = 1;

/// What an inbox message says.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum InboxBody {
    /// The sender added this device to a conversation.
    Invite {
        /// Who the sender is.
        card: Card,
        /// The conversation.
        invite: Invite,
    },
    /// News from another device of the same user.
    Own {
        /// The user log as it stands there.
        operations: Vec<SignedUserOperation>,
        /// Contacts, with the names given to them.
        contacts: Vec<(Card, Option<String>)>,
    },
    /// A device of a conversation says what it has, and asks for the rest.
    Ask(Ask),
    /// What the asking device lacks.
    Answer(Answer),
    /// What another device of the same user knows of the account vault.
    Vault {
        /// Keys of its topics.
        keys: Vec<VaultKey>,
        /// Whether it is kept.
        setting: VaultSetting,
        /// When that was decided.
        decided: Timestamp,
    },
    /// An invite, with a snapshot to begin at.
    InviteAt {
        /// Who the sender is.
        card: Card,
        /// The conversation.
        invite: Invite,
        /// Where to begin.
        beginning: Beginning,
    },
}

/// Bytes that are no inbox body.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("inbox body does not decode")]
pub(crate) struct BodyError;

impl InboxBody {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, BodyError> {
        postcard::to_extend(self, vec![VERSION]).map_err(|_| BodyError)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BodyError> {
        match bytes.split_first() {
            Some((&VERSION, body)) => match postcard::take_from_bytes(body) {
                Ok((value, [])) => Ok(value),
                Ok(_) | Err(_) => Err(BodyError),
            },
            Some(_) | None => Err(BodyError),
        }
    }

    /// An invite, and beside it where to begin; anything else as it is.
    pub(crate) fn split(self) -> (Self, Option<Beginning>) {
        match self {
            Self::InviteAt {
                card,
                invite,
                beginning,
            } => (Self::Invite { card, invite }, Some(beginning)),
            Self::Invite { .. }
            | Self::Own { .. }
            | Self::Ask(_)
            | Self::Answer(_)
            | Self::Vault { .. } => (self, None),
        }
    }

    /// The conversation whose member devices may say this.
    pub(crate) fn conversation(&self) -> Option<&ConversationId> {
        match self {
            Self::Ask(ask) => Some(&ask.conversation),
            Self::Answer(answer) => Some(&answer.conversation),
            Self::Invite { .. } | Self::InviteAt { .. } | Self::Own { .. } | Self::Vault { .. } => {
                None
            }
        }
    }

    /// The sender's user log, by which its signature is verified.
    pub(crate) fn card(&self) -> Option<&Card> {
        match self {
            Self::Invite { card, .. } | Self::InviteAt { card, .. } => Some(card),
            Self::Own { .. } | Self::Ask(_) | Self::Answer(_) | Self::Vault { .. } => None,
        }
    }
}

/// Parts that have come of messages that are not whole yet.
///
/// The inbox's cursor is made durable only while nothing is unfinished, so a restart reads the parts
/// of an unfinished message again.
#[derive(Default)]
pub(crate) struct Inbox {
    partial: BTreeMap<[u8; 32], Vec<InboxPart>>,
    order: Vec<[u8; 32]>,
}

impl Inbox {
    /// Takes a record in; gives the message that it completes.
    pub(crate) fn take(
        &mut self,
        record: &[u8],
        account: &Account,
    ) -> Result<Option<JoinedInbox>, String> {
        let part = open_inbox_part(&account.secrets, record).map_err(|error| error.to_string())?;
        let (group, count) = (part.group(), usize::from(part.count()));
        let parts = self.partial.entry(group).or_default();
        if parts.iter().any(|known| known.index() == part.index()) {
            return Ok(None);
        }
        if parts.is_empty() {
            self.order.push(group);
        }
        parts.push(part);
        if parts.len() < count {
            self.bound();
            return Ok(None);
        }
        self.order.retain(|known| *known != group);
        let parts = self.partial.remove(&group).unwrap_or_default();
        join_inbox_parts(parts)
            .map(Some)
            .map_err(|error| error.to_string())
    }

    fn bound(&mut self) {
        if self.order.len() > limits::INBOX_PARTIAL_MAX {
            let oldest = self.order.remove(0);
            self.partial.remove(&oldest);
        }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.partial.is_empty()
    }
}
