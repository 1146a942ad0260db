//! `sheaf device quarantine`.

use serde::Serialize;
use sheaf_engine::{Engine, QuarantineInfo};

use crate::exit::Failure;
use crate::output::{harmless, table};
use crate::request::Settings;
use crate::session::{Reach, with_engine};
use crate::time::rfc3339;

/// Shortest beginning of an id that names a device.
const PREFIX_MIN: usize = 4;

#[derive(Serialize)]
struct Quarantined {
    device: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_name: Option<String>,
    why: String,
    since: String,
    until: Option<String>,
    kept: u64,
    counts: Vec<Counted>,
}

#[derive(Serialize)]
struct Counted {
    what: String,
    count: u64,
}

#[derive(Serialize)]
struct Lifted {
    device: String,
    quarantined: bool,
}

async fn shown(engine: &Engine, info: QuarantineInfo) -> Result<Quarantined, Failure> {
    let user_name = match info.user {
        Some(user) => Some(engine.name_of(user).await?),
        None => None,
    };
    let counts = info.counts.iter().map(|(what, count)| Counted {
        what: what.to_string(),
        count: *count,
    });
    Ok(Quarantined {
        device: info.device.to_string(),
        user: info.user.map(|user| user.to_string()),
        user_name,
        why: info.quarantine.why.to_string(),
        since: rfc3339(info.quarantine.since.0),
        until: info.quarantine.until.map(|until| rfc3339(until.0)),
        kept: info.kept,
        counts: counts.collect(),
    })
}

/// Lists devices in quarantine.
pub(in crate::command) async fn list(settings: &Settings) -> Result<(), Failure> {
    let quarantined = with_engine(settings, Reach::Offline, |engine| async move {
        let mut quarantined = Vec::new();
        for info in engine.quarantines().await? {
            quarantined.push(shown(&engine, info).await?);
        }
        Ok(quarantined)
    })
    .await?;
    if quarantined.is_empty() && !settings.printer.is_json() {
        settings.printer.say("no device is in quarantine");
        return Ok(());
    }
    settings.printer.list(&quarantined, |quarantined| {
        let rows: Vec<_> = quarantined
            .iter()
            .map(|known| {
                vec![
                    harmless(known.user_name.as_deref().unwrap_or("unknown")),
                    known.until.clone().unwrap_or_else(|| "lifted".to_owned()),
                    known.kept.to_string(),
                    known.why.clone(),
                    known.device.clone(),
                ]
            })
            .collect();
        table(&["user", "until", "kept", "why", "device"], &rows)
    })
}

/// Takes a false alarm back.
pub(in crate::command) async fn lift(settings: &Settings, typed: String) -> Result<(), Failure> {
    let lifted = with_engine(settings, Reach::Offline, |engine| async move {
        let fits = |device: &str| {
            device == typed || (typed.len() >= PREFIX_MIN && device.starts_with(&typed))
        };
        let quarantines = engine.quarantines().await?.into_iter();
        let found: Vec<_> = quarantines
            .filter(|info| fits(&info.device.to_string()))
            .collect();
        let [info] = found.as_slice() else {
            let words = format!("\"{typed}\" names {} devices in quarantine", found.len());
            let failure = Failure::failed(words);
            return Err(failure.advise("`sheaf device quarantine list` shows their ids"));
        };
        engine.lift_quarantine(info.device).await?;
        Ok(Lifted {
            device: info.device.to_string(),
            quarantined: false,
        })
    })
    .await?;
    settings.printer.show(&lifted, |lifted| {
        format!(
            "{} is out of quarantine; what was kept back is taken in",
            lifted.device
        )
    })
}
