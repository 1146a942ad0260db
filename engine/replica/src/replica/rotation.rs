//! This device's sealing keys: drawn anew weekly, announced in every conversation, erased thirty days
//! after they were replaced (research/keys.md 2.1, 2.13).
//!
//! The new secret, the record to announce and whatever announces it are one batch: nobody seals to a
//! key that a crash could lose.

use std::collections::BTreeSet;

use sheaf_crypto::{ConversationId, Suite};

use super::Replica;
use crate::conversation::Conversation;
use crate::limits;

impl Replica {
    /// Draws the next sealing key when the newest is old enough.
    pub(super) fn rotate_kem(&mut self) {
        let Some(account) = &self.account else { return };
        let (own, now) = (account.device(), self.now);
        let drawn = self.peers.get(&own).and_then(|peer| peer.drawn.last());
        let Some((_, drawn)) = drawn.copied() else {
            // The first key is as old as the account; what is older than this is not known.
            let counter = account.secrets.kem_counter();
            let noted = self
                .peers
                .edit(&own, |peer| peer.drawn.push((counter, now)));
            self.stage.writes(noted.map(|((), write)| write));
            return;
        };
        if now.since_ms(drawn) < self.policy.kem_age_ms {
            return;
        }
        let Some(account) = self.account.as_mut() else {
            return;
        };
        let record = match account.secrets.rotate_kem(&mut *self.rng, Suite::default()) {
            Ok(record) => record,
            Err(error) => {
                tracing::warn!(%error, "sealing key not rotated");
                return;
            }
        };
        self.stage.write(account.write());
        let noted = self.peers.edit(&own, |peer| {
            peer.drawn.push((record.counter, now));
            peer.kem = Some(record);
        });
        self.stage.writes(noted.map(|((), write)| write));
        self.audit("sealing key of this device replaced".to_owned(), None);
        let ids: Vec<ConversationId> = self.conversations.keys().copied().collect();
        for id in ids {
            self.on_conversation(&id, Conversation::run);
        }
    }

    /// Erases what was replaced long ago. The key of the certificate stays, because a card names it
    /// for as long as the card lives, and so does the one that a conversation was told of last: whoever
    /// removed this device there may bring it back, and knows no newer one.
    pub(super) fn erase_kem(&mut self) {
        let Some(account) = self.account.as_mut() else {
            return;
        };
        let own = account.device();
        let Some(peer) = self.peers.get(&own) else {
            return;
        };
        let conversations = self.conversations.values();
        let told: BTreeSet<u64> = conversations.map(|known| known.announced(&own)).collect();
        let certificate = account.devices.device(&own);
        let certificate = certificate.map(|known| known.certificate.kem.counter);
        let now = self.now;
        let pairs = peer.drawn.iter().zip(peer.drawn.iter().skip(1));
        let replaced = pairs
            .filter(|(_, (_, replaced))| now.since_ms(*replaced) >= limits::KEM_KEPT_MS)
            .map(|((counter, _), _)| *counter)
            .filter(|counter| Some(*counter) != certificate);
        let (mut needed, mut old): (Vec<u64>, Vec<u64>) =
            replaced.partition(|counter| told.contains(counter));
        let over = peer.drawn.len().saturating_sub(old.len());
        let over = over.saturating_sub(limits::KEM_SECRETS_NEEDED_MAX);
        old.extend(needed.drain(..over.min(needed.len())));
        if old.is_empty() {
            return;
        }
        for counter in &old {
            account.secrets.forget_kem(*counter);
        }
        self.stage.write(account.write().erasing());
        let noted = self.peers.edit(&own, |peer| {
            peer.drawn.retain(|(counter, _)| !old.contains(counter));
        });
        self.stage.writes(noted.map(|((), write)| write));
        self.audit(format!("{} old sealing keys erased", old.len()), None);
    }
}
