//! Logs of 10,000 operations in several shapes: all insertions, and the current view after each.
//!
//! Run: `cargo bench -p sheaf-membership`. One run each, in milliseconds. The bound of
//! research/keys.md 2.13 is the row "bubble".
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a benchmark may stop at its first error"
)]

use std::time::Instant;

use sheaf_membership::{Act, Limits, Log, Operation, Rank};

const OPERATIONS: u64 = 10_000;
const BUBBLE: u64 = 200;
const ADMINS: u64 = 200;

fn main() {
    println!(
        "{:<34} {:>9} {:>9}",
        "10,000 operations", "insert ms", "with views ms"
    );
    for (name, operations) in [
        ("linear", linear()),
        ("bubble of 200", bubble()),
        ("200 admins, each removing the next", ring()),
        ("two branches", branches()),
        ("two branches, same person", duel()),
        ("fork and merge all along", zigzag()),
        ("a chain of grants", deep()),
    ] {
        let inserted = time(&operations, false);
        let viewed = time(&operations, true);
        println!("{name:<34} {inserted:>9} {viewed:>9}");
    }
}

/// Inserts everything, and takes the view after every operation or once at the end.
fn time(operations: &[Operation<u64, u64>], every: bool) -> u128 {
    let started = Instant::now();
    let mut log = Log::found(0, 0).with_limits(Limits {
        operations: 2 * OPERATIONS as usize,
        ..Limits::default()
    });
    let mut kept = None;
    for operation in operations {
        log.insert(operation).unwrap();
        if every {
            kept = Some(log.current());
        }
    }
    let view = log.current();
    let taken = started.elapsed().as_millis();
    assert!(!view.members().is_empty());
    drop(kept);
    taken
}

/// Writes operations with rising identifiers.
#[derive(Default)]
struct Script {
    operations: Vec<Operation<u64, u64>>,
}

impl Script {
    fn put(&mut self, parents: &[u64], author: u64, incarnation: u64, act: Act<u64, u64>) -> u64 {
        let id = self.operations.len() as u64 + 1;
        self.operations.push(Operation {
            id,
            parents: parents.to_vec(),
            author,
            incarnation,
            act,
        });
        id
    }

    fn grant(&mut self, parents: &[u64], by: (u64, u64), to: u64, rank: Rank) -> u64 {
        self.put(parents, by.0, by.1, Act::Grant { to, rank })
    }

    fn remove(&mut self, parents: &[u64], by: (u64, u64), subject: u64, named: u64) -> u64 {
        let named = vec![named];
        self.put(parents, by.0, by.1, Act::Remove { subject, named })
    }

    /// 200 admins below the owner: user and incarnation are equal.
    fn admins(&mut self) -> u64 {
        for admin in 1..=ADMINS {
            self.grant(&[admin - 1], (0, 0), admin, Rank::Admin);
        }
        ADMINS
    }

    /// Adds and removes people in turn on one branch until there are so many operations.
    fn churn(&mut self, mut tip: u64, by: u64, end: u64, people: u64) -> u64 {
        let mut turn = 0;
        while (self.operations.len() as u64) < end {
            let (next, _) = self.turn(tip, by, people + turn % 40);
            tip = next;
            turn += 1;
        }
        tip
    }

    fn turn(&mut self, tip: u64, by: u64, person: u64) -> (u64, u64) {
        let added = self.grant(&[tip], (by, by), person, Rank::Writer);
        (self.remove(&[added], (by, by), person, added), added)
    }
}

fn linear() -> Vec<Operation<u64, u64>> {
    let mut script = Script::default();
    let tip = script.admins();
    script.churn(tip, 0, OPERATIONS, 1_000);
    script.operations
}

/// In the middle, every admin either removes one person or raises that person.
fn bubble() -> Vec<Operation<u64, u64>> {
    let mut script = Script::default();
    let tip = script.admins();
    let tip = script.churn(tip, 0, OPERATIONS / 2, 1_000);
    let person = script.grant(&[tip], (0, 0), 2_000, Rank::Reader);
    let tips: Vec<u64> = (1..=BUBBLE)
        .map(|admin| match admin % 2 {
            0 => script.remove(&[person], (admin, admin), 2_000, person),
            _ => script.grant(&[person], (admin, admin), 2_000, Rank::Writer),
        })
        .collect();
    let tip = script.put(
        &tips,
        0,
        0,
        Act::Other {
            least: Rank::Reader,
        },
    );
    script.churn(tip, 0, OPERATIONS, 3_000);
    script.operations
}

/// Each admin granted the next; in the middle, each removes the next, and adds somebody.
fn ring() -> Vec<Operation<u64, u64>> {
    let mut script = Script::default();
    for admin in 1..=ADMINS {
        script.grant(&[admin - 1], (admin - 1, admin - 1), admin, Rank::Admin);
    }
    let tip = script.churn(ADMINS, 0, OPERATIONS / 2, 1_000);
    let tips: Vec<u64> = (1..ADMINS)
        .map(|admin| script.remove(&[tip], (admin, admin), admin + 1, admin + 1))
        .collect();
    let tip = script.put(
        &tips,
        0,
        0,
        Act::Other {
            least: Rank::Reader,
        },
    );
    script.churn(tip, 0, OPERATIONS, 3_000);
    script.operations
}

/// Two admins apart for almost all the time, operations in turn.
fn apart(others: u64) -> Vec<Operation<u64, u64>> {
    let mut script = Script::default();
    let tip = script.admins();
    let (mut left, mut right) = (tip, tip);
    while (script.operations.len() as u64) < OPERATIONS {
        left = script.turn(left, 1, 1_000).0;
        right = script.turn(right, 2, others).0;
    }
    script.put(
        &[left, right],
        0,
        0,
        Act::Other {
            least: Rank::Reader,
        },
    );
    script.operations
}

fn branches() -> Vec<Operation<u64, u64>> {
    apart(2_000)
}

fn duel() -> Vec<Operation<u64, u64>> {
    apart(1_000)
}

/// Two concurrent operations, a third that merges them, and so on.
fn zigzag() -> Vec<Operation<u64, u64>> {
    let mut script = Script::default();
    let mut tip = script.admins();
    while (script.operations.len() as u64) < OPERATIONS {
        let person = 1_000 + tip;
        let added = script.grant(&[tip], (0, 0), person, Rank::Reader);
        let removed = script.remove(&[added], (1, 1), person, added);
        let raised = script.grant(&[added], (2, 2), person, Rank::Writer);
        tip = script.put(
            &[removed, raised],
            0,
            0,
            Act::Other {
                least: Rank::Reader,
            },
        );
    }
    script.operations
}

/// Everybody is granted by the one before.
fn deep() -> Vec<Operation<u64, u64>> {
    let mut script = Script::default();
    for admin in 1..=OPERATIONS {
        let by = admin - 1;
        script.grant(&[by], (by, by), admin, Rank::Admin);
        if admin == OPERATIONS / 2 {
            break;
        }
    }
    let mut tip = OPERATIONS / 2;
    for admin in (2..=OPERATIONS / 2).rev() {
        tip = script.remove(&[tip], (1, 1), admin, admin);
    }
    script.operations
}
