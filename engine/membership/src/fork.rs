//! Which of the siblings of a forked chain stands.

use std::collections::{BTreeMap, BTreeSet};

use crate::operation::Key;

/// The sibling that stands, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Winner<I> {
    /// The sibling.
    pub id: I,
    /// Whether it stands for ever: a strict majority of the other users acknowledged it, and an
    /// honest device acknowledges one sibling only. If not, later votes may make another win.
    pub stable: bool,
}

/// Which of several items that one device put at one place of its chain stands: the stable one, else
/// the one with the smallest identifier (research/keys.md 2.7). `None` if there are none.
///
/// `votes` says which sibling each user acknowledged by depending on it; what users outside
/// `others`, the users without the forking one, acknowledged does not count.
pub fn winner<I: Key, U: Key>(
    siblings: &[I],
    votes: &BTreeMap<U, I>,
    others: &BTreeSet<U>,
) -> Option<Winner<I>> {
    let majority = others.len() / 2 + 1;
    let counted = |sibling: &I| {
        let votes = votes.iter();
        let own = votes.filter(|(user, vote)| others.contains(user) && *vote == sibling);
        own.count()
    };
    let stable = siblings
        .iter()
        .filter(|sibling| counted(sibling) >= majority);
    let stable = stable.min().map(|id| Winner {
        id: *id,
        stable: true,
    });
    stable.or_else(|| {
        siblings.iter().min().map(|id| Winner {
            id: *id,
            stable: false,
        })
    })
}
