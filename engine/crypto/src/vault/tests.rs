use super::*;
use crate::limits;
use crate::testing::rng;

const QUICK: Argon2Params = Argon2Params {
    memory_kib: 64,
    passes: 1,
    lanes: 1,
};
const KEY: [u8; 32] = [5; 32];

fn vault() -> (VaultHeader, Vault) {
    Vault::create(&mut rng(1), &Unlock::Passphrase("correct horse"), QUICK).unwrap()
}

#[test]
fn the_right_passphrase_opens_and_the_wrong_one_does_not() {
    let (header, vault) = vault();
    let header = VaultHeader::from_bytes(&header.to_bytes().unwrap()).unwrap();
    let sealed = vault
        .seal_record(3, b"name", b"value", &mut rng(2))
        .unwrap();
    let opened = header.open(&Unlock::Passphrase("correct horse")).unwrap();
    assert_eq!(
        opened.open_record(3, b"name", &sealed).unwrap().as_slice(),
        b"value"
    );
    let refused = header.open(&Unlock::Passphrase("correct house"));
    assert_eq!(refused.unwrap_err(), VaultError::WrongKey);
    let refused = header.open(&Unlock::KeyFile(&KEY));
    assert_eq!(refused.unwrap_err(), VaultError::NoSlot);
}

#[test]
fn slots_come_and_go_but_never_the_last() {
    let (mut header, vault) = vault();
    header
        .add(&mut rng(3), &vault, &Unlock::KeyFile(&KEY), QUICK)
        .unwrap();
    let name = vault.name(1, b"key");
    let opened = header.open(&Unlock::KeyFile(&KEY)).unwrap();
    assert_eq!(opened.name(1, b"key"), name);
    let refused = header.open(&Unlock::KeyFile(&[6; 32]));
    assert_eq!(refused.unwrap_err(), VaultError::WrongKey);
    header.remove(&Unlock::Passphrase("correct horse")).unwrap();
    assert!(header.open(&Unlock::Passphrase("correct horse")).is_err());
    assert_eq!(
        header.remove(&Unlock::KeyFile(&KEY)).unwrap_err(),
        VaultError::WrongKey
    );
    while header
        .add(&mut rng(3), &vault, &Unlock::KeyFile(&KEY), QUICK)
        .is_ok()
    {}
    VaultHeader::from_bytes(&header.to_bytes().unwrap()).unwrap();
}

#[test]
fn every_altered_byte_of_a_header_is_refused() {
    let (header, _) = vault();
    let bytes = header.to_bytes().unwrap();
    for index in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[index] ^= 1;
        let opened = VaultHeader::from_bytes(&altered)
            .and_then(|header| header.open(&Unlock::Passphrase("correct horse")));
        assert!(opened.is_err(), "byte {index}");
    }
}

#[test]
fn a_header_cannot_ask_for_all_memory() {
    let greedy = Argon2Params {
        memory_kib: limits::ARGON2_MEMORY_KIB_MAX + 1,
        ..QUICK
    };
    let refused = Vault::create(&mut rng(1), &Unlock::Passphrase("x"), greedy);
    assert_eq!(refused.unwrap_err(), VaultError::Header);
    let none = Argon2Params { passes: 0, ..QUICK };
    let refused = Vault::create(&mut rng(1), &Unlock::Passphrase("x"), none);
    assert_eq!(refused.unwrap_err(), VaultError::Stretch);
}

#[test]
fn a_record_is_bound_to_its_place() {
    let (_, vault) = vault();
    let sealed = vault
        .seal_record(3, b"name", b"value", &mut rng(2))
        .unwrap();
    let (_, other) = Vault::create(&mut rng(9), &Unlock::KeyFile(&KEY), QUICK).unwrap();
    for opened in [
        vault.open_record(4, b"name", &sealed),
        vault.open_record(3, b"other", &sealed),
        other.open_record(3, b"name", &sealed),
    ] {
        assert_eq!(opened.unwrap_err(), VaultError::Record);
    }
    for index in 0..sealed.len() {
        let mut altered = sealed.clone();
        altered[index] ^= 1;
        assert!(vault.open_record(3, b"name", &altered).is_err());
        assert!(vault.open_record(3, b"name", &sealed[..index]).is_err());
    }
}

#[test]
fn names_are_per_kind_and_nothing_is_printed() {
    let (_, vault) = vault();
    assert_ne!(vault.name(1, b"a"), vault.name(2, b"a"));
    assert_ne!(vault.name(1, b"a"), vault.name(1, b"b"));
    assert_eq!(format!("{vault:?}"), "Vault { .. }");
    assert_eq!(format!("{:?}", Unlock::Passphrase("secret")), "Passphrase");
}

#[test]
fn a_secret_is_replaced_in_two_steps_and_the_others_stay() {
    let (mut header, vault) = vault();
    let (old, new, other) = (
        Unlock::Passphrase("correct horse"),
        Unlock::Passphrase("battery staple"),
        Unlock::KeyFile(&KEY),
    );
    if header.open(&other).is_err() {
        header.add(&mut rng(3), &vault, &other, QUICK).unwrap();
    }
    let sealed = vault.seal_record(3, b"name", b"value", &mut rng(2));
    let sealed = sealed.unwrap();
    let wrong = Unlock::Passphrase("incorrect horse");
    let refused = header.replace(&mut rng(4), &vault, (&wrong, &new), QUICK);
    assert_eq!(refused.unwrap_err(), VaultError::WrongKey);
    let replaced = header.replace(&mut rng(4), &vault, (&old, &new), QUICK);
    let replaced = replaced.unwrap();
    for (header, opens) in [
        (&replaced.both, [true, true, true]),
        (&replaced.after, [false, true, true]),
    ] {
        for (secret, opens) in [&old, &new, &other].into_iter().zip(opens) {
            let opened = header.open(secret);
            assert_eq!(opened.is_ok(), opens, "{secret:?}");
            if let Ok(vault) = opened {
                assert_eq!(&*vault.open_record(3, b"name", &sealed).unwrap(), b"value");
            }
        }
    }
    // The same secret again: a new slot for the old one.
    let same = header.replace(&mut rng(5), &vault, (&old, &old), QUICK);
    let after = same.unwrap().after;
    assert!(after.open(&old).is_ok() && after.open(&other).is_ok());
    assert_ne!(after, header);
}
