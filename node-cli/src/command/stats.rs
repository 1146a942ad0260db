//! `sheaf store stats`.

use serde::Serialize;
use sheaf_engine::{ConversationStats, Weight};

use crate::exit::Failure;
use crate::output::{harmless, table};
use crate::request::Settings;
use crate::session::{Reach, with_engine};

#[derive(Serialize)]
struct Stats {
    disk_bytes: u64,
    conversations: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    conversation: String,
    name: String,
    messages: Amount,
    segments: Segments,
    envelopes: Amount,
    snapshots: Amount,
    parked: Amount,
    withheld: Amount,
    droppable_bytes: u64,
}

#[derive(Serialize)]
struct Segments {
    held: u64,
    dropped: u64,
    damaged: u64,
}

#[derive(Serialize)]
struct Amount {
    records: u64,
    bytes: u64,
}

impl From<Weight> for Amount {
    fn from(weight: Weight) -> Self {
        Self {
            records: weight.records,
            bytes: weight.bytes,
        }
    }
}

impl From<ConversationStats> for Row {
    fn from(stats: ConversationStats) -> Self {
        Self {
            conversation: stats.conversation.to_string(),
            name: stats.name,
            messages: stats.messages.into(),
            segments: Segments {
                held: stats.segments_held,
                dropped: stats.segments_dropped,
                damaged: stats.segments_damaged,
            },
            envelopes: stats.envelopes.into(),
            snapshots: stats.snapshots.into(),
            parked: stats.parked.into(),
            withheld: stats.withheld.into(),
            droppable_bytes: stats.droppable_bytes,
        }
    }
}

/// Says how much room every conversation takes.
pub(super) async fn stats(settings: &Settings) -> Result<(), Failure> {
    let stats = with_engine(settings, Reach::Offline, |engine| async move {
        let (conversations, disk_bytes) = engine.stats().await?;
        Ok(Stats {
            disk_bytes,
            conversations: conversations.into_iter().map(Row::from).collect(),
        })
    })
    .await?;
    settings.printer.show(&stats, text)
}

fn text(stats: &Stats) -> String {
    let rows = stats.conversations.iter().map(|row| {
        let Segments {
            held,
            dropped,
            damaged,
        } = &row.segments;
        let away = dropped.saturating_add(*damaged);
        vec![
            harmless(&row.name),
            row.messages.records.to_string(),
            format!("{held} + {away} away"),
            row.envelopes.records.to_string(),
            row.envelopes.bytes.to_string(),
            row.snapshots.bytes.to_string(),
            row.parked.records.to_string(),
            row.withheld.records.to_string(),
            row.droppable_bytes.to_string(),
        ]
    });
    let rows: Vec<_> = rows.collect();
    let head = [
        "NAME",
        "MESSAGES",
        "SEGMENTS",
        "ENVELOPES",
        "BYTES",
        "SNAPSHOT BYTES",
        "PARKED",
        "WITHHELD",
        "DROPPABLE BYTES",
    ];
    format!(
        "{}\n{} bytes on the disk",
        table(&head, &rows),
        stats.disk_bytes
    )
}
