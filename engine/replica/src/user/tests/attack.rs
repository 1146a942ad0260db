//! A thief with one stolen device, and forks of every kind.

use super::*;

/// The thief holds the laptop; the phone, above it, takes it out.
#[test]
fn a_revoked_device_cannot_go_back_and_add_another() {
    let Cast {
        phone,
        laptop,
        mut devices,
        ..
    } = cast();
    let mut thief = devices.clone();
    devices.revoke(&phone, &laptop.device()).unwrap();
    let sybil = secrets(66);
    let added = add(&mut thief, &laptop, &sybil);
    let (certificate, possession) = shown(&thief, &secrets(67));
    thief.add_device(&sybil, &certificate, &possession).unwrap();
    let removal = devices.log().operations.last().unwrap().id();
    meet(&mut devices, &mut thief);
    assert_eq!(devices.len(), 2);
    for device in [&sybil, &secrets(67)] {
        assert!(devices.device(&device.device()).is_none());
        assert!(devices.was_revoked(&device.device()));
        let void = DeviceState::Refused(NoEffect::Voided(removal));
        assert_eq!(state(&devices, device), void);
    }
    assert!(
        devices
            .refused()
            .contains(&(added.id(), NoEffect::Voided(removal)))
    );
    let speaks = devices.freeze(&sybil, &phone.device());
    assert_eq!(speaks.unwrap_err(), UserLogError::UnknownAuthor);
}

#[test]
fn whatever_a_removed_device_does_beside_its_removal_is_void() {
    let Cast {
        phone,
        laptop,
        tablet,
        mut devices,
    } = cast();
    let before = said(&{
        let mut devices = devices.clone();
        devices.revoke(&phone, &laptop.device()).unwrap();
        devices
    });
    let mut thief = devices.clone();
    devices.revoke(&phone, &laptop.device()).unwrap();
    thief.freeze(&laptop, &tablet.device()).unwrap();
    thief.freeze(&laptop, &phone.device()).unwrap();
    thief.hand_over(&laptop, &laptop.device()).unwrap();
    thief.rename(&laptop, &phone.device(), "mine").unwrap();
    thief.thaw(&laptop, &tablet.device()).unwrap();
    meet(&mut devices, &mut thief);
    assert_eq!(devices.refused().len(), 5);
    assert!(!devices.is_frozen(&phone.device()) && !devices.is_frozen(&tablet.device()));
    assert_eq!(devices.primary(), phone.device());
    assert_eq!(devices.device(&phone.device()).unwrap().label, "first");
    assert!(before.starts_with(&format!("{:?}", devices.iter().collect::<Vec<_>>())));
}

#[test]
fn a_void_thaw_leaves_the_freeze() {
    let Cast {
        phone,
        laptop,
        tablet,
        mut devices,
    } = cast();
    devices.freeze(&laptop, &tablet.device()).unwrap();
    let mut thief = devices.clone();
    thief.thaw(&laptop, &tablet.device()).unwrap();
    assert!(!thief.is_frozen(&tablet.device()));
    devices.revoke(&phone, &laptop.device()).unwrap();
    meet(&mut devices, &mut thief);
    assert!(devices.is_frozen(&tablet.device()));
    devices.thaw(&phone, &tablet.device()).unwrap();
    assert!(!devices.is_frozen(&tablet.device()));
}

/// The thief annoys and does not destroy: the phrase ends him and frees the rest.
#[test]
fn a_thief_freezes_everybody_and_the_phrase_ends_it() {
    let Cast {
        phone,
        laptop,
        tablet,
        mut devices,
    } = cast();
    let mut warned = devices.clone();
    devices.freeze(&laptop, &phone.device()).unwrap();
    devices.freeze(&laptop, &tablet.device()).unwrap();
    let junior = devices.thaw(&phone, &tablet.device());
    assert_eq!(junior.unwrap_err(), UserLogError::Frozen);
    // Beside it, the tablet pulls the brake on the thief.
    warned.freeze(&tablet, &laptop.device()).unwrap();
    meet(&mut devices, &mut warned);
    let stopped = devices.hand_over(&laptop, &laptop.device());
    assert_eq!(stopped.unwrap_err(), UserLogError::Frozen);
    devices
        .revoke_with_phrase(&phrase(), &laptop.device())
        .unwrap();
    assert!(devices.is_frozen(&phone.device()), "written before");
    for device in [&phone, &tablet] {
        let freed = devices.thaw_with_phrase(&phrase(), &device.device());
        freed.unwrap();
        assert!(!devices.is_frozen(&device.device()));
    }
    devices.rename(&phone, &phone.device(), "safe").unwrap();
}

