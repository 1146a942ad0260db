//! Sealing an epoch secret to devices: `Rekey` and `Forward`.

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::chain::seal_chain;
use super::{EpochSecret, Forward, Recipient, Rekey, Seal, SealError, epoch_id};
use crate::derive::hash;
use crate::device::DeviceSecrets;
use crate::id::{ConversationId, DeviceId, EpochId, OperationId};
use crate::kem::{self, Suite};
use crate::label;
use crate::limits;

/// `s_e || t_e` and the tag.
const SEALED_SECRET_BYTES: usize = 64 + 16;

/// Draws a new epoch and seals it to `recipients`, the author's own device among them. `parents` are
/// those of the operation that will carry the `Rekey`, in the same order; `previous` are the epochs
/// to chain to (none after a cut, or where newcomers may not read the past).
///
/// # Errors
/// [`SealError::Recipients`] or [`SealError::RecipientKey`].
pub fn rekey(
    rng: &mut (impl CryptoRng + ?Sized),
    conversation: &ConversationId,
    author: DeviceId,
    seq: u64,
    parents: &[OperationId],
    recipients: &[Recipient],
    previous: &[(EpochId, &EpochSecret)],
) -> Result<(EpochId, EpochSecret, Rekey), SealError> {
    let padded = padded_count(recipients, previous)?;
    let (mut kept, mut ephemeral) = (Zeroizing::new([0; 32]), Zeroizing::new([0; 32]));
    rng.fill_bytes(kept.as_mut_slice());
    rng.fill_bytes(ephemeral.as_mut_slice());
    let secret = EpochSecret::new(*kept, Some(*ephemeral));
    let commitment = secret.commitment(conversation);
    let epoch = epoch_id(conversation, author, seq, &commitment);
    let info = info(label::hpke::SEAL, conversation, &epoch, &commitment);
    let plaintext = secret.to_bytes();
    let mut seals = Vec::with_capacity(padded);
    for recipient in recipients {
        let sealed = seal_to(rng, recipient, &info, parents, &plaintext)?;
        seals.push(Seal {
            device: recipient.device,
            counter: recipient.kem.counter,
            sealed,
        });
    }
    while seals.len() < padded {
        seals.push(dummy(rng));
    }
    seals.sort_by_key(|seal| seal.device);
    let chain = if previous.is_empty() {
        None
    } else {
        Some(seal_chain(rng, &secret, &epoch, conversation, previous)?)
    };
    let mut parents_epochs: Vec<_> = previous.iter().map(|(epoch, _)| *epoch).collect();
    parents_epochs.sort();
    let rekey = Rekey {
        commitment,
        seals,
        chain,
        parents_epochs,
    };
    Ok((epoch, secret, rekey))
}

/// Opens the seal that a `Rekey` holds for this device. `author`, `seq` and `parents` are those of
/// the verified operation that carries it.
///
/// # Errors
/// [`SealError::NotARecipient`], [`SealError::NoKemSecret`]; [`SealError::BadSeal`] and
/// [`SealError::Commitment`] are the sealer's fault and call for a `BadSeal` complaint.
pub fn open_rekey(
    rekey: &Rekey,
    conversation: &ConversationId,
    author: DeviceId,
    seq: u64,
    parents: &[OperationId],
    me: &DeviceSecrets,
) -> Result<(EpochId, EpochSecret), SealError> {
    let device = me.device();
    let seal = rekey
        .seals
        .iter()
        .find(|seal| seal.device == device)
        .ok_or(SealError::NotARecipient)?;
    let epoch = epoch_id(conversation, author, seq, &rekey.commitment);
    let info = info(label::hpke::SEAL, conversation, &epoch, &rekey.commitment);
    let opened = open_for(me, seal.counter, &info, parents, &seal.sealed)?;
    let secret = EpochSecret::from_bytes(&opened).map_err(|_| SealError::BadSeal)?;
    if !secret.has_ephemeral() {
        return Err(SealError::BadSeal);
    }
    check_commitment(&secret, conversation, &rekey.commitment)?;
    Ok((epoch, secret))
}

/// Seals an epoch secret, without `t_e`, to one more device. `commitment` is that of the epoch's own
/// `Rekey`; `parents` are those of the operation that will carry the forward.
///
/// # Errors
/// [`SealError::Commitment`] when the secret is not the epoch's, [`SealError::RecipientKey`].
pub fn forward(
    rng: &mut (impl CryptoRng + ?Sized),
    conversation: &ConversationId,
    epoch: EpochId,
    commitment: [u8; 32],
    secret: &EpochSecret,
    parents: &[OperationId],
    recipient: &Recipient,
) -> Result<Forward, SealError> {
    check_commitment(secret, conversation, &commitment)?;
    let info = info(label::hpke::FORWARD, conversation, &epoch, &commitment);
    let sealed = seal_to(rng, recipient, &info, parents, &secret.kept)?;
    Ok(Forward {
        epoch,
        commitment,
        device: recipient.device,
        counter: recipient.kem.counter,
        sealed,
    })
}

