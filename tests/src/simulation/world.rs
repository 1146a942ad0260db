//! The world: time, the network, and what people do.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use rand_chacha::ChaCha8Rng;
use rand_core::Rng;
use sheaf_crypto::{ConversationId, DeviceId, UserId};
use sheaf_protocol::{ClientFrame, RelayId, ServerFrame};
use sheaf_replica::record::Row;
use sheaf_replica::{BatchId, Command, CommandId, Event, Input, LoadId, Reply, Timestamp};

use super::device::{Asked, Device, Want};
use super::faults::Faults;
use super::govern::Before;
use super::relay::{Answer, ModelRelay};
use super::{Failure, below, check, one_in};

pub(super) enum Happening {
    ToRelay(usize, u64, ClientFrame),
    ToDevice(usize, usize, u64, ServerFrame),
    Flushed(usize, u64, BatchId),
    Loaded(usize, u64, LoadId, Vec<Row>),
    Elapsed(usize, u64),
    Connect(usize),
    Revive(usize),
}

impl Happening {
    fn name(&self) -> String {
        match self {
            Self::ToRelay(_, connection, frame) => {
                let frame = format!("{frame:?}");
                format!(
                    "to relay from {connection}: {}",
                    frame.split(' ').next().unwrap()
                )
            }
            Self::ToDevice(device, _, _, frame) => {
                let frame = format!("{frame:?}");
                format!("to device {device}: {}", frame.split(' ').next().unwrap())
            }
            Self::Flushed(device, ..) => format!("flush of {device}"),
            Self::Loaded(device, ..) => format!("read of {device}"),
            Self::Elapsed(device, _) => format!("alarm of {device}"),
            Self::Connect(device) => format!("connection of {device}"),
            Self::Revive(relay) => format!("relay {relay} comes back"),
        }
    }
}

/// Devices, a relay and the time.
pub struct World {
    pub(super) rng: ChaCha8Rng,
    pub(super) faults: Faults,
    pub(super) now: Timestamp,
    /// Devices of the world.
    pub devices: Vec<Device>,
    /// The relays.
    pub relays: Vec<ModelRelay>,
    /// Those that lost their store, and those that were put back to a backup.
    pub wiped: BTreeSet<RelayId>,
    /// See above.
    pub rolled_back: BTreeSet<RelayId>,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    order: u64,
    /// Latest arrival by connection, direction and stream: streams keep their order.
    streams: BTreeMap<(u64, u8), u64>,
    pub(super) connections: u64,
    pub(super) generation: Vec<u64>,
    pub(super) texts: u64,
    /// Conversations that were created.
    pub conversations: Vec<ConversationId>,
    /// What people had written before somebody was added, where newcomers may not read it.
    pub(super) before: Vec<Before>,
    /// How much each device had said before the last words.
    pub(super) words: Vec<usize>,
    /// Who joins in the middle.
    pub(super) latecomer: Option<UserId>,
    /// People whom somebody tried to remove or demote: what they wrote may be cut off.
    pub touched: BTreeSet<(ConversationId, UserId)>,
    /// The device that signed two histories.
    pub forked: Option<DeviceId>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World")
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

impl World {
    pub(super) fn new(mut rng: ChaCha8Rng, faults: Faults) -> Self {
        let relays = (0..if faults.relays { 2 } else { 1 }).map(|_| {
            let mut seed = [0; 32];
            rng.fill_bytes(&mut seed);
            ModelRelay::new(seed)
        });
        let relays = relays.collect();
        Self {
            rng,
            faults,
            now: Timestamp(1_700_000_000_000),
            devices: Vec::new(),
            relays,
            wiped: BTreeSet::new(),
            rolled_back: BTreeSet::new(),
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            order: 0,
            streams: BTreeMap::new(),
            connections: 0,
            generation: Vec::new(),
            texts: 0,
            conversations: Vec::new(),
            latecomer: None,
            touched: BTreeSet::new(),
            forked: None,
            before: Vec::new(),
            words: Vec::new(),
        }
    }

    pub(super) fn plan(&mut self, delay: u64, happening: Happening) {
        self.order += 1;
        self.queue.push(Reverse((self.now.0 + delay, self.order)));
        self.happenings.insert(self.order, happening);
    }

    fn plan_in_order(&mut self, key: (u64, u8), delay: u64, happening: Happening) {
        let at = (self.now.0 + delay).max(self.streams.get(&key).copied().unwrap_or(0));
        self.streams.insert(key, at);
        self.plan(at - self.now.0, happening);
    }

