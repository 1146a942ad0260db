//! Which removals have effect: grounded labelling of the attack graph.
//!
//! A removal attacks another when it kills the other or a grant that the other's authority comes
//! from. Removals that nobody attacks are *in*; what an *in* removal attacks is *out*; a removal
//! attacked by *out* ones alone is *in*; and so on until nothing changes. No order of operations is
//! used, so there is nothing to grind. What stays undecided has effect (research/keys.md 2.3).
//!
//! Authority is a forest, so the question "is anything in the chain killed?" is answered once for
//! each killed incarnation: a [`Unit`] knows its own killers and the unit above it.

use std::collections::BTreeMap;

use fixedbitset::FixedBitSet;

use super::graph::{Fate, Graph};
use crate::operation::Key;

/// The outcome for one set of operations.
#[derive(Debug)]
pub(crate) struct Labels {
    /// Removals with effect.
    pub(crate) effective: FixedBitSet,
    /// Those of them that were not decided.
    pub(crate) doubtful: FixedBitSet,
    units: Vec<Unit>,
    /// By node, where something in its place in the forest is killed.
    places: Vec<Place>,
}

/// The units that decide about a node.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// About the operation without its grant: who names its author's incarnation, and above.
    act: Option<usize>,
    /// About the incarnation that it gives, and above.
    incarnation: Option<usize>,
}

/// A link in a chain of grants that somebody kills.
#[derive(Debug)]
struct Unit {
    above: Option<usize>,
    below: Vec<usize>,
    killers: Vec<usize>,
    /// Killers that are not known to be out.
    pending: usize,
    state: State,
    /// The removal that is in if this is clear and out if this is dead.
    removal: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Clear,
    Dead,
}

impl Labels {
    /// Labels the removals among `mask`, which holds the past of each of its operations.
    pub(crate) fn of<I: Key, S: Key>(graph: &Graph<I, S>, mask: &FixedBitSet) -> Self {
        let mut effective = graph.removals.clone();
        effective.intersect_with(mask);
        let mut labels = Self {
            effective,
            doubtful: FixedBitSet::with_capacity(graph.len()),
            units: Vec::new(),
            places: Vec::new(),
        };
        if !graph.hits.is_disjoint(mask) {
            labels.place(graph, mask);
            labels.settle();
        }
        labels
    }

    /// An effective removal that voids the operation apart from its grant.
    pub(crate) fn killer_of_act<I: Key, S: Key>(
        &self,
        graph: &Graph<I, S>,
        at: usize,
    ) -> Option<I> {
        self.killer(graph, self.places.get(at)?.act)
    }

    /// An effective removal that voids the grant.
    pub(crate) fn killer_of_grant<I: Key, S: Key>(
        &self,
        graph: &Graph<I, S>,
        at: usize,
    ) -> Option<I> {
        self.killer(graph, self.places.get(at)?.incarnation)
    }

    fn killer<I: Key, S: Key>(&self, graph: &Graph<I, S>, unit: Option<usize>) -> Option<I> {
        let units = std::iter::successors(unit, |at| self.units.get(*at)?.above);
        let killers = units
            .filter_map(|at| self.units.get(at))
            .flat_map(|unit| &unit.killers);
        first(graph, &self.effective, killers)
    }

    /// Makes a unit for each killed act and incarnation and for each removal below one.
    fn place<I: Key, S: Key>(&mut self, graph: &Graph<I, S>, mask: &FixedBitSet) {
        self.places = vec![Place::default(); graph.len()];
        for at in mask.ones() {
            let Some((node, fate)) = graph.node(at).zip(graph.fate(at)) else {
                continue;
            };
            let above = node
                .up
                .and_then(|up| self.places.get(up))
                .and_then(|place| place.incarnation);
            let hit = graph.hits.contains(at);
            if !hit && above.is_none() {
                continue;
            }
            let removal = graph.removals.contains(at).then_some(at);
            let mut place = Place {
                act: above,
                incarnation: above,
            };
            if hit || removal.is_some() {
                place.act = Some(self.add(above, among(mask, &fate.killed), removal));
            }
            if hit && node.grant.is_some() {
                place.incarnation = Some(self.add(above, grant_killers(mask, fate), None));
            }
            if let Some(slot) = self.places.get_mut(at) {
                *slot = place;
            }
        }
    }

