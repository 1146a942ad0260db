//! The rules of the user log one by one; attacks and convergence are in the modules below.

mod attack;
mod convergence;
mod paper;
mod primary;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sheaf_crypto::{
    DeviceSecrets, RecoveryPhrase, Signature, Suite, UserBody, UserGenesis, UserOperation,
    prove_recovery_possession,
};

use super::*;

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

fn secrets(seed: u8) -> DeviceSecrets {
    DeviceSecrets::generate(&mut rng(seed), Suite::X25519)
}

fn phrase() -> RecoveryPhrase {
    RecoveryPhrase::generate(&mut rng(200))
}

fn founded(first: &DeviceSecrets) -> Devices {
    let genesis = UserGenesis::create(&mut rng(201), &phrase(), first, "first").unwrap();
    Devices::verify(&UserLog {
        genesis,
        operations: Vec::new(),
    })
    .unwrap()
}

/// What a new device shows.
fn shown(devices: &Devices, new: &DeviceSecrets) -> (DeviceCertificate, Signature) {
    let certificate = new.certificate("new").unwrap();
    let possession = new.prove_possession(&devices.user, &certificate).unwrap();
    (certificate, possession)
}

fn add(devices: &mut Devices, author: &DeviceSecrets, new: &DeviceSecrets) -> SignedUserOperation {
    let (certificate, possession) = shown(devices, new);
    devices
        .add_device(author, &certificate, &possession)
        .unwrap()
}

/// Phone, laptop and tablet; the phone founded the user and approved the others.
struct Cast {
    phone: DeviceSecrets,
    laptop: DeviceSecrets,
    tablet: DeviceSecrets,
    devices: Devices,
}

fn cast() -> Cast {
    let (phone, laptop, tablet) = (secrets(1), secrets(2), secrets(3));
    let mut devices = founded(&phone);
    add(&mut devices, &phone, &laptop);
    add(&mut devices, &phone, &tablet);
    Cast {
        phone,
        laptop,
        tablet,
        devices,
    }
}

/// All that a log says, to compare replicas by.
fn said(devices: &Devices) -> String {
    let live: Vec<_> = devices.iter().collect();
    let everything: Vec<_> = devices.everything().collect();
    format!(
        "{live:?} {everything:?} {:?} {:?} {:?}",
        devices.refused(),
        devices.primary(),
        devices.recovery()
    )
}

/// Merges both ways, and checks that both say the same.
fn meet(one: &mut Devices, other: &mut Devices) {
    one.merge(other);
    other.merge(one);
    assert_eq!(one.log().operations.len(), other.log().operations.len());
    assert_eq!(said(one), said(other));
    assert_eq!(said(one), said(&Devices::decode(&one.encode()).unwrap()));
}

fn state(devices: &Devices, device: &DeviceSecrets) -> DeviceState {
    let mut everything = devices.everything();
    let found = everything.find(|(id, ..)| **id == device.device());
    found.unwrap().2
}

/// An operation of a device as its author could write it with a program of his own.
fn raw(
    devices: &Devices,
    author: &DeviceSecrets,
    chain: (u64, Option<OperationId>),
    parents: &[OperationId],
    body: UserBody,
) -> SignedUserOperation {
    let device = author.device();
    let granted = devices.known.grants_to(&device).last();
    let incarnation = granted.unwrap_or(devices.known.root);
    let operation = UserOperation {
        user: devices.user,
        author: Author::Device(device),
        incarnation,
        seq: chain.0,
        previous: chain.1,
        parents: parents.to_vec(),
        body,
    };
    SignedUserOperation::sign(&operation, author).unwrap()
}

#[test]
fn a_log_begins_with_one_device_and_the_phrase() {
    let phone = secrets(1);
    let devices = founded(&phone);
    assert_eq!((devices.len(), devices.primary()), (1, phone.device()));
    let first = devices.device(&phone.device()).unwrap();
    assert!(first.primary && !first.frozen && first.label == "first");
    assert_eq!(first.incarnation, devices.log().genesis.id());
    assert_eq!(*devices.recovery(), RecoveryKeys::of(&phrase()).unwrap());
    assert!(devices.refused().is_empty());
}

#[test]
fn a_device_is_added_once_and_by_a_device() {
    let Cast {
        laptop,
        tablet,
        mut devices,
        ..
    } = cast();
    let (certificate, possession) = shown(&devices, &tablet);
    let again = devices.add_device(&laptop, &certificate, &possession);
    assert_eq!(again.unwrap_err(), UserLogError::KnownDevice);
    let stranger = secrets(9);
    let (certificate, possession) = shown(&devices, &stranger);
    let by_itself = devices.add_device(&stranger, &certificate, &possession);
    assert_eq!(by_itself.unwrap_err(), UserLogError::UnknownAuthor);
    let wrong = devices.add_device(&laptop, &certificate, &Signature([1; 64]));
    assert_eq!(
        wrong.unwrap_err(),
        UserLogError::Statement(StatementError::Possession)
    );
}

