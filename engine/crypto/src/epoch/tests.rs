use super::*;
use crate::device::DeviceSecrets;
use crate::id::OperationId;
use crate::kem::Suite;
use crate::testing::{conversation, device, epoch_keys, recipient, rng};

const PARENTS: [OperationId; 2] = [OperationId([1; 32]), OperationId([2; 32])];

fn rekeyed(devices: &[DeviceSecrets]) -> (EpochId, EpochSecret, Rekey) {
    let recipients: Vec<_> = devices.iter().map(recipient).collect();
    let author = devices[0].device();
    rekey(
        &mut rng(9),
        &conversation(1),
        author,
        5,
        &PARENTS,
        &recipients,
        &[],
    )
    .unwrap()
}

#[test]
fn every_recipient_opens_the_same_secret() {
    let mut devices: Vec<_> = (1..4).map(device).collect();
    devices.push(DeviceSecrets::generate(&mut rng(4), Suite::X25519));
    devices.push(device(5));
    let (epoch, secret, rekey) = rekeyed(&devices);
    assert_eq!(rekey.seals.len(), 8);
    assert_eq!(rekey.recipients().count(), 5);
    assert!(rekey.seals.is_sorted_by_key(|seal| seal.device));
    for me in &devices {
        let author = devices[0].device();
        let (opened_epoch, opened) =
            open_rekey(&rekey, &conversation(1), author, 5, &PARENTS, me).unwrap();
        assert_eq!(opened_epoch, epoch);
        assert_eq!(opened.to_bytes(), secret.to_bytes());
        assert!(opened.has_ephemeral());
    }
}

#[test]
fn a_stranger_and_an_erased_key_are_told_apart() {
    let devices = [device(1), device(2)];
    let author = devices[0].device();
    let (_, _, rekey) = rekeyed(&devices);
    let open = |me: &DeviceSecrets| {
        open_rekey(&rekey, &conversation(1), author, 5, &PARENTS, me).unwrap_err()
    };
    assert_eq!(open(&device(3)), SealError::NotARecipient);
    let mut rotated = device(2);
    rotated.rotate_kem(&mut rng(7), Suite::XWing).unwrap();
    assert!(open_rekey(&rekey, &conversation(1), author, 5, &PARENTS, &rotated).is_ok());
    rotated.forget_kem_before(1);
    assert_eq!(open(&rotated), SealError::NoKemSecret);
}

#[test]
fn a_seal_is_bound_to_its_place() {
    let devices = [device(1), device(2)];
    let (author, other) = (devices[0].device(), devices[1].device());
    let (_, _, rekey) = rekeyed(&devices);
    let me = &devices[1];
    let parents = &PARENTS[..1];
    for opened in [
        open_rekey(&rekey, &conversation(2), author, 5, &PARENTS, me),
        open_rekey(&rekey, &conversation(1), other, 5, &PARENTS, me),
        open_rekey(&rekey, &conversation(1), author, 6, &PARENTS, me),
        open_rekey(&rekey, &conversation(1), author, 5, parents, me),
    ] {
        assert_eq!(opened.unwrap_err(), SealError::BadSeal);
    }
}

#[test]
fn swapped_and_altered_seals_are_refused() {
    let devices = [device(1), device(2)];
    let (_, _, rekey) = rekeyed(&devices);
    let author = devices[0].device();
    let mut swapped = rekey.clone();
    let taken = swapped.seals[0].sealed.clone();
    swapped.seals[0].sealed = std::mem::replace(&mut swapped.seals[1].sealed, taken);
    let mut altered = rekey;
    altered.seals[0].sealed[3] ^= 1;
    altered.seals[1].sealed[1150] ^= 1;
    for rekey in [swapped, altered] {
        for me in &devices {
            let opened = open_rekey(&rekey, &conversation(1), author, 5, &PARENTS, me);
            assert_eq!(opened.unwrap_err(), SealError::BadSeal);
        }
    }
}

#[test]
fn two_secrets_for_one_epoch_are_noticed() {
    // A malicious author seals one secret to one device and another to the next, both under the
    // commitment of the first.
    let devices = [device(1), device(2)];
    let author = devices[0].device();
    let (epoch, _, mut rekey) = rekeyed(&devices);
    let victim = recipient(&devices[1]);
    let info = [
        b"sheaf1/seal".as_slice(),
        &conversation(1).0,
        &epoch.0,
        &rekey.commitment,
    ]
    .concat();
    let parents: Vec<u8> = PARENTS.iter().flat_map(|parent| parent.0).collect();
    let aad = [
        victim.device.0.as_slice(),
        &0u64.to_be_bytes(),
        &hash(&[&parents]),
    ]
    .concat();
    let key = (victim.kem.suite, victim.kem.public.as_slice());
    let sealed = crate::kem::seal(&mut rng(3), key, &info, &aad, &[66; 64]).unwrap();
    for seal in &mut rekey.seals {
        if seal.device == victim.device {
            seal.sealed.clone_from(&sealed);
        }
    }
    let opened = open_rekey(&rekey, &conversation(1), author, 5, &PARENTS, &devices[1]);
    assert_eq!(opened.unwrap_err(), SealError::Commitment);
}

