//! What is due by the clock.

use sheaf_crypto::ConversationId;

use super::Replica;
use crate::account::Account;
use crate::command::PeerInfo;
use crate::conversation::Conversation;
use crate::limits;
use crate::record::Keep;

/// What an app may decide for its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Messages just written that a user may send in a minute before what follows is delayed; `None`
    /// for no limit.
    pub messages_per_minute: Option<u32>,
    /// Age at which this device draws its next sealing key, in milliseconds.
    pub kem_age_ms: u64,
    /// Time after which a primary device that was not heard of may be replaced by this one, in
    /// milliseconds; `None` for never.
    pub primary_absent_ms: Option<u64>,
    /// How much of a conversation's history this device keeps, unless the conversation says
    /// otherwise.
    pub keep: Keep,
    /// How many records of a topic, at least, relays are told to let go of at once when every device
    /// has them; `None`: they keep them as long as they like.
    pub release: Option<u64>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            messages_per_minute: Some(limits::MESSAGES_PER_MINUTE),
            kem_age_ms: limits::KEM_AGE_MS_MAX,
            primary_absent_ms: Some(limits::PRIMARY_ABSENT_MS),
            keep: Keep::All,
            release: Some(limits::RELEASED_RECORDS),
        }
    }
}

impl Policy {
    /// The defaults, but for messages: as many as come. For programs that write faster than people.
    #[must_use]
    pub fn without_message_limit() -> Self {
        Self {
            messages_per_minute: None,
            ..Self::default()
        }
    }
}

impl Replica {
    /// What the app decides; the defaults are those of [`Policy::default`].
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    pub(super) fn elapsed(&mut self) {
        self.waits_for = None;
        self.topics.subscribe_due(self.now, &mut self.stage);
        self.outbox
            .pump(&mut self.topics, self.now, &mut self.stage);
        for id in self.agenda.due(self.now) {
            self.on_conversation(&id, Conversation::run);
        }
    }

    /// What is due after hours and days is done with whatever input comes then: an input comes at
    /// least hourly.
    pub(super) fn upkeep(&mut self) {
        if self.failed.is_some() {
            return;
        }
        self.release_due();
        if self.now >= self.upkeep_due {
            self.upkeep_due = self.now.after_ms(limits::UPKEEP_MS);
            self.rotate_kem();
            self.erase_kem();
            self.claim_primary();
            self.tidy();
            self.tell_relays();
        }
    }

    /// Relays need not keep what everybody has; they are to keep what somebody lacks.
    fn tell_relays(&mut self) {
        let Some(own) = self.account.as_ref().map(Account::user) else {
            return;
        };
        let ids: Vec<ConversationId> = self.conversations.keys().copied().collect();
        for id in ids {
            let Some(info) = self.conversation(&id) else {
                continue;
            };
            let with_others = info.peers.iter().any(|peer| peer.user != own);
            let undisputed = info.frozen.is_empty() && info.forks.is_empty();
            let settled = info.synced && with_others && undisputed;
            if let Some(least) = self.policy.release.filter(|_| settled) {
                self.topics.release(&id, least, &mut self.stage);
            } else if info.caught_up && !info.peers.iter().all(PeerInfo::has_everything) {
                self.topics.take_back(&id, &mut self.stage);
            }
        }
    }

    /// Asks to be woken for the next thing that is due.
    pub(super) fn ask_to_wait(&mut self) {
        if self.failed.is_some() {
            return;
        }
        let due = [
            self.outbox.next_try(),
            self.topics.next_repair(),
            self.topics.next_watch(),
            self.outbox.next_late(),
            self.peers.next_release(),
        ];
        let now = self.now;
        // What was due and is still there waits for something else than time.
        let due = due.into_iter().flatten().filter(|at| *at > now);
        let next = self.agenda.next().into_iter().chain(due).min();
        if let Some(at) = next.filter(|_| next != self.waits_for) {
            self.waits_for = next;
            self.stage.wait(at);
        }
    }
}