#[test]
fn a_device_is_revoked_by_itself_by_whoever_approved_it_and_by_the_phrase() {
    let Cast {
        phone,
        laptop,
        tablet,
        devices,
    } = cast();
    let sibling = devices.clone().revoke(&laptop, &tablet.device());
    assert_eq!(sibling.unwrap_err(), UserLogError::Role(Refusal::NotSenior));
    let junior = devices.clone().revoke(&laptop, &phone.device());
    assert_eq!(junior.unwrap_err(), UserLogError::Role(Refusal::NotSenior));
    let revocations: [fn(&mut Devices, &Cast); 3] = [
        |devices, cast| drop(devices.revoke(&cast.tablet, &cast.tablet.device()).unwrap()),
        |devices, cast| drop(devices.revoke(&cast.phone, &cast.tablet.device()).unwrap()),
        |devices, cast| {
            let device = cast.tablet.device();
            drop(devices.revoke_with_phrase(&phrase(), &device).unwrap());
        },
    ];
    let cast = Cast {
        phone,
        laptop,
        tablet,
        devices,
    };
    for revoke in revocations {
        let mut devices = cast.devices.clone();
        revoke(&mut devices, &cast);
        let gone = cast.tablet.device();
        assert!(devices.was_revoked(&gone) && devices.device(&gone).is_none());
        assert_eq!(state(&devices, &cast.tablet), DeviceState::Revoked);
        assert_eq!(devices.len(), 2);
        assert!(!devices.was_revoked(&cast.laptop.device()));
        assert!(!devices.was_revoked(&secrets(9).device()), "never granted");
        let late = devices.rename(&cast.tablet, &gone, "x");
        assert_eq!(late.unwrap_err(), UserLogError::UnknownAuthor);
    }
}

#[test]
fn a_revocation_names_all_live_grants() {
    let Cast {
        phone,
        laptop,
        tablet,
        mut devices,
    } = cast();
    let new = secrets(4);
    let mut other = devices.clone();
    let here = add(&mut devices, &phone, &new);
    let there = add(&mut other, &laptop, &new);
    meet(&mut devices, &mut other);
    let both = devices.device(&new.device()).unwrap();
    assert_eq!(
        both.incarnation,
        here.id(),
        "the phone's is nearer to the root"
    );
    let one = raw(
        &devices,
        &phone,
        (4, Some(here.id())),
        &sorted([here.id(), there.id()]),
        UserBody::RevokeDevice {
            device: new.device(),
            incarnations: vec![here.id()],
        },
    );
    assert_eq!(
        devices.insert(&one).unwrap_err(),
        UserLogError::Role(Refusal::WrongIncarnations)
    );
    devices.revoke(&phone, &new.device()).unwrap();
    assert!(devices.was_revoked(&new.device()));
    assert!(!devices.was_revoked(&tablet.device()));
}

fn sorted<const N: usize>(mut ids: [OperationId; N]) -> Vec<OperationId> {
    ids.sort_unstable();
    ids.to_vec()
}

#[test]
fn a_revoked_device_comes_back_with_a_new_grant() {
    let Cast {
        phone,
        tablet,
        mut devices,
        ..
    } = cast();
    devices
        .rename(&tablet, &tablet.device(), "kitchen")
        .unwrap();
    devices.revoke(&phone, &tablet.device()).unwrap();
    let back = add(&mut devices, &phone, &tablet);
    let device = devices.device(&tablet.device()).unwrap();
    assert_eq!(device.incarnation, back.id());
    assert_eq!(device.label, "new", "the old name went with the old grant");
    assert!(!devices.was_revoked(&tablet.device()));
    devices.rename(&tablet, &tablet.device(), "desk").unwrap();
    assert_eq!(devices.device(&tablet.device()).unwrap().label, "desk");
}

