//! `sheaf contact`.

use std::io::Read;

use serde::Serialize;
use sheaf_engine::ContactInfo;

use crate::exit::Failure;
use crate::output::{harmless, table};
use crate::request::Settings;
use crate::session::{Reach, with_engine};
use crate::time::rfc3339;

/// Longest card that is read, in bytes.
const CARD_BYTES_MAX: u64 = 256 * 1024;

#[derive(Serialize)]
struct Contact {
    user: String,
    name: String,
    devices: usize,
    added: String,
}

impl From<ContactInfo> for Contact {
    fn from(info: ContactInfo) -> Self {
        Self {
            user: info.user.to_string(),
            name: info.name,
            devices: info.devices,
            added: rfc3339(info.added.0),
        }
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
    let added = with_engine(settings, Reach::Offline, |engine| async move {
        let user = engine.add_contact(card.trim(), name.as_deref()).await?;
        let contacts = engine.contacts().await?;
        let added = contacts.into_iter().find(|contact| contact.user == user);
        added.ok_or_else(|| Failure::failed("the contact was added and is gone again"))
    })
    .await?;
    settings.printer.show(&Contact::from(added), |contact| {
        format!("{}  {}", contact.user, harmless(&contact.name))
    })
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
                    contact.user.clone(),
                ]
            })
            .collect();
        table(&["name", "devices", "added", "user"], &rows)
    })
}
