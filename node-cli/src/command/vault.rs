//! `sheaf account vault`.

use serde::Serialize;
use sheaf_engine::{CommandError, Engine, EngineError, VaultSetting};

use super::recover::phrase_of;
use crate::arguments::VaultVerb;
use crate::exit::Failure;
use crate::request::Settings;
use crate::session::{change_reach, let_go, with_engine};
use crate::time::rfc3339;

#[derive(Serialize)]
struct Status {
    vault: &'static str,
    /// This device can write it.
    has_key: bool,
    published: Option<String>,
    /// Something changed since.
    stale: bool,
    left_out: u64,
}

/// Turns the vault on or off, or shows it.
pub(super) async fn vault(settings: &Settings, verb: VaultVerb) -> Result<(), Failure> {
    let reach = change_reach(settings)?;
    with_engine(settings, reach, |engine| async move {
        match verb {
            VaultVerb::On { phrase_file } => {
                let phrase = phrase_file.map(|file| phrase_of(Some(&file))).transpose()?;
                let phrase = phrase.as_ref().map(|words| words.trim());
                engine.set_vault(VaultSetting::On, phrase).await?;
                let_go(settings, &engine).await?;
            }
            VaultVerb::Off => {
                engine.set_vault(VaultSetting::Off, None).await?;
                let_go(settings, &engine).await?;
                settings.printer.say(
                    "An empty vault takes the place of the last one, and nobody recovers the account \
                     from it. It cannot be forced on the relay to forget what it was given: whoever \
                     has the phrase and the old records can still read them. A new phrase \
                     does not change that.",
                );
            }
            VaultVerb::Status => {}
        }
        show(settings, &engine).await
    })
    .await
}

async fn show(settings: &Settings, engine: &Engine) -> Result<(), Failure> {
    let status = engine.vault_status().await?;
    let status = status.ok_or(EngineError::Command(CommandError::NoAccount))?;
    let shown = Status {
        vault: match status.setting {
            VaultSetting::On => "on",
            VaultSetting::Off => "off",
        },
        has_key: status.has_key,
        published: status.published.map(|time| rfc3339(time.0)),
        stale: status.stale,
        left_out: status.left_out,
    };
    settings.printer.show(&shown, |shown| {
        let published = shown.published.as_deref().unwrap_or("never by this device");
        let key = match shown.has_key {
            true => "",
            false => {
                "\nThis device does not have the vault's key: `sheaf account vault on --phrase-file \
                 FILE` gives it."
            }
        };
        let stale = match shown.stale {
            true => "\nSomething changed since; it is written at the next connection.",
            false => "",
        };
        let left_out = match shown.left_out {
            0 => String::new(),
            left_out => format!("\n{left_out} conversations found no room in it."),
        };
        format!(
            "vault    {}\nwritten  {published}{key}{stale}{left_out}",
            shown.vault
        )
    })
}
