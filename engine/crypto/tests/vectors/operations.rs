//! Vectors of both logs: every body once.

use rand_core::Rng;
use serde_json::{Value, json};
use sheaf_crypto::{
    Author, Body, ConversationId, DeviceId, DeviceSecrets, EpochId, Evidence, Forward,
    FrontierEntry, Genesis, History, ItemId, Operation, OperationId, RecoveryKeys, RecoveryPhrase,
    Rekey, Role, RunId, Seal, Signature, SignedInner, SignedOperation, SignedUserGenesis,
    SignedUserOperation, ThawByRecovery, UserBody, UserGenesis, UserId, UserOperation,
    prove_recovery_possession,
};

use crate::cast::{conversation, device, hex, rng};

pub(crate) fn added(
    genesis: &SignedUserGenesis,
    first: &DeviceSecrets,
    second: &DeviceSecrets,
) -> SignedUserOperation {
    let certificate = second.certificate("phone").unwrap();
    let possession = second
        .prove_possession(&genesis.user(), &certificate)
        .unwrap();
    let body = UserBody::AddDevice {
        certificate,
        possession,
    };
    let author = Author::Device(first.device());
    SignedUserOperation::sign(&user_operation(genesis, author, body), first).unwrap()
}

fn user_operation(genesis: &SignedUserGenesis, author: Author, body: UserBody) -> UserOperation {
    UserOperation {
        user: genesis.user(),
        author,
        incarnation: genesis.id(),
        seq: 1,
        previous: None,
        parents: vec![genesis.id()],
        body,
    }
}

pub(crate) fn user_operations() -> Value {
    let phrase = RecoveryPhrase::generate(&mut rng(1));
    let next = RecoveryPhrase::generate(&mut rng(7));
    let (first, second) = (device(2), device(4));
    let genesis = UserGenesis::create(&mut rng(3), &phrase, &first, "laptop").unwrap();
    let author = Author::Device(first.device());
    let device = second.device();
    let mut vectors = vec![vector(&added(&genesis, &first, &second), "AddDevice")];
    for (name, body) in [
        (
            "RevokeDevice",
            UserBody::RevokeDevice {
                device,
                incarnations: vec![OperationId([1; 32])],
            },
        ),
        ("Freeze", UserBody::Freeze { device }),
        ("Thaw", UserBody::Thaw { device }),
        ("Handover", UserBody::Handover { to: device }),
        ("Decline", UserBody::Decline),
        (
            "RenameDevice",
            UserBody::RenameDevice {
                device,
                label: "desk".into(),
            },
        ),
    ] {
        let operation = user_operation(&genesis, author, body);
        let signed = SignedUserOperation::sign(&operation, &first).unwrap();
        assert_eq!(signed.verify(&first.signing_public()).unwrap(), operation);
        vectors.push(vector(&signed, name));
    }
    let recovery = RecoveryKeys::of(&next).unwrap();
    let body = UserBody::RotateRecovery {
        possession: prove_recovery_possession(&genesis.user(), &next, &recovery).unwrap(),
        recovery,
    };
    let operation = user_operation(&genesis, Author::Recovery, body);
    let signed = SignedUserOperation::sign_with_recovery(&operation, &phrase).unwrap();
    assert_eq!(signed.verify(&phrase.signing_public()).unwrap(), operation);
    vectors.push(vector(&signed, "RotateRecovery"));
    json!({
        "signing_public": hex(first.signing_public()),
        "recovery_signing_public": hex(phrase.signing_public()),
        "operations": vectors,
    })
}

fn vector(signed: &SignedUserOperation, name: &str) -> Value {
    json!({
        "body": name,
        "bytes": hex(&signed.bytes),
        "signature": hex(signed.signature.0),
        "id": signed.id().to_string(),
    })
}

pub(crate) fn control_operations() -> Value {
    let author = device(2);
    let mut vectors = Vec::new();
    for (name, body) in bodies() {
        let founding = name == "Genesis";
        let operation = Operation {
            conversation: if founding {
                ConversationId::default()
            } else {
                conversation()
            },
            author: author.device(),
            user: UserId([1; 32]),
            incarnation: OperationId(if founding { [0; 32] } else { [2; 32] }),
            run: RunId([3; 16]),
            seq: if founding { 0 } else { 300 },
            previous: (!founding).then_some(ItemId([4; 32])),
            parents: if founding {
                Vec::new()
            } else {
                vec![OperationId([5; 32]), OperationId([6; 32])]
            },
            body,
        };
        let signed = SignedOperation::sign(&operation, &author).unwrap();
        assert_eq!(signed.verify(&author.signing_public()).unwrap(), operation);
        vectors.push(json!({
            "body": name,
            "bytes": hex(&signed.bytes),
            "signature": hex(signed.signature.0),
            "id": signed.id().to_string(),
            "founded": founding.then(|| signed.founded().to_string()),
        }));
    }
    json!({
        "signing_public": hex(author.signing_public()),
        "operations": vectors,
    })
}

