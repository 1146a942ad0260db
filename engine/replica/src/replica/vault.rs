//! The account vault: kept by every device, read by a new one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zeroize::Zeroizing;

use sheaf_crypto::{
    ConversationId, DeviceSecrets, RecoveryPhrase, Suite, VaultNumber, limits as sealed_limits,
    seal_account_vault,
};
use sheaf_protocol::{Class, TopicId, hash_record};

use super::account::check_name;
use super::{Replica, context};
use crate::account::Account;
use crate::command::{CommandError, CommandId, RecoveryWords, Reply};
use crate::conversation::{Conversation, recipients_of, send_inbox};
use crate::inbox::InboxBody;
use crate::limits;
use crate::misbehaviour::{Act, Suspect};
use crate::outbox::Outgoing;
use crate::time::Timestamp;
use crate::topic::{Batch, Capability, Owner};
use crate::vault::{
    Chosen, VaultBody, VaultConversation, VaultKey, VaultReader, VaultRecovery, VaultSetting,
    VaultStatus, rotations,
};

/// A device that is becoming one of an account, by its phrase alone.
pub(crate) struct Recovering {
    command: CommandId,
    phrase: RecoveryPhrase,
    name: String,
    pub(crate) secrets: DeviceSecrets,
    topic: TopicId,
    reader: VaultReader,
}

impl Replica {
    /// Reads the vault topic of a phrase; the command is answered when it was read to its end.
    pub(super) fn recover_from_vault(
        &mut self,
        command: CommandId,
        words: &RecoveryWords,
        name: String,
    ) {
        if let Err(error) = self.start_recovery(command, words, name) {
            self.stage.complete(command, Err(error));
        }
    }

    fn start_recovery(
        &mut self,
        command: CommandId,
        words: &RecoveryWords,
        name: String,
    ) -> Result<(), CommandError> {
        if self.account.is_some() {
            return Err(CommandError::AccountExists);
        }
        check_name("the device's name", &name)?;
        let phrase = super::recovery::parse(words)?;
        self.cancel_recovery()?;
        let key = phrase.vault_capability();
        let topic = key.topic();
        self.recovering = Some(Box::new(Recovering {
            command,
            phrase,
            name,
            secrets: DeviceSecrets::generate(&mut *self.rng, Suite::default()),
            topic,
            reader: VaultReader::default(),
        }));
        let capability = Capability::Key(Arc::new(key));
        self.topics.follow(
            topic,
            Owner::Vault,
            capability,
            BTreeSet::new(),
            &mut self.stage,
        );
        Ok(())
    }

    /// Gives a recovery up that waits for the relay.
    pub(super) fn cancel_recovery(&mut self) -> Result<Reply, CommandError> {
        if let Some(given_up) = self.recovering.take() {
            self.topics.forget(&given_up.topic, &mut self.stage);
            let error = CommandError::RelayUnreachable;
            self.stage.complete(given_up.command, Err(error));
        }
        Ok(Reply::Done)
    }

    pub(super) fn take_vault(&mut self, batch: &Batch) {
        let Some(recovering) = &mut self.recovering else {
            return;
        };
        for record in &batch.records {
            if let Err(reason) = recovering.reader.take(&recovering.phrase, record) {
                let act = Act::RefusedVault(reason);
                self.stage
                    .report(Suspect::Topic(batch.origin.topic), act, None);
            }
        }
    }

    /// The vault topic was read to its end.
    pub(super) fn vault_caught_up(&mut self, topic: &TopicId) {
        let Some(recovering) = self.recovering.take_if(|known| known.topic == *topic) else {
            return;
        };
        self.topics.forget(topic, &mut self.stage);
        let Recovering {
            command,
            phrase,
            name,
            secrets,
            reader,
            ..
        } = *recovering;
        let chosen = reader.choose(&phrase);
        let recovered = chosen.and_then(|chosen| self.go_on(&phrase, (secrets, name), chosen));
        self.stage.complete(command, recovered);
    }

