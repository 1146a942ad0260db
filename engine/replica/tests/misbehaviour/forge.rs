//! What somebody who holds an epoch's secret, or a member's device, can make of it.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use ed25519_dalek::{Signer, SigningKey};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use sheaf_crypto::{ConversationId, DeviceSecrets, EpochId, EpochKeys, EpochSecret, Inner, open};
use sheaf_replica::record::Kind;

use crate::relay::Log;
use crate::world::{Disk, World};

/// Version, suite, nonce, commitment, tag and signature of an envelope.
const FIXED_BYTES: usize = 138;

/// One epoch as a device keeps it.
pub(super) struct Epoch {
    pub(super) id: EpochId,
    pub(super) keys: EpochKeys,
    secret: Vec<u8>,
}

impl Epoch {
    pub(super) fn secret(&self) -> EpochSecret {
        EpochSecret::from_bytes(&self.secret).unwrap()
    }
}

/// Epochs of a conversation on a disk, by id.
pub(super) fn epochs(disk: &Disk, conversation: &ConversationId) -> Vec<Epoch> {
    let rows = disk.iter().filter(|(key, _)| key.kind == Kind::Epoch);
    let decoded = rows.map(|(_, value)| {
        type Beginning = (ConversationId, EpochId, Vec<u8>);
        let (beginning, _) = postcard::take_from_bytes::<Beginning>(&value[1..]).unwrap();
        beginning
    });
    let here = decoded.filter(|(known, ..)| known == conversation);
    here.map(|(_, id, secret)| {
        let kept = EpochSecret::from_bytes(&secret).unwrap();
        Epoch {
            id,
            keys: EpochKeys::derive(conversation, id, &kept),
            secret,
        }
    })
    .collect()
}

/// A device's secrets: the first field of its account's record.
pub(super) fn secrets(disk: &Disk) -> DeviceSecrets {
    let (_, value) = disk
        .iter()
        .find(|(key, _)| key.kind == Kind::Account)
        .unwrap();
    let (secrets, _) = postcard::take_from_bytes::<Vec<u8>>(&value[1..]).unwrap();
    DeviceSecrets::from_bytes(&secrets).unwrap()
}

/// What a device put on an epoch's topic, in order.
pub(super) fn written(log: &Log, keys: &EpochKeys, author: &DeviceSecrets) -> Vec<Inner> {
    let records = log.0.get(&keys.topic()).map_or(&[][..], Vec::as_slice);
    let opened = records.iter().filter_map(|record| open(keys, record).ok());
    opened
        .filter_map(|opened| opened.verify(&author.signing_public()).ok())
        .collect()
}

/// The one epoch of a conversation that was never rotated.
pub(super) fn only_epoch(world: &World, place: usize) -> Epoch {
    let mut epochs = epochs(&world.peers[place].disk, &world.conversation);
    assert_eq!(epochs.len(), 1);
    epochs.remove(0)
}

/// The key that a device signs with: the first secret after the version.
pub(super) fn signing_key(secrets: &DeviceSecrets) -> SigningKey {
    let bytes = secrets.to_bytes().unwrap();
    let key = SigningKey::from_bytes(bytes[1..33].try_into().unwrap());
    assert_eq!(key.verifying_key().to_bytes(), secrets.signing_public());
    key
}

/// Padme's length of an envelope.
fn padded(bytes: usize) -> usize {
    let bytes = bytes.max(256);
    let exponent = bytes.ilog2();
    let mask = (1 << (exponent - exponent.ilog2() - 1)) - 1;
    (bytes + mask) & !mask
}

/// Seals under the right epoch, as docs/CRYPTOGRAPHY.md says, with a signature by any key.
pub(super) fn seal_signed_by(epoch: &Epoch, inner: &Inner, key: &SigningKey) -> Vec<u8> {
    let expand = |secret: &[u8], salt: &[u8], info: &[u8], out: &mut [u8]| {
        let derived = Hkdf::<Sha256>::new(Some(salt), secret);
        derived.expand(info, out).unwrap();
    };
    let mut envelope_key = [0; 32];
    expand(
        &epoch.secret[..32],
        &epoch.id.0,
        b"sheaf1/env",
        &mut envelope_key,
    );
    let nonce = [42; 24];
    let conversation = epoch.keys.conversation();
    let header = [
        b"sheaf1/env".as_slice(),
        &[1, 1],
        &conversation.0,
        &epoch.id.0,
        &epoch.keys.topic().0,
        &nonce,
    ]
    .concat();
    let header_hash: [u8; 32] = Sha256::digest(&header).into();
    let mut derived = [0; 64];
    expand(&envelope_key, &nonce, &header_hash, &mut derived);
    let (box_key, commitment) = derived.split_first_chunk::<32>().unwrap();
    let mut plaintext = postcard::to_allocvec(inner).unwrap();
    plaintext.resize(padded(plaintext.len() + FIXED_BYTES) - FIXED_BYTES, 0);
    let signed = [
        b"sheaf1/env-sig".as_slice(),
        &header_hash,
        commitment,
        &plaintext,
    ]
    .concat();
    plaintext.extend_from_slice(&key.sign(&signed).to_bytes());
    let payload = Payload {
        msg: &plaintext,
        aad: &header,
    };
    let ciphertext = XChaCha20Poly1305::new(box_key.into())
        .encrypt(&XNonce::from(nonce), payload)
        .unwrap();
    [&[1, 1], nonce.as_slice(), commitment, &ciphertext].concat()
}