#[test]
fn a_junior_does_not_thaw() {
    let Cast {
        phone,
        laptop,
        tablet,
        mut devices,
    } = cast();
    devices.freeze(&phone, &tablet.device()).unwrap();
    let junior = devices.thaw(&laptop, &tablet.device());
    assert_eq!(junior.unwrap_err(), UserLogError::NotSenior);
    devices.freeze(&laptop, &tablet.device()).unwrap();
    let sibling = secrets(4);
    add(&mut devices, &phone, &sibling);
    let equal = devices.thaw(&sibling, &tablet.device());
    assert_eq!(equal.unwrap_err(), UserLogError::NotSenior);
    assert!(devices.is_frozen(&tablet.device()));
}

#[test]
fn a_stolen_first_device_is_ended_with_the_phrase() {
    let Cast {
        phone,
        laptop,
        mut devices,
        ..
    } = cast();
    let mut thief = devices.clone();
    thief.revoke(&phone, &laptop.device()).unwrap();
    add(&mut thief, &phone, &secrets(66));
    devices.freeze(&laptop, &phone.device()).unwrap();
    devices
        .revoke_with_phrase(&phrase(), &phone.device())
        .unwrap();
    meet(&mut devices, &mut thief);
    assert!(devices.was_revoked(&phone.device()));
    assert!(devices.device(&laptop.device()).is_some());
    assert!(devices.device(&secrets(66).device()).is_none());
    assert_eq!(devices.len(), 2);
}

#[test]
fn a_fork_is_two_operations_and_going_on_from_an_old_one_is_refused() {
    let Cast {
        phone,
        laptop,
        tablet,
        mut devices,
    } = cast();
    let head = devices.log().operations[1].id();
    let named = |label: &str| UserBody::RenameDevice {
        device: tablet.device(),
        label: label.to_owned(),
    };
    let one = raw(&devices, &laptop, (1, None), &[head], named("a"));
    let two = raw(&devices, &laptop, (1, None), &[head], named("b"));
    assert_eq!(devices.insert(&one), Ok(true));
    assert_eq!(devices.insert(&two), Ok(true));
    assert_eq!(devices.insert(&two), Ok(false));
    let follow = |chain, parents: &[OperationId]| {
        let late = raw(&devices, &laptop, chain, parents, named("c"));
        devices.clone().insert(&late)
    };
    let both = sorted([one.id(), two.id()]);
    assert_eq!(follow((2, Some(one.id())), &both), Ok(true));
    assert_eq!(follow((2, Some(two.id())), &both), Ok(true));
    let broken = Err(UserLogError::BrokenChain);
    assert_eq!(follow((3, Some(one.id())), &both), broken);
    assert_eq!(follow((1, None), &both), broken);
    assert_eq!(
        follow((2, Some(two.id())), &[one.id()]),
        broken,
        "not below"
    );
    let others = devices.log().operations[0].id();
    assert_eq!(follow((2, Some(others)), &both), broken, "the phone's");
    // A third place of the chain that goes back to the first, with the second in its past.
    let mut longer = devices.clone();
    let second = raw(&longer, &laptop, (2, Some(one.id())), &both, named("c"));
    longer.insert(&second).unwrap();
    let back = raw(
        &longer,
        &laptop,
        (2, Some(one.id())),
        &[second.id()],
        named("d"),
    );
    assert_eq!(longer.insert(&back), broken);
    longer.rename(&laptop, &phone.device(), "goes on").unwrap();
}

#[test]
fn what_is_not_the_authors_is_refused() {
    let Cast {
        phone,
        laptop,
        tablet,
        mut devices,
    } = cast();
    let head = devices.log().operations[1].id();
    let body = UserBody::Freeze {
        device: tablet.device(),
    };
    let mut forged = raw(&devices, &laptop, (1, None), &[head], body.clone());
    forged.signature = Signature([1; 64]);
    assert_eq!(
        devices.insert(&forged).unwrap_err(),
        UserLogError::Statement(StatementError::Signature)
    );
    let root = devices.log().genesis.id();
    let early = raw(&devices, &laptop, (1, None), &[root], body.clone());
    assert_eq!(
        devices.insert(&early).unwrap_err(),
        UserLogError::UnknownAuthor,
        "before it was granted"
    );
    let operation = UserOperation {
        user: devices.user,
        author: Author::Recovery,
        incarnation: devices.known.recovery_incarnation(),
        seq: 1,
        previous: None,
        parents: vec![head],
        body: body.clone(),
    };
    let inner = SignedUserOperation::sign_with_recovery(&operation, &phrase()).unwrap();
    assert_eq!(
        devices.insert(&inner).unwrap_err(),
        UserLogError::UnknownAuthor,
        "the resolver's name for the grant is not the signed one"
    );
    let unknown = raw(&devices, &phone, (3, None), &[OperationId([9; 32])], body);
    assert_eq!(
        devices.insert(&unknown).unwrap_err(),
        UserLogError::UnknownParents
    );
}

