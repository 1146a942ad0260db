//! Old segments go and come back: dropped by policy, damaged on the disk, fetched from others and
//! proved by their heads.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test may stop at its first error"
)]

#[path = "../misbehaviour/relay.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod relay;
#[path = "../misbehaviour/world.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod world;

use sheaf_crypto::History;
use sheaf_replica::record::{Key, Kind};
use sheaf_replica::{Away, Command, CommandError, Event, Keep, MessageRecord, Policy, Reply};

use world::{ALICE, BOB, MALLORY, World};

const SEGMENT: u32 = 4;

/// Three people who have written so many messages in turn, four to a segment.
fn world_of(messages: usize) -> World {
    let mut world = World::new();
    let user = |place: usize| world.peers[place].replica.overview().user.unwrap();
    let create = Command::CreateConversation {
        name: "long".to_owned(),
        members: vec![user(BOB), user(MALLORY)],
        segment_messages: Some(SEGMENT),
        history: History::Full,
    };
    let Reply::ConversationCreated(conversation) = world.ask(ALICE, create) else {
        panic!("a conversation was asked for");
    };
    world.conversation = conversation;
    for number in 0..messages {
        world.send(number % 3, &format!("message {number}"));
    }
    world
}

fn acknowledged(world: &mut World) {
    for place in [ALICE, BOB, MALLORY, ALICE] {
        world.ask(place, Command::Acknowledge);
    }
}

fn keep(world: &mut World, keep: Keep) {
    let set = Command::SetKeep {
        conversation: world.conversation,
        keep: Some(keep),
    };
    world.ask(BOB, set);
}

fn older(world: &mut World) -> Result<Reply, CommandError> {
    world.answer(BOB, Command::Fetch(world.conversation, None))
}

fn away(world: &World) -> Vec<(u32, Away)> {
    let shown = world.peers[BOB].replica.conversation(&world.conversation);
    shown.unwrap().away
}

fn heads(world: &World, place: usize) -> Vec<(u32, Vec<[u8; 32]>)> {
    let shown = world.peers[place].replica.conversation(&world.conversation);
    shown.unwrap().heads
}

/// Keys of a device's envelopes of one segment.
fn envelopes(world: &World, place: usize, segment: u32) -> Vec<Key> {
    let of_segment = |key: &&Key| {
        key.kind == Kind::Envelope
            && key.scope == world.conversation.0
            && key.order.starts_with(&segment.to_be_bytes())
    };
    let keys = world.peers[place].disk.keys().filter(of_segment);
    keys.cloned().collect()
}

fn is_as_everywhere(world: &World) {
    assert_eq!(away(world), []);
    assert_eq!(world.messages(BOB), world.messages(ALICE));
    assert_eq!(heads(world, BOB), heads(world, ALICE));
    assert_eq!(
        envelopes(world, BOB, 0).len(),
        envelopes(world, ALICE, 0).len()
    );
}

#[test]
fn what_is_dropped_by_policy_comes_back_as_it_was() {
    let mut world = world_of(15);
    acknowledged(&mut world);
    let before: Vec<MessageRecord> = world.messages(BOB);
    assert_eq!(before.len(), 15);
    keep(&mut world, Keep::Messages(5));
    let dropped = [(0, Away::Dropped), (1, Away::Dropped)];
    assert_eq!(away(&world), dropped);
    assert_eq!(world.messages(BOB).len(), 7);
    assert_eq!(envelopes(&world, BOB, 0), []);
    let span = |segment: usize| {
        let of = |message: usize| before[message].message;
        let first = segment * 4;
        (u32::try_from(segment).unwrap(), of(first), of(first + 3))
    };
    for _ in 0..2 {
        let shown = world.peers[BOB].replica.conversation(&world.conversation);
        assert_eq!(shown.unwrap().spans, [span(0), span(1)]);
        world.restart(BOB);
    }
    assert_eq!(away(&world), dropped);
    // What is dropped is nobody's misbehaviour, and what is new goes on.
    world.send(ALICE, "after");
    assert_eq!(world.peers[BOB].misbehaviour(), []);

    let fetched = |segment, older| Reply::Fetched {
        segment,
        messages: u64::from(SEGMENT),
        older,
    };
    assert_eq!(older(&mut world), Ok(fetched(1, true)));
    assert_eq!(older(&mut world), Ok(fetched(0, false)));
    assert_eq!(older(&mut world), Ok(Reply::NothingOlder));
    is_as_everywhere(&world);
    assert_eq!(world.messages(BOB)[..15], before);
    // It survives a restart, and is not dropped again at once.
    world.restart(BOB);
    world.send(MALLORY, "at the end");
    is_as_everywhere(&world);
    assert_eq!(world.peers[BOB].misbehaviour(), []);
}

#[test]
fn a_new_message_in_an_old_segment_is_one_of_the_newest() {
    let mut world = world_of(6);
    // Who is away writes to the segment that was written to then.
    world.peers[MALLORY].offline();
    for number in 0..10 {
        let draft = sheaf_replica::Draft::text(format!("meanwhile {number}"));
        let conversation = world.conversation;
        let token = None;
        world.ask(
            ALICE,
            Command::Send {
                conversation,
                draft,
                token,
            },
        );
    }
    let conversation = world.conversation;
    let send = Command::Send {
        conversation,
        draft: sheaf_replica::Draft::text("late"),
        token: None,
    };
    world.peers[MALLORY].now = world.peers[ALICE].now.after_ms(1_000);
    world.ask(MALLORY, send);
    world.peers[MALLORY].link_up();
    world.settle();
    acknowledged(&mut world);
    acknowledged(&mut world);
    let late = world.messages(BOB).pop().unwrap();
    assert_eq!((late.text.as_str(), late.segment), ("late", 1));

    // The newest five are kept, in whatever segments they are; then five newer ones have come.
    keep(&mut world, Keep::Messages(5));
    assert_eq!(away(&world), [(0, Away::Dropped)]);
    assert_eq!(world.messages(BOB).last(), Some(&late));
    for number in 0..8 {
        world.send(ALICE, &format!("after {number}"));
    }
    acknowledged(&mut world);
    keep(&mut world, Keep::Messages(5));
    assert!(away(&world).contains(&(1, Away::Dropped)));
}

