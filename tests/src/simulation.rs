//! Devices and a relay in one thread, in virtual time, from one seed.
//!
//! The network delays, loses whole connections with what is in flight, and reorders between the
//! streams of a connection; the relay repeats and restarts; disks lose what was not flushed. The
//! checkers look only at what an app can see: acknowledged messages and listed messages.

mod check;
mod cuts;
mod device;
mod faults;
mod fork;
mod govern;
mod relay;
mod strike;
mod world;
mod write;

pub use check::Failure;
pub use device::Device;
pub use faults::Faults;
pub use relay::ModelRelay;
pub use world::World;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// A number below a bound.
pub(crate) fn below(rng: &mut ChaCha8Rng, bound: u64) -> u64 {
    rng.next_u64() % bound.max(1)
}

/// True once in `n` times.
pub(crate) fn one_in(rng: &mut ChaCha8Rng, n: u64) -> bool {
    below(rng, n) == 0
}

/// Runs one seed: a whole life of 2 to 6 devices, then quiet, then the checks.
///
/// # Errors
/// [`Failure`] names the check that failed; the seed replays it bit by bit.
pub fn run(seed: u64) -> Result<(), Failure> {
    run_with(seed, Faults::default())
}

/// Runs one seed with chosen faults.
///
/// # Errors
/// As [`run`].
pub fn run_with(seed: u64, faults: Faults) -> Result<(), Failure> {
    let rng = ChaCha8Rng::seed_from_u64(seed);
    let mut world = World::new(rng, faults);
    world.found();
    world.live()?;
    world.quiet();
    if faults.doubles() {
        fork::check(&world)
    } else if faults.members || faults.begins_late() {
        check::members(&world)
    } else {
        check::all(&world)
    }
}
