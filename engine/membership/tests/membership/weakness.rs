//! The hole in the kill rule of research/keys.md 2.3, and the rule without it.

use crate::history::{FULL, HEIRS, History, Mix, OWNED, PLAIN, Wish, adversary, live};
use crate::oracle::{ADMIN, Mask, Resolved, Rule, bit};
use crate::properties::{is_role_changed, removed};
use crate::random::Random;
use crate::{SYBILS, USERS, deliver, histories, look_back};

const OWNER: usize = 0;
const BOB: usize = 1;
const DAN: usize = 2;
const SYBIL: usize = USERS;

/// Two who were removed bring somebody in. Bob, an admin, removes dan, whom he made admin; the owner
/// removes bob. Bob goes back and leaves beside his own removal of dan, which voids that; dan, in
/// again in that view alone, adds a sybil.
fn two_removed(rule: Rule) -> History {
    let mut history = before(rule, 1);
    let dan_in = bit(0) | bit(1) | bit(2);
    let mut put = |author, inc, wish, past: Mask| history.attempt(author, inc, wish, past).unwrap();
    let bob_left = put(BOB, 1, Wish::Remove(BOB), dan_in);
    put(DAN, 2, Wish::Grant(SYBIL, ADMIN), bit(3) | bob_left);
    history
}

/// The same until the owner removed bob.
fn before(rule: Rule, salt: u64) -> History {
    let mut history = History::new(USERS, salt, rule);
    let mut known = bit(0);
    for (author, inc, wish) in [
        (OWNER, 0, Wish::Grant(BOB, ADMIN)),
        (BOB, 1, Wish::Grant(DAN, ADMIN)),
        (BOB, 1, Wish::Remove(DAN)),
        (OWNER, 0, Wish::Remove(BOB)),
    ] {
        known = history.attempt(author, inc, wish, known).unwrap();
        history.know[author] = known;
    }
    history
}

/// Who is a member in the end.
fn members(history: &mut History) -> Vec<usize> {
    let resolved = history.dag.resolve(history.dag.all());
    assert_eq!(resolved.valid.len(), 7, "each was allowed where it stands");
    assert!(
        !resolved.effective.contains(&5),
        "the owner's removal voids the leaving"
    );
    resolved.standing.keys().copied().collect()
}

/// The sybil's grant has the removal of its author in its past, so it is not concurrent with it.
#[test]
fn on_paper_a_grant_stands_whose_author_was_removed_before() {
    assert_eq!(members(&mut two_removed(Rule::Paper)), [OWNER, SYBIL]);
}

#[test]
fn a_removal_that_has_effect_voids_what_comes_after_it_too() {
    let mut history = two_removed(Rule::Mended);
    assert_eq!(members(&mut history), [OWNER]);
    for seed in 0..100 {
        deliver(&mut history, &mut Random::new(seed), true);
    }
}

/// Whether an effective removal kills what was written after it.
fn is_killed_later(history: &mut History, resolved: &Resolved) -> bool {
    let pairs = resolved.effective.iter();
    let mut pairs = pairs.flat_map(|r| resolved.valid.iter().map(|x| (*r, *x)));
    let dag = &mut history.dag;
    pairs.any(|(r, x)| dag.ops[x].past & bit(r) != 0 && dag.kills(r, x))
}

#[derive(Debug, Default)]
struct Tally {
    tried: usize,
    revenge: usize,
    /// Histories in which a removal kills what was written after it.
    later: usize,
}

/// Goes on from where bob and dan are out, honestly for a while; then bob leaves beside his removal of
/// dan, mostly, and all who are out add up to eight operations. That is where the hole is, and where random histories from the start rarely come.
fn search(rule: Rule, runs: u64) -> Tally {
    let mut tally = Tally::default();
    for seed in 0..runs {
        let mut random = Random::new(seed.wrapping_mul(17) + 3);
        let mix: Mix = random.choose(&[PLAIN, OWNED, FULL, HEIRS]);
        let mut honest = before(rule, seed);
        let length = 5 + random.below(8);
        live(&mut random, &mut honest, length, mix);
        let now = honest.dag.resolve(honest.dag.all());
        let who = removed(&honest, &now);
        if who.is_empty() || !now.undecided.is_empty() {
            continue;
        }
        let mut forged = honest.clone();
        if random.percent(80) {
            forged.attempt(BOB, 1, Wish::Remove(BOB), bit(0) | bit(1) | bit(2));
        }
        let (once, _) = adversary(&mut random, &forged, &who, USERS + SYBILS, mix);
        let (mut after, _) = adversary(&mut random, &once, &who, USERS + SYBILS, mix);
        let then = after.dag.resolve(after.dag.all());
        tally.tried += 1;
        tally.revenge += usize::from(is_role_changed(&now.standing, &then.standing));
        let later = is_killed_later(&mut after, &then);
        tally.later += usize::from(later);
        if rule == Rule::Mended && (later || seed.is_multiple_of(16)) {
            let mut log = deliver(&mut after, &mut random, true);
            look_back(&mut after, &mut random, &mut log);
        }
    }
    println!("{rule:?} {tally:?}");
    tally
}

#[test]
fn where_the_hole_was_nobody_takes_revenge() {
    let tally = search(Rule::Mended, histories());
    assert_eq!(tally.revenge, 0);
    assert!(tally.later > 0);
    assert!(search(Rule::Paper, 2_000).revenge > 0);
}
