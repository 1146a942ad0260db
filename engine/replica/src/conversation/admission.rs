//! Who is let in, and the epochs that are drawn for all who are.

use sheaf_crypto::{Body, EpochId, EpochSecret, Forward, Recipient, Role, UserId};

use super::{Conversation, recipients_of};
use crate::command::CommandError;
use crate::context::Context;
use crate::limits;

impl Conversation {
    /// Seals to every given device, to the key given, the secrets of some epochs.
    pub(super) fn forwards(
        &self,
        epochs: &[EpochId],
        recipients: &[Recipient],
        context: &mut Context<'_>,
    ) -> Result<Vec<Forward>, CommandError> {
        let parents = self.control.heads();
        let mut forwards = Vec::new();
        for epoch in epochs {
            let held = self.epochs.get(epoch).ok_or_else(|| {
                CommandError::Fault(
                    "the newest key has not arrived here yet; sync first".to_owned(),
                )
            })?;
            let commitment = held.keys.commitment();
            for to in recipients {
                let forward = sheaf_crypto::forward(
                    &mut *context.rng,
                    &self.id,
                    *epoch,
                    commitment,
                    &held.secret,
                    &parents,
                    to,
                )
                .map_err(|error| CommandError::Fault(error.to_string()))?;
                forwards.push(forward);
            }
        }
        Ok(forwards)
    }

    /// Adds a user with all known devices, and sends them their invites. Who may not read the past
    /// begins at a cut that is made for him.
    pub(crate) fn add_member(
        &mut self,
        user: UserId,
        role: Role,
        context: &mut Context<'_>,
    ) -> Result<(), CommandError> {
        let contact = context
            .contacts
            .get(&user)
            .ok_or(CommandError::UnknownContact(user))?;
        if contact.blocked {
            return Err(CommandError::Blocked(user));
        }
        let view = self.control.current();
        if view.members.contains_key(&user) {
            return Err(CommandError::AlreadyMember(user));
        }
        let void = view.void.get(&user).cloned();
        let since_join = view.since_join;
        if view
            .role(&context.account.user())
            .is_none_or(|own| own < Role::Admin)
        {
            return Err(CommandError::NotAllowed);
        }
        check_room(view.devices().count(), contact.devices.iter().count())?;
        let recipients = context.peers.newest_of(recipients_of(&contact.devices));
        let log = contact.devices.encode();
        if let Some(incarnations) = void {
            // Void grants of a forked device still stand in the way of a new one.
            let frontier = Vec::new();
            let end = Body::Remove {
                user,
                incarnations,
                frontier,
            };
            self.write_operation(end, context)?;
            self.rekey(context)?;
        }
        let given = if since_join {
            Vec::new()
        } else {
            self.open_to_newcomers(context)?
        };
        let forwards = self.forwards(&given, &recipients, context)?;
        self.write_operation(
            Body::Add {
                user,
                role,
                log,
                forwards,
            },
            context,
        )?;
        if since_join {
            // The new epoch reaches the newcomer by an invite.
            self.write_cut(context)?;
            self.rekey(context)?;
            return Ok(());
        }
        for device in recipients {
            self.invite(&device, context)?;
        }
        Ok(())
    }

    /// The newest epochs, those from before the last cut left out; one is drawn if that leaves none.
    fn open_to_newcomers(
        &mut self,
        context: &mut Context<'_>,
    ) -> Result<Vec<EpochId>, CommandError> {
        let open = |known: &Self| -> Vec<EpochId> {
            let view = known.control.current();
            let newest = view.newest.iter();
            let open = newest.filter(|epoch| known.control.is_for_newcomers(view, epoch));
            open.copied().collect()
        };
        let found = open(self);
        if !found.is_empty() || self.control.current().cuts.is_empty() {
            return Ok(found);
        }
        self.rekey(context)?;
        Ok(open(self))
    }

    /// Attaches every own device that is not part of the conversation yet, and invites it.
    pub(crate) fn attach_own_devices(
        &mut self,
        context: &mut Context<'_>,
    ) -> Result<(), CommandError> {
        let view = self.control.current();
        let own = context.account.user();
        let Some(member) = view.members.get(&own) else {
            return Ok(());
        };
        let missing: Vec<Recipient> = recipients_of(&context.account.devices)
            .into_iter()
            .filter(|recipient| !member.devices.contains_key(&recipient.device))
            .collect();
        for recipient in context.peers.newest_of(missing) {
            let view = self.control.current();
            let newest = view.newest.iter();
            let reader = (own, recipient.device);
            let given = newest.filter(|epoch| self.control.is_entitled(view, &reader, epoch));
            let given: Vec<EpochId> = given.copied().collect();
            let log = context.account.devices.encode();
            let forwards = self.forwards(&given, std::slice::from_ref(&recipient), context)?;
            let device = recipient.device;
            self.write_operation(
                Body::AttachDevice {
                    device,
                    log,
                    forwards,
                },
                context,
            )?;
            self.invite(&recipient, context)?;
        }
        Ok(())
    }

    /// Draws a new epoch for every member device, chained to the newest ones unless that would open
    /// what a cut closed. What does not fit into one record is forwarded after it.
    pub(super) fn rekey(&mut self, context: &mut Context<'_>) -> Result<EpochId, CommandError> {
        let fault = |error: String| CommandError::Fault(error);
        let view = std::sync::Arc::clone(self.control.current());
        let own = context.account.device();
        let mut recipients = context.peers.newest_of(view.recipients());
        if !recipients.iter().any(|to| to.device == own) {
            return Err(CommandError::NotAllowed);
        }
        recipients.sort_by_key(|to| (to.device != own, to.device));
        let rest = recipients.split_off(recipients.len().min(limits::SEALS_PER_RECORD_MAX));
        recipients.sort_by_key(|to| to.device);
        let held: Vec<(EpochId, &EpochSecret)> = view
            .newest
            .iter()
            .filter_map(|epoch| self.epochs.get(epoch).map(|held| (*epoch, &held.secret)))
            .collect();
        let open = |epoch: &EpochId| self.control.is_for_newcomers(&view, epoch);
        let chained = !view.since_join && held.iter().all(|(epoch, _)| open(epoch));
        let (seq, _) = self.next_place(context);
        let (epoch, secret, mut rekey) = sheaf_crypto::rekey(
            &mut *context.rng,
            &self.id,
            own,
            seq,
            &self.control.heads(),
            &recipients,
            if chained { &held } else { &[] },
        )
        .map_err(|error| fault(error.to_string()))?;
        drop(secret);
        if !chained {
            let all = view.newest.iter().copied();
            rekey.parents_epochs = all.take(limits::EPOCHS_FOLLOWED_MAX).collect();
        }
        self.write_operation(Body::Rekey(rekey), context)?;
        self.hand_over(epoch, &rest, context)?;
        Ok(epoch)
    }
}

/// Whether so many devices fit into a conversation that has so many.
pub(crate) fn check_room(devices: usize, more: usize) -> Result<(), CommandError> {
    if devices.saturating_add(more) > limits::DEVICES_PER_CONVERSATION_MAX {
        return Err(CommandError::ConversationFull(devices, more));
    }
    Ok(())
}
