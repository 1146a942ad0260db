//! Attack 13 of research/keys.md 4: a device that signs two histories, each shown to others first.

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sheaf_crypto::{
    Body, ConversationId, DeviceId, Evidence, Inner, ItemId, Operation, Role, SignedOperation,
    item_of_record, open, seal,
};
use sheaf_protocol::TopicId;
use sheaf_replica::record::Kind;
use sheaf_replica::{Act, Command, DeviceChange, Draft, Misbehaviour, Suspect};

use crate::forge::{epochs, only_epoch, secrets, written};
use crate::relay::Log;
use crate::roles::rest;
use crate::world::{ALICE, BOB, Disk, MALLORY, Peer, World};

type Records = Vec<(TopicId, Vec<u8>)>;

/// The last person of the world is the one who forks.
struct Forked {
    world: World,
    left: Records,
    right: Records,
}

/// What a device writes that goes on from a disk as if nothing else had.
fn twin(number: u8, disk: &Disk, log: &Log, seed: u8, acts: Vec<Command>) -> Records {
    let mut log = log.clone();
    let before = log.clone();
    let mut peer = Peer::open_as(number, disk.clone(), seed);
    while peer.step(&mut log) {}
    for act in acts {
        peer.command(act);
        while peer.step(&mut log) {}
    }
    let mut records = Records::new();
    for (topic, all) in &log.0 {
        let known = before.0.get(topic).map_or(0, Vec::len);
        records.extend(all[known..].iter().map(|record| (*topic, record.clone())));
    }
    records
}

fn fork(people: u8, left: &[&str], right: &[&str]) -> Forked {
    let mut world = World::of(people);
    let forker = world.peers.len() - 1;
    world.send(forker, "before");
    let here = world.conversation;
    let say = |texts: &[&str]| texts.iter().map(|text| send(here, text)).collect();
    fork_world(world, say(left), say(right))
}

fn send(conversation: ConversationId, text: &str) -> Command {
    Command::Send {
        conversation,
        draft: Draft::text(text),
        token: None,
    }
}

fn fork_world(mut world: World, left: Vec<Command>, right: Vec<Command>) -> Forked {
    let forker = world.peers.len() - 1;
    let people = u8::try_from(world.peers.len()).unwrap();
    world.peers[forker].command(Command::Close);
    let disk = world.peers[forker].disk.clone();
    let left = twin(people, &disk, &world.log, 101, left);
    let right = twin(people, &disk, &world.log, 102, right);
    assert_ne!(left, right);
    world.peers.pop();
    Forked { world, left, right }
}

impl Forked {
    /// Puts both histories at the relay, which shows to each the one that `sees_left` says.
    fn show(&mut self, sees_left: impl Fn(usize) -> bool) {
        for (place, peer) in self.world.peers.iter_mut().enumerate() {
            let hidden = if sees_left(place) {
                &self.right
            } else {
                &self.left
            };
            peer.feed.hidden = hidden.iter().map(|(_, record)| record.clone()).collect();
        }
        for (topic, record) in self.left.iter().chain(&self.right) {
            self.world.log.push(*topic, record.clone());
        }
        self.world.settle();
    }

    fn reveal(&mut self, place: usize) {
        self.world.peers[place].feed.reveal();
        self.world.settle();
    }

    fn reveal_all(&mut self) {
        for place in 0..self.world.peers.len() {
            self.reveal(place);
        }
    }

    fn texts(&self, place: usize) -> Vec<String> {
        let messages = self.world.messages(place).into_iter();
        messages.map(|message| message.text).collect()
    }

    /// All honest devices are equal, nobody waits, and the forker is frozen everywhere.
    fn agree(&mut self) {
        let shown = |world: &World, place: usize| {
            let shown = world.peers[place].replica.conversation(&world.conversation);
            let shown = shown.unwrap();
            let roles: Vec<_> = shown.members.into_iter().map(|m| (m.0, m.2, m.3)).collect();
            (shown.heads, shown.parked, shown.forks, roles)
        };
        for place in 0..self.world.peers.len() {
            assert_eq!(self.texts(place), self.texts(ALICE), "messages of {place}");
            assert_eq!(
                shown(&self.world, place),
                shown(&self.world, ALICE),
                "{place}"
            );
            assert_eq!(shown(&self.world, place).1, 0, "{place} waits");
        }
    }

