use super::*;
use crate::testing::device;

fn genesis(author: &DeviceSecrets) -> Operation {
    Operation {
        conversation: ConversationId::default(),
        author: author.device(),
        user: UserId([1; 32]),
        incarnation: OperationId::default(),
        run: RunId([2; 16]),
        seq: 0,
        previous: None,
        parents: Vec::new(),
        body: Body::Genesis(Genesis {
            creator: UserId([1; 32]),
            creator_log: vec![1, 2, 3],
            name: "Harvest".into(),
            history: History::Full,
            segment_messages: 4_096,
            random: [3; 32],
        }),
    }
}

fn following(author: &DeviceSecrets, body: Body) -> Operation {
    Operation {
        conversation: ConversationId([4; 32]),
        incarnation: OperationId([5; 32]),
        seq: 2,
        previous: Some(ItemId([6; 32])),
        parents: vec![OperationId([7; 32]), OperationId([8; 32])],
        body,
        ..genesis(author)
    }
}

#[test]
fn a_genesis_founds_the_conversation_of_its_hash() {
    let author = device(1);
    let signed = SignedOperation::sign(&genesis(&author), &author).unwrap();
    signed.verify(&author.signing_public()).unwrap();
    assert_ne!(signed.founded().0, signed.id().0);
    let mut named = genesis(&author);
    named.conversation = signed.founded();
    assert_eq!(
        SignedOperation::sign(&named, &author).unwrap_err(),
        StatementError::Malformed
    );
}

#[test]
fn what_is_not_a_genesis_names_its_conversation_and_grant() {
    let author = device(1);
    let sound = following(&author, Body::Leave);
    SignedOperation::sign(&sound, &author).unwrap();
    let mut broken = vec![sound.clone(); 5];
    broken[0].conversation = ConversationId::default();
    broken[1].incarnation = OperationId::default();
    broken[2].parents.clear();
    broken[3].parents.reverse();
    broken[4].parents = vec![sound.parents[0]; 2];
    for operation in broken {
        assert_eq!(
            SignedOperation::sign(&operation, &author).unwrap_err(),
            StatementError::Malformed
        );
    }
}

#[test]
fn every_altered_byte_is_refused() {
    let author = device(1);
    let body = Body::Rename {
        name: "South field".into(),
    };
    let signed = SignedOperation::sign(&following(&author, body), &author).unwrap();
    let wire = signed.to_bytes().unwrap();
    assert_eq!(SignedOperation::from_bytes(&wire).unwrap(), signed);
    for index in 0..wire.len() {
        let mut altered = wire.clone();
        altered[index] ^= 1;
        let refused = SignedOperation::from_bytes(&altered)
            .and_then(|operation| operation.verify(&author.signing_public()));
        assert!(refused.is_err(), "byte {index}");
    }
}

#[test]
fn another_author_is_refused() {
    let (author, other) = (device(1), device(2));
    let operation = following(&author, Body::Leave);
    assert_eq!(
        SignedOperation::sign(&operation, &other).unwrap_err(),
        StatementError::Author
    );
    let signed = SignedOperation::sign(&operation, &author).unwrap();
    assert_eq!(
        signed.verify(&other.signing_public()).unwrap_err(),
        StatementError::Author
    );
}

#[test]
fn a_signature_for_one_kind_of_statement_is_none_for_another() {
    let author = device(1);
    let operation = following(&author, Body::Leave);
    let signed = SignedOperation::sign(&operation, &author).unwrap();
    for label in [
        label::signature::IDENTITY_OPERATION,
        label::signature::ENVELOPE,
        label::signature::INBOX,
        label::signature::POSSESSION,
        label::signature::KEM_RECORD,
        b"",
    ] {
        let confused = SignedOperation {
            bytes: signed.bytes.clone(),
            signature: author.sign(label, &[&signed.bytes]),
        };
        assert_eq!(
            confused.verify(&author.signing_public()).unwrap_err(),
            StatementError::Signature
        );
    }
}

#[test]
fn what_is_beyond_a_limit_is_not_signed() {
    let author = device(1);
    for body in [
        Body::Rename {
            name: "x".repeat(limits::NAME_BYTES_MAX + 1),
        },
        Body::Remove {
            user: UserId([1; 32]),
            incarnations: vec![OperationId([1; 32]); limits::INCARNATIONS_MAX + 1],
            frontier: Vec::new(),
        },
        Body::Add {
            user: UserId([1; 32]),
            role: Role::Reader,
            log: vec![0; limits::USER_LOG_BYTES_MAX + 1],
            forwards: Vec::new(),
        },
    ] {
        assert_eq!(
            SignedOperation::sign(&following(&author, body), &author).unwrap_err(),
            StatementError::TooLarge
        );
    }
}

#[test]
fn roles_are_ordered() {
    assert!(Role::Reader < Role::Writer);
    assert!(Role::Writer < Role::Admin);
    assert!(Role::Admin < Role::Owner);
}
