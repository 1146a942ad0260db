//! Secrets that a member device lacks: asked for and answered.

use std::collections::BTreeSet;
use std::sync::Arc;

use sheaf_crypto::{Body, DeviceId, EpochId, OperationId};

use super::{Conversation, Work};
use crate::context::Context;
use crate::control::{Reader, View};
use crate::limits;

/// A secret that was asked for.
#[derive(Debug, Default)]
pub(super) struct Asked {
    times: u32,
    /// What was answered does not open.
    in_vain: bool,
}

impl Conversation {
    /// Asks for the newest secrets that this member device was not given.
    pub(crate) fn ask_for_keys(&mut self, context: &mut Context<'_>) {
        if !self.is_part(context) {
            return;
        }
        let view = Arc::clone(self.control.current());
        // Where no epoch opens those before it, each of them is asked for.
        let alone = |epoch: &&EpochId| {
            let closed = view.since_join || !view.cuts.is_empty();
            closed || view.newest.contains(*epoch)
        };
        let missing = view.epochs.iter().rev();
        let missing = missing.filter(|(epoch, _)| alone(epoch) && !self.epochs.holds(epoch));
        let own = context.reader();
        let missing = missing.filter(|(epoch, _)| self.control.is_entitled(&view, &own, epoch));
        let missing = missing.filter(|(epoch, _)| !self.has_forgotten(epoch));
        let mut missing: Vec<_> = missing.collect();
        missing.sort_by_key(|(_, facts)| std::cmp::Reverse(facts.depth));
        for (epoch, facts) in missing.into_iter().take(limits::EPOCHS_ASKED_MAX) {
            self.work.push_back(Work::Complain(*epoch, facts.operation));
        }
        self.run(context);
    }

    /// A newest secret that a device which takes part is to have and has not: what is written under
    /// it is not even known here.
    pub(super) fn lacking_key(&self, own: &Reader) -> Option<EpochId> {
        let view = self.control.current();
        let lacking = |epoch: &&EpochId| {
            !self.epochs.holds(epoch)
                && self.control.is_entitled(view, own, epoch)
                && !self.has_forgotten(epoch)
        };
        let lacking = view.newest.iter().find(lacking)?;
        self.has_live(&own.1).then_some(*lacking)
    }

    /// What was forwarded does not open: who did it had not heard of the newest sealing key. It is
    /// asked for again once that may have come about; `false` if it was not asked for.
    pub(super) fn not_opened(&mut self, epoch: EpochId) -> bool {
        let asked = self.asked.get_mut(&epoch);
        asked.map(|asked| asked.in_vain = true).is_some()
    }

    /// Asks again for what was answered in vain.
    pub(super) fn ask_again(&mut self) {
        let view = self.control.current();
        let in_vain = self.asked.iter().filter(|(_, asked)| asked.in_vain);
        let again = in_vain.filter_map(|(epoch, _)| {
            let facts = view.epochs.get(epoch)?;
            Some(Work::Complain(*epoch, facts.operation))
        });
        self.work.extend(again);
    }

    /// Says that a secret could not be opened here, once for each epoch, and some times more if what
    /// was answered does not open either.
    pub(super) fn complain(
        &mut self,
        epoch: EpochId,
        operation: OperationId,
        context: &mut Context<'_>,
    ) {
        let view = Arc::clone(self.control.current());
        let own = context.reader();
        if self.epochs.holds(&epoch)
            || !self.is_part(context)
            || !self.control.is_entitled(&view, &own, &epoch)
            || self.has_forgotten(&epoch)
        {
            return;
        }
        let asked = self.asked.entry(epoch).or_default();
        if asked.times > 0 && !(asked.in_vain && asked.times < limits::KEY_ASKED_MAX) {
            return;
        }
        asked.times = asked.times.saturating_add(1);
        asked.in_vain = false;
        if let Err(error) = self.write_operation(Body::BadSeal { epoch, operation }, context) {
            tracing::warn!(%error, "missing key not asked for");
            return;
        }
        // What it was sealed to is erased. Whoever has it may have erased what this device's
        // epochs are sealed to, and then reads none of the topics that this one writes in.
        let facts = view.epochs.get(&epoch);
        if facts.is_some_and(|facts| facts.holders.contains(&own.1)) {
            for device in self.answering(&view, &epoch, &own.1) {
                self.invite_later(device);
            }
        }
    }

