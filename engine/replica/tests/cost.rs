//! What changes of membership cost one device, by the number of devices in the conversation: signed
//! statements, records, bytes. `cargo test --release -p sheaf-replica --test cost -- --nocapture` prints
//! the table of docs/MEASUREMENTS.md with times.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "a test stops at a broken expectation, and says what it measured"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use ed25519_dalek::{Signer, SigningKey};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sheaf_crypto::{ConversationId, DeviceId, History, Role, UserId};
use sheaf_protocol::{
    Changed, Class, ClientFrame, Cursor, Delivery, LogId, Receipt, RelayId, ServerFrame, TopicId,
    digest_topics, hash_record, receipt_message, topic_of_capability,
};
use sheaf_replica::record::{Key, Kind, Range, Row};
use sheaf_replica::{
    Command, CommandError, CommandId, Draft, Input, LoadId, MessageRecord, Output, Replica, Reply,
    Timestamp,
};

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const LOG: LogId = LogId(7);

fn relay_key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn relay() -> RelayId {
    RelayId(relay_key().verifying_key().to_bytes())
}

/// One device with its disk in memory, and a relay that says yes.
struct Device {
    replica: Replica,
    disk: BTreeMap<Key, Vec<u8>>,
    frames: VecDeque<ClientFrame>,
    loads: VecDeque<(LoadId, Vec<Range>)>,
    answers: BTreeMap<CommandId, Result<Reply, CommandError>>,
    commands: u64,
    appended: Vec<usize>,
    /// What the relay keeps.
    log: BTreeMap<TopicId, Vec<Vec<u8>>>,
    inboxes: BTreeSet<TopicId>,
}

/// What one command brought about.
#[derive(Debug, Clone, Copy)]
struct Cost {
    statements: usize,
    records: usize,
    bytes: usize,
    time_us: u128,
}

