//! Newcomers are told everything that is for them, and what an earlier membership left is no
//! difference.

use sheaf_crypto::{DeviceId, History, Role, UserId};
use sheaf_replica::{Command, Draft, Event, Reply};

use crate::forge::{epochs, secrets};
use crate::guard::{DAY_MS, MINUTE_MS};
use crate::world::{ALICE, BOB, MALLORY, Peer, World};

/// Whoever is added late.
const CAROL: usize = 3;

fn user(world: &World, place: usize) -> UserId {
    world.peers[place].replica.overview().user.unwrap()
}

fn texts(world: &World, place: usize) -> Vec<String> {
    let listed = world.messages(place).into_iter();
    listed.map(|message| message.text).collect()
}

/// A conversation of the first three in which newcomers do not read the past.
fn prepared() -> World {
    let mut world = World::of(4);
    let create = Command::CreateConversation {
        name: "yard".to_owned(),
        members: vec![user(&world, BOB), user(&world, MALLORY)],
        segment_messages: None,
        history: History::SinceJoin,
    };
    let Reply::ConversationCreated(conversation) = world.ask(ALICE, create) else {
        panic!("a conversation was asked for");
    };
    world.conversation = conversation;
    world.send(ALICE, "old");
    world.send(BOB, "old too");
    world
}

fn addition(world: &World) -> Command {
    Command::AddMember {
        conversation: world.conversation,
        user: user(world, CAROL),
        role: Role::Writer,
    }
}

/// Alice adds Carol while nobody else reads: the addition, the cut and the epoch as they are
/// published for those who are in.
fn add_alone(world: &mut World) -> [Vec<u8>; 3] {
    let shown = world.peers[BOB].replica.conversation(&world.conversation);
    let writing = shown.unwrap().writing;
    let mut known = epochs(&world.peers[BOB].disk, &world.conversation).into_iter();
    let old = known.find(|epoch| Some(epoch.id) == writing).unwrap();
    let topic = old.keys.topic();
    let before = world.log.0[&topic].len();
    let add = addition(world);
    world.peers[ALICE].command(add);
    while world.peers[ALICE].step(&mut world.log) {}
    world.log.0[&topic][before..].to_vec().try_into().unwrap()
}

