//! `sheaf relay evidence` and `sheaf relay verify`: proof that a relay contradicted itself.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use sheaf_engine::{Evidence, EvidenceInfo, Verdict};

use crate::exit::{Code, Failure};
use crate::output::table;
use crate::request::Settings;
use crate::session::{Reach, with_engine};
use crate::time::rfc3339;

/// Largest file that is read: far more pieces than a device keeps.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// One piece, found here or read from a file.
#[derive(Serialize)]
struct Piece {
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<String>,
    relay: String,
    topic: String,
    log: u64,
    sequence: u64,
    /// `histories` or `records`: what the relay signed two of for that place.
    of: &'static str,
    piece: String,
}

impl Piece {
    fn new(piece: &Evidence, verdict: &Verdict, found: Option<String>) -> Self {
        Self {
            found,
            relay: verdict.relay.to_string(),
            topic: verdict.topic.to_string(),
            log: verdict.cursor.log.0,
            sequence: verdict.cursor.sequence,
            of: verdict.of,
            piece: piece.to_string(),
        }
    }
}

fn text(pieces: &[Piece]) -> String {
    let rows: Vec<Vec<String>> = pieces
        .iter()
        .map(|one| {
            let topic = one.topic.chars().take(8).collect();
            vec![
                one.relay.clone(),
                format!("signed two {} for one place", one.of),
                topic,
                one.sequence.to_string(),
                one.found.clone().unwrap_or_default(),
            ]
        })
        .collect();
    table(&["relay", "what", "topic", "place", "found"], &rows)
}

/// # Errors
/// Without a store, or when the file cannot be written.
pub(super) async fn evidence(settings: &Settings, export: Option<PathBuf>) -> Result<(), Failure> {
    let known = with_engine(settings, Reach::Offline, |engine| async move {
        Ok(engine.evidence().await?)
    });
    let known: Vec<EvidenceInfo> = known.await?;
    if let Some(path) = export {
        if known.is_empty() {
            return Err(Failure::failed("there is no evidence against any relay"));
        }
        let write = || -> std::io::Result<()> {
            let mut file = std::fs::File::create_new(&path)?;
            for info in &known {
                writeln!(file, "{}", info.piece)?;
            }
            file.sync_all()
        };
        write().map_err(|error| {
            Failure::failed(format!("cannot write {}: {error}", path.display()))
        })?;
    }
    let pieces: Vec<Piece> = known
        .iter()
        .filter_map(|info| {
            let found = rfc3339(info.found.0);
            let verdict = info.piece.verify().ok()?;
            Some(Piece::new(&info.piece, &verdict, Some(found)))
        })
        .collect();
    settings.printer.list(&pieces, |pieces| match pieces {
        [] => "no relay has contradicted itself".to_owned(),
        pieces => text(pieces),
    })
}

/// Checks every piece of a file by itself.
///
/// # Errors
/// When one of them proves nothing, or there is none.
pub(super) fn verify(settings: &Settings, path: &Path) -> Result<(), Failure> {
    let mut content = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut content));
    read.map_err(|error| Failure::failed(format!("cannot read {}: {error}", path.display())))?;
    let content = String::from_utf8(content).map_err(|_| refused(1, "the file is not text"))?;
    let mut pieces = Vec::new();
    for (number, line) in (1..).zip(content.lines()) {
        let checked = line.parse::<Evidence>().and_then(|piece| {
            let verdict = piece.verify()?;
            Ok(Piece::new(&piece, &verdict, None))
        });
        let piece = checked.map_err(|error| refused(number, &error.to_string()))?;
        pieces.push(piece);
    }
    if pieces.is_empty() {
        return Err(refused(1, "there is no piece of evidence in the file"));
    }
    settings.printer.list(&pieces, text)
}

fn refused(line: usize, why: &str) -> Failure {
    Failure::new(Code::Integrity, format!("line {line}: {why}"))
        .advise("it proves nothing; ask for the file as `sheaf relay evidence --export` wrote it")
}
