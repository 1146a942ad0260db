//! The epoch rule beside its reference model, and weaker rules that leak.
#![allow(
    clippy::indexing_slicing,
    reason = "a test may stop at its first error"
)]

#[path = "membership/random.rs"]
mod random;

use std::collections::{BTreeMap, BTreeSet};

use random::Random;
use sheaf_membership::{Epoch, EpochLimits, Epochs, Handed, Place, Unusable};

const DEVICES: usize = 5;
type Mask = u128;
type Set = BTreeSet<usize>;

#[derive(Debug, Clone)]
enum Kind {
    Add(usize),
    Remove(usize),
    /// To whom a new epoch is sealed, and which its chain opens.
    Key(Set, Set),
    /// Which epoch is handed to whom.
    Forward(usize, usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// The newest by clock.
    Latest,
    /// No holder outside.
    Safe,
    /// No holder outside, after every removal, and handed to who lacks it.
    AfterAndForward,
}

#[derive(Debug, Default)]
struct Tally {
    leaks: usize,
    unreadable: usize,
    sends: usize,
    rekeys: usize,
    compared: usize,
}

/// Operations by index; an epoch is the index of the operation that made it.
struct World {
    ops: Vec<(Kind, Mask)>,
    know: Vec<Mask>,
    product: Epochs<usize, usize, usize>,
}

fn bit(at: usize) -> Mask {
    1 << at
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            ops: Vec::new(),
            know: vec![0; DEVICES],
            product: Epochs::new(),
        };
        world.put(0, Kind::Key(Set::from([0, 1, 2]), Set::new()));
        world.know[1] = 1;
        world.know[2] = 1;
        world
    }

    fn put(&mut self, author: usize, kind: Kind) -> usize {
        let at = self.ops.len();
        match &kind {
            Kind::Key(sealed, parents) => assert!(self.product.insert(Epoch {
                id: at,
                operation: at,
                sealed: sealed.clone(),
                parents: parents.iter().copied().collect(),
                created_at_ms: 0,
            })),
            Kind::Forward(epoch, device) => assert!(self.product.hand(
                epoch,
                Handed {
                    operation: at,
                    device: *device,
                },
            )),
            Kind::Add(_) | Kind::Remove(_) => {}
        }
        self.ops.push((kind, self.know[author]));
        self.know[author] |= bit(at);
        at
    }

    fn known(&self, mask: Mask) -> Vec<usize> {
        (0..self.ops.len())
            .filter(|at| mask & bit(*at) != 0)
            .collect()
    }

    fn follows(&self, later: usize, earlier: usize) -> bool {
        self.ops[later].1 & bit(earlier) != 0
    }

    fn removals(&self, mask: Mask) -> Vec<usize> {
        let mut removals = self.known(mask);
        removals.retain(|at| matches!(self.ops[*at].0, Kind::Remove(_)));
        removals
    }

    fn removals_of(&self, mask: Mask, device: usize) -> Vec<usize> {
        let mut removals = self.known(mask);
        removals.retain(|at| matches!(self.ops[*at].0, Kind::Remove(of) if of == device));
        removals
    }

    /// Plain remove-wins: in by an addition after every removal.
    fn members(&self, mask: Mask) -> Set {
        let alive = |device: &usize| {
            let removals = self.removals_of(mask, *device);
            let mut known = self.known(mask).into_iter();
            *device < 3 && removals.is_empty()
                || known.any(|at| {
                    matches!(self.ops[at].0, Kind::Add(of) if of == *device)
                        && removals.iter().all(|removal| self.follows(at, *removal))
                })
        };
        (0..DEVICES).filter(alive).collect()
    }

    fn epochs(&self, mask: Mask) -> Vec<usize> {
        let mut epochs = self.known(mask);
        epochs.retain(|at| matches!(self.ops[*at].0, Kind::Key(..)));
        epochs
    }

    fn below(&self, epoch: usize) -> Set {
        let mut below = Set::from([epoch]);
        let mut open = vec![epoch];
        while let Some(next) = open.pop() {
            if let Kind::Key(_, parents) = &self.ops[next].0 {
                open.extend(parents.iter().filter(|parent| below.insert(**parent)));
            }
        }
        below
    }

    /// To whom one operation gives the secret of an epoch.
    fn given(&self, at: usize, epoch: usize) -> Set {
        match &self.ops[at].0 {
            Kind::Key(sealed, _) if self.below(at).contains(&epoch) => sealed.clone(),
            Kind::Forward(of, device) if self.below(*of).contains(&epoch) => Set::from([*device]),
            Kind::Key(..) | Kind::Forward(..) | Kind::Add(_) | Kind::Remove(_) => Set::new(),
        }
    }

    fn holders(&self, mask: Mask, epoch: usize) -> Set {
        let known = self.known(mask);
        known.iter().flat_map(|at| self.given(*at, epoch)).collect()
    }

    fn held_by(&self, device: usize) -> Vec<usize> {
        let mask = self.know[device];
        let mut held = self.epochs(mask);
        held.retain(|epoch| self.holders(mask, *epoch).contains(&device));
        held
    }

    fn head_epochs(&self, device: usize) -> Set {
        let held = self.held_by(device);
        let is_head = |epoch: &usize| {
            !held
                .iter()
                .any(|other| other != epoch && self.below(*other).contains(epoch))
        };
        held.iter().copied().filter(is_head).collect()
    }

    fn rekey(&mut self, author: usize) -> usize {
        let mut sealed = self.members(self.know[author]);
        sealed.insert(author);
        let parents = self.head_epochs(author);
        self.put(author, Kind::Key(sealed, parents))
    }

    fn allowed(&self, mask: Mask, epoch: usize, rule: Rule) -> bool {
        let safe = self.holders(mask, epoch).is_subset(&self.members(mask));
        let removals = self.removals(mask);
        let after = removals.iter().all(|removal| self.follows(epoch, *removal));
        match rule {
            Rule::Latest => true,
            Rule::Safe => safe,
            Rule::AfterAndForward => safe && after,
        }
    }

    /// The best epoch by a rule, among those that the device holds.
    fn best(&self, device: usize, rule: Rule) -> Option<usize> {
        let mut held = self.held_by(device);
        held.retain(|epoch| self.allowed(self.know[device], *epoch, rule));
        match rule {
            Rule::Latest => held.into_iter().max(),
            Rule::Safe | Rule::AfterAndForward => held
                .into_iter()
                .max_by_key(|epoch| (self.below(*epoch).len(), *epoch)),
        }
    }

    /// Holds the product against the rule at a sender's view.
    fn compare(&self, device: usize) {
        let mask = self.know[device];
        let members = self.members(mask);
        let removals = self.removals(mask);
        let place = Place {
            devices: &members,
            endings: &removals,
            cut: &BTreeSet::new(),
            envelopes: &BTreeMap::new(),
            now_ms: 0,
            limits: EpochLimits::default(),
            knows: |at: &usize| mask & bit(*at) != 0,
            follows: |later: &usize, earlier: &usize| self.follows(*later, *earlier),
        };
        for epoch in self.epochs(mask) {
            let allowed = self.allowed(mask, epoch, Rule::AfterAndForward);
            assert_eq!(self.product.usable(&epoch, &place).is_ok(), allowed);
            let holders = self.holders(mask, epoch);
            assert_eq!(self.product.holders(&epoch, &place), holders);
            assert_eq!(self.product.length(&epoch), self.below(epoch).len());
            let missing: Set = members.difference(&holders).copied().collect();
            assert_eq!(self.product.missing_holders(&epoch, &place), missing);
        }
        let best = self.best(device, Rule::AfterAndForward);
        assert_eq!(self.product.choose(&device, &place), best);
    }

    /// What a device writes under, after all the rule asks for.
    fn send(&mut self, author: usize, rule: Rule, tally: &mut Tally) -> Option<usize> {
        if self.held_by(author).is_empty() {
            return None;
        }
        self.compare(author);
        tally.compared += 1;
        let Some(epoch) = self.best(author, rule) else {
            tally.rekeys += 1;
            return Some(self.rekey(author));
        };
        if rule == Rule::AfterAndForward {
            let holders = self.holders(self.know[author], epoch);
            for device in self.members(self.know[author]).difference(&holders) {
                self.put(author, Kind::Forward(epoch, *device));
            }
        }
        Some(epoch)
    }

    fn add(&mut self, author: usize, device: usize) {
        self.put(author, Kind::Add(device));
        for epoch in self.head_epochs(author) {
            self.put(author, Kind::Forward(epoch, device));
        }
    }
}

