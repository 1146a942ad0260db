//! The resolver beside its reference model, on random histories.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test may stop at its first error"
)]

#[path = "membership/exhaustive.rs"]
mod exhaustive;
#[path = "membership/history.rs"]
mod history;
#[path = "membership/oracle.rs"]
mod oracle;
#[path = "membership/properties.rs"]
mod properties;
#[path = "membership/random.rs"]
mod random;
#[path = "membership/weakness.rs"]
mod weakness;

use history::{FULL, HEIRS, History, Mix, OWNED, PLAIN, adversary, honest_run};
use oracle::{Mask, Rule, bits};
use random::Random;
use sheaf_membership::{Inserted, Log, Part, Refusal, View};

const USERS: usize = 5;
const SYBILS: usize = 2;

fn histories() -> u64 {
    let wanted = std::env::var("SHEAF_HISTORIES").ok();
    wanted.and_then(|text| text.parse().ok()).unwrap_or(2_000)
}

/// Holds a view against what the reference says about the same operations.
fn compare(history: &mut History, mask: Mask, view: &View<u64, usize>) {
    let expected = history.dag.resolve(mask);
    let members: Vec<_> = view
        .members()
        .iter()
        .map(|(user, member)| {
            (
                *user,
                member.rank,
                member.incarnations().collect::<Vec<_>>(),
            )
        })
        .collect();
    let wanted: Vec<_> = expected
        .standing
        .iter()
        .map(|(user, (role, live))| (*user, history::rank(*role), history.ids(live)))
        .collect();
    assert_eq!(members, wanted, "members");
    for (incarnation, rank) in view.members().values().flat_map(|member| &member.live) {
        let found = history.dag.ops.iter().enumerate().find(|(at, op)| {
            history.id(*at) == *incarnation
                && expected.effective_grants.contains(at)
                && history::rank(op.role) == *rank
        });
        assert!(found.is_some(), "rank of an incarnation");
    }
    let removals: Vec<u64> = view
        .effective_removals()
        .map(|fact| fact.operation)
        .collect();
    assert_eq!(removals, history.ids(&expected.effective), "removals");
    for fact in view.effective_removals() {
        let at = *expected
            .effective
            .iter()
            .find(|at| history.id(**at) == fact.operation)
            .unwrap();
        assert_eq!(fact.subject, history.dag.ops[at].target);
        let named = history.dag.named(at);
        assert_eq!(fact.named, history.ids(&named));
    }
    assert_eq!(
        view.undecided(),
        history.ids(&expected.undecided),
        "undecided"
    );
    compare_void(history, mask, view);
}

fn compare_void(history: &mut History, mask: Mask, view: &View<u64, usize>) {
    let expected = history.dag.resolve(mask);
    let mut void = Vec::new();
    for at in expected.valid.clone() {
        let part = match history.dag.ops[at].kind {
            oracle::Kind::Grant | oracle::Kind::TransferGrant => Part::Grant,
            oracle::Kind::Remove | oracle::Kind::TransferRemoval => Part::Removal,
            oracle::Kind::Other => Part::Other,
        };
        let kept = match part {
            Part::Grant => &expected.effective_grants,
            Part::Removal => &expected.effective,
            Part::Other => &expected.effective_others,
        };
        if kept.contains(&at) {
            continue;
        }
        let by = view.voided_by(&history.id(at), part).unwrap();
        let line = history.dag.line(at);
        let killer = expected
            .effective
            .iter()
            .any(|r| history.id(*r) == by && line.iter().any(|x| history.dag.kills(*r, *x)));
        assert!(killer, "what voids an operation kills it");
        void.push((history.id(at), part));
    }
    void.sort_unstable();
    let found: Vec<_> = view
        .void()
        .iter()
        .map(|void| (void.operation, void.part))
        .collect();
    assert_eq!(found, void, "void");
}

