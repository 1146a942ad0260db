//! A replica with its disk, and a relay that is a list of records, for one step at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ed25519_dalek::{Signer, SigningKey};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sheaf_crypto::ConversationId;
use sheaf_protocol::{
    Changed, ClientFrame, Cursor, Delivery, ErrorCode, Followed, LogId, Receipt, Refusal, RelayId,
    RequestId, ServerFrame, TopicId, digest_topics, hash_record, receipt_message,
    topic_of_capability,
};
use sheaf_replica::record::{Key, Kind, RESTORED, Range, RecordError, Row, Write};
use sheaf_replica::{
    BatchId, Command, CommandError, CommandId, Event, Input, LoadId, MessageRecord, Output,
    Replica, Reply, Timestamp,
};

pub(super) type Disk = BTreeMap<Key, Vec<u8>>;

/// Steps after which a peer that still has something to do counts as restless.
const STEPS_MAX: usize = 20_000;

/// A relay's records by topic; the sequence of a record is its place, from one.
#[derive(Clone, Default)]
pub(super) struct Log {
    pub(super) topics: BTreeMap<TopicId, Vec<Vec<u8>>>,
}

impl Log {
    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    pub(super) fn id() -> RelayId {
        RelayId(Self::key().verifying_key().to_bytes())
    }

    /// Appends once; gives the sequence.
    pub(super) fn append(&mut self, topic: TopicId, record: Vec<u8>) -> u64 {
        let records = self.topics.entry(topic).or_default();
        let place = records.iter().position(|kept| *kept == record);
        let place = place.unwrap_or_else(|| {
            records.push(record);
            records.len() - 1
        });
        place as u64 + 1
    }

    fn head(&self, topic: &TopicId) -> u64 {
        self.topics
            .get(topic)
            .map_or(0, |records| records.len() as u64)
    }

    /// Records after a sequence.
    pub(super) fn after(&self, topic: TopicId, previous: u64) -> ServerFrame {
        let records = self.topics.get(&topic).map_or(&[][..], Vec::as_slice);
        let records = (1..)
            .zip(records)
            .filter(|(sequence, _)| *sequence > previous)
            .map(|(sequence, record)| Delivery {
                sequence,
                record: record.clone(),
            })
            .collect();
        ServerFrame::Records {
            topic,
            previous,
            records,
        }
    }

    pub(super) fn receipt(topic: TopicId, sequence: u64, record: &[u8]) -> Receipt {
        let cursor = Cursor {
            log: LogId(7),
            sequence,
        };
        let record = hash_record(record);
        let signature = Self::key().sign(&receipt_message(&topic, cursor, &record));
        Receipt {
            topic,
            cursor,
            record,
            signature: signature.to_bytes().to_vec(),
        }
    }
}

/// A replica, its disk, and what it waits for.
pub(super) struct Peer {
    pub(super) replica: Replica,
    pub(super) disk: Disk,
    unflushed: VecDeque<(BatchId, Vec<Write>)>,
    pub(super) loads: VecDeque<(LoadId, Vec<Range>)>,
    pub(super) frames: VecDeque<ClientFrame>,
    subscribed: BTreeMap<TopicId, u64>,
    pub(super) answers: BTreeMap<CommandId, Result<Reply, CommandError>>,
    pub(super) events: Vec<Event>,
    pub(super) wait: Option<Timestamp>,
    number: u8,
    starts: u8,
    commands: u64,
}

impl Peer {
    pub(super) fn open(
        number: u8,
        starts: u8,
        now: Timestamp,
        disk: Disk,
    ) -> Result<Self, RecordError> {
        let mut seed = [number; 32];
        seed[0] = starts;
        let rng = Box::new(ChaCha20Rng::from_seed(seed));
        let replica = Replica::open(rng, now, [number; 32], restored(&disk))?;
        let mut peer = Self {
            replica,
            disk,
            unflushed: VecDeque::new(),
            loads: VecDeque::new(),
            frames: VecDeque::new(),
            subscribed: BTreeMap::new(),
            answers: BTreeMap::new(),
            events: Vec::new(),
            wait: None,
            number,
            starts,
            commands: 0,
        };
        peer.drain();
        Ok(peer)
    }

    /// Power goes; the first `kept` batches that were not flushed are on the disk all the same.
    pub(super) fn crash(mut self, kept: usize, now: Timestamp) -> Result<Self, RecordError> {
        for _ in 0..kept {
            self.write_one();
        }
        Self::open(self.number, self.starts.wrapping_add(1), now, self.disk)
    }

