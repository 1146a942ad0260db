//! Which store this is.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::OpenError;

/// Device, inode and time of birth of sled's main file, which is never replaced: a copied or restored
/// store has another, one whose header was written anew has not.
pub(super) fn fingerprint(directory: &Path) -> Result<[u8; 32], OpenError> {
    let metadata = std::fs::metadata(directory.join("records").join("db"))?;
    let born = metadata
        .created()
        .ok()
        .and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    let mut hash = Sha256::new();
    hash.update(metadata.dev().to_be_bytes());
    hash.update(metadata.ino().to_be_bytes());
    hash.update(born.map_or(0, |born| born.as_nanos()).to_be_bytes());
    Ok(hash.finalize().into())
}
