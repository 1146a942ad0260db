//! Devices that come in after a statement begin at its cut, and what comes late is not waited for.

use sheaf_crypto::{EpochId, Role};
use sheaf_protocol::TopicId;
use sheaf_replica::record::Kind;
use sheaf_replica::{Command, CommandError, Event, Keep, Reply};
use std::collections::BTreeSet;

use crate::relay::Log;
use crate::world::{ALICE, BOB, Disk, MALLORY, Peer, World};
use crate::{
    ALL, away, back, device, envelopes, forget, goes_on, has_forgotten, held, holds_any, prepared,
    rest, shown, texts,
};

/// One more device of somebody's, in the next place.
fn link(world: &mut World, whose: usize) -> usize {
    let place = world.peers.len();
    let number = u8::try_from(place + 1).unwrap();
    world.peers.push(Peer::open_as(number, Disk::new(), number));
    let Reply::LinkStarted { code } = world.ask(whose, Command::StartLink) else {
        panic!("a code was asked for");
    };
    let device = "second".to_owned();
    world.ask(place, Command::JoinAccount { code, device });
    let mut events = world.peers[place].events.iter();
    let digits = events.find_map(|event| match event {
        Event::LinkDigits { digits, .. } => Some(digits.clone()),
        _ => None,
    });
    let digits = digits.expect("digits are shown");
    world.ask(whose, Command::ApproveLink { digits });
    rest(world);
    place
}

fn begins_at_the_cut(world: &World, place: usize, old: &BTreeSet<EpochId>, read: &[&str]) {
    assert_eq!(texts(world, place), read);
    assert!(!holds_any(world, place, old));
    assert_eq!(envelopes(world, place, old).0, 0);
    let shown = shown(world, place);
    assert_eq!((shown.parked, shown.waiting), (0, Vec::new()));
    assert!(shown.since.is_some());
    assert_eq!(shown.forgetting, None);
}

#[test]
fn a_device_that_is_linked_later_begins_at_the_cut() {
    let mut world = prepared();
    let old = held(&world, ALICE);
    forget(&mut world);
    world.send(BOB, "new");
    let second = link(&mut world, ALICE);
    begins_at_the_cut(&world, second, &old, &["new"]);
    world.send(second, "from the second");
    world.send(ALICE, "from the first");
    rest(&mut world);
    let read = ["new", "from the second", "from the first"];
    begins_at_the_cut(&world, second, &old, &read);
    for place in [ALICE, BOB, MALLORY, second] {
        assert!(shown(&world, place).synced, "{place}");
        world.restart(place);
    }
    rest(&mut world);
    begins_at_the_cut(&world, second, &old, &read);
    for place in ALL {
        assert_eq!(texts(&world, place).len(), 15);
        assert!(!holds_any(&world, place, &old));
    }
}

#[test]
fn so_does_one_that_is_linked_before_the_others_have_forgotten() {
    let mut world = prepared();
    let old = held(&world, ALICE);
    away(&mut world, BOB);
    forget(&mut world);
    world.send(MALLORY, "new");
    let second = link(&mut world, ALICE);
    assert!(held(&world, ALICE).is_superset(&old));
    begins_at_the_cut(&world, second, &old, &["new"]);
    // Bob knows of neither, and writes as before.
    world.send(BOB, "before the cut");
    back(&mut world, BOB);
    rest(&mut world);
    begins_at_the_cut(&world, second, &old, &["new"]);
    world.send(BOB, "after the cut");
    rest(&mut world);
    begins_at_the_cut(&world, second, &old, &["new", "after the cut"]);
    let before = texts(&world, ALICE);
    assert!(before.contains(&"before the cut".to_owned()));
    has_forgotten(&world, &ALL, &old, &before);
    assert!(shown(&world, second).synced);
}

#[test]
fn a_device_that_was_linked_beside_the_statement_reads_everything_first() {
    let mut world = prepared();
    let old = held(&world, ALICE);
    // Alice's other device comes in where Mallory, an admin, has not told of the cut yet.
    world.ask(
        ALICE,
        Command::SetRole {
            conversation: world.conversation,
            user: crate::user(&world, MALLORY),
            role: Role::Admin,
        },
    );
    rest(&mut world);
    away(&mut world, MALLORY);
    world.ask(MALLORY, Command::ForgetHistory(world.conversation));
    let second = link(&mut world, ALICE);
    assert_eq!(texts(&world, second), texts(&world, ALICE));
    back(&mut world, MALLORY);
    rest(&mut world);
    let before = texts(&world, ALICE);
    let all = [ALICE, BOB, MALLORY, second];
    has_forgotten(&world, &all, &old, &before);
    goes_on(&mut world, &all);
}