/// A device that its sender knew to be out, with the epoch and the removals the sender knew.
type Late = (usize, usize, Vec<usize>);

fn note(world: &World, author: usize, epoch: usize, tally: &mut Tally, late: &mut Vec<Late>) {
    let mask = world.know[author];
    let members = world.members(mask);
    let ever = bit(world.ops.len()) - 1;
    tally.sends += 1;
    for device in 0..DEVICES {
        let removals = world.removals_of(mask, device);
        if !members.contains(&device) && !removals.is_empty() {
            late.push((device, epoch, removals));
        }
        if members.contains(&device) && !world.holders(ever, epoch).contains(&device) {
            tally.unreadable += 1;
        }
    }
}

fn run(random: &mut Random, rule: Rule, tally: &mut Tally) {
    let mut world = World::new();
    let mut late = Vec::new();
    for _ in 0..40 {
        let author = random.below(DEVICES);
        if random.percent(35) {
            world.know[author] |= world.know[random.below(DEVICES)];
        }
        let members = world.members(world.know[author]);
        if world.know[author] == 0 || !members.contains(&author) || world.ops.len() > 110 {
            continue;
        }
        let device = random.below(DEVICES);
        match random.below(100) {
            0..12 if !members.contains(&device) => world.add(author, device),
            12..24 if members.contains(&device) && device != author && device != 0 => {
                world.put(author, Kind::Remove(device));
                world.rekey(author);
                tally.rekeys += 1;
            }
            0..24 => {}
            24..30 => {
                world.rekey(author);
                tally.rekeys += 1;
            }
            _ => {
                if let Some(epoch) = world.send(author, rule, tally) {
                    note(&world, author, epoch, tally, &mut late);
                }
            }
        }
    }
    tally.leaks += late.iter().filter(|late| leaked(&world, late)).count();
}