    /// Everybody writes, everybody reads it, also after a restart.
    fn goes_on(&mut self) {
        for round in ["then", "after a restart"] {
            for place in 0..self.world.peers.len() {
                let text = format!("{round} {place}");
                self.world.send(place, &text);
                assert!(self.texts(ALICE).contains(&text), "{text}");
            }
            self.agree();
            for place in 0..self.world.peers.len() {
                self.world.restart(place);
            }
        }
        self.agree();
    }

    fn proofs(&self, place: usize) -> usize {
        let mut operations = 0;
        for key in self.world.peers[place].disk.keys() {
            operations += usize::from(key.kind == Kind::Operation);
        }
        operations
    }
}

#[test]
fn siblings_seen_in_different_orders_converge() {
    for people in 2..=5 {
        for pattern in 0..1_usize << (people - 1) {
            let mut forked = fork(people, &["left", "left more"], &["right", "right more"]);
            forked.show(|place| pattern >> place & 1 == 0);
            forked.reveal_all();
            println!("{people} people, pattern {pattern:b}");
            forked.agree();
            let texts = forked.texts(ALICE);
            let sides = [
                texts.contains(&"left".to_owned()),
                texts.contains(&"right".to_owned()),
            ];
            assert_eq!(sides.iter().filter(|side| **side).count(), 1, "{texts:?}");
            forked.goes_on();
        }
    }
}

#[test]
fn edits_built_on_the_loser_are_written_again() {
    for pattern in 0..8_usize {
        let mut forked = fork(4, &["left"], &["right"]);
        forked.show(|place| pattern >> place & 1 == 0);
        // Only what was shown the same meets before all is revealed.
        for place in 0..3 {
            forked.world.send(place, &format!("honest {place}"));
        }
        forked.reveal_all();
        println!("pattern {pattern:b}");
        forked.agree();
        let texts = forked.texts(ALICE);
        for place in 0..3 {
            let text = format!("honest {place}");
            let count = texts.iter().filter(|known| **known == text).count();
            assert_eq!(count, 1, "{texts:?}");
        }
        forked.goes_on();
    }
}

#[test]
fn a_side_that_no_relay_shows_is_brought_by_other_devices() {
    for (pattern, restarted) in (1..7_usize).flat_map(|pattern| [(pattern, false), (pattern, true)])
    {
        let mut forked = fork(4, &["left"], &["right"]);
        // The relay shows each side to some, in one place, and never the other one.
        assert_eq!(forked.left.len(), forked.right.len());
        for place in (0..3).filter(|place| pattern >> place & 1 == 1) {
            let sides = forked.left.iter().zip(&forked.right);
            let instead = sides.map(|((_, left), (_, right))| (left.clone(), right.clone()));
            forked.world.peers[place].feed.instead = instead.collect();
        }
        for (topic, left) in forked.left.clone() {
            forked.world.log.push(topic, left);
        }
        forked.world.settle();
        // What is written on one side waits on the other.
        for place in 0..3 {
            forked.world.send(place, &format!("honest {place}"));
        }
        for place in (0..3).filter(|_| restarted) {
            forked.world.restart(place);
        }
        rest(&mut forked.world);
        println!("pattern {pattern:b}, restarted {restarted}");
        if restarted {
            // Which item was known at the place is forgotten: the documents tell that they differ.
            let here = forked.world.conversation;
            let replica = |place: usize| &forked.world.peers[place].replica;
            let heads = |place: usize| replica(place).conversation(&here).unwrap().heads;
            let texts = (forked.texts(BOB), forked.texts(MALLORY));
            assert_eq!(texts, (forked.texts(ALICE), forked.texts(ALICE)));
            assert_eq!((heads(BOB), heads(MALLORY)), (heads(ALICE), heads(ALICE)));
        } else {
            forked.agree();
            forked.goes_on();
        }
    }
}

#[test]
fn the_side_that_most_acknowledged_stands() {
    for seen in ["left", "right"] {
        let mut forked = fork(4, &["left"], &["right"]);
        forked.show(|_| seen == "left");
        for place in 0..3 {
            forked.world.send(place, &format!("honest {place}"));
        }
        forked.reveal_all();
        forked.agree();
        let texts = forked.texts(BOB);
        assert!(
            texts.contains(&seen.to_owned()),
            "a late sibling won: {texts:?}"
        );
        assert!(
            forked.world.peers[BOB]
                .replica
                .conversation(&forked.world.conversation)
                .unwrap()
                .forks[0]
                .settled
        );
        forked.goes_on();
    }
}

