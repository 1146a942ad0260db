//! `sheaf sync`.

mod barrier;
mod bundle;
mod history;
mod resync;

use std::time::Duration;

use serde::Serialize;
use sheaf_engine::{Engine, EngineError, Event, EventStream, Role};
use tokio::time::{Instant, timeout};

use crate::exit::{Code, Failure};
use crate::output::harmless;
use crate::request::{Settings, SyncRequest};
use crate::session::{Reach, connect, with_engine};
use crate::time::now_ms;

use super::progress::{Lines, Meter};

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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waits: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

/// Fails when no relay was ever named.
///
/// # Errors
/// [`Code::RelayUnreachable`].
pub(super) fn expect_relay(settings: &Settings) -> Result<(), Failure> {
    settings.home.expect_store()?;
    if !settings.home.relays(&settings.relays)?.is_empty() {
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
        } => barrier::barrier(settings, everywhere, timeout).await,
        SyncRequest::Export {
            file,
            device,
            conversations,
        } => bundle::export(settings, &file, &device, &conversations).await,
        SyncRequest::Import { file } => bundle::import(settings, &file).await,
        SyncRequest::History { limit } => history::history(settings, limit).await,
        SyncRequest::Resync {
            conversations,
            devices,
            full,
            timeout,
        } => resync::resync(settings, &conversations, &devices, full, timeout).await,
    }
}

/// Connects, pushes and pulls until nothing is left.
async fn now(settings: &Settings, timeout: Duration) -> Result<(), Failure> {
    expect_relay(settings)?;
    let synced = with_engine(settings, Reach::Online, |engine| async move {
        let deadline = Instant::now() + timeout;
        let mut events = engine.events();
        let before = messages(&engine).await?;
        let mut meter = Meter::new(settings.printer, Lines::Words);
        connect(&engine, timeout.min(CONNECT_MAX)).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        let seen = (&mut events, &mut meter);
        let (mut converged, mut sent) = settle(&engine, seen, left).await?;
        // What came is acknowledged before the connection goes.
        engine.acknowledge().await?;
        let left = deadline.saturating_duration_since(Instant::now());
        if converged {
            let seen = (&mut events, &mut meter);
            let (again, more) = settle(&engine, seen, left).await?;
            converged = again;
            sent = sent.saturating_add(more);
        }
        meter.end(engine.progress().await?)?;
        let pending = engine.overview().await?.pending;
        Ok(Synced {
            sent,
            received: messages(&engine).await?.saturating_sub(before),
            pending,
            converged,
            waits: waits(&engine).await?,
            refused: engine.link_status().refused.filter(|_| pending > 0),
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
    Err(shortfall(&synced))
}

/// Why not everything was exchanged.
fn shortfall(synced: &Synced) -> Failure {
    if !synced.waits.is_empty() {
        let waits = format!(
            "what this device wrote in {} waits: it may not write there now",
            synced.waits.join(", ")
        );
        let failure = Failure::new(Code::Partial, waits);
        return failure.advise("`sheaf doctor` says why, and what to do");
    }
    if let Some(said) = &synced.refused {
        let refused = format!(
            "the relay does not take what this device writes: {}",
            harmless(said)
        );
        let failure = Failure::new(Code::Partial, refused);
        return failure.advise("it is kept here and offered again; `sheaf doctor` says what to do");
    }
    let failure = Failure::new(Code::Partial, "not everything was exchanged in time");
    failure.advise("run it again, or give it longer with --timeout")
}

/// Names of conversations where changes wait that cannot leave, however long one waits.
async fn waits(engine: &Engine) -> Result<Vec<String>, Failure> {
    let user = engine.overview().await?.user;
    let known = engine.conversations().await?;
    let stuck = known.iter().filter(|info| {
        let mut members = info.members.iter();
        let role = members.find(|(member, ..)| Some(*member) == user);
        let writes = role.is_some_and(|(_, _, role, _)| *role >= Role::Writer);
        info.pending > 0 && !(writes && info.takes_part)
    });
    Ok(stuck.map(|info| harmless(&info.name)).collect())
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
    (events, meter): (&mut EventStream, &mut Meter),
    max: Duration,
) -> Result<(bool, u64), Failure> {
    let mut sent = 0_u64;
    let mut count = |event: Event| {
        if let Event::MessagesSent { messages, .. } = &event {
            sent = sent.saturating_add(u64::try_from(messages.len()).unwrap_or(u64::MAX));
        }
        meter.heed(&event)
    };
    let settled = engine.wait_settled(max);
    tokio::pin!(settled);
    let settled = loop {
        tokio::select! {
            end = &mut settled => break end,
            Some(event) = events.next() => count(event)?,
        }
    };
    while let Ok(Some(event)) = timeout(LAST_EVENTS, events.next()).await {
        count(event)?;
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
