use super::*;
use crate::testing::{device, recipient, rng};

const USER: UserId = UserId([3; 32]);

fn sent(body: &[u8]) -> (DeviceSecrets, DeviceSecrets, Vec<Vec<u8>>) {
    let (sender, me) = (device(1), device(2));
    let parts = seal_inbox(&mut rng(5), &recipient(&me), &sender, USER, body).unwrap();
    (sender, me, parts)
}

fn read(me: &DeviceSecrets, parts: &[Vec<u8>]) -> Result<JoinedInbox, InboxError> {
    let opened: Result<Vec<_>, _> = parts.iter().map(|part| open_inbox_part(me, part)).collect();
    join_inbox_parts(opened?)
}

#[test]
fn messages_of_every_size_arrive() {
    for bytes in [
        0,
        1,
        5_000,
        47_000,
        49_000,
        300_000,
        limits::MESSAGE_BYTES_MAX,
    ] {
        let body = vec![9; bytes];
        let (sender, me, mut parts) = sent(&body);
        assert!(parts.iter().all(|part| part.len() <= PART_BYTES_MAX));
        parts.reverse();
        let joined = read(&me, &parts).unwrap();
        assert_eq!(joined.sender_device(), sender.device());
        let message = joined.verify(&sender.signing_public()).unwrap();
        assert_eq!(message.body, body);
        assert_eq!(message.sender_user, USER);
    }
    let beyond = vec![0; limits::MESSAGE_BYTES_MAX + 1];
    let refused = seal_inbox(
        &mut rng(5),
        &recipient(&device(2)),
        &device(1),
        USER,
        &beyond,
    );
    assert_eq!(refused.unwrap_err(), InboxError::TooLarge);
}

#[test]
fn every_altered_byte_is_refused() {
    let (_, me, parts) = sent(b"come in");
    for index in 0..parts[0].len() {
        let mut altered = parts[0].clone();
        altered[index] ^= 1;
        assert!(open_inbox_part(&me, &altered).is_err(), "byte {index}");
    }
    for length in 0..parts[0].len() {
        assert!(open_inbox_part(&me, &parts[0][..length]).is_err());
    }
}

#[test]
fn parts_are_complete_and_of_one_message() {
    let (_, me, parts) = sent(&vec![1; 120_000]);
    assert_eq!(parts.len(), 3);
    assert_eq!(read(&me, &parts[..2]).unwrap_err(), InboxError::Parts);
    let doubled = [parts.clone(), parts[..1].to_vec()].concat();
    assert_eq!(read(&me, &doubled).unwrap_err(), InboxError::Parts);
    assert_eq!(read(&me, &[]).unwrap_err(), InboxError::Parts);
    let to = recipient(&me);
    let other = seal_inbox(&mut rng(6), &to, &device(1), USER, &vec![1; 120_000]).unwrap();
    let mixed = [parts[0].clone(), parts[1].clone(), other[2].clone()];
    assert_eq!(read(&me, &mixed).unwrap_err(), InboxError::Parts);
}

#[test]
fn older_sealing_keys_still_open() {
    let (sender, mut me, parts) = sent(b"late");
    me.rotate_kem(&mut rng(7), Suite::XWing).unwrap();
    let joined = read(&me, &parts).unwrap();
    joined.verify(&sender.signing_public()).unwrap();
    me.forget_kem_before(1);
    assert_eq!(read(&me, &parts).unwrap_err(), InboxError::Unreadable);
}

#[test]
fn a_recipient_cannot_pass_the_message_on_as_if_it_were_for_another() {
    // The insider opens the message and seals its content, signature included, to a third device.
    let (sender, me, parts) = sent(b"you owe me ten");
    let third = device(3);
    let joined = read(&me, &parts).unwrap();
    let passed_on = JoinedInbox {
        recipient: third.device(),
        ..joined
    };
    assert_eq!(
        passed_on.verify(&sender.signing_public()).unwrap_err(),
        InboxError::Signature
    );
    let joined = read(&me, &parts).unwrap();
    assert_eq!(
        joined.verify(&third.signing_public()).unwrap_err(),
        InboxError::Sender
    );
}

#[test]
fn only_the_recipient_opens() {
    let (_, _, parts) = sent(b"x");
    assert_eq!(
        open_inbox_part(&device(3), &parts[0]).unwrap_err(),
        InboxError::Unreadable
    );
}