#[test]
fn a_proof_that_comes_first_freezes_and_all_agree_later() {
    let mut forked = fork(4, &["left"], &["right"]);
    // Bob sees neither side for a while, only what the others say of it.
    forked.show(|place| place == ALICE);
    forked.reveal(ALICE);
    let mut operations = forked.proofs(ALICE);
    assert_eq!(
        forked.proofs(BOB),
        operations,
        "the proof is with everybody"
    );
    let device = forked.world.peers[ALICE]
        .replica
        .conversation(&forked.world.conversation)
        .unwrap()
        .forks[0]
        .device;
    assert!(forked.world.peers[BOB].frozen(&forked.world.conversation, &device));
    forked.world.restart(BOB);
    forked.reveal(BOB);
    forked.reveal_all();
    forked.agree();
    // Nobody shows again what is known.
    assert_eq!(forked.proofs(BOB), operations);
    forked.goes_on();
    operations = forked.proofs(ALICE);
    forked.world.restart(BOB);
    assert_eq!(forked.proofs(BOB), operations);
}

#[test]
fn a_restart_between_the_sides() {
    let mut forked = fork(4, &["left", "left more"], &["right", "right more"]);
    forked.show(|place| place == ALICE);
    for place in 0..3 {
        forked.world.restart(place);
        forked.world.send(place, &format!("honest {place}"));
    }
    for place in 0..3 {
        forked.world.restart(place);
        forked.reveal(place);
        forked.world.restart(place);
    }
    forked.agree();
    forked.goes_on();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn any_order(
        people in 2_u8..=5,
        pattern in 0_usize..16,
        steps in prop::collection::vec((0_usize..4, 0_u8..4), 0..12),
    ) {
        let mut forked = fork(people, &["left", "left more"], &["right"]);
        forked.show(|place| pattern >> place & 1 == 0);
        for (number, (place, step)) in steps.into_iter().enumerate() {
            let place = place % forked.world.peers.len();
            match step {
                0 | 1 => forked.world.send(place, &format!("honest {number}")),
                2 => forked.reveal(place),
                _ => forked.world.restart(place),
            }
        }
        forked.reveal_all();
        forked.agree();
        forked.goes_on();
    }
}

#[test]
fn of_a_forker_removals_stand_and_grants_that_nobody_built_on_are_void() {
    for pattern in 0..8_usize {
        let mut world = World::of(5);
        let user =
            |world: &World, place: usize| world.peers[place].replica.overview().user.unwrap();
        let (bob, mallory, forker) = (user(&world, BOB), user(&world, MALLORY), user(&world, 4));
        let here = world.conversation;
        let set_role = |user, role| Command::SetRole {
            conversation: here,
            user,
            role,
        };
        world.ask(ALICE, set_role(forker, Role::Admin));
        let remove = Command::RemoveMember {
            conversation: here,
            user: mallory,
        };
        let mut forked = fork_world(world, vec![set_role(bob, Role::Admin)], vec![remove]);
        forked.show(|place| pattern >> place & 1 == 0);
        forked.reveal_all();
        println!("pattern {pattern:b}");
        // Who is removed cannot follow any longer.
        forked.world.peers.remove(MALLORY);
        forked.agree();
        let shown = forked.world.peers[ALICE]
            .replica
            .conversation(&here)
            .unwrap();
        let roles: Vec<_> = shown
            .members
            .iter()
            .map(|member| (member.0, member.2))
            .collect();
        assert!(roles.contains(&(bob, Role::Writer)), "{roles:?}");
        assert!(!roles.iter().any(|(user, _)| *user == mallory), "{roles:?}");
        assert_eq!(shown.frozen.len(), 1);
        forked.goes_on();
    }
}

