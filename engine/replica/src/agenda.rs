//! What conversations want to be woken for, and when.

use std::collections::BTreeSet;

use sheaf_crypto::ConversationId;

use crate::stage::Stage;
use crate::time::Timestamp;

/// Times at which conversations have something to do. Kept in memory only: whoever restarts finds
/// out again. At most a few entries a conversation.
#[derive(Default)]
pub(crate) struct Agenda(BTreeSet<(Timestamp, ConversationId)>);

impl Agenda {
    /// Wakes a conversation at a time.
    pub(crate) fn at(&mut self, time: Timestamp, conversation: ConversationId, stage: &mut Stage) {
        let first = self.0.first().is_none_or(|(known, _)| time < *known);
        if self.0.insert((time, conversation)) && first {
            stage.wait(time);
        }
    }

    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.0.first().map(|(time, _)| *time)
    }

    /// Conversations whose time has come, taken out; waits for the next.
    pub(crate) fn due(&mut self, now: Timestamp, stage: &mut Stage) -> BTreeSet<ConversationId> {
        let mut due = BTreeSet::new();
        while let Some((time, conversation)) = self.0.first().copied() {
            if time > now {
                stage.wait(time);
                break;
            }
            self.0.remove(&(time, conversation));
            due.insert(conversation);
        }
        due
    }
}
