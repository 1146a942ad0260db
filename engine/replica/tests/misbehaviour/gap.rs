//! Somebody leaves a part of his chain out, or asks for what he has without end.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sheaf_crypto::{ItemId, seal};
use sheaf_replica::{Command, Event, Input};

use crate::forge::{only_epoch, secrets};
use crate::relay::Log;
use crate::roles::{rest, written};
use crate::world::{ALICE, BOB, MALLORY, World};

/// What waits at a device, and whether it sees that all is synced.
fn waits(world: &World, place: usize) -> (u64, bool) {
    let replica = &world.peers[place].replica;
    let shown = replica.conversation(&world.conversation).unwrap();
    (shown.parked, shown.synced)
}

/// Mallory skips an item that nobody will ever have.
fn skip(world: &mut World) {
    let mallory = secrets(&world.peers[MALLORY].disk);
    let (mut inner, epoch) = written(world, &mallory).pop().unwrap();
    inner.seq += 2;
    inner.previous = Some(ItemId([7; 32]));
    inner.dependencies.clear();
    let mut rng = ChaCha20Rng::from_seed([7; 32]);
    let record = seal(&epoch.keys, &inner, &mallory, &mut rng).unwrap();
    world.inject(epoch.keys.topic(), record);
}

#[test]
fn a_gap_of_somebody_who_is_removed_keeps_nobody_from_being_synced() {
    let mut world = World::new();
    world.send(MALLORY, "before it");
    rest(&mut world);
    assert_eq!(waits(&world, BOB), (0, true));
    skip(&mut world);
    assert_eq!(waits(&world, ALICE), (1, false));
    assert_eq!(waits(&world, BOB), (1, false));

    let user = world.peers[MALLORY].replica.overview().user.unwrap();
    let conversation = world.conversation;
    world.ask(ALICE, Command::RemoveMember { conversation, user });
    rest(&mut world);
    assert_eq!(waits(&world, ALICE), (0, true));
    assert_eq!(waits(&world, BOB), (0, true));

    world.restart_bob();
    world.send(ALICE, "goes on");
    rest(&mut world);
    assert_eq!(waits(&world, BOB), (0, true));
    assert!(world.messages(BOB).iter().any(|m| m.text == "goes on"));
}

/// One command after the other, as on a command line: nobody is connected while somebody else is.
#[test]
fn an_answer_that_comes_after_a_restart_still_counts() {
    let mut world = World::new();
    let topic = only_epoch(&world, BOB).keys.topic();
    let mut ahead = World::new();
    ahead.send(ALICE, "left out");
    let record = ahead.log.0[&topic].last().cloned().unwrap();
    world.peers[BOB].feed.hidden = vec![record];
    world.send(ALICE, "left out");
    world.send(ALICE, "after it");
    assert_eq!(waits(&world, BOB).0, 1);
    for place in [ALICE, BOB, MALLORY] {
        leave(&mut world, place);
    }
    for place in [BOB, ALICE, MALLORY, BOB] {
        world.restart(place);
        rest(&mut world);
        leave(&mut world, place);
    }
    assert_eq!(waits(&world, BOB).0, 0);
    let texts = world.messages(BOB).into_iter().map(|message| message.text);
    assert!(
        texts
            .collect::<Vec<_>>()
            .ends_with(&["left out".to_owned(), "after it".to_owned()])
    );
}

fn leave(world: &mut World, place: usize) {
    world.peers[place].handle(Input::LinkDown(Log::id()));
    world.peers[place].offline();
}

/// How many of so many questions of Bob's Alice answers.
fn answered(world: &mut World, questions: usize) -> usize {
    let alice = secrets(&world.peers[ALICE].disk).device();
    world.peers[BOB].events.clear();
    for _ in 0..questions {
        let resync = Command::Resync {
            conversations: vec![world.conversation],
            devices: vec![alice],
            full: false,
        };
        world.ask(BOB, resync);
    }
    let answers = world.peers[BOB].events.iter();
    let answers = answers
        .filter(|event| matches!(event, Event::Exchanged { device, .. } if *device == alice));
    answers.count()
}

#[test]
fn who_asks_without_end_is_not_answered_for_some_seconds() {
    let mut world = World::new();
    rest(&mut world);
    assert_eq!(answered(&mut world, 1_100), 1_024);
    assert_eq!(answered(&mut world, 10), 0);
    let alice = &mut world.peers[ALICE];
    alice.now = alice.now.after_ms(10_001);
    assert_eq!(answered(&mut world, 10), 10);
}