/// Lets acknowledgements come that wait for their time.
fn rest(world: &mut World) {
    for _ in 0..40 {
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

#[test]
fn an_epoch_drawn_without_knowing_the_newcomers_first_reaches_him() {
    let mut world = prepared();
    let [_, _, epoch] = add_alone(&mut world);
    // Bob is told of the addition and the cut, and not yet of the epoch that follows them.
    world.peers[BOB].feed.hidden.push(epoch);
    world.settle();
    world.ask(BOB, Command::Rotate(world.conversation));
    world.send(BOB, "under an epoch of his own");
    world.peers[BOB].feed.reveal();
    world.settle();
    rest(&mut world);
    world.send(ALICE, "welcome");
    for place in [ALICE, BOB, MALLORY] {
        let listed = texts(&world, place);
        assert_eq!(listed.len(), 4, "{place}: {listed:?}");
    }
    assert_eq!(
        texts(&world, CAROL),
        ["under an epoch of his own", "welcome"]
    );
    let of = |place: usize| world.peers[place].replica.conversation(&world.conversation);
    assert_eq!(of(CAROL).unwrap().parked, 0);
}

#[test]
fn a_run_that_goes_on_beside_another_is_read_by_a_newcomer() {
    let mut world = prepared();
    let conversation = world.conversation;
    let admin = Command::SetRole {
        conversation,
        user: user(&world, BOB),
        role: Role::Admin,
    };
    world.ask(ALICE, admin);
    // Bob knows of the addition alone: what he writes waits for the cut.
    let [_, cut, epoch] = add_alone(&mut world);
    world.peers[BOB].feed.hidden.extend([cut, epoch]);
    world.settle();
    world.peers[BOB].command(Command::Send {
        conversation,
        draft: Draft::text("of the first run"),
        token: None,
    });
    let old = &mut world.peers[BOB];
    let mut again = Peer::open_as(2, std::mem::take(&mut old.disk), 100);
    again.feed = std::mem::take(&mut old.feed);
    again.now = old.now;
    world.peers[BOB] = again;
    // What he does now is of another run; then the cut comes, and the first run goes on.
    world.ask(
        BOB,
        Command::RenameConversation {
            conversation,
            name: "renamed".to_owned(),
        },
    );
    world.peers[BOB].feed.reveal();
    world.settle();
    rest(&mut world);
    world.send(BOB, "of the new run");
    world.send(ALICE, "welcome");
    rest(&mut world);
    assert_eq!(texts(&world, CAROL), ["of the new run", "welcome"]);
    assert_eq!(texts(&world, ALICE).len(), 5);
    for peer in &world.peers {
        let shown = peer.replica.conversation(&conversation).unwrap();
        assert_eq!(shown.parked, 0, "{:?}", shown.waiting);
        assert!(shown.synced, "{:?}", shown.peers);
    }
}

#[test]
fn what_an_earlier_membership_left_is_no_difference() {
    let mut world = prepared();
    let conversation = world.conversation;
    let add = addition(&world);
    world.ask(ALICE, add);
    world.send(BOB, "while she is in");
    rest(&mut world);
    let remove = Command::RemoveMember {
        conversation,
        user: user(&world, CAROL),
    };
    world.ask(ALICE, remove);
    world.send(BOB, "while she is out");
    rest(&mut world);
    let add = addition(&world);
    world.ask(ALICE, add);
    for (place, text) in [(BOB, "again in"), (CAROL, "here I am"), (ALICE, "well")] {
        world.send(place, text);
        rest(&mut world);
    }
    assert!(!texts(&world, CAROL).contains(&"while she is out".to_owned()));
    for peer in &world.peers {
        let differ = |event: &&Event| matches!(event, Event::DocumentsDiffer { .. });
        let differs: Vec<&Event> = peer.events.iter().filter(differ).collect();
        assert!(differs.is_empty(), "nothing differs: {differs:?}");
    }
    let shown = world.peers[ALICE].replica.conversation(&conversation);
    assert!(shown.unwrap().synced);
}

#[test]
fn who_was_removed_weeks_ago_is_brought_back_and_reads_everything() {
    let mut world = World::new();
    let conversation = world.conversation;
    world.pass(60 * MINUTE_MS);
    world.pass(7 * DAY_MS + 60 * MINUTE_MS);
    rest(&mut world);
    let mallory = user(&world, MALLORY);
    let remove = Command::RemoveMember {
        conversation,
        user: mallory,
    };
    world.ask(ALICE, remove);
    // Her sealing keys go on ageing, and nobody hears of it.
    for _ in 0..8 {
        world.pass(7 * DAY_MS + 60 * MINUTE_MS);
        world.send(BOB, "while she is out");
        rest(&mut world);
    }
    world.ask(
        ALICE,
        Command::AddMember {
            conversation,
            user: mallory,
            role: Role::Writer,
        },
    );
    rest(&mut world);
    world.send(MALLORY, "back again");
    rest(&mut world);
    assert_eq!(texts(&world, MALLORY).len(), 3 + 8 + 1);
    assert_eq!(texts(&world, MALLORY), texts(&world, ALICE));
}

#[test]
fn what_somebody_names_before_it_is_here_counts_when_it_comes() {
    let mut world = prepared();
    let before = world.log.clone();
    // Mallory learns of Carol's addition last, so nothing of hers is with Carol by then.
    let hidden = add_alone(&mut world);
    world.peers[MALLORY].feed.hidden.extend(hidden);
    world.settle();
    rest(&mut world);
    let known = world.log.clone();
    world.peers[MALLORY].feed.reveal();
    while world.peers[MALLORY].step(&mut world.log) {}
    world.peers[MALLORY].command(Command::Send {
        conversation: world.conversation,
        draft: Draft::text("by Mallory"),
        token: None,
    });
    while world.peers[MALLORY].step(&mut world.log) {}
    assert!(known.0 != before.0 && known.0 != world.log.0);
    let of = |topic, records: &Vec<Vec<u8>>| {
        let known: usize = known.0.get(topic).map_or(0, Vec::len);
        records[known..].to_vec()
    };
    let hers = world.log.0.iter().flat_map(|(topic, r)| of(topic, r));
    let hers: Vec<Vec<u8>> = hers.collect();
    world.peers[CAROL].feed.hidden.extend(hers);
    // Bob acknowledges what she wrote, and says nothing after it.
    world.settle();
    rest(&mut world);
    world.restart(CAROL);
    world.peers[CAROL].feed.reveal();
    world.settle();
    rest(&mut world);
    assert_eq!(texts(&world, CAROL), ["by Mallory"]);
    let shown = world.peers[CAROL].replica.conversation(&world.conversation);
    let shown = shown.unwrap();
    assert!(shown.synced, "{:?}", shown.peers);
}

#[test]
fn much_that_is_known_and_comes_again_after_a_restart_is_compared_one_by_one() {
    let mut world = World::new();
    let sent = ["a", "b", "c", "d", "e", "f"];
    for text in sent {
        world.send(ALICE, text);
    }
    let before = texts(&world, BOB);
    world.restart(BOB);
    let bob: DeviceId = secrets(&world.peers[BOB].disk).device();
    let export = Command::Export {
        conversation: world.conversation,
        device: bob,
    };
    let Reply::Exported(records) = world.ask(ALICE, export) else {
        panic!("a bundle was asked for");
    };
    // That the world comes to rest is what is seen here: each record asks the store what is known
    // at its place.
    world.ask(BOB, Command::ImportBundle { records });
    assert_eq!(texts(&world, BOB), before);
    world.goes_on();
}
