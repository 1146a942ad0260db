//! Relays that lie: each lie is named and made up for, and proved where that can be.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "a test stops at a broken expectation"
)]

mod relay;
mod world;

use sheaf_protocol::LogId;
use sheaf_replica::{Act, Offence, Suspect};

use relay::Store;
use world::{ALICE, BOB, World};

/// Everything that was written, in an order of no matter.
fn has(world: &World, place: usize, texts: &[&str]) {
    let known = world.texts(place);
    for text in texts {
        let count = known.iter().filter(|known| known == text).count();
        assert_eq!(count, 1, "{text} at {place}: {known:?}");
    }
}

fn proved(world: &World, place: usize) -> usize {
    let evidence = world.replica(place).evidence();
    for known in &evidence {
        assert_eq!(known.piece.relay, world.relays[0].id());
        known.piece.verify().unwrap();
    }
    evidence.len()
}

#[test]
fn an_honest_relay_is_never_named() {
    let mut world = World::new(2);
    for round in 0..5 {
        world.send(ALICE, &format!("alice {round}"));
        world.send(BOB, &format!("bob {round}"));
        world.pass(20);
        world.restart(BOB);
        world.send(ALICE, &format!("alone {round}"));
        world.connect(BOB);
        world.pass(40);
    }
    world.agree();
    for place in [ALICE, BOB] {
        assert_eq!(world.acts(place), []);
        assert_eq!(proved(&world, place), 0);
    }
}

/// What each of several relays delivers counts once, and does count.
#[test]
fn a_flood_through_two_relays_is_a_flood() {
    let mut world = World::new(2);
    for number in 0..90 {
        world.send(ALICE, &format!("brisk {number}"));
    }
    assert_eq!(world.replica(BOB).quarantines().len(), 0);
    for number in 0..60 {
        world.send(ALICE, &format!("flood {number}"));
    }
    let held = world.replica(BOB).quarantines();
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].quarantine.why, Offence::Flood);
    world.pass(120);
    world.agree();
}

#[test]
fn a_record_that_is_left_out_is_named_and_asked_for() {
    for pretends in [false, true] {
        leave_out(pretends);
    }
}

/// `pretends`: the relay speaks of the record as if it were on its way.
fn leave_out(pretends: bool) {
    let mut world = World::new(1);
    world.relays[0].pretends = pretends;
    let topic = world.topic();
    let next = world.relays[0].stores[0].head(&topic) + 1;
    world.relays[0].dropped.insert((BOB, topic, next));
    world.send(ALICE, "kept back");
    assert!(!world.texts(BOB).contains(&"kept back".to_owned()));
    world.send(ALICE, "shown");
    world.pass(60);
    let left_out = Act::LeftOut {
        from: next,
        to: next,
    };
    let acts = world.acts(BOB);
    assert!(
        acts.contains(&(Suspect::Topic(topic), left_out)),
        "{acts:?}"
    );
    world.agree();
    has(&world, BOB, &["kept back", "shown"]);
}

/// What was let go of does not come: what is written next is not waited with, and nobody is named.
#[test]
fn behind_what_was_let_go_of_it_goes_on_at_once() {
    let mut world = World::new(1);
    let topic = world.topic();
    world.disconnect(BOB);
    let before = world.relays[0].stores[0].head(&topic);
    world.send(ALICE, "let go of");
    let head = world.relays[0].stores[0].head(&topic);
    let gone = (before + 1..=head).map(|sequence| (BOB, topic, sequence));
    world.relays[0].dropped.extend(gone);
    world.connect(BOB);
    world.settle();
    world.relays[0].pretends = true;
    world.send(ALICE, "at once");
    // Half of the time after which a record that is on its way is missed.
    world.pass(15);
    has(&world, BOB, &["let go of", "at once"]);
    assert_eq!(world.acts(BOB), []);
}

/// Bob is shown a store of his own from now on, as it stands.
fn split(world: &mut World) {
    let store = world.relays[0].stores[0].clone();
    world.relays[0].stores.push(store);
    let topic = world.topic();
    world.relays[0].shown.insert((BOB, topic), 1);
}

/// A record that crosses: what the first store has at its end is put into the other one.
fn cross(world: &mut World, from: usize, to: usize) {
    let topic = world.topic();
    let last = world.relays[0].stores[from].0[&topic].last().cloned();
    let records = world.relays[0].stores[to].0.get_mut(&topic).unwrap();
    records.push(last.unwrap());
    world.settle();
}