    fn add(&mut self, above: Option<usize>, killers: Vec<usize>, removal: Option<usize>) -> usize {
        let at = self.units.len();
        if let Some(above) = above.and_then(|above| self.units.get_mut(above)) {
            above.below.push(at);
        }
        self.units.push(Unit {
            above,
            below: Vec::new(),
            pending: killers.len(),
            killers,
            state: State::Open,
            removal,
        });
        at
    }

    /// Runs the labelling to its end, and leaves the outcome in `effective` and `doubtful`.
    fn settle(&mut self) {
        let mut victims: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (at, unit) in self.units.iter().enumerate() {
            for killer in &unit.killers {
                victims.entry(*killer).or_default().push(at);
            }
        }
        let mut open = FixedBitSet::with_capacity(self.effective.len());
        open.extend(self.units.iter().filter_map(|unit| unit.removal));
        let mut work: Vec<(usize, State)> = Vec::new();
        for killer in victims.keys().filter(|killer| !open.contains(**killer)) {
            let dead = victims.get(killer).into_iter().flatten();
            work.extend(dead.map(|at| (*at, State::Dead)));
        }
        work.extend((0..self.units.len()).map(|at| (at, State::Clear)));
        while let Some((at, state)) = work.pop() {
            self.step(at, state, &victims, &mut open, &mut work);
        }
        self.doubtful = open;
    }

    /// Gives one unit a state, if it may have it yet, and notes what follows.
    fn step(
        &mut self,
        at: usize,
        state: State,
        victims: &BTreeMap<usize, Vec<usize>>,
        open: &mut FixedBitSet,
        work: &mut Vec<(usize, State)>,
    ) {
        let may = state == State::Dead || self.may_clear(at);
        let Some(unit) = self.units.get_mut(at) else {
            return;
        };
        if unit.state != State::Open || !may {
            return;
        }
        unit.state = state;
        work.extend(unit.below.iter().map(|below| (*below, state)));
        let Some(removal) = unit.removal else {
            return;
        };
        open.set(removal, false);
        let attacked = victims.get(&removal).map_or(&[][..], Vec::as_slice);
        if state == State::Clear {
            work.extend(attacked.iter().map(|victim| (*victim, State::Dead)));
            return;
        }
        self.effective.set(removal, false);
        for victim in attacked {
            if let Some(unit) = self.units.get_mut(*victim) {
                unit.pending = unit.pending.saturating_sub(1);
                work.push((*victim, State::Clear));
            }
        }
    }

    fn may_clear(&self, at: usize) -> bool {
        let Some(unit) = self.units.get(at) else {
            return false;
        };
        let above = unit.above.and_then(|above| self.units.get(above));
        unit.pending == 0 && above.is_none_or(|above| above.state == State::Clear)
    }
}

/// Of some removals, the one in `wanted` with the smallest identifier.
pub(crate) fn first<'a, I: Key, S: Key>(
    graph: &Graph<I, S>,
    wanted: &FixedBitSet,
    removals: impl Iterator<Item = &'a usize>,
) -> Option<I> {
    removals
        .filter(|at| wanted.contains(**at))
        .filter_map(|at| graph.id(*at))
        .min()
}

fn among(mask: &FixedBitSet, removals: &[usize]) -> Vec<usize> {
    let known = removals.iter().copied().filter(|at| mask.contains(*at));
    known.collect()
}

fn grant_killers(mask: &FixedBitSet, fate: &Fate) -> Vec<usize> {
    let all = fate.killed.iter().chain(&fate.overruled).copied();
    all.filter(|at| mask.contains(*at)).collect()
}
