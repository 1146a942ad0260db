//! Operations by dense index, with the facts that hold in every view.
//!
//! An index is given in the order of insertion, which is causal: whatever is in an operation's past
//! has a smaller index. Which removal kills which operation follows from the two operations and
//! their pasts, so it is found once, when the later of the two is inserted. A removal kills nothing
//! that is in its past, so what it kills among the nodes before it is concurrent with it; it may kill
//! what comes after it, concurrent or not (docs/decisions/0006-kill-rule.md).

use std::collections::BTreeMap;
use std::sync::Arc;

use fixedbitset::FixedBitSet;

use crate::operation::{Key, Rank};
use crate::view::{Part, RemovalFact};

/// One operation, or one of the grants that found the log.
#[derive(Debug, Clone)]
pub(crate) struct Node<I, S> {
    /// The operation, and the incarnation that it gives.
    pub(crate) id: I,
    pub(crate) author: S,
    /// The author's incarnation; none for the root.
    pub(crate) up: Option<usize>,
    pub(crate) depth: usize,
    /// Whether it gives the root's place: it is the root, or handed over by who stood there.
    pub(crate) top: bool,
    pub(crate) grant: Option<(S, Rank)>,
    pub(crate) removal: Option<Removal<I, S>>,
    pub(crate) past: FixedBitSet,
}

#[derive(Debug, Clone)]
pub(crate) struct Removal<I, S> {
    pub(crate) fact: Arc<RemovalFact<I, S>>,
    pub(crate) named: Vec<usize>,
}

/// What others do to a node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fate {
    /// Operations whose author acts under this incarnation.
    pub(crate) acts: Vec<usize>,
    /// Removals that name this incarnation.
    namers: Vec<usize>,
    /// Removals that kill the whole operation: they name its author's incarnation.
    pub(crate) killed: Vec<usize>,
    /// Removals that kill the grant in it: they remove the one whom it admits.
    pub(crate) overruled: Vec<usize>,
}

/// What a removal kills.
#[derive(Debug, Clone, Default)]
pub(crate) struct Victims {
    /// Whole operations.
    pub(crate) killed: Vec<usize>,
    /// Grants, apart from the rest of their operations.
    pub(crate) overruled: Vec<usize>,
}

#[derive(Debug, Clone)]
pub(crate) struct Graph<I, S> {
    nodes: Vec<Node<I, S>>,
    fates: Vec<Fate>,
    grants_to: BTreeMap<S, Vec<usize>>,
    removals_of: BTreeMap<S, Vec<usize>>,
    /// Operations of each author that change the membership.
    changes_by: BTreeMap<S, FixedBitSet>,
    pub(crate) removals: FixedBitSet,
    /// Nodes that some removal kills, wholly or in part.
    pub(crate) hits: FixedBitSet,
}

