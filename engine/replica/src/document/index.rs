//! What the gate needs to know of the changes in a document, kept beside it.
//!
//! Answers come from here without touching Automerge. Everything is ordered by value, so two
//! devices with the same changes have the same index. A merge that fails takes its entries back
//! through the journal.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::genesis::Genesis;
use super::id::MessageId;

/// Name of an operation. The order is Automerge's: of two values put at once, the greater shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct OpRef {
    pub(super) counter: u64,
    pub(super) actor: [u8; 16],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ObjectKind {
    Map,
    List,
    Text,
}

/// An object of the application state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Object {
    pub(super) kind: ObjectKind,
    /// Objects around it; the root of the application state has one.
    pub(super) depth: u8,
}

/// Where in its object an operation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Key(Arc<str>),
    Element(OpRef),
}

/// What an operation left behind that later ones may refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Value,
    Counter,
    Mark,
}

/// An operation of the application state that later ones may refer to.
#[derive(Clone, Debug)]
pub(super) struct Fact {
    pub(super) object: OpRef,
    pub(super) slot: Slot,
    pub(super) role: Role,
}

/// What a change adds to the index beside its place in its chain.
#[derive(Debug)]
pub(super) enum Content {
    /// Messages and the operations that make them.
    Messages(Vec<(OpRef, MessageId)>),
    /// Parts of the application state.
    State {
        objects: Vec<(OpRef, Object)>,
        facts: Vec<(OpRef, Fact)>,
    },
}

/// A change that the gate let through.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) hash: [u8; 32],
    pub(super) actor: [u8; 16],
    pub(super) start_op: u64,
    pub(super) max_op: u64,
    pub(super) past: Past,
    /// Of the actor's chain up to and with this change.
    pub(super) share: Share,
    pub(super) content: Content,
}

/// What one actor has written so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    pub(super) bytes: u64,
    pub(super) messages: u32,
}

/// The changes that come before a change: for each chain, how far it is included.
#[derive(Clone, Debug)]
pub(super) struct Past {
    /// By chain. The entry of `own` is out of date, so that a run of changes by one actor shares
    /// one allocation.
    seqs: Arc<[u32]>,
    own: Option<usize>,
    pub(super) own_seq: u64,
    /// Highest operation counter in it.
    pub(super) max_op: u64,
}

#[derive(Debug)]
struct Chain {
    actor: [u8; 16],
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    hash: [u8; 32],
    start_op: u64,
    max_op: u64,
    past: Arc<[u32]>,
    share: Share,
}

#[derive(Debug)]
struct Undo {
    chain: usize,
    messages: Vec<(MessageId, Option<OpRef>)>,
    objects: Vec<OpRef>,
    facts: Vec<OpRef>,
}

/// The index of one document.
#[derive(Debug)]
pub(super) struct Index {
    chains: Vec<Chain>,
    chain_of: BTreeMap<[u8; 16], usize>,
    changes: BTreeMap<[u8; 32], (usize, u64)>,
    messages: BTreeMap<MessageId, OpRef>,
    objects: BTreeMap<OpRef, Object>,
    facts: BTreeMap<OpRef, Fact>,
    journal: Vec<Undo>,
}

impl Index {
    /// The index of a document that holds nothing but its first change.
    pub(super) fn new(genesis: &Genesis, hash: [u8; 32]) -> Self {
        let root = OpRef {
            counter: Genesis::document_op(),
            actor: *genesis.actor(),
        };
        let first = Entry {
            hash,
            start_op: 1,
            max_op: Genesis::last_op(),
            past: Arc::from([]),
            share: Share::default(),
        };
        Self {
            chains: vec![Chain {
                actor: *genesis.actor(),
                entries: vec![first],
            }],
            chain_of: BTreeMap::from([(*genesis.actor(), 0)]),
            changes: BTreeMap::from([(hash, (0, 1))]),
            messages: BTreeMap::new(),
            objects: BTreeMap::from([(
                root,
                Object {
                    kind: ObjectKind::Map,
                    depth: 1,
                },
            )]),
            facts: BTreeMap::new(),
            journal: Vec::new(),
        }
    }

    pub(super) fn contains(&self, hash: &[u8; 32]) -> bool {
        self.changes.contains_key(hash)
    }

    pub(super) fn change_count(&self) -> usize {
        self.changes.len()
    }

    pub(super) fn messages(&self) -> &BTreeMap<MessageId, OpRef> {
        &self.messages
    }

    /// The hash of the change with this number in the actor's chain.
    pub(super) fn change_of(&self, actor: &[u8; 16], seq: u64) -> Option<[u8; 32]> {
        let chain = self.chains.get(*self.chain_of.get(actor)?)?;
        chain.at(seq).map(|entry| entry.hash)
    }

    /// What the actor has written up to and with change `seq`.
    pub(super) fn share(&self, actor: &[u8; 16], seq: u64) -> Share {
        let chain = self
            .chain_of
            .get(actor)
            .and_then(|chain| self.chains.get(*chain));
        chain
            .and_then(|chain| chain.at(seq))
            .map(|entry| entry.share)
            .unwrap_or_default()
    }

    /// The causal past of a change by `actor` with these dependencies, or those that are not here.
    pub(super) fn past(&self, actor: &[u8; 16], deps: &[[u8; 32]]) -> Result<Past, Vec<[u8; 32]>> {
        let own = self.chain_of.get(actor).copied();
        let mut places = Vec::with_capacity(deps.len());
        let mut missing = Vec::new();
        for dep in deps {
            match self.changes.get(dep) {
                Some(place) => places.push(*place),
                None => missing.push(*dep),
            }
        }
        if !missing.is_empty() {
            return Err(missing);
        }
        Ok(self.past_of_places(own, &places))
    }

