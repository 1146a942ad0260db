//! What an operation passes through on its way into the log.

use std::sync::OnceLock;

use fixedbitset::FixedBitSet;

use super::Log;
use super::graph::Node;
use super::resolve::Resolved;
use super::validity::{Court, Halves};
use crate::operation::{Act, Key, Operation};
use crate::refusal::Refusal;
use crate::view::View;

impl<I: Key, S: Key> Log<I, S> {
    /// The incarnation, or the operation that gave it.
    pub(super) fn incarnation(&self, id: &I) -> Option<usize> {
        let at = self.roots.get(id).or_else(|| self.operations.get(id))?;
        self.graph.node(*at)?.grant.as_ref().map(|_| *at)
    }

    pub(super) fn indices(&self, operations: &[I]) -> Option<Vec<usize>> {
        let indices = operations.iter().map(|id| self.operations.get(id).copied());
        indices.collect()
    }

    pub(super) fn operation_id(&self, at: usize) -> Option<I> {
        if at < self.roots.len() {
            return Some(self.id);
        }
        self.graph.id(at)
    }

    pub(super) fn is_known(&self, id: &I) -> bool {
        self.operations.contains_key(id) || self.roots.contains_key(id)
    }

    /// Those of some operations that are in the past of no other, in order.
    pub(super) fn newest(&self, operations: &[usize]) -> Vec<usize> {
        let mut newest = operations.to_vec();
        newest.sort_unstable();
        newest.dedup();
        if newest.len() > 1 {
            let mut below = FixedBitSet::with_capacity(self.graph.len());
            for node in newest.iter().filter_map(|at| self.graph.node(*at)) {
                below.union_with(&node.past);
            }
            newest.retain(|at| !below.contains(*at));
        }
        newest
    }

    pub(super) fn judge_size(
        &self,
        operation: &Operation<I, S>,
        past: &FixedBitSet,
    ) -> Result<(), Refusal> {
        if past.count_ones(..) >= self.limits.operations {
            return Err(Refusal::TooManyOperations);
        }
        let most = self.limits.width;
        if self.graph.width(&operation.author, past, most) > most {
            return Err(Refusal::BubbleTooWide);
        }
        Ok(())
    }

    pub(super) fn judge(
        &self,
        operation: &Operation<I, S>,
        past: FixedBitSet,
        view: &View<I, S>,
    ) -> Result<Node<I, S>, Refusal> {
        let rank = view
            .live(&operation.author, &operation.incarnation)
            .ok_or(Refusal::NotLive)?;
        let incarnation = self
            .incarnation(&operation.incarnation)
            .ok_or(Refusal::NotLive)?;
        let court = Court {
            graph: &self.graph,
            view,
            operation,
            incarnation,
            rank,
            index_of: |id: &I| self.incarnation(id),
        };
        let Halves { grant, removal } = court.judge()?;
        let depth = self.graph.node(incarnation).map_or(0, |up| up.depth) + 1;
        Ok(Node {
            id: operation.id,
            author: operation.author,
            up: Some(incarnation),
            depth,
            top: matches!(operation.act, Act::Transfer { .. }) && self.graph.is_top(incarnation),
            grant,
            removal,
            past,
        })
    }

    /// Takes an allowed operation. `below` is the view of its parents, if that is not the current
    /// one.
    pub(super) fn push(
        &mut self,
        node: Node<I, S>,
        parents: &[usize],
        below: Option<Resolved<I, S>>,
    ) {
        let at = self.graph.len();
        self.operations.insert(node.id, at);
        let victims = self.graph.push(node);
        for parent in parents {
            self.heads.remove(parent);
        }
        self.heads.insert(at);
        if let Some(mut resolved) = below {
            resolved.apply(&self.graph, at, &[]);
            self.cache.keep(vec![at], resolved);
        }
        match self.graph.reach(&victims) {
            Some(reached) => {
                if let Some(resolved) = self.current.get_mut() {
                    resolved.apply(&self.graph, at, &reached);
                }
            }
            None => self.current = OnceLock::new(),
        }
    }

    /// What the whole log says.
    pub(super) fn resolved_now(&self) -> &Resolved<I, S> {
        self.current.get_or_init(|| {
            let mut mask = FixedBitSet::with_capacity(self.graph.len());
            mask.insert_range(..);
            Resolved::of(&self.graph, &mask)
        })
    }

    /// What some operations and everything below them say.
    pub(super) fn resolved_at(&mut self, heads: Vec<usize>) -> Resolved<I, S> {
        if let Some(resolved) = self.cache.find(&heads) {
            return resolved;
        }
        let mask = self.graph.closure(&heads);
        let resolved = Resolved::of(&self.graph, &mask);
        self.cache.keep(heads, resolved.clone());
        resolved
    }
}