#[test]
fn a_frozen_device_stays_and_writes_nothing() {
    let Cast {
        phone,
        laptop,
        tablet,
        mut devices,
    } = cast();
    let before = devices.clone();
    devices.freeze(&laptop, &phone.device()).unwrap();
    assert!(devices.is_frozen(&phone.device()) && devices.len() == 3);
    assert_eq!(state(&devices, &phone), DeviceState::Frozen);
    assert!(devices.device(&phone.device()).unwrap().frozen);
    let again = devices.freeze(&laptop, &phone.device());
    assert_eq!(again.unwrap_err(), UserLogError::AlreadyFrozen);
    let own = devices.freeze(&laptop, &laptop.device());
    assert_eq!(own.unwrap_err(), UserLogError::FreezesItself);
    let (certificate, possession) = shown(&devices, &secrets(9));
    let late = devices.add_device(&phone, &certificate, &possession);
    assert_eq!(late.unwrap_err(), UserLogError::Frozen);
    let revenge = devices.revoke(&phone, &laptop.device());
    assert_eq!(revenge.unwrap_err(), UserLogError::Frozen);
    // What the phone wrote beside the freeze stands.
    let mut beside = before;
    beside.rename(&phone, &tablet.device(), "kitchen").unwrap();
    meet(&mut devices, &mut beside);
    assert_eq!(devices.device(&tablet.device()).unwrap().label, "kitchen");
    assert!(devices.is_frozen(&phone.device()));
}

#[test]
fn a_freeze_is_taken_back_by_its_author_his_seniors_and_the_phrase() {
    let Cast {
        phone,
        laptop,
        tablet,
        mut devices,
    } = cast();
    let idle = devices.thaw(&phone, &tablet.device());
    assert_eq!(idle.unwrap_err(), UserLogError::NotFrozen);
    devices.freeze(&laptop, &tablet.device()).unwrap();
    let itself = devices.clone().thaw(&tablet, &tablet.device());
    assert_eq!(itself.unwrap_err(), UserLogError::Frozen);
    for author in [&laptop, &phone] {
        let mut devices = devices.clone();
        devices.thaw(author, &tablet.device()).unwrap();
        assert!(!devices.is_frozen(&tablet.device()));
        devices.rename(&tablet, &tablet.device(), "free").unwrap();
    }
    devices
        .thaw_with_phrase(&phrase(), &tablet.device())
        .unwrap();
    assert!(!devices.is_frozen(&tablet.device()));
}

#[test]
fn of_two_freezes_one_is_left() {
    let Cast {
        phone,
        laptop,
        tablet,
        mut devices,
    } = cast();
    devices.freeze(&phone, &tablet.device()).unwrap();
    devices.freeze(&laptop, &tablet.device()).unwrap();
    devices.thaw(&laptop, &tablet.device()).unwrap();
    assert!(devices.is_frozen(&tablet.device()), "the phone's is left");
    let not_his = devices.thaw(&laptop, &tablet.device());
    assert_eq!(not_his.unwrap_err(), UserLogError::NotSenior);
    devices.thaw(&phone, &tablet.device()).unwrap();
    assert!(!devices.is_frozen(&tablet.device()));
}

#[test]
fn ten_devices_and_no_more() {
    let phone = secrets(1);
    let mut devices = founded(&phone);
    for seed in 2..=8 {
        add(&mut devices, &phone, &secrets(seed));
    }
    let mut other = devices.clone();
    for seed in [11, 12] {
        add(&mut devices, &phone, &secrets(seed));
    }
    for seed in [13, 14] {
        add(&mut other, &secrets(2), &secrets(seed));
    }
    assert!(devices.is_full() && other.is_full());
    let (certificate, possession) = shown(&devices, &secrets(20));
    let eleventh = devices.add_device(&phone, &certificate, &possession);
    assert_eq!(eleventh.unwrap_err(), UserLogError::TooManyDevices);
    let by_phrase = devices.recover(&phrase(), &certificate, &possession);
    assert_eq!(by_phrase.unwrap_err(), UserLogError::TooManyDevices);
    meet(&mut devices, &mut other);
    assert_eq!(devices.len(), 10);
    let late = [secrets(12), secrets(14)];
    let beyond = DeviceState::Refused(NoEffect::TooManyDevices);
    for device in &late {
        assert_eq!(state(&devices, device), beyond, "the later of each side");
        assert!(!devices.was_revoked(&device.device()));
        let speaks = devices.clone().freeze(device, &phone.device());
        assert_eq!(speaks.unwrap_err(), UserLogError::UnknownAuthor);
    }
    assert_eq!(devices.refused().len(), 2);
    devices.revoke(&phone, &secrets(3).device()).unwrap();
    let moved_up = late.iter().filter(|d| state(&devices, d) != beyond);
    assert_eq!((devices.len(), moved_up.count()), (10, 1));
}