#[test]
fn a_senior_device_of_the_same_person_thaws_a_forker() {
    // Alice's second device is in Mallory's place, and forks.
    let world = World::with_two_devices();
    let here = world.conversation;
    let device = secrets(&world.peers[MALLORY].disk).device();
    let mut forked = fork_world(world, vec![send(here, "left")], vec![send(here, "right")]);
    forked.show(|place| place == ALICE);
    forked.reveal_all();
    forked.agree();
    for place in [ALICE, BOB] {
        assert!(forked.world.peers[place].frozen(&here, &device));
    }
    forked.goes_on();
    assert!(
        forked.world.peers[BOB].frozen(&here, &device),
        "nobody thaws it by himself"
    );
    let change = Command::ChangeDevice {
        device,
        change: DeviceChange::Thaw,
    };
    forked.world.ask(ALICE, change);
    for place in [ALICE, BOB] {
        assert!(!forked.world.peers[place].frozen(&here, &device));
    }
    forked.agree();
    forked.goes_on();
}

/// Seals an operation of Mallory's under the only epoch, and has everybody read it.
fn operate(world: &mut World, author: usize, body: Body) -> Vec<Misbehaviour> {
    let secrets = secrets(&world.peers[author].disk);
    let epoch = only_epoch(world, author);
    let last = written(&world.log, &epoch.keys, &secrets).pop().unwrap();
    let records = &world.log.0[&epoch.keys.topic()];
    let mut previous = None;
    for record in records {
        let opened = open(&epoch.keys, record).unwrap();
        if opened.device() == secrets.device() {
            previous = Some(item_of_record(record));
        }
    }
    let operation = Operation {
        conversation: world.conversation,
        author: secrets.device(),
        user: last.user,
        incarnation: last.incarnation,
        run: last.run,
        seq: last.seq + 1,
        previous,
        parents: last.control_heads.clone(),
        body,
    };
    let signed = SignedOperation::sign(&operation, &secrets).unwrap();
    let inner = Inner {
        kind: sheaf_crypto::Kind::Control,
        seq: operation.seq,
        previous,
        body: signed.to_bytes().unwrap(),
        ..last
    };
    let mut rng = ChaCha20Rng::from_seed([77; 32]);
    let record = seal(&epoch.keys, &inner, &secrets, &mut rng).unwrap();
    world.peers[BOB].misbehaviour();
    world.inject(epoch.keys.topic(), record);
    world.peers[BOB].misbehaviour()
}

/// What a device signed, as a proof shows it.
fn shown(world: &World, conversation: &ConversationId, device: DeviceId) -> Vec<Evidence> {
    let mut shown = Vec::new();
    for epoch in epochs(&world.peers[BOB].disk, conversation) {
        for record in &world.log.0[&epoch.keys.topic()] {
            let opened = open(&epoch.keys, record).unwrap();
            if opened.device() == device {
                shown.push(opened.evidence(item_of_record(record)));
            }
        }
    }
    shown
}

#[test]
fn false_proofs_are_refused_and_named() {
    let mut world = World::new();
    let bob = secrets(&world.peers[BOB].disk).device();
    let mallory = secrets(&world.peers[MALLORY].disk).device();
    let here = world.conversation;
    world.send(BOB, "again");
    // One run spans conversations, and places are counted in each from one.
    let other = world.found("yard");
    world.send_to(BOB, other, "elsewhere");
    let own = shown(&world, &here, bob);
    let elsewhere = shown(&world, &other, bob);
    assert!(own.len() > 1 && !elsewhere.is_empty());
    let mut altered = own[0].clone();
    if let Evidence::Shown(shown) = &mut altered {
        shown.commitment[0] ^= 1;
    }
    let proofs = [
        ("of two conversations", own[0].clone(), elsewhere[0].clone()),
        ("of two places", own[0].clone(), own[1].clone()),
        ("of one item", own[0].clone(), own[0].clone()),
        ("with a broken signature", own[0].clone(), altered),
        (
            "that names what nobody has",
            own[0].clone(),
            Evidence::Named(ItemId([9; 32])),
        ),
    ];
    for (what, first, second) in proofs {
        let mut world = World::new();
        world.send(BOB, "again");
        let reports = operate(&mut world, MALLORY, Body::Equivocation { first, second });
        println!("{what}: {reports:?}");
        assert_eq!(reports.len(), 1, "{what}");
        assert_eq!(reports[0].by, Suspect::Device(mallory), "{what}");
        assert!(matches!(reports[0].act, Act::RefusedOperation(_)), "{what}");
        assert!(
            !world.peers[ALICE].frozen(&world.conversation, &bob),
            "{what}"
        );
    }
}