/// Whether somebody who did not know of its removals gave the device the epoch.
fn leaked(world: &World, (device, epoch, removals): &Late) -> bool {
    (0..world.ops.len()).any(|at| {
        world.given(at, *epoch).contains(device)
            && !removals.iter().all(|removal| world.follows(at, *removal))
    })
}

fn tally(rule: Rule) -> Tally {
    let wanted = std::env::var("SHEAF_EPOCH_RUNS").ok();
    let runs: u64 = wanted.and_then(|text| text.parse().ok()).unwrap_or(150);
    let mut tally = Tally::default();
    for seed in 0..runs {
        run(&mut Random::new(seed), rule, &mut tally);
    }
    assert!(tally.sends > 0 && tally.rekeys > 0 && tally.compared >= tally.sends);
    tally
}

#[test]
fn the_rule_leaks_nothing_and_everybody_reads() {
    let tally = tally(Rule::AfterAndForward);
    assert_eq!((tally.leaks, tally.unreadable), (0, 0), "{tally:?}");
}

#[test]
fn the_newest_by_clock_leaks() {
    let tally = tally(Rule::Latest);
    assert!(tally.leaks > 0 && tally.unreadable > 0, "{tally:?}");
}

#[test]
fn without_handing_on_members_cannot_read() {
    let tally = tally(Rule::Safe);
    assert!(tally.unreadable > 0, "{tally:?}");
}

/// Somebody unaware of a removal hands an older epoch, after its view was read, to the one removed:
/// the epoch has no holder outside in the sender's view, and yet he holds it.
#[test]
fn without_following_removals_it_leaks() {
    let leaks = |rule| {
        let mut world = World::new();
        // 0 makes an epoch without 2, before anybody adds or removes; 1 learns of it.
        world.put(0, Kind::Key(Set::from([0, 1]), Set::from([0])));
        world.know[1] |= world.know[0];
        // 0 removes 2 and sends; 1, unaware, hands that epoch to 2.
        world.put(0, Kind::Remove(2));
        world.put(1, Kind::Forward(1, 2));
        let (mut counted, mut late) = (Tally::default(), Vec::new());
        let epoch = world.send(0, rule, &mut counted).unwrap();
        note(&world, 0, epoch, &mut counted, &mut late);
        late.iter().filter(|late| leaked(&world, late)).count()
    };
    assert_eq!(leaks(Rule::Safe), 1);
    assert_eq!(leaks(Rule::AfterAndForward), 0);
}

fn alone(created_at_ms: u64) -> Epochs<u8, u8, u8> {
    let mut epochs = Epochs::new();
    assert!(epochs.insert(Epoch {
        id: 1,
        operation: 1,
        sealed: BTreeSet::from([1, 2]),
        parents: Vec::new(),
        created_at_ms,
    }));
    epochs
}

fn verdict(
    cut: &[u8],
    envelopes: u64,
    now_ms: u64,
    endings: &[u8],
) -> Result<(), Unusable<u8, u8>> {
    let place = Place {
        devices: &BTreeSet::from([1, 2]),
        endings,
        cut: &cut.iter().copied().collect(),
        envelopes: &BTreeMap::from([(1, envelopes)]),
        now_ms,
        limits: EpochLimits {
            age_ms: 100,
            envelopes: 3,
        },
        knows: |_: &u8| true,
        follows: |later: &u8, earlier: &u8| later > earlier,
    };
    alone(50).usable(&1, &place)
}

#[test]
fn an_epoch_has_a_life() {
    assert_eq!(verdict(&[], 2, 150, &[0]), Ok(()));
    assert_eq!(verdict(&[1], 0, 50, &[]), Err(Unusable::Cut));
    assert_eq!(verdict(&[], 3, 50, &[]), Err(Unusable::TooManyEnvelopes));
    assert_eq!(verdict(&[], 0, 151, &[]), Err(Unusable::TooOld));
    assert_eq!(verdict(&[], 0, 50, &[9]), Err(Unusable::Before(9)));
}

#[test]
fn an_epoch_waits_for_its_parents() {
    let mut epochs = alone(0);
    let orphan = Epoch {
        id: 2,
        operation: 2,
        sealed: BTreeSet::new(),
        parents: vec![7],
        created_at_ms: 0,
    };
    assert!(!epochs.insert(orphan));
    assert!(epochs.get(&2).is_none());
}