    /// Becomes the account's only device, and goes on with what the vaults hold.
    fn go_on(
        &mut self,
        phrase: &RecoveryPhrase,
        (secrets, device): (DeviceSecrets, String),
        chosen: Chosen,
    ) -> Result<Reply, CommandError> {
        let newest = chosen.bodies.last();
        let (name, relay) = newest
            .map(|body| (body.name.clone(), body.relay.clone()))
            .unwrap_or_default();
        let left_out = newest.map_or(0, |body| body.left_out);
        let account = Account {
            secrets,
            name,
            device_name: device,
            devices: chosen.devices,
            relay,
        };
        let (user, device) = self.become_only_device(phrase, account)?;
        self.vault.add_key(&VaultKey::of(phrase));
        for body in &chosen.bodies {
            self.take_contacts(body);
        }
        let mut kept: BTreeMap<ConversationId, Vec<VaultConversation>> = BTreeMap::new();
        for conversation in chosen
            .bodies
            .into_iter()
            .flat_map(|body| body.conversations)
        {
            if let Some(founding) = conversation.operations.first() {
                kept.entry(founding.founded())
                    .or_default()
                    .push(conversation);
            }
        }
        for (id, kept) in kept {
            self.take_kept(id, &kept);
        }
        self.vault.force(self.now);
        self.vault.hurry();
        self.stage.write(self.vault.write());
        self.begin_progress(None);
        let what = "account recovered by its phrase, from the vault";
        self.audit(what.to_owned(), None);
        Ok(Reply::RecoveredFromVault(VaultRecovery {
            user,
            device,
            conversations: u64::try_from(self.conversations.len()).unwrap_or(u64::MAX),
            contacts: u64::try_from(self.contacts.iter().count()).unwrap_or(u64::MAX),
            written: Timestamp(chosen.written_ms),
            refused: chosen.refused,
            left_out,
        }))
    }

    fn take_contacts(&mut self, body: &VaultBody) {
        let own = self.account.as_ref().map(Account::user);
        for contact in body.contacts.iter().filter(|kept| Some(kept.user) != own) {
            match self.contacts.take_over(contact) {
                Ok(write) => self.stage.write(write),
                Err(error) => tracing::warn!(%error, "contact of a vault left out"),
            }
        }
    }

    fn take_kept(&mut self, id: ConversationId, kept: &[VaultConversation]) {
        let Some(account) = &self.account else { return };
        if self.conversations.len() >= limits::CONVERSATIONS_MAX {
            return;
        }
        let Some((newest, older)) = kept.split_last() else {
            return;
        };
        let mark = self.stage.mark();
        let context = &mut context!(self, account);
        match Conversation::from_vault(newest, context) {
            Ok(mut conversation) => {
                for kept in older {
                    conversation.extend_from_vault(kept, context);
                }
                self.conversations.insert(id, conversation);
                self.vault.await_return(id);
            }
            Err(error) => {
                tracing::warn!(%error, "conversation of a vault left out");
                self.stage.take_back(mark);
                self.topics.forget_conversation(&id);
            }
        }
    }

    /// Attaches this device to conversations that came out of a vault, now that they were read.
    pub(super) fn come_back(&mut self) {
        let returning = self.vault.returning();
        if returning.is_empty() {
            return;
        }
        for id in returning {
            match self.on_conversation(&id, Conversation::come_back) {
                Some(Ok(())) | None => self.vault.returned(&id),
                Some(Err(error)) => {
                    tracing::warn!(%error, "this device is not back in a conversation yet");
                }
            }
        }
        self.stage.write(self.vault.write());
    }

    /// Notes what changed, and writes a vault if one is due.
    pub(super) fn tend_vault(&mut self) {
        if self.account.is_none() {
            return;
        }
        if self.stage.touches_vault() && self.vault.note_change(self.now) {
            self.stage.write(self.vault.write());
        }
        let Some(due) = self.vault.due() else { return };
        if !self.topics.is_connected() {
            return;
        }
        if due <= self.now {
            if let Err(error) = self.publish_vault() {
                tracing::warn!(%error, "vault not written");
                self.vault.rest();
            }
        } else if self.vault_alarm.is_none_or(|alarm| alarm <= self.now)
            && due.since_ms(self.now) <= limits::VAULT_DELAY_MS_MAX
        {
            self.vault_alarm = Some(due);
            self.stage.wait(due);
        }
    }

