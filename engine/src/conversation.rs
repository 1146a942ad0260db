//! A handle to one conversation.

use sheaf_crypto::{ConversationId, EpochId, History, Role, UserId};
use sheaf_replica::document::{DocumentError, DocumentTransaction};
use sheaf_replica::record::Kind;
use sheaf_replica::{Command, Draft, ImportDraft, MessageId, MessageRecord, Reply};

use crate::engine::{Engine, EngineError, unexpected};
use crate::store::{Newest, ReadError};

/// Which messages to list. With `after` the oldest that fit come, else the newest; they are always
/// in the order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// How many at most.
    pub limit: usize,
    /// Only messages before this one.
    pub before: Option<MessageId>,
    /// Only messages after this one.
    pub after: Option<MessageId>,
}

impl Default for Page {
    fn default() -> Self {
        Self {
            limit: 50,
            before: None,
            after: None,
        }
    }
}

/// One conversation. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Conversation {
    id: ConversationId,
    engine: Engine,
}

impl Engine {
    /// Creates a conversation and invites contacts to it, and says what those added later may read.
    ///
    /// # Errors
    /// [`EngineError::Command`].
    pub async fn found_conversation(
        &self,
        name: &str,
        members: &[UserId],
        segment_messages: Option<u32>,
        history: History,
    ) -> Result<Conversation, EngineError> {
        let command = Command::CreateConversation {
            name: name.to_owned(),
            members: members.to_vec(),
            segment_messages,
            history,
        };
        match self.command(command).await? {
            Reply::ConversationCreated(id) => Ok(Conversation::new(id, self.clone())),
            _ => Err(unexpected()),
        }
    }
}

impl Conversation {
    pub(crate) fn new(id: ConversationId, engine: Engine) -> Self {
        Self { id, engine }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> ConversationId {
        self.id
    }

    /// Sends a message: durable on this device on return, at the relay as soon as there is one.
    ///
    /// # Errors
    /// [`EngineError::Command`]; the message is then not sent.
    pub async fn send(&self, draft: Draft) -> Result<MessageId, EngineError> {
        self.send_as(draft, None).await
    }

    /// Sends a message once for a token: the same token gives the first message back.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_with_token(
        &self,
        draft: Draft,
        token: &str,
    ) -> Result<MessageId, EngineError> {
        self.send_as(draft, Some(token.to_owned())).await
    }

    async fn send_as(&self, draft: Draft, token: Option<String>) -> Result<MessageId, EngineError> {
        let command = Command::Send {
            conversation: self.id,
            draft,
            token,
        };
        match self.engine.command(command).await? {
            Reply::Sent(ids) => ids.first().copied().ok_or_else(unexpected),
            _ => Err(unexpected()),
        }
    }

    /// Sends many messages as one change.
    ///
    /// # Errors
    /// As [`Self::send`]; none of them is sent then.
    pub async fn import(&self, drafts: Vec<ImportDraft>) -> Result<Vec<MessageId>, EngineError> {
        let command = Command::Import {
            conversation: self.id,
            drafts,
        };
        match self.engine.command(command).await? {
            Reply::Sent(ids) => Ok(ids),
            _ => Err(unexpected()),
        }
    }

    /// Changes the shared document in one transaction.
    ///
    /// # Errors
    /// As [`Self::send`], or the closure's own error.
    pub async fn change(
        &self,
        change: impl FnOnce(&mut DocumentTransaction<'_, '_>) -> Result<(), DocumentError>
        + Send
        + 'static,
    ) -> Result<(), EngineError> {
        let command = Command::Change {
            conversation: self.id,
            change: Box::new(change),
        };
        self.engine.command(command).await.map(|_| ())
    }

    /// Adds a contact.
    ///
    /// # Errors
    /// [`EngineError::Command`].
    pub async fn add_member(&self, user: UserId, role: Role) -> Result<(), EngineError> {
        let command = Command::AddMember {
            conversation: self.id,
            user,
            role,
        };
        self.engine.command(command).await.map(|_| ())
    }

