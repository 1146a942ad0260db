//! Devices that misbehave: counted, held for a time, let go.

use sheaf_crypto::{ConversationId, DeviceId, UserId};

use super::Replica;
use crate::command::{CommandError, Reply};
use crate::conversation::Conversation;
use crate::io::Event;
use crate::limits;
use crate::misbehaviour::{Offence, Quarantine, Rate};

/// A device in quarantine, as shown to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineInfo {
    /// The device.
    pub device: DeviceId,
    /// Whose it is, as far as a conversation tells.
    pub user: Option<UserId>,
    /// Since when, until when and for what.
    pub quarantine: Quarantine,
    /// How often it did what, since all was last forgiven.
    pub counts: Vec<(Offence, u64)>,
    /// Items that are kept back.
    pub kept: u64,
}

impl Replica {
    /// Holds devices that did too much of what nobody should during the present input.
    pub(super) fn judge(&mut self) {
        for (device, offence) in self.stage.take_offences() {
            self.offended(device, offence);
        }
        for (user, device, messages) in self.stage.take_heard() {
            self.heard(user, device, messages);
        }
        for (device, conversation, messages) in self.stage.take_taken_out() {
            self.was_taken_out(device, conversation, messages);
        }
        if self.peers.holds_any() {
            self.make_room();
        }
    }

    fn offended(&mut self, device: DeviceId, offence: Offence) {
        if self
            .account
            .as_ref()
            .is_none_or(|own| own.device() == device)
        {
            return;
        }
        let now = self.now;
        let judged = self
            .peers
            .edit(&device, |peer| peer.conduct.offend(offence, now));
        let Some((quarantine, write)) = judged else {
            return;
        };
        self.stage.write(write);
        let Some(quarantine) = quarantine else {
            return;
        };
        for known in self.conversations.values_mut() {
            known.hold(&device);
        }
        let end = quarantine.until.map_or_else(
            || "until it is lifted".to_owned(),
            |until| {
                let minutes = until.since_ms(now) / limits::MINUTE_MS;
                format!("for {minutes} minutes")
            },
        );
        let what = format!("in quarantine {end}: it {offence}");
        self.stage.note(what, format!("device {device}"), None);
        self.stage
            .notify(Event::DeviceQuarantined { device, quarantine });
    }

    /// Counts messages just written. What is over the limit has been taken in; what follows waits.
    fn heard(&mut self, user: UserId, device: DeviceId, messages: u64) {
        let Some(limit) = self.policy.messages_per_minute else {
            return;
        };
        let now = self.now;
        if self.rates.len() >= limits::RATES_MAX {
            self.rates.retain(|_, rate| !rate.is_over(now));
        }
        if self.rates.len() >= limits::RATES_MAX && !self.rates.contains_key(&user) {
            return;
        }
        let floods = self
            .peers
            .get(&device)
            .map_or(0, |peer| peer.conduct.floods());
        let limit = u64::from(limit) >> floods.min(3);
        let rate = self.rates.entry(user).or_insert_with(|| Rate::new(now));
        if rate.exceeds(messages, limit.max(1), now) {
            self.offended(device, Offence::Flood);
        }
    }

    fn was_taken_out(&mut self, device: DeviceId, conversation: ConversationId, messages: u64) {
        let noted = self.peers.edit(&device, |peer| {
            peer.taken_out.retain(|(known, _)| *known != conversation);
            peer.taken_out.push((conversation, messages));
        });
        if let Some(((), write)) = noted {
            self.stage.write(write);
        }
    }

    /// Nothing is lost for want of room: where too much is kept back, quarantines end.
    fn make_room(&mut self) {
        let full: Vec<ConversationId> = self
            .conversations
            .values()
            .filter(|known| known.keeps_too_much())
            .map(Conversation::id)
            .collect();
        for id in full {
            for device in self.peers.quarantined() {
                let kept = self.conversations.get(&id);
                if kept.is_some_and(|known| known.kept_of(&device) > 0) {
                    self.on_conversation(&id, |known, context| known.lift(&device, context));
                    let what = "quarantine ended here: there is no room to keep more back";
                    self.stage
                        .note(what.to_owned(), format!("device {device}"), Some(id));
                }
            }
        }
    }

    /// Ends the quarantines whose time is over, and takes in what was kept back.
    pub(super) fn release_due(&mut self) {
        if self.peers.next_release().is_none_or(|at| at > self.now) {
            return;
        }
        for device in self.peers.quarantined() {
            let now = self.now;
            let ended = self.peers.edit(&device, |peer| peer.conduct.expire(now));
            let Some((true, write)) = ended else {
                continue;
            };
            self.stage.write(write);
            self.let_go(&device);
            let who = format!("device {device}");
            self.stage.note("quarantine is over".to_owned(), who, None);
            let lifted = false;
            self.stage.notify(Event::QuarantineEnded { device, lifted });
        }
    }

    fn let_go(&mut self, device: &DeviceId) -> bool {
        let ids: Vec<ConversationId> = self.conversations.keys().copied().collect();
        let mut lifted = false;
        for id in ids {
            let done = self.on_conversation(&id, |known, context| known.lift(device, context));
            lifted |= done == Some(true);
        }
        lifted
    }

    /// Takes a false alarm back: content that was held back counts, and all is forgiven.
    pub(super) fn lift_quarantine(&mut self, device: DeviceId) -> Result<Reply, CommandError> {
        let held = self.peers.get(&device);
        let held = held.is_some_and(|peer| peer.conduct.quarantine.is_some());
        if held
            && let Some(((), write)) = self.peers.edit(&device, |peer| {
                peer.conduct = crate::misbehaviour::Conduct::default()
            })
        {
            self.stage.write(write);
        }
        let lifted = self.let_go(&device);
        if !lifted && !held {
            return Err(CommandError::NotQuarantined);
        }
        self.audit(format!("quarantine of device {device} lifted"), None);
        let lifted = true;
        self.stage.notify(Event::QuarantineEnded { device, lifted });
        Ok(Reply::Done)
    }

    /// Holds what was held before the start.
    pub(super) fn hold_again(&mut self) {
        for device in self.peers.quarantined() {
            for known in self.conversations.values_mut() {
                known.hold(&device);
            }
        }
    }

    /// Devices in quarantine.
    #[must_use]
    pub fn quarantines(&self) -> Vec<QuarantineInfo> {
        let held = self.peers.iter().filter_map(|(device, peer)| {
            let user = self.conversations.values();
            let mut user = user.filter_map(|known| known.user_of(device));
            let kept = self.conversations.values();
            let kept: usize = kept.map(|known| known.kept_of(device)).sum();
            Some(QuarantineInfo {
                device: *device,
                user: user.next(),
                quarantine: peer.conduct.quarantine?,
                counts: peer.conduct.counts.clone(),
                kept: u64::try_from(kept).unwrap_or(u64::MAX),
            })
        });
        held.collect()
    }
}
