//! `sheaf relay`: several relays at once, and moving from one to another.

mod evidence;

use std::time::{Duration, Instant};

use serde::Serialize;
use sheaf_engine::{Engine, LinkState, RelayStatus, Transport};
use sheaf_protocol::RelayAddress;

use crate::exit::{Code, Failure};
use crate::output::table;
use crate::request::{RelayRequest, Settings};
use crate::session::{Reach, with_engine};
use crate::time::rfc3339;

/// Longest wait for a hello that is measured.
const HELLO_MAX: Duration = Duration::from_secs(10);

#[derive(Serialize)]
struct OneRelay {
    url: String,
    relay: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<&'static str>,
    last_hello: Option<String>,
    /// Records on their way to it.
    pending: u64,
    /// Conversations of which it is not known to have all that this device wrote.
    behind: u64,
    /// Records that it has left without a receipt for half a minute or longer.
    unconfirmed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    unconfirmed_since: Option<String>,
    /// Pieces of evidence that it contradicted itself.
    evidence: u64,
}

impl OneRelay {
    /// `waited`: it had time to answer.
    fn new(status: &RelayStatus, waited: bool) -> Self {
        let (state, reason) = match &status.state {
            LinkState::Synchronizing | LinkState::Active => ("connected", None),
            LinkState::Connecting if waited => ("unreachable", Some("no answer in time".into())),
            LinkState::Connecting => ("connecting", None),
            LinkState::Disconnected(error) => ("unreachable", Some(error.to_string())),
            LinkState::Offline | _ => ("offline", None),
        };
        Self {
            url: status.address.to_string(),
            relay: status.address.relay.to_string(),
            state,
            reason,
            transport: status.transport.map(Transport::name),
            last_hello: status.hello.map(|time| rfc3339(time.0)),
            pending: status.pending,
            behind: status.behind,
            unconfirmed: status.unconfirmed.map_or(0, |(count, _)| count),
            unconfirmed_since: status.unconfirmed.map(|(_, since)| rfc3339(since.0)),
            evidence: status.evidence,
        }
    }
}

impl OneRelay {
    /// What there is to say of it beside the figures.
    fn words(&self) -> String {
        let mut words: Vec<String> = self.reason.iter().cloned().collect();
        if let Some(since) = &self.unconfirmed_since {
            let count = self.unconfirmed;
            words.push(format!("has not confirmed {count} records since {since}"));
        }
        if self.evidence > 0 {
            words.push("contradicted itself: see `sheaf relay evidence`".to_owned());
        }
        words.join("; ")
    }
}

#[derive(Serialize)]
struct Changed {
    relays: Vec<String>,
    /// The relays in use have all that this device wrote.
    complete: bool,
}

