//! A device: a replica over a disk that has a live and a durable image.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sheaf_crypto::{ConversationId, EpochId, UserId};
use sheaf_protocol::{ClientFrame, RelayId};
use sheaf_replica::limits;
use sheaf_replica::record::{Key, Kind, RESTORED, Range, Row, Write};
use sheaf_replica::{
    BatchId, Command, CommandError, CommandId, Event, Input, LoadId, MessageId, MessageRecord,
    Output, Policy, Replica, Reply, Timestamp,
};

/// Starts of a twin are counted from here, so that it draws other numbers.
const TWIN: u64 = 1 << 32;

/// A device of the simulation.
pub struct Device {
    /// Which person it belongs to.
    pub person: usize,
    pub(crate) replica: Replica,
    durable: BTreeMap<Key, Vec<u8>>,
    unflushed: VecDeque<(BatchId, Vec<Write>)>,
    starts: u64,
    number: u64,
    place: u8,
    commands: u64,
    /// Connections by relay.
    pub(crate) connections: BTreeMap<usize, u64>,
    /// What each command was about.
    pub(crate) asked: BTreeMap<CommandId, Asked>,
    /// Texts whose send was acknowledged.
    pub acknowledged: Vec<(ConversationId, MessageId, String)>,
    pub(crate) answers: Vec<(CommandId, Result<Reply, CommandError>)>,
    /// Epochs that were to be forgotten, as it was acknowledged.
    pub(crate) forgotten: Vec<(ConversationId, BTreeSet<EpochId>)>,
    /// Everything that was told to the app.
    pub events: Vec<Event>,
}

/// What a command was about, for the checkers.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
    Send(ConversationId, Vec<String>),
    /// With the epochs that were known then.
    Forget(ConversationId, BTreeSet<EpochId>),
    Other,
}

