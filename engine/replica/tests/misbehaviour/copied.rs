//! A store that was copied: both go on in one run, one of the two falls, and neither loses anything.

use std::collections::BTreeSet;

use sheaf_crypto::{DeviceId, Role};
use sheaf_replica::record::Kind;
use sheaf_replica::{Command, DeviceChange, Input};

use crate::forge::secrets;
use crate::relay::Log;
use crate::world::{ALICE, BOB, MALLORY, Peer, World};

/// Place of the copy of Alice's second device, which is in Mallory's place.
const COPY: usize = 3;

fn offline(world: &mut World, place: usize) {
    world.peers[place].handle(Input::LinkDown(Log::id()));
    world.peers[place].offline();
}

/// The device in Mallory's place was copied: both stores have written where the other did not see it,
/// and everybody has seen both.
fn copied(mut world: World, seed: u8) -> (World, DeviceId) {
    let device = secrets(&world.peers[MALLORY].disk).device();
    world.peers[MALLORY].command(Command::Close);
    world.settle();
    let disk = world.peers[MALLORY].disk.clone();
    world.peers[MALLORY] = Peer::open_as(3, disk.clone(), seed);
    world.peers.push(Peer::open_as(3, disk, seed + 1));
    world.settle();
    for place in [MALLORY, COPY] {
        offline(&mut world, place);
    }
    for (place, texts) in [(MALLORY, ["left", "more left"]), (COPY, ["right", "on"])] {
        for text in texts {
            world.send(place, text);
        }
    }
    // Which side was acknowledged first tells which one stands.
    let first = if seed % 4 == 1 { MALLORY } else { COPY };
    for place in [first, MALLORY, COPY] {
        world.peers[place].link_up();
        world.settle();
    }
    world.send(BOB, "in between");
    (world, device)
}

/// Lets time pass, so that those who lack something ask for it.
fn rest(world: &mut World) {
    for _ in 0..12 {
        for peer in &mut world.peers {
            peer.wake();
        }
        world.settle();
    }
}

fn texts(world: &World, place: usize) -> BTreeSet<String> {
    let messages = world.messages(place).into_iter();
    messages.map(|message| message.text).collect()
}

fn entries(world: &World, place: usize) -> usize {
    let disk = world.peers[place].disk.keys();
    disk.filter(|key| key.kind == Kind::Audit).count()
}

#[test]
fn once_it_is_thawed_both_stores_bring_what_they_wrote() {
    go_on(World::with_two_devices, |world, device| {
        let change = Command::ChangeDevice {
            device,
            change: DeviceChange::Thaw,
        };
        world.ask(ALICE, change);
    });
}

#[test]
fn the_phrase_thaws_a_first_device_on_itself() {
    for place in [MALLORY, COPY] {
        go_on(World::new, |world, device| {
            let phrase = world.phrases[&MALLORY].clone();
            let change = Command::ChangeDevice {
                device,
                change: DeviceChange::Thaw,
            };
            world.answer(place, change).unwrap_err();
            let other = world.phrases[&BOB].clone();
            let thaw = |phrase| Command::ThawByPhrase { phrase, device };
            world.answer(place, thaw(other)).unwrap_err();
            world.ask(place, thaw(phrase.clone()));
            assert!(!world.peers[place].frozen(&world.conversation, &device));
            world.answer(place, thaw(phrase)).unwrap_err();
        });
    }
}

/// What the others do meanwhile, a new key, a cut, what came before it forgotten, is made up for.
#[test]
fn a_first_device_is_thawed_whatever_has_happened_since() {
    for what in 0..4 {
        go_on(World::new, |world, device| {
            let here = world.conversation;
            let user = world.peers[MALLORY].replica.overview().user.unwrap();
            let commands = match what {
                0 => vec![Command::Rotate(here)],
                1 => vec![Command::CutHistory(here), Command::Rotate(here)],
                2 => vec![Command::ForgetHistory(here)],
                _ => vec![Command::SetRole {
                    conversation: here,
                    user,
                    role: Role::Admin,
                }],
            };
            for command in commands {
                world.ask(ALICE, command);
                world.send(BOB, "meanwhile");
                rest(world);
            }
            let phrase = world.phrases[&MALLORY].clone();
            world.ask(COPY, Command::ThawByPhrase { phrase, device });
        });
    }
}

/// Both stores of a copied device write while it is frozen, it is thawed, and nothing is lost.
fn go_on(found: fn() -> World, thaw: impl Fn(&mut World, DeviceId)) {
    let mut fell = BTreeSet::new();
    for seed in (101..=115).step_by(2) {
        let (mut world, device) = copied(found(), seed);
        assert!(
            world.peers[BOB].frozen(&world.conversation, &device),
            "{seed}"
        );
        let sides = ["left", "right"].into_iter();
        fell.extend(sides.filter(|side| !texts(&world, BOB).contains(*side)));
        for place in [MALLORY, COPY] {
            world.send(place, &format!("frozen {place}"));
            world.restart(place);
        }
        thaw(&mut world, device);
        rest(&mut world);
        for place in [MALLORY, COPY] {
            world.restart(place);
        }
        rest(&mut world);
        for place in [MALLORY, COPY] {
            world.send(place, &format!("later {place}"));
        }
        rest(&mut world);
        let all = texts(&world, BOB);
        let written = [
            "left",
            "more left",
            "right",
            "on",
            "in between",
            "frozen 2",
            "frozen 3",
            "later 2",
            "later 3",
        ];
        for text in written {
            assert!(all.contains(text), "{seed}: {text} is not in {all:?}");
        }
        for place in [ALICE, MALLORY, COPY] {
            assert_eq!(texts(&world, place), all, "{seed}: {place}");
        }
        for place in [ALICE, BOB, MALLORY, COPY] {
            let shown = world.peers[place].replica.conversation(&world.conversation);
            let shown = shown.unwrap();
            assert_eq!((shown.pending, shown.parked), (0, 0), "{seed}: {place}");
        }
    }
    assert_eq!(fell.len(), 2, "either side falls now and then");
}

#[test]
fn a_fork_is_noted_once_and_not_at_every_start() {
    let (mut world, _) = copied(World::with_two_devices(), 101);
    let before = entries(&world, BOB);
    for _ in 0..3 {
        world.restart(BOB);
        rest(&mut world);
    }
    assert_eq!(entries(&world, BOB), before);
}
