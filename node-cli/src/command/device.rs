//! `sheaf device`: linking on both sides, and the list.

mod change;
mod qr;
mod quarantine;
mod report;

use std::io::{BufRead, IsTerminal, Write};
use std::time::Duration;

use serde::Serialize;
use sheaf_engine::{DeviceInfo, DeviceStanding, Engine, Event, EventStream, ProgressStage};
use tokio::time::{Instant, timeout_at};

use crate::exit::{Code, Failure};
use crate::output::{harmless, table};
use crate::request::Settings;
use crate::session::{Reach, check_names, connect, with_engine, with_new_engine};
use crate::time::rfc3339;

use super::progress::{Lines, Meter};

pub(super) use change::{change, decline};
pub(super) use quarantine::{lift as lift_quarantine, list as list_quarantines};
pub(super) use report::report;

/// Longest wait for the relay before linking begins.
const CONNECT_MAX: Duration = Duration::from_secs(15);
/// How long conversations may take to follow a new device; the next sync brings the rest.
const SETTLE: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct Offered<'a> {
    code: &'a str,
}

#[derive(Serialize)]
struct Digits {
    digits: String,
    fingerprint: String,
}

#[derive(Serialize)]
struct Linked {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    device: String,
    state: &'static str,
}

#[derive(Serialize)]
struct Device {
    device: String,
    name: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frozen_by: Option<String>,
    this: bool,
    primary: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    declined: bool,
    last_seen: Option<String>,
}

impl From<DeviceInfo> for Device {
    fn from(info: DeviceInfo) -> Self {
        Self {
            device: info.device.to_string(),
            name: info.name,
            state: match info.state {
                DeviceStanding::Active => "active",
                DeviceStanding::Frozen => "frozen",
                DeviceStanding::Revoked => "revoked",
            },
            refused: info.refused,
            frozen_by: info.frozen_by,
            this: info.this,
            primary: info.primary,
            declined: info.declined,
            last_seen: info.last_seen.map(|time| rfc3339(time.0)),
        }
    }
}

/// Shows a code, reads the digits, approves the new device.
pub(super) async fn link(settings: &Settings, timeout: Duration) -> Result<(), Failure> {
    with_engine(settings, Reach::Online, |engine| async move {
        let deadline = Instant::now() + timeout;
        connect(&engine, timeout.min(CONNECT_MAX)).await?;
        let mut events = engine.events();
        let code = engine.start_link().await?;
        qr::show(settings, &code);
        settings.printer.show(&Offered { code: &code }, |shown| {
            format!(
                "On the new device: sheaf device join {} --device NAME",
                shown.code
            )
        })?;
        let linked = approve(settings, &engine, &mut events, deadline).await;
        if linked.is_err() {
            // The code is void either way; the first failure is the one to tell.
            let _cancelled = engine.cancel_link().await;
        }
        let device = linked?;
        let shown = Linked {
            user: None,
            device,
            state: "active",
        };
        settings
            .printer
            .show(&shown, |shown| format!("device {} is active", shown.device))?;
        // What is not through by then goes out at the next connection.
        let _settled = engine.wait_settled(SETTLE).await;
        Ok(())
    })
    .await
}

async fn approve(
    settings: &Settings,
    engine: &Engine,
    events: &mut EventStream,
    deadline: Instant,
) -> Result<String, Failure> {
    let typed = tokio::task::spawn_blocking(read_digits);
    let asked = async {
        while let Some(event) = events.next().await {
            if let Event::LinkRequested { name } = event {
                let name = harmless(&name);
                let words = format!("\"{name}\" asks to join; type the digits that it shows");
                settings.printer.say(&words);
                return Ok(());
            } else if let Event::LinkFailed { reason } = event {
                return Err(failed(&reason));
            }
        }
        Err(failed("the engine was closed"))
    };
    let both = async { tokio::try_join!(asked, async { joined(typed.await) }) };
    let ((), digits) = timeout_at(deadline, both).await.map_err(|_| late())??;
    let device = timeout_at(deadline, engine.approve_link(&digits))
        .await
        .map_err(|_| late())??;
    Ok(device.to_string())
}

fn joined(
    typed: Result<Result<String, Failure>, tokio::task::JoinError>,
) -> Result<String, Failure> {
    typed.map_err(|error| Failure::failed(format!("the digits were not read: {error}")))?
}

fn read_digits() -> Result<String, Failure> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        let mut stderr = std::io::stderr().lock();
        write!(stderr, "Digits: ")?;
        stderr.flush()?;
    }
    let mut line = String::new();
    if stdin.lock().read_line(&mut line)? == 0 {
        return Err(Failure::usage("no digits came on standard input")
            .advise("type the six digits that the new device shows"));
    }
    let digits: String = line.chars().filter(char::is_ascii_digit).collect();
    Ok(digits)
}

