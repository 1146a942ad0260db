//! Newcomers begin at a snapshot that two devices stand for, and history comes by itself: from
//! devices, from the relay, and through lies.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test may stop at its first error"
)]

#[path = "../misbehaviour/forge.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod forge;
mod lies;
mod progress;
#[path = "../misbehaviour/relay.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod relay;
#[path = "../misbehaviour/world.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod world;

use sheaf_crypto::{History, Role, inbox_capability};
use sheaf_replica::record::Kind;
use sheaf_replica::{Away, Command, Event, Keep, Policy, Reply};

use world::{ALICE, BOB, MALLORY, World};

const SEGMENT: u32 = 4;
/// Who joins later.
const CAROL: usize = 3;

/// Alice, Bob and Mallory in a conversation of four messages to a segment, who have written so many
/// in turn; Carol is known, and not part of it.
fn world_of(messages: usize) -> World {
    let mut world = World::of(4);
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

/// Time passes, so that what is due is done.
fn pass(world: &mut World, rounds: usize) {
    for _ in 0..rounds {
        for place in 0..world.peers.len() {
            world.peers[place].wake();
            world.settle();
        }
    }
}

fn invite(world: &mut World) {
    let user = world.peers[CAROL].replica.overview().user.unwrap();
    let add = Command::AddMember {
        conversation: world.conversation,
        user,
        role: Role::Writer,
    };
    world.ask(ALICE, add);
}

fn rows(world: &World, place: usize, kind: Kind) -> usize {
    let of_kind = world.peers[place]
        .disk
        .keys()
        .filter(|key| key.kind == kind);
    of_kind
        .filter(|key| key.scope == world.conversation.0)
        .count()
}

fn heads(world: &World, place: usize) -> Vec<(u32, Vec<[u8; 32]>)> {
    let shown = world.peers[place].replica.conversation(&world.conversation);
    shown.unwrap().heads
}

fn unread(world: &World) -> Vec<u32> {
    let shown = world.peers[CAROL].replica.conversation(&world.conversation);
    let away = shown.unwrap().away.into_iter();
    away.filter(|(_, why)| *why == Away::Unread)
        .map(|(segment, _)| segment)
        .collect()
}

fn fetched(world: &World) -> Vec<u32> {
    let events = world.peers[CAROL].events.iter();
    let fetched = events.filter_map(|event| match event {
        Event::SegmentFetched { segment, .. } => Some(*segment),
        _ => None,
    });
    fetched.collect()
}

/// Carol has all that Alice has, nobody is blamed, and everything goes on.
fn is_as_everywhere(world: &mut World) {
    pass(world, 3);
    for text in ["at the end", "after a restart"] {
        for place in [ALICE, CAROL, BOB] {
            world.send(place, text);
        }
        assert_eq!(unread(world), []);
        assert_eq!(world.messages(CAROL), world.messages(ALICE));
        assert_eq!(heads(world, CAROL), heads(world, ALICE));
        assert_eq!(world.messages(BOB), world.messages(ALICE));
        world.restart(CAROL);
    }
    let envelopes = |place| rows(world, place, Kind::Envelope);
    assert!(envelopes(CAROL) > 15);
}

fn nobody_is_blamed(world: &mut World) {
    for peer in &mut world.peers {
        assert_eq!(peer.misbehaviour(), []);
    }
}

#[test]
fn a_newcomer_gets_the_newest_first_and_all_in_the_end() {
    let mut world = world_of(15);
    pass(&mut world, 30);
    assert_eq!(rows(&world, BOB, Kind::Stated), 1);
    invite(&mut world);
    assert_eq!(fetched(&world), [3, 2, 1, 0]);
    is_as_everywhere(&mut world);
    nobody_is_blamed(&mut world);
}

#[test]
fn a_long_history_comes_in_one_go_however_small_its_segments_are() {
    let mut world = world_of(0);
    for number in 0..403 {
        world.send(number % 3, &format!("message {number}"));
        // Nobody writes so fast that he is taken for a flood.
        pass(&mut world, 1);
    }
    pass(&mut world, 30);
    assert!(rows(&world, BOB, Kind::Stated) > 0);
    invite(&mut world);
    let all: Vec<u32> = (0..=100).rev().collect();
    assert_eq!(fetched(&world), all);
    nobody_is_blamed(&mut world);
}

#[test]
fn who_invites_is_asked_first_and_nobody_else_is_waited_for() {
    for running in [ALICE, BOB, MALLORY] {
        let mut world = world_of(15);
        pass(&mut world, 30);
        let conversation = world.conversation;
        let user = world.peers[running].replica.overview().user.unwrap();
        if running != ALICE {
            let role = Role::Admin;
            let promote = Command::SetRole {
                conversation,
                user,
                role,
            };
            world.ask(ALICE, promote);
            let card = world.peers[CAROL].replica.overview().card.unwrap();
            world.ask(running, Command::AddContact { card, alias: None });
        }
        for place in [ALICE, BOB, MALLORY] {
            if place != running {
                world.peers[place].offline();
            }
        }
        let user = world.peers[CAROL].replica.overview().user.unwrap();
        let role = Role::Writer;
        world.peers[running].command(Command::AddMember {
            conversation,
            user,
            role,
        });
        while fetched(&world).is_empty() {
            let World { peers, log, .. } = &mut world;
            peers[CAROL].now = peers[CAROL].now.after_ms(1);
            assert!(peers.iter_mut().any(|peer| peer.step(log)), "{running}");
        }
        assert_eq!(fetched(&world), [3]);
        // Who answered is asked first by the next run as well.
        world.restart(CAROL);
        assert_eq!(fetched(&world), [2, 1, 0], "{running}");
    }
}

#[test]
fn she_writes_and_reads_at_once_while_nobody_answers() {
    let mut world = world_of(15);
    pass(&mut world, 30);
    invite_alone(&mut world);
    assert_eq!(unread(&world), [0, 1, 2, 3]);
    world.send(CAROL, "hello");
    assert_eq!(world.messages(CAROL).len(), 1);
    assert_eq!(rows(&world, CAROL, Kind::Start), 1);
    world.restart(CAROL);
    assert_eq!(unread(&world), [0, 1, 2, 3]);
    for place in [ALICE, BOB, MALLORY] {
        world.peers[place].link_up();
    }
    world.settle();
    is_as_everywhere(&mut world);
    assert_eq!(world.messages(CAROL).len(), 22);
    nobody_is_blamed(&mut world);
}

#[test]
fn a_question_that_overtakes_the_invite_is_nobodys_fault() {
    let mut world = world_of(15);
    pass(&mut world, 30);
    world.peers[CAROL].offline();
    let own = forge::secrets(&world.peers[CAROL].disk);
    let inbox = inbox_capability(own.inbox_seed()).topic();
    let before = world.peers[CAROL].feed.log.head(&inbox);
    invite(&mut world);
    let shown = world.peers[CAROL].feed.log.0.get_mut(&inbox).unwrap();
    let invites = shown.split_off(usize::try_from(before).unwrap());
    world.peers[CAROL].link_up();
    let ask = Command::Resync {
        conversations: vec![world.conversation],
        devices: vec![own.device()],
        full: false,
    };
    let Reply::Resyncing(asked) = world.ask(BOB, ask) else {
        panic!("devices were to be asked");
    };
    assert_eq!(asked.len(), 1);
    let joined = |world: &World| {
        let shown = world.peers[CAROL].replica.conversation(&world.conversation);
        shown.is_some()
    };
    assert!(!joined(&world));
    nobody_is_blamed(&mut world);
    for record in invites {
        world.peers[CAROL].feed.log.push(inbox, record);
    }
    world.settle();
    assert!(joined(&world));
    is_as_everywhere(&mut world);
    nobody_is_blamed(&mut world);
}

/// Carol is invited, and has her invite while all the others are away.
fn invite_alone(world: &mut World) {
    world.peers[CAROL].offline();
    invite(world);
    for place in [ALICE, BOB, MALLORY] {
        world.peers[place].offline();
    }
    world.peers[CAROL].link_up();
    world.settle();
}

#[test]
fn without_anybody_there_the_relay_gives_everything() {
    for restarts in [false, true] {
        let mut world = world_of(15);
        pass(&mut world, 30);
        invite_alone(&mut world);
        assert_eq!(fetched(&world), []);
        for _ in 0..4 {
            if restarts {
                world.restart(CAROL);
                world.peers[CAROL].wake();
            }
            for _ in 0..6 {
                world.peers[CAROL].wake();
                world.settle();
            }
        }
        assert_eq!(unread(&world), []);
        assert_eq!(world.messages(CAROL), world.messages(ALICE));
        nobody_is_blamed(&mut world);
        for place in [ALICE, BOB, MALLORY] {
            world.peers[place].link_up();
        }
        world.settle();
        is_as_everywhere(&mut world);
        nobody_is_blamed(&mut world);
    }
}

#[test]
fn a_restart_at_any_step_loses_nothing() {
    let whole = |world: &World| {
        let shown = world.peers[CAROL].replica.conversation(&world.conversation);
        shown.is_some() && unread(world).is_empty()
    };
    let mut stopped = 0;
    for steps in 1.. {
        let mut world = world_of(15);
        pass(&mut world, 30);
        world.peers[CAROL].offline();
        invite(&mut world);
        world.peers[CAROL].link_up();
        for _ in 0..steps * 3 {
            let World { peers, log, .. } = &mut world;
            let _ = peers.iter_mut().any(|peer| peer.step(log));
        }
        let done = whole(&world);
        world.restart(CAROL);
        is_as_everywhere(&mut world);
        nobody_is_blamed(&mut world);
        if done {
            break;
        }
        stopped += 1;
    }
    assert!(stopped > 4, "{stopped}");
}

#[test]
fn old_messages_are_edited_while_history_is_on_its_way() {
    let mut world = world_of(15);
    pass(&mut world, 30);
    invite_alone(&mut world);
    world.peers[BOB].link_up();
    world.settle();
    world.peers[BOB].offline();
    let mut change = Vec::new();
    for number in 0..3 {
        change.push(Command::Change {
            conversation: world.conversation,
            change: Box::new(move |document| {
                document.put(
                    &sheaf_replica::document::ObjectId::ROOT,
                    "title",
                    i64::from(number),
                )
            }),
        });
    }
    for (place, change) in [ALICE, BOB, MALLORY].into_iter().zip(change) {
        world.peers[place].link_up();
        world.ask(place, change);
        world.send(place, "meanwhile");
    }
    is_as_everywhere(&mut world);
    nobody_is_blamed(&mut world);
}

#[test]
fn only_what_is_kept_is_fetched() {
    let mut world = world_of(15);
    pass(&mut world, 30);
    let policy = Policy {
        keep: Keep::Messages(5),
        ..Policy::default()
    };
    world.peers[CAROL].replica.set_policy(policy);
    invite(&mut world);
    assert_eq!(fetched(&world), [3, 2]);
    let shown = world.peers[CAROL].replica.conversation(&world.conversation);
    let dropped = [(0, Away::Dropped), (1, Away::Dropped)];
    assert_eq!(shown.unwrap().away, dropped);
    let older = Command::Fetch(world.conversation, None);
    for _ in 0..2 {
        assert!(matches!(
            world.ask(CAROL, older_again(&older)),
            Reply::Fetched { .. }
        ));
    }
    assert_eq!(world.messages(CAROL), world.messages(ALICE));
    nobody_is_blamed(&mut world);
}

fn older_again(command: &Command) -> Command {
    match command {
        Command::Fetch(conversation, segment) => Command::Fetch(*conversation, *segment),
        _ => panic!("another command"),
    }
}

#[test]
fn a_conversation_without_history_for_newcomers_has_no_snapshots() {
    let mut world = World::of(4);
    let user = |place: usize| world.peers[place].replica.overview().user.unwrap();
    let create = Command::CreateConversation {
        name: "short".to_owned(),
        members: vec![user(BOB), user(MALLORY)],
        segment_messages: Some(SEGMENT),
        history: History::SinceJoin,
    };
    let Reply::ConversationCreated(conversation) = world.ask(ALICE, create) else {
        panic!("a conversation was asked for");
    };
    world.conversation = conversation;
    for number in 0..15 {
        world.send(number % 3, &format!("message {number}"));
    }
    pass(&mut world, 30);
    assert_eq!(rows(&world, ALICE, Kind::Stated), 0);
    invite(&mut world);
    world.send(BOB, "for all");
    assert_eq!(world.messages(CAROL).len(), 1);
}
