//! Who was away for long comes back to everything, whatever aged meanwhile.

use sheaf_replica::{Command, Input, Suspect};

use crate::forge::epochs;
use crate::guard::{DAY_MS, MINUTE_MS};
use crate::relay::Log;
use crate::world::{ALICE, BOB, MALLORY, World};

fn texts(world: &World, place: usize) -> Vec<String> {
    let listed = world.messages(place).into_iter();
    listed.map(|message| message.text).collect()
}

#[test]
fn what_was_sealed_to_erased_keys_is_asked_for_and_answered_where_it_is_read() {
    let mut world = World::new();
    // The keys of the beginning are never erased; those that follow are.
    world.pass(60 * MINUTE_MS);
    world.pass(7 * DAY_MS + 60 * MINUTE_MS);
    let known = world.rotate();
    let before = texts(&world, BOB).len();
    // Two epochs are drawn over each other, of which Bob does not hear while the keys that they are
    // sealed to age and are erased.
    let epochs = epochs(&world.peers[BOB].disk, &world.conversation);
    let known = epochs.iter().find(|epoch| epoch.id == known).unwrap();
    let topic = known.keys.topic();
    let heard = world.log.0[&topic].len();
    for _ in 0..2 {
        world.peers[ALICE].command(Command::Rotate(world.conversation));
        while world.peers[ALICE].step(&mut world.log) {}
    }
    let unheard = world.log.0[&topic][heard..].to_vec();
    assert!(!unheard.is_empty());
    world.peers[BOB].feed.hidden.extend(unheard);
    world.settle();
    world.send(MALLORY, "while Bob does not hear");
    for _ in 0..7 {
        world.pass(7 * DAY_MS + 60 * MINUTE_MS);
    }
    world.send(ALICE, "long after");
    for place in [ALICE, MALLORY] {
        world.peers[place].handle(Input::LinkDown(Log::id()));
        world.peers[place].offline();
    }
    world.peers[BOB].feed.reveal();
    world.settle();
    // Nobody is there who could answer: what he lacks is named.
    let known = world.peers[BOB].replica.conversation(&world.conversation);
    let known = known.unwrap();
    assert!(!known.synced);
    let named = |why: &String| why.starts_with("the secret of epoch");
    assert!(known.waiting.iter().any(named), "{:?}", known.waiting);
    for place in [ALICE, MALLORY] {
        world.peers[place].link_up();
    }
    world.settle();
    for _ in 0..8 {
        world.pass(60 * MINUTE_MS);
    }
    assert_eq!(texts(&world, BOB), texts(&world, ALICE));
    assert_eq!(texts(&world, BOB).len(), before + 2);
    world.send(BOB, "back");
    for place in [ALICE, BOB, MALLORY] {
        assert_eq!(texts(&world, place).len(), before + 3, "{place}");
    }
    // What the relay held back came in another order than it claims.
    let mut told = world.peers[BOB].misbehaviour();
    told.retain(|told| !matches!(told.by, Suspect::Relay(_)));
    assert!(told.is_empty(), "{told:?}");
}
