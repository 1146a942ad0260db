//! `sheaf init`, `sheaf card` and `sheaf account`.

use std::path::Path;

use serde::Serialize;

use crate::arguments::InitArguments;
use crate::exit::Failure;
use crate::keyring;
use crate::request::Settings;
use crate::secret::{Purpose, Secret, SecretSource};
use crate::session::{
    Reach, builder, change_reach, check_names, let_go, no_account, with_engine, with_new_engine,
};

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

/// Creates an account with this device as its first; the store's key goes into the platform's keyring
/// if that was asked for.
pub(super) async fn init(settings: &Settings, init: InitArguments) -> Result<(), Failure> {
    let InitArguments {
        user,
        device,
        keyring,
    } = init;
    check_names(&[("the person's name", &user), ("the device's name", &device)])?;
    match keyring {
        true => init_with_keyring(settings, user, device).await,
        false => create(settings, user, device).await,
    }
}

async fn create(settings: &Settings, user: String, device: String) -> Result<(), Failure> {
    let created = with_new_engine(settings, Reach::Offline, |engine| async move {
        let relays = settings.home.relays(&settings.relays)?;
        Ok(engine.create_account(&user, &device, &relays).await?)
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

async fn init_with_keyring(
    settings: &Settings,
    user: String,
    device: String,
) -> Result<(), Failure> {
    let given = match &settings.secret {
        SecretSource::Asked(_) => std::env::var_os("SHEAF_PASSPHRASE").is_some(),
        SecretSource::KeyFile(_) | SecretSource::PassphraseFile(_) => true,
        SecretSource::Keyring(_) => false,
    };
    if given {
        return Err(Failure::usage(
            "--keyring and another secret: one of them opens the store",
        ));
    }
    if settings.home.expect_store().is_ok() {
        return Err(Failure::failed("there is a store here already")
            .advise("`sheaf account passphrase --new-keyring` moves its key into the keyring"));
    }
    let name = keyring::new_name()?;
    let settings = Settings {
        home: settings.home.clone(),
        relays: settings.relays.clone(),
        secret: SecretSource::Keyring(name.clone()),
        printer: settings.printer,
    };
    // Tried before anything is made.
    keyring::create(&name)?;
    settings.home.create()?;
    settings.home.note_keyring(Some(&name))?;
    let made = create(&settings, user, device).await;
    if made.is_err() && settings.home.expect_store().is_err() {
        settings.home.note_keyring(None)?;
        keyring::remove(&name)?;
    }
    made
}

/// Shows the card.
pub(super) async fn card(settings: &Settings) -> Result<(), Failure> {
    let overview = with_engine(settings, Reach::Offline, |engine| async move {
        Ok(engine.overview().await?)
    })
    .await?;
    let (Some(card), Some(fingerprint)) = (&overview.card, &overview.fingerprint) else {
        return Err(no_account());
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
    /// The key in the keyring that backups made before open by.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
}

/// Puts another passphrase, key file or key in the keyring in the place of the present secret.
pub(super) async fn change_secret(settings: &Settings, new: &SecretSource) -> Result<(), Failure> {
    settings.home.expect_store()?;
    let before = settings.home.remembered()?.keyring;
    if before.is_some() && matches!(new, SecretSource::Keyring(_)) {
        // One name is remembered: a crash in between would leave a key under a name nobody knows.
        return Err(
            Failure::failed("the store's key is in the keyring already").advise(
                "to change it, change to a key file first, and back to the keyring from there",
            ),
        );
    }
    let present = builder(settings, Purpose::Open)?;
    let (kept, opens_by) = match new {
        SecretSource::Keyring(name) => {
            keyring::create(name)?;
            (Some(name.as_str()), "key in the keyring")
        }
        SecretSource::KeyFile(_) => (None, "key file"),
        SecretSource::PassphraseFile(_) | SecretSource::Asked(_) => (None, "passphrase"),
    };
    let changing = match new.read(Purpose::Create)? {
        Secret::Passphrase(passphrase) => present.new_passphrase(&passphrase),
        Secret::Key(key) => present.new_key(*key),
    };
    if kept.is_some() {
        // First: a secret that is given comes before the keyring, so both ways open after a crash.
        settings.home.note_keyring(kept)?;
    }
    if let Err(error) = changing.change_secret().await {
        settings.home.note_keyring(before.as_deref())?;
        if let Some(name) = kept {
            keyring::remove(name)?;
        }
        return Err(error.into());
    }
    settings.home.note_keyring(kept)?;
    settings.printer.show(&Changed { opens_by, before }, |changed| {
        let old = match &changed.before {
            Some(name) => format!("the old one, which stays in the keyring: --keyring-key {name}"),
            None => "the old one".to_owned(),
        };
        format!(
            "the store opens by the new {} from now on; backups made before still open by {old}",
            changed.opens_by
        )
    })
}
