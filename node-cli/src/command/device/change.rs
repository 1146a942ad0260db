//! Changes of one's own device list.

use serde::Serialize;
use sheaf_engine::{DeviceId, DeviceInfo, DeviceStanding, Engine, RevocationReport};

use super::report::Report;
use crate::command::recover::phrase_of;
use crate::exit::Failure;
use crate::output::harmless;
use crate::request::{DeviceRequest, Settings};
use crate::resolve;
use crate::session::{change_reach, let_go, with_engine};

#[derive(Serialize)]
struct Renamed {
    device: String,
    name: String,
}

#[derive(Serialize)]
struct Standing {
    device: String,
    state: &'static str,
}

#[derive(Serialize)]
struct Primary {
    device: String,
    primary: bool,
}

#[derive(Serialize)]
struct Revoked {
    device: String,
    state: &'static str,
    rotated: Vec<String>,
    outstanding: Vec<String>,
    report: Report,
}

impl From<RevocationReport> for Revoked {
    fn from(report: RevocationReport) -> Self {
        Self {
            device: report.device.to_string(),
            state: "revoked",
            rotated: report.rotated.iter().map(ToString::to_string).collect(),
            outstanding: report.outstanding.iter().map(ToString::to_string).collect(),
            report: report.report.into(),
        }
    }
}

/// Changes a device: durable here when it is printed, then given a moment to reach the relay.
pub(in crate::command) async fn change(
    settings: &Settings,
    typed: String,
    change: DeviceRequest,
) -> Result<(), Failure> {
    with_engine(settings, change_reach(settings)?, |engine| async move {
        let device = resolve::device(&engine, &typed).await?;
        apply(settings, &engine, device, change).await?;
        let_go(settings, &engine).await
    })
    .await
}

async fn apply(
    settings: &Settings,
    engine: &Engine,
    info: DeviceInfo,
    change: DeviceRequest,
) -> Result<(), Failure> {
    let (id, device) = (info.device, info.device.to_string());
    let shown = harmless(&info.name);
    match change {
        DeviceRequest::Rename(name) => {
            engine.rename_device(id, &name).await?;
            settings.printer.show(&Renamed { device, name }, |renamed| {
                format!("{shown} is called {} now", harmless(&renamed.name))
            })
        }
        DeviceRequest::Freeze => {
            engine.freeze_device(id).await?;
            standing(settings, device, "frozen", &shown)
        }
        DeviceRequest::Thaw => {
            engine.thaw_device(id).await?;
            standing(settings, device, "active", &shown)
        }
        DeviceRequest::ThawByPhrase(file) => {
            let phrase = phrase_of(Some(&file))?;
            engine.thaw_by_phrase(id, phrase.trim()).await?;
            standing(settings, device, "active", &shown)
        }
        DeviceRequest::HandOver => {
            engine.hand_over(id).await?;
            let primary = Primary {
                device,
                primary: true,
            };
            settings
                .printer
                .show(&primary, |_| format!("{shown} is the primary device now"))
        }
        DeviceRequest::Revoke => {
            expect_another(engine, id).await?;
            let revoked = Revoked::from(engine.revoke_device(id).await?);
            settings
                .printer
                .show(&revoked, |revoked| words(revoked, &shown))
        }
    }
}

/// Nobody could write, link a device or take it back once the only one is out.
async fn expect_another(engine: &Engine, revoked: DeviceId) -> Result<(), Failure> {
    let devices = engine.devices().await?;
    let stays =
        |device: &DeviceInfo| device.device != revoked && device.state != DeviceStanding::Revoked;
    if devices.iter().any(stays) {
        return Ok(());
    }
    Err(
        Failure::failed("it is the only device of the account; nothing was changed").advise(
            "link another one first; `sheaf account recover` on another machine ends this one too",
        ),
    )
}

fn standing(
    settings: &Settings,
    device: String,
    state: &'static str,
    shown: &str,
) -> Result<(), Failure> {
    settings
        .printer
        .show(&Standing { device, state }, |standing| {
            format!("{shown} is {} now", standing.state)
        })
}

fn words(revoked: &Revoked, shown: &str) -> String {
    let mut words = format!(
        "{shown} is revoked; out of {} conversations, each under a new key",
        revoked.rotated.len()
    );
    if !revoked.outstanding.is_empty() {
        words.push_str(&format!(
            "\nstill part of {}; another member's device takes it out there",
            revoked.outstanding.join(", ")
        ));
    }
    words.push('\n');
    words.push_str(&revoked.report.words());
    words
}

/// Says that this device is not to be primary.
pub(in crate::command) async fn decline(settings: &Settings) -> Result<(), Failure> {
    with_engine(settings, change_reach(settings)?, |engine| async move {
        engine.decline_primary().await?;
        let devices = engine.devices().await?;
        let this = devices.iter().find(|device| device.this);
        let primary = devices.iter().find(|device| device.primary);
        let name = primary.map_or_else(String::new, |device| harmless(&device.name));
        let shown = Primary {
            device: this.map_or_else(String::new, |device| device.device.to_string()),
            primary: this.is_some_and(|device| device.primary),
        };
        settings.printer.show(&shown, |shown| {
            if shown.primary {
                "there is no other device that could be primary: it stays with this one".to_owned()
            } else {
                format!("{name} is the primary device")
            }
        })?;
        let_go(settings, &engine).await
    })
    .await
}
