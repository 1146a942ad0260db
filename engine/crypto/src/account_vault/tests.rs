use super::*;
use crate::testing::{device, rng};

const USER: UserId = UserId([3; 32]);
const NUMBER: VaultNumber = VaultNumber {
    generation: 2,
    counter: 1_700_000_000_000,
};

fn phrase(seed: u8) -> RecoveryPhrase {
    RecoveryPhrase::generate(&mut rng(seed))
}

fn sealed(body: &[u8]) -> Vec<Vec<u8>> {
    let recovery = RecoveryKeys::of(&phrase(1)).unwrap();
    seal_account_vault(&mut rng(5), &recovery, (USER, &device(1)), NUMBER, body).unwrap()
}

fn read(phrase: &RecoveryPhrase, parts: &[Vec<u8>]) -> Result<JoinedVault, AccountVaultError> {
    let opened: Result<Vec<_>, _> = parts
        .iter()
        .map(|part| open_account_vault_part(phrase, part))
        .collect();
    join_account_vault(opened?)
}

#[test]
fn vaults_of_every_size_come_back() {
    for bytes in [0, 1, 32_000, 33_000, 100_000, limits::VAULT_BODY_BYTES_MAX] {
        let body = vec![9; bytes];
        let mut parts = sealed(&body);
        assert!(parts.iter().all(|part| part.len() <= PART_BYTES_MAX));
        parts.reverse();
        let joined = read(&phrase(1), &parts).unwrap();
        let vault = joined.verify(&device(1).signing_public()).unwrap();
        assert_eq!(*vault.body, body);
        assert_eq!((vault.user, vault.number), (USER, NUMBER));
    }
    let recovery = RecoveryKeys::of(&phrase(1)).unwrap();
    let beyond = vec![0; limits::VAULT_BODY_BYTES_MAX + 1];
    let writer = device(1);
    let refused = seal_account_vault(&mut rng(5), &recovery, (USER, &writer), NUMBER, &beyond);
    assert_eq!(refused.unwrap_err(), AccountVaultError::TooLarge);
}

#[test]
fn the_size_shows_the_bucket_only() {
    let sizes = |body: &[u8]| -> Vec<usize> { sealed(body).iter().map(Vec::len).collect() };
    assert_eq!(sizes(b""), sizes(&[7; 30_000]));
    assert_eq!(sizes(&[0; 33_000]), sizes(&[7; 65_000]));
    assert_ne!(sizes(b""), sizes(&[0; 33_000]));
    let total = |body: &[u8]| sizes(body).iter().sum::<usize>();
    assert!(total(b"") < 35_000);
}

#[test]
fn every_altered_byte_is_refused() {
    let parts = sealed(b"all there is");
    let [part] = parts.as_slice() else {
        panic!("a small vault is one record");
    };
    let phrase = phrase(1);
    // Header, encapsulated key and the first bytes of the ciphertext, then some of the rest.
    let places = (0..1_300).chain((1_300..part.len()).step_by(211));
    for index in places {
        let mut altered = part.clone();
        altered[index] ^= 1;
        assert!(
            open_account_vault_part(&phrase, &altered).is_err(),
            "byte {index}"
        );
    }
    for length in (0..part.len()).step_by(97) {
        assert!(open_account_vault_part(&phrase, &part[..length]).is_err());
    }
}

#[test]
fn another_phrase_opens_nothing() {
    let parts = sealed(b"all there is");
    let refused = open_account_vault_part(&phrase(2), &parts[0]).unwrap_err();
    assert_eq!(refused, AccountVaultError::Unreadable);
}

#[test]
fn parts_of_two_vaults_do_not_mix() {
    let (one, two) = (sealed(&[1; 80_000]), sealed(&[2; 80_000]));
    assert!(one.len() > 1);
    let mixed: Vec<Vec<u8>> = one
        .iter()
        .take(1)
        .chain(two.iter().skip(1))
        .cloned()
        .collect();
    assert_eq!(
        read(&phrase(1), &mixed).unwrap_err(),
        AccountVaultError::Parts
    );
    assert_eq!(
        read(&phrase(1), &one[1..]).unwrap_err(),
        AccountVaultError::Parts
    );
}

#[test]
fn only_the_named_device_signs() {
    let parts = sealed(b"all there is");
    let joined = read(&phrase(1), &parts).unwrap();
    let refused = joined.verify(&device(2).signing_public()).unwrap_err();
    assert_eq!(refused, AccountVaultError::Writer);
    // Sealed by somebody who writes another name over it: the signature does not fit.
    let recovery = RecoveryKeys::of(&phrase(1)).unwrap();
    let content = Content {
        user: USER,
        device: device(1).device(),
        body: b"all there is".to_vec(),
    };
    let number = NUMBER.bytes();
    let hashed = body_hash(&content.body);
    let theirs = device(2).sign(
        label::signature::VAULT,
        &signed_parts(
            &recovery.signing,
            &[4; ID_BYTES],
            &number,
            &content,
            &hashed,
        ),
    );
    let forged = JoinedVault {
        recovery: recovery.signing,
        id: [4; ID_BYTES],
        number: NUMBER,
        content,
        signature: theirs,
    };
    let refused = forged.verify(&device(1).signing_public()).unwrap_err();
    assert_eq!(refused, AccountVaultError::Signature);
}

#[test]
fn a_signature_is_for_one_number_and_one_recovery_key() {
    for altered in 0..3 {
        let mut joined = read(&phrase(1), &sealed(b"all there is")).unwrap();
        match altered {
            0 => joined.number.counter += 1,
            1 => joined.number.generation += 1,
            _ => joined.recovery = phrase(2).signing_public(),
        }
        let refused = joined.verify(&device(1).signing_public()).unwrap_err();
        assert_eq!(refused, AccountVaultError::Signature);
    }
}
