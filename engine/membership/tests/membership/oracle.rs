//! The reference model of the resolver: slow, direct, on bit masks, and without the product's code.
//!
//! Operations here are simple: a grant, a removal, or anything else. A regrant is a removal and then
//! a grant; a transfer is a grant and then a removal of the author. Each such half knows the other
//! through its past.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

pub(crate) const OWNER: u8 = 3;
pub(crate) const ADMIN: u8 = 2;
pub(crate) const WRITER: u8 = 1;
pub(crate) const READER: u8 = 0;

pub(crate) type Mask = u128;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Grant,
    Remove,
    Other,
    /// The halves of a transfer differ from the plain kinds in validity alone.
    TransferGrant,
    TransferRemoval,
}

#[derive(Debug, Clone)]
pub(crate) struct Op {
    pub(crate) author: usize,
    /// The operation that gave the author his role.
    pub(crate) inc: Option<usize>,
    pub(crate) kind: Kind,
    pub(crate) target: usize,
    /// What is granted, or what the author needs.
    pub(crate) role: u8,
    pub(crate) past: Mask,
}

impl Op {
    fn grants(&self) -> bool {
        matches!(self.kind, Kind::Grant | Kind::TransferGrant)
    }

    fn removes(&self) -> bool {
        matches!(self.kind, Kind::Remove | Kind::TransferRemoval)
    }
}

/// By which rule operations are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The product's: whoever a removal names does nothing from there on, beside it or after it.
    Mended,
    /// That of research/keys.md 2.3: a removal kills what is concurrent with it alone.
    Paper,
    /// As on paper, but every admin may remove every admin, and seniority protects no grant.
    Flat,
}

/// Role and live incarnations of each member.
pub(crate) type Standing = BTreeMap<usize, (u8, Vec<usize>)>;

#[derive(Debug, Clone, Default)]
pub(crate) struct Resolved {
    pub(crate) standing: Standing,
    pub(crate) effective: Vec<usize>,
    pub(crate) undecided: Vec<usize>,
    pub(crate) effective_grants: Vec<usize>,
    /// Operations of other kinds that nothing kills.
    pub(crate) effective_others: Vec<usize>,
    pub(crate) valid: Vec<usize>,
}

#[derive(Debug, Clone)]
pub(crate) struct Dag {
    pub(crate) ops: Vec<Op>,
    named: BTreeMap<usize, Vec<usize>>,
    validity: BTreeMap<usize, bool>,
    cache: BTreeMap<Mask, Rc<Resolved>>,
    /// Operations that are the founding one, and valid by definition.
    roots: usize,
    pub(crate) rule: Rule,
}

pub(crate) fn bit(at: usize) -> Mask {
    1 << at
}

pub(crate) fn bits(mask: Mask) -> impl Iterator<Item = usize> {
    (0..128).filter(move |at| mask & bit(*at) != 0)
}

impl Dag {
    pub(crate) fn new(roots: &[(usize, u8)], rule: Rule) -> Self {
        let ops = roots.iter().enumerate().map(|(at, (target, role))| Op {
            author: roots[at.saturating_sub(1)].0,
            inc: at.checked_sub(1),
            kind: Kind::Grant,
            target: *target,
            role: *role,
            past: bit(at) - 1,
        });
        Self {
            ops: ops.collect(),
            named: BTreeMap::new(),
            validity: BTreeMap::new(),
            cache: BTreeMap::new(),
            roots: roots.len(),
            rule,
        }
    }

    pub(crate) fn all(&self) -> Mask {
        bit(self.ops.len()) - 1
    }

    pub(crate) fn concurrent(&self, i: usize, j: usize) -> bool {
        i != j && self.ops[j].past & bit(i) == 0 && self.ops[i].past & bit(j) == 0
    }

    /// Grants that give an operation its authority, nearest first.
    pub(crate) fn chain(&self, i: usize) -> Vec<usize> {
        std::iter::successors(self.ops[i].inc, |inc| self.ops[*inc].inc).collect()
    }

    /// Whether an incarnation is nobody's, or was handed over by one that stands there.
    pub(crate) fn is_top(&self, i: usize) -> bool {
        let op = &self.ops[i];
        op.inc
            .is_none_or(|inc| op.kind == Kind::TransferGrant && self.is_top(inc))
    }

    /// Whether one incarnation is above another: in its chain, or at the top where that is not.
    pub(crate) fn is_senior(&self, senior: usize, junior: usize) -> bool {
        if self.is_top(senior) {
            return !self.is_top(junior);
        }
        self.chain(junior).contains(&senior)
    }

    pub(crate) fn grants(&self, i: usize) -> bool {
        self.ops[i].grants()
    }

    pub(crate) fn removes(&self, i: usize) -> bool {
        self.ops[i].removes()
    }

    /// The operation and everything its authority comes from.
    pub(crate) fn line(&self, i: usize) -> Vec<usize> {
        let mut line = vec![i];
        line.extend(self.chain(i));
        line
    }

    pub(crate) fn push(&mut self, op: Op) -> usize {
        self.ops.push(op);
        self.ops.len() - 1
    }

    /// Takes back the newest operation.
    pub(crate) fn pop(&mut self) {
        self.ops.pop();
        self.named.remove(&self.ops.len());
        self.validity.remove(&self.ops.len());
        let known = self.all();
        self.cache.retain(|mask, _| mask & !known == 0);
    }

