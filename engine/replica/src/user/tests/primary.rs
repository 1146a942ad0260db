//! Who is primary: it moves when the primary is away, candidates may decline, and all devices agree.

use super::*;

#[test]
fn a_primary_that_is_away_is_followed_by_the_next_in_order() {
    let Cast {
        phone,
        laptop,
        tablet,
        mut devices,
    } = cast();
    assert_eq!(devices.primary(), phone.device());
    let (first, second) = match laptop.device() < tablet.device() {
        true => (&laptop, &tablet),
        false => (&tablet, &laptop),
    };
    assert_eq!(devices.next_primary(), Some(first.device()));
    devices.decline(&phone).unwrap();
    assert_eq!(devices.primary(), first.device());
    assert_eq!(devices.next_primary(), Some(second.device()));
    devices.decline(first).unwrap();
    assert_eq!(devices.primary(), second.device());
    assert_eq!(devices.next_primary(), None);
    // If nobody wants to, it stays with the one that was named.
    devices.decline(second).unwrap();
    assert_eq!(devices.primary(), phone.device());
    // A handover takes the decline of the one it names back, and no other's.
    devices.hand_over(second, &first.device()).unwrap();
    assert_eq!(devices.primary(), first.device());
    assert!(devices.has_declined(&phone.device()));
    assert!(!devices.has_declined(&first.device()));
}

#[test]
fn a_frozen_primary_is_followed_until_it_is_thawed() {
    let Cast {
        phone,
        laptop,
        mut devices,
        ..
    } = cast();
    devices.freeze(&laptop, &phone.device()).unwrap();
    assert_ne!(devices.primary(), phone.device());
    devices.thaw(&laptop, &phone.device()).unwrap();
    assert_eq!(devices.primary(), phone.device());
}

#[test]
fn two_that_take_the_place_side_by_side_agree_on_one() {
    let Cast {
        laptop,
        tablet,
        devices,
        ..
    } = cast();
    let (mut here, mut there) = (devices.clone(), devices.clone());
    here.hand_over(&laptop, &laptop.device()).unwrap();
    there.hand_over(&tablet, &tablet.device()).unwrap();
    meet(&mut here, &mut there);
    assert_eq!(here.primary(), there.primary());
    assert!([laptop.device(), tablet.device()].contains(&here.primary()));
    // One who declines beside being named has not heard of it: he is not primary.
    let (mut here, mut there) = (devices.clone(), devices);
    here.hand_over(&laptop, &tablet.device()).unwrap();
    there.decline(&tablet).unwrap();
    meet(&mut here, &mut there);
    assert_ne!(here.primary(), tablet.device());
}

#[test]
fn the_phrase_has_no_place_to_decline() {
    let Cast { mut devices, .. } = cast();
    let operation = UserOperation {
        user: devices.user,
        author: Author::Recovery,
        incarnation: devices.known.root,
        seq: 1,
        previous: None,
        parents: devices.roles.heads(),
        body: UserBody::Decline,
    };
    let signed = SignedUserOperation::sign_with_recovery(&operation, &phrase()).unwrap();
    assert_eq!(devices.insert(&signed), Err(UserLogError::UnknownDevice));
}
