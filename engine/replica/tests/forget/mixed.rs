//! What lies on both sides of a cut, and what goes wrong after it.

use std::collections::BTreeSet;

use sheaf_crypto::{Kind as Purpose, Role, open};
use sheaf_replica::record::{Key, Kind};
use sheaf_replica::{Away, Command, CommandError, Draft, Event};

use crate::world::{ALICE, BOB, MALLORY, Peer, World};
use crate::{
    ALL, away, back, envelopes, epochs, forget, goes_on, has_forgotten, heads, held, prepared,
    rest, shown, texts, user,
};

fn send(world: &World, text: &str) -> Command {
    Command::Send {
        conversation: world.conversation,
        draft: Draft::text(text),
        token: None,
    }
}

/// Has a device read its documents from the disk.
pub(super) fn read_all(world: &mut World, place: usize) {
    let resync = Command::Resync {
        conversations: Vec::new(),
        devices: Vec::new(),
        full: true,
    };
    world.ask(place, resync);
    rest(world);
}

fn make_admin(world: &mut World, place: usize) {
    let role = Command::SetRole {
        conversation: world.conversation,
        user: user(world, place),
        role: Role::Admin,
    };
    world.ask(ALICE, role);
    rest(world);
}

/// Written before the cut and sealed after it: the envelope outlives the others of its segment, and
/// comes to some only when they have forgotten those.
#[test]
fn a_segment_goes_on_from_its_saved_document() {
    let mut world = prepared();
    make_admin(&mut world, MALLORY);
    world.send(BOB, "segment three begins");
    rest(&mut world);
    let mut old = held(&world, BOB);
    away(&mut world, MALLORY);
    world.ask(MALLORY, send(&world, "sealed later"));
    world.ask(MALLORY, Command::ForgetHistory(world.conversation));
    old.extend(held(&world, BOB));
    // Only Mallory's device goes on; what it seals last is held back from the others.
    world.peers[MALLORY].link_up();
    loop {
        let World { peers, log, .. } = &mut world;
        if !peers[MALLORY].step(log) {
            break;
        }
    }
    let keys = epochs(&world.peers[MALLORY].disk, &world.conversation);
    let after = keys.iter();
    let after = after.filter(|epoch| !old.contains(&epoch.id));
    let mut content = Vec::new();
    for epoch in after {
        let records = world.log.0.get(&epoch.keys.topic()).into_iter().flatten();
        content.extend(records.filter(|record| {
            open(&epoch.keys, record).is_ok_and(|opened| opened.kind() == Purpose::Content)
        }));
    }
    assert_eq!(content.len(), 1);
    let hidden: Vec<Vec<u8>> = content.into_iter().cloned().collect();
    for place in [ALICE, BOB] {
        world.peers[place].feed.hidden.clone_from(&hidden);
    }
    for _ in 0..6 {
        for place in [ALICE, BOB] {
            world.peers[place].wake();
            loop {
                let World { peers, log, .. } = &mut world;
                if !peers[place].step(log) {
                    break;
                }
            }
        }
    }
    for place in [ALICE, BOB] {
        assert_eq!(envelopes(&world, place, &old).0, 0, "{place} has forgotten");
        assert!(!texts(&world, place).contains(&"sealed later".to_owned()));
        world.peers[place].feed.reveal();
    }
    rest(&mut world);
    let before = texts(&world, MALLORY);
    assert_eq!(before.len(), 14);
    has_forgotten(&world, &ALL, &old, &before);
    for place in ALL {
        world.restart(place);
    }
    rest(&mut world);
    // Everybody reads the documents from the disk.
    for place in ALL {
        read_all(&mut world, place);
    }
    goes_on(&mut world, &ALL);
}

