//! A witness beside the store: how many batches were durable, so that a lost tail is noticed.
//!
//! It is written after a batch is durable and never synced on its own: after a power cut it may be
//! behind the store, never ahead of it. A store that has fewer batches than its witness has lost
//! some.

use std::fs::{File, OpenOptions};
use std::io::{Error, Read, Seek, SeekFrom, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

/// Batches and log id, twice hashed against a torn write.
const BODY_BYTES: usize = 16;
const CHECK_BYTES: usize = 8;

#[derive(Debug)]
pub(super) struct Witness {
    file: File,
    log: u64,
}

impl Witness {
    /// Opens the witness and reads how many batches it saw; `None` where it has nothing to say: it
    /// is new, torn, or of another store.
    pub(super) fn open(path: &Path, log: u64) -> Result<(Self, Option<u64>), Error> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let mut bytes = Vec::new();
        (&mut file).take(64).read_to_end(&mut bytes)?;
        let seen = decode(&bytes)
            .filter(|(owner, _)| *owner == log)
            .map(|(_, batches)| batches);
        Ok((Self { file, log }, seen))
    }

    pub(super) fn write(&mut self, batches: u64) -> Result<(), Error> {
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&encode(self.log, batches))
    }
}

fn encode(log: u64, batches: u64) -> Vec<u8> {
    let mut bytes = [log.to_be_bytes(), batches.to_be_bytes()].concat();
    let check = Sha256::digest(&bytes);
    bytes.extend(check.iter().take(CHECK_BYTES));
    bytes
}

fn decode(bytes: &[u8]) -> Option<(u64, u64)> {
    let body = bytes.first_chunk::<BODY_BYTES>()?;
    let (log, batches) = body.split_first_chunk::<8>()?;
    let (batches, _) = batches.split_first_chunk::<8>()?;
    let (log, batches) = (u64::from_be_bytes(*log), u64::from_be_bytes(*batches));
    (encode(log, batches) == bytes).then_some((log, batches))
}
