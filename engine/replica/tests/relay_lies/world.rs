//! Honest devices, their disks in memory, and relays that can lie, in virtual time.

use std::collections::{BTreeMap, VecDeque};

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sheaf_crypto::{ConversationId, History};
use sheaf_protocol::{ClientFrame, RelayId, TopicId};
use sheaf_replica::record::{Key, Kind, RESTORED, Range, Row};
use sheaf_replica::{
    Act, Command, CommandError, CommandId, Draft, Event, Input, LoadId, MessageRecord, Output,
    Policy, Replica, Reply, Suspect, Timestamp,
};

use crate::relay::Relay;

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const ROUNDS_MAX: usize = 20_000;

pub(super) const ALICE: usize = 0;
pub(super) const BOB: usize = 1;

struct Device {
    replica: Replica,
    disk: BTreeMap<Key, Vec<u8>>,
    loads: VecDeque<(LoadId, Vec<Range>)>,
    frames: VecDeque<(RelayId, ClientFrame)>,
    answers: BTreeMap<CommandId, Result<Reply, CommandError>>,
    acts: Vec<(Suspect, Act)>,
    commands: u64,
    online: bool,
    wait: Option<Timestamp>,
}

/// Alice and Bob share a conversation.
pub(super) struct World {
    devices: Vec<Device>,
    pub(super) relays: Vec<Relay>,
    pub(super) conversation: ConversationId,
    pub(super) now: Timestamp,
    connections: u8,
}

fn row(key: &Key, value: &[u8]) -> Row {
    Row {
        kind: key.kind,
        order: key.order.clone(),
        value: value.to_vec(),
    }
}

impl Device {
    fn open(number: u8, disk: BTreeMap<Key, Vec<u8>>, now: Timestamp, seed: u8) -> Self {
        let rng = Box::new(ChaCha20Rng::from_seed([seed; 32]));
        let restored = disk.iter().filter(|(key, _)| RESTORED.contains(&key.kind));
        let rows = restored.map(|(key, value)| row(key, value)).collect();
        let mut replica = Replica::open(rng, now, [number; 32], rows).unwrap();
        replica.set_policy(Policy {
            release: Some(4),
            ..Policy::default()
        });
        Self {
            replica,
            disk,
            loads: VecDeque::new(),
            frames: VecDeque::new(),
            answers: BTreeMap::new(),
            acts: Vec::new(),
            commands: 0,
            online: false,
            wait: None,
        }
    }

    fn handle(&mut self, now: Timestamp, input: Input) {
        self.replica.handle(now, input);
        while let Some(output) = self.replica.poll_output() {
            match output {
                Output::Persist(batch, writes) => {
                    for write in writes {
                        match write.value {
                            Some(value) => self.disk.insert(write.key, value),
                            None => self.disk.remove(&write.key),
                        };
                    }
                    self.replica.handle(now, Input::Persisted(batch));
                }
                Output::Load(load, ranges) => self.loads.push_back((load, ranges)),
                Output::Transmit(relay, frame) => self.frames.push_back((relay, frame)),
                Output::Notify(Event::Misbehaved(found)) => self.acts.push((found.by, found.act)),
                Output::Complete(id, result) => drop(self.answers.insert(id, result)),
                Output::Wait(at) => self.wait = Some(at),
                _ => {}
            }
        }
    }

    fn load(&mut self, now: Timestamp) -> bool {
        let Some((load, ranges)) = self.loads.pop_front() else {
            return false;
        };
        let key = |range: &Range, order: &[u8]| Key {
            kind: range.kind,
            scope: range.scope.clone(),
            order: order.to_vec(),
        };
        let mut rows = Vec::new();
        for range in &ranges {
            let found = key(range, &range.from)..=key(range, &range.to);
            rows.extend(self.disk.range(found).map(|(key, value)| row(key, value)));
        }
        self.handle(now, Input::Loaded(load, rows));
        true
    }
}

impl World {
    pub(super) fn new(relays: u8) -> Self {
        let devices = (1..=2).map(|n| Device::open(n, BTreeMap::new(), NOW, n));
        let mut world = Self {
            devices: devices.collect(),
            relays: (1..=relays).map(|number| Relay::new(90 + number)).collect(),
            conversation: ConversationId([0; 32]),
            now: NOW,
            connections: 0,
        };
        for (place, name) in [(ALICE, "Alice"), (BOB, "Bob")] {
            world.connect(place);
            let create = Command::CreateAccount {
                name: name.to_owned(),
                device: "first".to_owned(),
                relay: None,
            };
            world.ask(place, create);
        }
        let overview = world.devices[BOB].replica.overview();
        let (card, bob) = (overview.card.unwrap(), overview.user.unwrap());
        world.ask(ALICE, Command::AddContact { card, alias: None });
        let create = Command::CreateConversation {
            name: "field".to_owned(),
            members: vec![bob],
            segment_messages: None,
            history: History::Full,
        };
        if let Reply::ConversationCreated(conversation) = world.ask(ALICE, create) {
            world.conversation = conversation;
        }
        for (place, text) in [(ALICE, "one"), (BOB, "two"), (ALICE, "three")] {
            world.send(place, text);
            world.pass(10);
        }
        world.agree();
        for place in [ALICE, BOB] {
            assert_eq!(world.acts(place), [], "nobody has done anything");
        }
        world
    }

