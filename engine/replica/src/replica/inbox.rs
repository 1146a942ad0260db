//! Messages that come to this device's inbox.

use std::collections::BTreeSet;
use std::sync::Arc;

use sheaf_crypto::{DeviceId, JoinedInbox, UserId, inbox_capability};
use sheaf_protocol::ClientFrame;

use super::{Replica, context, devices};
use crate::account::Account;
use crate::command::{CommandError, Reply};
use crate::conversation::{Beginning, Conversation, Invite};
use crate::inbox::InboxBody;
use crate::io::Event;
use crate::misbehaviour::{Act, Suspect};
use crate::topic::{Batch, Capability, Owner};
use crate::user::Devices;

/// Reasons for refused records of a file that are told.
const REFUSALS_TOLD: usize = 8;

const UNPLACED: &str = "sender is not a device of the conversation";

/// Why a message is not taken.
enum Refused {
    /// Its sender is not known in the conversation that it is about. A question may overtake the
    /// invite, or the operation that adds who asks: nobody did wrong, and it is asked again.
    Unplaced,
    Because(String),
}

impl From<String> for Refused {
    fn from(reason: String) -> Self {
        Self::Because(reason)
    }
}

impl From<&str> for Refused {
    fn from(reason: &str) -> Self {
        Self::Because(reason.to_owned())
    }
}

impl Replica {
    /// Follows this device's inbox.
    pub(super) fn follow_inbox(&mut self) {
        let Some(account) = &self.account else { return };
        let key = inbox_capability(account.secrets.inbox_seed());
        let topic = key.topic();
        let capability = Capability::Key(Arc::new(key));
        self.topics.follow(
            topic,
            Owner::Inbox,
            capability,
            BTreeSet::new(),
            &mut self.stage,
        );
    }

    pub(super) fn take_inbox(&mut self, batch: &Batch) {
        for record in &batch.records {
            let Some(account) = &self.account else { return };
            match self.inbox.take(record, account) {
                Ok(None) => {}
                Ok(Some(joined)) => {
                    if let Err(Refused::Because(reason)) = self.take_message(joined) {
                        let act = Act::RefusedInbox(reason);
                        self.stage
                            .report(Suspect::Topic(batch.origin.topic), act, None);
                    }
                }
                Err(reason) => {
                    let act = Act::RefusedInbox(reason);
                    self.stage
                        .report(Suspect::Topic(batch.origin.topic), act, None);
                }
            }
        }
        // What is not whole yet is read again after a restart.
        if self.inbox.is_whole() {
            let (origin, upto) = (&batch.origin, batch.cursor);
            if let Some(write) = self.topics.cursor_write(origin, upto) {
                self.stage.write(write);
            }
            let topic = origin.topic;
            self.stage
                .transmit(origin.relay, ClientFrame::Trim { topic, upto });
        }
    }

    /// Takes in records that came in a file, by the same checks.
    pub(super) fn import_bundle(&mut self, records: &[Vec<u8>]) -> Result<Reply, CommandError> {
        if self.account.is_none() {
            return Err(CommandError::NoAccount);
        }
        self.file = true;
        let (mut taken, mut refused) = (0_u64, Vec::new());
        for record in records {
            let Some(account) = &self.account else { break };
            let outcome = match self.inbox.take(record, account) {
                Ok(Some(joined)) => match self.take_message(joined) {
                    Ok(()) => Ok(1),
                    Err(Refused::Unplaced) => Err(UNPLACED.to_owned()),
                    Err(Refused::Because(reason)) => Err(reason),
                },
                Ok(None) => Ok(0),
                Err(reason) => Err(reason),
            };
            match outcome {
                Ok(count) => taken = taken.saturating_add(count),
                Err(reason) if refused.len() < REFUSALS_TOLD => refused.push(reason),
                Err(_) => {}
            }
        }
        Ok(Reply::Imported { taken, refused })
    }