/// What a device wants of the world.
pub(crate) enum Want {
    Flush(BatchId),
    Load(LoadId, Vec<Range>),
    Transmit(RelayId, ClientFrame),
    Wait(Timestamp),
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Device {
    pub(crate) fn new(number: u64, person: usize, now: Timestamp) -> Self {
        let durable = BTreeMap::new();
        Self {
            person,
            replica: open((number, 0, number as u8), now, &durable),
            durable,
            unflushed: VecDeque::new(),
            starts: 0,
            number,
            place: number as u8,
            commands: 0,
            connections: BTreeMap::new(),
            asked: BTreeMap::new(),
            acknowledged: Vec::new(),
            answers: Vec::new(),
            forgotten: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Another device with the same keys and records, that knows nothing of this one: at the same
    /// place, or on another disk.
    pub(crate) fn twin(&self, place: u8, now: Timestamp) -> Self {
        let mut twin = Self::new(self.number, self.person, now);
        twin.durable = self.durable.clone();
        twin.starts = TWIN;
        twin.place = place;
        twin.replica = open(twin.name(), now, &twin.durable);
        twin
    }

    /// What tells this start of this device from every other.
    fn name(&self) -> (u64, u64, u8) {
        (self.number, self.starts, self.place)
    }

    /// Where its disk is, as it would find out itself.
    pub(crate) fn place(&self) -> u8 {
        self.place
    }

    pub(crate) fn command(&mut self, now: Timestamp, command: Command, asked: Asked) -> CommandId {
        self.commands += 1;
        let id = CommandId(self.commands);
        self.asked.insert(id, asked);
        self.replica.handle(now, Input::Command(id, command));
        id
    }

    /// Takes everything out that the replica wants.
    pub(crate) fn drain(&mut self) -> Vec<Want> {
        let mut wants = Vec::new();
        while let Some(output) = self.replica.poll_output() {
            match output {
                Output::Persist(batch, writes) => {
                    self.unflushed.push_back((batch, writes));
                    wants.push(Want::Flush(batch));
                }
                Output::Load(load, ranges) => wants.push(Want::Load(load, ranges)),
                Output::Transmit(relay, frame) => wants.push(Want::Transmit(relay, frame)),
                Output::Notify(event) => self.events.push(event),
                Output::Complete(id, result) => self.complete(id, result),
                Output::Wait(at) => wants.push(Want::Wait(at)),
                _ => {}
            }
        }
        wants
    }

    fn complete(&mut self, id: CommandId, result: Result<Reply, CommandError>) {
        if let (Some(Asked::Send(conversation, texts)), Ok(Reply::Sent(ids))) =
            (self.asked.get(&id), &result)
        {
            for (message, text) in ids.iter().zip(texts) {
                self.acknowledged
                    .push((*conversation, *message, text.clone()));
            }
        }
        if let (Some(Asked::Forget(conversation, epochs)), Ok(_)) = (self.asked.get(&id), &result) {
            self.forgotten.push((*conversation, epochs.clone()));
        }
        self.answers.push((id, result));
    }

    /// The disk flushed everything up to a batch.
    pub(crate) fn flush(&mut self, batch: BatchId) {
        while self
            .unflushed
            .front()
            .is_some_and(|(waiting, _)| *waiting <= batch)
        {
            let (_, writes) = self.unflushed.pop_front().unwrap();
            apply(&mut self.durable, writes);
        }
    }

    /// Answers a read. Like sled, reading sees what is written, flushed or not.
    pub(crate) fn read(&self, ranges: &[Range]) -> Vec<Row> {
        let mut live = self.durable.clone();
        for (_, writes) in &self.unflushed {
            apply(&mut live, writes.clone());
        }
        let mut rows = Vec::new();
        for range in ranges {
            let key = |order: &[u8]| Key {
                kind: range.kind,
                scope: range.scope.clone(),
                order: order.to_vec(),
            };
            for (found, value) in live.range(key(&range.from)..=key(&range.to)) {
                rows.push(Row {
                    kind: found.kind,
                    order: found.order.clone(),
                    value: value.clone(),
                });
            }
        }
        rows
    }

    /// Power goes: what was not flushed is gone but for the first `kept` batches; then it starts.
    pub(crate) fn crash(&mut self, kept: usize, now: Timestamp) {
        for (_, writes) in self.unflushed.drain(..).take(kept) {
            apply(&mut self.durable, writes);
        }
        self.unflushed.clear();
        self.starts += 1;
        self.connections.clear();
        self.asked.clear();
        self.replica = open(self.name(), now, &self.durable);
    }

    /// Messages as an app lists them, in order.
    #[must_use]
    pub fn messages(&self, conversation: &ConversationId) -> Vec<MessageRecord> {
        let mut rows = Vec::new();
        for (key, value) in &self.durable {
            if key.kind == Kind::Message && key.scope == conversation.0 {
                rows.push(MessageRecord::decode(value).expect("own record"));
            }
        }
        rows
    }

    /// Stored operations of a conversation's control log.
    pub(crate) fn operations(&self, of: &ConversationId) -> impl Iterator<Item = &[u8]> {
        let stored = self.durable.iter();
        let stored = stored.filter(|(key, _)| key.kind == Kind::Operation && key.scope == of.0);
        stored.map(|(_, value)| value.as_slice())
    }

    /// Stored envelopes that are part of a document.
    pub(crate) fn envelopes(&self) -> impl Iterator<Item = &[u8]> {
        let envelopes = self.durable.iter();
        let envelopes = envelopes.filter(|(key, _)| {
            key.kind == Kind::Envelope && key.order[..4] != limits::ASIDE.to_be_bytes()
        });
        envelopes.map(|(_, value)| value.as_slice())
    }

    /// Epochs whose secret is on the disk.
    pub(crate) fn epochs(&self) -> impl Iterator<Item = EpochId> {
        let epochs = self.durable.keys().filter(|key| key.kind == Kind::Epoch);
        epochs.filter_map(|key| Some(EpochId(*key.order.first_chunk()?)))
    }

    pub(crate) fn user(&self) -> Option<UserId> {
        self.replica.overview().user
    }
}

fn apply(image: &mut BTreeMap<Key, Vec<u8>>, writes: Vec<Write>) {
    for write in writes {
        match write.value {
            Some(value) => image.insert(write.key, value),
            None => image.remove(&write.key),
        };
    }
}

fn open(
    (number, starts, place): (u64, u64, u8),
    now: Timestamp,
    image: &BTreeMap<Key, Vec<u8>>,
) -> Replica {
    let rows = image
        .iter()
        .filter(|(key, _)| RESTORED.contains(&key.kind))
        .map(|(key, value)| Row {
            kind: key.kind,
            order: key.order.clone(),
            value: value.clone(),
        })
        .collect();
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    seed[8..16].copy_from_slice(&starts.to_be_bytes());
    let rng = Box::new(ChaCha20Rng::from_seed(seed));
    let fingerprint = [place; 32];
    let mut replica = Replica::open(rng, now, fingerprint, rows).expect("own store opens");
    replica.set_policy(Policy {
        release: Some(4),
        ..Policy::default()
    });
    replica
}
