//! What a newcomer is told of how far its history has come.

use sheaf_replica::{Count, Event, Input, Progress, ProgressReason, ProgressStage};

use super::relay::Log;
use super::world::{ALICE, BOB, MALLORY, World};
use super::{CAROL, invite, invite_alone, is_as_everywhere, pass, unread, world_of};

/// Messages of the conversation that everybody has been in from the beginning, in one segment.
const SHORT: u64 = 3;

fn told(world: &mut World) -> Vec<Progress> {
    let events = std::mem::take(&mut world.peers[CAROL].events);
    let told = events.iter().filter_map(|event| match event {
        Event::Progress(progress) => Some(*progress),
        _ => None,
    });
    let told: Vec<Progress> = told.collect();
    for pair in told.windows(2) {
        assert!(
            pair[1].because.is_some() || !is_less(&pair[1], &pair[0]),
            "{pair:?}"
        );
    }
    told
}

fn is_less(now: &Progress, before: &Progress) -> bool {
    let counts = |of: &Progress| {
        [
            of.conversations,
            of.recent,
            of.segments,
            of.messages,
            of.items,
            of.records,
        ]
    };
    let mut pairs = counts(now).into_iter().zip(counts(before));
    let less = |(now, before): (Count, Count)| {
        now.done < before.done || before.of.is_some_and(|of| now.of < Some(of))
    };
    now.stage < before.stage || pairs.any(less)
}

fn count(done: u64, of: u64) -> Count {
    Count { done, of: Some(of) }
}

#[test]
fn from_the_newest_messages_to_all_of_them() {
    let mut world = world_of(15);
    pass(&mut world, 30);
    invite(&mut world);
    let told = told(&mut world);
    let first = told.first().unwrap();
    assert_eq!(first.because, Some(ProgressReason::Found));
    assert_eq!(first.messages, count(SHORT, 15 + SHORT));
    let last = told.last().unwrap();
    assert_eq!(last.stage, ProgressStage::Done);
    assert_eq!(last.segments, count(5, 5));
    assert_eq!(last.messages, count(15 + SHORT, 15 + SHORT));
    assert_eq!(last.recent, count(2, 2));
    assert_eq!(
        world.peers[CAROL].replica.progress().stage,
        ProgressStage::Done
    );
    // What comes live is no progress.
    world.send(ALICE, "live");
    assert_eq!(super::progress::told(&mut world), []);
}

#[test]
fn where_nobody_answers_it_says_so_goes_on_after_a_restart_and_reads_the_relay() {
    let mut world = world_of(15);
    pass(&mut world, 30);
    invite_alone(&mut world);
    let before = *told(&mut world).last().unwrap();
    assert_eq!(before.stage, ProgressStage::Recent);
    assert_eq!(before.segments, count(1, 5));
    assert_eq!(before.messages, count(SHORT, 15 + SHORT));
    assert_eq!(before.items, Count::default());

    world.restart(CAROL);
    let resumed = *told(&mut world).first().unwrap();
    assert_eq!(resumed.because, Some(ProgressReason::Resumed));
    assert_eq!(resumed.segments.done, before.segments.done);
    assert_eq!(
        resumed.messages.of, None,
        "the other conversation is not read"
    );

    for _ in 0..6 {
        world.peers[CAROL].wake();
        world.settle();
    }
    assert_eq!(unread(&world), []);
    let told = told(&mut world);
    let anew = told.iter().find(|told| told.items.of.is_some());
    let anew = anew.expect("the relay is read from the beginning, and that is told");
    assert!(anew.items.done <= anew.items.of.unwrap());
    let last = told.last().unwrap();
    assert_eq!(
        (last.stage, last.messages),
        (ProgressStage::Done, count(15 + SHORT, 15 + SHORT))
    );
    for place in [ALICE, BOB, MALLORY] {
        world.peers[place].link_up();
    }
    world.settle();
    is_as_everywhere(&mut world);
}

#[test]
fn without_a_connection_what_is_missing_is_known_all_the_same() {
    let mut world = world_of(15);
    pass(&mut world, 30);
    invite_alone(&mut world);
    let carol = &mut world.peers[CAROL];
    carol.handle(Input::LinkDown(Log::id()));
    let progress = world.peers[CAROL].replica.progress();
    assert!(!progress.connected);
    assert_eq!(progress.segments, count(1, 5));
    assert_ne!(progress.stage, ProgressStage::Done);
    assert_eq!(progress.records.of, None);
}