#[test]
fn what_not_everybody_has_acknowledged_is_kept() {
    let mut world = world_of(0);
    world.peers[MALLORY].offline();
    for number in 0..15 {
        let peer = [ALICE, BOB][number % 2];
        let Reply::Sent(_) = world.ask(
            peer,
            Command::Send {
                conversation: world.conversation,
                draft: sheaf_replica::Draft::text(format!("message {number}")),
                token: None,
            },
        ) else {
            panic!("a message is sent");
        };
    }
    for place in [ALICE, BOB, ALICE] {
        world.ask(place, Command::Acknowledge);
    }
    keep(&mut world, Keep::Messages(1));
    assert_eq!(away(&world), []);
    assert_eq!(world.messages(BOB).len(), 15);
    // Once she has said to have it, it goes.
    world.peers[MALLORY].link_up();
    world.settle();
    acknowledged(&mut world);
    keep(&mut world, Keep::Messages(1));
    assert_eq!(away(&world).len(), 3);
}

#[test]
fn a_segment_that_nobody_gives_whole_does_not_count() {
    let mut world = world_of(9);
    acknowledged(&mut world);
    keep(&mut world, Keep::Messages(5));
    assert_eq!(away(&world), [(0, Away::Dropped)]);
    for place in [ALICE, MALLORY] {
        let lost = envelopes(&world, place, 0)[1].clone();
        world.peers[place].disk.remove(&lost);
    }
    let before = world.messages(BOB);
    assert!(matches!(older(&mut world), Err(CommandError::NotHere(of)) if of.len() == 2));
    assert_eq!(away(&world), [(0, Away::Dropped)]);
    assert_eq!(world.messages(BOB), before);
}

#[test]
fn a_lost_envelope_is_fetched_and_what_comes_meanwhile_is_applied() {
    for damage in [Damage::Removed, Damage::DoesNotOpen] {
        let mut world = world_of(6);
        acknowledged(&mut world);
        // The newest segment, which everybody goes on writing to.
        let key = envelopes(&world, BOB, 1)[0].clone();
        let peer = &mut world.peers[BOB];
        match damage {
            Damage::Removed => peer.disk.remove(&key),
            Damage::DoesNotOpen => peer.disk.insert(key, Vec::new()),
        };
        world.restart(BOB);
        world.send(ALICE, "meanwhile");
        let events = &world.peers[BOB].events;
        let damaged = |event: &Event| matches!(event, Event::SegmentDamaged { segment: 1, .. });
        let fetched = |event: &Event| matches!(event, Event::SegmentFetched { segment: 1, .. });
        assert!(events.iter().any(damaged));
        assert!(events.iter().any(fetched));
        is_as_everywhere(&world);
        world.restart(BOB);
        world.send(MALLORY, "afterwards");
        is_as_everywhere(&world);
    }
}

#[derive(Clone, Copy)]
enum Damage {
    Removed,
    DoesNotOpen,
}

#[test]
fn a_damaged_snapshot_is_done_without() {
    let mut world = world_of(6);
    let key = Key {
        kind: Kind::Snapshot,
        scope: world.conversation.0.to_vec(),
        order: 1_u32.to_be_bytes().to_vec(),
    };
    for value in [vec![], vec![1, 0, 3, 1, 2, 3], vec![9; 40]] {
        world.peers[BOB].disk.insert(key.clone(), value);
        world.restart(BOB);
        world.send(ALICE, "more");
        world.send(BOB, "and more");
        is_as_everywhere(&world);
    }
}

#[test]
fn documents_of_more_segments_than_are_held_in_memory_are_compared() {
    let mut world = world_of(40);
    acknowledged(&mut world);
    world.restart(ALICE);
    world.restart(BOB);
    assert_eq!(heads(&world, ALICE).len(), 10);
    let resync = Command::Resync {
        conversations: vec![world.conversation],
        devices: Vec::new(),
        full: true,
    };
    world.ask(ALICE, resync);
    let events = world.peers[ALICE].events.iter();
    let exchanged = events.filter_map(|event| match event {
        Event::Exchanged {
            missing_here,
            missing_there,
            brought,
            ..
        } => Some((*missing_here, *missing_there, *brought)),
        _ => None,
    });
    let exchanged: Vec<_> = exchanged.collect();
    assert_eq!(exchanged, [(0, 0, 0), (0, 0, 0)]);
}

#[test]
fn who_writes_long_messages_goes_on_in_the_next_segment() {
    let mut world = World::new();
    // More than one author may put into one segment, long before it holds 4,096 messages.
    let long = "leek ".repeat(6_000);
    for peer in &mut world.peers {
        peer.replica.set_policy(Policy {
            messages_per_minute: None,
            ..Policy::default()
        });
    }
    for _ in 0..570 {
        world.send(ALICE, &long);
    }
    world.send(BOB, "short");
    world.send(ALICE, "and on");
    let segment_of = |text: &str| {
        let mut found = world.messages(BOB).into_iter();
        found.find(|m| m.text == text).unwrap().segment
    };
    assert_eq!((segment_of("short"), segment_of("and on")), (0, 1));
    is_as_everywhere(&world);
    world.restart(ALICE);
    world.send(ALICE, "afterwards");
    is_as_everywhere(&world);
}