/// More siblings than an operation can name: the others still get a word in.
#[test]
fn a_fork_wider_than_an_operation_can_name_locks_nobody_out() {
    let Cast {
        phone,
        laptop,
        tablet,
        mut devices,
    } = cast();
    let head = devices.log().operations[1].id();
    let fork: Vec<SignedUserOperation> = (0..300)
        .map(|n| {
            let body = UserBody::RenameDevice {
                device: tablet.device(),
                label: n.to_string(),
            };
            raw(&devices, &laptop, (1, None), &[head], body)
        })
        .collect();
    assert_eq!(devices.take_all(&fork), (true, None));
    devices.freeze(&tablet, &laptop.device()).unwrap();
    assert!(devices.is_frozen(&laptop.device()));
    devices.revoke(&phone, &laptop.device()).unwrap();
    assert!(devices.was_revoked(&laptop.device()));
    devices
        .revoke_with_phrase(&phrase(), &phone.device())
        .unwrap();
}

/// Handovers of the laptop in one chain, more than a log has room for.
fn flood(cast: &Cast, to: &DeviceSecrets) -> Vec<SignedUserOperation> {
    let mut last = None;
    let mut parent = cast.devices.log().operations[1].id();
    let mut operations = Vec::new();
    for seq in 1..=sheaf_crypto::limits::USER_LOG_OPERATIONS_MAX as u64 {
        let body = UserBody::Handover { to: to.device() };
        let next = raw(&cast.devices, &cast.laptop, (seq, last), &[parent], body);
        (last, parent) = (Some(next.id()), next.id());
        operations.push(next);
    }
    operations
}

/// Two replicas fill up with different operations of the thief; the phrase ends him on both.
#[test]
fn a_thief_who_fills_the_log_does_not_keep_the_phrase_out() {
    let cast = cast();
    let (mut here, mut there) = (cast.devices.clone(), cast.devices.clone());
    let full = (true, Some(UserLogError::Full));
    assert_eq!(here.take_all(&flood(&cast, &cast.tablet)), full);
    assert_eq!(there.take_all(&flood(&cast, &cast.phone)), full);
    let late = here.freeze(&cast.phone, &cast.laptop.device());
    assert_eq!(late.unwrap_err(), UserLogError::Full);
    let thief = cast.laptop.device();
    let ended = here.revoke_with_phrase(&phrase(), &thief).unwrap();
    assert_eq!(there.insert(&ended), Ok(true));
    let (certificate, possession) = shown(&here, &secrets(5));
    let new = here.recover(&phrase(), &certificate, &possession).unwrap();
    assert_eq!(there.insert(&new), Ok(true));
    for devices in [&here, &there] {
        assert!(devices.was_revoked(&thief) && devices.len() == 3);
        assert_eq!(devices.primary(), cast.phone.device());
        let read = Devices::decode(&devices.encode()).unwrap();
        assert_eq!(said(&read), said(devices));
    }
}

/// What a rotation cannot do: who still has the old phrase writes beside it, by its own past.
#[test]
fn an_old_phrase_still_writes_beside_its_rotation() {
    let Cast {
        phone,
        laptop,
        mut devices,
        ..
    } = cast();
    let mut thief = devices.clone();
    let mut other = devices.clone();
    let (next, stolen) = (
        RecoveryPhrase::generate(&mut rng(202)),
        RecoveryPhrase::generate(&mut rng(203)),
    );
    let ours = devices.rotate_recovery(&phrase(), &next).unwrap();
    let theirs = thief.rotate_recovery(&phrase(), &stolen).unwrap();
    let gone = laptop.device();
    other.revoke_with_phrase(&phrase(), &gone).unwrap();
    meet(&mut devices, &mut other);
    assert!(devices.was_revoked(&gone));
    meet(&mut devices, &mut thief);
    let (wins, loses) = if ours.id() > theirs.id() {
        (next, stolen)
    } else {
        (stolen, next)
    };
    assert_eq!(*devices.recovery(), RecoveryKeys::of(&wins).unwrap());
    let lost = devices.revoke_with_phrase(&loses, &phone.device());
    assert_eq!(
        lost.unwrap_err(),
        UserLogError::Statement(StatementError::Signature)
    );
    devices.rotate_recovery(&wins, &phrase()).unwrap();
    assert_eq!(*devices.recovery(), RecoveryKeys::of(&phrase()).unwrap());
}

/// A thaw frees what is written after it; what was written beside it is refused for ever, whichever
/// of the two comes first.
#[test]
fn a_thaw_does_not_reach_beside_itself() {
    let Cast {
        phone,
        tablet,
        mut devices,
        ..
    } = cast();
    let frozen = devices.freeze(&phone, &tablet.device()).unwrap();
    let body = UserBody::Handover {
        to: tablet.device(),
    };
    let beside = raw(&devices, &tablet, (1, None), &[frozen.id()], body);
    assert_eq!(
        devices.insert(&beside).unwrap_err(),
        UserLogError::Frozen,
        "before the thaw came"
    );
    devices.thaw(&phone, &tablet.device()).unwrap();
    assert_eq!(devices.insert(&beside).unwrap_err(), UserLogError::Frozen);
    devices.hand_over(&tablet, &tablet.device()).unwrap();
}
