//! What the rules are for: nobody who is out, or never was an admin, changes anybody's standing.
//!
//! The names P2 to P5 are those of the model.

use std::collections::BTreeSet;

use crate::history::{FULL, HEIRS, History, Mix, OWNED, PLAIN, adversary, honest_run};
use crate::oracle::{ADMIN, OWNER, Resolved, Rule, Standing};
use crate::random::Random;
use crate::{SYBILS, USERS, deliver, histories};

#[derive(Debug, Default)]
struct Tally {
    owner_lost: usize,
    revenge: usize,
    revenge_tried: usize,
    power: usize,
    power_tried: usize,
    ancestors: usize,
    ancestors_tried: usize,
    /// Trials in which some protected incarnation is not the owner's.
    ancestors_below_the_top: usize,
}

pub(crate) fn role(standing: &Standing, user: usize) -> Option<u8> {
    standing.get(&user).map(|(role, _)| *role)
}

/// Users who were removed by somebody else, are out, and have not left by themselves.
pub(crate) fn removed(history: &History, resolved: &Resolved) -> Vec<usize> {
    let ops = &history.dag.ops;
    let effective = resolved.effective.iter().map(|r| &ops[*r]);
    let leavers: BTreeSet<usize> = effective
        .clone()
        .filter(|op| op.author == op.target)
        .map(|op| op.target)
        .collect();
    let out = effective
        .map(|op| op.target)
        .filter(|user| !leavers.contains(user) && !resolved.standing.contains_key(user));
    out.collect::<BTreeSet<usize>>().into_iter().collect()
}

pub(crate) fn is_role_changed(now: &Standing, then: &Standing) -> bool {
    (0..USERS + SYBILS).any(|user| role(now, user) != role(then, user))
}

/// Live incarnations that are above every one that the added operations speak for. An operation
/// speaks for its author's incarnation, a leaving for all that it names: whoever has two may always
/// harm under the one who is above the other (the last row of the table in research/keys.md 2.3).
pub(crate) fn protected(before: &History, now: &Standing, after: &mut History) -> Vec<usize> {
    let mut spoken = BTreeSet::new();
    for at in before.dag.ops.len()..after.dag.ops.len() {
        let op = after.dag.ops[at].clone();
        spoken.extend(op.inc);
        if after.dag.removes(at) && op.author == op.target {
            spoken.extend(after.dag.named(at));
        }
    }
    let dag = &after.dag;
    let live = now.values().flat_map(|(_, live)| live).copied();
    live.filter(|senior| spoken.iter().all(|inc| dag.is_senior(*senior, *inc)))
        .collect()
}

pub(crate) fn is_live(standing: &Standing, incarnation: usize) -> bool {
    standing
        .values()
        .any(|(_, live)| live.contains(&incarnation))
}

/// P3: whoever was removed changes nobody's role and brings nobody in.
fn revenge(random: &mut Random, history: &History, now: &Resolved, mix: Mix, tally: &mut Tally) {
    let who = removed(history, now);
    if who.is_empty() || !now.undecided.is_empty() {
        return;
    }
    let (mut after, added) = adversary(random, history, &who, USERS + SYBILS, mix);
    if !added {
        return;
    }
    tally.revenge_tried += 1;
    let then = after.dag.resolve(after.dag.all());
    let changed = is_role_changed(&now.standing, &then.standing);
    tally.revenge += usize::from(changed);
    if tally.revenge_tried.is_multiple_of(16) && history.dag.rule == Rule::Mended {
        deliver(&mut after, random, false);
    }
}

