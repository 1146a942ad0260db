//! From a set of operations to what it says: all at once, or one more operation at a time.

use std::sync::Arc;

use fixedbitset::FixedBitSet;

use super::graph::{Graph, Node, set};
use super::label::{Labels, first};
use crate::operation::Key;
use crate::view::{Part, View, Void};

/// A view, and what it takes to go on from there.
#[derive(Debug, Clone)]
pub(crate) struct Resolved<I, S> {
    pub(crate) view: Arc<View<I, S>>,
    effective: FixedBitSet,
    doubtful: FixedBitSet,
}

impl<I: Key, S: Key> Resolved<I, S> {
    /// The view of a set of operations, which holds the past of each.
    pub(crate) fn of(graph: &Graph<I, S>, mask: &FixedBitSet) -> Self {
        let labels = Labels::of(graph, mask);
        let removals = || {
            let nodes = labels.effective.ones().filter_map(|at| graph.node(at));
            nodes.filter_map(|node| node.removal.as_ref())
        };
        let mut ended = FixedBitSet::with_capacity(graph.len());
        ended.extend(removals().flat_map(|removal| removal.named.iter().copied()));
        let facts = removals().map(|removal| Arc::clone(&removal.fact));
        let doubtful = labels.doubtful.ones().filter_map(|at| graph.id(at));
        let mut view = View::empty();
        view.removals = facts.collect();
        view.removals.sort_unstable_by_key(|fact| fact.operation);
        view.undecided = doubtful.collect();
        view.undecided.sort_unstable();
        for (at, node) in mask.ones().filter_map(|at| Some((at, graph.node(at)?))) {
            take(graph, &labels, at, node, &ended, &mut view);
        }
        view.void.sort_unstable();
        Self {
            view: Arc::new(view),
            effective: labels.effective,
            doubtful: labels.doubtful,
        }
    }

    /// Adds one operation.
    ///
    /// `reached` is all that it voids here if it has effect. There is no removal among that, so no
    /// label depends on the operation.
    pub(crate) fn apply(&mut self, graph: &Graph<I, S>, at: usize, reached: &[(usize, Part)]) {
        let Some(node) = graph.node(at) else {
            return;
        };
        let view = Arc::make_mut(&mut self.view);
        if let Some((to, rank)) = node.grant {
            match killer(graph, &self.effective, at, Part::Grant) {
                Some(by) => view.annul(void(node, Part::Grant, by)),
                None => view.grant(to, node.id, rank),
            }
        }
        if let Some(removal) = &node.removal {
            if let Some(by) = killer(graph, &self.effective, at, Part::Removal) {
                let mut decided = self.effective.clone();
                decided.difference_with(&self.doubtful);
                if killer(graph, &decided, at, Part::Removal).is_some() {
                    view.annul(void(node, Part::Removal, by));
                    return;
                }
                set(&mut self.doubtful, at);
                view.doubt(node.id);
            }
            set(&mut self.effective, at);
            view.remove(&removal.fact);
        } else if node.grant.is_none()
            && let Some(by) = killer(graph, &self.effective, at, Part::Other)
        {
            view.annul(void(node, Part::Other, by));
        }
        for (victim, part) in reached {
            let Some(victim) = graph.node(*victim) else {
                continue;
            };
            view.annul(void(victim, *part, node.id));
            if let (Part::Grant, Some((to, _))) = (part, &victim.grant) {
                view.withdraw(to, &victim.id);
            }
        }
    }
}

/// Enters a node's grant into the view, or the parts of it that are void.
fn take<I: Key, S: Key>(
    graph: &Graph<I, S>,
    labels: &Labels,
    at: usize,
    node: &Node<I, S>,
    ended: &FixedBitSet,
    view: &mut View<I, S>,
) {
    if let Some((to, rank)) = node.grant {
        match labels.killer_of_grant(graph, at) {
            Some(by) => view.void.push(void(node, Part::Grant, by)),
            None if ended.contains(at) => {}
            None => view.grant(to, node.id, rank),
        }
    }
    let part = match (&node.removal, node.grant) {
        (Some(_), _) if labels.effective.contains(at) => return,
        (Some(_), _) => Part::Removal,
        (None, Some(_)) => return,
        (None, None) => Part::Other,
    };
    if let Some(by) = labels.killer_of_act(graph, at) {
        view.void.push(void(node, part, by));
    }
}

fn void<I: Key, S: Key>(node: &Node<I, S>, part: Part, by: I) -> Void<I> {
    Void {
        operation: node.id,
        part,
        by,
    }
}

/// Of some removals, the one with the smallest identifier that voids a part of an operation.
fn killer<I: Key, S: Key>(
    graph: &Graph<I, S>,
    removals: &FixedBitSet,
    at: usize,
    part: Part,
) -> Option<I> {
    if graph.hits.is_clear() {
        return None;
    }
    let own = graph.fate(at)?;
    let overruled = own.overruled.iter().filter(|_| part == Part::Grant);
    let above = graph.above(at).filter_map(|above| graph.fate(above));
    let above = above.flat_map(|fate| fate.killed.iter().chain(&fate.overruled));
    first(
        graph,
        removals,
        own.killed.iter().chain(overruled).chain(above),
    )
}
