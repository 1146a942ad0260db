//! What a log says at some place of its history.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::operation::{Key, Rank};

/// Who is a member at some place of a log's history, and what has no effect there.
///
/// A function of the set of operations below that place: two replicas with the same heads have
/// equal views (research/keys.md 2.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View<I, S> {
    pub(crate) members: BTreeMap<S, Member<I>>,
    pub(crate) removals: Vec<Arc<RemovalFact<I, S>>>,
    pub(crate) void: Vec<Void<I>>,
    pub(crate) undecided: Vec<I>,
}

/// A member's standing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member<I> {
    /// The highest rank among the live incarnations.
    pub rank: Rank,
    /// Live incarnations with their ranks, in the order of their identifiers; never empty.
    pub live: Vec<(I, Rank)>,
}

/// A removal that has effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovalFact<I, S> {
    /// The remove, regrant or transfer.
    pub operation: I,
    /// Whose incarnations it ends; the author, for a transfer or for leaving.
    pub subject: S,
    /// The incarnations it ends, in the order of their identifiers.
    pub named: Vec<I>,
}

/// Which half of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The rank that it gives.
    Grant,
    /// The incarnations that it ends.
    Removal,
    /// What an operation of another kind says.
    Other,
}

/// A valid operation, or half of one, that has no effect now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Void<I> {
    /// The operation.
    pub operation: I,
    /// The half.
    pub part: Part,
    /// The effective removal that voids it; of several the one with the smallest identifier.
    pub by: I,
}

impl<I: Key, S: Key> View<I, S> {
    pub(crate) fn empty() -> Self {
        Self {
            members: BTreeMap::new(),
            removals: Vec::new(),
            void: Vec::new(),
            undecided: Vec::new(),
        }
    }

    /// The members.
    pub fn members(&self) -> &BTreeMap<S, Member<I>> {
        &self.members
    }

    /// A member's standing; `None` for everybody else.
    pub fn member(&self, subject: &S) -> Option<&Member<I>> {
        self.members.get(subject)
    }

    /// A member's highest rank; `None` for everybody else.
    pub fn rank(&self, subject: &S) -> Option<Rank> {
        self.member(subject).map(|member| member.rank)
    }

    /// The rank of one of the subject's live incarnations; `None` if it is not live or not his.
    pub fn live(&self, subject: &S, incarnation: &I) -> Option<Rank> {
        self.member(subject)?.rank_of(incarnation)
    }

    /// Removals that have effect, the undecided among them, in the order of their identifiers.
    pub fn effective_removals(&self) -> impl ExactSizeIterator<Item = &RemovalFact<I, S>> {
        self.removals.iter().map(Arc::as_ref)
    }

    /// Operations that are valid and have no effect now, in the order of their identifiers.
    pub fn void(&self) -> &[Void<I>] {
        &self.void
    }

    /// What voids a half of an operation; `None` if it has effect, or is not below this view.
    pub fn voided_by(&self, operation: &I, part: Part) -> Option<I> {
        let at = self
            .void
            .binary_search_by(|void| (void.operation, void.part).cmp(&(*operation, part)))
            .ok()?;
        self.void.get(at).map(|void| void.by)
    }

    /// Removals in a circle of attacks. They count as effective: who is in doubt is out.
    pub fn undecided(&self) -> &[I] {
        &self.undecided
    }

    pub(crate) fn grant(&mut self, to: S, incarnation: I, rank: Rank) {
        let member = self.members.entry(to).or_insert_with(|| Member {
            rank,
            live: Vec::new(),
        });
        member.rank = member.rank.max(rank);
        insert_sorted(&mut member.live, (incarnation, rank));
    }

    pub(crate) fn remove(&mut self, fact: &Arc<RemovalFact<I, S>>) {
        let at = self
            .removals
            .partition_point(|other| other.operation < fact.operation);
        self.removals.insert(at, Arc::clone(fact));
        self.end(&fact.subject, |live| fact.named.contains(live));
    }

    fn end(&mut self, subject: &S, ended: impl Fn(&I) -> bool) {
        let Some(member) = self.members.get_mut(subject) else {
            return;
        };
        member.live.retain(|(incarnation, _)| !ended(incarnation));
        match member.live.iter().map(|(_, rank)| *rank).max() {
            Some(rank) => member.rank = rank,
            None => {
                self.members.remove(subject);
            }
        }
    }

    /// Ends an incarnation whose grant is void now.
    pub(crate) fn withdraw(&mut self, subject: &S, incarnation: &I) {
        self.end(subject, |live| live == incarnation);
    }

    pub(crate) fn annul(&mut self, void: Void<I>) {
        let known = self
            .void
            .binary_search_by_key(&(void.operation, void.part), |void| {
                (void.operation, void.part)
            });
        match known {
            Err(at) => self.void.insert(at, void),
            Ok(at) => {
                if let Some(known) = self.void.get_mut(at) {
                    known.by = known.by.min(void.by);
                }
            }
        }
    }

    pub(crate) fn doubt(&mut self, removal: I) {
        insert_sorted(&mut self.undecided, removal);
    }
}

impl<I: Key> Member<I> {
    /// The rank of a live incarnation.
    pub fn rank_of(&self, incarnation: &I) -> Option<Rank> {
        let at = self
            .live
            .binary_search_by(|(other, _)| other.cmp(incarnation))
            .ok()?;
        self.live.get(at).map(|(_, rank)| *rank)
    }

    /// The live incarnations, in the order of their identifiers.
    pub fn incarnations(&self) -> impl ExactSizeIterator<Item = I> {
        self.live.iter().map(|(incarnation, _)| *incarnation)
    }
}

fn insert_sorted<T: Ord>(list: &mut Vec<T>, value: T) {
    let at = list.partition_point(|other| *other < value);
    list.insert(at, value);
}
