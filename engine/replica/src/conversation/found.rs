//! How a conversation begins on this device: created here, or joined by an invite.

use serde::{Deserialize, Serialize};

use sheaf_crypto::{
    Body, Card, ConversationId, DeviceId, EpochId, EpochSecret, Genesis, History, ItemId,
    Operation, OperationId, Recipient, SignedOperation, UserId, inbox_capability, seal_inbox,
};
use sheaf_protocol::{Class, hash_record};

use super::{Beginning, Conversation};
use crate::account::Contact;
use crate::command::CommandError;
use crate::context::Context;
use crate::control::{ControlLog, OperationError};
use crate::inbox::InboxBody;
use crate::io::Event;
use crate::outbox::Outgoing;
use crate::record::{ConversationRecord, Kind, Write};

/// What a newcomer's device needs to begin: the control log so far, in causal order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Invite {
    pub(crate) operations: Vec<SignedOperation>,
    /// Cards of the other members, as far as the inviter has them.
    pub(crate) cards: Vec<Card>,
    /// Secrets of epochs that the control log does not hold for the device; only from another
    /// device of the same user.
    pub(crate) epochs: Vec<HandedEpoch>,
}

/// An epoch's secret on its way to another device of the same user. Wiped when dropped; the debug
/// form hides it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct HandedEpoch {
    epoch: EpochId,
    #[serde(with = "serde_bytes")]
    secret: Vec<u8>,
}

impl Drop for HandedEpoch {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.secret);
    }
}