/// A device that forks later is judged by what came after; what came before stays as it is.
#[test]
fn a_fork_after_it_leaves_what_was_before() {
    let mut world = prepared();
    let old = held(&world, ALICE);
    forget(&mut world);
    for place in ALL {
        world.send(place, &format!("new {place}"));
    }
    rest(&mut world);
    let before = texts(&world, ALICE);
    world.peers[MALLORY].command(Command::Close);
    let disk = world.peers[MALLORY].disk.clone();
    let known = world.log.clone();
    let mut records = Vec::new();
    for (seed, text) in [(101, "left"), (102, "right")] {
        let mut log = known.clone();
        let mut twin = Peer::open_as(3, disk.clone(), seed);
        while twin.step(&mut log) {}
        twin.command(send(&world, text));
        while twin.step(&mut log) {}
        for (topic, all) in &log.0 {
            let from = known.0.get(topic).map_or(0, Vec::len);
            records.extend(all[from..].iter().map(|record| (*topic, record.clone())));
        }
    }
    world.peers.pop();
    for (topic, record) in records {
        world.log.push(topic, record);
    }
    rest(&mut world);
    for round in 0..2 {
        for place in [ALICE, BOB] {
            let shown = shown(&world, place);
            assert_eq!(shown.forks.len(), 1, "{place} {round}");
            assert_eq!(shown.parked, 0, "{place} {round}");
            let listed: BTreeSet<String> = texts(&world, place).into_iter().collect();
            assert!(
                before.iter().all(|text| listed.contains(text)),
                "{listed:?}"
            );
            assert_eq!(texts(&world, place), texts(&world, ALICE));
            assert_eq!(heads(&world, place), heads(&world, ALICE));
            assert_eq!(envelopes(&world, place, &old).0, 0);
        }
        for place in [ALICE, BOB] {
            world.restart(place);
            world.send(place, &format!("on {round} {place}"));
        }
        rest(&mut world);
    }
    // With a fork known nothing more is forgotten, and that is said.
    forget(&mut world);
    assert!(shown(&world, BOB).forgetting.unwrap().disputed);
}

#[test]
fn a_saved_document_that_is_lost_is_named_and_the_rest_goes_on() {
    for value in [None, Some(Vec::new()), Some(vec![9; 40])] {
        let mut world = prepared();
        forget(&mut world);
        let before = texts(&world, BOB);
        let key = Key {
            kind: Kind::Snapshot,
            scope: world.conversation.0.to_vec(),
            order: 1_u32.to_be_bytes().to_vec(),
        };
        let peer = &mut world.peers[BOB];
        match value {
            None => drop(peer.disk.remove(&key).unwrap()),
            Some(value) => drop(peer.disk.insert(key, value).unwrap()),
        }
        world.restart(BOB);
        world.peers[BOB].events.clear();
        read_all(&mut world, BOB);
        let damaged = |event: &Event| matches!(event, Event::SegmentDamaged { segment: 1, .. });
        assert!(world.peers[BOB].events.iter().any(damaged));
        assert_eq!(shown(&world, BOB).away, [(1, Away::Damaged)]);
        let older = Command::Fetch(world.conversation, None);
        assert_eq!(world.answer(BOB, older), Err(CommandError::Forgotten));
        assert_eq!(texts(&world, BOB), before, "messages stay listed");
        world.send(ALICE, "goes on");
        world.restart(BOB);
        rest(&mut world);
        world.send(BOB, "as well");
        assert_eq!(texts(&world, ALICE).len(), 14);
        assert_eq!(texts(&world, BOB), texts(&world, ALICE));
    }
}

/// Listed again from the saved document, where no envelope tells who wrote it.
#[test]
fn a_lost_message_is_listed_again() {
    let mut world = prepared();
    forget(&mut world);
    let before = world.messages(BOB);
    let lost = world.peers[BOB].disk.keys();
    let mut lost =
        lost.filter(|key| key.kind == Kind::Message && key.scope == world.conversation.0);
    let key = lost.next().unwrap().clone();
    world.peers[BOB].disk.remove(&key);
    let damaged = sheaf_replica::DamagedRecord {
        conversation: world.conversation,
        kind: Kind::Message,
        order: key.order,
    };
    world.ask(BOB, Command::Repair(vec![damaged]));
    rest(&mut world);
    assert_eq!(world.messages(BOB), before);
}

#[test]
fn the_second_time_takes_what_came_since() {
    let mut world = prepared();
    let mut old = held(&world, ALICE);
    forget(&mut world);
    for place in ALL {
        world.send(place, &format!("between {place}"));
    }
    rest(&mut world);
    old.extend(held(&world, ALICE));
    forget(&mut world);
    let before = texts(&world, ALICE);
    assert_eq!(before.len(), 15);
    has_forgotten(&world, &ALL, &old, &before);
    away(&mut world, BOB);
    back(&mut world, BOB);
    goes_on(&mut world, &ALL);
}
