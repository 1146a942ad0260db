//! Room on the disk, and what a full disk leaves behind.

use std::fs::{File, TryLockError};
use std::io::{Error, ErrorKind};
use std::path::Path;

use super::OpenError;

/// Bytes that writing leaves free, so that a store on a full disk still opens: sled fills up its
/// last segment (half a mebibyte) and writes a snapshot when it is opened.
const RESERVE_BYTES: u64 = 2 * 1024 * 1024;
/// Bytes that the note of how the store was closed leaves free; it is the last thing written.
const RESERVE_BYTES_MIN: u64 = 1024 * 1024;

/// Room for fewer bytes is not worth starting for.
const WORTH_BYTES: usize = 1024 * 1024;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// What may grow without end.
    Records,
    /// The note that the store was opened or closed, always in the same place.
    Run,
}

/// Refuses to write where the reserve would be used up.
pub(super) fn check(directory: &Path, bytes: usize, what: Use) -> Result<(), String> {
    let room = rustix::fs::statvfs(directory).map_err(|error| Error::from(error).to_string())?;
    let free_bytes = room.f_bavail.saturating_mul(room.f_frsize);
    let reserve_bytes = match what {
        Use::Records => RESERVE_BYTES,
        Use::Run => RESERVE_BYTES_MIN,
    };
    // sled writes about twice what it is given.
    let needed = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(2);
    if free_bytes < reserve_bytes.saturating_add(needed) {
        return Err(full());
    }
    Ok(())
}

/// Whether there is room again for a store that failed because its disk was full
/// ([`Event::StoreFailed`](crate::Event::StoreFailed)): for a mebibyte beside what is kept free.
/// A directory that cannot be looked at has none.
#[must_use]
pub fn has_room(directory: &Path) -> bool {
    check(directory, WORTH_BYTES, Use::Records).is_ok()
}

/// Words for a full disk, whoever noticed it.
pub(crate) fn full() -> String {
    "no space is left on the disk; nothing saved is lost, make room and try again".to_owned()
}

pub(super) fn is_full(error: &Error) -> bool {
    let kinds = [
        ErrorKind::StorageFull,
        ErrorKind::QuotaExceeded,
        ErrorKind::FileTooLarge,
    ];
    kinds.contains(&error.kind())
}

/// Removes snapshots that sled did not finish, because the disk was full or the power went: at the
/// next open it would take one for the newest, and the whole store for damaged. The finished
/// snapshot before it is always there.
pub(super) fn clear_leftovers(records: &Path) -> Result<(), OpenError> {
    let Ok(lock) = File::options()
        .read(true)
        .write(true)
        .open(records.join("db"))
    else {
        return Ok(());
    };
    // While somebody else has the store open they are not left over; opening will say so.
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(()),
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    for entry in std::fs::read_dir(records)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            tracing::debug!(%name, "removing an unfinished snapshot");
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
