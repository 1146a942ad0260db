//! `store.header`: format version, key slots and the keys that can be destroyed, written whole.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use sheaf_crypto::{Argon2Params, LOCKED_KEY_BYTES, Unlock, Vault, VaultError, VaultHeader};

use super::OpenError;
use super::ring::{KEYS_MAX, Locked, Ring};
use crate::entropy::OsEntropy;

const MAGIC: &[u8] = b"sheaf-store";
/// The slots alone: what is erased stays in sled's files.
const VERSION_SLOTS: u8 = 1;
/// The slots and the keys that can be destroyed.
const VERSION: u8 = 2;

/// Name of the file, within the store's directory.
pub(super) const FILE: &str = "store.header";
/// Where the next one is written.
const PARTIAL: &str = "store.header.new";

/// What the file holds.
#[derive(Debug, Clone)]
pub(super) struct Header {
    slots: VaultHeader,
    /// Oldest first; none in a store of version 1.
    locked: Vec<Locked>,
}

pub(super) fn read(directory: &Path) -> Result<Option<Header>, OpenError> {
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

pub(super) fn parse(bytes: &[u8]) -> Result<Header, OpenError> {
    let malformed = || OpenError::Damaged("its header does not decode".to_owned());
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(malformed)?;
    let (version, rest) = rest.split_first().ok_or_else(malformed)?;
    let (slots, locked) = match *version {
        VERSION_SLOTS => (rest, Vec::new()),
        VERSION => split(rest).ok_or_else(malformed)?,
        newer if newer > VERSION => return Err(OpenError::TooNew(newer)),
        _ => return Err(malformed()),
    };
    let slots = VaultHeader::from_bytes(slots).map_err(|_| malformed())?;
    Ok(Header { slots, locked })
}

/// `length(4) || slots || count(1) || [generation(8) || locked key]`.
fn split(bytes: &[u8]) -> Option<(&[u8], Vec<Locked>)> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (slots, rest) = rest.split_at_checked(length)?;
    let (count, mut rest) = rest.split_first()?;
    if *count == 0 || usize::from(*count) > KEYS_MAX {
        return None;
    }
    let mut locked: Vec<Locked> = Vec::new();
    for _ in 0..*count {
        let (generation, tail) = rest.split_first_chunk::<8>()?;
        let generation = u64::from_be_bytes(*generation);
        let (sealed, tail) = tail.split_first_chunk::<LOCKED_KEY_BYTES>()?;
        if locked.last().is_some_and(|l| l.generation >= generation) {
            return None;
        }
        locked.push(Locked {
            generation,
            sealed: sealed.to_vec(),
        });
        rest = tail;
    }
    rest.is_empty().then_some((slots, locked))
}

pub(super) fn unlock(header: &Header, unlock: &Unlock<'_>) -> Result<(Vault, Ring), OpenError> {
    let vault = header.slots.open(unlock).map_err(|error| match error {
        VaultError::WrongKey | VaultError::NoSlot => OpenError::WrongKey,
        other => damaged(&other),
    })?;
    let ring = Ring::unlock(&vault, &header.locked).map_err(|error| damaged(&error))?;
    Ok((vault, ring))
}

pub(super) fn create(
    directory: &Path,
    unlock: &Unlock<'_>,
    params: Argon2Params,
) -> Result<(Vault, Ring), OpenError> {
    std::fs::create_dir_all(directory)?;
    if directory.join("records").exists() {
        return Err(OpenError::Damaged("its header is missing".to_owned()));
    }
    let (slots, vault) =
        Vault::create(&mut OsEntropy, unlock, params).map_err(|error| damaged(&error))?;
    let ring = Ring::first();
    let locked = ring.lock(&vault).map_err(|error| damaged(&error))?;
    write(directory, &encode(&Header { slots, locked })?)?;
    Ok((vault, ring))
}

/// Puts the present keys that can be destroyed in the place of those that the file has.
pub(super) fn keep(directory: &Path, vault: &Vault, ring: &Ring) -> Result<(), OpenError> {
    let missing = || OpenError::NoStore(directory.to_path_buf());
    let known = read(directory)?.ok_or_else(missing)?;
    let locked = ring.lock(vault).map_err(|error| damaged(&error))?;
    let slots = known.slots;
    write(directory, &encode(&Header { slots, locked })?)
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
    let Header { slots, locked } = read(directory)?.ok_or_else(missing)?;
    let replaced = slots
        .replace(&mut OsEntropy, vault, (old, new), params)
        .map_err(|error| damaged(&error))?;
    let both = Header {
        slots: replaced.both,
        locked: locked.clone(),
    };
    write(directory, &encode(&both)?)?;
    // What is read back must open by the new secret before the old one goes.
    let kept = read(directory)?.ok_or_else(missing)?;
    drop(unlock(&kept, new)?);
    let after = Header {
        slots: replaced.after,
        locked,
    };
    write(directory, &encode(&after)?)
}

fn damaged(error: &VaultError) -> OpenError {
    OpenError::Damaged(error.to_string())
}

fn encode(header: &Header) -> Result<Vec<u8>, OpenError> {
    let slots = header.slots.to_bytes().map_err(|error| damaged(&error))?;
    if header.locked.is_empty() {
        return Ok([MAGIC, &[VERSION_SLOTS], slots.as_slice()].concat());
    }
    let too_long = |_| damaged(&VaultError::Header);
    let length = u32::try_from(slots.len()).map_err(too_long)?;
    let count = u8::try_from(header.locked.len()).map_err(too_long)?;
    let mut bytes = [MAGIC, &[VERSION], &length.to_be_bytes(), &slots, &[count]].concat();
    for locked in &header.locked {
        bytes.extend_from_slice(&locked.generation.to_be_bytes());
        bytes.extend_from_slice(&locked.sealed);
    }
    Ok(bytes)
}

/// Writes the whole file beside its place, makes it durable, renames it, makes that durable, and
/// overwrites the file that stood there.
pub(super) fn write(directory: &Path, bytes: &[u8]) -> Result<(), OpenError> {
    let partial = directory.join(PARTIAL);
    let before = File::options().write(true).open(directory.join(FILE)).ok();
    let mut out = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)?;
    out.write_all(bytes)?;
    out.sync_all()?;
    std::fs::rename(&partial, directory.join(FILE))?;
    File::open(directory)?.sync_all()?;
    if let Some(Err(error)) = before.as_ref().map(overwrite) {
        tracing::debug!(%error, "the header before was not overwritten");
    }
    Ok(())
}

/// Puts zeroes over a file that has no name any more. Where file systems write in place, that leaves
/// nothing of the keys that were in it; where they do not, nothing can be promised.
fn overwrite(before: &File) -> Result<(), std::io::Error> {
    let metadata = before.metadata()?;
    // Somebody keeps it under another name.
    if metadata.nlink() > 0 {
        return Ok(());
    }
    let length = usize::try_from(metadata.len()).map_err(std::io::Error::other)?;
    before.write_all_at(&vec![0; length], 0)?;
    before.sync_all()
}

/// Removes what a crash left of a header that did not come about: it may hold a key that is
/// destroyed later.
pub(super) fn clear_leftovers(directory: &Path) -> Result<(), OpenError> {
    match std::fs::remove_file(directory.join(PARTIAL)) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}