    pub(crate) fn valid(&mut self, i: usize) -> bool {
        if !self.validity.contains_key(&i) {
            let valid = i < self.roots || self.judge(i);
            self.validity.insert(i, valid);
        }
        self.validity[&i]
    }

    fn judge(&mut self, i: usize) -> bool {
        let op = self.ops[i].clone();
        let Some(inc) = op.inc else { return false };
        let resolved = self.resolve(op.past);
        let view = &resolved.standing;
        let Some((author_role, author_live)) = view.get(&op.author) else {
            return false;
        };
        if !author_live.contains(&inc) {
            return false;
        }
        let rank = self.ops[inc].role;
        match op.kind {
            Kind::Other => rank >= op.role,
            Kind::Grant => {
                let present = view.get(&op.target).map(|(role, _)| *role);
                rank >= ADMIN && op.role <= ADMIN && present.is_none_or(|role| role < op.role)
            }
            Kind::TransferGrant => {
                rank == OWNER && view.get(&op.target).is_some_and(|(role, _)| *role == ADMIN)
            }
            Kind::TransferRemoval => op.target == op.author,
            Kind::Remove if op.target == op.author => {
                self.rule == Rule::Flat || *author_role != OWNER
            }
            Kind::Remove => {
                let Some((role, live)) = view.get(&op.target) else {
                    return false;
                };
                if rank < ADMIN {
                    return false;
                }
                let senior = |g: &usize| self.ops[*g].role < ADMIN || self.is_senior(inc, *g);
                self.rule == Rule::Flat || *role != OWNER && live.iter().all(senior)
            }
        }
    }

    /// Live incarnations of the target in the remover's own view.
    pub(crate) fn named(&mut self, r: usize) -> Vec<usize> {
        if !self.named.contains_key(&r) {
            let resolved = self.resolve(self.ops[r].past);
            let live = resolved.standing.get(&self.ops[r].target).cloned();
            self.named.insert(r, live.unwrap_or_default().1);
        }
        self.named[&r].clone()
    }

    pub(crate) fn kills(&mut self, r: usize, x: usize) -> bool {
        let concurrent = self.concurrent(r, x);
        let later = self.rule == Rule::Mended && self.ops[x].past & bit(r) != 0;
        let inc = self.ops[x].inc;
        if (concurrent || later) && inc.is_some_and(|inc| self.named(r).contains(&inc)) {
            return true;
        }
        if concurrent && self.ops[x].grants() && self.ops[x].target == self.ops[r].target {
            // A removal beats a concurrent grant, unless a strictly senior incarnation gave it.
            let senior = inc
                .zip(self.ops[r].inc)
                .is_some_and(|(granter, remover)| self.is_senior(granter, remover));
            return self.rule == Rule::Flat || !senior;
        }
        false
    }

    fn kills_any(&mut self, r: usize, line: &[usize]) -> bool {
        line.iter().any(|x| self.kills(r, *x))
    }

    pub(crate) fn resolve(&mut self, mask: Mask) -> Rc<Resolved> {
        if let Some(known) = self.cache.get(&mask) {
            return Rc::clone(known);
        }
        let mut out = Resolved::default();
        for i in bits(mask) {
            if self.valid(i) {
                out.valid.push(i);
            }
        }
        let select = |dag: &Self, what: fn(&Op) -> bool| -> Vec<usize> {
            let valid = out.valid.iter().copied();
            valid.filter(|i| what(&dag.ops[*i])).collect()
        };
        let removals = select(self, Op::removes);
        let grants = select(self, Op::grants);
        let others = select(self, |op| op.kind == Kind::Other);
        let labels = self.label(&removals);
        out.undecided = removals.clone();
        out.undecided.retain(|r| !labels.contains_key(r));
        out.effective = removals;
        out.effective.retain(|r| labels.get(r) != Some(&false));
        let mut ended = BTreeSet::new();
        for r in &out.effective {
            ended.extend(self.named(*r));
        }
        for x in grants.iter().chain(&others).copied() {
            let line = self.line(x);
            if out.effective.iter().any(|r| self.kills_any(*r, &line)) {
                continue;
            }
            if !self.ops[x].grants() {
                out.effective_others.push(x);
                continue;
            }
            out.effective_grants.push(x);
            if !ended.contains(&x) {
                let entry = out.standing.entry(self.ops[x].target).or_default();
                entry.0 = entry.0.max(self.ops[x].role);
                entry.1.push(x);
            }
        }
        let out = Rc::new(out);
        self.cache.insert(mask, Rc::clone(&out));
        out
    }

    /// In is true, out is false, undecided is absent.
    fn label(&mut self, removals: &[usize]) -> BTreeMap<usize, bool> {
        let mut attackers: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for r in removals {
            let line = self.line(*r);
            let mut of = removals.to_vec();
            of.retain(|q| q != r && self.kills_any(*q, &line));
            attackers.insert(*r, of);
        }
        let mut labels = BTreeMap::new();
        loop {
            let before = labels.len();
            for r in removals {
                let of = &attackers[r];
                if labels.contains_key(r) {
                    continue;
                }
                if of.iter().all(|q| labels.get(q) == Some(&false)) {
                    labels.insert(*r, true);
                } else if of.iter().any(|q| labels.get(q) == Some(&true)) {
                    labels.insert(*r, false);
                }
            }
            if labels.len() == before {
                return labels;
            }
        }
    }

    pub(crate) fn heads(&self, mask: Mask) -> Vec<usize> {
        let below = bits(mask).fold(0, |below, i| below | self.ops[i].past);
        bits(mask & !below).collect()
    }
}