    pub(super) fn handle(&mut self, now: Timestamp, input: Input) {
        self.replica.handle(now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.replica.poll_output() {
            match output {
                Output::Persist(batch, writes) => self.unflushed.push_back((batch, writes)),
                Output::Load(load, ranges) => self.loads.push_back((load, ranges)),
                Output::Transmit(_, frame) => self.frames.push_back(frame),
                Output::Notify(event) => self.events.push(event),
                Output::Complete(id, result) => {
                    let first = self.answers.insert(id, result).is_none();
                    assert!(first, "a command is answered once");
                }
                Output::Wait(at) => self.wait = Some(at),
                _ => {}
            }
        }
    }

    pub(super) fn command(&mut self, now: Timestamp, command: Command) -> CommandId {
        self.commands += 1;
        let id = CommandId(self.commands);
        self.handle(now, Input::Command(id, command));
        id
    }

    pub(super) fn link_up(&mut self, now: Timestamp) {
        self.frames.clear();
        self.subscribed.clear();
        let input = Input::LinkUp {
            relay: Log::id(),
            exporter: [9; 32],
            log: LogId(7),
        };
        self.handle(now, input);
    }

    pub(super) fn link_down(&mut self, now: Timestamp) {
        self.frames.clear();
        self.subscribed.clear();
        self.handle(now, Input::LinkDown(Log::id()));
    }

    fn write_one(&mut self) -> Option<BatchId> {
        let (batch, writes) = self.unflushed.pop_front()?;
        for write in writes {
            match write.value {
                Some(value) => self.disk.insert(write.key, value),
                None => self.disk.remove(&write.key),
            };
        }
        Some(batch)
    }

    /// The disk takes the oldest batch.
    pub(super) fn flush_one(&mut self, now: Timestamp) -> bool {
        let Some(batch) = self.write_one() else {
            return false;
        };
        self.handle(now, Input::Persisted(batch));
        true
    }

    /// The disk refuses the oldest batch.
    pub(super) fn fail_one(&mut self, now: Timestamp) {
        if let Some((batch, _)) = self.unflushed.pop_front() {
            self.handle(now, Input::PersistFailed(batch, "full".to_owned()));
        }
    }

    fn read(&self, ranges: &[Range]) -> Vec<Row> {
        let mut live = self.disk.clone();
        for write in self.unflushed.iter().flat_map(|(_, writes)| writes) {
            match &write.value {
                Some(value) => live.insert(write.key.clone(), value.clone()),
                None => live.remove(&write.key),
            };
        }
        let key = |range: &Range, order: &[u8]| Key {
            kind: range.kind,
            scope: range.scope.clone(),
            order: order.to_vec(),
        };
        ranges
            .iter()
            .filter(|range| range.from <= range.to)
            .flat_map(|range| live.range(key(range, &range.from)..=key(range, &range.to)))
            .map(|(key, value)| row(key, value))
            .collect()
    }

    /// The disk answers the oldest read.
    pub(super) fn load_one(&mut self, now: Timestamp) -> bool {
        let Some((load, ranges)) = self.loads.pop_front() else {
            return false;
        };
        let rows = self.read(&ranges);
        self.handle(now, Input::Loaded(load, rows));
        true
    }

    /// The relay takes the oldest frame and answers.
    pub(super) fn serve_one(&mut self, log: &mut Log, now: Timestamp) -> bool {
        let Some(frame) = self.frames.pop_front() else {
            return false;
        };
        self.serve(log, frame, now);
        true
    }

    pub(super) fn serve(&mut self, log: &mut Log, frame: ClientFrame, now: Timestamp) {
        match frame {
            ClientFrame::Subscribe {
                request,
                topic,
                after,
            } => {
                let head = log.head(&topic);
                let restarted = after.is_some_and(|at| at.log != LogId(7) || at.sequence > head);
                let previous = after
                    .filter(|_| !restarted)
                    .map_or(0, |cursor| cursor.sequence);
                let subscribed = ServerFrame::Subscribed {
                    request,
                    topic,
                    head,
                    restarted,
                };
                self.handle(now, Input::Received(Log::id(), subscribed));
                self.handle(now, Input::Received(Log::id(), log.after(topic, previous)));
                let caught_up = ServerFrame::CaughtUp {
                    topic,
                    sequence: head,
                };
                self.handle(now, Input::Received(Log::id(), caught_up));
                self.subscribed.insert(topic, head);
            }
            ClientFrame::Unsubscribe { topic } => {
                self.subscribed.remove(&topic);
            }
            ClientFrame::Append {
                request,
                topic,
                record,
                ..
            } => {
                let sequence = log.append(topic, record.clone());
                let receipt = Log::receipt(topic, sequence, &record);
                self.handle(
                    now,
                    Input::Received(Log::id(), ServerFrame::Receipt { request, receipt }),
                );
            }
            ClientFrame::Follow { request, topics } => self.serve_many(log, request, topics, now),
            // This relay is of before there was such a question.
            ClientFrame::Witness { .. } => {
                let refusal = Refusal {
                    request: None,
                    topic: None,
                    code: ErrorCode::BadFrame,
                    retry_after_ms: 0,
                    message: String::new(),
                };
                let refused = ServerFrame::Refused(refusal);
                self.handle(now, Input::Received(Log::id(), refused));
            }
            ClientFrame::Hello { .. }
            | ClientFrame::Prove(_)
            | ClientFrame::Trim { .. }
            | ClientFrame::Release { .. }
            | ClientFrame::Ping { .. } => {}
        }
    }

    fn serve_many(&mut self, log: &Log, request: RequestId, topics: Vec<Followed>, now: Timestamp) {
        let mut changed = Vec::new();
        let mut unchanged = Vec::new();
        let mut rest = Vec::new();
        for (place, followed) in (0..).zip(topics) {
            let topic = topic_of_capability(&followed.capability);
            let head = log.head(&topic);
            let after = followed.after;
            let restarted = after.is_some_and(|at| at.log != LogId(7) || at.sequence > head);
            let at = after.filter(|_| !restarted).map_or(0, |at| at.sequence);
            self.subscribed.insert(topic, head);
            if at == head && !restarted {
                unchanged.push((topic, head));
                continue;
            }
            rest.push((topic, at, head));
            changed.push(Changed {
                place,
                head,
                restarted,
            });
        }
        let digest = digest_topics(unchanged);
        let answer = ServerFrame::Followed {
            request,
            digest,
            changed,
        };
        self.handle(now, Input::Received(Log::id(), answer));
        for (topic, at, sequence) in rest {
            self.handle(now, Input::Received(Log::id(), log.after(topic, at)));
            let caught_up = ServerFrame::CaughtUp { topic, sequence };
            self.handle(now, Input::Received(Log::id(), caught_up));
        }
    }

    /// What is new on the topics that it listens to.
    pub(super) fn deliver_fresh(&mut self, log: &Log, now: Timestamp) -> bool {
        let fresh: Vec<(TopicId, u64)> = self
            .subscribed
            .iter()
            .filter(|(topic, seen)| log.head(topic) > **seen)
            .map(|(topic, seen)| (*topic, *seen))
            .collect();
        for (topic, seen) in &fresh {
            self.subscribed.insert(*topic, log.head(topic));
            self.handle(now, Input::Received(Log::id(), log.after(*topic, *seen)));
        }
        !fresh.is_empty()
    }

    /// Lets everything happen that is under way; `false` if it would not end.
    pub(super) fn settle(&mut self, log: &mut Log, now: Timestamp) -> bool {
        for _ in 0..STEPS_MAX {
            let busy = self.flush_one(now)
                || self.load_one(now)
                || self.serve_one(log, now)
                || self.deliver_fresh(log, now);
            if !busy {
                return true;
            }
        }
        false
    }

    /// Messages as an app lists them.
    pub(super) fn messages(&self, conversation: &ConversationId) -> Vec<MessageRecord> {
        self.disk
            .iter()
            .filter(|(key, _)| key.kind == Kind::Message && key.scope == conversation.0)
            .map(|(_, value)| MessageRecord::decode(value).expect("own record"))
            .collect()
    }

    /// Topics that it listens to.
    pub(super) fn listens_to(&self) -> BTreeSet<TopicId> {
        self.subscribed.keys().copied().collect()
    }
}

/// What is read at opening.
pub(super) fn restored(disk: &Disk) -> Vec<Row> {
    disk.iter()
        .filter(|(key, _)| RESTORED.contains(&key.kind))
        .map(|(key, value)| row(key, value))
        .collect()
}

fn row(key: &Key, value: &[u8]) -> Row {
    Row {
        kind: key.kind,
        order: key.order.clone(),
        value: value.to_vec(),
    }
}
