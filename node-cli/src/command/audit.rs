//! `sheaf audit`.

use data_encoding::HEXLOWER;
use serde::Serialize;
use sheaf_engine::{AuditEntry, Timestamp};

use crate::exit::Failure;
use crate::output::{harmless, table};
use crate::request::Settings;
use crate::session::{Reach, with_engine};
use crate::time::rfc3339;

#[derive(Serialize)]
struct Entry {
    number: u64,
    time: String,
    what: String,
    who: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation: Option<String>,
    hash: String,
}

impl From<AuditEntry> for Entry {
    fn from(entry: AuditEntry) -> Self {
        Self {
            number: entry.number,
            time: rfc3339(entry.time.0),
            what: entry.what,
            who: entry.who,
            conversation: entry.conversation.map(|id| id.to_string()),
            hash: HEXLOWER.encode(&entry.hash),
        }
    }
}

/// Shows the audit log; its chain of hashes is checked while it is read.
pub(super) async fn audit(settings: &Settings, since: Timestamp) -> Result<(), Failure> {
    let entries = with_engine(settings, Reach::Offline, |engine| async move {
        Ok(engine.audit(since)?)
    })
    .await?;
    let entries: Vec<Entry> = entries.into_iter().map(Entry::from).collect();
    if entries.is_empty() && !settings.printer.is_json() {
        settings.printer.say("nothing was noted");
        return Ok(());
    }
    settings.printer.list(&entries, |entries| {
        let rows: Vec<_> = entries
            .iter()
            .map(|entry| {
                vec![
                    entry.number.to_string(),
                    entry.time.clone(),
                    harmless(&entry.who),
                    harmless(&entry.what),
                ]
            })
            .collect();
        table(&["", "time", "who", "what"], &rows)
    })
}
