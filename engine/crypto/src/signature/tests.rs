use data_encoding::HEXLOWER;

use super::*;

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    HEXLOWER.decode(hex.as_bytes()).unwrap().try_into().unwrap()
}

#[test]
fn rfc_8032_test_1_and_2_hold() {
    let key = SigningKey::from_bytes(&bytes(
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    ));
    let public = key.verifying_key().to_bytes();
    let signature = Signature(bytes(concat!(
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555",
        "fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )));
    assert_eq!(Signature::create(&key, b"", &[]), signature);
    assert!(signature.verify(&public, b"", &[]).is_ok());
    assert!(signature.verify(&public, b"r", &[]).is_err());

    let key = SigningKey::from_bytes(&bytes(
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    ));
    let signature = Signature::create(&key, &[0x72], &[]);
    assert!(
        signature
            .verify(&key.verifying_key().to_bytes(), b"r", &[])
            .is_ok()
    );
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
