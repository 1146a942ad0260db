//! Devices with their disks in memory, and a relay that is a list of records by topic.

use std::collections::{BTreeMap, VecDeque};

use ed25519_dalek::{Signer, SigningKey};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sheaf_crypto::{ConversationId, RecoveryPhrase, UserId};
use sheaf_protocol::{
    Changed, ClientFrame, Cursor, Delivery, ErrorCode, Followed, LogId, Receipt, Refusal, RelayId,
    RequestId, ServerFrame, TopicId, digest_topics, hash_record, receipt_message,
    topic_of_capability,
};
use sheaf_replica::record::{Key, Kind, RESTORED, Range, Row, Write};
use sheaf_replica::{
    Command, CommandError, CommandId, Draft, Event, Input, LoadId, MessageRecord, Output,
    RecoveryWords, Replica, Reply, Timestamp,
};
use zeroize::Zeroizing;

const LOG: LogId = LogId(7);

type Disk = BTreeMap<Key, Vec<u8>>;

/// One device.
pub(super) struct Peer {
    pub(super) replica: Replica,
    disk: Disk,
    number: u8,
    loads: VecDeque<(LoadId, Vec<Range>)>,
    frames: VecDeque<ClientFrame>,
    subscribed: BTreeMap<TopicId, u64>,
    answers: BTreeMap<CommandId, Result<Reply, CommandError>>,
    pub(super) events: Vec<Event>,
    commands: u64,
    online: bool,
}