#[test]
fn what_comes_late_is_dropped_and_named_once() {
    let mut world = prepared();
    away(&mut world, BOB);
    world.send(ALICE, "in a file as well");
    let export = Command::Export {
        conversation: world.conversation,
        device: device(&world, BOB),
    };
    let Reply::Exported(records) = world.ask(ALICE, export) else {
        panic!("a file was asked for");
    };
    back(&mut world, BOB);
    forget(&mut world);
    let before = texts(&world, BOB);
    assert!(before.contains(&"in a file as well".to_owned()));
    let noted = |world: &World| {
        let audit = world.peers[BOB].disk.iter();
        let audit = audit.filter(|(key, _)| key.kind == Kind::Audit);
        let words = audit.map(|(_, value)| String::from_utf8_lossy(value).into_owned());
        let late = words.filter(|words| words.contains("a record came of before a cut"));
        late.count()
    };
    assert_eq!(noted(&world), 0);
    for _ in 0..2 {
        let records = records.clone();
        world.ask(BOB, Command::ImportBundle { records });
        rest(&mut world);
        assert_eq!(noted(&world), 1);
        world.restart(BOB);
    }
    assert_eq!(texts(&world, BOB), before);
    assert_eq!(shown(&world, BOB).parked, 0);
    let old = held(&world, BOB);
    goes_on(&mut world, &ALL);
    assert_eq!(held(&world, BOB), old);
}

#[test]
fn what_was_dropped_before_cannot_be_fetched_any_more_and_nothing_more_is_dropped() {
    let mut world = prepared();
    let set = |keep| Command::SetKeep {
        conversation: world.conversation,
        keep: Some(keep),
    };
    let (few, fewer) = (set(Keep::Messages(6)), set(Keep::Messages(1)));
    world.ask(BOB, few);
    rest(&mut world);
    assert_eq!(shown(&world, BOB).away.len(), 1);
    assert_eq!(texts(&world, BOB).len(), 8);
    forget(&mut world);
    let older = Command::Fetch(world.conversation, None);
    assert_eq!(world.answer(BOB, older), Err(CommandError::Forgotten));
    assert_eq!(shown(&world, BOB).away.len(), 1);
    for number in 0..8 {
        world.send(ALICE, &format!("new {number}"));
    }
    rest(&mut world);
    world.ask(BOB, fewer);
    rest(&mut world);
    assert!(texts(&world, BOB).contains(&"old 4".to_owned()));
    assert_eq!(texts(&world, ALICE).len(), 20);
    world.restart(BOB);
    let older = Command::Fetch(world.conversation, None);
    let older = world.answer(BOB, older);
    assert!(older != Ok(Reply::NothingOlder), "{older:?}");
}

/// With the epochs of before.
fn mallory_is_removed_while_away() -> (World, BTreeSet<EpochId>) {
    let mut world = prepared();
    let old = held(&world, ALICE);
    away(&mut world, MALLORY);
    let (conversation, user) = (world.conversation, crate::user(&world, MALLORY));
    world.ask(ALICE, Command::RemoveMember { conversation, user });
    rest(&mut world);
    (world, old)
}

#[test]
fn what_a_removed_member_still_wrote_and_only_one_took_in_comes_to_the_others_with_the_log() {
    let (mut world, old) = mallory_is_removed_while_away();
    let (conversation, user) = (world.conversation, crate::user(&world, MALLORY));
    world.ask(MALLORY, Command::RemoveMember { conversation, user });
    world.ask(ALICE, Command::ForgetHistory(conversation));
    // Alice waits for Bob to acknowledge it, and takes in what Bob cannot read any more.
    assert!(holds_any(&world, ALICE, &old) && !holds_any(&world, BOB, &old));
    back(&mut world, MALLORY);
    world.send(ALICE, "names that as seen");
    rest(&mut world);
    for place in [ALICE, BOB] {
        let shown = shown(&world, place);
        assert_eq!((shown.parked, shown.waiting.len()), (0, 0), "{place}");
        assert!(
            shown.synced && shown.forgetting.is_none(),
            "{place} {shown:#?}"
        );
        assert!(!holds_any(&world, place, &old), "{place}");
    }
    goes_on(&mut world, &[ALICE, BOB]);
}

