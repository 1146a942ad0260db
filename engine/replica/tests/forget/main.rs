//! Secrets from before a cut are erased once every device has acknowledged it, and not before.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::type_complexity,
    reason = "a test may stop at its first error"
)]

#[path = "../misbehaviour/forge.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod forge;
mod late;
mod mixed;
#[path = "../misbehaviour/relay.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod relay;
#[path = "../misbehaviour/world.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod world;

use std::collections::BTreeSet;

use sheaf_crypto::{DeviceId, EpochId, History, Role, UserId, open};
use sheaf_replica::record::Kind;
use sheaf_replica::{Command, ConversationInfo, Draft, Event, Input, Reply};

use forge::{epochs, secrets};
use relay::Log;
use world::{ALICE, BOB, MALLORY, World};

const ALL: [usize; 3] = [ALICE, BOB, MALLORY];

fn user(world: &World, place: usize) -> UserId {
    world.peers[place].replica.overview().user.unwrap()
}

fn device(world: &World, place: usize) -> DeviceId {
    secrets(&world.peers[place].disk).device()
}

/// Three people who have written twelve messages, four to a segment, under two epochs.
fn prepared() -> World {
    let mut world = World::new();
    let create = Command::CreateConversation {
        name: "yard".to_owned(),
        members: vec![user(&world, BOB), user(&world, MALLORY)],
        segment_messages: Some(4),
        history: History::Full,
    };
    let Reply::ConversationCreated(conversation) = world.ask(ALICE, create) else {
        panic!("a conversation was asked for");
    };
    world.conversation = conversation;
    for number in 0..12 {
        world.send(number % 3, &format!("old {number}"));
        if number == 5 {
            world.rotate();
        }
    }
    rest(&mut world);
    world
}

/// Lets acknowledgements come that wait for their time.
fn rest(world: &mut World) {
    world.settle();
    for _ in 0..60 {
        let mut woken = false;
        for peer in &mut world.peers {
            woken |= peer.wake();
        }
        world.settle();
        if !woken {
            return;
        }
    }
}

fn away(world: &mut World, place: usize) {
    world.peers[place].handle(Input::LinkDown(Log::id()));
    world.peers[place].offline();
}

fn back(world: &mut World, place: usize) {
    world.peers[place].link_up();
    rest(world);
}

fn forget(world: &mut World) {
    world.ask(ALICE, Command::ForgetHistory(world.conversation));
    rest(world);
}

fn held(world: &World, place: usize) -> BTreeSet<EpochId> {
    let held = epochs(&world.peers[place].disk, &world.conversation);
    held.into_iter().map(|epoch| epoch.id).collect()
}

fn holds_any(world: &World, place: usize, old: &BTreeSet<EpochId>) -> bool {
    held(world, place).iter().any(|epoch| old.contains(epoch))
}

fn texts(world: &World, place: usize) -> Vec<String> {
    let listed = world.messages(place).into_iter();
    listed.map(|message| message.text).collect()
}

fn shown(world: &World, place: usize) -> ConversationInfo {
    let known = world.peers[place].replica.conversation(&world.conversation);
    known.unwrap()
}

fn waits_for(world: &World, place: usize) -> Option<Vec<DeviceId>> {
    shown(world, place).forgetting.map(|waits| waits.devices)
}

/// How many rows of envelopes are under some epochs, and how many altogether.
fn envelopes(world: &World, place: usize, old: &BTreeSet<EpochId>) -> (usize, usize) {
    let disk = world.peers[place].disk.iter();
    let kept =
        disk.filter(|(key, _)| key.kind == Kind::Envelope && key.scope == world.conversation.0);
    let under: Vec<EpochId> = kept
        .map(|(_, value)| postcard::take_from_bytes(&value[1..]).unwrap().0)
        .collect();
    let of_old = under.iter().filter(|epoch| old.contains(epoch)).count();
    (of_old, under.len())
}

