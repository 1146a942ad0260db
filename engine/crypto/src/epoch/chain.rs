//! The key chain: a new epoch carries the secrets of the epochs before it.

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{EpochSecret, SealError};
use crate::codec;
use crate::committing::Derived;
use crate::id::{ConversationId, EpochId};
use crate::label;
use crate::limits;

/// `(f, s_f)`; `t_f` is never chained.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct Entry {
    #[zeroize(skip)]
    epoch: EpochId,
    kept: [u8; 32],
}

#[derive(Serialize, Deserialize)]
struct Entries(
    #[serde(deserialize_with = "codec::list::<_, _, { limits::CHAINED_EPOCHS_MAX }>")] Vec<Entry>,
);

const ENTRIES_BYTES_MAX: usize = 4 + limits::CHAINED_EPOCHS_MAX * 64;

pub(super) fn seal_chain(
    rng: &mut (impl CryptoRng + ?Sized),
    secret: &EpochSecret,
    epoch: &EpochId,
    conversation: &ConversationId,
    previous: &[(EpochId, &EpochSecret)],
) -> Result<Vec<u8>, SealError> {
    let mut entries = Entries(Vec::with_capacity(previous.len()));
    for (epoch, secret) in previous {
        entries.0.push(Entry {
            epoch: *epoch,
            kept: secret.kept,
        });
    }
    entries.0.sort_by_key(|entry| entry.epoch);
    let plaintext =
        codec::encode_secret(&entries, ENTRIES_BYTES_MAX).map_err(|_| SealError::Recipients)?;
    let key = secret.key(epoch, label::key::CHAIN);
    Derived::draw(
        rng,
        &key,
        label::sealed::CHAIN,
        &[&conversation.0, &epoch.0],
    )
    .seal(&plaintext)
    .map_err(|_| SealError::BadSeal)
}

/// Opens the chain of an epoch: the secrets of the epochs that it follows, without `t_e`. The
/// caller compares each with the commitment of the epoch's own `Rekey`.
///
/// # Errors
/// [`SealError::BadSeal`] when the box does not open or does not hold a list of secrets in rising
/// order of epoch.
pub fn open_chain(
    secret: &EpochSecret,
    epoch: EpochId,
    conversation: &ConversationId,
    chain: &[u8],
) -> Result<Vec<(EpochId, EpochSecret)>, SealError> {
    let key = secret.key(&epoch, label::key::CHAIN);
    let context: [&[u8]; 2] = [&conversation.0, &epoch.0];
    let (_, plaintext) = Derived::open(&key, label::sealed::CHAIN, &context, chain)
        .map_err(|_| SealError::BadSeal)?;
    let entries: Entries = codec::decode(&plaintext).map_err(|_| SealError::BadSeal)?;
    let rising = entries
        .0
        .iter()
        .zip(entries.0.iter().skip(1))
        .all(|(lower, higher)| lower.epoch < higher.epoch);
    if !rising {
        return Err(SealError::BadSeal);
    }
    Ok(entries
        .0
        .iter()
        .map(|entry| (entry.epoch, EpochSecret::new(entry.kept, None)))
        .collect())
}
