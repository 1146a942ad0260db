//! `store.header`: format version and key slots, written whole.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use sha2::{Digest, Sha256};
use sheaf_crypto::{Argon2Params, Unlock, Vault, VaultHeader};

use super::OpenError;

const MAGIC: &[u8] = b"sheaf-store";
const VERSION: u8 = 1;

pub(super) fn read(file: &Path) -> Result<Option<VaultHeader>, OpenError> {
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let damaged = || OpenError::Damaged("its header does not decode".to_owned());
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(damaged)?;
    match rest.split_first() {
        Some((&VERSION, header)) => VaultHeader::from_bytes(header)
            .map(Some)
            .map_err(|_| damaged()),
        Some((&newer, _)) if newer > VERSION => Err(OpenError::TooNew(newer)),
        Some(_) | None => Err(damaged()),
    }
}

pub(super) fn create(
    directory: &Path,
    file: &Path,
    unlock: &Unlock<'_>,
    params: Argon2Params,
) -> Result<Vault, OpenError> {
    std::fs::create_dir_all(directory)?;
    if directory.join("records").exists() {
        return Err(OpenError::Damaged("its header is missing".to_owned()));
    }
    let (header, vault) = Vault::create(&mut crate::entropy::OsEntropy, unlock, params)
        .map_err(|error| OpenError::Damaged(error.to_string()))?;
    let bytes = header
        .to_bytes()
        .map_err(|error| OpenError::Damaged(error.to_string()))?;
    let partial = directory.join("store.header.new");
    let mut out = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)?;
    out.write_all(&[MAGIC, &[VERSION], bytes.as_slice()].concat())?;
    out.sync_all()?;
    std::fs::rename(&partial, file)?;
    std::fs::File::open(directory)?.sync_all()?;
    Ok(vault)
}

/// Which file this is: device, inode and time of birth. A copied store has another.
pub(super) fn fingerprint(file: &Path) -> Result<[u8; 32], OpenError> {
    let metadata = std::fs::metadata(file)?;
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