#[test]
fn records_in_another_order_are_evidence() {
    let mut world = World::new(1);
    let topic = world.topic();
    split(&mut world);
    world.send(ALICE, "first");
    world.send(ALICE, "second");
    let records = world.relays[0].stores[0].0[&topic].clone();
    let [.., first, second] = records.as_slice() else {
        panic!("two were written");
    };
    let shown = world.relays[0].stores[1].0.get_mut(&topic).unwrap();
    shown.extend([second.clone(), first.clone()]);
    world.pass(20);
    has(&world, BOB, &["first", "second"]);
    // Bob's acknowledgement crosses, with what the relay stated to him.
    cross(&mut world, 1, 0);
    world.pass(60);
    assert_eq!(proved(&world, ALICE), 1);
    assert!(world.named(ALICE, 0).contains(&Act::Contradiction));
    world.agree();
}

#[test]
fn two_histories_are_exposed_by_the_first_record_that_crosses() {
    let mut world = World::new(1);
    split(&mut world);
    world.send(ALICE, "only for alice");
    world.send(BOB, "only for bob");
    world.pass(20);
    assert_eq!((proved(&world, ALICE), proved(&world, BOB)), (0, 0));
    world.send(BOB, "crosses");
    world.pass(20);
    cross(&mut world, 1, 0);
    world.pass(20);
    world.send(ALICE, "crosses too");
    world.pass(20);
    cross(&mut world, 0, 1);
    world.pass(120);
    assert!(proved(&world, ALICE) + proved(&world, BOB) > 0);
    let named = [world.named(ALICE, 0), world.named(BOB, 0)].concat();
    assert!(named.contains(&Act::Contradiction), "{named:?}");
    world.agree();
    let all = ["only for alice", "only for bob", "crosses", "crosses too"];
    has(&world, ALICE, &all);
    // The proof is there after a restart.
    let before = proved(&world, ALICE);
    world.restart(ALICE);
    assert_eq!(proved(&world, ALICE), before);
}

#[test]
fn a_record_that_comes_again_is_named_and_changes_nothing() {
    let mut world = World::new(1);
    let topic = world.topic();
    world.send(ALICE, "once");
    let records = world.relays[0].stores[0].0.get_mut(&topic).unwrap();
    let again = records.last().cloned().unwrap();
    records.push(again);
    world.pass(30);
    let acts = world.acts(BOB);
    assert!(
        acts.iter().any(|(_, act)| *act == Act::Replayed),
        "{acts:?}"
    );
    has(&world, BOB, &["once"]);
    world.agree();
}

#[test]
fn a_store_that_is_put_back_gets_everything_again() {
    let mut world = World::new(1);
    let backup = world.relays[0].stores[0].clone();
    for number in 0..4 {
        world.send(ALICE, &format!("alice {number}"));
        world.send(BOB, &format!("bob {number}"));
    }
    world.pass(20);
    world.relays[0].stores[0] = backup;
    for place in [ALICE, BOB] {
        world.disconnect(place);
        world.connect(place);
    }
    world.pass(60);
    for place in [ALICE, BOB] {
        assert!(world.named(place, 0).contains(&Act::RolledBack), "{place}");
    }
    world.agree();
    complete(&mut world);
}

/// Everything that both wrote is at the relay: its records are what a newcomer would be given.
fn complete(world: &mut World) {
    let topic = world.topic();
    let store = world.relays[0].stores[0].0[&topic].clone();
    let mut fresh = Store::default();
    fresh.0.insert(topic, store);
    let written = world.texts(ALICE).len() as u64;
    assert!(fresh.head(&topic) >= written, "{written} messages");
}