    /// Who answers for a secret that a device lacks: who drew the epoch, and one of the holders,
    /// since either may be gone.
    fn answering(&self, view: &View, epoch: &EpochId, asks: &DeviceId) -> BTreeSet<DeviceId> {
        let mut holders = view.holders(epoch);
        holders.retain(|device| device != asks && view.device(device).is_some());
        let facts = view.epochs.get(epoch);
        let drawn = facts.and_then(|facts| self.control.entry(&facts.operation));
        let drew = drawn.map(|entry| entry.operation.author);
        let lowest = first_able(&holders, &self.control.askers_of(epoch));
        drew.into_iter().chain(lowest).collect()
    }

    fn invite_later(&mut self, device: DeviceId) {
        let invited = |work: &Work| matches!(work, Work::Invite(to) if *to == device);
        if !self.work.iter().any(invited) {
            self.work.push_back(Work::Invite(device));
        }
    }

    /// A member device could not open its seal, or was not given one: the secret is forwarded to it.
    /// What did not open was sealed to a key that it has erased, and so may be the newest that is
    /// known here: it is sealed to that of its certificate, which it keeps.
    pub(super) fn answer_bad_seal(
        &mut self,
        epoch: EpochId,
        to: DeviceId,
        context: &mut Context<'_>,
    ) {
        let view = Arc::clone(self.control.current());
        let recipients = view.recipients();
        let Some(recipient) = recipients.iter().find(|recipient| recipient.device == to) else {
            return;
        };
        let answering = self.answering(&view, &epoch, &to);
        let mine = answering.contains(&context.account.device()) && self.epochs.holds(&epoch);
        if !mine || !self.control.device_is_entitled(&view, &to, &epoch) {
            return;
        }
        let facts = view.epochs.get(&epoch);
        let given = facts.is_some_and(|facts| facts.holders.contains(&to));
        let recipient = match given {
            true => recipient.clone(),
            false => context.peers.newest(recipient.clone()),
        };
        if let Err(error) = self.hand_over(epoch, &[recipient], context) {
            tracing::warn!(%error, "epoch not forwarded");
            return;
        }
        if given {
            // The log has it read what it says that it cannot: what is published reaches it nowhere.
            self.invite_later(to);
        }
    }

    /// Sends a member device the whole log, with what was forwarded to it, to its inbox, sealed to
    /// the key of its certificate.
    pub(super) fn invite_again(&mut self, device: DeviceId, context: &mut Context<'_>) {
        let recipients = self.control.current().recipients();
        let Some(to) = recipients.iter().find(|to| to.device == device) else {
            return;
        };
        let invited = self.invited.entry(device).or_insert((context.now, 0));
        if context.now.since_ms(invited.0) >= limits::INVITES_AGAIN_MS {
            *invited = (context.now, 0);
        }
        if invited.1 >= limits::INVITES_AGAIN_MAX {
            tracing::warn!(%device, "asks for keys too often to be invited again");
            return;
        }
        invited.1 = invited.1.saturating_add(1);
        if let Err(error) = self.send_invitation(to, context) {
            tracing::warn!(%error, "device not invited again");
        }
    }
}

/// Which of those who were given a secret answers for them: the one with the lowest id that has not
/// asked for it as well; if all have, the one with the lowest id.
fn first_able(holders: &BTreeSet<DeviceId>, askers: &BTreeSet<DeviceId>) -> Option<DeviceId> {
    let mut able = holders.difference(askers);
    able.next().or_else(|| holders.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(numbers: &[u8]) -> BTreeSet<DeviceId> {
        numbers
            .iter()
            .map(|number| DeviceId([*number; 32]))
            .collect()
    }

    #[test]
    fn who_lacks_a_secret_as_well_does_not_answer_for_the_others() {
        let of = |holders: &[u8], askers: &[u8]| first_able(&devices(holders), &devices(askers));
        let device = |number: u8| Some(DeviceId([number; 32]));
        assert_eq!(of(&[2, 3, 4], &[]), device(2));
        assert_eq!(of(&[2, 3, 4], &[1, 2]), device(3));
        assert_eq!(of(&[2, 3], &[2, 3]), device(2));
        assert_eq!(of(&[], &[1]), None);
    }
}