    /// Removes a member, who loses every key to come; oneself: leaves.
    ///
    /// # Errors
    /// [`EngineError::Command`].
    pub async fn remove_member(&self, user: UserId) -> Result<(), EngineError> {
        let conversation = self.id;
        let command = Command::RemoveMember { conversation, user };
        self.engine.command(command).await.map(|_| ())
    }

    /// Gives a member another role. Making somebody the owner ends one's own membership.
    ///
    /// # Errors
    /// [`EngineError::Command`].
    pub async fn set_role(&self, user: UserId, role: Role) -> Result<(), EngineError> {
        let command = Command::SetRole {
            conversation: self.id,
            user,
            role,
        };
        self.engine.command(command).await.map(|_| ())
    }

    /// Gives the conversation another name.
    ///
    /// # Errors
    /// [`EngineError::Command`].
    pub async fn rename(&self, name: &str) -> Result<(), EngineError> {
        let command = Command::RenameConversation {
            conversation: self.id,
            name: name.to_owned(),
        };
        self.engine.command(command).await.map(|_| ())
    }

    /// Draws a new epoch for all member devices.
    ///
    /// # Errors
    /// [`EngineError::Command`].
    pub async fn rotate(&self) -> Result<EpochId, EngineError> {
        match self.engine.command(Command::Rotate(self.id)).await? {
            Reply::Rotated(epoch) => Ok(epoch),
            _ => Err(unexpected()),
        }
    }

    /// Cuts the history: what is written from now on opens nothing from before, and who is added
    /// later begins here. Takes an admin.
    ///
    /// # Errors
    /// [`EngineError::Command`].
    pub async fn cut_history(&self) -> Result<(), EngineError> {
        let command = Command::CutHistory(self.id);
        self.engine.command(command).await.map(|_| ())
    }

    /// Cuts the history and lets the secrets of what came before be erased on every device, once all
    /// of them have acknowledged it and have everything. Messages stay where they are listed.
    /// Takes an admin.
    ///
    /// # Errors
    /// [`EngineError::Command`].
    pub async fn forget_history(&self) -> Result<(), EngineError> {
        let command = Command::ForgetHistory(self.id);
        self.engine.command(command).await.map(|_| ())
    }

    /// Lists messages as they are on the disk: durable ones, in the order that every device shows.
    /// What is not on this device is left out; [`list`](Self::list) says whether there is such.
    ///
    /// # Errors
    /// [`EngineError::Read`].
    pub fn messages(&self, page: Page) -> Result<Vec<MessageRecord>, EngineError> {
        let newest = if page.after.is_some() {
            Newest::Last
        } else {
            Newest::First
        };
        let after = page.after.map(|message| *message.as_bytes());
        let before = page.before.map(|message| *message.as_bytes());
        let bounds = (
            after.as_ref().map(|a| a.as_slice()),
            before.as_ref().map(|b| b.as_slice()),
        );
        let store = self.engine.store()?;
        let rows = store.page(Kind::Message, &self.id.0, bounds, page.limit, newest)?;
        let mut messages = Vec::with_capacity(rows.len());
        for row in rows {
            let message = MessageRecord::decode(&row.value).map_err(|_| ReadError::Damaged)?;
            messages.push(message);
        }
        if newest == Newest::First {
            messages.reverse();
        }
        Ok(messages)
    }

    /// A message that is listed here.
    pub(crate) fn message(&self, message: MessageId) -> Result<Option<MessageRecord>, EngineError> {
        let end = [message.as_bytes().as_slice(), &[0]].concat();
        let bounds = (None, Some(end.as_slice()));
        let store = self.engine.store()?;
        let rows = store.page(Kind::Message, &self.id.0, bounds, 1, Newest::First)?;
        let found = rows.into_iter().next();
        let found = found.filter(|row| row.order == message.as_bytes());
        let found =
            found.map(|row| MessageRecord::decode(&row.value).map_err(|_| ReadError::Damaged));
        Ok(found.transpose()?)
    }
}