/// All devices and the relay, at one time.
pub(super) struct World {
    pub(super) peers: Vec<Peer>,
    pub(super) topics: BTreeMap<TopicId, Vec<Vec<u8>>>,
    now: Timestamp,
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn row(key: &Key, value: &[u8]) -> Row {
    Row {
        kind: key.kind,
        order: key.order.clone(),
        value: value.to_vec(),
    }
}

pub(super) fn words(phrase: &RecoveryPhrase) -> RecoveryWords {
    RecoveryWords(Zeroizing::new(phrase.words().to_string()))
}

fn relay_id() -> RelayId {
    RelayId(key().verifying_key().to_bytes())
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            peers: Vec::new(),
            topics: BTreeMap::new(),
            now: Timestamp(1_700_000_000_000),
        }
    }

    fn open(number: u8, disk: Disk, now: Timestamp) -> Peer {
        let rng = Box::new(ChaCha20Rng::from_seed([number; 32]));
        let restored = disk.iter().filter(|(key, _)| RESTORED.contains(&key.kind));
        let rows = restored.map(|(key, value)| row(key, value)).collect();
        Peer {
            replica: Replica::open(rng, now, [number; 32], rows).unwrap(),
            disk,
            number,
            loads: VecDeque::new(),
            frames: VecDeque::new(),
            subscribed: BTreeMap::new(),
            answers: BTreeMap::new(),
            events: Vec::new(),
            commands: 0,
            online: false,
        }
    }

    /// A device with an empty store, connected.
    pub(super) fn device(&mut self) -> usize {
        let number = u8::try_from(self.peers.len() + 1).unwrap();
        let peer = Self::open(number, Disk::new(), self.now);
        self.peers.push(peer);
        let at = self.peers.len() - 1;
        self.drain(at);
        self.connect(at);
        at
    }

    /// Ends the process of a device and starts it again, with another source of randomness.
    pub(super) fn restart(&mut self, at: usize) {
        let disk = std::mem::take(&mut self.peers[at].disk);
        let number = self.peers[at].number;
        self.peers[at] = Self::open(number.wrapping_add(100), disk, self.now);
        self.peers[at].number = number;
        self.drain(at);
        self.connect(at);
        self.settle();
    }

    pub(super) fn connect(&mut self, at: usize) {
        self.peers[at].online = true;
        let relay = relay_id();
        self.handle(
            at,
            Input::LinkUp {
                relay,
                exporter: [9; 32],
                log: LOG,
            },
        );
    }

    /// A device that is lost: it does nothing any more.
    pub(super) fn lose(&mut self, at: usize) {
        self.peers[at].online = false;
        self.peers[at].subscribed.clear();
        self.peers[at].frames.clear();
        self.handle(at, Input::LinkDown(relay_id()));
    }

    pub(super) fn handle(&mut self, at: usize, input: Input) {
        self.peers[at].replica.handle(self.now, input);
        self.drain(at);
    }

    fn drain(&mut self, at: usize) {
        let now = self.now;
        let peer = &mut self.peers[at];
        while let Some(output) = peer.replica.poll_output() {
            match output {
                Output::Persist(batch, writes) => {
                    for Write { key, value, .. } in writes {
                        match value {
                            Some(value) => peer.disk.insert(key, value),
                            None => peer.disk.remove(&key),
                        };
                    }
                    peer.replica.handle(now, Input::Persisted(batch));
                }
                Output::Load(load, ranges) => peer.loads.push_back((load, ranges)),
                Output::Transmit(_, frame) => peer.frames.push_back(frame),
                Output::Notify(event) => peer.events.push(event),
                Output::Complete(id, result) => {
                    peer.answers.insert(id, result);
                }
                _ => {}
            }
        }
    }

    pub(super) fn command(&mut self, at: usize, command: Command) -> Result<Reply, CommandError> {
        self.peers[at].commands += 1;
        let id = CommandId(self.peers[at].commands);
        self.handle(at, Input::Command(id, command));
        self.settle();
        self.peers[at].answers.remove(&id).unwrap()
    }

    /// Lets everything happen that is under way, and the quiet time of vaults go by.
    pub(super) fn quiet(&mut self) {
        self.pass(31_000);
    }

    pub(super) fn pass(&mut self, ms: u64) {
        self.settle();
        self.now = self.now.after_ms(ms);
        for at in 0..self.peers.len() {
            self.handle(at, Input::Elapsed);
        }
        self.settle();
    }

    pub(super) fn settle(&mut self) {
        for _ in 0..20_000 {
            let mut busy = false;
            for at in 0..self.peers.len() {
                busy |= self.step(at);
            }
            if !busy {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    fn step(&mut self, at: usize) -> bool {
        if let Some((load, ranges)) = self.peers[at].loads.pop_front() {
            let rows = self.read(at, &ranges);
            self.handle(at, Input::Loaded(load, rows));
            return true;
        }
        if !self.peers[at].online {
            return false;
        }
        if let Some(frame) = self.peers[at].frames.pop_front() {
            self.serve(at, frame);
            return true;
        }
        let topics = &self.topics;
        let head = |topic| topics.get(topic).map_or(0, |records| records.len() as u64);
        let subscribed = &self.peers[at].subscribed;
        let behind = subscribed
            .iter()
            .find(|(topic, seen)| head(*topic) > **seen);
        let Some((&topic, &seen)) = behind else {
            return false;
        };
        let head = head(&topic);
        self.peers[at].subscribed.insert(topic, head);
        let frame = self.after(topic, seen);
        self.handle(at, Input::Received(relay_id(), frame));
        true
    }

    fn read(&self, at: usize, ranges: &[Range]) -> Vec<Row> {
        let key = |range: &Range, order: &[u8]| Key {
            kind: range.kind,
            scope: range.scope.clone(),
            order: order.to_vec(),
        };
        let disk = &self.peers[at].disk;
        let rows = ranges
            .iter()
            .flat_map(|range| disk.range(key(range, &range.from)..=key(range, &range.to)));
        rows.map(|(key, value)| row(key, value)).collect()
    }

    fn after(&self, topic: TopicId, previous: u64) -> ServerFrame {
        let records = self.topics.get(&topic).map_or(&[][..], Vec::as_slice);
        let later = (1..).zip(records).filter(|(place, _)| *place > previous);
        let records = later.map(|(sequence, record)| Delivery {
            sequence,
            record: record.clone(),
        });
        ServerFrame::Records {
            topic,
            previous,
            records: records.collect(),
        }
    }

    fn follow(&mut self, at: usize, request: RequestId, topics: Vec<Followed>) {
        let changed = (0..).zip(&topics).map(|(place, _)| Changed {
            place,
            head: 0,
            restarted: false,
        });
        let followed = ServerFrame::Followed {
            request,
            digest: digest_topics([]),
            changed: changed.collect(),
        };
        self.handle(at, Input::Received(relay_id(), followed));
        for followed in topics {
            let topic = topic_of_capability(&followed.capability);
            let head = self.topics.get(&topic).map_or(0, |log| log.len() as u64);
            let records = self.after(topic, followed.after.map_or(0, |c| c.sequence));
            self.handle(at, Input::Received(relay_id(), records));
            self.peers[at].subscribed.insert(topic, head);
            let caught_up = ServerFrame::CaughtUp {
                topic,
                sequence: head,
            };
            self.handle(at, Input::Received(relay_id(), caught_up));
        }
    }

    fn serve(&mut self, at: usize, frame: ClientFrame) {
        match frame {
            ClientFrame::Subscribe {
                request,
                topic,
                after,
            } => {
                let head = self.topics.get(&topic).map_or(0, |log| log.len() as u64);
                let subscribed = ServerFrame::Subscribed {
                    request,
                    topic,
                    head,
                    restarted: false,
                };
                self.handle(at, Input::Received(relay_id(), subscribed));
                let records = self.after(topic, after.map_or(0, |cursor| cursor.sequence));
                self.handle(at, Input::Received(relay_id(), records));
                let sequence = head;
                self.peers[at].subscribed.insert(topic, head);
                let caught_up = ServerFrame::CaughtUp { topic, sequence };
                self.handle(at, Input::Received(relay_id(), caught_up));
            }
            ClientFrame::Unsubscribe { topic } => {
                self.peers[at].subscribed.remove(&topic);
            }
            ClientFrame::Append {
                request,
                topic,
                record,
                ..
            } => {
                let log = self.topics.entry(topic).or_default();
                log.push(record.clone());
                let sequence = log.len() as u64;
                let cursor = Cursor { log: LOG, sequence };
                let hash = hash_record(&record);
                let signature = key().sign(&receipt_message(&topic, cursor, &hash));
                let receipt = Receipt {
                    topic,
                    cursor,
                    record: hash,
                    signature: signature.to_bytes().to_vec(),
                };
                let settled = ServerFrame::Receipt { request, receipt };
                self.handle(at, Input::Received(relay_id(), settled));
            }
            ClientFrame::Follow { request, topics } => self.follow(at, request, topics),
            // This relay is of before there was such a question.
            ClientFrame::Witness { .. } | ClientFrame::Release { .. } => {
                let refusal = Refusal {
                    request: None,
                    topic: None,
                    code: ErrorCode::BadFrame,
                    retry_after_ms: 0,
                    message: String::new(),
                };
                let refused = ServerFrame::Refused(refusal);
                self.handle(at, Input::Received(relay_id(), refused));
            }
            ClientFrame::Hello { .. }
            | ClientFrame::Prove(_)
            | ClientFrame::Trim { .. }
            | ClientFrame::Ping { .. } => {}
        }
    }

    /// Creates an account; gives the user and the phrase.
    pub(super) fn account(&mut self, at: usize, name: &str) -> (UserId, RecoveryPhrase) {
        let command = Command::CreateAccount {
            name: name.to_owned(),
            device: "laptop".to_owned(),
            relay: None,
        };
        match self.command(at, command).unwrap() {
            Reply::AccountCreated { user, phrase, .. } => {
                (user, RecoveryPhrase::parse(&phrase.0).unwrap())
            }
            _ => panic!("no account"),
        }
    }

    pub(super) fn befriend(&mut self, at: usize, other: usize, alias: Option<&str>) {
        let card = self.peers[other].replica.overview().card.unwrap();
        let alias = alias.map(str::to_owned);
        self.command(at, Command::AddContact { card, alias })
            .unwrap();
    }

    pub(super) fn found(&mut self, at: usize, name: &str, members: &[UserId]) -> ConversationId {
        let command = Command::CreateConversation {
            name: name.to_owned(),
            members: members.to_vec(),
            segment_messages: None,
            history: sheaf_crypto::History::Full,
        };
        match self.command(at, command).unwrap() {
            Reply::ConversationCreated(id) => id,
            _ => panic!("no conversation"),
        }
    }

    pub(super) fn send(&mut self, at: usize, conversation: ConversationId, text: &str) {
        let command = Command::Send {
            conversation,
            draft: Draft::text(text),
            token: None,
        };
        self.command(at, command).unwrap();
    }

    pub(super) fn texts(&self, at: usize) -> Vec<String> {
        let disk = &self.peers[at].disk;
        let rows = disk.iter().filter(|(key, _)| key.kind == Kind::Message);
        let records = rows.map(|(_, value)| MessageRecord::decode(value).unwrap());
        records.map(|record| record.text).collect()
    }

    pub(super) fn recover(
        &mut self,
        at: usize,
        phrase: &RecoveryPhrase,
    ) -> Result<Reply, CommandError> {
        let command = Command::RecoverFromVault {
            phrase: words(phrase),
            device: "new".to_owned(),
        };
        self.command(at, command)
    }

    pub(super) fn vaults(&mut self, phrase: &RecoveryPhrase) -> &mut Vec<Vec<u8>> {
        let topic = phrase.vault_capability().topic();
        self.topics.entry(topic).or_default()
    }
}
