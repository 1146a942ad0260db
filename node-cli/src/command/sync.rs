//! `sheaf sync`.

use std::time::Duration;

use serde::Serialize;
use sheaf_engine::{ConversationInfo, Engine, EngineError, Event, EventStream, PeerInfo};
use tokio::time::{Instant, timeout};

use crate::exit::{Code, Failure};
use crate::output::table;
use crate::request::{Settings, SyncRequest};
use crate::resolve;
use crate::session::{Reach, connect, with_engine};
use crate::time::now_ms;

/// Longest wait for the relay's hello.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// The last events are in the queue already; only a full machine needs any of this.
const LAST_EVENTS: Duration = Duration::from_millis(20);

#[derive(Serialize)]
struct Synced {
    sent: u64,
    received: u64,
    pending: u64,
    converged: bool,
}

/// Fails when no relay was ever named.
///
/// # Errors
/// [`Code::RelayUnreachable`].
pub(super) fn expect_relay(settings: &Settings) -> Result<(), Failure> {
    settings.home.expect_store()?;
    if settings.home.relay(settings.relay.as_ref())?.is_some() {
        return Ok(());
    }
    Err(
        Failure::new(Code::RelayUnreachable, "no relay is configured")
            .advise("give one with --relay sheaf://HOST:PORT/#KEY; it is remembered"),
    )
}

/// # Errors
/// Those of the verb.
pub(super) async fn sync(settings: &Settings, request: SyncRequest) -> Result<(), Failure> {
    match request {
        SyncRequest::Now { timeout } => now(settings, timeout).await,
        SyncRequest::Barrier {
            everywhere,
            timeout,
        } => barrier(settings, everywhere, timeout).await,
        SyncRequest::Resync {
            conversations,
            devices,
            full,
            timeout,
        } => resync(settings, &conversations, &devices, full, timeout).await,
    }
}

/// Connects, pushes and pulls until nothing is left.
async fn now(settings: &Settings, timeout: Duration) -> Result<(), Failure> {
    expect_relay(settings)?;
    let synced = with_engine(settings, Reach::Online, |engine| async move {
        let deadline = Instant::now() + timeout;
        let mut events = engine.events();
        let before = messages(&engine).await?;
        connect(&engine, timeout.min(CONNECT_MAX)).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        let (mut converged, mut sent) = settle(&engine, &mut events, left).await?;
        // What came is acknowledged before the connection goes.
        engine.acknowledge().await?;
        let left = deadline.saturating_duration_since(Instant::now());
        if converged {
            let (again, more) = settle(&engine, &mut events, left).await?;
            converged = again;
            sent = sent.saturating_add(more);
        }
        Ok(Synced {
            sent,
            received: messages(&engine).await?.saturating_sub(before),
            pending: engine.overview().await?.pending,
            converged,
        })
    })
    .await?;
    if synced.converged {
        settings.home.note_sync(now_ms())?;
    }
    settings.printer.show(&synced, |synced| {
        let Synced {
            sent,
            received,
            pending,
            ..
        } = synced;
        format!("{sent} sent, {received} received, {pending} pending")
    })?;
    if synced.converged {
        return Ok(());
    }
    let failure = Failure::new(Code::Partial, "not everything was exchanged in time");
    Err(failure.advise("run it again, or give it longer with --timeout"))
}

async fn messages(engine: &Engine) -> Result<u64, Failure> {
    let known = engine.conversations().await?;
    Ok(known.iter().map(|info| info.messages).sum())
}

/// Longest wait for the relay's receipts of a vault, once everything else is settled.
const VAULT_MAX: Duration = Duration::from_secs(5);

/// Waits until nothing is left, and counts the messages that got their receipt meanwhile.
async fn settle(
    engine: &Engine,
    events: &mut EventStream,
    max: Duration,
) -> Result<(bool, u64), Failure> {
    let mut sent = 0_u64;
    let mut count = |event: Event| {
        if let Event::MessagesSent { messages, .. } = event {
            sent = sent.saturating_add(u64::try_from(messages.len()).unwrap_or(u64::MAX));
        }
    };
    let settled = engine.wait_settled(max);
    tokio::pin!(settled);
    let settled = loop {
        tokio::select! {
            end = &mut settled => break end,
            Some(event) = events.next() => count(event),
        }
    };
    while let Ok(Some(event)) = timeout(LAST_EVENTS, events.next()).await {
        count(event);
    }
    match settled {
        Ok(overview) => {
            if overview.user.is_some() {
                // What has just come in is to be in the vault before this program ends.
                engine.publish_vault().await?;
                let written = engine.wait_settled(VAULT_MAX).await.is_ok();
                return Ok((written, sent));
            }
            Ok((true, sent))
        }
        Err(EngineError::NotSettled { .. } | EngineError::Link(_)) => Ok((false, sent)),
        Err(other) => Err(other.into()),
    }
}

#[derive(Serialize)]
struct Behind {
    conversation: String,
    device: String,
    name: String,
}

#[derive(Serialize)]
struct Passed {
    durable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    everywhere: Option<bool>,
    missing: Vec<Behind>,
}

async fn barrier(settings: &Settings, everywhere: bool, timeout: Duration) -> Result<(), Failure> {
    expect_relay(settings)?;
    let passed = with_engine(settings, Reach::Online, |engine| async move {
        let deadline = Instant::now() + timeout;
        connect(&engine, timeout.min(CONNECT_MAX)).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        let barrier = engine.barrier(everywhere, left).await?;
        let known = engine.conversations().await?;
        let missing = barrier.behind.iter().map(|(conversation, device)| {
            let info = known.iter().find(|info| info.conversation == *conversation);
            let peers = info.into_iter().flat_map(|info| &info.peers);
            let peer = peers.clone().find(|peer| peer.device == *device);
            Behind {
                conversation: conversation.to_string(),
                device: device.to_string(),
                name: peer.map(|peer| peer.name.clone()).unwrap_or_default(),
            }
        });
        Ok(Passed {
            durable: barrier.durable,
            everywhere: everywhere.then_some(barrier.durable && barrier.behind.is_empty()),
            missing: missing.collect(),
        })
    })
    .await?;
    settings.printer.show(&passed, |passed| {
        let row = |behind: &Behind| vec![behind.conversation.clone(), behind.name.clone()];
        let rows: Vec<_> = passed.missing.iter().map(row).collect();
        match (passed.durable, passed.everywhere) {
            (false, _) => "not everything is durable at the relay".to_owned(),
            (true, None) => "durable at the relay".to_owned(),
            (true, Some(true)) => "on every device".to_owned(),
            (true, Some(false)) => format!(
                "durable at the relay; not yet on:\n{}",
                table(&["conversation", "device"], &rows)
            ),
        }
    })?;
    if passed.durable && passed.everywhere != Some(false) {
        return Ok(());
    }
    let failure = Failure::new(Code::Partial, "the barrier was not reached in time");
    Err(failure
        .advise("devices that are away say so when they come back; `sheaf status` lists them"))
}

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

async fn resync(
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
        let left = deadline.saturating_duration_since(Instant::now());
        settle(&engine, &mut events, left).await?;
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
        settle(&engine, &mut events, left).await?;
        engine.acknowledge().await?;
        let left = deadline.saturating_duration_since(Instant::now());
        settle(&engine, &mut events, left).await?;
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
fn peers(known: &[ConversationInfo]) -> Vec<PeerInfo> {
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
                one.name.clone(),
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