    fn take_message(&mut self, joined: JoinedInbox) -> Result<(), Refused> {
        let body =
            InboxBody::decode(joined.unverified_body()).map_err(|error| error.to_string())?;
        let (user, device) = (joined.sender_user(), joined.sender_device());
        if let Some(conversation) = body.conversation() {
            let conversation = *conversation;
            let signing = self
                .conversations
                .get(&conversation)
                .and_then(|known| known.signing_key(&device))
                .ok_or(Refused::Unplaced)?;
            joined.verify(&signing).map_err(|error| error.to_string())?;
            self.on_conversation(&conversation, |known, context| match body {
                InboxBody::Ask(ask) => known.asked(device, ask, context),
                InboxBody::Answer(answer) => known.answered(device, answer, context),
                other => drop(other),
            });
            return Ok(());
        }
        let senders = match body.card() {
            Some(card) => Devices::verify(&card.log).map_err(|error| error.to_string())?,
            None => {
                let account = self.account.as_ref().ok_or("there is no account")?;
                account.devices.clone()
            }
        };
        let known = senders.device(&device).filter(|_| senders.user == user);
        let signing = known
            .ok_or("sender is not a device of its user")?
            .certificate
            .signing;
        joined.verify(&signing).map_err(|error| error.to_string())?;
        let (body, beginning) = body.split();
        match body {
            InboxBody::Invite { card, invite } => {
                if self
                    .account
                    .as_ref()
                    .is_none_or(|account| account.user() != user)
                {
                    self.learn_card(&card, None)
                        .map_err(|error| error.to_string())?;
                } else {
                    self.grow_account(&senders);
                }
                Ok(self.take_invite(&invite, beginning.as_ref(), (user, device))?)
            }
            InboxBody::Own {
                operations,
                contacts,
            } => {
                self.take_own(&operations);
                self.heard_of(&device);
                for (card, alias) in contacts {
                    self.learn_card(&card, alias)
                        .map_err(|error| error.to_string())?;
                }
                Ok(())
            }
            InboxBody::Ask(_) | InboxBody::Answer(_) | InboxBody::InviteAt { .. } => Ok(()),
            InboxBody::Vault {
                keys,
                setting,
                decided,
            } => {
                self.take_vault_news(&keys, setting, decided);
                Ok(())
            }
        }
    }

    fn take_invite(
        &mut self,
        invite: &Invite,
        beginning: Option<&Beginning>,
        by: (UserId, DeviceId),
    ) -> Result<(), String> {
        if self
            .contacts
            .get(&by.0)
            .is_some_and(|contact| contact.blocked)
        {
            return Err("the person who invites is blocked".to_owned());
        }
        let founding = invite.operations.first().ok_or("the invite is empty")?;
        let id = founding.founded();
        if self.conversations.contains_key(&id) {
            self.on_conversation(&id, |known, context| known.extend(invite, by.0, context));
            return Ok(());
        }
        if self.conversations.len() >= crate::limits::CONVERSATIONS_MAX {
            return Err("there is no room for another conversation".to_owned());
        }
        let account = self.account.as_ref().ok_or("there is no account")?;
        // An invite that does not verify changes nothing.
        let mark = self.stage.mark();
        let joined = Conversation::join(invite, beginning, by, &mut context!(self, account));
        let conversation = match joined {
            Ok(conversation) => conversation,
            Err(error) => {
                self.stage.take_back(mark);
                self.topics.forget_conversation(&id);
                return Err(error.to_string());
            }
        };
        self.conversations.insert(id, conversation);
        self.hold_again();
        let own = self.account.as_ref().map(Account::user);
        for card in invite.cards.iter().filter(|card| Some(card.user()) != own) {
            self.learn_card(card, None)
                .map_err(|error| error.to_string())?;
        }
        let attached = self.on_conversation(&id, |known, context| known.follow_account(context));
        if let Some(Err(error)) = attached {
            tracing::warn!(%error, "conversation does not follow the account");
        }
        let default = self.policy.keep;
        self.on_conversation(&id, |known, context| known.tidy(default, context));
        Ok(())
    }

    fn take_own(&mut self, operations: &[sheaf_crypto::SignedUserOperation]) {
        let Some(account) = self.account.as_mut() else {
            return;
        };
        let log = sheaf_crypto::UserLog {
            genesis: account.devices.log().genesis.clone(),
            operations: operations.to_vec(),
        };
        if let Ok(devices) = Devices::verify(&log) {
            self.grow_account(&devices);
        }
    }

    pub(super) fn grow_account(&mut self, senders: &Devices) {
        let Some(account) = self.account.as_mut() else {
            return;
        };
        let before = devices::standings(&account.devices);
        if account.devices.merge(senders) {
            let after = devices::standings(&account.devices);
            self.note_devices(&before, &after);
            self.account_grew();
        }
    }

    /// The user log has grown: kept, told, and every conversation gets the new devices.
    pub(super) fn account_grew(&mut self) {
        let Some(account) = &self.account else { return };
        self.stage.write(account.write());
        for (device, known) in account.devices.iter() {
            let name = known.label.clone();
            self.stage.notify(Event::DeviceAdded {
                device: *device,
                name,
            });
        }
        let ids: Vec<_> = self.conversations.keys().copied().collect();
        for id in ids {
            let attached =
                self.on_conversation(&id, |known, context| known.follow_account(context));
            if let Some(Err(error)) = attached {
                tracing::warn!(%error, "conversation does not follow the account");
            }
        }
    }
}
