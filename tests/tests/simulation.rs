//! Seeded lives of devices under faults. `SHEAF_SEEDS` sets how many, `SHEAF_SEED` replays one.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test stops at a broken expectation, and says its figures"
)]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use sheaf_tests::simulation;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

#[test]
fn devices_converge_and_lose_nothing_under_faults() {
    all_seeds(60, simulation::Faults::default());
}

#[test]
fn members_agree_whoever_removes_whom() {
    all_seeds(
        60,
        simulation::Faults {
            members: true,
            ..simulation::Faults::default()
        },
    );
}

#[test]
fn relays_die_lose_their_stores_and_come_back() {
    all_seeds(
        60,
        simulation::Faults {
            relays: true,
            ..simulation::Faults::default()
        },
    );
}

#[test]
fn newcomers_begin_at_snapshots() {
    all_seeds(
        40,
        simulation::Faults {
            newcomer: true,
            ..simulation::Faults::default()
        },
    );
}

#[test]
fn relays_let_go_of_what_everybody_has() {
    all_seeds(40, releasing());
}

#[test]
fn keys_age_while_members_come_and_go() {
    all_seeds(40, ageing());
}

#[test]
fn a_device_signs_two_histories_and_the_others_agree() {
    all_seeds(40, forked());
}

#[test]
fn a_copied_store_goes_on_beside_the_first_and_nothing_is_lost() {
    all_seeds(40, copied());
}

#[test]
fn relays_are_put_back_to_backups_and_are_found_out() {
    all_seeds(40, put_back());
}

#[test]
fn newcomers_read_from_their_beginning_on() {
    all_seeds(
        40,
        simulation::Faults {
            members: true,
            since_join: true,
            ..simulation::Faults::default()
        },
    );
}

#[test]
fn what_is_forgotten_was_on_every_device() {
    all_seeds(
        40,
        simulation::Faults {
            forget: true,
            ..simulation::Faults::default()
        },
    );
}

#[test]
fn who_joins_after_it_begins_at_what_is_forgotten() {
    all_seeds(40, joining());
}

#[test]
fn members_come_and_go_and_forget() {
    all_seeds(40, forgetting());
}

#[test]
fn histories_that_failed_once() {
    let known = [
        (460_263, forgetting()),
        (470_964, forgetting()),
        (470_965, forgetting()),
        (471_442, forgetting()),
        (471_442, forked()),
        (472_124, forgetting()),
        (472_849, forgetting()),
        (471_458, forgetting()),
        (470_047, forked()),
        (473_355, joining()),
        (475_474, forgetting()),
        (480_896, forgetting()),
        (482_110, put_back()),
        (487_014, put_back()),
        (487_104, forgetting()),
        (487_828, forked()),
        (488_441, forgetting()),
        (494_300, joining()),
        (494_121, ageing()),
        (494_159, ageing()),
        (495_005, ageing()),
        (493_720, forgetting()),
        (494_782, copied()),
        (498_187, releasing()),
    ];
    for (seed, faults) in known {
        if let Err(failure) = simulation::run_with(seed, faults) {
            panic!("seed {seed}: {failure}");
        }
    }
}

fn ageing() -> simulation::Faults {
    simulation::Faults {
        members: true,
        weeks: true,
        ..simulation::Faults::default()
    }
}

fn copied() -> simulation::Faults {
    simulation::Faults {
        copy: true,
        ..simulation::Faults::default()
    }
}

fn forked() -> simulation::Faults {
    simulation::Faults {
        fork: true,
        ..simulation::Faults::default()
    }
}

fn releasing() -> simulation::Faults {
    simulation::Faults {
        members: true,
        release: true,
        ..simulation::Faults::default()
    }
}

fn put_back() -> simulation::Faults {
    simulation::Faults {
        relays: true,
        roll_back: true,
        ..simulation::Faults::default()
    }
}

fn forgetting() -> simulation::Faults {
    simulation::Faults {
        members: true,
        forget: true,
        ..simulation::Faults::default()
    }
}

fn joining() -> simulation::Faults {
    simulation::Faults {
        newcomer: true,
        forget: true,
        ..simulation::Faults::default()
    }
}

fn all_seeds(everyday: u64, faults: simulation::Faults) {
    let run = |seed| simulation::run_with(seed, faults);
    if let Ok(seed) = std::env::var("SHEAF_SEED") {
        let seed: u64 = seed.parse().unwrap();
        if let Err(failure) = run(seed) {
            panic!("seed {seed}: {failure}");
        }
        return;
    }
    let (first, count) = (
        setting("SHEAF_FIRST_SEED", 0),
        setting("SHEAF_SEEDS", everyday),
    );
    let next = AtomicU64::new(first);
    let failures = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= first + count {
                            return;
                        }
                        let outcome = std::panic::catch_unwind(|| run(seed));
                        let failure = match outcome {
                            Ok(Ok(())) => continue,
                            Ok(Err(failure)) => failure.to_string(),
                            Err(_) => "it panicked".to_owned(),
                        };
                        println!("seed {seed}: {failure}");
                        failures.lock().unwrap().insert(seed, failure);
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
    });
    let failures = failures.into_inner().unwrap();
    let seeds: Vec<u64> = failures.keys().copied().collect();
    assert!(
        seeds.is_empty(),
        "of {count} seeds these fail: {seeds:?}; {failures:#?}"
    );
}