#[derive(Serialize)]
struct Pinged {
    url: String,
    hello_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// # Errors
/// Those of the verb.
pub(super) async fn relay(settings: &Settings, request: RelayRequest) -> Result<(), Failure> {
    if let RelayRequest::Verify { file } = &request {
        return evidence::verify(settings, file);
    }
    settings.home.expect_store()?;
    match request {
        RelayRequest::Add { relay, timeout } => add(settings, relay, timeout).await,
        RelayRequest::Remove {
            relay,
            force,
            timeout,
        } => remove(settings, &relay, force, timeout).await,
        RelayRequest::List { wait } => list(settings, wait).await,
        RelayRequest::Ping { relay } => ping(settings, relay).await,
        RelayRequest::Evidence { export } => evidence::evidence(settings, export).await,
        RelayRequest::Verify { file } => evidence::verify(settings, &file),
    }
}

/// Uses these relays from now on, here and on the card.
async fn follow(
    settings: &Settings,
    engine: &Engine,
    relays: &[RelayAddress],
) -> Result<(), Failure> {
    engine.set_card_relays(relays).await?;
    match relays {
        [] => settings.home.forget_relays()?,
        relays => drop(settings.home.relays(relays)?),
    }
    engine.use_relays(relays.to_vec()).await?;
    Ok(())
}

async fn add(settings: &Settings, relay: RelayAddress, timeout: Duration) -> Result<(), Failure> {
    let mut relays = settings.home.relays(&settings.relays)?;
    relays.retain(|known| known.relay != relay.relay);
    relays.push(relay.clone());
    let complete = with_engine(settings, Reach::Online, |engine| async move {
        follow(settings, &engine, &relays).await?;
        let lacking = engine.wait_offered(&[relay], timeout).await?;
        Ok((relays, lacking.is_empty()))
    });
    changed(settings, complete.await?)
}

async fn remove(
    settings: &Settings,
    named: &str,
    force: bool,
    timeout: Duration,
) -> Result<(), Failure> {
    let known = settings.home.relays(&settings.relays)?;
    let is_named =
        |relay: &&RelayAddress| relay.to_string() == named || relay.relay.to_string() == named;
    if !known.iter().any(|relay| is_named(&relay)) {
        return Err(Failure::failed("no such relay is in use")
            .advise("`sheaf relay list` shows those that are"));
    }
    let left: Vec<RelayAddress> = known.iter().filter(|r| !is_named(r)).cloned().collect();
    let done = with_engine(settings, Reach::Online, |engine| async move {
        // One of those that stay has everything before the other one goes.
        let mut complete = left.is_empty();
        if !force {
            let lacking = engine.wait_offered(&left, timeout).await?;
            complete = !left.is_empty() && lacking.len() < left.len();
            if !complete {
                return Err(Failure::new(
                    Code::Partial,
                    "no other relay has all that this device wrote; nothing was changed",
                )
                .advise("connect to another one first, or give --force"));
            }
        }
        follow(settings, &engine, &left).await?;
        Ok((left, complete))
    });
    let (left, _) = done.await?;
    changed(settings, (left, true))
}

fn changed(
    settings: &Settings,
    (relays, complete): (Vec<RelayAddress>, bool),
) -> Result<(), Failure> {
    if complete {
        let relays = relays.iter().map(ToString::to_string).collect();
        let changed = Changed { relays, complete };
        return settings
            .printer
            .show(&changed, |shown| shown.relays.join("\n"));
    }
    Err(Failure::new(
        Code::Partial,
        "the relay does not have all that this device wrote yet",
    )
    .advise("it is remembered; the rest goes to it at the next connection"))
}

/// Gives every relay time to say hello or to fail.
pub(super) async fn look(engine: &Engine, wait: Duration) -> Result<Vec<RelayStatus>, Failure> {
    let deadline = Instant::now() + wait;
    loop {
        let statuses = engine.relays().await?;
        let open = |status: &RelayStatus| {
            matches!(status.state, LinkState::Offline | LinkState::Connecting)
                || matches!(status.state, LinkState::Synchronizing) && !status.has_everything()
        };
        if !statuses.iter().any(open) || Instant::now() >= deadline {
            return Ok(statuses);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn list(settings: &Settings, wait: Duration) -> Result<(), Failure> {
    // A link is made for each, and given no time where nobody wants to wait.
    let statuses = with_engine(settings, Reach::Online, |engine| async move {
        look(&engine, wait).await
    });
    let relays: Vec<OneRelay> = statuses
        .await?
        .iter()
        .map(|status| OneRelay::new(status, !wait.is_zero()))
        .collect();
    settings.printer.list(&relays, |relays| {
        let rows: Vec<Vec<String>> = relays
            .iter()
            .map(|one| {
                vec![
                    one.url.clone(),
                    one.state.to_owned(),
                    one.transport.unwrap_or("-").to_owned(),
                    one.last_hello.clone().unwrap_or_else(|| "never".to_owned()),
                    one.pending.to_string(),
                    one.behind.to_string(),
                    one.words(),
                ]
            })
            .collect();
        table(
            &[
                "relay",
                "state",
                "transport",
                "last hello",
                "pending",
                "behind",
                "",
            ],
            &rows,
        )
    })
}

async fn ping(settings: &Settings, relay: Option<RelayAddress>) -> Result<(), Failure> {
    let relays = match relay {
        Some(relay) => vec![relay],
        None => settings.home.relays(&settings.relays)?,
    };
    let pinged = with_engine(settings, Reach::Offline, |engine| async move {
        let mut pinged = Vec::new();
        for relay in relays {
            let started = Instant::now();
            engine.use_relays(vec![relay.clone()]).await?;
            let up = loop {
                let statuses = engine.relays().await?;
                let state = statuses.into_iter().map(|status| status.state).next();
                match state {
                    Some(LinkState::Synchronizing | LinkState::Active) => break Ok(()),
                    Some(LinkState::Disconnected(error)) => break Err(error.to_string()),
                    _ if started.elapsed() > HELLO_MAX => break Err("no answer".to_owned()),
                    _ => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            };
            pinged.push(Pinged {
                url: relay.to_string(),
                hello_ms: up.is_ok().then(|| started.elapsed().as_secs_f64() * 1e3),
                reason: up.err(),
            });
        }
        Ok(pinged)
    });
    let pinged = pinged.await?;
    settings.printer.list(&pinged, |pinged| {
        let lines = pinged.iter().map(|one| match (one.hello_ms, &one.reason) {
            (Some(ms), _) => format!("{}  hello after {ms:.1} ms", one.url),
            (None, reason) => {
                let reason = reason.as_deref().unwrap_or("no answer");
                format!("{}  {reason}", one.url)
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    })?;
    match pinged.iter().all(|one| one.hello_ms.is_some()) {
        true => Ok(()),
        false => Err(Failure::new(
            Code::RelayUnreachable,
            "not every relay answers",
        )),
    }
}
