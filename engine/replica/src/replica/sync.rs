//! What all conversations owe to others, and what others owe.

use std::collections::BTreeMap;

use sheaf_crypto::{ConversationId, DeviceId};

use super::Replica;
use crate::command::{CommandError, Reply};
use crate::conversation::Conversation;
use crate::sync_history::{Standing, SyncEntry};

/// How far this device's own items went in every conversation at some time: what a barrier waits
/// for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mark(BTreeMap<ConversationId, Vec<(u32, u64)>>);

impl Replica {
    /// Acknowledges at once what was seen.
    pub(super) fn acknowledge(&mut self) {
        let owing = self.conversations.values();
        let owing = owing.filter(|known| known.owes_acknowledgement());
        let ids: Vec<ConversationId> = owing.map(Conversation::id).collect();
        for id in ids {
            self.on_conversation(&id, Conversation::acknowledge_now);
        }
    }

    /// Asks devices of conversations what they have.
    pub(super) fn resync(
        &mut self,
        conversations: &[ConversationId],
        devices: &[DeviceId],
        full: bool,
    ) -> Result<Reply, CommandError> {
        let unknown = conversations
            .iter()
            .find(|id| !self.conversations.contains_key(id));
        if let Some(unknown) = unknown {
            return Err(CommandError::UnknownConversation(*unknown));
        }
        let ids: Vec<ConversationId> = match conversations {
            [] => self.conversations.keys().copied().collect(),
            named => named.to_vec(),
        };
        let mut asked = Vec::new();
        for id in ids {
            let of =
                self.on_conversation(&id, |known, context| known.resync(devices, full, context));
            asked.extend(of.into_iter().flatten().map(|device| (id, device)));
        }
        Ok(Reply::Resyncing(asked))
    }

    /// Follows what the present input brought, for the history of syncs.
    pub(super) fn note_sync(&mut self) {
        let standing = Standing {
            relays: self.topics.connected().collect(),
            caught_up: self.was_caught_up,
            file: std::mem::take(&mut self.file),
            figures: std::mem::take(self.stage.figures()),
        };
        if self.failed.is_none() {
            let writes = self.syncs.look(self.now, standing);
            self.stage.writes(writes);
        }
    }

    /// The newest syncs, in order: the last one may still go on.
    #[must_use]
    pub fn syncs(&self) -> Vec<SyncEntry> {
        self.syncs.entries().cloned().collect()
    }

    /// How far this device's own items go now.
    #[must_use]
    pub fn mark(&self) -> Mark {
        let Some(account) = &self.account else {
            return Mark::default();
        };
        let own = account.device();
        let known = self.conversations.iter();
        Mark(
            known
                .map(|(id, known)| (*id, known.own_reach(own)))
                .collect(),
        )
    }

    /// Devices that have not said yet that they have everything up to a mark, by conversation.
    #[must_use]
    pub fn behind(&self, mark: &Mark) -> Vec<(ConversationId, DeviceId)> {
        let Some(account) = &self.account else {
            return Vec::new();
        };
        let own = account.device();
        let mut behind = Vec::new();
        for (id, reach) in &mark.0 {
            if let Some(known) = self.conversations.get(id) {
                let devices = known.behind(reach, own).into_iter();
                behind.extend(devices.map(|device| (*id, device)));
            }
        }
        behind
    }
}