/// Delivers everything in some order, with repetitions, and compares at every step or at the end.
fn deliver(history: &mut History, random: &mut Random, every_step: bool) -> Log<u64, usize> {
    let mut log = Log::found(history.name(0), 0);
    let mut waiting: Vec<usize> = (0..history.actions.len()).collect();
    random.shuffle(&mut waiting);
    let mut delivered = Vec::new();
    while !waiting.is_empty() {
        let mut parked = Vec::new();
        for at in std::mem::take(&mut waiting) {
            let operation = &history.actions[at].operation.clone();
            match log.insert(operation) {
                Ok(Inserted::New) => delivered.push(at),
                Err(Refusal::UnknownParents) => {
                    assert!(!log.missing(operation).is_empty());
                    parked.push(at);
                    continue;
                }
                other => panic!("{operation:?} is {other:?}"),
            }
            if random.percent(20) {
                assert_eq!(log.insert(operation), Ok(Inserted::Known));
            }
            if every_step || random.percent(10) {
                let mask = history.mask(delivered.iter().copied());
                compare(history, mask, &log.current());
            }
        }
        waiting = parked;
    }
    for operation in &history.refused {
        let verdict = log.insert(operation);
        assert!(
            !matches!(verdict, Ok(_) | Err(Refusal::UnknownParents)),
            "{operation:?} is {verdict:?}"
        );
    }
    compare(history, history.dag.all(), &log.current());
    log
}

/// Views of places in the past, from the cache and anew.
fn look_back(history: &mut History, random: &mut Random, log: &mut Log<u64, usize>) {
    for _ in 0..3 {
        let chosen: Vec<usize> = (0..history.actions.len())
            .filter(|_| random.percent(30))
            .collect();
        let mask = history.mask(chosen);
        let mask = bits(mask).fold(mask, |mask, at| mask | history.dag.ops[at].past);
        let heads = history.ids(&history.dag.heads(mask));
        let view = log.view(&heads).unwrap();
        compare(history, mask, &view);
    }
}

fn compare_on(seed: u64, mix: Mix) {
    let mut random = Random::new(seed);
    let length = 6 + random.below(14);
    let honest = honest_run(&mut random, USERS, length, mix, Rule::Mended);
    let coalition = [random.below(USERS), random.below(USERS)];
    let (mut history, _) = adversary(&mut random, &honest, &coalition, USERS + SYBILS, mix);
    let mut log = deliver(&mut history, &mut random, true);
    let other = deliver(&mut history, &mut random, false);
    assert_eq!(log.current(), other.current());
    assert_eq!(log.heads(), other.heads());
    look_back(&mut history, &mut random, &mut log);
}

#[test]
fn the_product_is_the_reference() {
    for seed in 0..histories() {
        let mix = [PLAIN, OWNED, FULL, FULL, HEIRS][(seed % 5) as usize];
        let result = std::panic::catch_unwind(|| compare_on(seed, mix));
        assert!(result.is_ok(), "seed {seed}");
    }
}

/// The random histories hold what the rules are about.
#[test]
fn the_histories_are_rich() {
    let (mut concurrent, mut out, mut doubt, mut void, mut refused) = (0, 0, 0, 0, 0);
    for seed in 0..500 {
        let mut random = Random::new(seed);
        let mix = [FULL, HEIRS][(seed % 2) as usize];
        let honest = honest_run(&mut random, USERS, 16, mix, Rule::Mended);
        let (mut history, _) = adversary(&mut random, &honest, &[0, 1], USERS + SYBILS, mix);
        let resolved = history.dag.resolve(history.dag.all());
        let effective = &resolved.effective;
        let dag = &history.dag;
        let beside = |r: &usize| effective.iter().any(|q| dag.concurrent(*q, *r));
        concurrent += usize::from(effective.iter().any(beside));
        let removals = resolved.valid.iter().filter(|at| dag.removes(**at));
        out += usize::from(removals.count() > effective.len());
        doubt += usize::from(!resolved.undecided.is_empty());
        let grants = resolved.valid.iter().filter(|at| dag.grants(**at));
        void += usize::from(grants.count() > resolved.effective_grants.len());
        refused += history.refused.len();
    }
    let found = (concurrent, out, doubt, void, refused);
    assert!(
        concurrent > 100 && out > 20 && doubt > 2 && void > 50 && refused > 500,
        "{found:?}"
    );
}
