//! What inbox messages and account vaults have in common: a padded and signed whole, in as many sealed
//! records as it takes. Each record begins with a head that says which whole and which part it is, and
//! holds the whole's digest before its piece of it.

use rand_core::CryptoRng;
use serde::de::DeserializeOwned;
use sheaf_protocol::limits::PART_BYTES_MAX;
use zeroize::Zeroizing;

use crate::derive::hash;
use crate::kem::{self, Suite};
use crate::signature::Signature;

pub(crate) const ID_BYTES: usize = 16;
pub(crate) const SIGNATURE_BYTES: usize = 64;
const DIGEST_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
/// Index and count, with which every head ends.
const PLACE_BYTES: usize = 2;
/// What the encoding of a content adds to its body at the most: two ids and a length.
pub(crate) const CONTENT_OVERHEAD_BYTES_MAX: usize = 2 * 32 + 5;

/// One opened record.
pub(crate) struct Part {
    pub(crate) index: u8,
    pub(crate) count: u8,
    pub(crate) digest: [u8; DIGEST_BYTES],
    chunk: Zeroizing<Vec<u8>>,
}

/// Why a whole was not sealed.
pub(crate) enum SealError {
    /// It takes more records than a head can count.
    TooLarge,
    /// The key is not usable.
    Key,
}

/// To whom: suite and public key, and what the seal is bound to.
pub(crate) struct To<'a> {
    pub(crate) suite: Suite,
    pub(crate) public: &'a [u8],
    pub(crate) info: &'a [u8],
}

/// Seals a whole; `head` is all of each record's head but index and count. `label` is that of the
/// whole's digest.
pub(crate) fn seal(
    rng: &mut (impl CryptoRng + ?Sized),
    to: &To<'_>,
    head: &[u8],
    label: &[u8],
    whole: &[u8],
) -> Result<Vec<Vec<u8>>, SealError> {
    let digest = hash(&[label, whole]);
    let overhead =
        head.len() + PLACE_BYTES + kem::encapsulated_bytes(to.suite) + DIGEST_BYTES + TAG_BYTES;
    let chunks: Vec<&[u8]> = whole.chunks(PART_BYTES_MAX - overhead).collect();
    let count = u8::try_from(chunks.len()).map_err(|_| SealError::TooLarge)?;
    let mut records = Vec::with_capacity(chunks.len());
    for (index, chunk) in (0..count).zip(chunks) {
        let mut record = [head, &[index, count]].concat();
        let plaintext = Zeroizing::new([digest.as_slice(), chunk].concat());
        let sealed = kem::seal(rng, (to.suite, to.public), to.info, &record, &plaintext)
            .map_err(|_| SealError::Key)?;
        record.extend_from_slice(&sealed);
        records.push(record);
    }
    Ok(records)
}

impl Part {
    /// What a record held; nothing, if it is too short.
    pub(crate) fn of(index: u8, count: u8, opened: &[u8]) -> Option<Self> {
        let (digest, chunk) = opened.split_first_chunk::<DIGEST_BYTES>()?;
        Some(Self {
            index,
            count,
            digest: *digest,
            chunk: Zeroizing::new(chunk.to_vec()),
        })
    }
}

/// Joins parts in the order of their indices; nothing, unless each part of one whole is there once.
pub(crate) fn join<'a>(
    parts: impl ExactSizeIterator<Item = &'a Part> + Clone,
    label: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let first = parts.clone().next()?;
    let complete = parts.len() == usize::from(first.count)
        && parts.clone().zip(0..first.count).all(|(part, index)| {
            (part.index, part.count, part.digest) == (index, first.count, first.digest)
        });
    if !complete {
        return None;
    }
    let bytes = parts.clone().map(|part| part.chunk.len()).sum();
    let mut whole = Zeroizing::new(Vec::with_capacity(bytes));
    for part in parts {
        whole.extend_from_slice(&part.chunk);
    }
    (hash(&[label, &whole]) == first.digest).then_some(whole)
}

/// Takes a whole apart; nothing, unless it is padded with zeros to exactly the size for its content.
pub(crate) fn read<C: DeserializeOwned>(
    whole: &[u8],
    size: impl Fn(usize) -> usize,
) -> Option<(C, Signature)> {
    let (padded, signature) = whole.split_last_chunk::<SIGNATURE_BYTES>()?;
    let (content, pad): (C, &[u8]) = postcard::take_from_bytes(padded).ok()?;
    let canonical = size(whole.len() - pad.len()) == whole.len();
    (canonical && pad.iter().all(|byte| *byte == 0)).then_some((content, Signature(*signature)))
}