/// Makes this device part of the account that shows a code.
pub(super) async fn join(
    settings: &Settings,
    code: String,
    device: String,
    timeout: Duration,
) -> Result<(), Failure> {
    check_names(&[("the device's name", &device)])?;
    with_new_engine(settings, Reach::Online, |engine| async move {
        let deadline = Instant::now() + timeout;
        let mut events = engine.events();
        engine.join_account(code.trim(), &device).await?;
        connect(&engine, timeout.min(CONNECT_MAX)).await?;
        let completed = timeout_at(deadline, wait_joined(settings, &mut events)).await;
        let (user, device) = match completed {
            Ok(joined) => joined?,
            Err(_) => {
                // The code is void either way.
                let _cancelled = engine.cancel_link().await;
                return Err(late());
            }
        };
        let shown = Linked {
            user: Some(user),
            device,
            state: "active",
        };
        settings.printer.show(&shown, |shown| {
            format!("this device, {}, is active", shown.device)
        })?;
        follow_account(settings, &engine).await?;
        follow_history(settings, &engine, &mut events).await
    })
    .await
}

/// Shows how conversations come. What is not here by then comes with the next sync.
async fn follow_history(
    settings: &Settings,
    engine: &Engine,
    events: &mut EventStream,
) -> Result<(), Failure> {
    let mut meter = Meter::new(settings.printer, Lines::Words);
    let settled = engine.wait_settled(SETTLE);
    tokio::pin!(settled);
    loop {
        tokio::select! {
            _settled = &mut settled => break,
            Some(event) = events.next() => meter.heed(&event)?,
        }
    }
    let progress = engine.progress().await?;
    meter.end(progress)?;
    if progress.stage != ProgressStage::Done && !settings.printer.is_json() {
        let words = "the rest comes with `sheaf run` or `sheaf sync now`";
        settings.printer.say(words);
    }
    Ok(())
}

/// Uses the account's relays from now on, where the user named none.
async fn follow_account(settings: &Settings, engine: &Engine) -> Result<(), Failure> {
    if !settings.home.relays(&[])?.is_empty() {
        return Ok(());
    }
    let relays = engine.overview().await?.relays;
    if relays.is_empty() {
        let words = "give --relay URL to the next command; it is remembered from then on";
        settings.printer.say(words);
        return Ok(());
    }
    settings.home.relays(&relays)?;
    engine.use_relays(relays).await?;
    connect(engine, CONNECT_MAX).await
}

async fn wait_joined(
    settings: &Settings,
    events: &mut EventStream,
) -> Result<(String, String), Failure> {
    while let Some(event) = events.next().await {
        if let Event::LinkDigits {
            digits,
            fingerprint,
        } = event
        {
            let shown = Digits {
                digits,
                fingerprint,
            };
            settings.printer.show(&shown, |shown| {
                format!(
                    "fingerprint  {}\ntype these digits on the existing device: {}",
                    shown.fingerprint, shown.digits
                )
            })?;
        } else if let Event::LinkCompleted { user, device } = event {
            return Ok((user.to_string(), device.to_string()));
        } else if let Event::LinkFailed { reason } = event {
            return Err(failed(&reason));
        }
    }
    Err(failed("the engine was closed"))
}

fn failed(reason: &str) -> Failure {
    Failure::new(Code::NotApproved, format!("linking failed: {reason}"))
        .advise("start again with `sheaf device link` on the existing device")
}

fn late() -> Failure {
    failed("nothing came from the other device in time")
}

/// Lists one's own devices.
pub(super) async fn list(settings: &Settings) -> Result<(), Failure> {
    let devices = with_engine(settings, Reach::Offline, |engine| async move {
        Ok(engine.devices().await?)
    })
    .await?;
    let devices: Vec<Device> = devices.into_iter().map(Device::from).collect();
    settings.printer.list(&devices, |devices| {
        let rows: Vec<_> = devices
            .iter()
            .map(|device| {
                let this = if device.this { "this" } else { "" };
                let primary = if device.primary { "primary" } else { "" };
                vec![
                    harmless(&device.name),
                    device.frozen_by.as_ref().map_or_else(
                        || device.state.to_owned(),
                        |by| format!("{} by {}", device.state, harmless(by)),
                    ),
                    format!("{primary} {this}").trim().to_owned(),
                    device
                        .last_seen
                        .clone()
                        .unwrap_or_else(|| "never".to_owned()),
                    device.device.clone(),
                ]
            })
            .collect();
        table(&["name", "state", "", "last seen", "device"], &rows)
    })
}
