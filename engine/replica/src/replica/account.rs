//! Commands about the account, contacts and conversations as a whole.

use zeroize::Zeroizing;

use sheaf_crypto::{
    Card, ConversationId, DeviceId, DeviceSecrets, History, Recipient, RecoveryPhrase, Role, Suite,
    UserGenesis, UserId, UserLog,
};

use super::{Replica, context};
use crate::account::{Account, Learned, addresses};
use crate::command::{Command, CommandError, RecoveryWords, Reply};
use crate::context::Context;
use crate::conversation::{Conversation, check_room, recipients_of, send_inbox};
use crate::inbox::InboxBody;
use crate::io::Event;
use crate::limits;
use crate::user::Devices;
use crate::vault::VaultKey;

impl Replica {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "commands are sorted in two steps"
    )]
    pub(super) fn account_command(&mut self, command: Command) -> Result<Reply, CommandError> {
        match command {
            Command::CreateAccount {
                name,
                device,
                relay,
            } => self.create_account(name, device, relay),
            Command::JoinAccount { code, device } => self.start_join(&code, device),
            Command::RecoverAccount {
                phrase,
                card,
                device,
            } => self.recover_account(&phrase, &card, device),
            Command::SetVault { setting, phrase } => self.set_vault(setting, phrase.as_ref()),
            Command::PublishVault => self.hurry_vault(),
            Command::CancelRecovery => self.cancel_recovery(),
            Command::ThawByPhrase { phrase, device } => self.thaw_by_phrase(&phrase, &device),
            Command::RotateRecovery { phrase } => self.rotate_recovery(&phrase),
            Command::SetRelays(list) => self.set_relays(list),
            Command::AddContact { card, alias } => self.add_contact(&card, alias),
            Command::StartLink => self.start_link(),
            Command::CancelLink => self.cancel_link(),
            Command::CreateConversation {
                name,
                members,
                segment_messages,
                history,
            } => self.create_conversation(&name, &members, segment_messages, history),
            Command::Close => self.close(),
            other => self.member_command(other),
        }
    }

    /// What changes a conversation's members and keys, and what waits for others there.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest goes to a conversation or is answered later"
    )]
    fn member_command(&mut self, command: Command) -> Result<Reply, CommandError> {
        match command {
            Command::AddMember {
                conversation,
                user,
                role,
            } => self.add_member(&conversation, user, role),
            Command::RemoveMember { conversation, user } => {
                self.with_members(&conversation, |known, context| {
                    known.remove_member(user, context)
                })?;
                Ok(Reply::Done)
            }
            Command::SetRole {
                conversation,
                user,
                role,
            } => {
                self.with_members(&conversation, |known, context| {
                    known.set_role(user, role, context)
                })?;
                Ok(Reply::Done)
            }
            Command::RenameConversation { conversation, name } => {
                check_name("the conversation's name", &name)?;
                self.with_members(&conversation, |known, context| known.rename(name, context))?;
                Ok(Reply::Done)
            }
            Command::ChangeDevice { device, change } => self.change_device(device, &change),
            Command::SetVerified { user, verified } => self.set_verified(user, verified),
            Command::SetBlocked { user, blocked } => self.set_blocked(user, blocked),
            Command::LiftQuarantine(device) => self.lift_quarantine(device),
            Command::SetKeep { conversation, keep } => self.set_keep(conversation, keep),
            Command::Repair(records) => self.repair(&records),
            Command::CutHistory(conversation) => {
                self.with_members(&conversation, Conversation::cut)?;
                self.audit("history cut".to_owned(), Some(conversation));
                Ok(Reply::Done)
            }
            Command::ForgetHistory(conversation) => {
                self.with_members(&conversation, Conversation::cut_and_forget)?;
                self.audit(
                    "history cut, to be forgotten".to_owned(),
                    Some(conversation),
                );
                Ok(Reply::Done)
            }
            Command::ImportBundle { records } => self.import_bundle(&records),
            Command::Resync {
                conversations,
                devices,
                full,
            } => self.resync(&conversations, &devices, full),
            Command::Acknowledge => {
                self.acknowledge();
                Ok(Reply::Done)
            }
            Command::Rotate(conversation) => self
                .with_members(&conversation, Conversation::rotate)
                .map(Reply::Rotated),
            _ => Err(CommandError::Fault(
                "command came to the wrong place".to_owned(),
            )),
        }
    }

    fn create_account(
        &mut self,
        name: String,
        device: String,
        relay: Option<String>,
    ) -> Result<Reply, CommandError> {
        if self.account.is_some() {
            return Err(CommandError::AccountExists);
        }
        check_name("the person's name", &name)?;
        check_name("the device's name", &device)?;
        let fault = |error: &dyn std::fmt::Display| CommandError::Fault(error.to_string());
        let phrase = RecoveryPhrase::generate(&mut *self.rng);
        let secrets = DeviceSecrets::generate(&mut *self.rng, Suite::default());
        let genesis = UserGenesis::create(&mut *self.rng, &phrase, &secrets, &device)
            .map_err(|error| fault(&error))?;
        let devices = Devices::verify(&UserLog {
            genesis,
            operations: Vec::new(),
        })
        .map_err(|error| fault(&error))?;
        let account = Account {
            secrets,
            name,
            device_name: device,
            devices,
            relay,
        };
        self.stage.write(account.write());
        let reply = Reply::AccountCreated {
            user: account.user(),
            device: account.device(),
            phrase: RecoveryWords(Zeroizing::new(phrase.words().to_string())),
        };
        self.account = Some(account);
        self.follow_relays();
        self.vault.add_key(&VaultKey::of(&phrase));
        self.follow_inbox();
        Ok(reply)
    }

    fn set_relays(&mut self, relay: Option<String>) -> Result<Reply, CommandError> {
        check_relays(relay.as_deref())?;
        let account = self.account.as_mut().ok_or(CommandError::NoAccount)?;
        if account.relay != relay {
            account.relay = relay;
            self.stage.write(account.write());
            self.follow_relays();
        }
        Ok(Reply::Done)
    }

    fn add_contact(&mut self, text: &str, alias: Option<String>) -> Result<Reply, CommandError> {
        let account = self.account.as_ref().ok_or(CommandError::NoAccount)?;
        let bad = |error: &dyn std::fmt::Display| CommandError::BadCard(error.to_string());
        let card = Card::parse(text).map_err(|error| bad(&error))?;
        if card.user() == account.user() {
            return Err(CommandError::OwnCard);
        }
        if let Some(alias) = &alias {
            check_name("the contact's name", alias)?;
        }
        let user = self
            .learn_card(&card, alias)
            .map_err(|error| CommandError::BadCard(error.to_string()))?;
        self.tell_own_devices();
        Ok(Reply::ContactAdded(user))
    }

    /// Takes a verified card in.
    pub(super) fn learn_card(
        &mut self,
        card: &Card,
        alias: Option<String>,
    ) -> Result<UserId, crate::user::UserLogError> {
        let devices = Devices::verify(&card.log)?;
        let user = devices.user;
        let relay = card.relay.clone();
        let (write, learned) = self
            .contacts
            .learn(&devices, &card.name, alias, relay, self.now);
        self.stage.write(write);
        match learned {
            Learned::New => self.stage.notify(Event::ContactAdded { user }),
            Learned::Changed => self.devices_changed(&user),
            Learned::Same => {}
        }
        Ok(user)
    }

    /// Takes devices that a contact revoked out of the conversations shared with him.
    pub(super) fn follow_contact(&mut self, user: &UserId) {
        let Some(contact) = self.contacts.get(user) else {
            return;
        };
        let devices = contact.devices.clone();
        let ids: Vec<ConversationId> = self.conversations.keys().copied().collect();
        for id in ids {
            let followed = self.on_conversation(&id, |known, context| {
                known.follow_contact(&devices, context)
            });
            if let Some(Err(error)) = followed {
                tracing::warn!(%error, "conversation does not follow a contact's devices");
            }
        }
    }

    /// Tells one's own other devices what this one knows of the account and of contacts.
    pub(super) fn tell_own_devices(&mut self) {
        let contacts = self.cards_of_contacts();
        let Some(account) = &self.account else { return };
        let body = InboxBody::Own {
            operations: account.devices.log().operations.clone(),
            contacts,
        };
        for recipient in self.peers.newest_of(recipients_of(&account.devices)) {
            let known = account.devices.device(&recipient.device);
            let seed = known.map(|device| device.certificate.inbox_seed);
            let Some(seed) = seed.filter(|_| recipient.device != account.device()) else {
                continue;
            };
            if let Err(error) = send_inbox(&recipient, seed, &body, &mut context!(self, account)) {
                tracing::warn!(%error, "own device not told");
            }
        }
    }

    /// Tells a device what became of it, and nothing else: it may be in a thief's hands.
    pub(super) fn tell_of_itself(&mut self, device: &DeviceId) {
        let Some(account) = &self.account else { return };
        let mut everything = account.devices.everything();
        let found = everything.find(|(known, ..)| *known == device);
        let Some((_, certificate, _)) = found.filter(|_| *device != account.device()) else {
            return;
        };
        let to = self.peers.newest(Recipient {
            device: *device,
            kem: certificate.kem.clone(),
        });
        let seed = certificate.inbox_seed;
        let body = InboxBody::Own {
            operations: account.devices.log().operations.clone(),
            contacts: Vec::new(),
        };
        if let Err(error) = send_inbox(&to, seed, &body, &mut context!(self, account)) {
            tracing::warn!(%error, "device not told of itself");
        }
    }

    pub(super) fn cards_of_contacts(&self) -> Vec<(Card, Option<String>)> {
        self.contacts
            .iter()
            .map(|(_, contact)| (contact.card(), contact.alias.clone()))
            .collect()
    }

    fn create_conversation(
        &mut self,
        name: &str,
        members: &[UserId],
        segment_messages: Option<u32>,
        history: History,
    ) -> Result<Reply, CommandError> {
        check_name("the conversation's name", name)?;
        let size = segment_messages.unwrap_or(limits::SEGMENT_MESSAGES);
        if size == 0 || size > limits::SEGMENT_MESSAGES_MAX {
            return Err(CommandError::BadSegmentSize);
        }
        if self.conversations.len() >= limits::CONVERSATIONS_MAX {
            return Err(CommandError::QueueFull {
                what: "the list of conversations",
            });
        }
        let account = self.account.as_ref().ok_or(CommandError::NoAccount)?;
        let mut more = 0_usize;
        for user in members {
            let contact = self.contacts.get(user);
            let contact = contact.ok_or(CommandError::UnknownContact(*user))?;
            more = more.saturating_add(contact.devices.iter().count());
        }
        check_room(account.devices.iter().count(), more)?;
        let conversation = Conversation::create(name, size, history, &mut context!(self, account))?;
        let id = conversation.id();
        self.conversations.insert(id, conversation);
        self.hold_again();
        self.stage.notify(Event::ConversationAdded {
            conversation: id,
            by: None,
        });
        for user in members {
            self.add_member(&id, *user, Role::Writer)?;
        }
        Ok(Reply::ConversationCreated(id))
    }

    fn add_member(
        &mut self,
        conversation: &ConversationId,
        user: UserId,
        role: Role,
    ) -> Result<Reply, CommandError> {
        self.with_members(conversation, |known, context| {
            known.add_member(user, role, context)
        })?;
        Ok(Reply::Done)
    }

    /// Changes who is in a conversation, and goes on with what that made possible.
    fn with_members<T>(
        &mut self,
        conversation: &ConversationId,
        work: impl FnOnce(&mut Conversation, &mut Context<'_>) -> Result<T, CommandError>,
    ) -> Result<T, CommandError> {
        if self.account.is_none() {
            return Err(CommandError::NoAccount);
        }
        let done = self.on_conversation(conversation, |known, context| {
            let done = work(known, context);
            known.run(context);
            done
        });
        done.ok_or(CommandError::UnknownConversation(*conversation))?
    }
}

/// Whether a name may be shown to people: 1 to 64 bytes, not blank, and without control characters. All
/// commands that take a name check it; a program that has something to prepare asks first.
///
/// # Errors
/// [`CommandError::BadName`], with `what` in its words.
pub fn check_name(what: &'static str, name: &str) -> Result<(), CommandError> {
    let fits = !name.trim().is_empty() && name.len() <= limits::NAME_BYTES_MAX;
    if fits && !name.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(CommandError::BadName { what })
    }
}

fn check_relays(list: Option<&str>) -> Result<(), CommandError> {
    let list = list.unwrap_or_default();
    let right = addresses(list).len() == list.split_whitespace().count()
        && list.len() <= sheaf_crypto::limits::RELAY_BYTES_MAX;
    right.then_some(()).ok_or(CommandError::BadRelays)
}
