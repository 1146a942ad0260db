//! The fork rule on every pattern of votes of two to seven users.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may stop at its first error"
)]

use std::collections::{BTreeMap, BTreeSet};

use sheaf_membership::winner;

/// Every user's vote: for the first sibling, for the second, or not yet.
fn patterns(voters: u32) -> impl Iterator<Item = Vec<Option<usize>>> {
    (0..3_usize.pow(voters)).map(move |pattern| {
        let digits = (0..voters).map(|at| pattern / 3_usize.pow(at) % 3);
        digits.map(|digit| digit.checked_sub(1)).collect()
    })
}

/// The model, on counts: the sibling with a majority, else the smaller identifier.
fn reference(votes: &[Option<usize>], smaller: usize) -> (usize, bool) {
    let need = votes.len() / 2 + 1;
    let count = |sibling| votes.iter().filter(|vote| **vote == Some(sibling)).count();
    let stable: Vec<usize> = (0..2).filter(|sibling| count(*sibling) >= need).collect();
    assert!(stable.len() < 2, "never two stable");
    stable
        .first()
        .map_or((smaller, false), |sibling| (*sibling, true))
}

/// The product, with identifiers such that `smaller` is the smaller one.
fn product(votes: &[Option<usize>], smaller: usize) -> (usize, bool) {
    let id = |sibling: usize| if sibling == smaller { 10 } else { 20 };
    let others: BTreeSet<usize> = (0..votes.len()).collect();
    let mut cast: BTreeMap<usize, i32> = BTreeMap::new();
    for (user, vote) in votes.iter().enumerate() {
        cast.extend(vote.map(|sibling| (user, id(sibling))));
    }
    // The forking user's own vote, and those of strangers, count for nothing.
    cast.extend((100..110).map(|stranger| (stranger, id(1))));
    let won = winner(&[id(0), id(1)], &cast, &others).unwrap();
    (usize::from(won.id == id(1)), won.stable)
}

#[test]
fn all_patterns() {
    let mut cases = 0;
    for voters in 1..7 {
        for votes in patterns(voters) {
            for smaller in 0..2 {
                cases += 1;
                let won = product(&votes, smaller);
                assert_eq!(won, reference(&votes, smaller), "{votes:?}");
                if votes.iter().all(|vote| *vote == Some(0)) {
                    assert_eq!(won.0, 0, "a late sibling lost");
                }
                if won.1 {
                    stays(&votes, smaller, won);
                }
            }
        }
    }
    assert_eq!(cases, 2_184);
}

/// However the open votes fall, a stable winner stays.
fn stays(votes: &[Option<usize>], smaller: usize, won: (usize, bool)) {
    let open: Vec<usize> = (0..votes.len()).filter(|at| votes[*at].is_none()).collect();
    for fill in 0..1_usize << open.len() {
        let mut later = votes.to_vec();
        for (bit, at) in open.iter().enumerate() {
            later[*at] = Some(fill >> bit & 1);
        }
        assert_eq!(product(&later, smaller), won);
    }
}

#[test]
fn no_siblings_no_winner() {
    assert_eq!(
        winner::<u8, u8>(&[], &BTreeMap::new(), &BTreeSet::new()),
        None
    );
}

#[test]
fn alone_the_smaller_wins() {
    let won = winner::<u8, u8>(&[4, 3], &BTreeMap::new(), &BTreeSet::new()).unwrap();
    assert_eq!((won.id, won.stable), (3, false));
}