#[test]
fn the_primary_role_passes_on_and_back() {
    let Cast {
        phone,
        laptop,
        tablet,
        mut devices,
    } = cast();
    devices.hand_over(&phone, &laptop.device()).unwrap();
    assert_eq!(devices.primary(), laptop.device());
    assert!(devices.device(&laptop.device()).unwrap().primary);
    assert!(!devices.device(&phone.device()).unwrap().primary);
    // The laptop declines.
    devices.hand_over(&laptop, &tablet.device()).unwrap();
    assert_eq!(devices.primary(), tablet.device());
    // No authority came with it: the phone revokes the primary.
    devices.revoke(&phone, &tablet.device()).unwrap();
    assert_eq!(devices.primary(), phone.device(), "nearest to the root");
    let gone = devices.hand_over(&phone, &tablet.device());
    assert_eq!(gone.unwrap_err(), UserLogError::UnknownDevice);
    let only = |devices: &mut Devices, device: &DeviceSecrets| {
        let revoked = devices.revoke_with_phrase(&phrase(), &device.device());
        revoked.unwrap();
    };
    only(&mut devices, &phone);
    assert_eq!(devices.primary(), laptop.device());
    only(&mut devices, &laptop);
    assert_eq!((devices.len(), devices.primary()), (0, phone.device()));
}

#[test]
fn of_two_handovers_side_by_side_the_seniors_wins() {
    let Cast {
        phone,
        laptop,
        tablet,
        mut devices,
    } = cast();
    let mut other = devices.clone();
    devices.hand_over(&laptop, &laptop.device()).unwrap();
    devices.hand_over(&laptop, &laptop.device()).unwrap();
    other.hand_over(&phone, &tablet.device()).unwrap();
    meet(&mut devices, &mut other);
    assert_eq!(devices.primary(), tablet.device());
    // Of two equals the larger id wins.
    let mut other = devices.clone();
    let one = devices.hand_over(&laptop, &laptop.device()).unwrap();
    let two = other.hand_over(&tablet, &phone.device()).unwrap();
    meet(&mut devices, &mut other);
    let wins = if one.id() > two.id() { &laptop } else { &phone };
    assert_eq!(devices.primary(), wins.device());
}

#[test]
fn the_phrase_brings_a_user_back_and_is_replaced() {
    let Cast {
        phone, mut devices, ..
    } = cast();
    let (new, old) = (secrets(7), phrase());
    let (certificate, possession) = shown(&devices, &new);
    devices.recover(&old, &certificate, &possession).unwrap();
    assert_eq!(devices.len(), 4);
    // The phone stands beside the new device, not above it.
    let revoked = devices.revoke(&phone, &new.device());
    assert_eq!(revoked.unwrap_err(), UserLogError::Role(Refusal::NotSenior));
    let next = RecoveryPhrase::generate(&mut rng(202));
    devices.rotate_recovery(&old, &next).unwrap();
    assert_eq!(*devices.recovery(), RecoveryKeys::of(&next).unwrap());
    let with_old = devices.revoke_with_phrase(&old, &phone.device());
    assert_eq!(
        with_old.unwrap_err(),
        UserLogError::Statement(StatementError::Signature)
    );
    devices.revoke_with_phrase(&next, &phone.device()).unwrap();
    assert!(devices.was_revoked(&phone.device()));
    assert_eq!(
        said(&devices),
        said(&Devices::decode(&devices.encode()).unwrap())
    );
}

#[test]
fn a_device_does_not_replace_the_phrase() {
    let Cast {
        phone, mut devices, ..
    } = cast();
    let next = RecoveryPhrase::generate(&mut rng(202));
    let recovery = RecoveryKeys::of(&next).unwrap();
    let possession = prove_recovery_possession(&devices.user, &next, &recovery).unwrap();
    let last = devices.log().operations[1].id();
    let body = UserBody::RotateRecovery {
        recovery,
        possession,
    };
    let rotation = raw(&devices, &phone, (3, Some(last)), &[last], body);
    assert_eq!(
        devices.insert(&rotation).unwrap_err(),
        UserLogError::RecoveryOnly
    );
}

#[test]
fn names_are_given_to_live_devices() {
    let Cast {
        laptop,
        tablet,
        mut devices,
        ..
    } = cast();
    let mut other = devices.clone();
    let one = devices.rename(&laptop, &tablet.device(), "a").unwrap();
    let two = other.rename(&tablet, &tablet.device(), "b").unwrap();
    meet(&mut devices, &mut other);
    let larger = if one.id() > two.id() { "a" } else { "b" };
    assert_eq!(devices.device(&tablet.device()).unwrap().label, larger);
    devices.rename(&laptop, &tablet.device(), "c").unwrap();
    assert_eq!(devices.device(&tablet.device()).unwrap().label, "c");
    let nobody = devices.rename(&laptop, &secrets(9).device(), "d");
    assert_eq!(nobody.unwrap_err(), UserLogError::UnknownDevice);
    let long = devices.rename(&laptop, &tablet.device(), &"x".repeat(65));
    assert_eq!(
        long.unwrap_err(),
        UserLogError::Statement(StatementError::TooLarge)
    );
}