/// Two admins bring somebody back at once, and only one of them knows that something is forgotten: who
/// was brought back reads all that the other one wrote for him.
#[test]
fn who_is_brought_back_beside_the_statement_misses_nothing() {
    let mut world = prepared();
    let (conversation, mallory) = (world.conversation, crate::user(&world, MALLORY));
    let role = Command::SetRole {
        conversation,
        user: crate::user(&world, BOB),
        role: Role::Admin,
    };
    world.ask(ALICE, role);
    rest(&mut world);
    let card = world.peers[MALLORY].replica.overview().card.unwrap();
    world.ask(BOB, Command::AddContact { card, alias: None });
    for place in ALL {
        away(&mut world, place);
    }
    let user = mallory;
    world.ask(ALICE, Command::CutHistory(conversation));
    world.ask(ALICE, Command::RemoveMember { conversation, user });
    world.send(ALICE, "while he is out");
    world.ask(BOB, Command::ForgetHistory(conversation));
    let add = || Command::AddMember {
        conversation,
        user,
        role: Role::Writer,
    };
    back(&mut world, ALICE);
    away(&mut world, ALICE);
    back(&mut world, BOB);
    world.ask(BOB, add());
    rest(&mut world);
    world.ask(ALICE, add());
    world.send(ALICE, "for him");
    back(&mut world, ALICE);
    back(&mut world, MALLORY);
    world.send(ALICE, "after all");
    rest(&mut world);
    let read = texts(&world, MALLORY);
    for text in ["while he is out", "for him", "after all"] {
        assert!(read.contains(&text.to_owned()), "{text}: {read:?}");
    }
    let differ = |peer: &Peer| {
        let mut events = peer.events.iter();
        events.any(|event| matches!(event, Event::DocumentsDiffer { .. }))
    };
    assert!(!world.peers.iter().any(differ));
    for place in ALL {
        assert!(shown(&world, place).synced, "{place}");
    }
}

/// Mallory's second device has written something that nobody has, when the first one leaves.
fn leaves_with_something_unsent(world: &mut World) -> usize {
    let second = link(world, MALLORY);
    rest(world);
    away(world, second);
    world.send(second, "unsent");
    let (conversation, user) = (world.conversation, crate::user(world, MALLORY));
    world.ask(MALLORY, Command::RemoveMember { conversation, user });
    rest(world);
    second
}

#[test]
fn what_a_leaver_had_not_sent_counts() {
    let mut world = prepared();
    let second = leaves_with_something_unsent(&mut world);
    back(&mut world, second);
    rest(&mut world);
    for place in [ALICE, BOB] {
        assert!(
            texts(&world, place).contains(&"unsent".to_owned()),
            "{place}"
        );
    }
    goes_on(&mut world, &[ALICE, BOB]);
}

#[test]
fn unless_others_are_about_to_forget() {
    let mut world = prepared();
    let old = held(&world, ALICE);
    let second = leaves_with_something_unsent(&mut world);
    let before = texts(&world, ALICE);
    world.ask(ALICE, Command::ForgetHistory(world.conversation));
    // Alice waits for Bob to acknowledge it, and could still read what Bob cannot.
    assert!(holds_any(&world, ALICE, &old) && !holds_any(&world, BOB, &old));
    back(&mut world, second);
    world.send(ALICE, "new");
    rest(&mut world);
    let texts = [before, vec!["new".to_owned()]].concat();
    has_forgotten(&world, &[ALICE, BOB], &old, &texts);
    goes_on(&mut world, &[ALICE, BOB]);
}

/// Every record that the relay has.
fn published(world: &World) -> Vec<Vec<u8>> {
    world.log.0.values().flatten().cloned().collect()
}

#[test]
fn what_was_kept_back_and_erased_is_never_built_on() {
    let (mut world, old) = mallory_is_removed_while_away();
    // What Mallory writes without knowing it comes to Alice alone.
    world.send(MALLORY, "unheard");
    away(&mut world, BOB);
    let mut feed = std::mem::take(&mut world.peers[BOB].feed);
    let known = published(&world);
    back(&mut world, MALLORY);
    let unheard = published(&world)
        .into_iter()
        .filter(|record| !known.contains(record));
    feed.hidden.extend(unheard);
    world.peers[BOB].feed = feed;
    back(&mut world, BOB);
    let kept_by = |world: &World, place: usize| {
        let disk = world.peers[place].disk.iter();
        disk.filter(|(key, _)| key.kind == Kind::Withheld).count()
    };
    assert_eq!((kept_by(&world, ALICE), kept_by(&world, BOB)), (1, 0));
    assert_eq!(shown(&world, BOB).parked, 0);
    let before = texts(&world, ALICE);
    forget(&mut world);
    has_forgotten(&world, &[ALICE, BOB], &old, &before);
    assert_eq!((kept_by(&world, ALICE), kept_by(&world, BOB)), (1, 0));
    goes_on(&mut world, &[ALICE, BOB]);
}

/// What a device is shown of a forgetting that it was away for: the cut and the secrets after it, and
/// nothing else that was published since.
fn only_the_cut(world: &mut World, before: &Log, topics: &[TopicId], places: &[usize]) {
    let of_cut = topics.iter().flat_map(|topic| {
        let of_topic = world.log.0[topic].iter();
        of_topic.skip(before.0[topic].len()).take(2)
    });
    let told: BTreeSet<Vec<u8>> = before.0.values().flatten().chain(of_cut).cloned().collect();
    let later = published(world).into_iter();
    let later: Vec<Vec<u8>> = later.filter(|record| !told.contains(record)).collect();
    for place in places {
        world.peers[*place].feed.hidden.extend(later.clone());
    }
}

