use proptest::prelude::*;

use super::shape::message;
use super::*;

fn round(segment: &Segment, device: u8, changes: &[Vec<u8>]) -> Vec<u8> {
    let payload = encode_payload(segment.key(), &actor(device), changes).unwrap();
    assert_eq!(
        decode_payload(segment.key(), &actor(device), &payload).unwrap(),
        changes
    );
    payload
}

#[test]
fn a_chat_is_carried_in_little_more_than_its_words() {
    let mut segment = fresh();
    let words = "the quick brown fox jumps over the lazy dog at noon";
    let changes: Vec<_> = (1..=100_u64)
        .map(|ms| {
            segment
                .append(
                    actor(1),
                    &[text(1, ms * 1_000, &words[..10 + (ms as usize * 7) % 40])],
                )
                .unwrap()
                .bytes
        })
        .collect();
    let payload = round(&segment, 1, &changes);
    assert!(payload.len() < 1_200, "{} bytes", payload.len());
    assert!(round(&segment, 1, &[]).len() < 8);
}

#[test]
fn every_kind_of_change_is_carried() {
    let mut segment = fresh();
    let genesis = segment.changes_after(&[]);
    round(&segment, 1, &genesis);
    let first = segment.append(actor(1), &[text(1, 5, "a")]).unwrap();
    let second = segment
        .change(actor(1), |tx| tx.put(&ObjectId::ROOT, "k", "v"))
        .unwrap()
        .unwrap();
    let third = segment
        .change(actor(1), |tx| tx.put(&ObjectId::ROOT, "k", "w"))
        .unwrap()
        .unwrap();
    let other = segment.append(actor(2), &[text(2, 6, "b")]).unwrap();
    let fourth = segment.append(actor(1), &[text(1, 7, "c")]).unwrap();
    let mut torn = fourth.bytes.clone();
    torn.truncate(20);
    let all = [
        first.bytes,
        second.bytes,
        third.bytes,
        other.bytes,
        fourth.bytes,
        torn,
        vec![],
        vec![0xff; 9],
    ];
    round(&segment, 1, &all);
    round(&segment, 2, &all);
}

#[test]
fn what_inflates_too_far_is_refused() {
    let segment = fresh();
    let bomb = zstd::bulk::compress(&vec![0; 64 * 1024 * 1024], 19).unwrap();
    assert!(bomb.len() < 16 * 1024);
    let payload = [&[2], &bomb[..]].concat();
    assert_eq!(
        decode_payload(segment.key(), &actor(1), &payload),
        Err(CodecError::Malformed)
    );
    // A thousand changes of nothing but one short text each stay within what is rebuilt.
    assert_eq!(
        decode_payload(segment.key(), &actor(1), &[]),
        Err(CodecError::Malformed)
    );
    assert_eq!(
        decode_payload(segment.key(), &actor(1), &[9, 0, 0]),
        Err(CodecError::Format)
    );
    let huge = vec![vec![0; 3 * 1024 * 1024]; 2];
    assert_eq!(
        encode_payload(segment.key(), &actor(1), &huge),
        Err(CodecError::TooLarge)
    );
    assert_eq!(
        encode_payload(segment.key(), &actor(1), &vec![vec![]; 5_000]),
        Err(CodecError::TooLarge)
    );
}

proptest! {
    #[test]
    fn whatever_goes_in_comes_out(changes in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..12)) {
        round(&fresh(), 1, &changes);
    }

    #[test]
    fn messages_come_out_to_the_bit(groups in proptest::collection::vec(proptest::collection::vec(message(1), 1..4), 1..6)) {
        let mut segment = fresh();
        let mut changes = Vec::new();
        for (number, messages) in groups.iter().enumerate() {
            if let Ok(change) = segment.append(actor(1), messages) {
                changes.push(change.bytes);
            }
            if number % 2 == 1 {
                segment.append(actor(2), &[text(2, 1 << 35 | number as u64, "between")]).unwrap();
            }
        }
        round(&segment, 1, &changes);
        changes.reverse();
        round(&segment, 1, &changes);
    }

    #[test]
    fn noise_is_refused_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200), format in 0_u8..4) {
        let payload = [&[format], &bytes[..]].concat();
        let _ = decode_payload(fresh().key(), &actor(1), &payload);
    }

    #[test]
    fn a_damaged_payload_does_no_harm(flips in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..4)) {
        let mut segment = fresh();
        let changes: Vec<_> = (1..8).map(|ms| segment.append(actor(1), &[text(1, ms, "q")]).unwrap().bytes).collect();
        let mut payload = encode_payload(segment.key(), &actor(1), &changes).unwrap();
        for (at, with) in flips {
            let at = usize::from(at) % payload.len();
            payload[at] ^= with;
        }
        if let Ok(decoded) = decode_payload(segment.key(), &actor(1), &payload) {
            let mut there = fresh();
            there.merge(&[Incoming { actor: actor(1), author_tag: tag(1), changes: decoded }]);
            there.save().unwrap();
        }
    }
}
