use super::super::{Argon2Params, Unlock};
use super::*;
use crate::testing::rng;

fn vault(seed: u8) -> Vault {
    let unlock = Unlock::KeyFile(&[5; 32]);
    let created = Vault::create(&mut rng(seed), &unlock, Argon2Params::default());
    created.unwrap().1
}

#[test]
fn neither_the_vault_nor_another_key_opens_what_one_key_sealed() {
    let vault = vault(1);
    let key = ErasableKey::draw(&mut rng(2), 4);
    let sealed = vault.seal_erasable(&key, 5, b"name", b"value", &mut rng(3));
    let sealed = sealed.unwrap();
    assert_eq!(ErasableKey::generation_of(&sealed), Some(4));
    let opened = vault.open_erasable(&key, 5, b"name", &sealed).unwrap();
    assert_eq!(opened.as_slice(), b"value");
    assert!(vault.open_record(5, b"name", &sealed).is_err());
    // Not even one of the same number, nor this one under another vault, kind or name.
    for (vault, key, kind, name) in [
        (&vault, &ErasableKey::draw(&mut rng(9), 4), 5, b"name"),
        (&vault, &ErasableKey::draw(&mut rng(2), 5), 5, b"name"),
        (&self::vault(8), &key, 5, b"name"),
        (&vault, &key, 6, b"name"),
        (&vault, &key, 5, b"NAME"),
    ] {
        assert!(vault.open_erasable(key, kind, name, &sealed).is_err());
    }
    for index in 0..sealed.len() {
        let mut altered = sealed.clone();
        altered[index] ^= 1;
        assert!(vault.open_erasable(&key, 5, b"name", &altered).is_err());
        let short = vault.open_erasable(&key, 5, b"name", &sealed[..index]);
        assert!(short.is_err());
    }
}

#[test]
fn a_record_under_the_vault_alone_has_no_generation() {
    let vault = vault(1);
    let sealed = vault.seal_record(5, b"name", b"value", &mut rng(3));
    assert_eq!(ErasableKey::generation_of(&sealed.unwrap()), None);
}

#[test]
fn a_locked_key_is_bound_to_its_generation_and_vault() {
    let vault = vault(1);
    let key = ErasableKey::draw(&mut rng(2), 4);
    let locked = vault.lock(&key, &mut rng(3)).unwrap();
    assert_eq!(locked.len(), LOCKED_KEY_BYTES);
    let opened = vault.unlock(4, &locked).unwrap();
    assert_eq!((opened.generation(), &opened.key), (4, &key.key));
    assert!(vault.unlock(5, &locked).is_err());
    assert!(self::vault(8).unlock(4, &locked).is_err());
    assert_eq!(format!("{key:?}"), "ErasableKey { generation: 4, .. }");
}
