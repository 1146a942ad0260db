use super::*;
use crate::testing::{conversation, device, epoch_keys, inner, rng};

fn sealed(body: &[u8]) -> (EpochKeys, DeviceSecrets, Vec<u8>) {
    let (keys, device) = (epoch_keys(&conversation(1), 1), device(1));
    let wire = seal(&keys, &inner(&device, body), &device, &mut rng(2)).unwrap();
    (keys, device, wire)
}

/// Seals any plaintext under the keys of an epoch, as an insider could.
fn seal_raw(keys: &EpochKeys, plaintext: &[u8]) -> Vec<u8> {
    Derived::draw(
        &mut rng(3),
        keys.envelope_key(),
        label::sealed::ENVELOPE,
        &[&context(keys)],
    )
    .seal(plaintext)
    .unwrap()
}

/// Signs and seals content that `seal` would refuse.
fn sign_raw(keys: &EpochKeys, device: &DeviceSecrets, content: &[u8]) -> Vec<u8> {
    let derived = Derived::draw(
        &mut rng(3),
        keys.envelope_key(),
        label::sealed::ENVELOPE,
        &[&context(keys)],
    );
    let signature = device.sign(
        label::signature::ENVELOPE,
        &[&derived.header_hash, &derived.commitment, content],
    );
    derived
        .seal(&[content, signature.0.as_slice()].concat())
        .unwrap()
}

#[test]
fn what_is_sealed_opens_and_verifies() {
    for bytes in [0, 1, 31, 200, 1_000, 20_000, 60_000] {
        let body = vec![5; bytes];
        let (keys, device, wire) = sealed(&body);
        assert_eq!(wire.len(), padded_len(wire.len()));
        let opened = open(&keys, &wire).unwrap();
        assert_eq!(opened.device(), device.device());
        let verified = opened.verify(&device.signing_public()).unwrap();
        assert_eq!(verified, inner(&device, &body));
    }
}