fn bodies() -> Vec<(&'static str, Body)> {
    [grants(), epochs(), others()].concat()
}

fn frontier() -> Vec<FrontierEntry> {
    vec![FrontierEntry {
        device: DeviceId([20; 32]),
        run: RunId([21; 16]),
        seq: 22,
        item: ItemId([23; 32]),
    }]
}

fn sealed_forward() -> Forward {
    let mut sealed = vec![0; 80];
    rng(50).fill_bytes(&mut sealed);
    Forward {
        epoch: EpochId([30; 32]),
        commitment: [31; 32],
        device: DeviceId([32; 32]),
        counter: 33,
        sealed,
    }
}

fn grants() -> Vec<(&'static str, Body)> {
    let user = UserId([10; 32]);
    let incarnations = vec![OperationId([11; 32])];
    vec![
        (
            "Genesis",
            Body::Genesis(Genesis {
                creator: UserId([1; 32]),
                creator_log: vec![1, 2, 3],
                name: "Harvest".into(),
                history: History::Full,
                segment_messages: 4_096,
                random: [12; 32],
            }),
        ),
        (
            "Add",
            Body::Add {
                user,
                role: Role::Admin,
                log: vec![4, 5],
                forwards: vec![sealed_forward()],
            },
        ),
        (
            "Promote",
            Body::Promote {
                user,
                role: Role::Owner,
            },
        ),
        (
            "Remove",
            Body::Remove {
                user,
                incarnations: incarnations.clone(),
                frontier: frontier(),
            },
        ),
        (
            "Regrant",
            Body::Regrant {
                user,
                incarnations,
                frontier: frontier(),
                role: Role::Reader,
            },
        ),
        ("TransferOwner", Body::TransferOwner { to: user }),
        ("Leave", Body::Leave),
    ]
}

fn epochs() -> Vec<(&'static str, Body)> {
    let forward = sealed_forward();
    let device = forward.device;
    vec![
        (
            "AttachDevice",
            Body::AttachDevice {
                device,
                log: vec![6],
                forwards: vec![forward.clone()],
            },
        ),
        (
            "DetachDevice",
            Body::DetachDevice {
                device,
                proof: Vec::new(),
                frontier: frontier(),
            },
        ),
        (
            "Rekey",
            Body::Rekey(Rekey {
                commitment: forward.commitment,
                seals: vec![Seal {
                    device,
                    counter: 40,
                    sealed: forward.sealed.clone(),
                }],
                chain: Some(vec![41; 10]),
                parents_epochs: vec![EpochId([42; 32])],
            }),
        ),
        ("Forward", Body::Forward(forward)),
        (
            "BadSeal",
            Body::BadSeal {
                epoch: EpochId([43; 32]),
                operation: OperationId([44; 32]),
            },
        ),
    ]
}

fn others() -> Vec<(&'static str, Body)> {
    let device = DeviceId([60; 32]);
    vec![
        (
            "Cut",
            Body::Cut {
                snapshot: [61; 32],
                segment: 62,
                heads: vec![[63; 32]],
                frontier: frontier(),
            },
        ),
        (
            "Equivocation",
            Body::Equivocation {
                first: Evidence::Shown(SignedInner {
                    header_hash: [64; 32],
                    commitment: [65; 32],
                    inner: vec![66; 4],
                    signature: Signature([67; 64]),
                }),
                second: Evidence::Named(ItemId([68; 32])),
            },
        ),
        ("Freeze", Body::Freeze { device }),
        ("Thaw", Body::Thaw { device }),
        (
            "Rename",
            Body::Rename {
                name: "South field".into(),
            },
        ),
        (
            "HandOver",
            Body::HandOver {
                forwards: vec![sealed_forward(); 2],
            },
        ),
        (
            "Forget",
            Body::Forget {
                cut: OperationId([69; 32]),
            },
        ),
        (
            "ThawByRecovery",
            Body::ThawByRecovery(ThawByRecovery::sign(
                &RecoveryPhrase::generate(&mut rng(70)),
                &ConversationId([71; 32]),
                device,
                vec![OperationId([72; 32]), OperationId([73; 32])],
                vec![74],
            )),
        ),
    ]
}
