//! Which items of a device that forked its chain stand: a function of the items known, whatever the
//! order in which they came (research/keys.md 2.7).

use std::collections::{BTreeMap, BTreeSet};

use sheaf_crypto::{ItemId, RunId, UserId};
use sheaf_membership::winner;

/// One item of the device.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) run: RunId,
    pub(super) seq: u64,
    pub(super) previous: Option<ItemId>,
    /// Tells what it holds from what another one holds.
    pub(super) content: [u8; 32],
    /// The users whose acknowledgement decides, as its author saw the membership.
    pub(super) others: BTreeSet<UserId>,
}

/// A place that holds several items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fork {
    pub(super) run: RunId,
    pub(super) seq: u64,
    /// The item that stands; of the same content sealed twice, the smaller id.
    pub(super) winner: ItemId,
    /// The items that do not.
    pub(super) losers: Vec<ItemId>,
    /// It stands for ever.
    pub(super) stable: bool,
}

/// What of one device stands.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub(super) forks: Vec<Fork>,
    /// Losing items, what follows them, and what follows something that is not known.
    pub(super) aside: BTreeSet<ItemId>,
}

/// Judges the items of one device. `acknowledged` are items of it that users named as seen.
pub(super) fn judge(
    nodes: &BTreeMap<ItemId, Node>,
    acknowledged: &BTreeSet<(UserId, ItemId)>,
) -> Judged {
    let mut places: BTreeMap<(u64, RunId), Vec<ItemId>> = BTreeMap::new();
    for (id, node) in nodes {
        places.entry((node.seq, node.run)).or_default().push(*id);
    }
    let mut judged = Judged::default();
    // By rising sequence, so that what comes before is judged already.
    for ((seq, run), items) in &places {
        let mut standing: BTreeMap<[u8; 32], Vec<ItemId>> = BTreeMap::new();
        for id in items {
            let Some(node) = nodes.get(id) else { continue };
            if follows(node, nodes, &places, &judged.aside) {
                standing.entry(node.content).or_default().push(*id);
            } else {
                judged.aside.insert(*id);
            }
        }
        if standing.len() > 1 {
            let fork = decide((*run, *seq), &standing, nodes, acknowledged);
            judged.aside.extend(fork.losers.iter().copied());
            judged.forks.push(fork);
        }
    }
    judged
}

/// Whether what an item follows stands. Something that is not known where another item is known at
/// its place is a branch that has not come yet.
fn follows(
    node: &Node,
    nodes: &BTreeMap<ItemId, Node>,
    places: &BTreeMap<(u64, RunId), Vec<ItemId>>,
    aside: &BTreeSet<ItemId>,
) -> bool {
    let Some(previous) = node.previous else {
        return node.seq == 1;
    };
    let before = node.seq.saturating_sub(1);
    match nodes.get(&previous) {
        Some(known) => known.seq == before && !aside.contains(&previous),
        None => !places.contains_key(&(before, node.run)),
    }
}

fn decide(
    (run, seq): (RunId, u64),
    standing: &BTreeMap<[u8; 32], Vec<ItemId>>,
    nodes: &BTreeMap<ItemId, Node>,
    acknowledged: &BTreeSet<(UserId, ItemId)>,
) -> Fork {
    let named = |items: &Vec<ItemId>| items.iter().min().copied();
    let siblings: Vec<ItemId> = standing.values().filter_map(named).collect();
    let mut sides: BTreeMap<ItemId, ItemId> = BTreeMap::new();
    let mut others = BTreeSet::new();
    for items in standing.values() {
        for id in items {
            sides.extend(named(items).map(|name| (*id, name)));
            others.extend(
                nodes
                    .get(id)
                    .into_iter()
                    .flat_map(|n| n.others.iter().copied()),
            );
        }
    }
    let votes = votes(&sides, (run, seq), nodes, acknowledged);
    let won = winner(&siblings, &votes, &others);
    let (won, stable) = won.map_or((ItemId::default(), false), |won| (won.id, won.stable));
    let losers = sides.iter().filter(|(_, side)| **side != won);
    Fork {
        run,
        seq,
        winner: won,
        losers: losers.map(|(id, _)| *id).collect(),
        stable,
    }
}

/// The side that each user acknowledged. One whose devices acknowledged both counts for neither.
fn votes(
    sides: &BTreeMap<ItemId, ItemId>,
    place: (RunId, u64),
    nodes: &BTreeMap<ItemId, Node>,
    acknowledged: &BTreeSet<(UserId, ItemId)>,
) -> BTreeMap<UserId, ItemId> {
    let mut cast: BTreeMap<UserId, BTreeSet<ItemId>> = BTreeMap::new();
    for (user, item) in acknowledged {
        if let Some(side) = side_of(item, sides, place, nodes) {
            cast.entry(*user).or_default().insert(side);
        }
    }
    let single = cast.into_iter().filter(|(_, sides)| sides.len() == 1);
    single
        .filter_map(|(user, sides)| Some((user, sides.first().copied()?)))
        .collect()
}

/// The sibling that an item is or follows.
fn side_of(
    item: &ItemId,
    sides: &BTreeMap<ItemId, ItemId>,
    (_, seq): (RunId, u64),
    nodes: &BTreeMap<ItemId, Node>,
) -> Option<ItemId> {
    let mut at = *item;
    loop {
        if let Some(side) = sides.get(&at) {
            return Some(*side);
        }
        let node = nodes.get(&at).filter(|node| node.seq > seq)?;
        let previous = node.previous?;
        // Every step goes to a lower place: the walk ends.
        nodes.get(&previous).filter(|p| p.seq < node.seq)?;
        at = previous;
    }
}

#[cfg(test)]
mod tests;
