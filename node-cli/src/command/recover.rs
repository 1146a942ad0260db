//! `sheaf account recover`.

use std::io::{BufRead, IsTerminal};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use sheaf_engine::{Engine, Overview, VaultRecovery};
use zeroize::Zeroizing;

use crate::exit::Failure;
use crate::request::{RecoverRequest, Settings};
use crate::session::{Reach, check_names, let_go, with_new_engine};
use crate::time::rfc3339;

/// Longest wait for the relay to hand the vault over.
const VAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for the history that follows; what is missing then comes with `sheaf sync now`.
const HISTORY_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest phrase file that is read, in bytes.
const PHRASE_BYTES_MAX: usize = 4_096;

#[derive(Serialize)]
struct Recovered<'a> {
    user: String,
    device: String,
    card: &'a str,
    fingerprint: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    vault: Option<FromVault>,
}

#[derive(Serialize)]
struct FromVault {
    /// By the clock of the device that wrote it, which nobody checks.
    written: String,
    conversations: u64,
    contacts: u64,
    /// Conversations that had found no room in the vault.
    left_out: u64,
    /// Records of the topic that were damaged, forged or by a revoked device.
    refused: u64,
    /// Everything that the relay holds is here.
    complete: bool,
}

/// Becomes a new device of an account whose other devices are lost.
pub(super) async fn recover(settings: &Settings, request: RecoverRequest) -> Result<(), Failure> {
    check_names(&[("the device's name", &request.device)])?;
    let phrase = phrase_of(request.phrase_file.as_deref())?;
    match request.card {
        Some(card) => by_card(settings, &phrase, &card, &request.device).await,
        None => by_vault(settings, &phrase, &request.device).await,
    }
}

async fn by_card(
    settings: &Settings,
    phrase: &str,
    card: &str,
    device: &str,
) -> Result<(), Failure> {
    with_new_engine(settings, Reach::Online, |engine| async move {
        let (user, device) = engine
            .recover_account(phrase.trim(), card.trim(), device)
            .await?;
        let overview = use_its_relay(settings, &engine).await?;
        let recovered = Recovered {
            user: user.to_string(),
            device: device.to_string(),
            card: overview.card.as_deref().unwrap_or_default(),
            fingerprint: overview.fingerprint.as_deref().unwrap_or_default(),
            vault: None,
        };
        settings.printer.show(&recovered, |shown| {
            format!(
                "user         {}\ndevice       {}\nfingerprint  {}\n\n\
                 Every other device of the account is revoked. Give your new card to your contacts, \
                 so that they know this device and invite it:\n\n{}",
                shown.user, shown.device, shown.fingerprint, shown.card
            )
        })?;
        let_go(settings, &engine).await
    })
    .await
}

async fn by_vault(settings: &Settings, phrase: &str, device: &str) -> Result<(), Failure> {
    if settings.relays.is_empty() && settings.home.relays(&[])?.is_empty() {
        return Err(
            Failure::usage("the phrase alone does not say at which relay the vault is").advise(
                "give the account's relay with --relay, or its card with --card to do without a vault",
            ),
        );
    }
    with_new_engine(settings, Reach::Online, |engine| async move {
        let recovery = engine
            .recover_from_vault(phrase.trim(), device, VAULT_TIMEOUT)
            .await?;
        if !settings.relays.is_empty() {
            engine.set_card_relays(&settings.relays).await?;
        }
        let complete = engine.wait_settled(HISTORY_TIMEOUT).await.is_ok();
        let overview = use_its_relay(settings, &engine).await?;
        settings
            .printer
            .show(&recovered(&recovery, &overview, complete), text)?;
        let_go(settings, &engine).await
    })
    .await
}

/// The relays that came with the account, where none was given.
async fn use_its_relay(settings: &Settings, engine: &Engine) -> Result<Overview, Failure> {
    let overview = engine.overview().await?;
    if settings.home.relays(&[])?.is_empty() && !overview.relays.is_empty() {
        settings.home.relays(&overview.relays)?;
        engine.use_relays(overview.relays.clone()).await?;
    }
    Ok(overview)
}

fn recovered<'a>(
    recovery: &VaultRecovery,
    overview: &'a Overview,
    complete: bool,
) -> Recovered<'a> {
    Recovered {
        user: recovery.user.to_string(),
        device: recovery.device.to_string(),
        card: overview.card.as_deref().unwrap_or_default(),
        fingerprint: overview.fingerprint.as_deref().unwrap_or_default(),
        vault: Some(FromVault {
            written: rfc3339(recovery.written.0),
            conversations: recovery.conversations,
            contacts: recovery.contacts,
            left_out: recovery.left_out,
            refused: recovery.refused,
            complete,
        }),
    }
}

fn text(shown: &Recovered<'_>) -> String {
    let mut text = format!(
        "user         {}\ndevice       {}\nfingerprint  {}\n",
        shown.user, shown.device, shown.fingerprint
    );
    if let Some(vault) = &shown.vault {
        text.push_str(&format!(
            "vault of     {}\n\n{} conversations and {} contacts came back. Every other device of \
             the account is revoked.",
            vault.written, vault.conversations, vault.contacts
        ));
        if vault.left_out > 0 {
            text.push_str(&format!(
                "\n{} conversations had found no room in the vault: ask a member to invite you.",
                vault.left_out
            ));
        }
        if vault.refused > 0 {
            text.push_str(&format!(
                "\n{} records at the vault's place were damaged, forged or by a revoked device; they \
                 did not count.",
                vault.refused
            ));
        }
        if !vault.complete {
            text.push_str("\nNot everything is here yet: run `sheaf sync now`.");
        }
        text.push_str(
            "\nThe relay may have shown an older vault than the last one. What came after it comes \
             from your contacts' devices.",
        );
    }
    text
}

/// The recovery phrase, never an argument: those are seen by every process.
pub(super) fn phrase_of(file: Option<&Path>) -> Result<Zeroizing<String>, Failure> {
    if let Some(path) = file {
        let unusable = |error: &dyn std::fmt::Display| {
            Failure::usage(format!(
                "cannot use phrase file {}: {error}",
                path.display()
            ))
        };
        let text = std::fs::read_to_string(path).map_err(|error| unusable(&error))?;
        let text = Zeroizing::new(text);
        if text.len() > PHRASE_BYTES_MAX {
            return Err(unusable(&"it is too long"));
        }
        let line = text.lines().next().unwrap_or_default();
        return Ok(Zeroizing::new(line.to_owned()));
    }
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        let typed = rpassword::prompt_password("Recovery phrase: ");
        return Ok(Zeroizing::new(typed?));
    }
    let mut line = Zeroizing::new(String::new());
    if stdin.lock().read_line(&mut line)? == 0 {
        return Err(Failure::usage("no recovery phrase came on standard input")
            .advise("write the 24 words to standard input, as one line, or give --phrase-file"));
    }
    Ok(line)
}