#[test]
fn a_store_that_was_put_back_and_grew_past_the_cursor_is_found_too() {
    let mut world = World::new(1);
    let topic = world.topic();
    let backup = world.relays[0].stores[0].clone();
    let own: Vec<String> = (0..4).map(|number| format!("bob {number}")).collect();
    for text in &own {
        world.send(BOB, text);
    }
    world.pass(20);
    world.disconnect(BOB);
    world.disconnect(ALICE);
    let length = world.relays[0].stores[0].head(&topic);
    let bobs: Vec<Vec<u8>> = world.relays[0].stores[0].0[&topic].clone();
    world.relays[0].stores[0] = backup;
    // Alice finds a shorter store and goes on writing: it grows past where Bob was.
    world.connect(ALICE);
    for number in 0..12 {
        world.send(ALICE, &format!("alice {number}"));
    }
    world.pass(20);
    world.disconnect(ALICE);
    world.restart(BOB);
    world.acts(ALICE);
    let grown = world.relays[0].stores[0].head(&topic);
    assert!(grown > length, "{grown} of {length}");
    world.connect(BOB);
    world.pass(60);
    let named = world.named(BOB, 0);
    assert!(named.contains(&Act::OtherHistory), "{named:?}");
    assert_eq!(proved(&world, BOB), 1, "it signed otherwise before");
    // What only Bob could offer is there again, and he has read what he had missed.
    let store = world.relays[0].stores[0].0[&topic].clone();
    let back = bobs.iter().filter(|record| store.contains(record)).count();
    assert!(back > bobs.len() / 2, "{back} of {}", bobs.len());
    world.connect(ALICE);
    world.pass(60);
    world.agree();
    complete(&mut world);
}

/// Nothing but what was read tells a store that was put back from the one before: what it had
/// promised beyond that, and a program that ended then has not read, is offered again.
#[test]
fn what_was_confirmed_and_not_read_is_offered_again_after_a_restart() {
    let mut world = World::new(1);
    let topic = world.topic();
    let backup = world.relays[0].stores[0].clone();
    let head = backup.head(&topic);
    world.disconnect(ALICE);
    world.relays[0].tail.insert((BOB, topic), head);
    world.send(BOB, "confirmed");
    let own = world.relays[0].stores[0].0[&topic].last().cloned().unwrap();
    world.restart(BOB);
    world.relays[0].tail.clear();
    world.relays[0].stores[0] = backup;
    world.connect(ALICE);
    for number in 0..4 {
        world.send(ALICE, &format!("alice {number}"));
    }
    world.pass(20);
    world.connect(BOB);
    world.pass(60);
    assert!(world.relays[0].stores[0].0[&topic].contains(&own));
    has(&world, ALICE, &["confirmed"]);
    world.agree();
}

/// The second time there is no new evidence to find, and the topic was read again just before.
#[test]
fn a_store_that_is_put_back_twice_is_filled_twice() {
    for between in [0, 5] {
        let mut world = World::new(1);
        let topic = world.topic();
        for round in 0..2 {
            let backup = world.relays[0].stores[0].clone();
            world.send(BOB, &format!("bob {round}"));
            let own = world.relays[0].stores[0].0[&topic].last().cloned().unwrap();
            world.pass(between);
            world.disconnect(BOB);
            world.disconnect(ALICE);
            let length = world.relays[0].stores[0].head(&topic);
            world.relays[0].stores[0] = backup;
            world.connect(ALICE);
            // Exactly as long as it was, so that the place of the last statement is the same.
            while world.relays[0].stores[0].head(&topic) < length {
                world.send(ALICE, &format!("alice {round}"));
            }
            world.disconnect(ALICE);
            let store = &world.relays[0].stores[0].0[&topic];
            assert!(!store.contains(&own), "{between} s, round {round}");
            world.connect(BOB);
            world.pass(between);
            if round == 1 {
                world.pass(30);
                let store = &world.relays[0].stores[0].0[&topic];
                assert!(store.contains(&own), "{between} s");
            }
            world.connect(ALICE);
            world.pass(between);
        }
        world.pass(60);
        world.agree();
        complete(&mut world);
    }
}

#[test]
fn a_wiped_store_is_named_and_filled() {
    let mut world = World::new(1);
    world.send(ALICE, "before");
    world.pass(20);
    world.relays[0].stores[0] = Store::default();
    world.relays[0].log = LogId(4711);
    for place in [ALICE, BOB] {
        world.disconnect(place);
        world.connect(place);
    }
    world.send(BOB, "after");
    world.pass(60);
    for place in [ALICE, BOB] {
        let named = world.named(place, 0);
        assert!(named.contains(&Act::StoreReplaced), "{named:?}");
        assert_eq!(proved(&world, place), 0, "a new store contradicts nothing");
    }
    world.agree();
    complete(&mut world);
}

