//! Random histories: users who act on their own replicas and merge, and adversaries who back-date.

use sheaf_membership::{Act, Operation, Rank};

use crate::oracle::{ADMIN, Dag, Kind, Mask, OWNER, Op, READER, Rule, WRITER, bit, bits};
use crate::random::Random;

/// What people may do in a history, in percent of what they do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mix {
    pub(crate) regrants: u64,
    pub(crate) transfers: u64,
    pub(crate) others: u64,
    pub(crate) readers: u64,
}

/// As in the model: grants and removals alone.
pub(crate) const PLAIN: Mix = Mix {
    regrants: 0,
    transfers: 0,
    others: 0,
    readers: 0,
};
/// Everything but changes of the owner.
pub(crate) const OWNED: Mix = Mix {
    regrants: 12,
    transfers: 0,
    others: 15,
    readers: 30,
};
/// Everything.
pub(crate) const FULL: Mix = Mix {
    regrants: 12,
    transfers: 6,
    others: 15,
    readers: 30,
};

/// Many changes of the owner.
pub(crate) const HEIRS: Mix = Mix {
    regrants: 8,
    transfers: 40,
    others: 5,
    readers: 10,
};

/// One operation of the product: one or two of the oracle.
#[derive(Debug, Clone)]
pub(crate) struct Action {
    /// Index of the first half.
    pub(crate) first: usize,
    pub(crate) halves: usize,
    pub(crate) operation: Operation<u64, usize>,
}

#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) dag: Dag,
    pub(crate) actions: Vec<Action>,
    /// What was tried and is not valid.
    pub(crate) refused: Vec<Operation<u64, usize>>,
    /// What each user knows.
    pub(crate) know: Vec<Mask>,
    salt: u64,
}

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Grant(usize, u8),
    Remove(usize),
    Regrant(usize, u8),
    Transfer(usize),
    Other(u8),
}

pub(crate) fn rank(role: u8) -> Rank {
    match role {
        READER => Rank::Reader,
        WRITER => Rank::Writer,
        ADMIN => Rank::Admin,
        OWNER => Rank::Owner,
        _ => panic!("no such role"),
    }
}

impl History {
    pub(crate) fn new(users: usize, salt: u64, rule: Rule) -> Self {
        Self {
            dag: Dag::new(&[(0, OWNER)], rule),
            actions: Vec::new(),
            refused: Vec::new(),
            know: vec![1; users],
            salt,
        }
    }

    /// The identifier of an operation, or of the incarnation it gives: no order to rely on.
    pub(crate) fn id(&self, at: usize) -> u64 {
        let action = self.actions.iter().find(|action| action.covers(at));
        self.name(action.map_or(at, |action| action.first))
    }

    pub(crate) fn name(&self, first: usize) -> u64 {
        Random::new(self.salt.wrapping_mul(1_000_003) + first as u64).next()
    }

