//! Records that wait for what they depend on.

use std::collections::{BTreeMap, BTreeSet};

use sheaf_crypto::{ConversationId, Dependency, DeviceId, EpochId, Opened, OperationId, RunId};

use crate::chain::Chains;
use crate::control::ControlLog;
use crate::epoch::Epochs;
use crate::limits;
use crate::record::{Kind, ParkedRecord, Write};
use crate::stage::Stage;

/// Different reasons that are told.
const REASONS_MAX: usize = 16;

/// What a record waits for.
#[derive(Debug, Clone)]
pub(super) enum Need {
    /// An operation of the control log.
    Operation(OperationId),
    /// An item of another chain.
    Dependency(Dependency),
    /// The items before it in its device's chain.
    Chain(DeviceId, u64),
    /// The secret of the epoch that it is sealed under.
    Epoch(EpochId),
    /// Not examined yet, or not since the store was opened.
    Unknown,
}

impl std::fmt::Display for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Operation(id) => write!(f, "operation {id}"),
            Self::Dependency(item) => {
                write!(f, "item {} of device {}", item.seq, item.device)
            }
            Self::Chain(device, seq) => {
                write!(f, "the items before {seq} of device {device}")
            }
            Self::Epoch(id) => write!(f, "the secret of epoch {id}"),
            Self::Unknown => f.write_str("being looked at again"),
        }
    }
}

/// Who says that he wrote a record, and its place in his chain.
#[derive(Debug, Clone)]
pub(super) struct Author {
    pub(super) device: DeviceId,
    pub(super) run: RunId,
    pub(super) seq: u64,
    pub(super) incarnation: OperationId,
}

impl From<&Opened> for Author {
    fn from(opened: &Opened) -> Self {
        let (run, seq, incarnation) = opened.place();
        Self {
            device: opened.device(),
            run,
            seq,
            incarnation,
        }
    }
}

impl Author {
    fn claim(&self) -> Claim {
        (self.device, self.run, self.incarnation)
    }
}

pub(super) struct Waiting {
    epoch: EpochId,
    wire: Vec<u8>,
    /// Known once it could be opened.
    pub(super) author: Option<Author>,
    pub(super) need: Need,
}

/// What is waited for, in words.
pub(super) fn reasons<'a>(waiting: impl Iterator<Item = &'a Waiting>) -> Vec<String> {
    let needs = waiting.map(|waiting| waiting.need.to_string());
    let unique: BTreeSet<String> = needs.take(1_000).collect();
    unique.into_iter().take(REASONS_MAX).collect()
}

/// Where a chain is waited for, and the grant that its author claims.
pub(super) type Claim = (DeviceId, RunId, OperationId);

/// All of them, in the order of arrival.
#[derive(Default)]
pub(super) struct Parked {
    waiting: BTreeMap<u64, Waiting>,
    /// Of those whose author is known: how many there are at each place.
    claims: BTreeMap<Claim, BTreeMap<u64, usize>>,
    /// How many are left.
    unclaimed: usize,
    bytes: usize,
    next: u64,
}

impl Need {
    fn is_met(&self, control: &ControlLog, chains: &Chains, epochs: &Epochs) -> bool {
        match self {
            Self::Operation(id) => control.contains(id),
            Self::Dependency(dependency) => chains.satisfies(dependency),
            Self::Chain(device, seq) => chains.reaches(device, *seq),
            Self::Epoch(id) => epochs.holds(id),
            Self::Unknown => true,
        }
    }
}

