//! A file that brings to one device what it lacks, where no network does.
//!
//! ```text
//! "sheaf-bundle" | version 1 | per record: length u32 (big endian) | record
//! ```
//!
//! The records are those that would go to the device's inbox: sealed to it, signed by this device,
//! and checked over there as if a relay had brought them.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use sheaf_crypto::{ConversationId, DeviceId};
use sheaf_protocol::limits::RECORD_BYTES_MAX;
use sheaf_replica::{Command, Reply};

use crate::engine::{Engine, EngineError, unexpected};

const MAGIC: &[u8; 12] = b"sheaf-bundle";
const VERSION: u8 = 1;
/// Largest file that is taken in.
const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Why a file was not written or taken in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The engine refused or is closed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It was written by a newer version.
    #[error("{0} was written by a newer version ({1}); use that version")]
    TooNew(PathBuf, u8),
    /// It is no such file, or one that was cut off.
    #[error("{0} is not a whole bundle of this version")]
    NotABundle(PathBuf),
}

/// What a file brought.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BundleTaken {
    /// Messages of the other device that were taken in.
    pub taken: u64,
    /// Why others were refused; the first few.
    pub refused: Vec<String>,
}

impl Engine {
    /// Writes what a device has not said to have of some conversations to a file that only it can
    /// read. Gives the number of records and bytes. The file is whole or not there.
    ///
    /// # Errors
    /// [`BundleError`], among others if the device takes part in none of the conversations.
    pub async fn export_bundle(
        &self,
        device: DeviceId,
        conversations: &[ConversationId],
        file: &Path,
    ) -> Result<(u64, u64), BundleError> {
        let mut records = Vec::new();
        for conversation in conversations {
            let command = Command::Export {
                conversation: *conversation,
                device,
            };
            match self.command(command).await? {
                Reply::Exported(more) => records.extend(more),
                _ => return Err(unexpected().into()),
            }
        }
        let path = file.to_path_buf();
        let failed = |source| BundleError::File {
            path: file.to_path_buf(),
            source,
        };
        let count = u64::try_from(records.len()).unwrap_or(u64::MAX);
        let written = tokio::task::spawn_blocking(move || write(&path, &records));
        let bytes = written
            .await
            .map_err(|error| failed(io::Error::other(error)))?
            .map_err(failed)?;
        Ok((count, bytes))
    }

    /// Takes in what another device wrote for this one.
    ///
    /// # Errors
    /// [`BundleError`]; a file that is not whole changes nothing.
    pub async fn import_bundle(&self, file: &Path) -> Result<BundleTaken, BundleError> {
        let path = file.to_path_buf();
        let read = tokio::task::spawn_blocking(move || read(&path));
        let records = read.await.map_err(|error| BundleError::File {
            path: file.to_path_buf(),
            source: io::Error::other(error),
        })??;
        match self.command(Command::ImportBundle { records }).await? {
            Reply::Imported { taken, refused } => Ok(BundleTaken { taken, refused }),
            _ => Err(unexpected().into()),
        }
    }
}

fn write(path: &Path, records: &[Vec<u8>]) -> io::Result<u64> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    let mut beside = tempfile::NamedTempFile::new_in(directory)?;
    let mut out = BufWriter::new(beside.as_file_mut());
    out.write_all(MAGIC)?;
    out.write_all(&[VERSION])?;
    for record in records {
        let length = u32::try_from(record.len()).map_err(io::Error::other)?;
        out.write_all(&length.to_be_bytes())?;
        out.write_all(record)?;
    }
    out.flush()?;
    drop(out);
    beside.as_file().sync_all()?;
    let bytes = beside.as_file().metadata()?.len();
    beside.persist(path)?;
    File::open(directory)?.sync_all()?;
    Ok(bytes)
}

fn read(path: &Path) -> Result<Vec<Vec<u8>>, BundleError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::UnexpectedEof => BundleError::NotABundle(path.to_path_buf()),
        _ => BundleError::File {
            path: path.to_path_buf(),
            source,
        },
    };
    let file = File::open(path).map_err(failed)?;
    let mut left = file.metadata().map_err(failed)?.len();
    let mut input = BufReader::new(file);
    let mut head = [0; MAGIC.len() + 1];
    input.read_exact(&mut head).map_err(failed)?;
    match head.strip_prefix(MAGIC) {
        Some([VERSION]) if left <= FILE_BYTES_MAX => {}
        Some(&[newer]) if newer > VERSION => {
            return Err(BundleError::TooNew(path.to_path_buf(), newer));
        }
        Some(_) | None => return Err(BundleError::NotABundle(path.to_path_buf())),
    }
    left = left.saturating_sub(u64::try_from(head.len()).unwrap_or(0));
    let mut records = Vec::new();
    while left > 0 {
        let mut length = [0; 4];
        input.read_exact(&mut length).map_err(failed)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > RECORD_BYTES_MAX {
            return Err(BundleError::NotABundle(path.to_path_buf()));
        }
        let mut record = vec![0; length];
        input.read_exact(&mut record).map_err(failed)?;
        let taken = u64::try_from(length).unwrap_or(u64::MAX).saturating_add(4);
        left = left.saturating_sub(taken);
        records.push(record);
    }
    Ok(records)
}

#[cfg(test)]
mod tests;
