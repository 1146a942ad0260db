use data_encoding::HEXLOWER;

use super::*;
use crate::testing::rng;

fn bytes(hex: &str) -> Vec<u8> {
    HEXLOWER.decode(hex.as_bytes()).unwrap()
}

#[test]
fn both_suites_round_trip_and_bind_info_and_associated_data() {
    for suite in [Suite::X25519, Suite::XWing] {
        let secret = [3; 32];
        let public = public_of(suite, &secret).unwrap();
        let sealed = seal(&mut rng(1), (suite, &public), b"info", b"aad", b"text").unwrap();
        assert_eq!(sealed.len(), encapsulated_bytes(suite) + 4 + 16);
        let key = (suite, &secret);
        assert_eq!(
            open(key, b"info", b"aad", &sealed).unwrap().as_slice(),
            b"text"
        );
        assert!(open(key, b"other", b"aad", &sealed).is_err());
        assert!(open(key, b"info", b"other", &sealed).is_err());
        assert!(open((suite, &[4; 32]), b"info", b"aad", &sealed).is_err());
        for index in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[index] ^= 1;
            // X25519 ignores the top bit of a point, which is not the bit that is flipped here.
            assert!(
                open(key, b"info", b"aad", &altered).is_err(),
                "byte {index}"
            );
        }
        for length in 0..sealed.len() {
            assert!(open(key, b"info", b"aad", &sealed[..length]).is_err());
        }
    }
}

/// The points of small order on Curve25519, and their non-canonical forms.
const LOW_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

#[test]
fn points_of_small_order_are_refused() {
    let mut hybrid = public_of(Suite::XWing, &[3; 32]).unwrap();
    assert!(public_is_sound(Suite::XWing, &hybrid));
    for point in LOW_ORDER {
        let point = bytes(point);
        assert!(!public_is_sound(Suite::X25519, &point));
        assert!(seal(&mut rng(1), (Suite::X25519, &point), b"", b"", b"x").is_err());
        hybrid[1184..].copy_from_slice(&point);
        assert!(!public_is_sound(Suite::XWing, &hybrid));
    }
    assert!(!public_is_sound(Suite::X25519, &[9; 31]));
    assert!(!public_is_sound(Suite::XWing, &[0xff; 1216]));
}
