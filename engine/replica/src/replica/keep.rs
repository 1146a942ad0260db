//! How much of the conversations is kept here, and what is done about damaged records.

use sheaf_crypto::ConversationId;

use super::Replica;
use crate::command::{CommandError, DamagedRecord, Reply};
use crate::conversation::Conversation;
use crate::record::Keep;

impl Replica {
    /// Something of a conversation is being read from the store, or waits for that.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.conversations.values().any(Conversation::is_busy)
    }

    /// Drops what is beyond the policy.
    pub(super) fn tidy(&mut self) {
        let default = self.policy.keep;
        let ids: Vec<ConversationId> = self.conversations.keys().copied().collect();
        for id in ids {
            self.on_conversation(&id, |known, context| known.tidy(default, context));
        }
    }

    pub(super) fn set_keep(
        &mut self,
        id: ConversationId,
        keep: Option<Keep>,
    ) -> Result<Reply, CommandError> {
        let default = self.policy.keep;
        let known = self.on_conversation(&id, |known, context| {
            known.set_keep(keep, context);
            known.tidy(default, context);
        });
        known.ok_or(CommandError::UnknownConversation(id))?;
        Ok(Reply::Done)
    }

    pub(super) fn repair(&mut self, records: &[DamagedRecord]) -> Result<Reply, CommandError> {
        for damaged in records {
            let id = damaged.conversation;
            let known = self.on_conversation(&id, |known, context| known.repair(damaged, context));
            known.ok_or(CommandError::UnknownConversation(id))?;
        }
        let ids: Vec<ConversationId> = self.conversations.keys().copied().collect();
        for id in ids {
            self.on_conversation(&id, Conversation::run);
        }
        Ok(Reply::Done)
    }
}