/// P4: who was never an admin changes nobody's standing but his own kind's.
fn power(random: &mut Random, history: &History, now: &Resolved, mix: Mix, tally: &mut Tally) {
    let ops = &history.dag.ops;
    let admins: BTreeSet<usize> = (0..ops.len())
        .filter(|at| history.dag.grants(*at) && ops[*at].role >= ADMIN)
        .map(|at| ops[at].target)
        .collect();
    let present = now.standing.keys().copied();
    let who: Vec<usize> = present.filter(|user| !admins.contains(user)).collect();
    if who.is_empty() {
        return;
    }
    let (mut after, added) = adversary(random, history, &who, USERS + SYBILS, mix);
    if !added {
        return;
    }
    tally.power_tried += 1;
    let then = after.dag.resolve(after.dag.all());
    let changed = (0..USERS + SYBILS)
        .any(|user| !who.contains(&user) && now.standing.get(&user) != then.standing.get(&user));
    tally.power += usize::from(changed);
}

/// P5: a live admin who forks his own chain ends no incarnation above those he acts under.
fn ancestors(random: &mut Random, history: &History, now: &Resolved, mix: Mix, tally: &mut Tally) {
    let admins: Vec<usize> = now
        .standing
        .iter()
        .filter(|(_, (role, _))| *role == ADMIN)
        .map(|(user, _)| *user)
        .collect();
    if admins.is_empty() {
        return;
    }
    let forger = random.choose(&admins);
    let (mut after, added) = adversary(random, history, &[forger], USERS + SYBILS, mix);
    if !added {
        return;
    }
    tally.ancestors_tried += 1;
    let then = after.dag.resolve(after.dag.all());
    let above = protected(history, &now.standing, &mut after);
    let top = |inc: &usize| history.dag.is_top(*inc);
    tally.ancestors_below_the_top += usize::from(!above.iter().all(top));
    let harmed = above.iter().any(|inc| !is_live(&then.standing, *inc));
    tally.ancestors += usize::from(harmed);
}

fn tally(runs: u64, mix: Mix, rule: Rule) -> Tally {
    let mut tally = Tally::default();
    for seed in 0..runs {
        let mut random = Random::new(seed.wrapping_mul(31) + 7);
        let length = 6 + random.below(12);
        let mut history = honest_run(&mut random, USERS, length, mix, rule);
        let now = history.dag.resolve(history.dag.all());
        let owned = now.standing.values().any(|(role, _)| *role == OWNER);
        tally.owner_lost += usize::from(!owned);
        revenge(&mut random, &history, &now, mix, &mut tally);
        power(&mut random, &history, &now, mix, &mut tally);
        ancestors(&mut random, &history, &now, mix, &mut tally);
    }
    tally
}

fn hold(tally: &Tally) {
    println!("{tally:?}");
    let broken = (
        tally.owner_lost,
        tally.revenge,
        tally.power,
        tally.ancestors,
    );
    assert_eq!(broken, (0, 0, 0, 0), "{tally:?}");
    assert!(tally.revenge_tried > 0 && tally.power_tried > 0 && tally.ancestors_tried > 0);
    assert!(tally.ancestors_below_the_top > 0, "{tally:?}");
}

#[test]
fn grants_and_removals_keep_the_properties() {
    hold(&tally(histories(), PLAIN, Rule::Mended));
}

#[test]
fn regrants_and_other_ranks_keep_the_properties() {
    hold(&tally(histories(), OWNED, Rule::Mended));
}

#[test]
fn transfers_keep_the_properties() {
    hold(&tally(histories(), FULL, Rule::Mended));
}

#[test]
fn many_transfers_keep_the_properties() {
    hold(&tally(histories(), HEIRS, Rule::Mended));
}

/// Where every admin may remove every admin, who was removed takes revenge.
#[test]
fn the_flat_rule_has_no_immunity() {
    let tally = tally(500, PLAIN, Rule::Flat);
    assert!(tally.revenge > 0, "{tally:?}");
}

/// On paper a removal kills what is concurrent with it alone; a long search finds the way around.
#[test]
#[ignore = "a minute: the search that refuted the rule on paper"]
fn the_rule_on_paper_has_a_hole() {
    let tally = tally(100_000, PLAIN, Rule::Paper);
    println!("{tally:?}");
    assert!(tally.revenge > 0, "{tally:?}");
}
