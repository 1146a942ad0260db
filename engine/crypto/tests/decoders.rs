//! No decoder panics, whatever the bytes; what decodes from altered bytes never verifies.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sheaf_crypto::{
    Body, Card, ConversationId, DeviceSecrets, EpochId, EpochKeys, EpochSecret, Forward, Join,
    LinkStep, Offer, Operation, OperationId, Recipient, RecoveryPhrase, Rekey, RunId, Signature,
    SignedInner, SignedOperation, SignedUserGenesis, SignedUserOperation, Suite, Unlock,
    UserGenesis, UserId, UserLog, Vault, VaultHeader, open, open_chain, open_forward,
    open_inbox_part, open_rekey, rekey,
};

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

fn device() -> DeviceSecrets {
    DeviceSecrets::generate(&mut rng(1), Suite::XWing)
}

fn secret() -> EpochSecret {
    EpochSecret::from_bytes(&[1; 64]).unwrap()
}

/// Everything that reads bytes from outside.
fn read_all(bytes: &[u8]) {
    let (me, secret) = (device(), secret());
    let (conversation, epoch) = (ConversationId([1; 32]), EpochId([2; 32]));
    let keys = EpochKeys::derive(&conversation, epoch, &secret);
    assert!(open(&keys, bytes).is_err());
    assert!(open_chain(&secret, epoch, &conversation, bytes).is_err());
    assert!(open_inbox_part(&me, bytes).is_err());
    let public = me.signing_public();
    let inner = SignedInner {
        header_hash: [0; 32],
        commitment: [0; 32],
        inner: bytes.to_vec(),
        signature: Signature([0; 64]),
    };
    assert!(inner.verify(&public).is_err());
    if let Ok(operation) = SignedOperation::from_bytes(bytes) {
        assert!(operation.verify(&public).is_err());
    }
    let operation = SignedOperation {
        bytes: bytes.to_vec(),
        signature: Signature([0; 64]),
    };
    assert!(operation.verify(&public).is_err());
    let operation = SignedUserOperation {
        bytes: bytes.to_vec(),
        signature: Signature([0; 64]),
    };
    assert!(operation.verify(&public).is_err());
    let genesis = SignedUserGenesis {
        bytes: bytes.to_vec(),
        recovery_signature: Signature([0; 64]),
        device_signature: Signature([0; 64]),
    };
    assert!(genesis.verify().is_err());
    if let Ok(log) = UserLog::from_bytes(bytes) {
        let _user = log.user();
    }
    let _step = LinkStep::of(bytes);
    let _header = VaultHeader::from_bytes(bytes).map(|header| header.open(&key()).is_ok());
    let _secrets = DeviceSecrets::from_bytes(bytes).is_ok();
    let _rekey = postcard::from_bytes::<Rekey>(bytes)
        .map(|rekey| open_rekey(&rekey, &conversation, me.device(), 1, &[], &me).is_ok());
    let _forward = postcard::from_bytes::<Forward>(bytes)
        .map(|forward| open_forward(&forward, &conversation, &[], &me).is_ok());
}

fn key() -> Unlock<'static> {
    Unlock::KeyFile(&[1; 32])
}

/// Well-formed bytes of several formats, to alter.
fn samples() -> Vec<Vec<u8>> {
    let me = device();
    let phrase = RecoveryPhrase::generate(&mut rng(2));
    let genesis = UserGenesis::create(&mut rng(3), &phrase, &me, "laptop").unwrap();
    let log = UserLog {
        genesis: genesis.clone(),
        operations: Vec::new(),
    };
    let recipient = Recipient {
        device: me.device(),
        kem: me.kem_record().unwrap(),
    };
    let conversation = ConversationId([1; 32]);
    let previous = secret();
    let (_, _, rekey) = rekey(
        &mut rng(4),
        &conversation,
        me.device(),
        1,
        &[],
        &[recipient],
        &[(EpochId([2; 32]), &previous)],
    )
    .unwrap();
    let operation = Operation {
        conversation,
        author: me.device(),
        user: UserId([1; 32]),
        incarnation: OperationId([1; 32]),
        run: RunId([1; 16]),
        seq: 1,
        previous: None,
        parents: vec![OperationId([1; 32])],
        body: Body::Rekey(rekey.clone()),
    };
    let signed = SignedOperation::sign(&operation, &me).unwrap();
    let quick = sheaf_crypto::Argon2Params {
        memory_kib: 64,
        passes: 1,
        lanes: 1,
    };
    let (header, _) = Vault::create(&mut rng(5), &key(), quick).unwrap();
    vec![
        genesis.bytes,
        log.to_bytes().unwrap(),
        postcard::to_allocvec(&rekey).unwrap(),
        signed.bytes.clone(),
        signed.to_bytes().unwrap(),
        header.to_bytes().unwrap(),
        me.to_bytes().unwrap().to_vec(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_are_no_statement(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        read_all(&bytes);
    }

    #[test]
    fn altered_statements_do_not_verify(
        sample in 0usize..7,
        place in any::<prop::sample::Index>(),
        with in proptest::collection::vec(any::<u8>(), 0..12),
        removed in 0usize..12,
    ) {
        let mut bytes = samples().swap_remove(sample);
        let original = bytes.clone();
        let start = place.index(bytes.len());
        let end = (start + removed).min(bytes.len());
        bytes.splice(start..end, with);
        if bytes != original {
            read_all(&bytes);
        }
    }

    #[test]
    fn arbitrary_text_is_no_card_code_or_phrase(text in ".{0,300}") {
        prop_assert!(Card::parse(&text).is_err());
        let card = format!("sheaf:{text}");
        prop_assert!(Card::parse(&card).is_err());
        prop_assert!(RecoveryPhrase::parse(&text).is_err());
        prop_assert!(Join::start(&mut rng(1), &text, 0, &device(), "x").is_err());
        let code = format!("sheaf-link:{text}");
        prop_assert!(Join::start(&mut rng(1), &code, 0, &device(), "x").is_err());
    }

    #[test]
    fn arbitrary_link_requests_are_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let certificate = device().certificate("x").unwrap();
        let message = [vec![1, 1, 0, 1], bytes].concat();
        let offer = Offer::new(&mut rng(1), 0, None).unwrap();
        let user = UserId([1; 32]);
        prop_assert!(
            offer.receive_request(&message, 0, &mut rng(2), user, &certificate).is_err()
        );
    }
}