    /// People, devices, contacts and a conversation: the calm before.
    pub(super) fn found(&mut self) {
        let people = 2 + below(&mut self.rng, 2) as usize;
        let count = people + below(&mut self.rng, (6 - people as u64) + 1) as usize;
        for number in 0..count {
            let device = Device::new(number as u64 + 1, number % people, self.now);
            self.devices.push(device);
            self.generation.push(0);
        }
        for person in 0..people {
            let name = format!("person {person}");
            self.ask(
                person,
                Command::CreateAccount {
                    name,
                    device: "first".into(),
                    relay: None,
                },
            );
            self.connect(person);
        }
        self.settle();
        for device in people..count {
            let first = self.devices[device].person;
            self.link(first, device);
        }
        let cards: Vec<String> = (0..people)
            .map(|p| self.devices[p].replica.overview().card.unwrap())
            .collect();
        let knowing = if self.faults.members { people } else { 1 };
        for (person, other) in (0..knowing).flat_map(|p| (0..people).map(move |o| (p, o))) {
            if person != other {
                let card = cards[other].clone();
                self.ask(person, Command::AddContact { card, alias: None });
            }
        }
        self.settle();
        // Where newcomers matter, the last person comes later.
        let late = self.faults.newcomer && people > 1;
        let first = people - usize::from(self.faults.since_join || late);
        self.latecomer = self.devices[people - 1].user().filter(|_| late);
        let members: Vec<UserId> = (1..first)
            .map(|person| self.devices[person].user().unwrap())
            .collect();
        for name in ["field", "yard"] {
            let size = 2 + below(&mut self.rng, 12) as u32;
            let command = Command::CreateConversation {
                name: name.into(),
                members: members.clone(),
                segment_messages: Some(size),
                history: self.history(name),
            };
            if let Reply::ConversationCreated(id) = self.ask(0, command) {
                self.conversations.push(id);
            }
        }
        self.settle();
    }

    /// Asks for something and waits for the answer.
    pub(crate) fn ask(&mut self, device: usize, command: Command) -> Reply {
        let id = self.command(device, command, Asked::Other);
        for _ in 0..100_000 {
            if let Some(result) = self.answer(device, id) {
                return result;
            }
            assert!(self.step(), "no answer, and nothing left to happen");
        }
        panic!("no answer");
    }

    fn answer(&mut self, device: usize, id: CommandId) -> Option<Reply> {
        let answers = &mut self.devices[device].answers;
        let place = answers.iter().position(|(answered, _)| *answered == id)?;
        Some(answers.remove(place).1.expect("command is fine"))
    }

    fn link(&mut self, existing: usize, new: usize) {
        let Reply::LinkStarted { code } = self.ask(existing, Command::StartLink) else {
            panic!()
        };
        self.ask(
            new,
            Command::JoinAccount {
                code,
                device: format!("device {new}"),
            },
        );
        self.connect(new);
        self.settle();
        let digits = self.devices[new]
            .events
            .iter()
            .find_map(|event| match event {
                Event::LinkDigits { digits, .. } => Some(digits.clone()),
                _ => None,
            });
        let digits = digits.expect("digits are shown");
        self.ask(existing, Command::ApproveLink { digits });
        self.settle();
        assert!(
            self.devices[new].user().is_some(),
            "the new device belongs to the account"
        );
    }

    pub(super) fn command(&mut self, device: usize, command: Command, asked: Asked) -> CommandId {
        let now = self.now;
        let id = self.devices[device].command(now, command, asked);
        self.drain(device);
        id
    }

    pub(super) fn drain(&mut self, device: usize) {
        let generation = self.generation[device];
        for want in self.devices[device].drain() {
            match want {
                Want::Flush(batch) => {
                    let delay = below(&mut self.rng, 8);
                    let key = (u64::MAX - device as u64, 9);
                    self.plan_in_order(key, delay, Happening::Flushed(device, generation, batch));
                }
                Want::Load(load, ranges) => {
                    let rows = self.devices[device].read(&ranges);
                    let delay = below(&mut self.rng, 8);
                    self.plan(delay, Happening::Loaded(device, generation, load, rows));
                }
                Want::Transmit(to, frame) => {
                    let mut relays = self.relays.iter();
                    let relay = relays.position(|relay| relay.id() == to).expect("known");
                    if let Some(connection) = self.devices[device].connections.get(&relay).copied()
                    {
                        let delay = 1 + below(&mut self.rng, 40);
                        let happening = Happening::ToRelay(relay, connection, frame);
                        self.plan_in_order((connection, 8), delay, happening);
                    }
                }
                Want::Wait(at) => {
                    let delay = at.since_ms(self.now);
                    self.plan(delay, Happening::Elapsed(device, generation));
                }
            }
        }
    }

    /// Lets the next thing happen; `false` if there is none.
    pub(crate) fn step(&mut self) -> bool {
        let Some(Reverse((at, order))) = self.queue.pop() else {
            return false;
        };
        self.now = self.now.max(Timestamp(at));
        let Some(happening) = self.happenings.remove(&order) else {
            return true;
        };
        match happening {
            Happening::ToRelay(relay, connection, frame) => {
                let repeat = self.faults.relay
                    && matches!(frame, ClientFrame::Append { .. })
                    && one_in(&mut self.rng, 30);
                for answer in self.relays[relay].handle(connection, frame.clone()) {
                    self.send(relay, answer);
                }
                if repeat {
                    // Sent twice, as after a lost answer; the relay gives the same receipt.
                    for answer in self.relays[relay].handle(connection, frame) {
                        self.send(relay, answer);
                    }
                }
            }
            Happening::ToDevice(device, relay, connection, frame) => {
                if self.devices[device].connections.get(&relay) == Some(&connection) {
                    let id = self.relays[relay].id();
                    self.input(device, Input::Received(id, frame));
                }
            }
            Happening::Flushed(device, generation, batch) => {
                if self.generation[device] == generation {
                    self.devices[device].flush(batch);
                    self.input(device, Input::Persisted(batch));
                }
            }
            Happening::Loaded(device, generation, load, rows) => {
                if self.generation[device] == generation {
                    self.input(device, Input::Loaded(load, rows));
                }
            }
            Happening::Elapsed(device, generation) => {
                if self.generation[device] == generation {
                    self.input(device, Input::Elapsed);
                }
            }
            Happening::Connect(device) => self.connect(device),
            Happening::Revive(relay) => self.revive(relay),
        }
        true
    }

