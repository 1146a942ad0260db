//! Every history of three users and a few operations.

use sheaf_membership::{Inserted, Log};

use crate::compare;
use crate::history::{History, Wish};
use crate::oracle::{ADMIN, Mask, OWNER, Resolved, Rule, WRITER, bit, bits};
use crate::properties::{is_live, is_role_changed, protected, removed, role};

const USERS: usize = 3;

/// A choice, in an order: of concurrent neighbours the smaller comes first.
type Choice = (usize, usize, Wish, Mask);

#[derive(Debug, Default)]
struct Tally {
    histories: usize,
    undecided: usize,
    revenge: usize,
}

fn wishes() -> Vec<Wish> {
    let mut wishes = Vec::new();
    for user in 0..USERS {
        wishes.extend([
            Wish::Grant(user, WRITER),
            Wish::Grant(user, ADMIN),
            Wish::Remove(user),
            Wish::Regrant(user, WRITER),
        ]);
    }
    wishes
}

/// All sets of operations that hold their past.
fn places(history: &History) -> Vec<Mask> {
    let subsets = 0..1_usize << history.actions.len();
    let mut places: Vec<Mask> = subsets
        .map(|subset| {
            let chosen = (0..history.actions.len()).filter(|at| subset >> at & 1 == 1);
            let mask = history.mask(chosen);
            bits(mask).fold(mask, |mask, at| mask | history.dag.ops[at].past)
        })
        .collect();
    places.sort_unstable();
    places.dedup();
    places
}

fn choices(history: &mut History) -> Vec<Choice> {
    let mut choices = Vec::new();
    for place in places(history) {
        let view = history.dag.resolve(place);
        for (author, (_, live)) in &view.standing {
            for inc in live {
                let all = wishes().into_iter();
                choices.extend(all.map(|wish| (*author, *inc, wish, place)));
            }
        }
    }
    choices
}

/// The properties, for one operation added anywhere in the past.
fn check(before: &History, now: &Resolved, after: &mut History, author: usize) -> bool {
    let then = after.dag.resolve(after.dag.all());
    assert_eq!(role(&then.standing, 0), Some(OWNER));
    if removed(before, now).contains(&author) && now.undecided.is_empty() {
        assert!(
            !is_role_changed(&now.standing, &then.standing),
            "P3 {after:?}"
        );
        return true;
    }
    let ops = &before.dag.ops;
    let ever_admin = (0..ops.len())
        .any(|at| before.dag.grants(at) && ops[at].target == author && ops[at].role >= ADMIN);
    if !ever_admin {
        for user in (0..USERS).filter(|user| *user != author) {
            assert_eq!(
                now.standing.get(&user),
                then.standing.get(&user),
                "P4 {after:?}"
            );
        }
    }
    if role(&now.standing, author) == Some(ADMIN) {
        let above = protected(before, &now.standing, after);
        let harmed = above.iter().any(|inc| !is_live(&then.standing, *inc));
        assert!(!harmed, "P5 {after:?}");
    }
    false
}

/// The log does not depend on the order: here the latest operation comes as early as it can.
fn converge(history: &History, log: &Log<u64, usize>) {
    let mut other = Log::found(history.name(0), 0);
    let mut waiting: Vec<usize> = (0..history.actions.len()).rev().collect();
    while !waiting.is_empty() {
        waiting.retain(|at| other.insert(&history.actions[*at].operation).is_err());
        other.current();
    }
    assert_eq!(log.current(), other.current());
}

fn explore(
    history: &mut History,
    log: &Log<u64, usize>,
    last: Option<Choice>,
    left: usize,
    tally: &mut Tally,
) {
    tally.histories += 1;
    compare(history, history.dag.all(), &log.current());
    converge(history, log);
    let now = history.dag.resolve(history.dag.all());
    tally.undecided += usize::from(!now.undecided.is_empty());
    if left == 0 {
        return;
    }
    let newest = history.actions.last().map(|action| bit(action.first));
    for choice in choices(history) {
        let (author, inc, wish, place) = choice;
        // The two who are not the owner are alike: the first admitted is the first of them.
        if last.is_none() && !matches!(wish, Wish::Grant(1, _)) {
            continue;
        }
        let mut next = history.clone();
        if next.attempt(author, inc, wish, place).is_none() {
            continue;
        }
        tally.revenge += usize::from(check(history, &now, &mut next, author));
        let beside = newest.is_some_and(|newest| place & newest == 0);
        if beside && last.is_some_and(|last| key(&choice) < key(&last)) {
            continue;
        }
        let mut longer = log.clone();
        let operation = &next.actions[next.actions.len() - 1].operation;
        assert_eq!(longer.insert(operation), Ok(Inserted::New));
        explore(&mut next, &longer, Some(choice), left - 1, tally);
    }
}

fn key((author, inc, wish, place): &Choice) -> (Mask, usize, usize, String) {
    (*place, *author, *inc, format!("{wish:?}"))
}

#[test]
fn every_small_history() {
    let wanted = std::env::var("SHEAF_EXHAUSTIVE").ok();
    let operations = wanted.and_then(|text| text.parse().ok()).unwrap_or(4);
    let mut history = History::new(USERS, 1, Rule::Mended);
    let log = Log::found(history.name(0), 0);
    let mut tally = Tally::default();
    explore(&mut history, &log, None, operations, &mut tally);
    println!("{tally:?}");
    assert!(tally.histories > 1_000 && tally.revenge > 0, "{tally:?}");
}