    fn past_of_places(&self, own: Option<usize>, places: &[(usize, u64)]) -> Past {
        let mut past = Past {
            seqs: Arc::from([]),
            own,
            own_seq: 0,
            max_op: 0,
        };
        let mut seqs: Vec<u32> = Vec::new();
        for (chain, seq) in places {
            let Some(entry) = self.chains.get(*chain).and_then(|chain| chain.at(*seq)) else {
                continue;
            };
            past.max_op = past.max_op.max(entry.max_op);
            if own == Some(*chain) && places.len() == 1 {
                past.seqs = Arc::clone(&entry.past);
                past.own_seq = *seq;
                return past;
            }
            let length = seqs.len().max(entry.past.len()).max(chain + 1);
            seqs.resize(length, 0);
            for (to, from) in seqs.iter_mut().zip(entry.past.iter()) {
                *to = (*to).max(*from);
            }
            if let Some(to) = seqs.get_mut(*chain) {
                *to = (*to).max(u32::try_from(*seq).unwrap_or(u32::MAX));
            }
        }
        past.own_seq = own
            .and_then(|own| seqs.get(own))
            .copied()
            .map_or(0, u64::from);
        past.seqs = seqs.into();
        past
    }

    /// Whether the operation belongs to a change in `past`.
    fn covers(&self, past: &Past, op: &OpRef) -> bool {
        let Some(index) = self.chain_of.get(&op.actor) else {
            return false;
        };
        let Some(chain) = self.chains.get(*index) else {
            return false;
        };
        let count = chain
            .entries
            .partition_point(|entry| entry.start_op <= op.counter);
        let seq = u64::try_from(count).unwrap_or(u64::MAX);
        let Some(entry) = chain.at(seq) else {
            return false;
        };
        op.counter <= entry.max_op && seq <= past.seq(*index)
    }

    /// An object of the application state, if it is in `past`.
    pub(super) fn object(&self, past: &Past, op: &OpRef) -> Option<Object> {
        self.objects
            .get(op)
            .filter(|_| self.covers(past, op))
            .copied()
    }

    /// An operation of the application state, if it is in `past`.
    pub(super) fn fact(&self, past: &Past, op: &OpRef) -> Option<&Fact> {
        self.facts.get(op).filter(|_| self.covers(past, op))
    }

    /// Whether a message with this id is in `past`.
    pub(super) fn message_in(&self, past: &Past, id: &MessageId) -> bool {
        self.messages
            .get(id)
            .is_some_and(|op| self.covers(past, op))
    }

    /// Enters a change. Returns the messages of it that show: all, but those whose id a greater
    /// operation has taken at the same time.
    pub(super) fn enter(&mut self, change: Admitted) -> Vec<MessageId> {
        let next = self.chains.len();
        let chain = *self.chain_of.entry(change.actor).or_insert(next);
        if chain == next {
            self.chains.push(Chain {
                actor: change.actor,
                entries: Vec::new(),
            });
        }
        let mut undo = Undo {
            chain,
            messages: Vec::new(),
            objects: Vec::new(),
            facts: Vec::new(),
        };
        if let Some(chain) = self.chains.get_mut(chain) {
            chain.entries.push(Entry {
                hash: change.hash,
                start_op: change.start_op,
                max_op: change.max_op,
                past: change.past.seqs,
                share: change.share,
            });
        }
        self.changes
            .insert(change.hash, (chain, change.past.own_seq + 1));
        let mut shown = Vec::new();
        match change.content {
            Content::Messages(messages) => {
                for (op, id) in messages {
                    let before = self.messages.get(&id).copied();
                    if before.is_none_or(|before| before < op) {
                        self.messages.insert(id, op);
                        undo.messages.push((id, before));
                        shown.push(id);
                    }
                }
            }
            Content::State { objects, facts } => {
                undo.objects.extend(objects.iter().map(|(op, _)| *op));
                undo.facts.extend(facts.iter().map(|(op, _)| *op));
                self.objects.extend(objects);
                self.facts.extend(facts);
            }
        }
        self.journal.push(undo);
        shown
    }

    /// How many changes were entered since [`Index::settle`]; a point to go back to.
    pub(super) fn mark(&self) -> usize {
        self.journal.len()
    }

    /// Takes back every change entered since `mark`.
    pub(super) fn take_back(&mut self, mark: usize) {
        while self.journal.len() > mark {
            let Some(undo) = self.journal.pop() else {
                return;
            };
            let last = self
                .chains
                .get_mut(undo.chain)
                .and_then(|chain| chain.entries.pop());
            if let Some(entry) = last {
                self.changes.remove(&entry.hash);
            }
            for (id, before) in undo.messages.into_iter().rev() {
                match before {
                    Some(op) => self.messages.insert(id, op),
                    None => self.messages.remove(&id),
                };
            }
            for op in undo.objects {
                self.objects.remove(&op);
            }
            for op in undo.facts {
                self.facts.remove(&op);
            }
        }
    }

    /// Keeps every change entered so far.
    pub(super) fn settle(&mut self) {
        self.journal.clear();
    }

    /// Every actor with the number and hash of its last change.
    pub(super) fn tips(&self) -> impl Iterator<Item = ([u8; 16], u64, [u8; 32])> {
        self.chains.iter().filter_map(|chain| {
            let entry = chain.entries.last()?;
            Some((
                chain.actor,
                u64::try_from(chain.entries.len()).ok()?,
                entry.hash,
            ))
        })
    }
}

impl Chain {
    fn at(&self, seq: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(seq).ok()?.checked_sub(1)?)
    }
}

impl Past {
    fn seq(&self, chain: usize) -> u64 {
        if self.own == Some(chain) {
            self.own_seq
        } else {
            self.seqs.get(chain).copied().map_or(0, u64::from)
        }
    }
}
