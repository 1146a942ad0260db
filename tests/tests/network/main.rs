//! Engines and a relay with the real QUIC over a simulated network: partitions, loss, a relay that
//! crashes, one that drains, and a slow link.
//!
//! Time of timers is simulated, that of the stores' disks is not: after every tick the simulation
//! lets the disks have a moment.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at a broken expectation"
)]

mod socket;
mod world;

use std::time::Duration;

use world::{Act, World, seconds};

#[test]
fn both_sides_of_a_partition_have_everything_after_it() {
    let mut world = World::new(1);
    world.writer("alice", 60);
    world.writer("bob", 60);
    // Longer than it takes to notice that nobody answers.
    world.run(&mut vec![
        Act::at(3, |sim| sim.partition("alice", "relay")),
        Act::at(20, |sim| sim.partition("bob", "relay")),
        Act::at(50, |sim| sim.repair("alice", "relay")),
        Act::at(55, |sim| sim.repair("bob", "relay")),
    ]);
    world.all_agree(120);
    assert!(world.was_down("alice") && world.was_down("bob"));
}

#[test]
fn a_partition_in_one_direction_is_noticed_and_healed() {
    let mut world = World::new(2);
    world.writer("alice", 40);
    world.writer("bob", 40);
    world.run(&mut vec![
        Act::at(3, |sim| sim.partition_oneway("relay", "alice")),
        Act::at(45, |sim| sim.repair_oneway("relay", "alice")),
    ]);
    world.all_agree(80);
    assert!(world.was_down("alice"));
}

#[test]
fn loss_and_delay_cost_time_alone() {
    for seed in 3..6 {
        let mut world = World::new(seed);
        world.latency(Duration::from_millis(20), Duration::from_millis(250));
        world.writer("alice", 40);
        world.writer("bob", 40);
        world.run(&mut vec![
            Act::at(2, |sim| sim.set_fail_rate(0.02)),
            Act::at(9, |sim| sim.set_fail_rate(0.0)),
        ]);
        world.all_agree(80);
    }
}

#[test]
fn a_relay_that_crashes_loses_nothing_that_it_confirmed() {
    let mut world = World::new(7);
    world.writer("alice", 80);
    world.writer("bob", 80);
    let mut acts = Vec::new();
    for crash in [4, 12, 22] {
        acts.push(Act::at(crash, |sim| sim.crash("relay")));
        acts.push(Act::at(crash + 3, |sim| sim.bounce("relay")));
    }
    world.run(&mut acts);
    world.all_agree(160);
    assert!(world.was_down("alice") && world.was_down("bob"));
}

#[test]
fn a_relay_that_drains_says_when_to_come_back() {
    let mut world = World::new(8);
    world.writer("alice", 60);
    world.writer("bob", 60);
    let drain = world.drain();
    world.run(&mut vec![
        Act::at(5, move |_| drain.notify_one()),
        Act::at(12, |sim| sim.bounce("relay")),
    ]);
    world.all_agree(120);
    assert!(world.was_asked_to_wait("alice") && world.was_asked_to_wait("bob"));
}

#[test]
fn a_slow_device_holds_up_nobody() {
    let mut world = World::new(9);
    world.burst("alice", 600, 4_096);
    let slow =
        |sim: &mut turmoil::Sim<'_>, latency| sim.set_link_latency("relay", "carol", latency);
    world.run(&mut vec![
        Act::at(0, move |sim| slow(sim, seconds(4))),
        Act::at(20, move |sim| slow(sim, Duration::from_millis(5))),
    ]);
    world.all_agree(600);
    assert!(world.done_after("bob") + seconds(4) < world.done_after("carol"));
}