impl Device {
    fn new(number: u32) -> Self {
        let mut seed = [1; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        let rng = Box::new(ChaCha20Rng::from_seed(seed));
        let mut device = Self {
            replica: Replica::open(rng, NOW, seed, Vec::new()).unwrap(),
            disk: BTreeMap::new(),
            frames: VecDeque::new(),
            loads: VecDeque::new(),
            answers: BTreeMap::new(),
            commands: 0,
            appended: Vec::new(),
            log: BTreeMap::new(),
            inboxes: BTreeSet::new(),
        };
        device.drain();
        let create = Command::CreateAccount {
            name: format!("person {number}"),
            device: "first".to_owned(),
            relay: None,
        };
        device.ask(create).unwrap();
        device
    }

    fn handle(&mut self, input: Input) {
        self.replica.handle(NOW, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.replica.poll_output() {
            match output {
                Output::Persist(batch, writes) => {
                    for write in writes {
                        match write.value {
                            Some(value) => self.disk.insert(write.key, value),
                            None => self.disk.remove(&write.key),
                        };
                    }
                    self.replica.handle(NOW, Input::Persisted(batch));
                }
                Output::Load(load, ranges) => self.loads.push_back((load, ranges)),
                Output::Transmit(_, frame) => self.frames.push_back(frame),
                Output::Complete(id, result) => {
                    self.answers.insert(id, result);
                }
                _ => {}
            }
        }
    }

    fn settle(&mut self) {
        loop {
            if let Some((load, ranges)) = self.loads.pop_front() {
                let rows = self.rows(&ranges);
                self.handle(Input::Loaded(load, rows));
            } else if let Some(frame) = self.frames.pop_front() {
                for answer in self.answer(frame) {
                    self.handle(Input::Received(relay(), answer));
                }
            } else {
                return;
            }
        }
    }

    fn rows(&self, ranges: &[Range]) -> Vec<Row> {
        let key = |range: &Range, order: &[u8]| Key {
            kind: range.kind,
            scope: range.scope.clone(),
            order: order.to_vec(),
        };
        let rows = ranges.iter().flat_map(|range| {
            let (from, to) = (key(range, &range.from), key(range, &range.to));
            self.disk.range(from..=to)
        });
        rows.map(|(key, value)| Row {
            kind: key.kind,
            order: key.order.clone(),
            value: value.clone(),
        })
        .collect()
    }

    /// A relay that keeps whatever it is given.
    fn answer(&mut self, frame: ClientFrame) -> Vec<ServerFrame> {
        match frame {
            ClientFrame::Append {
                request,
                topic,
                record,
                class,
            } => {
                if class == Class::Inbox {
                    self.inboxes.insert(topic);
                }
                self.appended.push(record.len());
                let digest = hash_record(&record);
                let kept = self.log.entry(topic).or_default();
                kept.push(record);
                let sequence = u64::try_from(kept.len()).unwrap();
                let cursor = Cursor { log: LOG, sequence };
                let signature = relay_key().sign(&receipt_message(&topic, cursor, &digest));
                let receipt = Receipt {
                    topic,
                    cursor,
                    record: digest,
                    signature: signature.to_bytes().to_vec(),
                };
                vec![ServerFrame::Receipt { request, receipt }]
            }
            ClientFrame::Subscribe { request, topic, .. } => {
                let mut frames = self.deliver(topic);
                let (head, restarted) = (self.head(&topic), false);
                let subscribed = ServerFrame::Subscribed {
                    request,
                    topic,
                    head,
                    restarted,
                };
                frames.insert(0, subscribed);
                frames
            }
            ClientFrame::Follow { request, topics } => {
                let topics = topics
                    .iter()
                    .map(|one| topic_of_capability(&one.capability));
                let topics: Vec<TopicId> = topics.collect();
                let changed = (0..).zip(&topics).map(|(place, topic)| Changed {
                    place,
                    head: self.head(topic),
                    restarted: false,
                });
                let followed = ServerFrame::Followed {
                    request,
                    digest: digest_topics([]),
                    changed: changed.collect(),
                };
                let rest = topics.into_iter().flat_map(|topic| self.deliver(topic));
                std::iter::once(followed).chain(rest).collect()
            }
            _ => Vec::new(),
        }
    }

    fn head(&self, topic: &TopicId) -> u64 {
        let kept = self.log.get(topic).map_or(0, Vec::len);
        u64::try_from(kept).unwrap()
    }

    /// All of a topic.
    fn deliver(&self, topic: TopicId) -> Vec<ServerFrame> {
        let kept = self.log.get(&topic).into_iter().flatten();
        let records = (1..).zip(kept.cloned());
        let records = records.map(|(sequence, record)| Delivery { sequence, record });
        let records = ServerFrame::Records {
            topic,
            previous: 0,
            records: records.collect(),
        };
        let sequence = self.head(&topic);
        vec![records, ServerFrame::CaughtUp { topic, sequence }]
    }

    /// Connects to the relay of another device, as it stands now.
    fn connect(&mut self, log: BTreeMap<TopicId, Vec<Vec<u8>>>) {
        self.log = log;
        self.handle(Input::LinkDown(relay()));
        self.frames.clear();
        self.handle(Input::LinkUp {
            relay: relay(),
            exporter: [3; 32],
            log: LOG,
        });
        self.settle();
    }

    fn texts(&self) -> Vec<String> {
        let rows = self.disk.iter();
        let rows = rows.filter(|(key, _)| key.kind == Kind::Message);
        rows.map(|(_, value)| MessageRecord::decode(value).unwrap().text)
            .collect()
    }

    fn ask(&mut self, command: Command) -> Result<Reply, CommandError> {
        self.commands += 1;
        let id = CommandId(self.commands);
        self.handle(Input::Command(id, command));
        self.settle();
        self.answers.remove(&id).unwrap()
    }

    fn statements(&self) -> usize {
        let kinds = self.disk.keys().map(|key| key.kind);
        kinds.filter(|kind| *kind == Kind::Operation).count()
    }

    fn cost(&mut self, command: Command) -> Cost {
        let (statements, start) = (self.statements(), Instant::now());
        self.appended.clear();
        self.ask(command).unwrap();
        Cost {
            statements: self.statements() - statements,
            records: self.appended.len(),
            bytes: self.appended.iter().sum(),
            time_us: start.elapsed().as_micros(),
        }
    }
}

struct Field {
    alice: Device,
    newcomers: Vec<Device>,
    conversation: ConversationId,
    people: Vec<UserId>,
    /// Devices of those who were there from the beginning.
    founders: Vec<DeviceId>,
}

impl Field {
    /// A conversation of so many devices, and as many contacts more as are wanted.
    fn of(devices: u32, more: u32) -> Self {
        let mut alice = Device::new(0);
        alice.connect(BTreeMap::new());
        let (mut newcomers, mut founders) = (Vec::new(), Vec::new());
        let people: Vec<UserId> = (1..devices + more)
            .map(|number| {
                let device = Device::new(number);
                let overview = device.replica.overview();
                let card = overview.card.unwrap();
                alice
                    .ask(Command::AddContact { card, alias: None })
                    .unwrap();
                if number >= devices {
                    newcomers.push(device);
                } else {
                    founders.extend(overview.device);
                }
                overview.user.unwrap()
            })
            .collect();
        let members = usize::try_from(devices - 1).unwrap();
        let create = Command::CreateConversation {
            name: "field".to_owned(),
            members: people.iter().take(members).copied().collect(),
            segment_messages: None,
            history: History::Full,
        };
        let Ok(Reply::ConversationCreated(conversation)) = alice.ask(create) else {
            panic!("a conversation was asked for");
        };
        // The invites of those who were there from the beginning are read by nobody here.
        for inbox in std::mem::take(&mut alice.inboxes) {
            alice.log.remove(&inbox);
        }
        Self {
            newcomers,
            founders,
            alice,
            conversation,
            people,
        }
    }

    fn add(&self, place: usize) -> Command {
        Command::AddMember {
            conversation: self.conversation,
            user: self.people[place],
            role: Role::Writer,
        }
    }

    fn say(&mut self, text: &str) {
        let send = Command::Send {
            conversation: self.conversation,
            draft: Draft::text(text),
            token: None,
        };
        self.alice.ask(send).unwrap();
    }

    fn devices(&self) -> usize {
        let shown = self.alice.replica.conversation(&self.conversation);
        shown.unwrap().members.len()
    }
}

/// A `Rekey` or a `HandOver` for every 32 devices.
fn statements_of_an_epoch(devices: usize) -> usize {
    devices.div_ceil(32)
}

#[test]
fn what_changes_of_membership_cost() {
    println!("| devices | change | statements | records | bytes | ms |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for devices in [2_u32, 10, 100, 256] {
        let count = usize::try_from(devices).unwrap();
        // The one who is added makes it this many.
        let mut field = Field::of(devices - 1, 1);
        let newcomer = count - 2;
        let added = field.alice.cost(field.add(newcomer));
        assert_eq!(field.devices(), count);
        let rotated = field.alice.cost(Command::Rotate(field.conversation));
        let removed = field.alice.cost(Command::RemoveMember {
            conversation: field.conversation,
            user: field.people[newcomer],
        });
        assert_eq!(field.devices(), count - 1);
        for (change, cost) in [("add", added), ("rotate", rotated), ("remove", removed)] {
            let Cost {
                statements,
                records,
                bytes,
                time_us,
            } = cost;
            let ms = time_us / 1_000;
            println!("| {devices} | {change} | {statements} | {records} | {bytes} | {ms} |");
        }
        // One statement for everybody; the newcomer's invite brings everybody's certificates.
        assert_eq!(added.statements, 1);
        assert!(added.bytes <= 16_384 + 8_192 * count, "{added:?}");
        assert_eq!(rotated.statements, statements_of_an_epoch(count));
        assert_eq!(removed.statements, 1 + statements_of_an_epoch(count - 1));
        // A seal has 1.2 KB. What is for everybody is sealed under the epoch before and the new one.
        let seals = count.next_power_of_two().min(32) + count;
        for cost in [rotated, removed] {
            assert!(cost.bytes <= 8_192 + 2 * 1_536 * seals, "{cost:?}");
            assert!(cost.records <= 2 * cost.statements, "{cost:?}");
        }
    }
}

/// Beyond the 32 devices that a `Rekey` has room for the secret comes in a `HandOver`: whoever is
/// last in the order reads what is written after a rotation, and so does who is removed not.
#[test]
fn device_256_reads_on_after_a_rotation_and_not_after_its_removal() {
    let mut field = Field::of(255, 4);
    let order = |device: &Device| device.replica.overview().device.unwrap();
    let last = (0..4).max_by_key(|place| order(&field.newcomers[*place]));
    let last = last.unwrap();
    let own = order(&field.newcomers[last]);
    assert!(field.founders.iter().filter(|id| **id < own).count() > 32);
    field.alice.ask(field.add(254 + last)).unwrap();
    field.say("beside");
    field
        .alice
        .ask(Command::Rotate(field.conversation))
        .unwrap();
    field.say("after");
    let newcomer = &mut field.newcomers[last];
    newcomer.connect(field.alice.log.clone());
    assert_eq!(newcomer.texts(), ["beside", "after"]);

    let remove = Command::RemoveMember {
        conversation: field.conversation,
        user: field.people[254 + last],
    };
    field.alice.ask(remove).unwrap();
    field.say("not for everybody");
    let newcomer = &mut field.newcomers[last];
    newcomer.connect(field.alice.log.clone());
    assert_eq!(newcomer.texts(), ["beside", "after"]);
}

#[test]
fn device_257_is_refused_by_name_and_changes_nothing() {
    let mut field = Field::of(256, 1);
    assert_eq!(field.devices(), 256);
    let disk = field.alice.disk.clone();
    let refused = field.alice.ask(field.add(255)).unwrap_err();
    let said = "a conversation holds 256 devices at most; this one has 256, and 1 would be added";
    assert_eq!(refused.to_string(), said);
    let create = Command::CreateConversation {
        name: "all".to_owned(),
        members: field.people.clone(),
        segment_messages: None,
        history: History::SinceJoin,
    };
    let refused = field.alice.ask(create).unwrap_err();
    let said = "a conversation holds 256 devices at most; this one has 1, and 256 would be added";
    assert_eq!(refused.to_string(), said);
    assert!(field.alice.disk == disk, "a refusal changes nothing");
    // And goes on: the place of one who leaves is free.
    let leave = Command::RemoveMember {
        conversation: field.conversation,
        user: field.people[0],
    };
    field.alice.ask(leave).unwrap();
    field.alice.ask(field.add(255)).unwrap();
    assert_eq!(field.devices(), 256);
}