    fn send(&mut self, relay: usize, answer: Answer) {
        let Answer {
            connection,
            stream,
            frame,
        } = answer;
        let holds = |device: &Device| device.connections.get(&relay) == Some(&connection);
        let Some(device) = self.devices.iter().position(holds) else {
            return;
        };
        let delay = 1 + below(&mut self.rng, 40);
        if self.faults.relay && one_in(&mut self.rng, 40) {
            let again = Happening::ToDevice(device, relay, connection, frame.clone());
            self.plan_in_order((connection, stream), delay, again);
        }
        let happening = Happening::ToDevice(device, relay, connection, frame);
        self.plan_in_order((connection, stream), delay, happening);
    }

    pub(super) fn input(&mut self, device: usize, input: Input) {
        self.devices[device].replica.handle(self.now, input);
        self.drain(device);
    }

    /// Lets everything happen that is under way.
    pub(crate) fn settle(&mut self) {
        for _ in 0..2_000_000 {
            if !self.step() {
                return;
            }
        }
        let mut tally: BTreeMap<String, u32> = BTreeMap::new();
        for _ in 0..1_000 {
            if let Some(Reverse((_, order))) = self.queue.peek()
                && let Some(happening) = self.happenings.get(order)
            {
                *tally.entry(happening.name()).or_default() += 1;
            }
            self.step();
        }
        panic!(
            "the world does not come to rest at {:?}: {tally:?}",
            self.now
        );
    }

    /// People write while the world breaks around them.
    pub(super) fn live(&mut self) -> Result<(), Failure> {
        for step in 0..self.faults.steps {
            let late = self.faults.begins_late();
            let all_read_all = !self.faults.members && !self.faults.doubles() && !late;
            if all_read_all && step.is_multiple_of(4) {
                check::nobody_shows_too_much(self)?;
            }
            if step == self.faults.steps / 2 {
                self.welcome();
            }
            if self.faults.doubles() && step == self.faults.steps / 3 {
                self.fork();
            }
            let device = below(&mut self.rng, self.devices.len() as u64) as usize;
            match below(&mut self.rng, 20) {
                0..=8 => self.write(device),
                9 | 10 => self.write_many(device),
                11 if self.faults.network => self.lose_links(device),
                12 if self.faults.crashes => {
                    let kept = below(&mut self.rng, 4) as usize;
                    self.restart(device, kept);
                }
                15 if self.faults.relays => self.strike(),
                13 | 14 if self.faults.members => self.govern(device),
                16 if self.faults.release => self.let_hours_pass(),
                18 if self.faults.forget && one_in(&mut self.rng, 2) => self.forget(device),
                17 if self.faults.weeks => self.let_weeks_pass(),
                _ => {
                    for _ in 0..below(&mut self.rng, 30) {
                        self.step();
                    }
                }
            }
            let pause = below(&mut self.rng, 20);
            self.now = self.now.after_ms(pause);
        }
        Ok(())
    }

    pub(super) fn restart(&mut self, device: usize, kept: usize) {
        for (relay, connection) in std::mem::take(&mut self.devices[device].connections) {
            self.relays[relay].sessions.remove(&connection);
        }
        self.generation[device] += 1;
        let now = self.now;
        self.devices[device].crash(kept, now);
        self.drain(device);
        let away = below(&mut self.rng, 1_000);
        self.plan(away, Happening::Connect(device));
    }

    pub(super) fn pick(&mut self) -> Option<ConversationId> {
        let place = below(&mut self.rng, self.conversations.len() as u64) as usize;
        self.conversations.get(place).copied()
    }

    /// The faults stop, everybody connects, and the world comes to rest.
    pub(super) fn quiet(&mut self) {
        let (members, forget) = (self.faults.members, self.faults.forget);
        self.faults = Faults {
            network: false,
            crashes: false,
            relay: false,
            relays: self.faults.relays,
            roll_back: false,
            members: false,
            since_join: false,
            newcomer: false,
            release: false,
            forget: false,
            weeks: self.faults.weeks,
            fork: self.faults.fork,
            copy: self.faults.copy,
            steps: 0,
        };
        self.settle();
        for device in 0..self.devices.len() {
            self.disconnect(device);
            self.connect(device);
        }
        self.settle();
        self.last_words(members);
        if forget {
            self.settle();
        }
    }
}