/// Nobody who is named holds anything of before, and what was written is there.
fn has_forgotten(world: &World, places: &[usize], old: &BTreeSet<EpochId>, before: &[String]) {
    for place in places {
        assert!(!holds_any(world, *place, old), "{place} holds a secret");
        assert_eq!(envelopes(world, *place, old).0, 0, "{place}");
        assert_eq!(texts(world, *place), before, "{place}");
        let shown = shown(world, *place);
        assert_eq!(shown.forgetting, None, "{place}");
        assert!(!shown.epochs.iter().any(|(known, _)| old.contains(known)));
    }
}

fn heads(world: &World, place: usize) -> Vec<(u32, Vec<[u8; 32]>)> {
    shown(world, place).heads
}

/// Everybody writes, before and after a restart, and all come to the same.
fn goes_on(world: &mut World, places: &[usize]) {
    for round in ["at once", "after a restart"] {
        for place in places {
            world.send(*place, &format!("{round} {place}"));
        }
        rest(world);
        for place in places {
            assert_eq!(texts(world, *place), texts(world, places[0]), "{round}");
            assert_eq!(heads(world, *place), heads(world, places[0]), "{round}");
            assert_eq!(shown(world, *place).parked, 0, "{round}");
            assert!(shown(world, *place).synced, "{place} {round}");
        }
        for place in places {
            world.restart(*place);
        }
        rest(world);
    }
}

#[test]
fn everybody_forgets_once_all_have_acknowledged() {
    let mut world = prepared();
    let old = held(&world, ALICE);
    assert_eq!(old.len(), 2);
    let keys = epochs(&world.peers[ALICE].disk, &world.conversation);
    let topics: Vec<_> = keys.iter().map(|epoch| epoch.keys.topic()).collect();
    let captured: Vec<Vec<u8>> = topics.iter().flat_map(|t| world.log.0[t].clone()).collect();
    let before = texts(&world, ALICE);
    assert_eq!(before.len(), 12);
    for place in ALL {
        world.peers[place].events.clear();
    }
    forget(&mut world);
    has_forgotten(&world, &ALL, &old, &before);
    for place in ALL {
        let events = &world.peers[place].events;
        let told = |event: &&Event| matches!(event, Event::SecretsForgotten { epochs: 2, .. });
        assert_eq!(events.iter().filter(told).count(), 1, "{place}");
        let cursors = world.peers[place].disk.keys();
        let mut cursors = cursors.filter(|key| key.kind == Kind::Cursor);
        assert!(cursors.all(|key| topics.iter().all(|topic| key.scope != topic.0)));
        let left = epochs(&world.peers[place].disk, &world.conversation);
        assert!(!left.is_empty());
        for wire in &captured {
            assert!(left.iter().all(|epoch| open(&epoch.keys, wire).is_err()));
        }
        world.restart(place);
        assert_eq!(texts(&world, place), before);
    }
    rest(&mut world);
    has_forgotten(&world, &ALL, &old, &before);
    for place in ALL {
        mixed::read_all(&mut world, place);
        assert_eq!(shown(&world, place).away, [], "{place}");
    }
    goes_on(&mut world, &ALL);
}

/// What the statement cannot undo: the seals in the control log. They open with the sealing key of a
/// device's certificate, which is kept for as long as cards name it.
#[test]
fn a_seal_in_the_control_log_outlives_the_secret() {
    let mut world = prepared();
    let old = held(&world, ALICE);
    forget(&mut world);
    let own = secrets(&world.peers[ALICE].disk);
    let disk = world.peers[ALICE].disk.iter();
    let log =
        disk.filter(|(key, _)| key.kind == Kind::Operation && key.scope == world.conversation.0);
    let opened = log.filter_map(|(_, value)| {
        type Stored = (
            sheaf_crypto::ConversationId,
            u64,
            sheaf_crypto::SignedOperation,
        );
        let (stored, _) = postcard::take_from_bytes::<Stored>(&value[1..]).unwrap();
        let operation = stored.2.decode().unwrap();
        let sheaf_crypto::Body::Rekey(rekey) = &operation.body else {
            return None;
        };
        let (author, seq) = (operation.author, operation.seq);
        let parents = &operation.parents;
        let opened =
            sheaf_crypto::open_rekey(rekey, &world.conversation, author, seq, parents, &own);
        opened.ok().map(|(epoch, _)| epoch)
    });
    let opened: BTreeSet<EpochId> = opened.collect();
    assert!(opened.is_superset(&old));
}

