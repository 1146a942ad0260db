//! Which windows of a conversation somebody reads, as its control log alone says it
//! (docs/decisions/0009-cuts.md).

use std::collections::{BTreeMap, BTreeSet};

use sheaf_crypto::{
    Body, ConversationId, History, Operation, OperationId, SignedOperation, UserId,
};
use sheaf_replica::limits::WINDOW_SEGMENTS;

use super::Device;

/// A control log.
pub(super) struct Log {
    operations: BTreeMap<OperationId, Operation>,
    since_join: bool,
}

impl Log {
    /// The one that a device has stored.
    pub(super) fn of(device: &Device, conversation: &ConversationId) -> Self {
        let mut operations = BTreeMap::new();
        for value in device.operations(conversation) {
            // A version byte, then the conversation, a number and the operation.
            let (_, _, signed): (ConversationId, u64, SignedOperation) =
                postcard::from_bytes(&value[1..]).expect("own record");
            operations.insert(signed.id(), signed.decode().expect("own record"));
        }
        let since_join = operations.values().any(|operation| {
            matches!(&operation.body, Body::Genesis(genesis) if genesis.history == History::SinceJoin)
        });
        Self {
            operations,
            since_join,
        }
    }

    /// Somebody was added after he had been a member before, so that he may have kept some of what
    /// he does not read.
    pub(super) fn was_here_before(&self, user: &UserId) -> bool {
        self.additions(user).len() > 1
    }

    /// Somebody reads everything in the window of a segment: whoever made its cut knew every cut that was
    /// known where he was added last or, where newcomers may not read the past, that he was added.
    pub(super) fn reads(&self, user: &UserId, segment: u32) -> bool {
        let cuts = self.cuts();
        let window = segment - segment % WINDOW_SEGMENTS;
        let mut of = cuts.iter().filter(|(_, first)| **first == window);
        of.all(|(cut, _)| self.lets_in(cut, user, &cuts))
    }

    fn lets_in(&self, cut: &OperationId, user: &UserId, cuts: &BTreeMap<OperationId, u32>) -> bool {
        let known = self.past(cut);
        let additions = self.additions(user);
        let followed = |addition: &OperationId| {
            let mut others = additions.iter().filter(|other| *other != addition);
            others.any(|other| self.past(other).contains(addition))
        };
        let mut last = additions.iter().filter(|addition| !followed(addition));
        last.any(|addition| match self.since_join {
            true => known.contains(addition),
            false => {
                let mut before = self.past(addition).into_iter();
                before.all(|id| !cuts.contains_key(&id) || known.contains(&id))
            }
        })
    }

    fn cuts(&self) -> BTreeMap<OperationId, u32> {
        let cuts = self.operations.iter();
        let cuts = cuts.filter_map(|(id, operation)| match operation.body {
            Body::Cut { segment, .. } => Some((*id, segment)),
            _ => None,
        });
        cuts.collect()
    }

    fn additions(&self, user: &UserId) -> Vec<OperationId> {
        let additions = self.operations.iter().filter(
            |(_, operation)| matches!(&operation.body, Body::Add { user: added, .. } if added == user),
        );
        additions.map(|(id, _)| *id).collect()
    }

    /// Everything that an operation builds on, and itself.
    fn past(&self, of: &OperationId) -> BTreeSet<OperationId> {
        let mut past = BTreeSet::new();
        let mut open = vec![*of];
        while let Some(id) = open.pop() {
            if past.insert(id)
                && let Some(operation) = self.operations.get(&id)
            {
                open.extend(&operation.parents);
            }
        }
        past
    }
}