impl<I: Key, S: Key> Graph<I, S> {
    pub(crate) fn new() -> Self {
        Self {
            nodes: Vec::new(),
            fates: Vec::new(),
            grants_to: BTreeMap::new(),
            removals_of: BTreeMap::new(),
            changes_by: BTreeMap::new(),
            removals: FixedBitSet::new(),
            hits: FixedBitSet::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn node(&self, at: usize) -> Option<&Node<I, S>> {
        self.nodes.get(at)
    }

    pub(crate) fn fate(&self, at: usize) -> Option<&Fate> {
        self.fates.get(at)
    }

    pub(crate) fn id(&self, at: usize) -> Option<I> {
        self.node(at).map(|node| node.id)
    }

    /// Whether `earlier` is in the past of `later`.
    pub(crate) fn precedes(&self, earlier: usize, later: usize) -> bool {
        self.node(later)
            .is_some_and(|node| node.past.contains(earlier))
    }

    /// The incarnations above one, nearest first.
    pub(crate) fn above(&self, incarnation: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(self.up(incarnation), |at| self.up(*at))
    }

    /// Whether one incarnation is above the other: a proper ancestor, or at the top where the other
    /// is not.
    pub(crate) fn is_senior(&self, senior: usize, junior: usize) -> bool {
        if self.is_top(senior) {
            return !self.is_top(junior);
        }
        let depth = |at: usize| self.node(at).map_or(0, |node| node.depth);
        let (top, bottom) = (depth(senior), depth(junior));
        top < bottom && self.above(junior).nth(bottom - top - 1) == Some(senior)
    }

    /// Everything below some heads, and the heads.
    pub(crate) fn closure(&self, heads: &[usize]) -> FixedBitSet {
        let mut mask = FixedBitSet::with_capacity(self.len());
        for at in heads {
            mask.insert(*at);
            if let Some(node) = self.node(*at) {
                mask.union_with(&node.past);
            }
        }
        mask
    }

    /// How many of an author's operations in a past have no later one of his beside them there,
    /// counted up to one more than `most`.
    pub(crate) fn width(&self, author: &S, past: &FixedBitSet, most: usize) -> usize {
        let Some(changes) = self.changes_by.get(author) else {
            return 0;
        };
        let mut left = changes.clone();
        left.intersect_with(past);
        let mut width = 0;
        while let Some(newest) = left.maximum() {
            width += 1;
            if width > most {
                break;
            }
            left.set(newest, false);
            if let Some(node) = self.node(newest) {
                left.difference_with(&node.past);
            }
        }
        width
    }

    /// Adds a node, and says what it kills.
    pub(crate) fn push(&mut self, node: Node<I, S>) -> Victims {
        let at = self.len();
        let mut fate = Fate {
            killed: self.killers(&node),
            ..Fate::default()
        };
        let mut victims = Victims::default();
        if node.past.count_ones(..) < at {
            fate.overruled = self.overrulers(&node);
            victims = self.victims(&node);
        }
        if !fate.killed.is_empty() || !fate.overruled.is_empty() {
            set(&mut self.hits, at);
        }
        for victim in victims.killed.iter().chain(&victims.overruled) {
            set(&mut self.hits, *victim);
        }
        for victim in &victims.killed {
            self.change_fate(*victim, |fate| fate.killed.push(at));
        }
        for victim in &victims.overruled {
            self.change_fate(*victim, |fate| fate.overruled.push(at));
        }
        self.enlist(at, &node);
        self.nodes.push(node);
        self.fates.push(fate);
        victims
    }

    /// What has no effect if some victims have none: they, and what hangs on the roles they give.
    /// `None` if there is a removal among them.
    pub(crate) fn reach(&self, victims: &Victims) -> Option<Vec<(usize, Part)>> {
        let mut reached = Vec::new();
        let mut open: Vec<usize> = victims.overruled.clone();
        reached.extend(open.iter().map(|at| (*at, Part::Grant)));
        let mut acts = victims.killed.clone();
        loop {
            for at in acts.drain(..) {
                let node = self.node(at)?;
                if node.removal.is_some() {
                    return None;
                }
                if node.grant.is_some() {
                    reached.push((at, Part::Grant));
                    open.push(at);
                } else {
                    reached.push((at, Part::Other));
                }
            }
            let Some(incarnation) = open.pop() else {
                return Some(reached);
            };
            acts.extend(
                self.fate(incarnation)
                    .into_iter()
                    .flat_map(|fate| &fate.acts),
            );
        }
    }

    pub(crate) fn is_top(&self, at: usize) -> bool {
        self.node(at).is_some_and(|node| node.top)
    }

    fn up(&self, at: usize) -> Option<usize> {
        self.node(at)?.up
    }

    /// Removals that name the author's incarnation. Those in the node's past have no effect there,
    /// or the author could not act; they kill as soon as they have effect.
    fn killers(&self, node: &Node<I, S>) -> Vec<usize> {
        let namers = node.up.and_then(|up| self.fate(up)).map(|up| &up.namers);
        namers.cloned().unwrap_or_default()
    }

    /// Other concurrent removals of the one whom the node admits, unless they are the removals of a
    /// junior.
    fn overrulers(&self, node: &Node<I, S>) -> Vec<usize> {
        let Some((to, _)) = &node.grant else {
            return Vec::new();
        };
        unseen(node, self.removals_of.get(to))
            .filter(|removal| {
                let Some(other) = self.node(*removal) else {
                    return false;
                };
                !names(other, node.up) && !self.stands(node.up, other.up)
            })
            .collect()
    }

    /// What a removal kills among the nodes before it.
    fn victims(&self, node: &Node<I, S>) -> Victims {
        let Some(removal) = &node.removal else {
            return Victims::default();
        };
        let killed = removal
            .named
            .iter()
            .filter_map(|named| self.fate(*named))
            .flat_map(|fate| unseen(node, Some(&fate.acts)))
            .collect();
        let overruled = unseen(node, self.grants_to.get(&removal.fact.subject))
            .filter(|grant| {
                let up = self.up(*grant);
                !names(node, up) && !self.stands(up, node.up)
            })
            .collect();
        Victims { killed, overruled }
    }

    /// Whether a grant stands against a removal, for its author is senior.
    fn stands(&self, grant: Option<usize>, removal: Option<usize>) -> bool {
        let (Some(grant), Some(removal)) = (grant, removal) else {
            return grant.is_none();
        };
        self.is_senior(grant, removal)
    }

    fn enlist(&mut self, at: usize, node: &Node<I, S>) {
        if let Some(up) = node.up {
            self.change_fate(up, |fate| fate.acts.push(at));
        }
        if let Some((to, _)) = &node.grant {
            self.grants_to.entry(*to).or_default().push(at);
        }
        if let Some(removal) = &node.removal {
            let subject = removal.fact.subject;
            self.removals_of.entry(subject).or_default().push(at);
            set(&mut self.removals, at);
            for named in &removal.named {
                self.change_fate(*named, |fate| fate.namers.push(at));
            }
        }
        if node.grant.is_some() || node.removal.is_some() {
            set(self.changes_by.entry(node.author).or_default(), at);
        }
    }

    fn change_fate(&mut self, at: usize, change: impl FnOnce(&mut Fate)) {
        if let Some(fate) = self.fates.get_mut(at) {
            change(fate);
        }
    }
}

fn names<I, S>(removal: &Node<I, S>, incarnation: Option<usize>) -> bool {
    let Some((removal, incarnation)) = removal.removal.as_ref().zip(incarnation) else {
        return false;
    };
    removal.named.contains(&incarnation)
}

/// Those of a list that are not in the node's past: concurrent with it, as long as it is the newest.
fn unseen<'a, I, S>(
    node: &'a Node<I, S>,
    list: Option<&'a Vec<usize>>,
) -> impl Iterator<Item = usize> + 'a {
    list.into_iter()
        .flatten()
        .copied()
        .filter(|at| !node.past.contains(*at))
}

pub(crate) fn set(bits: &mut FixedBitSet, at: usize) {
    bits.grow(at + 1);
    bits.insert(at);
}