#[test]
fn recipients_are_a_set() {
    let (me, other) = (device(1), device(2));
    let mut foreign = recipient(&me);
    foreign.kem = recipient(&other).kem;
    for (recipients, refusal) in [
        (vec![], SealError::Recipients),
        (vec![recipient(&me); 2], SealError::Recipients),
        (vec![foreign], SealError::RecipientKey),
    ] {
        let result = rekey(
            &mut rng(1),
            &conversation(1),
            me.device(),
            5,
            &PARENTS,
            &recipients,
            &[],
        );
        assert_eq!(result.unwrap_err(), refusal);
    }
}

#[test]
fn the_chain_leads_back_without_ephemeral_secrets() {
    let devices = [device(1)];
    let (old_epoch, old, _) = rekeyed(&devices);
    let (epoch, secret, rekey) = rekey(
        &mut rng(2),
        &conversation(1),
        devices[0].device(),
        6,
        &PARENTS,
        &[recipient(&devices[0])],
        &[(old_epoch, &old)],
    )
    .unwrap();
    assert_eq!(rekey.parents_epochs, [old_epoch]);
    let chain = rekey.chain.unwrap();
    let opened = open_chain(&secret, epoch, &conversation(1), &chain).unwrap();
    assert_eq!(opened.len(), 1);
    assert_eq!(opened[0].0, old_epoch);
    assert_eq!(opened[0].1.to_bytes()[..], old.to_bytes()[..32]);
    assert!(!opened[0].1.has_ephemeral());
    assert!(open_chain(&old, epoch, &conversation(1), &chain).is_err());
    assert!(open_chain(&secret, old_epoch, &conversation(1), &chain).is_err());
    assert!(open_chain(&secret, epoch, &conversation(2), &chain).is_err());
    for index in 0..chain.len() {
        let mut altered = chain.clone();
        altered[index] ^= 1;
        assert!(open_chain(&secret, epoch, &conversation(1), &altered).is_err());
    }
}

fn forwarded(secret: &EpochSecret, to: &DeviceSecrets) -> Result<Forward, SealError> {
    forward(
        &mut rng(3),
        &conversation(1),
        EpochId([4; 32]),
        EpochSecret::from_bytes(&[5; 64])
            .unwrap()
            .commitment(&conversation(1)),
        secret,
        &PARENTS,
        &recipient(to),
    )
}

#[test]
fn a_forward_gives_the_kept_secret_only() {
    let (secret, me) = (EpochSecret::from_bytes(&[5; 64]).unwrap(), device(1));
    let forward = forwarded(&secret, &me).unwrap();
    let opened = open_forward(&forward, &conversation(1), &PARENTS, &me).unwrap();
    assert_eq!(opened.to_bytes()[..], [5; 32]);
    let wrong = EpochSecret::from_bytes(&[6; 64]).unwrap();
    assert_eq!(forwarded(&wrong, &me).unwrap_err(), SealError::Commitment);
    assert_eq!(
        open_forward(&forward, &conversation(1), &PARENTS, &device(2)).unwrap_err(),
        SealError::NotARecipient
    );
    assert_eq!(
        open_forward(&forward, &conversation(1), &[], &me).unwrap_err(),
        SealError::BadSeal
    );
}

#[test]
fn a_forward_is_no_seal_and_a_seal_no_forward() {
    let devices = [device(1), device(2)];
    let (epoch, secret, rekey) = rekeyed(&devices);
    let (author, me) = (devices[0].device(), &devices[1]);
    let seal = rekey
        .seals
        .iter()
        .find(|seal| seal.device == me.device())
        .unwrap();
    let posing = Forward {
        epoch,
        commitment: rekey.commitment,
        device: seal.device,
        counter: seal.counter,
        sealed: seal.sealed.clone(),
    };
    let opened = open_forward(&posing, &conversation(1), &PARENTS, me);
    assert_eq!(opened.unwrap_err(), SealError::BadSeal);
    let forward = forward(
        &mut rng(1),
        &conversation(1),
        epoch,
        rekey.commitment,
        &secret,
        &PARENTS,
        &recipient(me),
    )
    .unwrap();
    let mut posing = rekey;
    for seal in &mut posing.seals {
        if seal.device == me.device() {
            seal.sealed.clone_from(&forward.sealed);
        }
    }
    let opened = open_rekey(&posing, &conversation(1), author, 5, &PARENTS, me);
    assert_eq!(opened.unwrap_err(), SealError::BadSeal);
}

#[test]
fn secrets_and_keys_behave() {
    let mut secret = EpochSecret::from_bytes(&[1; 64]).unwrap();
    secret.forget_ephemeral();
    assert_eq!(secret.to_bytes()[..], [1; 32]);
    for length in [0, 31, 33, 63, 65] {
        assert!(EpochSecret::from_bytes(&vec![1; length]).is_err());
    }
    let (first, second) = (
        epoch_keys(&conversation(1), 1),
        epoch_keys(&conversation(1), 2),
    );
    assert_ne!(first.topic(), second.topic());
    assert_eq!(first.topic(), first.capability().topic());
    assert!(first.ephemeral_key().is_some());
    assert!(!format!("{secret:?} {first:?}").contains("[1"));
}

#[test]
fn a_capability_proves_access_to_its_own_topic() {
    use sheaf_protocol::RelayId;
    let keys = epoch_keys(&conversation(1), 1);
    let (relay, exporter) = (RelayId([1; 32]), [2; 32]);
    let proof = keys.capability().prove(&relay, &exporter);
    proof.verify(&relay, &exporter).unwrap();
    assert_eq!(proof.topic, keys.topic());
    assert!(proof.verify(&relay, &[3; 32]).is_err());
    assert!(proof.verify(&RelayId([2; 32]), &exporter).is_err());
}