#[test]
fn a_tail_that_is_kept_back_is_named_once_a_peer_tells_of_it() {
    let mut world = World::new(2);
    let topic = world.topic();
    let head = world.relays[0].stores[0].head(&topic);
    world.relays[0].tail.insert((BOB, topic), head);
    world.send(ALICE, "kept back by one");
    world.pass(10);
    world.send(BOB, "answer");
    world.pass(10);
    assert!(!world.named(BOB, 0).contains(&Act::Withheld), "too early");
    world.pass(60);
    let named = world.named(BOB, 0);
    assert!(named.contains(&Act::Withheld), "{named:?}");
    assert!(!world.named(BOB, 1).contains(&Act::Withheld));
    has(&world, BOB, &["kept back by one", "answer"]);
    world.agree();
}

#[test]
fn what_was_told_of_a_store_that_is_gone_is_not_held_against_the_next() {
    let mut world = World::new(2);
    let topic = world.topic();
    let head = world.relays[0].stores[0].head(&topic);
    world.relays[0].tail.insert((BOB, topic), head);
    world.send(ALICE, "kept back by one");
    world.pass(10);
    world.send(BOB, "answer");
    world.pass(10);
    world.relays[0].tail.clear();
    world.relays[0].stores[0] = Store::default();
    world.relays[0].log = LogId(4711);
    for place in [ALICE, BOB] {
        world.disconnect(place);
        world.connect(place);
    }
    world.pass(90);
    assert_eq!(world.named(BOB, 0), [Act::StoreReplaced]);
    world.agree();
}

#[test]
fn a_relay_that_confirms_nothing_is_named_and_another_takes_over() {
    let mut world = World::new(2);
    world.relays[0].mute = true;
    world.send(ALICE, "to both");
    world.pass(10);
    has(&world, BOB, &["to both"]);
    assert_eq!(world.named(ALICE, 0), []);
    world.pass(40);
    assert_eq!(world.named(ALICE, 0), [Act::Unconfirmed]);
    let infos = world.replica(ALICE).relays();
    let find = |relay: usize| {
        let id = world.relays[relay].id();
        infos.iter().find(|info| info.relay == id).unwrap()
    };
    let (count, since) = find(0).unconfirmed.unwrap();
    assert!(count >= 1 && since < world.now);
    assert_eq!(find(1).unconfirmed, None);
    // It comes round, and gets what it lacks.
    world.relays[0].mute = false;
    for place in [ALICE, BOB] {
        world.disconnect(place);
        world.connect(place);
    }
    world.pass(60);
    let infos = world.replica(ALICE).relays();
    assert!(
        infos
            .iter()
            .all(|info| info.unconfirmed.is_none() && info.behind == 0)
    );
    world.agree();
}

#[test]
fn a_refused_subscription_is_asked_for_again() {
    let mut world = World::new(1);
    world.disconnect(BOB);
    world.send(ALICE, "while he is away");
    world.relays[0].refuses = 2;
    world.restart(BOB);
    world.connect(BOB);
    world.pass(60);
    assert_eq!(world.relays[0].refuses, 0);
    has(&world, BOB, &["while he is away"]);
    world.agree();
}

#[test]
fn relays_are_told_to_let_go_of_what_everybody_has_and_of_nothing_else() {
    let mut world = World::new(1);
    for round in 0..5 {
        world.send(ALICE, &format!("round {round}"));
        world.pass(60);
    }
    world.pass(2 * 3_600);
    let all = world.relays[0].stores[0].head(&world.topic());
    let released = std::mem::take(&mut world.relays[0].released);
    for place in [ALICE, BOB] {
        assert!(released.contains(&(place, Some(all))), "{released:?}");
    }
    world.pass(6 * 3_600);
    assert_eq!(world.relays[0].released, [], "it is said once");

    // Bob is away: what he lacks has to stay, whoever said something else.
    world.disconnect(BOB);
    for round in 0..8 {
        world.send(ALICE, &format!("alone {round}"));
        world.pass(60);
    }
    for _ in 0..30 {
        world.pass(3_600);
    }
    let taken_back = std::mem::take(&mut world.relays[0].released);
    assert_eq!(taken_back, [(ALICE, None), (ALICE, None)], "daily");
    world.connect(BOB);
    world.pass(2 * 3_600);
    world.agree();
    let upto = world.relays[0]
        .released
        .iter()
        .filter_map(|(_, upto)| *upto);
    assert!(upto.max() > Some(all));
}