    pub(super) fn connect(&mut self, place: usize) {
        self.connections += 1;
        self.devices[place].online = true;
        for relay in &self.relays {
            let input = Input::LinkUp {
                relay: relay.id(),
                exporter: [self.connections; 32],
                log: relay.log,
            };
            self.devices[place].handle(self.now, input);
        }
        self.settle();
    }

    pub(super) fn disconnect(&mut self, place: usize) {
        for relay in &mut self.relays {
            relay.hang_up(place);
            self.devices[place].handle(self.now, Input::LinkDown(relay.id()));
        }
        self.devices[place].frames.clear();
        self.devices[place].online = false;
    }

    /// Its program ends and starts again, without a connection.
    pub(super) fn restart(&mut self, place: usize) {
        self.disconnect(place);
        let number = u8::try_from(place + 1).unwrap();
        let disk = std::mem::take(&mut self.devices[place].disk);
        self.connections += 1;
        let seed = 100 + self.connections;
        self.devices[place] = Device::open(number, disk, self.now, seed);
    }

    fn step(&mut self) -> bool {
        let now = self.now;
        for (place, device) in self.devices.iter_mut().enumerate() {
            if device.load(now) {
                return true;
            }
            if !device.online {
                continue;
            }
            if let Some((to, frame)) = device.frames.pop_front() {
                let relay = self.relays.iter_mut().find(|relay| relay.id() == to);
                for frame in relay.unwrap().handle(place, frame) {
                    device.handle(now, Input::Received(to, frame));
                }
                return true;
            }
            for relay in &mut self.relays {
                let news = relay.news(place);
                if !news.is_empty() {
                    for frame in news {
                        device.handle(now, Input::Received(relay.id(), frame));
                    }
                    return true;
                }
            }
        }
        false
    }

    /// Lets everything happen that is under way.
    pub(super) fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            if !self.step() {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    /// Lets seconds go by.
    pub(super) fn pass(&mut self, seconds: u64) {
        let end = self.now.after_ms(seconds * 1_000);
        loop {
            self.settle();
            let waits = self.devices.iter().filter_map(|device| device.wait);
            let Some(next) = waits.min().filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            for device in &mut self.devices {
                if device.wait.take_if(|at| *at <= self.now).is_some() {
                    device.handle(self.now, Input::Elapsed);
                }
            }
        }
        self.now = end;
        for device in &mut self.devices {
            device.handle(end, Input::Elapsed);
        }
        self.settle();
    }

    pub(super) fn ask(&mut self, place: usize, command: Command) -> Reply {
        let device = &mut self.devices[place];
        device.commands += 1;
        let id = CommandId(device.commands);
        // No two devices ever have one time: ids of messages follow the clock.
        self.now = self.now.after_ms(1);
        device.handle(self.now, Input::Command(id, command));
        self.settle();
        self.devices[place].answers.remove(&id).unwrap().unwrap()
    }

    pub(super) fn send(&mut self, place: usize, text: &str) {
        let send = Command::Send {
            conversation: self.conversation,
            draft: Draft::text(text),
            token: None,
        };
        self.ask(place, send);
    }

    /// The conversation's one topic.
    pub(super) fn topic(&self) -> TopicId {
        let shown = self.devices[ALICE].replica.conversation(&self.conversation);
        shown.unwrap().topics[0]
    }

    pub(super) fn texts(&self, place: usize) -> Vec<String> {
        let disk = self.devices[place].disk.iter();
        let messages = disk.filter(|(key, _)| key.kind == Kind::Message);
        let messages = messages.map(|(_, value)| MessageRecord::decode(value).unwrap());
        messages.map(|message| message.text).collect()
    }

    /// Both devices hold the same messages and documents, and nothing waits.
    pub(super) fn agree(&self) {
        assert_eq!(self.texts(ALICE), self.texts(BOB));
        let shown = |place: usize| {
            let replica = &self.devices[place].replica;
            let shown = replica.conversation(&self.conversation).unwrap();
            assert_eq!((shown.parked, shown.pending), (0, 0), "{place}");
            shown.heads
        };
        assert_eq!(shown(ALICE), shown(BOB));
    }

    /// What a device has reported, once.
    pub(super) fn acts(&mut self, place: usize) -> Vec<(Suspect, Act)> {
        std::mem::take(&mut self.devices[place].acts)
    }

    /// What a device has reported of a relay, once.
    pub(super) fn named(&mut self, place: usize, relay: usize) -> Vec<Act> {
        let by = Suspect::Relay(self.relays[relay].id());
        let acts = self.acts(place).into_iter();
        acts.filter(|(who, _)| *who == by)
            .map(|(_, act)| act)
            .collect()
    }

    pub(super) fn replica(&self, place: usize) -> &Replica {
        &self.devices[place].replica
    }
}