impl std::fmt::Debug for HandedEpoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HandedEpoch")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl Conversation {
    /// Founds a conversation: genesis, then the first epoch, in one batch.
    pub(crate) fn create(
        name: &str,
        segment_messages: u32,
        history: History,
        context: &mut Context<'_>,
    ) -> Result<Self, CommandError> {
        let fault = |error: &dyn std::fmt::Display| CommandError::Fault(error.to_string());
        let mut random = [0; 32];
        context.rng.fill_bytes(&mut random);
        let genesis = Genesis {
            creator: context.account.user(),
            creator_log: context.account.devices.encode(),
            name: name.to_owned(),
            history,
            segment_messages,
            random,
        };
        let operation = Operation {
            conversation: ConversationId::default(),
            author: context.account.device(),
            user: context.account.user(),
            incarnation: OperationId::default(),
            run: context.run,
            seq: 1,
            previous: None,
            parents: Vec::new(),
            body: Body::Genesis(genesis),
        };
        let signed = SignedOperation::sign(&operation, &context.account.secrets)
            .map_err(|error| fault(&error))?;
        let mut conversation = Self::found(&signed, context).map_err(|error| fault(&error))?;
        conversation.rekey(context)?;
        let own = context.account.device();
        let devices = super::recipients_of(&context.account.devices);
        for device in devices.iter().filter(|device| device.device != own) {
            conversation.invite(device, context)?;
        }
        Ok(conversation)
    }

    /// Takes a founding operation in.
    pub(super) fn found(
        signed: &SignedOperation,
        context: &mut Context<'_>,
    ) -> Result<Self, OperationError> {
        let control = ControlLog::found(signed)?;
        let operation = signed.decode()?;
        let Body::Genesis(genesis) = &operation.body else {
            return Err(OperationError::NotGenesis);
        };
        let size = genesis
            .segment_messages
            .clamp(1, crate::limits::SEGMENT_MESSAGES_MAX);
        let mut conversation = Self::new(control, context.now, size);
        let record = ConversationRecord {
            conversation: conversation.id,
            created: context.now,
        };
        context.stage.write(Write::put(
            Kind::Conversation,
            &conversation.id.0,
            &[],
            &record,
        ));
        conversation.store_operation(signed, context);
        conversation.note_operation(&signed.id(), &operation, context);
        let item = ItemId::from(signed.id());
        let (author, run) = (operation.author, operation.run);
        conversation
            .chains
            .accept(author, run, operation.seq, item, signed.id(), context.now);
        conversation.write_chain(author, run, context);
        Ok(conversation)
    }

    /// Joins by an invite. Every operation is verified; what does not verify ends the joining.
    pub(crate) fn join(
        invite: &Invite,
        beginning: Option<&Beginning>,
        by: (UserId, DeviceId),
        context: &mut Context<'_>,
    ) -> Result<Self, OperationError> {
        let (founding, rest) = invite
            .operations
            .split_first()
            .ok_or(OperationError::NotGenesis)?;
        let mut conversation = Self::found(founding, context)?;
        conversation.beginning = true;
        for operation in rest {
            conversation.accept_operation(operation, context)?;
        }
        conversation.take_handed(invite, by.0, context);
        let own = context.account.device();
        if conversation.control.current().device(&own).is_none() {
            return Err(OperationError::NotAMember);
        }
        if let Some(beginning) = beginning
            && !conversation.begin_at(beginning, by.1, context)
        {
            tracing::warn!("a snapshot does not verify; everything is read");
        }
        conversation.beginning = false;
        conversation.follow_all(context);
        context.topics.begin_at(&[]);
        // Before anything else of this device is taken for a sign that it has the history.
        if conversation.is_starting()
            && let Err(error) = conversation.send_checkpoint(context)
        {
            tracing::warn!(%error, "it is not said that history is on its way");
        }
        context.stage.notify(Event::ConversationAdded {
            conversation: conversation.id,
            by: Some(by.0),
        });
        Ok(conversation)
    }

    /// Takes further operations from an invite to a conversation that is known already.
    pub(crate) fn extend(&mut self, invite: &Invite, by: UserId, context: &mut Context<'_>) {
        for operation in invite.operations.iter().skip(1) {
            if self.accept_operation(operation, context).is_err() {
                break;
            }
        }
        self.take_handed(invite, by, context);
        self.work.push_back(super::Work::Retry);
        self.run(context);
    }

    /// Learns epochs that another device of this user hands on. They are checked against what the
    /// control log commits to.
    fn take_handed(&mut self, invite: &Invite, by: UserId, context: &mut Context<'_>) {
        if by != context.account.user() {
            return;
        }
        for handed in &invite.epochs {
            let view = std::sync::Arc::clone(self.control.current());
            if self
                .control
                .is_entitled(&view, &context.reader(), &handed.epoch)
                && let Ok(secret) = EpochSecret::from_bytes(&handed.secret)
            {
                self.learn(handed.epoch, secret, context);
            }
        }
    }

    /// What a device of one's own is handed: epochs that no other opens.
    fn handed(&self, device: &DeviceId, context: &Context<'_>) -> Vec<HandedEpoch> {
        let view = self.control.current();
        let own = context.account.user();
        let is_own = view.device(device).is_some_and(|(user, _)| *user == own);
        if !is_own || !view.since_join && view.cuts.is_empty() {
            return Vec::new();
        }
        let epochs = self.epochs.iter();
        let may =
            epochs.filter(|(epoch, _)| self.control.is_entitled(view, &(own, *device), epoch));
        let mut handed: Vec<(u32, HandedEpoch)> = may
            .filter_map(|(epoch, held)| {
                let mut secret = EpochSecret::from_bytes(&held.secret.to_bytes()).ok()?;
                secret.forget_ephemeral();
                let depth = view.epochs.get(epoch).map_or(0, |facts| facts.depth);
                let handed = HandedEpoch {
                    epoch: *epoch,
                    secret: secret.to_bytes().to_vec(),
                };
                Some((depth, handed))
            })
            .collect();
        handed.sort_by_key(|(depth, _)| std::cmp::Reverse(*depth));
        handed.truncate(crate::limits::EPOCHS_HANDED_MAX);
        handed.into_iter().map(|(_, handed)| handed).collect()
    }

    /// Sends a member device what it needs to begin, to its inbox, sealed to the newest of its keys.
    pub(super) fn invite(
        &mut self,
        to: &Recipient,
        context: &mut Context<'_>,
    ) -> Result<(), CommandError> {
        self.send_invitation(&context.peers.newest(to.clone()), context)
    }

    /// Sends a member device what it needs to begin, to its inbox, sealed to the key given.
    pub(super) fn send_invitation(
        &mut self,
        to: &Recipient,
        context: &mut Context<'_>,
    ) -> Result<(), CommandError> {
        let view = self.control.current();
        let Some((_, attached)) = view.device(&to.device) else {
            return Ok(());
        };
        let seed = attached.inbox_seed;
        let body = self.invitation(&to.device, context);
        send_inbox(to, seed, &body, context)
    }

    /// What a newcomer's device needs to begin.
    pub(super) fn invitation(&self, to: &DeviceId, context: &Context<'_>) -> InboxBody {
        let view = self.control.current();
        let cards = view
            .members
            .keys()
            .filter_map(|user| context.contacts.get(user));
        let invite = Invite {
            cards: cards.map(Contact::card).collect(),
            epochs: self.handed(to, context),
            operations: self
                .control
                .entries()
                .map(|(_, entry)| entry.signed.clone())
                .collect(),
        };
        let card = context.account.card();
        match self.beginning() {
            Some(beginning) => InboxBody::InviteAt {
                card,
                invite,
                beginning,
            },
            None => InboxBody::Invite { card, invite },
        }
    }
}

/// Seals a message to one device's inbox, to the key given, and queues it.
pub(crate) fn send_inbox(
    to: &Recipient,
    inbox_seed: [u8; 32],
    body: &InboxBody,
    context: &mut Context<'_>,
) -> Result<(), CommandError> {
    let fault = |error: &dyn std::fmt::Display| CommandError::Fault(error.to_string());
    let bytes = zeroize::Zeroizing::new(body.encode().map_err(|error| fault(&error))?);
    let secrets = &context.account.secrets;
    let parts = seal_inbox(
        &mut *context.rng,
        to,
        secrets,
        context.account.user(),
        &bytes,
    )
    .map_err(|error| fault(&error))?;
    let topic = inbox_capability(&inbox_seed).topic();
    let relays = context.contacts.relays_of(&to.device);
    for record in parts {
        tracing::debug!(record = ?hash_record(&record), "inbox part queued");
        let outgoing = Outgoing {
            topic,
            inbox_seed: Some(inbox_seed),
            place: None,
            relays: relays.clone(),
            class: Class::Inbox,
            conversation: None,
            messages: Vec::new(),
            record,
        };
        context.outbox.push(outgoing, context.stage);
    }
    context
        .outbox
        .pump(context.topics, context.now, context.stage);
    Ok(())
}
