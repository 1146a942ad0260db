//! Signed statements: operations of a conversation, users' logs, cards.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sheaf_crypto::{
    Body, Card, ConversationId, DeviceSecrets, EpochId, EpochSecret, Forward, Operation,
    OperationId, Recipient, RecoveryPhrase, Rekey, RunId, Signature, SignedOperation,
    SignedUserGenesis, SignedUserOperation, Suite, ThawByRecovery, UserGenesis, UserId, UserLog,
    forward, open_forward, open_rekey, rekey,
};

use super::Seed;
use super::reader::Reader;

pub(super) const CONVERSATION: ConversationId = ConversationId([1; 32]);

pub(super) fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

/// A device with the plain suite, whose keys are quick to make.
pub(super) fn device(seed: u8) -> DeviceSecrets {
    DeviceSecrets::generate(&mut rng(seed), Suite::X25519)
}

pub(super) fn recipient(device: &DeviceSecrets) -> Recipient {
    Recipient {
        device: device.device(),
        kem: device.kem_record().unwrap(),
    }
}

/// The first byte chooses the form; the rest is a signed operation, the bytes of one, a re-key or
/// a forward.
pub(super) fn operation(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    let form = reader.byte() % 4;
    let bytes = reader.rest();
    let me = device(1);
    match form {
        0 => {
            let Ok(signed) = SignedOperation::from_bytes(bytes) else {
                return false;
            };
            let again = SignedOperation::from_bytes(&signed.to_bytes().unwrap());
            assert_eq!(again.as_ref(), Ok(&signed));
            let _verified = signed.verify(&me.signing_public());
            signed.decode().is_ok_and(|decoded| signs_again(&decoded))
        }
        1 => {
            let signed = SignedOperation {
                bytes: bytes.to_vec(),
                signature: Signature([0; 64]),
            };
            let (_id, _founded) = (signed.id(), signed.founded());
            signed.decode().is_ok_and(|decoded| signs_again(&decoded))
        }
        2 => postcard::from_bytes::<Rekey>(bytes).is_ok_and(|rekey| {
            let _count = rekey.recipients().count();
            let author = me.device();
            let _opened = open_rekey(&rekey, &CONVERSATION, author, 1, &[], &me);
            true
        }),
        _ => postcard::from_bytes::<Forward>(bytes).is_ok_and(|forward| {
            let _opened = open_forward(&forward, &CONVERSATION, &[], &me);
            true
        }),
    }
}

/// What decodes can be signed again, and decodes to the same then.
fn signs_again(operation: &Operation) -> bool {
    let me = device(1);
    if operation.author == me.device() {
        let signed = SignedOperation::sign(operation, &me).expect("what decodes is well-formed");
        assert_eq!(signed.decode().as_ref(), Ok(operation));
    }
    true
}

/// The first byte chooses: a user's log, a genesis, an operation of one.
pub(super) fn user_log(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    let form = reader.byte() % 3;
    let bytes = reader.rest();
    match form {
        0 => UserLog::from_bytes(bytes).is_ok_and(|log| {
            let _verified = log.genesis.verify();
            for operation in &log.operations {
                let _decoded = operation.decode();
            }
            let again = UserLog::from_bytes(&log.to_bytes().unwrap());
            assert_eq!(again.as_ref(), Ok(&log));
            true
        }),
        1 => {
            let genesis = SignedUserGenesis {
                bytes: bytes.to_vec(),
                recovery_signature: Signature([0; 64]),
                device_signature: Signature([0; 64]),
            };
            assert!(genesis.verify().is_err(), "zeroes are no signature");
            genesis.user() == genesis.user()
        }
        _ => {
            let operation = SignedUserOperation {
                bytes: bytes.to_vec(),
                signature: Signature([0; 64]),
            };
            assert!(operation.verify(&device(1).signing_public()).is_err());
            operation.decode().is_ok()
        }
    }
}

/// A card as people paste it.
pub(super) fn card(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let Ok(card) = Card::parse(text) else {
        return false;
    };
    let again = Card::parse(&card.to_text().expect("what parses is within its limits"));
    assert_eq!(again.as_ref(), Ok(&card));
    let _user = card.user();
    true
}

pub(super) fn operation_seeds() -> Vec<Seed> {
    let (me, other) = (device(1), device(2));
    let secret = EpochSecret::from_bytes(&[1; 64]).unwrap();
    let previous = [(EpochId([2; 32]), &secret)];
    let recipients = [recipient(&me), recipient(&other)];
    let (_, _, rekey) = rekey(
        &mut rng(4),
        &CONVERSATION,
        me.device(),
        1,
        &[],
        &recipients,
        &previous,
    )
    .unwrap();
    let operation = Operation {
        conversation: CONVERSATION,
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
    let forwarded = forward(
        &mut rng(5),
        &CONVERSATION,
        EpochId([2; 32]),
        secret.commitment(&CONVERSATION),
        &secret,
        &[],
        &recipient(&me),
    );
    let mut seeds = vec![
        Seed::new("signed", [&[0], &*signed.to_bytes().unwrap()].concat()),
        Seed::new("bytes", [&[1], &*signed.bytes].concat()),
        Seed::new(
            "rekey",
            [&[2], &*postcard::to_allocvec(&rekey).unwrap()].concat(),
        ),
    ];
    let bytes = postcard::to_allocvec(&forwarded.unwrap()).unwrap();
    seeds.push(Seed::new("forward", [&[3], &*bytes].concat()));
    let phrase = RecoveryPhrase::generate(&mut rng(2));
    let proofs = vec![OperationId([3; 32]), OperationId([4; 32])];
    let thaw = ThawByRecovery::sign(&phrase, &CONVERSATION, me.device(), proofs, vec![5]);
    let thaw = Operation {
        body: Body::ThawByRecovery(thaw),
        ..operation
    };
    let thaw = SignedOperation::sign(&thaw, &me).unwrap();
    seeds.push(Seed::new("thaw", [&[1], &*thaw.bytes].concat()));
    seeds
}

pub(super) fn log() -> UserLog {
    let phrase = RecoveryPhrase::generate(&mut rng(2));
    UserLog {
        genesis: UserGenesis::create(&mut rng(3), &phrase, &device(1), "laptop").unwrap(),
        operations: Vec::new(),
    }
}

pub(super) fn user_log_seeds() -> Vec<Seed> {
    let log = log();
    vec![
        Seed::new("log", [&[0], &*log.to_bytes().unwrap()].concat()),
        Seed::new("genesis", [&[1], &*log.genesis.bytes].concat()),
    ]
}

pub(super) fn card_seeds() -> Vec<Seed> {
    let card = |relay: Option<&str>, name: &str| Card {
        log: log(),
        relay: relay.map(str::to_owned),
        name: name.to_owned(),
    };
    vec![
        Seed::new("plain", card(None, "Ada").to_text().unwrap()),
        Seed::new(
            "relay",
            card(Some("sheaf://localhost:4433/#x"), "Ada")
                .to_text()
                .unwrap(),
        ),
    ]
}
