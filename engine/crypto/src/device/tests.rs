use super::*;
use crate::testing::{device, rng};

#[test]
fn secrets_survive_encoding() {
    let mut first = device(1);
    first.rotate_kem(&mut rng(2), Suite::X25519).unwrap();
    let bytes = first.to_bytes().unwrap();
    let second = DeviceSecrets::from_bytes(&bytes).unwrap();
    assert_eq!(first.device(), second.device());
    assert_eq!(first.kem_record().unwrap(), second.kem_record().unwrap());
    assert_eq!(second.kem_record().unwrap().counter, 1);
    for length in 0..bytes.len() {
        assert!(DeviceSecrets::from_bytes(&bytes[..length]).is_err());
    }
}

#[test]
fn a_full_set_of_sealing_keys_still_encodes() {
    let mut secrets = device(1);
    while secrets.rotate_kem(&mut rng(2), Suite::XWing).is_ok() {}
    let read = DeviceSecrets::from_bytes(&secrets.to_bytes().unwrap()).unwrap();
    let newest = read.kem_record().unwrap().counter;
    assert_eq!(newest, u64::try_from(limits::KEM_SECRETS_MAX).unwrap() - 1);
    secrets.forget_kem_before(u64::MAX);
    assert_eq!(secrets.kem_secrets().count(), 1);
    assert!(secrets.kem_secret(newest).is_some());
}

#[test]
fn a_certificate_holds_together() {
    for suite in [Suite::X25519, Suite::XWing] {
        let secrets = DeviceSecrets::generate(&mut rng(1), suite);
        let certificate = secrets.certificate("laptop").unwrap();
        certificate.verify_shape().unwrap();
        assert_eq!(certificate.device, secrets.device());
    }
    let long = "x".repeat(limits::LABEL_BYTES_MAX + 1);
    assert_eq!(
        device(1).certificate(&long).unwrap_err(),
        StatementError::TooLarge
    );
}

#[test]
fn certificates_that_do_not_hold_together_are_refused() {
    let certificate = device(1).certificate("laptop").unwrap();
    let other = device(2).certificate("phone").unwrap();
    let mut altered = vec![certificate; 6];
    altered[0].device = other.device;
    altered[1].signing = other.signing;
    altered[2].kem = other.kem;
    altered[3].kem.counter += 1;
    altered[4].kem.public[0] ^= 1;
    altered[5].label = "x".repeat(limits::LABEL_BYTES_MAX + 1);
    for certificate in altered {
        assert_eq!(
            certificate.verify_shape().unwrap_err(),
            StatementError::Certificate
        );
    }
}

#[test]
fn a_weak_signing_key_is_refused() {
    // The identity point: the device id is right and every lax signature would verify.
    let mut certificate = device(1).certificate("laptop").unwrap();
    certificate.signing = [0; 32];
    certificate.signing[0] = 1;
    certificate.device = DeviceId::of_key(&certificate.signing);
    certificate.kem.device = certificate.device;
    let mut forged = [0; 64];
    forged[0] = 1;
    certificate.kem.signature = Signature(forged);
    assert_eq!(
        certificate.verify_shape().unwrap_err(),
        StatementError::Certificate
    );
}

#[test]
fn possession_binds_user_and_certificate() {
    let (secrets, other) = (device(1), device(2));
    let certificate = secrets.certificate("laptop").unwrap();
    let (user, stranger) = (UserId([1; 32]), UserId([2; 32]));
    let proof = secrets.prove_possession(&user, &certificate).unwrap();
    certificate.verify_possession(&user, &proof).unwrap();
    assert!(certificate.verify_possession(&stranger, &proof).is_err());
    assert!(other.prove_possession(&user, &certificate).is_err());
    let mut renamed = certificate;
    renamed.label.push('x');
    assert_eq!(
        renamed.verify_possession(&user, &proof).unwrap_err(),
        StatementError::Possession
    );
}

#[test]
fn relays_see_unrelated_identities() {
    let secrets = device(1);
    let first = secrets.relay_identity_seed(&RelayId([1; 32]));
    assert_eq!(first, secrets.relay_identity_seed(&RelayId([1; 32])));
    assert_ne!(first, secrets.relay_identity_seed(&RelayId([2; 32])));
}

#[test]
fn debug_shows_no_secret() {
    let secrets = device(1);
    let shown = format!("{secrets:?}");
    assert_eq!(shown, format!("DeviceSecrets({:?})", secrets.device()));
}
