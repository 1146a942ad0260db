//! `sheaf sync resync`.

use std::time::Duration;

use serde::Serialize;
use sheaf_engine::{ConversationInfo, PeerInfo};
use tokio::time::Instant;

use super::{CONNECT_MAX, expect_relay, settle};
use crate::command::progress::{Lines, Meter};
use crate::exit::{Code, Failure};
use crate::output::{harmless, table};
use crate::request::Settings;
use crate::resolve;
use crate::session::{Reach, connect, expect_not_revoked, with_engine};

#[derive(Serialize)]
struct Exchanged {
    conversation: String,
    device: String,
    name: String,
    answered: bool,
    missing_here: u64,
    missing_there: u64,
    brought: u64,
    unreadable: u64,
    synced: bool,
}

pub(super) async fn resync(
    settings: &Settings,
    conversations: &[String],
    devices: &[String],
    full: bool,
    timeout: Duration,
) -> Result<(), Failure> {
    expect_relay(settings)?;
    let exchanged = with_engine(settings, Reach::Online, |engine| async move {
        let deadline = Instant::now() + timeout;
        connect(&engine, timeout.min(CONNECT_MAX)).await?;
        let mut events = engine.events();
        let mut meter = Meter::new(settings.printer, Lines::Words);
        let left = deadline.saturating_duration_since(Instant::now());
        settle(&engine, (&mut events, &mut meter), left).await?;
        expect_not_revoked(&engine).await?;
        let known = engine.conversations().await?;
        let mut ids = Vec::new();
        for typed in conversations {
            ids.push(resolve::find(known.clone(), typed, "conversation")?.conversation);
        }
        let mut of = Vec::new();
        for typed in devices {
            of.push(resolve::find(peers(&known), typed, "device")?.device);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let results = engine.resync(ids, of, full, left).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        settle(&engine, (&mut events, &mut meter), left).await?;
        engine.acknowledge().await?;
        let left = deadline.saturating_duration_since(Instant::now());
        settle(&engine, (&mut events, &mut meter), left).await?;
        meter.clear();
        let now = engine.conversations().await?;
        let rows = results.iter().map(|result| {
            let info = now.iter().find(|i| i.conversation == result.conversation);
            let peers = info.into_iter().flat_map(|info| &info.peers);
            let peer = peers.clone().find(|peer| peer.device == result.device);
            Exchanged {
                conversation: result.conversation.to_string(),
                device: result.device.to_string(),
                name: peer.map(|peer| peer.name.clone()).unwrap_or_default(),
                answered: result.answered,
                missing_here: result.missing_here,
                missing_there: result.missing_there,
                brought: result.brought,
                unreadable: info.map_or(0, |info| info.parked),
                synced: peer.is_some_and(PeerInfo::has_everything),
            }
        });
        Ok(rows.collect::<Vec<_>>())
    })
    .await?;
    settings.printer.list(&exchanged, exchanged_text)?;
    if exchanged.iter().all(|one| one.answered) {
        return Ok(());
    }
    let silent = exchanged.iter().filter(|one| !one.answered).count();
    let failure = Failure::new(Code::Partial, format!("{silent} did not answer in time"));
    Err(failure.advise("they answer when they are online; ask again, or wait with `sheaf run`"))
}

/// Every other device of every conversation, once.
pub(super) fn peers(known: &[ConversationInfo]) -> Vec<PeerInfo> {
    let mut peers: Vec<PeerInfo> = Vec::new();
    for peer in known.iter().flat_map(|info| &info.peers) {
        if !peers.iter().any(|other| other.device == peer.device) {
            peers.push(peer.clone());
        }
    }
    peers
}

fn exchanged_text(exchanged: &[Exchanged]) -> String {
    let rows: Vec<Vec<String>> = exchanged
        .iter()
        .map(|one| {
            let state = match (one.answered, one.synced) {
                (false, _) => "no answer",
                (true, true) => "synced",
                (true, false) => "not yet synced",
            };
            vec![
                one.conversation.chars().take(8).collect(),
                harmless(&one.name),
                one.missing_here.to_string(),
                one.missing_there.to_string(),
                one.unreadable.to_string(),
                one.brought.to_string(),
                state.to_owned(),
            ]
        })
        .collect();
    table(
        &[
            "conversation",
            "device",
            "missing here",
            "missing there",
            "unreadable",
            "fetched",
            "state",
        ],
        &rows,
    )
}