    /// Seals what there is to keep and puts it on its way to the relay, in the place of a vault of
    /// this device that has not arrived yet.
    fn publish_vault(&mut self) -> Result<(), CommandError> {
        let fault = |error: &dyn std::fmt::Display| CommandError::Fault(error.to_string());
        let Some(account) = &self.account else {
            return Ok(());
        };
        let recovery = account.devices.recovery().clone();
        let writes = account
            .devices
            .device(&account.device())
            .is_some_and(|own| !own.frozen);
        let key = self.vault.key(&recovery.signing).cloned();
        let Some(key) = key.filter(|_| writes) else {
            // Without the key, or frozen: whoever can does it.
            self.vault.rest();
            self.stage.write(self.vault.write());
            return Ok(());
        };
        let erased = self.vault.setting().0 == VaultSetting::Off;
        let body = self.vault_body(account, erased);
        let bytes = body.encode().map_err(|error| fault(&error))?;
        let digest = hash_record(&bytes).0;
        if self.vault.is_current(&key, &digest, self.now) {
            self.vault.rest();
            self.stage.write(self.vault.write());
            return Ok(());
        }
        let number = VaultNumber {
            generation: rotations(&account.devices),
            counter: self.vault.next_counter(self.now),
        };
        let writer = (account.user(), &account.secrets);
        let parts = seal_account_vault(&mut *self.rng, &recovery, writer, number, &bytes)
            .map_err(|error| fault(&error))?;
        self.send_vault(&key, parts);
        let counted = (number.counter, digest, body.left_out);
        self.vault.published(key.recovery, counted, self.now);
        self.stage.write(self.vault.write());
        Ok(())
    }

    fn send_vault(&mut self, key: &VaultKey, parts: Vec<Vec<u8>>) {
        let capability = key.capability();
        let topic = capability.topic();
        self.topics
            .grant(topic, Capability::Key(Arc::new(capability)));
        self.outbox.withdraw(&topic, &mut self.stage);
        for record in parts {
            let outgoing = Outgoing {
                topic,
                inbox_seed: None,
                place: None,
                relays: Vec::new(),
                class: Class::Log,
                conversation: None,
                messages: Vec::new(),
                record,
            };
            self.outbox.push(outgoing, &mut self.stage);
        }
        self.outbox
            .pump(&mut self.topics, self.now, &mut self.stage);
    }

    fn vault_body(&self, account: &Account, erased: bool) -> VaultBody {
        let mut body = VaultBody {
            erased,
            log: account.devices.encode(),
            name: account.name.clone(),
            relay: account.relay.clone(),
            contacts: Vec::new(),
            conversations: Vec::new(),
            left_out: 0,
        };
        if erased {
            return body;
        }
        body.contacts = self.contacts.iter().map(|(_, c)| c.for_vault()).collect();
        let used = body.encode().map_or(0, |bytes| bytes.len());
        // Room for the two counts that grow with the lists.
        let mut room = sealed_limits::VAULT_BODY_BYTES_MAX.saturating_sub(used + 16);
        let mut known: Vec<&Conversation> = self.conversations.values().collect();
        known.sort_by_key(|known| (std::cmp::Reverse(known.last_used()), known.id()));
        let mut kept = BTreeMap::new();
        for conversation in known {
            let entry = conversation.for_vault();
            let bytes = entry.encoded_bytes();
            if bytes <= room {
                room = room.saturating_sub(bytes);
                kept.insert(conversation.id(), entry);
            } else {
                body.left_out = body.left_out.saturating_add(1);
            }
        }
        body.conversations = kept.into_values().collect();
        body
    }

    /// Turns the vault on or off. The phrase is asked for where no device has the key yet.
    pub(super) fn set_vault(
        &mut self,
        setting: VaultSetting,
        words: Option<&RecoveryWords>,
    ) -> Result<Reply, CommandError> {
        let account = self.account.as_ref().ok_or(CommandError::NoAccount)?;
        if let Some(words) = words {
            let phrase = super::recovery::parse(words)?;
            super::recovery::check_phrase(&account.devices, &phrase)?;
            self.vault.add_key(&VaultKey::of(&phrase));
        }
        let has_key = self
            .vault
            .key(&account.devices.recovery().signing)
            .is_some();
        if setting == VaultSetting::On && !has_key {
            let words = "this device does not have the vault's key; give the recovery phrase";
            return Err(CommandError::NoVault(words.to_owned()));
        }
        let (present, decided) = self.vault.setting();
        let wanted = self.now.max(decided.after_ms(1));
        self.vault.decide(setting, wanted);
        if present != setting || words.is_some() || setting == VaultSetting::On {
            self.vault.force(self.now);
            self.vault.hurry();
        }
        self.stage.write(self.vault.write());
        self.tell_vault();
        let word = match setting {
            VaultSetting::On => "on",
            VaultSetting::Off => "off",
        };
        self.audit(format!("account vault turned {word}"), None);
        Ok(Reply::Done)
    }

