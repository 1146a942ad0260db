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

    /// Adds one operation that kills nothing here, so that no label and no other operation's
    /// standing depends on it.
    pub(crate) fn apply(&mut self, graph: &Graph<I, S>, at: usize) {
        let Some(node) = graph.node(at) else {
            return;
        };
        let view = Arc::make_mut(&mut self.view);
        if let Some((to, rank)) = node.grant {
            match nearest_killer(graph, &self.effective, at, Part::Grant) {
                Some(by) => view.annul(void(node, Part::Grant, by)),
                None => view.grant(to, node.id, rank),
            }
        }
        if let Some(removal) = &node.removal {
            if let Some(by) = nearest_killer(graph, &self.effective, at, Part::Removal) {
                let mut decided = self.effective.clone();
                decided.difference_with(&self.doubtful);
                if nearest_killer(graph, &decided, at, Part::Removal).is_some() {
                    view.annul(void(node, Part::Removal, by));
                    return;
                }
                set(&mut self.doubtful, at);
                view.doubt(node.id);
            }
            set(&mut self.effective, at);
            view.remove(&removal.fact);
        } else if node.grant.is_none()
            && let Some(by) = nearest_killer(graph, &self.effective, at, Part::Other)
        {
            view.annul(void(node, Part::Other, by));
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

/// Of some removals, one that voids a part of an operation.
fn nearest_killer<I: Key, S: Key>(
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
    first(graph, removals, own.killed.iter().chain(overruled)).or_else(|| {
        graph.above(at).find_map(|above| {
            let fate = graph.fate(above)?;
            first(graph, removals, fate.killed.iter().chain(&fate.overruled))
        })
    })
}
