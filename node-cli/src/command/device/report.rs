//! `sheaf device report`: what a device had, and who knows that it is out.

use serde::Serialize;
use sheaf_engine::{DeviceReport, ReportedConversation};

use crate::exit::Failure;
use crate::output::{harmless, table};
use crate::request::Settings;
use crate::resolve;
use crate::session::{Reach, with_engine};

#[derive(Serialize)]
pub(super) struct Report {
    conversations: Vec<Reported>,
}

#[derive(Serialize)]
struct Reported {
    conversation: String,
    name: String,
    out: bool,
    epochs: Vec<String>,
    messages: u64,
    positions: Vec<Position>,
    kept: u64,
    taken_in: Vec<String>,
    outstanding: Vec<String>,
}

#[derive(Serialize)]
struct Position {
    run: String,
    sequence: u64,
}

#[derive(Serialize)]
struct Shown {
    device: String,
    report: Report,
}

impl From<ReportedConversation> for Reported {
    fn from(known: ReportedConversation) -> Self {
        let texts = |devices: &[sheaf_engine::DeviceId]| {
            let texts = devices.iter().map(ToString::to_string);
            texts.collect::<Vec<_>>()
        };
        Self {
            conversation: known.conversation.to_string(),
            name: known.name,
            out: known.out,
            epochs: known.epochs.iter().map(ToString::to_string).collect(),
            messages: known.messages,
            positions: known
                .positions
                .iter()
                .map(|(run, sequence)| Position {
                    run: data_encoding::HEXLOWER.encode(&run.0),
                    sequence: *sequence,
                })
                .collect(),
            kept: known.kept,
            taken_in: texts(&known.taken_in),
            outstanding: texts(&known.outstanding),
        }
    }
}

impl From<DeviceReport> for Report {
    fn from(report: DeviceReport) -> Self {
        let conversations = report.conversations.into_iter();
        Self {
            conversations: conversations.map(Reported::from).collect(),
        }
    }
}

impl Report {
    pub(super) fn words(&self) -> String {
        if self.conversations.is_empty() {
            return "it was part of no conversation".to_owned();
        }
        let rows: Vec<_> = self
            .conversations
            .iter()
            .map(|known| {
                let last: Vec<String> = known
                    .positions
                    .iter()
                    .map(|position| position.sequence.to_string())
                    .collect();
                vec![
                    harmless(&known.name),
                    if known.out { "out" } else { "part of it" }.to_owned(),
                    known.epochs.len().to_string(),
                    known.messages.to_string(),
                    last.join(", "),
                    known.taken_in.len().to_string(),
                    known.outstanding.len().to_string(),
                ]
            })
            .collect();
        table(
            &[
                "conversation",
                "",
                "keys held",
                "messages read",
                "last item",
                "devices that know",
                "that do not",
            ],
            &rows,
        )
    }
}

/// Shows what a device had, and who knows that it is out.
pub(in crate::command) async fn report(settings: &Settings, typed: String) -> Result<(), Failure> {
    let shown = with_engine(settings, Reach::Offline, |engine| async move {
        let device = resolve::device(&engine, &typed).await?.device;
        Ok(Shown {
            device: device.to_string(),
            report: engine.device_report(device).await?.into(),
        })
    })
    .await?;
    settings.printer.show(&shown, |shown| shown.report.words())
}
