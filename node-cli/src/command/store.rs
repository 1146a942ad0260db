//! `sheaf store`.

use std::path::{Path, PathBuf};

use serde::Serialize;
use sheaf_engine::{CheckReport, Overwrite};

use crate::exit::{Code, Failure};
use crate::output::table;
use crate::request::Settings;
use crate::secret::{Purpose, SecretSource};
use crate::session::{Reach, builder, with_engine};

#[derive(Serialize)]
struct Made<'a> {
    file: &'a Path,
    rows: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Restored {
    user: Option<String>,
    device: Option<String>,
    rows: u64,
}

#[derive(Serialize)]
struct Checked {
    sound: bool,
    records: u64,
    damaged: u64,
    unknown: u64,
    kinds: Vec<Kind>,
    erasable: Erasable,
    #[serde(skip_serializing_if = "Option::is_none")]
    contradiction: Option<String>,
}

#[derive(Serialize)]
struct Kind {
    kind: &'static str,
    records: u64,
    damaged: u64,
}

/// Records whose secrets are erased one day.
#[derive(Serialize)]
struct Erasable {
    /// Which key they are under.
    generation: Option<u64>,
    records: u64,
    unprotected: u64,
    unfinished: bool,
}

/// Writes everything to one file.
pub(super) async fn backup(
    settings: &Settings,
    file: PathBuf,
    overwrite: Overwrite,
) -> Result<(), Failure> {
    settings.home.expect_store()?;
    let store = builder(settings, Purpose::Open)?;
    let made = store.backup(file.as_path(), overwrite).await?;
    let made = Made {
        file: &file,
        rows: made.rows,
        bytes: made.bytes,
    };
    settings.printer.show(&made, |made| {
        let Made { file, rows, bytes } = made;
        format!("{rows} rows, {bytes} bytes in {}", file.display())
    })
}

/// Makes a store of a backup.
pub(super) async fn restore(settings: &Settings, file: PathBuf) -> Result<(), Failure> {
    let store = builder(settings, Purpose::Open)?;
    settings.home.create()?;
    let restored = store.restore(file).await?;
    if let SecretSource::Keyring(name) = &settings.secret {
        settings.home.note_keyring(Some(name))?;
    }
    // The home of the backup remembered its relays beside the store; the account names them as well.
    match settings.relays.is_empty() {
        true => settings.home.relays(&restored.relays)?,
        false => settings.home.relays(&settings.relays)?,
    };
    settings.printer.say(
        "run `sheaf sync now` before anything else: what was sent after the backup is at the relay. \
         The device that the backup is of must not write any more.",
    );
    let restored = Restored {
        user: restored.user.map(|user| user.to_string()),
        device: restored.device.map(|device| device.to_string()),
        rows: restored.records,
    };
    settings.printer.show(&restored, |restored| {
        let Restored { user, device, rows } = restored;
        let (user, device) = (user.as_deref(), device.as_deref());
        format!(
            "{rows} rows restored\nuser    {}\ndevice  {}",
            user.unwrap_or("none"),
            device.unwrap_or("none")
        )
    })
}

#[derive(Serialize)]
struct Mended {
    removed: u64,
    to_fetch: u64,
}

/// Removes damaged records that are derived again or fetched.
pub(super) async fn repair(settings: &Settings) -> Result<(), Failure> {
    settings.home.expect_store()?;
    let report = builder(settings, Purpose::Open)?.check().await?;
    if !report.is_replaceable() {
        return check(settings).await;
    }
    let repaired = with_engine(settings, Reach::Offline, |engine| async move {
        Ok(engine.repair().await?)
    })
    .await?;
    let mended = Mended {
        removed: repaired.records,
        to_fetch: repaired.to_fetch,
    };
    settings.printer.show(&mended, |mended| {
        let Mended { removed, to_fetch } = mended;
        match to_fetch {
            0 => format!("{removed} damaged records are removed; nothing is missing"),
            _ => format!(
                "{removed} damaged records are removed; {to_fetch} segments are fetched from other \
                 devices: run `sheaf sync now` or `sheaf run`"
            ),
        }
    })
}

/// Opens every record.
pub(super) async fn check(settings: &Settings) -> Result<(), Failure> {
    settings.home.expect_store()?;
    let report = builder(settings, Purpose::Open)?.check().await?;
    let checked = Checked {
        sound: report.is_sound(),
        records: report.records(),
        damaged: report.damaged(),
        unknown: report.unknown,
        kinds: kinds(&report),
        erasable: Erasable {
            generation: report.erasable.generation,
            records: report.erasable.records,
            unprotected: report.erasable.unprotected,
            unfinished: report.erasable.unfinished,
        },
        contradiction: report.contradiction.clone(),
    };
    settings.printer.show(&checked, text)?;
    if checked.erasable.unfinished {
        settings
            .printer
            .say("an erasure waits for room on the disk; the next start with room finishes it");
    }
    if checked.erasable.unprotected > 0 {
        settings.printer.say(
            "some secrets were written by an earlier version: older copies of them stay in this store's \
             files; a backup that is restored into a new home leaves them behind",
        );
    }
    if checked.sound {
        return Ok(());
    }
    let what = match &checked.contradiction {
        Some(contradiction) => format!("the store is damaged: {contradiction}"),
        None => format!("the store is damaged: {} records", checked.damaged),
    };
    if report.is_replaceable() {
        let advice = "all of it can be derived again or fetched from other devices: run `sheaf store \
                      check --repair`, then `sheaf sync now`; no backup is needed";
        return Err(Failure::new(Code::Integrity, what).advise(advice));
    }
    Err(Failure::new(Code::Integrity, what).advise(
        "keep a copy of the home; restore a backup into a new home with `sheaf store restore` and \
         run `sheaf sync now` there, or link the device again",
    ))
}

fn kinds(report: &CheckReport) -> Vec<Kind> {
    let kinds = report.kinds.iter().map(|kind| Kind {
        kind: kind.kind,
        records: kind.records,
        damaged: kind.damaged,
    });
    kinds.collect()
}

fn text(checked: &Checked) -> String {
    let rows: Vec<_> = checked
        .kinds
        .iter()
        .map(|kind| {
            vec![
                kind.kind.to_owned(),
                kind.records.to_string(),
                kind.damaged.to_string(),
            ]
        })
        .collect();
    let kinds = table(&["KIND", "RECORDS", "DAMAGED"], &rows);
    let Erasable {
        generation,
        records,
        ..
    } = checked.erasable;
    match generation {
        Some(generation) => format!("{kinds}\n{records} of them under erasable key {generation}"),
        None => kinds,
    }
}
