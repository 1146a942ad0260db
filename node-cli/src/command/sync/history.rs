//! `sheaf sync history`.

use serde::Serialize;
use sheaf_engine::SyncEntry;

use crate::exit::Failure;
use crate::output::table;
use crate::request::Settings;
use crate::session::{Reach, with_engine};
use crate::time::rfc3339;

#[derive(Serialize)]
struct Sync {
    number: u64,
    began: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    caught_up: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
    relays: Vec<String>,
    messages_received: u64,
    messages_sent: u64,
    items_received: u64,
    items_sent: u64,
    segments_fetched: u64,
    answers: u64,
    brought: u64,
}

impl From<&SyncEntry> for Sync {
    fn from(entry: &SyncEntry) -> Self {
        let figures = entry.figures;
        Self {
            number: entry.number,
            began: rfc3339(entry.began.0),
            caught_up: entry.caught_up.map(|at| rfc3339(at.0)),
            ended: entry.ended.map(|at| rfc3339(at.0)),
            relays: entry.relays.iter().map(ToString::to_string).collect(),
            messages_received: figures.messages_received,
            messages_sent: figures.messages_sent,
            items_received: figures.items_received,
            items_sent: figures.items_sent,
            segments_fetched: figures.segments_fetched,
            answers: figures.answers,
            brought: figures.brought,
        }
    }
}

impl Sync {
    /// How it ended, in a word or two.
    fn outcome(&self) -> &'static str {
        match (self.relays.is_empty(), &self.caught_up, &self.ended) {
            (true, ..) => "file",
            (false, _, None) => "cut off",
            (false, None, Some(_)) => "not all read",
            (false, Some(_), Some(_)) => "caught up",
        }
    }
}

/// Shows the newest syncs, the newest last.
pub(super) async fn history(settings: &Settings, limit: usize) -> Result<(), Failure> {
    let entries = with_engine(settings, Reach::Offline, |engine| async move {
        Ok(engine.sync_history().await?)
    })
    .await?;
    let left_out = entries.len().saturating_sub(limit);
    let shown: Vec<Sync> = entries.iter().skip(left_out).map(Sync::from).collect();
    if entries.is_empty() && !settings.printer.is_json() {
        settings.printer.say("nothing was exchanged yet");
        return Ok(());
    }
    settings.printer.list(&shown, |shown| {
        let rows: Vec<_> = shown.iter().map(row).collect();
        table(
            &[
                "began",
                "ended",
                "outcome",
                "messages in",
                "out",
                "items in",
                "out",
                "answers",
            ],
            &rows,
        )
    })
}

fn row(sync: &Sync) -> Vec<String> {
    vec![
        sync.began.clone(),
        sync.ended.clone().unwrap_or_else(|| "-".to_owned()),
        sync.outcome().to_owned(),
        sync.messages_received.to_string(),
        sync.messages_sent.to_string(),
        sync.items_received.to_string(),
        sync.items_sent.to_string(),
        sync.answers.to_string(),
    ]
}