impl Parked {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Waiting)> {
        self.waiting
            .iter()
            .map(|(number, waiting)| (*number, waiting))
    }

    /// Who wrote what waits here: each has what it waits for.
    pub(super) fn authors(&self) -> BTreeSet<DeviceId> {
        self.claims.keys().map(|(device, ..)| *device).collect()
    }

    /// Of what waits here and whose author is known: the chains, and the places in them.
    pub(super) fn claims(&self) -> impl Iterator<Item = (&Claim, &BTreeMap<u64, usize>)> {
        self.claims.iter()
    }

    /// Something waits of which the author is not known yet.
    pub(super) fn has_unclaimed(&self) -> bool {
        self.unclaimed > 0
    }

    /// Items that are waited for because somebody names them as seen.
    pub(super) fn dependencies(&self) -> impl Iterator<Item = &Dependency> {
        self.waiting
            .values()
            .filter_map(|waiting| match &waiting.need {
                Need::Dependency(seen) => Some(seen),
                Need::Operation(_) | Need::Chain(..) | Need::Epoch(_) | Need::Unknown => None,
            })
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= limits::PARKED_RECORDS_MAX || self.bytes >= limits::PARKED_BYTES_MAX
    }

    /// Keeps a record, durably; `false` if it is here already.
    pub(super) fn park(
        &mut self,
        conversation: ConversationId,
        epoch: EpochId,
        wire: Vec<u8>,
        author: Option<Author>,
        need: Need,
        stage: &mut Stage,
    ) -> bool {
        if self.waiting.values().any(|waiting| waiting.wire == wire) {
            return false;
        }
        let record = ParkedRecord {
            conversation,
            epoch,
            number: self.next,
            wire,
        };
        self.put_back(record, author, need, stage);
        true
    }

    /// Keeps a record that was taken out, at its place: what was read from the store for it is there
    /// when it is looked at again, which another one would have read something else for.
    pub(super) fn put_back(
        &mut self,
        record: ParkedRecord,
        author: Option<Author>,
        need: Need,
        stage: &mut Stage,
    ) {
        let (scope, order) = (record.conversation.0, record.number.to_be_bytes());
        stage.write(Write::put(Kind::Parked, &scope, &order, &record));
        self.insert(record, author, need);
    }

    pub(super) fn restore(&mut self, record: ParkedRecord) {
        self.insert(record, None, Need::Unknown);
    }

    fn insert(&mut self, record: ParkedRecord, author: Option<Author>, need: Need) {
        self.next = self.next.max(record.number.saturating_add(1));
        self.bytes = self.bytes.saturating_add(record.wire.len());
        match &author {
            None => self.unclaimed = self.unclaimed.saturating_add(1),
            Some(author) => {
                let places = self.claims.entry(author.claim()).or_default();
                let count = places.entry(author.seq).or_default();
                *count = count.saturating_add(1);
            }
        }
        let waiting = Waiting {
            epoch: record.epoch,
            wire: record.wire,
            author,
            need,
        };
        self.waiting.insert(record.number, waiting);
    }

    /// What each record waits for is found out anew.
    pub(super) fn look_again(&mut self) {
        for waiting in self.waiting.values_mut() {
            waiting.need = Need::Unknown;
        }
    }

    /// Whether there is something whose need is met.
    pub(super) fn has_ready(&self, control: &ControlLog, chains: &Chains, epochs: &Epochs) -> bool {
        let mut needs = self.waiting.values().map(|waiting| &waiting.need);
        needs.any(|need| need.is_met(control, chains, epochs))
    }

    /// The first record whose need is met, taken out.
    pub(super) fn take_ready(
        &mut self,
        conversation: ConversationId,
        control: &ControlLog,
        chains: &Chains,
        epochs: &Epochs,
        stage: &mut Stage,
    ) -> Option<ParkedRecord> {
        let met = |(_, waiting): &(&u64, &Waiting)| waiting.need.is_met(control, chains, epochs);
        let number = self.waiting.iter().find(met).map(|(number, _)| *number)?;
        let waiting = self.take(number, conversation, stage)?;
        Some(ParkedRecord {
            conversation,
            epoch: waiting.epoch,
            number,
            wire: waiting.wire,
        })
    }

    /// Takes a record out, durably.
    pub(super) fn take(
        &mut self,
        number: u64,
        conversation: ConversationId,
        stage: &mut Stage,
    ) -> Option<Waiting> {
        let waiting = self.waiting.remove(&number)?;
        self.unclaim(waiting.author.as_ref());
        self.bytes = self.bytes.saturating_sub(waiting.wire.len());
        let order = number.to_be_bytes();
        stage.write(Write::delete(Kind::Parked, &conversation.0, &order));
        Some(waiting)
    }

    fn unclaim(&mut self, author: Option<&Author>) {
        let Some(author) = author else {
            self.unclaimed = self.unclaimed.saturating_sub(1);
            return;
        };
        let Some(places) = self.claims.get_mut(&author.claim()) else {
            return;
        };
        if let Some(count) = places.get_mut(&author.seq) {
            *count = count.saturating_sub(1);
        }
        if places.get(&author.seq) == Some(&0) {
            places.remove(&author.seq);
        }
        if places.is_empty() {
            self.claims.remove(&author.claim());
        }
    }
}
