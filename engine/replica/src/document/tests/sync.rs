use super::*;

fn tags(actor_: &[u8; 16]) -> Option<[u8; 8]> {
    (0..10).find(|device| actor(*device) == *actor_).map(tag)
}

/// Runs the protocol until both are silent; the bytes that passed.
fn converse(left: &mut Segment, right: &mut Segment, states: &mut (SyncState, SyncState)) -> usize {
    let mut bytes = 0;
    for _ in 0..20 {
        let to_right = left.generate_sync_message(&mut states.0);
        if let Some(message) = &to_right {
            bytes += message.len();
            right
                .receive_sync_message(&mut states.1, message, tags)
                .unwrap();
        }
        let to_left = right.generate_sync_message(&mut states.1);
        if let Some(message) = &to_left {
            bytes += message.len();
            left.receive_sync_message(&mut states.0, message, tags)
                .unwrap();
        }
        if to_left.is_none() && to_right.is_none() {
            return bytes;
        }
    }
    panic!("no end after 20 rounds");
}

#[test]
fn two_replicas_find_out_what_they_lack() {
    let (mut left, mut right) = (fresh(), fresh());
    for ms in 1..200 {
        left.append(actor(1), &[text(1, ms, "left")]).unwrap();
        right.append(actor(2), &[text(2, ms, "right")]).unwrap();
    }
    left.change(actor(1), |tx| {
        tx.put(&ObjectId::ROOT, "a", &*"long ".repeat(200))
    })
    .unwrap();
    let mut states = (left.sync_state(), right.sync_state());
    converse(&mut left, &mut right, &mut states);
    assert_eq!(left.heads(), right.heads());
    assert_eq!(left.message_count(), 398);
    // Kept state makes the next time short.
    let mut states = (
        SyncState::decode(&states.0.encode()),
        SyncState::decode(&states.1.encode()),
    );
    right.append(actor(3), &[text(3, 500, "new")]).unwrap();
    let bytes = converse(&mut left, &mut right, &mut states);
    assert_eq!(left.heads(), right.heads());
    assert!(bytes < 1_000, "{bytes} bytes");
}

#[test]
fn interleaved_chains_arrive_whole_at_an_empty_replica() {
    let (mut left, mut right) = (fresh(), fresh());
    for ms in 1..700 {
        let device = (ms % 4) as u8;
        left.append(actor(device), &[text(device, ms, "by turns")])
            .unwrap();
    }
    let mut states = (left.sync_state(), right.sync_state());
    let bytes = converse(&mut left, &mut right, &mut states);
    assert_eq!(left.heads(), right.heads());
    assert!(bytes < 60_000, "{bytes} bytes");
}

#[test]
fn the_gate_is_the_same() {
    let (mut left, mut right) = (fresh(), fresh());
    left.append(actor(1), &[text(5, 1, "not mine")]).unwrap();
    left.append(actor(77), &[text(5, 2, "nobody's")]).unwrap();
    let mut states = (left.sync_state(), right.sync_state());
    let hello = right.generate_sync_message(&mut states.1).unwrap();
    left.receive_sync_message(&mut states.0, &hello, tags)
        .unwrap();
    let changes = left.generate_sync_message(&mut states.0).unwrap();
    let outcomes = right
        .receive_sync_message(&mut states.1, &changes, tags)
        .unwrap();
    assert_eq!(outcomes.len(), 2);
    assert!(outcomes.contains(&Outcome::Refused(Refusal::UnknownActor)));
    assert!(outcomes.contains(&Outcome::Refused(Refusal::ForeignMessage)));
    assert_eq!(right.heads(), fresh().heads());
}

#[test]
fn hostile_messages_are_refused() {
    hush();
    let (left, mut right) = (fresh(), fresh());
    let mut state = right.sync_state();
    let honest = left.generate_sync_message(&mut left.sync_state()).unwrap();
    for length in 0..honest.len() {
        assert!(
            right
                .receive_sync_message(&mut state, &honest[..length], tags)
                .is_err()
        );
    }
    let wrap = |message: &[u8]| {
        let mut bytes = vec![1];
        varint::put_length(&mut bytes, message.len());
        bytes.extend_from_slice(message);
        bytes.push(0);
        bytes
    };
    // A Bloom filter that would reserve 16 GiB for its probes; one that divides by zero.
    for bloom in [
        &[1, 10, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0][..],
        &[1, 0, 7][..],
    ] {
        let mut message = vec![0x42, 0, 0, 1, 0, bloom.len() as u8];
        message.extend_from_slice(bloom);
        message.push(0);
        assert_eq!(
            right.receive_sync_message(&mut state, &wrap(&message), tags),
            Err(SyncError::Malformed)
        );
    }
    // The version that carries a whole document, and changes past the gate.
    for message in [&[0x43, 0, 0, 0, 0][..], &[0x42, 0, 0, 0, 1, 1, 0][..]] {
        assert_eq!(
            right.receive_sync_message(&mut state, &wrap(message), tags),
            Err(SyncError::Malformed)
        );
    }
    let mut seed = 9_u64;
    for _ in 0..2_000 {
        let mut message = honest.clone();
        for _ in 0..3 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let at = (seed >> 33) as usize % message.len();
            message[at] = (seed >> 20) as u8;
        }
        if right
            .receive_sync_message(&mut state, &message, tags)
            .is_ok()
        {
            let _ = right.generate_sync_message(&mut state);
        }
    }
    assert_eq!(right.heads(), fresh().heads());
}

#[test]
fn who_goes_on_where_another_left_off_lacks_exactly_the_rest() {
    let mut whole = fresh();
    let mut changes = Vec::new();
    for ms in 1..120 {
        let change = whole.append(actor(1), &[text(1, ms, "one")]).unwrap();
        changes.push(change.bytes);
    }
    // A filter would leave some out in about one of a hundred tries.
    for held in 0..changes.len() {
        let mut part = fresh();
        part.merge(&[Incoming {
            actor: actor(1),
            author_tag: tag(1),
            changes: changes[..held].to_vec(),
        }]);
        let message = part.continue_message().unwrap();
        let lacking = whole.lacking(&message).unwrap();
        assert_eq!(lacking.len(), changes.len() - held, "{held} held");
    }
}
