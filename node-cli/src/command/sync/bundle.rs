//! `sheaf sync export` and `sheaf sync import`.

use std::path::Path;

use serde::Serialize;

use super::resync::peers;
use crate::exit::{Code, Failure};
use crate::request::Settings;
use crate::resolve;
use crate::session::{Reach, with_engine};

#[derive(Serialize)]
struct Exported {
    file: String,
    device: String,
    conversations: usize,
    records: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Imported {
    file: String,
    taken: u64,
    messages: u64,
    unreadable: u64,
    refused: Vec<String>,
}

pub(super) async fn export(
    settings: &Settings,
    file: &Path,
    device: &str,
    conversations: &[String],
) -> Result<(), Failure> {
    let exported = with_engine(settings, Reach::Offline, |engine| async move {
        let known = engine.conversations().await?;
        let peer = resolve::find(peers(&known), device, "device")?;
        let mut ids = Vec::new();
        for typed in conversations {
            ids.push(resolve::find(known.clone(), typed, "conversation")?.conversation);
        }
        if conversations.is_empty() {
            let with = known
                .iter()
                .filter(|info| info.peers.iter().any(|p| p.device == peer.device));
            ids.extend(with.map(|info| info.conversation));
        }
        let (records, bytes) = engine.export_bundle(peer.device, &ids, file).await?;
        Ok(Exported {
            file: file.display().to_string(),
            device: peer.device.to_string(),
            conversations: ids.len(),
            records,
            bytes,
        })
    })
    .await?;
    settings.printer.show(&exported, |exported| {
        format!(
            "{} conversations, {} records, {} bytes written to {}",
            exported.conversations, exported.records, exported.bytes, exported.file
        )
    })
}

pub(super) async fn import(settings: &Settings, file: &Path) -> Result<(), Failure> {
    let imported = with_engine(settings, Reach::Offline, |engine| async move {
        let before = super::messages(&engine).await?;
        let taken = engine.import_bundle(file).await?;
        // Behind everything that the import set going.
        engine.acknowledge().await?;
        Ok(Imported {
            file: file.display().to_string(),
            taken: taken.taken,
            messages: super::messages(&engine).await?.saturating_sub(before),
            unreadable: engine.overview().await?.parked,
            refused: taken.refused,
        })
    })
    .await?;
    settings.printer.show(&imported, |imported| {
        format!(
            "{} messages taken in, {} records wait for others, {} refused",
            imported.messages,
            imported.unreadable,
            imported.refused.len()
        )
    })?;
    if imported.refused.is_empty() {
        return Ok(());
    }
    let reason = imported.refused.first().cloned().unwrap_or_default();
    let failure = Failure::new(
        Code::Partial,
        format!("not everything was taken in: {reason}"),
    );
    Err(failure.advise("was the file written for this device, by a device of a conversation?"))
}
