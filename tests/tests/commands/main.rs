//! Random commands of the real programs: three people with five homes and two relays write, sync,
//! forget, come and go; commands and relays are killed in the middle, relays put back and wiped. Then
//! everything has to agree, and nothing that was acknowledged may be missing.
//!
//! `SHEAF_SEED` chooses the history, `SHEAF_STEPS` how long it is. Of a seed that five divides, a home
//! is copied and used beside the first; of one that three divides, homes are put back to backups; where
//! dividing by four leaves less than two, devices are frozen and thawed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test stops at a broken expectation, and says its figures"
)]

mod agree;
mod steps;
mod world;

use world::World;

#[test]
fn random_commands_lose_nothing_and_end_in_agreement() {
    let setting = |name: &str, otherwise: u64| {
        std::env::var(name).map_or(otherwise, |value| value.parse().unwrap())
    };
    let (seed, steps) = (setting("SHEAF_SEED", 1), setting("SHEAF_STEPS", 25));
    let mut world = World::new(seed);
    for _ in 0..steps {
        world.step();
    }
    println!(
        "seed {seed}: {} commands, {} acknowledged messages",
        world.commands(),
        world.acknowledged()
    );
    world.agree();
    world.end();
}
