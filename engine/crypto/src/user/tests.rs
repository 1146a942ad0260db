use super::*;
use crate::testing::{device, rng};

fn founded() -> (RecoveryPhrase, DeviceSecrets, SignedUserGenesis) {
    let (phrase, device) = (RecoveryPhrase::generate(&mut rng(20)), device(1));
    let genesis = UserGenesis::create(&mut rng(21), &phrase, &device, "laptop").unwrap();
    (phrase, device, genesis)
}

fn operation(genesis: &SignedUserGenesis, author: Author, body: UserBody) -> UserOperation {
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

fn added(genesis: &SignedUserGenesis, new: &DeviceSecrets) -> UserBody {
    let certificate = new.certificate("phone").unwrap();
    let possession = new.prove_possession(&genesis.user(), &certificate).unwrap();
    UserBody::AddDevice {
        certificate,
        possession,
    }
}

#[test]
fn a_genesis_names_its_user() {
    let (_, device, genesis) = founded();
    let (user, content) = genesis.verify().unwrap();
    assert_eq!(user, genesis.user());
    assert_eq!(content.device.device, device.device());
    assert_ne!(user.0, genesis.id().0);
}

#[test]
fn every_altered_byte_of_a_genesis_is_refused() {
    let (_, _, genesis) = founded();
    for index in 0..genesis.bytes.len() {
        let mut altered = genesis.clone();
        altered.bytes[index] ^= 1;
        assert!(altered.verify().is_err(), "byte {index}");
    }
    let mut swapped = genesis.clone();
    swapped.device_signature = genesis.recovery_signature;
    assert!(swapped.verify().is_err());
    let mut longer = genesis;
    longer.bytes.push(0);
    assert_eq!(longer.verify().unwrap_err(), StatementError::Malformed);
}

#[test]
fn a_device_is_added_with_its_consent() {
    let (_, first, genesis) = founded();
    let second = device(2);
    let author = Author::Device(first.device());
    let body = added(&genesis, &second);
    let operation = operation(&genesis, author, body);
    let signed = SignedUserOperation::sign(&operation, &first).unwrap();
    assert_eq!(signed.verify(&first.signing_public()).unwrap(), operation);
    assert_eq!(
        signed.verify(&second.signing_public()).unwrap_err(),
        StatementError::Author
    );
    for index in 0..signed.bytes.len() {
        let mut altered = signed.clone();
        altered.bytes[index] ^= 1;
        assert!(altered.verify(&first.signing_public()).is_err());
    }
}

#[test]
fn a_device_of_another_cannot_be_claimed() {
    // The victim agreed to belong to one user; an attacker adds the same key to his own.
    let (_, first, genesis) = founded();
    let (phrase, victim) = (RecoveryPhrase::generate(&mut rng(30)), device(2));
    let other = UserGenesis::create(&mut rng(31), &phrase, &device(3), "x").unwrap();
    let body = added(&other, &victim);
    let claimed = operation(&genesis, Author::Device(first.device()), body);
    assert_eq!(
        SignedUserOperation::sign(&claimed, &first).unwrap_err(),
        StatementError::Possession
    );
    let bytes = codec::encode_statement(&claimed).unwrap();
    let forged = SignedUserOperation {
        signature: first.sign(label::signature::IDENTITY_OPERATION, &[&bytes]),
        bytes,
    };
    assert_eq!(
        forged.verify(&first.signing_public()).unwrap_err(),
        StatementError::Possession
    );
}

#[test]
fn the_recovery_key_signs_for_itself() {
    let (phrase, first, genesis) = founded();
    let next = RecoveryPhrase::generate(&mut rng(40));
    let recovery = RecoveryKeys::of(&next).unwrap();
    let possession = prove_recovery_possession(&genesis.user(), &next, &recovery).unwrap();
    let body = UserBody::RotateRecovery {
        recovery: recovery.clone(),
        possession,
    };
    let rotation = operation(&genesis, Author::Recovery, body);
    let signed = SignedUserOperation::sign_with_recovery(&rotation, &phrase).unwrap();
    assert_eq!(signed.verify(&phrase.signing_public()).unwrap(), rotation);
    assert!(signed.verify(&next.signing_public()).is_err());
    assert!(SignedUserOperation::sign(&rotation, &first).is_err());
    assert!(prove_recovery_possession(&genesis.user(), &phrase, &recovery).is_err());
    let mut stolen = rotation;
    stolen.body = UserBody::RotateRecovery {
        recovery,
        possession: Signature([1; 64]),
    };
    assert_eq!(
        SignedUserOperation::sign_with_recovery(&stolen, &phrase).unwrap_err(),
        StatementError::Possession
    );
}

#[test]
fn the_other_bodies_and_the_order_of_parents() {
    let (_, first, genesis) = founded();
    let author = Author::Device(first.device());
    let device = device(2).device();
    for body in [
        UserBody::RevokeDevice {
            device,
            incarnations: vec![genesis.id()],
        },
        UserBody::Freeze { device },
        UserBody::Thaw { device },
        UserBody::Handover { to: device },
        UserBody::RenameDevice {
            device,
            label: "desk".into(),
        },
    ] {
        let mut operation = operation(&genesis, author, body);
        let signed = SignedUserOperation::sign(&operation, &first).unwrap();
        assert_eq!(signed.verify(&first.signing_public()).unwrap(), operation);
        operation.parents = vec![OperationId([2; 32]), OperationId([1; 32])];
        assert!(SignedUserOperation::sign(&operation, &first).is_err());
    }
}

#[test]
fn a_log_travels() {
    let (_, first, genesis) = founded();
    let body = added(&genesis, &device(2));
    let operation = operation(&genesis, Author::Device(first.device()), body);
    let signed = SignedUserOperation::sign(&operation, &first).unwrap();
    let log = UserLog {
        genesis,
        operations: vec![signed],
    };
    let bytes = log.to_bytes().unwrap();
    assert_eq!(UserLog::from_bytes(&bytes).unwrap(), log);
    for length in 0..bytes.len() {
        assert!(UserLog::from_bytes(&bytes[..length]).is_err());
    }
    assert!(UserLog::from_bytes(&[bytes, vec![0]].concat()).is_err());
}
