//! The resolver: operations in, views out.

mod cache;
mod graph;
mod intake;
mod label;
mod resolve;
mod validity;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use fixedbitset::FixedBitSet;

use crate::operation::{Key, Operation, Rank};
use crate::refusal::Refusal;
use crate::view::View;
use cache::Cache;
use graph::{Graph, Node};
use resolve::Resolved;

/// How many views of older places are kept.
const VIEWS_KEPT: usize = 64;

/// What bounds a log (research/keys.md 2.13).
///
/// A verdict may depend on an operation's past alone, so the bounds do too. No rule of that kind
/// bounds what a forking author puts side by side: of two siblings neither is in the other's past.
/// The bounds keep a branch short and refuse whoever builds on too wide a fork of his own; that an
/// author's operations form a chain, and who broke it, is for the caller to prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Operations in an operation's past.
    pub operations: usize,
    /// Operations in the past by the author himself that change the membership and of which none
    /// is in the past of another.
    pub width: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            operations: 10_000,
            width: 200,
        }
    }
}

/// Whether an accepted operation was new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is now part of the log.
    New,
    /// It was part of the log before.
    Known,
}

/// Operations of one conversation or one user, and who is a member by them.
///
/// `I` identifies operations and incarnations, `S` those who can be members: users in a
/// conversation, devices and recovery keys in a user log. The current view is kept up to date as
/// operations come; older views are found again from a small cache or resolved anew.
#[derive(Debug, Clone)]
pub struct Log<I, S> {
    graph: Graph<I, S>,
    operations: BTreeMap<I, usize>,
    /// Incarnations that the founding operation gives; they are the first nodes.
    roots: BTreeMap<I, usize>,
    /// The founding operation.
    id: I,
    heads: BTreeSet<usize>,
    current: OnceLock<Resolved<I, S>>,
    cache: Cache<I, S>,
    limits: Limits,
}

impl<I: Key, S: Key> Log<I, S> {
    /// A log whose founding operation makes `subject` its owner.
    pub fn found(id: I, subject: S) -> Self {
        Self::found_with(id, &[(subject, Rank::Owner, id)])
    }

    /// A log whose founding operation gives several roles: each with its subject, rank and
    /// incarnation, the first the root and each granted by the one before it.
    ///
    /// A user log begins so, with the recovery key as owner and the first device as an admin below
    /// it (research/keys.md 2.1).
    pub fn found_with(id: I, roles: &[(S, Rank, I)]) -> Self {
        let mut log = Self {
            graph: Graph::new(),
            operations: BTreeMap::new(),
            roots: BTreeMap::new(),
            id,
            heads: BTreeSet::new(),
            current: OnceLock::new(),
            cache: Cache::new(VIEWS_KEPT),
            limits: Limits::default(),
        };
        let mut granter = None;
        for (at, (subject, rank, incarnation)) in roles.iter().enumerate() {
            let mut past = FixedBitSet::with_capacity(at);
            past.insert_range(..);
            log.graph.push(Node {
                id: *incarnation,
                author: granter.unwrap_or(*subject),
                up: at.checked_sub(1),
                depth: at,
                top: at == 0,
                grant: Some((*subject, *rank)),
                removal: None,
                past,
            });
            granter = Some(*subject);
            log.roots.insert(*incarnation, at);
        }
        if let Some(last) = roles.len().checked_sub(1) {
            log.operations.insert(id, last);
            log.heads.insert(last);
        }
        log
    }

    /// The same log under other bounds.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Judges an operation, and takes it if it is allowed.
    ///
    /// # Errors
    /// [`Refusal::UnknownParents`] if it came before its parents; else the reason why it is refused
    /// for ever.
    pub fn insert(&mut self, operation: &Operation<I, S>) -> Result<Inserted, Refusal> {
        if self.is_known(&operation.id) {
            return Ok(Inserted::Known);
        }
        let parents = self.indices(&operation.parents);
        let parents = self.newest(&parents.ok_or(Refusal::UnknownParents)?);
        let past = self.graph.closure(&parents);
        self.judge_size(operation, &past)?;
        if self.heads.iter().eq(&parents) {
            let node = self.judge(operation, past, &self.resolved_now().view)?;
            self.push(node, &parents, None);
        } else {
            let below = self.resolved_at(parents.clone());
            let node = self.judge(operation, past, &below.view)?;
            self.push(node, &parents, Some(below));
        }
        Ok(Inserted::New)
    }

    /// The parents of an operation that are not in the log.
    pub fn missing(&self, operation: &Operation<I, S>) -> Vec<I> {
        let unknown = |parent: &&I| !self.operations.contains_key(parent);
        operation.parents.iter().filter(unknown).copied().collect()
    }

    /// The view of everything in the log.
    pub fn current(&self) -> Arc<View<I, S>> {
        Arc::clone(&self.resolved_now().view)
    }

    /// The view of some operations and everything below them; `None` if one is unknown.
    pub fn view(&mut self, heads: &[I]) -> Option<Arc<View<I, S>>> {
        let heads = self.newest(&self.indices(heads)?);
        if self.heads.iter().eq(&heads) {
            return Some(self.current());
        }
        Some(self.resolved_at(heads).view)
    }

    /// The newest operations, in the order of their identifiers.
    pub fn heads(&self) -> Vec<I> {
        let mut heads: Vec<I> = self
            .heads
            .iter()
            .filter_map(|at| self.operation_id(*at))
            .collect();
        heads.sort_unstable();
        heads
    }

    /// Whether the operation is in the log.
    pub fn contains(&self, id: &I) -> bool {
        self.operations.contains_key(id)
    }

    /// Operations in the log, the founding one among them.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether the log was founded with no role at all, and can take nothing.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Whether `earlier` is in the past of `later`. No operation is in its own past, and nothing is
    /// known of operations outside the log.
    pub fn past_contains(&self, later: &I, earlier: &I) -> bool {
        let later = self.operations.get(later);
        let earlier = self.operations.get(earlier);
        later
            .zip(earlier)
            .is_some_and(|(later, earlier)| self.graph.precedes(*earlier, *later))
    }

    /// The incarnations that give one its authority, nearest first, up to the root; `None` if it is
    /// unknown.
    pub fn chain(&self, incarnation: &I) -> Option<Vec<I>> {
        let above = self.graph.above(self.incarnation(incarnation)?);
        Some(above.filter_map(|at| self.graph.id(at)).collect())
    }

    /// Whether one incarnation is above another: in its chain, or the owner's, wherever in the tree
    /// the other is. The same wherever it is asked, and never so for one that is unknown.
    pub fn is_above(&self, senior: &I, junior: &I) -> bool {
        let senior = self.incarnation(senior);
        let junior = self.incarnation(junior);
        senior
            .zip(junior)
            .is_some_and(|(senior, junior)| self.graph.is_senior(senior, junior))
    }

    /// How many incarnations are in the chain of one; `None` if it is unknown.
    pub fn depth(&self, incarnation: &I) -> Option<usize> {
        let at = self.incarnation(incarnation)?;
        self.graph.node(at).map(|node| node.depth)
    }
}