/// Comes to the relay, and goes before it acknowledges anything.
fn drop_in(world: &mut World, place: usize) {
    world.peers[place].link_up();
    world.settle();
    let knows = shown(world, place);
    assert_eq!((knows.forgetting, knows.since), (None, None), "{place}");
}

/// Mallory comes to know of a cut, and not yet that it is forgotten, that he was removed for it and is
/// brought back. What he writes under it counts, and what he wrote before it is his alone.
fn who_knows_the_cut_alone(restarted: bool, linked: bool) {
    let mut world = prepared();
    let mut his = vec![MALLORY];
    if linked {
        his.push(link(&mut world, MALLORY));
        rest(&mut world);
    }
    let all: Vec<usize> = [ALICE, BOB].into_iter().chain(his.clone()).collect();
    let (conversation, user) = (world.conversation, crate::user(&world, MALLORY));
    let old = held(&world, ALICE);
    let mut feeds = Vec::new();
    for place in his.iter().rev() {
        away(&mut world, *place);
        feeds.push(std::mem::take(&mut world.peers[*place].feed));
    }
    world.send(MALLORY, "before");
    let (before, topics) = (world.log.clone(), shown(&world, ALICE).topics);
    forget(&mut world);
    world.ask(ALICE, Command::RemoveMember { conversation, user });
    rest(&mut world);
    assert!(!holds_any(&world, ALICE, &old) && !holds_any(&world, BOB, &old));
    let add = Command::AddMember {
        conversation,
        user,
        role: Role::Writer,
    };
    world.ask(ALICE, add);
    world.send(ALICE, "meanwhile");
    rest(&mut world);
    for place in &his {
        world.peers[*place].feed = feeds.pop().unwrap();
    }
    only_the_cut(&mut world, &before, &topics, &his);
    away(&mut world, ALICE);
    away(&mut world, BOB);
    drop_in(&mut world, MALLORY);
    if restarted {
        // He names his earlier run as seen, of which the others cannot read the last item.
        world.restart(MALLORY);
        drop_in(&mut world, MALLORY);
    }
    world.send(MALLORY, "under the cut");
    for place in &his {
        drop_in(&mut world, *place);
        assert!(
            texts(&world, *place).ends_with(&["before".to_owned(), "under the cut".to_owned()])
        );
    }
    for place in &his {
        away(&mut world, *place);
    }
    back(&mut world, ALICE);
    back(&mut world, BOB);
    for place in his.iter().rev() {
        world.peers[*place].feed.reveal();
        back(&mut world, *place);
        world.send(*place, "back again");
        rest(&mut world);
    }
    let told = |place: usize| {
        let events = world.peers[place].events.iter();
        events
            .filter(|event| matches!(event, Event::LeftBehind { items: 1, .. }))
            .count()
    };
    for place in all.iter().copied() {
        assert_eq!(told(place), usize::from(place == MALLORY), "{place}");
    }
    all_but_one_message_is_everywhere(&mut world, &all, &old);
}

/// Twice, with a restart: whoever has it, "before" is read by nobody else, and all the rest by everybody.
fn all_but_one_message_is_everywhere(world: &mut World, all: &[usize], old: &BTreeSet<EpochId>) {
    for round in 0..2 {
        for place in all {
            world.send(*place, &format!("{round} of {place}"));
        }
        rest(world);
        let read = |place: usize| -> Vec<String> {
            let texts = texts(world, place).into_iter();
            texts.filter(|text| text != "before").collect()
        };
        for place in all.iter().copied() {
            let shown = shown(world, place);
            assert_eq!((shown.parked, shown.waiting), (0, Vec::new()), "{place}");
            assert_eq!(read(place), read(ALICE), "{place}");
            assert!(read(place).contains(&"under the cut".to_owned()), "{place}");
            assert!(!holds_any(world, place, old), "{place}");
            assert!(shown.synced, "{place} {:#?}", shown.peers);
        }
        for place in all {
            world.restart(*place);
        }
        rest(world);
    }
}

#[test]
fn who_knows_the_cut_alone_and_was_brought_back_goes_on() {
    who_knows_the_cut_alone(false, false);
}

#[test]
fn so_does_who_was_restarted_in_between() {
    who_knows_the_cut_alone(true, false);
}

#[test]
fn so_do_two_devices() {
    who_knows_the_cut_alone(false, true);
}

#[test]
fn so_do_two_devices_and_one_was_restarted_in_between() {
    who_knows_the_cut_alone(true, true);
}
