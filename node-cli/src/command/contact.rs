//! `sheaf contact`.

use std::io::Read;

use serde::Serialize;
use sheaf_engine::ContactInfo;

use crate::exit::Failure;
use crate::output::{harmless, table};
use crate::request::{Settings, Standing, Verdict};
use crate::resolve;
use crate::session::{Reach, change_reach, let_go, with_engine};
use crate::time::rfc3339;

/// Longest card that is read, in bytes.
const CARD_BYTES_MAX: u64 = 256 * 1024;

#[derive(Serialize)]
struct Contact {
    user: String,
    name: String,
    devices: usize,
    added: String,
    verified: bool,
    changed: bool,
    blocked: bool,
}

#[derive(Serialize)]
struct Verification {
    user: String,
    safety_number: String,
    verified: bool,
}

#[derive(Serialize)]
struct Blocking {
    user: String,
    blocked: bool,
}

impl From<ContactInfo> for Contact {
    fn from(info: ContactInfo) -> Self {
        Self {
            user: info.user.to_string(),
            name: info.name,
            devices: info.devices,
            added: rfc3339(info.added.0),
            verified: info.verified,
            changed: info.changed,
            blocked: info.blocked,
        }
    }
}

impl Contact {
    fn standing(&self) -> String {
        let mut words = Vec::new();
        if self.verified {
            words.push("verified");
        }
        if self.changed {
            words.push("changed");
        }
        if self.blocked {
            words.push("blocked");
        }
        words.join(", ")
    }
}

/// Adds a person by card.
pub(super) async fn add(
    settings: &Settings,
    card: String,
    name: Option<String>,
) -> Result<(), Failure> {
    settings.home.expect_store()?;
    let card = if card == "-" { from_stdin()? } else { card };
    with_engine(settings, change_reach(settings)?, |engine| async move {
        let user = engine.add_contact(card.trim(), name.as_deref()).await?;
        let contacts = engine.contacts().await?;
        let added = contacts.into_iter().find(|contact| contact.user == user);
        let added =
            added.ok_or_else(|| Failure::failed("the contact was added and is gone again"))?;
        settings.printer.show(&Contact::from(added), |contact| {
            format!("{}  {}", contact.user, harmless(&contact.name))
        })?;
        let_go(settings, &engine).await
    })
    .await
}

fn from_stdin() -> Result<String, Failure> {
    let mut card = String::new();
    std::io::stdin()
        .lock()
        .take(CARD_BYTES_MAX)
        .read_to_string(&mut card)?;
    Ok(card)
}

/// Lists the people known here.
pub(super) async fn list(settings: &Settings) -> Result<(), Failure> {
    let contacts = with_engine(settings, Reach::Offline, |engine| async move {
        Ok(engine.contacts().await?)
    })
    .await?;
    let contacts: Vec<Contact> = contacts.into_iter().map(Contact::from).collect();
    settings.printer.list(&contacts, |contacts| {
        let rows: Vec<_> = contacts
            .iter()
            .map(|contact| {
                vec![
                    harmless(&contact.name),
                    contact.devices.to_string(),
                    contact.added.clone(),
                    contact.standing(),
                    contact.user.clone(),
                ]
            })
            .collect();
        table(&["name", "devices", "added", "", "user"], &rows)
    })
}

/// Shows the digits to compare, and marks a contact as verified when they were, or as not.
pub(super) async fn verify(
    settings: &Settings,
    typed: String,
    change: Option<Verdict>,
) -> Result<(), Failure> {
    // What one thinks of others stays here: nothing goes to the relay.
    let verification = with_engine(settings, Reach::Offline, |engine| async move {
        let user = resolve::user(&engine, &typed).await?;
        if let Some(verdict) = change {
            let verified = verdict == Verdict::Same;
            engine.set_verified(user, verified).await?;
        }
        let contacts = engine.contacts().await?;
        let contact = contacts.iter().find(|contact| contact.user == user);
        Ok(Verification {
            user: user.to_string(),
            safety_number: engine.safety_number(user).await?,
            verified: contact.is_some_and(|contact| contact.verified && !contact.changed),
        })
    })
    .await?;
    settings.printer.show(&verification, |shown| {
        let next = if shown.verified {
            "verified"
        } else {
            "compare them with what your contact sees, over a way that you trust; if they are the \
             same, run it again with --confirm"
        };
        format!("{}\n\n{next}", lines(&shown.safety_number))
    })
}

/// Twelve groups of digits as three lines of four.
fn lines(safety_number: &str) -> String {
    let groups: Vec<&str> = safety_number.split(' ').collect();
    let lines: Vec<String> = groups.chunks(4).map(|groups| groups.join(" ")).collect();
    lines.join("\n")
}

/// Refuses a contact's invites, or takes them again.
pub(super) async fn set_blocked(
    settings: &Settings,
    typed: String,
    standing: Standing,
) -> Result<(), Failure> {
    let blocked = standing == Standing::Blocked;
    let shown = with_engine(settings, Reach::Offline, |engine| async move {
        let user = resolve::user(&engine, &typed).await?;
        engine.set_blocked(user, blocked).await?;
        Ok(Blocking {
            user: user.to_string(),
            blocked,
        })
    })
    .await?;
    settings.printer.show(&shown, |shown| {
        let word = if shown.blocked {
            "blocked"
        } else {
            "no longer blocked"
        };
        format!("{} is {word}", shown.user)
    })
}