#[test]
fn while_a_device_is_away_nothing_is_forgotten() {
    let mut world = prepared();
    let old = held(&world, ALICE);
    away(&mut world, BOB);
    forget(&mut world);
    world.send(MALLORY, "meanwhile");
    rest(&mut world);
    for place in [ALICE, MALLORY] {
        assert!(held(&world, place).is_superset(&old));
        assert_eq!(waits_for(&world, place), Some(vec![device(&world, BOB)]));
        world.restart(place);
        assert_eq!(waits_for(&world, place), Some(vec![device(&world, BOB)]));
    }
    rest(&mut world);
    assert!(held(&world, ALICE).is_superset(&old));
    back(&mut world, BOB);
    rest(&mut world);
    let before = texts(&world, ALICE);
    assert_eq!(before.len(), 13);
    has_forgotten(&world, &ALL, &old, &before);
    goes_on(&mut world, &ALL);
}

#[test]
fn what_was_sealed_before_is_still_taken() {
    let mut world = prepared();
    let old = held(&world, ALICE);
    // Sealed under the old epoch, and lost with the connection.
    let send = Command::Send {
        conversation: world.conversation,
        draft: Draft::text("sealed before"),
        token: None,
    };
    world.peers[BOB].command(send);
    away(&mut world, BOB);
    forget(&mut world);
    assert!(held(&world, ALICE).is_superset(&old));
    world.send(BOB, "written in between");
    assert!(held(&world, BOB).is_superset(&old));
    back(&mut world, BOB);
    rest(&mut world);
    let before = texts(&world, BOB);
    assert!(before.contains(&"sealed before".to_owned()));
    assert!(before.contains(&"written in between".to_owned()));
    has_forgotten(&world, &ALL, &old, &before);
    goes_on(&mut world, &ALL);
}

#[test]
fn the_removed_are_not_waited_for() {
    let mut world = prepared();
    let old = held(&world, ALICE);
    away(&mut world, MALLORY);
    forget(&mut world);
    let mallory = device(&world, MALLORY);
    assert_eq!(waits_for(&world, BOB), Some(vec![mallory]));
    world.ask(
        ALICE,
        Command::RemoveMember {
            conversation: world.conversation,
            user: user(&world, MALLORY),
        },
    );
    rest(&mut world);
    let before = texts(&world, ALICE);
    has_forgotten(&world, &[ALICE, BOB], &old, &before);
    back(&mut world, MALLORY);
    goes_on(&mut world, &[ALICE, BOB]);
}

#[test]
fn two_cuts_at_once_are_both_kept_to() {
    let mut world = prepared();
    world.ask(
        ALICE,
        Command::SetRole {
            conversation: world.conversation,
            user: user(&world, MALLORY),
            role: Role::Admin,
        },
    );
    rest(&mut world);
    let mut old = held(&world, BOB);
    for place in [ALICE, MALLORY] {
        away(&mut world, place);
    }
    for place in [ALICE, MALLORY] {
        world.ask(place, Command::ForgetHistory(world.conversation));
        old.extend(held(&world, place));
    }
    for place in [ALICE, MALLORY] {
        back(&mut world, place);
    }
    world.send(BOB, "after both");
    rest(&mut world);
    let before = texts(&world, BOB);
    assert_eq!(before.len(), 13);
    has_forgotten(&world, &ALL, &old, &before);
    goes_on(&mut world, &ALL);
}
