//! What a conversation does for the quarantine of devices, which is the whole device's policy.

use sheaf_crypto::DeviceId;

use super::Conversation;
use super::inbound::Staged;
use crate::context::Context;
use crate::document::NewMessage;
use crate::limits;

impl Conversation {
    /// Keeps what comes from a device from being applied, until [`Self::lift`].
    pub(crate) fn hold(&mut self, device: &DeviceId) {
        self.chains.quarantine(device);
    }

    /// Ends a device's quarantine and takes in what was kept back; `false` if there was none.
    pub(crate) fn lift(&mut self, device: &DeviceId, context: &mut Context<'_>) -> bool {
        if !self.chains.is_quarantined(device) {
            return false;
        }
        for run in self.chains.lift(device) {
            self.write_chain(*device, run, context);
        }
        self.judge_forks();
        self.release();
        self.run(context);
        true
    }

    /// Items of a device that are kept back.
    pub(crate) fn kept_of(&self, device: &DeviceId) -> usize {
        let kept = self.kept_back();
        kept.filter(|(_, record)| record.device == *device).count()
    }

    /// There is hardly room for more that is kept back.
    pub(crate) fn keeps_too_much(&self) -> bool {
        self.kept_back().count() >= limits::QUARANTINED_ITEMS_MAX
    }

    /// Counts messages that were written just now by another user. An envelope of what was written
    /// earlier, or elsewhere, counts once, where it can only be new: with several relays, and where
    /// one lost its store, others bring old envelopes there again.
    pub(super) fn hear(&self, item: &Staged, messages: &[NewMessage], context: &mut Context<'_>) {
        let inner = &item.inner;
        if inner.user == context.account.user() {
            return;
        }
        let just_written = |message: &&NewMessage| {
            let age = context.now.0.saturating_sub(message.id.time().ms());
            message.origin.is_none() && age <= limits::JUST_WRITTEN_MS
        };
        let count = messages.iter().filter(just_written).count();
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        let count = count.max(u64::from(item.once));
        if count > 0 {
            context.stage.hear(inner.user, inner.device, count);
        }
    }
}