    /// Writes a vault now if anything changed since the last one.
    pub(super) fn hurry_vault(&mut self) -> Result<Reply, CommandError> {
        self.account.as_ref().ok_or(CommandError::NoAccount)?;
        self.vault.hurry();
        Ok(Reply::Done)
    }

    /// The phrase was replaced: the old topic gets an empty vault, the new one a whole one.
    pub(super) fn rekey_vault(&mut self, old: &RecoveryPhrase, new: &RecoveryPhrase) {
        let old_keys = sheaf_crypto::RecoveryKeys::of(old);
        if let (Some(account), Ok(recovery)) = (&self.account, old_keys)
            && self.vault.has_published()
        {
            let number = VaultNumber {
                generation: rotations(&account.devices),
                counter: self.vault.next_counter(self.now),
            };
            let writer = (account.user(), &account.secrets);
            let empty = self.vault_body(account, true);
            let parts = empty.encode().ok().and_then(|bytes| {
                seal_account_vault(&mut *self.rng, &recovery, writer, number, &bytes).ok()
            });
            self.send_vault(&VaultKey::of(old), parts.unwrap_or_default());
        }
        self.vault.add_key(&VaultKey::of(old));
        self.vault.add_key(&VaultKey::of(new));
        self.vault.note_change(self.now);
        self.vault.hurry();
        self.stage.write(self.vault.write());
        self.tell_vault();
    }

    /// Tells one's own other devices the vault's keys, and whether it is kept.
    pub(super) fn tell_vault(&mut self) {
        let Some(account) = &self.account else { return };
        let (setting, decided) = self.vault.setting();
        let body = InboxBody::Vault {
            keys: self.vault.keys().to_vec(),
            setting,
            decided,
        };
        for recipient in self.peers.newest_of(recipients_of(&account.devices)) {
            let known = account.devices.device(&recipient.device);
            let seed = known.map(|device| device.certificate.inbox_seed);
            let Some(seed) = seed.filter(|_| recipient.device != account.device()) else {
                continue;
            };
            if let Err(error) = send_inbox(&recipient, seed, &body, &mut context!(self, account)) {
                tracing::warn!(%error, "own device not told of the vault");
            }
        }
    }

    /// Another own device's word on the vault.
    pub(super) fn take_vault_news(
        &mut self,
        keys: &[VaultKey],
        setting: VaultSetting,
        decided: Timestamp,
    ) {
        let mut news = false;
        for key in keys.iter().take(limits::VAULT_KEYS_MAX) {
            news |= self.vault.add_key(key);
        }
        news |= self.vault.decide(setting, decided.min(self.now));
        if news {
            // Whoever decides writes the empty vault; this device's own stands in the topic too.
            self.vault.force(self.now);
            self.stage.write(self.vault.write());
        }
    }

    /// The topics of vaults that were being sent when the store was closed.
    pub(super) fn grant_vault(&mut self) {
        for key in self.vault.keys() {
            let capability = key.capability();
            let topic = capability.topic();
            self.topics
                .grant(topic, Capability::Key(Arc::new(capability)));
        }
    }

    /// Whether a vault is kept as long as nobody has decided it; one is kept unless this says
    /// otherwise.
    pub fn suppose_vault(&mut self, setting: VaultSetting) {
        self.vault.suppose(setting);
    }

    /// Where the vault stands; nothing without an account.
    #[must_use]
    pub fn vault_status(&self) -> Option<VaultStatus> {
        let account = self.account.as_ref()?;
        Some(self.vault.status(&account.devices.recovery().signing))
    }
}

impl Recovering {
    pub(crate) fn seed(&self, relay: &sheaf_protocol::RelayId) -> Zeroizing<[u8; 32]> {
        self.secrets.relay_identity_seed(relay)
    }
}