/// Opens a forward to this device and checks the secret against the forward's commitment. Whether
/// that commitment is the epoch's is for the caller to check against the `Rekey`.
///
/// # Errors
/// As [`open_rekey`].
pub fn open_forward(
    forward: &Forward,
    conversation: &ConversationId,
    parents: &[OperationId],
    me: &DeviceSecrets,
) -> Result<EpochSecret, SealError> {
    if forward.device != me.device() {
        return Err(SealError::NotARecipient);
    }
    let info = info(
        label::hpke::FORWARD,
        conversation,
        &forward.epoch,
        &forward.commitment,
    );
    let opened = open_for(me, forward.counter, &info, parents, &forward.sealed)?;
    let secret = EpochSecret::from_bytes(&opened).map_err(|_| SealError::BadSeal)?;
    if secret.has_ephemeral() {
        return Err(SealError::BadSeal);
    }
    check_commitment(&secret, conversation, &forward.commitment)?;
    Ok(secret)
}

fn padded_count(
    recipients: &[Recipient],
    previous: &[(EpochId, &EpochSecret)],
) -> Result<usize, SealError> {
    let mut devices: Vec<_> = recipients
        .iter()
        .map(|recipient| recipient.device)
        .collect();
    devices.sort();
    devices.dedup();
    let mut epochs: Vec<_> = previous.iter().map(|(epoch, _)| *epoch).collect();
    epochs.sort();
    epochs.dedup();
    let padded = devices.len().next_power_of_two();
    let sound = !devices.is_empty()
        && devices.len() == recipients.len()
        && epochs.len() == previous.len()
        && padded <= limits::SEALS_MAX
        && epochs.len() <= limits::CHAINED_EPOCHS_MAX;
    sound.then_some(padded).ok_or(SealError::Recipients)
}

/// `label || conversation || e || c_e`.
fn info(
    label: &[u8],
    conversation: &ConversationId,
    epoch: &EpochId,
    commitment: &[u8; 32],
) -> Vec<u8> {
    [label, &conversation.0, &epoch.0, commitment].concat()
}

/// `device || counter (u64, big endian) || H(parents)`.
fn aad(device: &DeviceId, counter: u64, parents: &[OperationId]) -> Vec<u8> {
    let parents: Vec<&[u8]> = parents.iter().map(|parent| parent.0.as_slice()).collect();
    [device.0.as_slice(), &counter.to_be_bytes(), &hash(&parents)].concat()
}

fn seal_to(
    rng: &mut (impl CryptoRng + ?Sized),
    recipient: &Recipient,
    info: &[u8],
    parents: &[OperationId],
    plaintext: &[u8],
) -> Result<Vec<u8>, SealError> {
    let Recipient { device, kem } = recipient;
    if kem.device != *device || *device == DeviceId::default() {
        return Err(SealError::RecipientKey);
    }
    let aad = aad(device, kem.counter, parents);
    kem::seal(rng, (kem.suite, &kem.public), info, &aad, plaintext)
        .map_err(|_| SealError::RecipientKey)
}

fn open_for(
    me: &DeviceSecrets,
    counter: u64,
    info: &[u8],
    parents: &[OperationId],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let secret = me.kem_secret(counter).ok_or(SealError::NoKemSecret)?;
    let aad = aad(&me.device(), counter, parents);
    kem::open(secret, info, &aad, sealed).map_err(|_| SealError::BadSeal)
}

fn check_commitment(
    secret: &EpochSecret,
    conversation: &ConversationId,
    commitment: &[u8; 32],
) -> Result<(), SealError> {
    if secret.commitment(conversation) == *commitment {
        Ok(())
    } else {
        Err(SealError::Commitment)
    }
}

/// As long as a real seal in the default suite, to nobody.
fn dummy(rng: &mut (impl CryptoRng + ?Sized)) -> Seal {
    let bytes = kem::encapsulated_bytes(Suite::default()) + SEALED_SECRET_BYTES;
    let mut sealed = vec![0; bytes];
    rng.fill_bytes(&mut sealed);
    Seal {
        device: DeviceId::default(),
        counter: 0,
        sealed,
    }
}
