//! What the recovery phrase can do.

use zeroize::Zeroizing;

use sheaf_crypto::{Card, ConversationId, DeviceId, DeviceSecrets, RecoveryPhrase, Suite, UserId};

use super::Replica;
use super::account::check_name;
use crate::account::Account;
use crate::command::{CommandError, RecoveryWords, Reply};
use crate::user::Devices;
use crate::vault::VaultKey;

impl Replica {
    /// Makes this device the only one of an account: the phrase adds it and ends all others.
    pub(super) fn recover_account(
        &mut self,
        words: &RecoveryWords,
        card: &str,
        device: String,
    ) -> Result<Reply, CommandError> {
        if self.account.is_some() {
            return Err(CommandError::AccountExists);
        }
        check_name("the device's name", &device)?;
        let phrase = parse(words)?;
        let bad = |error: &dyn std::fmt::Display| CommandError::BadCard(error.to_string());
        let card = Card::parse(card).map_err(|error| bad(&error))?;
        let devices = Devices::verify(&card.log).map_err(|error| bad(&error))?;
        check_phrase(&devices, &phrase)?;
        let account = Account {
            secrets: DeviceSecrets::generate(&mut *self.rng, Suite::default()),
            name: card.name,
            device_name: device,
            devices,
            relay: card.relay,
        };
        let (user, device) = self.become_only_device(&phrase, account)?;
        self.vault.add_key(&VaultKey::of(&phrase));
        self.stage.write(self.vault.write());
        self.audit("account recovered by its phrase".to_owned(), None);
        Ok(Reply::Recovered { user, device })
    }

    /// Signs a device into its account by the phrase, and every other one out of it.
    pub(super) fn become_only_device(
        &mut self,
        phrase: &RecoveryPhrase,
        mut account: Account,
    ) -> Result<(UserId, DeviceId), CommandError> {
        let fault = |error: &dyn std::fmt::Display| CommandError::Fault(error.to_string());
        let devices = &mut account.devices;
        let lost: Vec<DeviceId> = devices.iter().map(|(lost, _)| *lost).collect();
        for lost in lost {
            devices
                .revoke_with_phrase(phrase, &lost)
                .map_err(|error| fault(&error))?;
        }
        let certificate = account
            .secrets
            .certificate(&account.device_name)
            .map_err(|error| fault(&error))?;
        let possession = account
            .secrets
            .prove_possession(&devices.user, &certificate)
            .map_err(|error| fault(&error))?;
        devices
            .recover(phrase, &certificate, &possession)
            .map_err(|error| fault(&error))?;
        self.stage.write(account.write());
        let (user, device) = (account.user(), account.device());
        self.account = Some(account);
        self.follow_inbox();
        Ok((user, device))
    }

    /// Takes every freeze of a device back, those by proofs of a fork included.
    pub(super) fn thaw_by_phrase(
        &mut self,
        words: &RecoveryWords,
        device: &DeviceId,
    ) -> Result<Reply, CommandError> {
        let account = self.account.as_ref().ok_or(CommandError::NoAccount)?;
        let phrase = parse(words)?;
        check_phrase(&account.devices, &phrase)?;
        let thawed = self.thaw_forked_by(&phrase, device)?;
        let account = self.account.as_mut().ok_or(CommandError::NoAccount)?;
        if thawed && !account.devices.is_frozen(device) {
            return Ok(Reply::Done);
        }
        account
            .devices
            .thaw_with_phrase(&phrase, device)
            .map_err(|error| CommandError::Refused(error.to_string()))?;
        self.account_grew();
        self.tell_own_devices();
        self.audit(format!("device {device} thawed by the phrase"), None);
        Ok(Reply::Done)
    }

    /// Thaws a device in every conversation in which proofs froze it; `false` if there is none.
    fn thaw_forked_by(
        &mut self,
        phrase: &RecoveryPhrase,
        device: &DeviceId,
    ) -> Result<bool, CommandError> {
        let ids: Vec<ConversationId> = self.conversations.keys().copied().collect();
        let mut thawed = false;
        for id in ids {
            let done =
                self.on_conversation(&id, |known, c| known.thaw_forked_by(phrase, device, c));
            if done.transpose()? == Some(true) {
                let what = format!("device {device} thawed after a fork, by the phrase");
                self.audit(what, Some(id));
                thawed = true;
            }
        }
        Ok(thawed)
    }

    /// Replaces the phrase. Whoever still has the old one can contest that, and it shows.
    pub(super) fn rotate_recovery(&mut self, words: &RecoveryWords) -> Result<Reply, CommandError> {
        let account = self.account.as_mut().ok_or(CommandError::NoAccount)?;
        let phrase = parse(words)?;
        check_phrase(&account.devices, &phrase)?;
        let new = RecoveryPhrase::generate(&mut *self.rng);
        account
            .devices
            .rotate_recovery(&phrase, &new)
            .map_err(|error| CommandError::Refused(error.to_string()))?;
        self.account_grew();
        self.tell_own_devices();
        self.rekey_vault(&phrase, &new);
        self.audit("recovery phrase replaced".to_owned(), None);
        let words = RecoveryWords(Zeroizing::new(new.words().to_string()));
        Ok(Reply::RecoveryRotated(words))
    }
}

pub(super) fn parse(words: &RecoveryWords) -> Result<RecoveryPhrase, CommandError> {
    RecoveryPhrase::parse(&words.0).map_err(|error| CommandError::BadPhrase(error.to_string()))
}

pub(super) fn check_phrase(devices: &Devices, phrase: &RecoveryPhrase) -> Result<(), CommandError> {
    if devices.recovery().signing == phrase.signing_public() {
        return Ok(());
    }
    let words = "it is not the phrase of this account, or was replaced";
    Err(CommandError::BadPhrase(words.to_owned()))
}
