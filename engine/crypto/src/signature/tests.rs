use data_encoding::HEXLOWER;

use super::*;

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    HEXLOWER.decode(hex.as_bytes()).unwrap().try_into().unwrap()
}

/// Ed25519 points of small order.
const WEAK: [&str; 4] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
];

#[test]
fn weak_keys_verify_nothing() {
    for weak in WEAK {
        let key: [u8; 32] = bytes(weak);
        assert!(!is_sound(&key), "{weak}");
        // The identity as key and as R with S = 0 passes the lax verification for every message.
        let mut forged = [0; 64];
        forged[..32].copy_from_slice(&key);
        assert!(
            Signature(forged)
                .verify(&key, b"any", &[b"message"])
                .is_err()
        );
    }
}

#[test]
fn a_signature_plus_the_group_order_is_refused() {
    let key = SigningKey::from_bytes(&[1; 32]);
    let mut signature = Signature::create(&key, b"a", &[]);
    let order: [u8; 32] = bytes("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let mut carry = 0;
    for (byte, add) in signature.0[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = u8::try_from(sum & 0xff).unwrap();
        carry = sum >> 8;
    }
    assert!(
        signature
            .verify(&key.verifying_key().to_bytes(), b"a", &[])
            .is_err()
    );
}

#[test]
fn a_signature_is_64_bytes_on_the_wire() {
    let signature = Signature::create(&SigningKey::from_bytes(&[1; 32]), b"a", &[]);
    let encoded = postcard::to_allocvec(&signature).unwrap();
    assert_eq!(encoded, signature.0);
    assert_eq!(
        postcard::from_bytes::<Signature>(&encoded).unwrap(),
        signature
    );
}
