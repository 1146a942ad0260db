//! Conversations as JSON lines, plain or gzipped: one message a line.

mod batch;

pub(crate) use batch::Batch;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde::Deserialize;

use crate::exit::Failure;
use crate::time::parse_rfc3339;

/// Longest line that is read, in bytes.
const LINE_BYTES_MAX: u64 = 1024 * 1024;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// One message.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Line {
    /// Which conversation of the file; one unnamed conversation by default.
    #[serde(default)]
    pub(crate) conversation: String,
    /// Its number there, by which replies name it.
    pub(crate) seq: u64,
    /// When it was written, RFC 3339.
    pub(crate) time: String,
    /// What it is.
    #[serde(default)]
    pub(crate) kind: LineKind,
    /// Who wrote it; nobody, for some notices.
    #[serde(default)]
    pub(crate) author: Option<String>,
    /// The text.
    pub(crate) text: String,
    /// Number of the message answered.
    #[serde(default)]
    pub(crate) reply_to: Option<u64>,
}

/// What a line is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LineKind {
    /// Something said.
    #[default]
    Text,
    /// A notice.
    System,
}

impl Line {
    /// Name of who wrote it; empty for nobody.
    pub(crate) fn author(&self) -> &str {
        self.author.as_deref().unwrap_or_default()
    }

    /// When it was written, in milliseconds since 1970.
    pub(crate) fn time_ms(&self) -> Option<i64> {
        parse_rfc3339(&self.time)
    }
}

/// Lines read one after the other, never all at once.
pub(crate) struct Lines {
    reader: Box<dyn BufRead + Send>,
    name: String,
    number: u64,
}

impl Lines {
    /// Opens a file; whether it is gzipped is seen from its first bytes.
    ///
    /// # Errors
    /// A failure that names the file.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let cannot = |error| Failure::failed(format!("cannot read {name}: {error}"));
        let mut reader = BufReader::new(File::open(path).map_err(cannot)?);
        let gzipped = reader.fill_buf().map_err(cannot)?.starts_with(&GZIP_MAGIC);
        let reader: Box<dyn BufRead + Send> = if gzipped {
            Box::new(BufReader::new(MultiGzDecoder::new(reader)))
        } else {
            Box::new(reader)
        };
        Ok(Self {
            reader,
            name,
            number: 0,
        })
    }

    /// Reads text that is part of the program.
    pub(crate) fn built_in(text: &'static str) -> Self {
        Self {
            reader: Box::new(text.as_bytes()),
            name: "the built-in conversation".to_owned(),
            number: 0,
        }
    }

    fn parse(&mut self) -> Result<Option<Line>, Failure> {
        loop {
            let mut text = Vec::new();
            self.number += 1;
            let (name, number) = (&self.name, self.number);
            let wrong = |reason: &dyn std::fmt::Display| {
                Failure::failed(format!("{name}, line {number}: {reason}")).advise(
                    "expected JSON with conversation, seq, time, kind, author, text and reply_to",
                )
            };
            let mut limited = (&mut self.reader).take(LINE_BYTES_MAX);
            let read = limited.read_until(b'\n', &mut text);
            if read.map_err(|error| wrong(&error))? == 0 {
                return Ok(None);
            }
            if text.len() as u64 == LINE_BYTES_MAX {
                return Err(wrong(&"the line is too long"));
            }
            if text.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let line: Line = serde_json::from_slice(&text).map_err(|error| wrong(&error))?;
            if line.time_ms().is_none() {
                return Err(wrong(&"the time is not RFC 3339"));
            }
            return Ok(Some(line));
        }
    }
}

impl Iterator for Lines {
    type Item = Result<Line, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        self.parse().transpose()
    }
}

#[cfg(test)]
mod tests;
