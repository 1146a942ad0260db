//! `store.header`: format version and key slots, written whole.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use sha2::{Digest, Sha256};
use sheaf_crypto::{Argon2Params, Unlock, Vault, VaultError, VaultHeader};

use super::OpenError;
use crate::entropy::OsEntropy;

const MAGIC: &[u8] = b"sheaf-store";
const VERSION: u8 = 1;

/// Name of the file, within the store's directory.
pub(super) const FILE: &str = "store.header";

pub(super) fn read(directory: &Path) -> Result<Option<VaultHeader>, OpenError> {
    match std::fs::read(directory.join(FILE)) {
        Ok(bytes) => parse(&bytes).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The file as it is.
pub(super) fn bytes(directory: &Path) -> Result<Vec<u8>, OpenError> {
    Ok(std::fs::read(directory.join(FILE))?)
}

pub(super) fn parse(bytes: &[u8]) -> Result<VaultHeader, OpenError> {
    let damaged = || OpenError::Damaged("its header does not decode".to_owned());
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(damaged)?;
    match rest.split_first() {
        Some((&VERSION, header)) => VaultHeader::from_bytes(header).map_err(|_| damaged()),
        Some((&newer, _)) if newer > VERSION => Err(OpenError::TooNew(newer)),
        Some(_) | None => Err(damaged()),
    }
}

pub(super) fn unlock(header: &VaultHeader, unlock: &Unlock<'_>) -> Result<Vault, OpenError> {
    header.open(unlock).map_err(|error| match error {
        VaultError::WrongKey | VaultError::NoSlot => OpenError::WrongKey,
        other => OpenError::Damaged(other.to_string()),
    })
}

pub(super) fn create(
    directory: &Path,
    unlock: &Unlock<'_>,
    params: Argon2Params,
) -> Result<Vault, OpenError> {
    std::fs::create_dir_all(directory)?;
    if directory.join("records").exists() {
        return Err(OpenError::Damaged("its header is missing".to_owned()));
    }
    let (header, vault) =
        Vault::create(&mut OsEntropy, unlock, params).map_err(|error| damaged(&error))?;
    write(directory, &encode(&header)?)?;
    Ok(vault)
}

/// Puts another secret in the place of one: both open the store, then only the new one does. A
/// crash in between leaves a store that opens by both.
pub(super) fn change(
    directory: &Path,
    vault: &Vault,
    (old, new): (&Unlock<'_>, &Unlock<'_>),
    params: Argon2Params,
) -> Result<(), OpenError> {
    let missing = || OpenError::NoStore(directory.to_path_buf());
    let known = read(directory)?.ok_or_else(missing)?;
    let replaced = known
        .replace(&mut OsEntropy, vault, (old, new), params)
        .map_err(|error| damaged(&error))?;
    write(directory, &encode(&replaced.both)?)?;
    // What is read back must open by the new secret before the old one goes.
    let kept = read(directory)?.ok_or_else(missing)?;
    drop(unlock(&kept, new)?);
    write(directory, &encode(&replaced.after)?)
}

fn damaged(error: &VaultError) -> OpenError {
    OpenError::Damaged(error.to_string())
}

fn encode(header: &VaultHeader) -> Result<Vec<u8>, OpenError> {
    let bytes = header.to_bytes().map_err(|error| damaged(&error))?;
    Ok([MAGIC, &[VERSION], bytes.as_slice()].concat())
}

/// Writes the whole file beside its place, makes it durable, renames it.
pub(super) fn write(directory: &Path, bytes: &[u8]) -> Result<(), OpenError> {
    let partial = directory.join("store.header.new");
    let mut out = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)?;
    out.write_all(bytes)?;
    out.sync_all()?;
    std::fs::rename(&partial, directory.join(FILE))?;
    std::fs::File::open(directory)?.sync_all()?;
    Ok(())
}

/// Which file this is: device, inode and time of birth. A copied store has another.
pub(super) fn fingerprint(directory: &Path) -> Result<[u8; 32], OpenError> {
    let metadata = std::fs::metadata(directory.join(FILE))?;
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