    pub(crate) fn ids(&self, list: &[usize]) -> Vec<u64> {
        let mut ids: Vec<u64> = list.iter().map(|at| self.id(*at)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Adds what an author wants to do in the view of `past`, if it is valid.
    pub(crate) fn attempt(
        &mut self,
        author: usize,
        inc: usize,
        wish: Wish,
        past: Mask,
    ) -> Option<Mask> {
        let first = self.dag.ops.len();
        let halves = halves(author, wish);
        let parents = self.ids(&self.dag.heads(past));
        let mut seen = past;
        let mut valid = true;
        for (kind, target, role) in &halves {
            let op = Op {
                author,
                inc: Some(inc),
                kind: *kind,
                target: *target,
                role: *role,
                past: seen,
            };
            let at = self.dag.push(op);
            valid = valid && self.dag.valid(at);
            seen |= bit(at);
        }
        if let Wish::Regrant(subject, _) = wish {
            valid = valid && subject != author;
        }
        let operation = Operation {
            id: self.name(first),
            parents,
            author,
            incarnation: self.id(inc),
            act: self.act(first, wish),
        };
        if !valid {
            halves.iter().for_each(|_| self.dag.pop());
            let id = operation.id ^ (self.refused.len() as u64 + 1);
            self.refused.push(Operation { id, ..operation });
            return None;
        }
        self.actions.push(Action {
            first,
            halves: halves.len(),
            operation,
        });
        Some(seen)
    }

    fn act(&mut self, first: usize, wish: Wish) -> Act<u64, usize> {
        let named = match wish {
            Wish::Remove(_) | Wish::Regrant(..) => self.dag.named(first),
            Wish::Grant(..) | Wish::Transfer(_) | Wish::Other(_) => Vec::new(),
        };
        let named = self.ids(&named);
        match wish {
            Wish::Grant(to, role) => Act::Grant {
                to,
                rank: rank(role),
            },
            Wish::Remove(subject) => Act::Remove { subject, named },
            Wish::Regrant(subject, role) => Act::Regrant {
                subject,
                named,
                rank: rank(role),
            },
            Wish::Transfer(to) => Act::Transfer { to },
            Wish::Other(role) => Act::Other { least: rank(role) },
        }
    }

    /// Everything that holds for a set of actions: their halves, and the founding operation.
    pub(crate) fn mask(&self, actions: impl IntoIterator<Item = usize>) -> Mask {
        actions
            .into_iter()
            .fold(1, |mask, at| mask | self.actions[at].mask())
    }
}

impl Action {
    pub(crate) fn mask(&self) -> Mask {
        (bit(self.halves) - 1) << self.first
    }

    fn covers(&self, at: usize) -> bool {
        self.mask() & bit(at) != 0
    }
}

fn halves(author: usize, wish: Wish) -> Vec<(Kind, usize, u8)> {
    match wish {
        Wish::Grant(to, role) => vec![(Kind::Grant, to, role)],
        Wish::Remove(subject) => vec![(Kind::Remove, subject, 0)],
        Wish::Regrant(subject, role) => {
            vec![(Kind::Remove, subject, 0), (Kind::Grant, subject, role)]
        }
        Wish::Transfer(to) => {
            vec![
                (Kind::TransferGrant, to, OWNER),
                (Kind::TransferRemoval, author, 0),
            ]
        }
        Wish::Other(role) => vec![(Kind::Other, author, role)],
    }
}

fn wish(random: &mut Random, mix: Mix, removals: u64, users: usize) -> Wish {
    let target = random.below(users);
    let roles = if random.percent(mix.readers) {
        [READER, WRITER, ADMIN]
    } else {
        [WRITER, ADMIN, ADMIN]
    };
    let role = random.choose(&roles);
    if random.percent(mix.others) {
        Wish::Other(random.choose(&[READER, WRITER, ADMIN, OWNER]))
    } else if random.percent(mix.transfers) {
        Wish::Transfer(target)
    } else if random.percent(mix.regrants) {
        Wish::Regrant(target, role)
    } else if random.percent(removals) {
        Wish::Remove(target)
    } else {
        Wish::Grant(target, role)
    }
}

/// Users act on their own replicas and merge at random; nobody forks his chain.
pub(crate) fn honest_run(
    random: &mut Random,
    users: usize,
    length: usize,
    mix: Mix,
    rule: Rule,
) -> History {
    let mut history = History::new(users, random.next(), rule);
    live(random, &mut history, length, mix);
    history
}

/// Goes on with a history until it has so many operations.
pub(crate) fn live(random: &mut Random, history: &mut History, length: usize, mix: Mix) {
    let users = history.know.len();
    let merges = random.choose(&[15, 30, 60]);
    let removals = random.choose(&[25, 50]);
    for _ in 0..40 * length {
        if history.dag.ops.len() >= length {
            break;
        }
        let user = random.below(users);
        let known = history.dag.resolve(history.know[user]);
        if random.percent(merges) || !known.standing.contains_key(&user) {
            history.know[user] |= history.know[random.below(users)];
        }
        let known = history.dag.resolve(history.know[user]);
        let Some((role, live)) = known.standing.get(&user) else {
            continue;
        };
        if *role < ADMIN && random.percent(90) {
            continue;
        }
        let inc = random.choose(live);
        let wish = wish(random, mix, removals, users);
        if wish == Wish::Remove(user) && random.percent(90) {
            continue;
        }
        if let Some(seen) = history.attempt(user, inc, wish, history.know[user]) {
            history.know[user] = seen;
        }
    }
}

/// Some users add up to four operations at any places of the past, forks and back-dating included.
/// Who is there only by their grants joins them. Gives the new history and whether anything was
/// added.
pub(crate) fn adversary(
    random: &mut Random,
    honest: &History,
    who: &[usize],
    users: usize,
    mix: Mix,
) -> (History, bool) {
    let mut history = honest.clone();
    let mut who = who.to_vec();
    let before = history.actions.len();
    for _ in 0..4 {
        let author = random.choose(&who);
        let chosen: Vec<usize> = (0..history.actions.len())
            .filter(|_| random.percent(35))
            .collect();
        let mask = history.mask(chosen);
        let mask = bits(mask).fold(mask, |mask, at| mask | history.dag.ops[at].past);
        let view = history.dag.resolve(mask);
        let Some((_, live)) = view.standing.get(&author) else {
            continue;
        };
        let inc = random.choose(live);
        let wish = wish(random, mix, 50, users);
        let added = history.attempt(author, inc, wish, mask).is_some();
        if let (true, Wish::Grant(to, _)) = (added, wish)
            && to + 2 >= users
        {
            who.push(to);
        }
    }
    let added = history.actions.len() > before;
    (history, added)
}