#[test]
fn short_envelopes_are_all_of_one_size() {
    for bytes in 0..=15 {
        assert_eq!(sealed(&vec![0; bytes]).2.len(), 304);
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let (keys, _, wire) = sealed(b"hello");
    for index in 0..wire.len() {
        for bit in 0..8 {
            let mut altered = wire.clone();
            altered[index] ^= 1 << bit;
            let refused = open(&keys, &altered).unwrap_err();
            let expected = match index {
                0..2 => EnvelopeError::Framing,
                2..58 => EnvelopeError::Commitment,
                _ => EnvelopeError::Ciphertext,
            };
            assert_eq!(refused, expected, "byte {index}");
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    let (keys, _, wire) = sealed(b"hello");
    for length in 0..wire.len() {
        assert!(open(&keys, &wire[..length]).is_err());
    }
    assert!(open(&keys, &[wire, vec![0]].concat()).is_err());
}

#[test]
fn another_epoch_or_conversation_is_refused_by_the_commitment() {
    let (_, _, wire) = sealed(b"hello");
    for other in [
        epoch_keys(&conversation(1), 2),
        epoch_keys(&conversation(2), 1),
    ] {
        assert_eq!(open(&other, &wire).unwrap_err(), EnvelopeError::Commitment);
    }
}

#[test]
fn one_box_opens_under_one_key_only() {
    // The two-key attack needs a box that two keys accept. The commitment field is one value, and
    // the key under which the ciphertext was made is the only one that derives it.
    let (first, second) = (
        epoch_keys(&conversation(1), 1),
        epoch_keys(&conversation(1), 2),
    );
    let wire = seal_raw(&first, &[0; 182]);
    let mut nonce = [0; 24];
    nonce.copy_from_slice(&wire[2..26]);
    let mut forged = wire.clone();
    forged[26..58].copy_from_slice(&commitment_of(&second, &wire));
    assert_eq!(
        Derived::open(
            second.envelope_key(),
            label::sealed::ENVELOPE,
            &[&context(&second)],
            &wire
        )
        .map(|_| ()),
        Err(BoxError::Commitment)
    );
    assert_eq!(
        open(&first, &forged).unwrap_err(),
        EnvelopeError::Commitment
    );
    assert_eq!(
        open(&second, &forged).unwrap_err(),
        EnvelopeError::Ciphertext
    );
}

/// The commitment that `keys` would ask for in a box with this nonce.
fn commitment_of(keys: &EpochKeys, wire: &[u8]) -> [u8; 32] {
    let mut header = b"sheaf1/env\x01\x01".to_vec();
    header.extend_from_slice(&context(keys));
    header.extend_from_slice(&wire[2..26]);
    let okm = crate::derive::kdf::<64>(
        keys.envelope_key(),
        &wire[2..26],
        &crate::derive::hash(&[&header]),
    );
    okm[32..].try_into().unwrap()
}

#[test]
fn a_signed_content_cannot_be_lifted_into_another_epoch() {
    let (keys, device, wire) = sealed(b"I agree");
    let (_, plaintext) = Derived::open(
        keys.envelope_key(),
        label::sealed::ENVELOPE,
        &[&context(&keys)],
        &wire,
    )
    .unwrap();
    for other in [
        epoch_keys(&conversation(1), 2),
        epoch_keys(&conversation(2), 1),
        epoch_keys(&conversation(1), 1),
    ] {
        let lifted = open(&other, &seal_raw(&other, &plaintext)).unwrap();
        assert_eq!(
            lifted.verify(&device.signing_public()).unwrap_err(),
            EnvelopeError::Signature
        );
    }
}

#[test]
fn a_member_cannot_write_as_another_device() {
    let keys = epoch_keys(&conversation(1), 1);
    let (victim, insider) = (device(1), device(2));
    assert_eq!(
        seal(&keys, &inner(&victim, b"x"), &insider, &mut rng(1)).unwrap_err(),
        EnvelopeError::Author
    );
    let mut content = codec::encode(&inner(&victim, b"x")).unwrap();
    content.resize(content.len() + padding_for(content.len()), 0);
    let wire = sign_raw(&keys, &insider, &content);
    for (key, refusal) in [
        (victim.signing_public(), EnvelopeError::Signature),
        (insider.signing_public(), EnvelopeError::Author),
    ] {
        let opened = open(&keys, &wire).unwrap();
        assert_eq!(opened.verify(&key).unwrap_err(), refusal);
    }
}

fn padding_for(content_bytes: usize) -> usize {
    let wire = content_bytes + SIGNATURE_BYTES + committing::OVERHEAD_BYTES;
    padded_len(wire) - wire
}

#[test]
fn padding_is_zero_and_of_one_length() {
    let (keys, device) = (epoch_keys(&conversation(1), 1), device(1));
    let content = codec::encode(&inner(&device, b"x")).unwrap();
    let pad = padding_for(content.len());
    assert!(pad > 0);
    let mut dirty = content.clone();
    dirty.resize(content.len() + pad, 0);
    *dirty.last_mut().unwrap() = 1;
    let wire = sign_raw(&keys, &device, &dirty);
    assert_eq!(open(&keys, &wire).unwrap_err(), EnvelopeError::Padding);
    let mut long = content.clone();
    long.resize(content.len() + pad + 64, 0);
    let wire = sign_raw(&keys, &device, &long);
    assert!(matches!(
        open(&keys, &wire).unwrap_err(),
        EnvelopeError::Padding | EnvelopeError::Framing
    ));
}

#[test]
fn unknown_kinds_are_refused() {
    let (keys, device) = (epoch_keys(&conversation(1), 1), device(1));
    let mut content = codec::encode(&inner(&device, b"x")).unwrap();
    content.resize(content.len() + padding_for(content.len()), 0);
    for kind in [0, 8, 200] {
        content[0] = kind;
        let wire = sign_raw(&keys, &device, &content);
        assert_eq!(
            open(&keys, &wire).unwrap_err(),
            EnvelopeError::UnknownKind(kind)
        );
    }
}

#[test]
fn bodies_beyond_a_record_are_refused() {
    let (keys, device) = (epoch_keys(&conversation(1), 1), device(1));
    let body = vec![0; RECORD_BYTES_MAX];
    assert!(matches!(
        seal(&keys, &inner(&device, &body), &device, &mut rng(1)),
        Err(EnvelopeError::TooLarge { .. })
    ));
}

#[test]
fn evidence_convinces_whoever_knows_the_key() {
    let (keys, device, wire) = sealed(b"one");
    let opened = open(&keys, &wire).unwrap();
    let Evidence::Shown(evidence) = opened.evidence(ItemId([0; 32])) else {
        panic!("small enough to show");
    };
    let shown = evidence.verify(&device.signing_public()).unwrap();
    assert_eq!(shown.body, b"one");
    let mut altered = evidence;
    altered.commitment[0] ^= 1;
    assert_eq!(
        altered.verify(&device.signing_public()).unwrap_err(),
        EnvelopeError::Signature
    );
}

#[test]
fn debug_shows_no_plaintext() {
    let shown = format!("{:?}", inner(&device(1), b"harvest moon"));
    assert!(!shown.contains("104, 97"), "{shown}");
    assert!(shown.contains("body_bytes: 12"), "{shown}");
}
