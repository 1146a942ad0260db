//! `sheaf init`, `sheaf card` and `sheaf account`.

use std::path::Path;

use serde::Serialize;

use crate::exit::Failure;
use crate::request::Settings;
use crate::secret::{Purpose, Secret, SecretSource};
use crate::session::{Reach, builder, change_reach, let_go, with_engine, with_new_engine};

#[derive(Serialize)]
struct Created<'a> {
    user: String,
    device: String,
    card: &'a str,
    fingerprint: &'a str,
    recovery_phrase: &'a str,
}

#[derive(Serialize)]
struct Card<'a> {
    card: &'a str,
    fingerprint: &'a str,
}

/// Creates an account with this device as its first.
pub(super) async fn init(settings: &Settings, user: String, device: String) -> Result<(), Failure> {
    let created = with_new_engine(settings, Reach::Offline, |engine| async move {
        let relay = settings.home.relay(settings.relay.as_ref())?;
        Ok(engine
            .create_account(&user, &device, relay.as_ref())
            .await?)
    })
    .await?;
    let shown = Created {
        user: created.user.to_string(),
        device: created.device.to_string(),
        card: &created.card,
        fingerprint: &created.fingerprint,
        recovery_phrase: created.phrase.0.as_str(),
    };
    settings.printer.show(&shown, |shown| {
        format!(
            "user         {}\ndevice       {}\nfingerprint  {}\n\n\
             Write these words down on paper. They are shown once and give total power over the \
             account:\n\n  {}\n\n\
             Your card, for people who want to invite you (again with `sheaf card`):\n\n{}",
            shown.user, shown.device, shown.fingerprint, shown.recovery_phrase, shown.card
        )
    })
}

/// Shows the card.
pub(super) async fn card(settings: &Settings) -> Result<(), Failure> {
    let overview = with_engine(settings, Reach::Offline, |engine| async move {
        Ok(engine.overview().await?)
    })
    .await?;
    let (Some(card), Some(fingerprint)) = (&overview.card, &overview.fingerprint) else {
        return Err(super::device::no_account());
    };
    settings
        .printer
        .show(&Card { card, fingerprint }, |shown| shown.card.to_owned())
}

#[derive(Serialize)]
struct NewPhrase<'a> {
    recovery_phrase: &'a str,
}

/// Replaces the recovery phrase and prints the new one, this once.
pub(super) async fn rotate_phrase(settings: &Settings, file: &Path) -> Result<(), Failure> {
    settings.home.expect_store()?;
    let phrase = super::recover::phrase_of(Some(file))?;
    with_engine(settings, change_reach(settings)?, |engine| async move {
        let new = engine.rotate_recovery(phrase.trim()).await?;
        let shown = NewPhrase {
            recovery_phrase: &new.0,
        };
        settings.printer.show(&shown, |shown| {
            format!(
                "Your new recovery phrase, shown this once. Write it on paper and destroy the old one, \
                 which is good for nothing on devices that know of this:\n\n{}",
                shown.recovery_phrase
            )
        })?;
        let_go(settings, &engine).await
    })
    .await
}

#[derive(Serialize)]
struct Changed {
    opens_by: &'static str,
}

/// Puts another passphrase or key file in the place of the present one.
pub(super) async fn change_secret(settings: &Settings, new: &SecretSource) -> Result<(), Failure> {
    settings.home.expect_store()?;
    let present = builder(settings, Purpose::Open)?;
    let (changing, opens_by) = match new.read(Purpose::Create)? {
        Secret::Passphrase(passphrase) => (present.new_passphrase(&passphrase), "passphrase"),
        Secret::Key(key) => (present.new_key(*key), "key file"),
    };
    changing.change_secret().await?;
    settings.printer.show(&Changed { opens_by }, |changed| {
        format!(
            "the store opens by the new {} from now on; backups made before still open by the old one",
            changed.opens_by
        )
    })
}
