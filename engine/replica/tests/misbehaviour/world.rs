//! Honest replicas with their disks in memory, and a relay that is a list of records by topic.

use std::collections::{BTreeMap, VecDeque};

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sheaf_crypto::{ConversationId, DeviceId, EpochId};
use sheaf_protocol::{
    Changed, ClientFrame, Followed, ServerFrame, TopicId, digest_topics, topic_of_capability,
};
use sheaf_replica::record::{Key, Kind, RESTORED, Range, Row, Write};
use sheaf_replica::{
    Command, CommandError, CommandId, ConversationInfo, Draft, Event, Input, LoadId, MessageRecord,
    Misbehaviour, Output, RecoveryWords, Replica, Reply, Timestamp,
};

use crate::relay::{Feed, LOG, Log, refused};

pub(super) type Disk = BTreeMap<Key, Vec<u8>>;

const NOW: Timestamp = Timestamp(1_700_000_000_000);
/// Rounds after which a world that still has something to do counts as restless.
const ROUNDS_MAX: usize = 10_000;

/// One device, its disk, and how far it was told each topic.
pub(super) struct Peer {
    pub(super) replica: Replica,
    pub(super) disk: Disk,
    number: u8,
    loads: VecDeque<(LoadId, Vec<Range>)>,
    frames: VecDeque<ClientFrame>,
    pub(super) feed: Feed,
    subscribed: BTreeMap<TopicId, u64>,
    answers: BTreeMap<CommandId, Result<Reply, CommandError>>,
    pub(super) events: Vec<Event>,
    commands: u64,
    pub(super) now: Timestamp,
    wait: Option<Timestamp>,
}

/// What must not change: messages, heads and members as shown, and the disk but for cursors.
#[derive(Debug, PartialEq)]
pub(super) struct State {
    messages: Vec<MessageRecord>,
    shown: ConversationInfo,
    disk: Disk,
}

/// Alice, Bob and Mallory share a conversation; all are honest, and all have read everything.
pub(super) struct World {
    pub(super) peers: Vec<Peer>,
    pub(super) log: Log,
    pub(super) conversation: ConversationId,
    /// Recovery phrases, by whose first device it is.
    pub(super) phrases: BTreeMap<usize, RecoveryWords>,
}

pub(super) const ALICE: usize = 0;
/// The device that bad records arrive at.
pub(super) const BOB: usize = 1;
pub(super) const MALLORY: usize = 2;

impl Peer {
    /// Opens a disk with randomness of its own.
    pub(super) fn open_as(number: u8, disk: Disk, seed: u8) -> Self {
        Self::open_at(number, disk, seed, NOW)
    }

    fn open_at(number: u8, disk: Disk, seed: u8, now: Timestamp) -> Self {
        let rng = Box::new(ChaCha20Rng::from_seed([seed; 32]));
        let restored = disk.iter().filter(|(key, _)| RESTORED.contains(&key.kind));
        let rows = restored.map(|(key, value)| row(key, value)).collect();
        let replica = Replica::open(rng, now, [number; 32], rows).unwrap();
        let mut peer = Self {
            replica,
            disk,
            number,
            loads: VecDeque::new(),
            frames: VecDeque::new(),
            feed: Feed::default(),
            subscribed: BTreeMap::new(),
            answers: BTreeMap::new(),
            events: Vec::new(),
            commands: 0,
            now,
            wait: None,
        };
        peer.drain();
        peer.link_up();
        peer
    }

    pub(super) fn handle(&mut self, input: Input) {
        self.replica.handle(self.now, input);
        self.drain();
    }

    pub(super) fn receive(&mut self, frame: ServerFrame) {
        self.handle(Input::Received(Log::id(), frame));
    }

    fn drain(&mut self) {
        while let Some(output) = self.replica.poll_output() {
            match output {
                Output::Persist(batch, writes) => {
                    self.write(writes);
                    self.replica.handle(self.now, Input::Persisted(batch));
                }
                Output::Load(load, ranges) => self.loads.push_back((load, ranges)),
                Output::Transmit(_, frame) => self.frames.push_back(frame),
                Output::Notify(event) => self.events.push(event),
                Output::Complete(id, result) => drop(self.answers.insert(id, result)),
                Output::Wait(at) => {
                    self.wait = Some(self.wait.map_or(at, |known| known.min(at)));
                }
                _ => {}
            }
        }
    }

    /// The time that the replica waits for comes; `false` if it waits for none.
    pub(super) fn wake(&mut self) -> bool {
        let Some(at) = self.wait.take() else {
            return false;
        };
        self.now = self.now.max(at);
        self.handle(Input::Elapsed);
        true
    }

    fn write(&mut self, writes: Vec<Write>) {
        for Write { key, value, erases } in writes {
            assert!(erases || value.is_some() || key.kind != Kind::Epoch);
            match value {
                Some(value) => self.disk.insert(key, value),
                None => self.disk.remove(&key),
            };
        }
    }

    pub(super) fn command(&mut self, command: Command) {
        self.commands += 1;
        self.handle(Input::Command(CommandId(self.commands), command));
    }

    pub(super) fn frozen(&self, conversation: &ConversationId, device: &DeviceId) -> bool {
        let shown = self.replica.conversation(conversation).unwrap();
        shown.frozen.contains(device)
    }

    pub(super) fn link_up(&mut self) {
        self.handle(Input::LinkDown(Log::id()));
        self.frames.clear();
        self.subscribed.clear();
        self.handle(Input::LinkUp {
            relay: Log::id(),
            exporter: [9; 32],
            log: LOG,
        });
    }

    /// What it was about to send is lost with the connection.
    pub(super) fn offline(&mut self) {
        self.frames.clear();
        self.subscribed.clear();
    }

    fn serve(&mut self, log: &mut Log, frame: ClientFrame) {
        match frame {
            ClientFrame::Subscribe {
                request,
                topic,
                after,
            } => {
                let head = self.feed.log.head(&topic);
                self.receive(ServerFrame::Subscribed {
                    request,
                    topic,
                    head,
                    restarted: false,
                });
                let at = after.map_or(0, |cursor| cursor.sequence);
                self.receive(self.feed.log.after(topic, at));
                let sequence = head;
                self.receive(ServerFrame::CaughtUp { topic, sequence });
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
                let receipt = Log::receipt(topic, log.append(topic, &record), &record);
                self.receive(ServerFrame::Receipt { request, receipt });
            }
            ClientFrame::Follow { request, topics } => {
                let head = |f: &Followed| self.feed.log.head(&topic_of_capability(&f.capability));
                let changed = (0..).zip(&topics).map(|(place, followed)| Changed {
                    place,
                    head: head(followed),
                    restarted: false,
                });
                self.receive(ServerFrame::Followed {
                    request,
                    digest: digest_topics([]),
                    changed: changed.collect(),
                });
                for followed in topics {
                    let topic = topic_of_capability(&followed.capability);
                    let sequence = self.feed.log.head(&topic);
                    let at = followed.after.map_or(0, |cursor| cursor.sequence);
                    self.receive(self.feed.log.after(topic, at));
                    self.receive(ServerFrame::CaughtUp { topic, sequence });
                    self.subscribed.insert(topic, sequence);
                }
            }
            ClientFrame::Witness { .. } => self.receive(refused()),
            ClientFrame::Hello { .. }
            | ClientFrame::Prove(_)
            | ClientFrame::Trim { .. }
            | ClientFrame::Release { .. }
            | ClientFrame::Ping { .. } => {}
        }
    }

    /// Does one thing that is under way; `false` if there is nothing.
    pub(super) fn step(&mut self, log: &mut Log) -> bool {
        self.feed.copy(log);
        if let Some((load, ranges)) = self.loads.pop_front() {
            self.handle(Input::Loaded(load, self.read(&ranges)));
            return true;
        }
        if let Some(frame) = self.frames.pop_front() {
            self.serve(log, frame);
            return true;
        }
        let behind = |(topic, seen): &(&TopicId, &u64)| self.feed.log.head(topic) > **seen;
        let Some((&topic, &seen)) = self.subscribed.iter().find(behind) else {
            return false;
        };
        self.subscribed.insert(topic, self.feed.log.head(&topic));
        self.receive(self.feed.log.after(topic, seen));
        true
    }

    fn read(&self, ranges: &[Range]) -> Vec<Row> {
        let key = |range: &Range, order: &[u8]| Key {
            kind: range.kind,
            scope: range.scope.clone(),
            order: order.to_vec(),
        };
        let rows = ranges.iter().flat_map(|range| {
            self.disk
                .range(key(range, &range.from)..=key(range, &range.to))
        });
        rows.map(|(key, value)| row(key, value)).collect()
    }

    /// What it has reported, once.
    pub(super) fn misbehaviour(&mut self) -> Vec<Misbehaviour> {
        let events = std::mem::take(&mut self.events);
        let reports = events.into_iter().filter_map(|event| match event {
            Event::Misbehaved(misbehaviour) => Some(misbehaviour),
            _ => None,
        });
        reports.collect()
    }
}

impl World {
    pub(super) fn new() -> Self {
        Self::of(3)
    }

    /// So many people in one conversation.
    pub(super) fn of(people: u8) -> Self {
        let peers = (1..=people).map(|number| Peer::open_as(number, Disk::new(), number));
        let peers: Vec<Peer> = peers.collect();
        let conversation = ConversationId([0; 32]);
        let mut world = Self {
            peers,
            log: Log::default(),
            conversation,
            phrases: BTreeMap::new(),
        };
        let names = ["Alice", "Bob", "Mallory", "Carol", "Dave", "Erin"];
        for (place, name) in names.into_iter().enumerate().take(world.peers.len()) {
            world.create(place, name);
        }
        for other in 1..world.peers.len() {
            let card = world.peers[other].replica.overview().card.unwrap();
            world.ask(ALICE, Command::AddContact { card, alias: None });
        }
        world.conversation = world.found("field");
        for (place, text) in [(ALICE, "one"), (MALLORY, "two"), (BOB, "three")] {
            if place < world.peers.len() {
                world.send(place, text);
            }
        }
        assert!(world.misbehaviour().is_empty(), "nobody has done anything");
        world
    }

    /// Alice with two devices, the second in Mallory's place, and Bob; one conversation of all.
    pub(super) fn with_two_devices() -> Self {
        let peers = (1..=3)
            .map(|number| Peer::open_as(number, Disk::new(), number))
            .collect();
        let conversation = ConversationId([0; 32]);
        let mut world = Self {
            peers,
            log: Log::default(),
            conversation,
            phrases: BTreeMap::new(),
        };
        for (place, name) in [(ALICE, "Alice"), (BOB, "Bob")] {
            world.create(place, name);
        }
        let Reply::LinkStarted { code } = world.ask(ALICE, Command::StartLink) else {
            panic!("a code was asked for");
        };
        let device = "second".to_owned();
        world.ask(MALLORY, Command::JoinAccount { code, device });
        let mut events = world.peers[MALLORY].events.iter();
        let digits = events.find_map(|event| match event {
            Event::LinkDigits { digits, .. } => Some(digits.clone()),
            _ => None,
        });
        let digits = digits.expect("digits are shown");
        world.ask(ALICE, Command::ApproveLink { digits });
        let card = world.peers[BOB].replica.overview().card.unwrap();
        world.ask(ALICE, Command::AddContact { card, alias: None });
        let create = Command::CreateConversation {
            name: "field".to_owned(),
            members: vec![world.peers[BOB].replica.overview().user.unwrap()],
            segment_messages: None,
            history: sheaf_crypto::History::Full,
        };
        if let Reply::ConversationCreated(conversation) = world.ask(ALICE, create) {
            world.conversation = conversation;
        }
        for place in [ALICE, MALLORY, BOB] {
            world.send(place, "hello");
        }
        world
    }

    fn create(&mut self, place: usize, name: &str) {
        let create = Command::CreateAccount {
            name: name.to_owned(),
            device: "first".to_owned(),
            relay: None,
        };
        if let Reply::AccountCreated { phrase, .. } = self.ask(place, create) {
            self.phrases.insert(place, phrase);
        }
    }

    /// A conversation of all three.
    pub(super) fn found(&mut self, name: &str) -> ConversationId {
        let user = |peer: &Peer| peer.replica.overview().user.unwrap();
        let create = Command::CreateConversation {
            name: name.to_owned(),
            members: self.peers[1..].iter().map(user).collect(),
            segment_messages: None,
            history: sheaf_crypto::History::Full,
        };
        match self.ask(ALICE, create) {
            Reply::ConversationCreated(conversation) => conversation,
            other => panic!("a conversation was asked for: {other:?}"),
        }
    }

    /// Lets everything happen that is under way.
    pub(super) fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let Self { peers, log, .. } = self;
            if !peers.iter_mut().any(|peer| peer.step(log)) {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    pub(super) fn ask(&mut self, place: usize, command: Command) -> Reply {
        self.answer(place, command).unwrap()
    }

    /// What a command comes to.
    pub(super) fn answer(&mut self, place: usize, command: Command) -> Result<Reply, CommandError> {
        let peer = &mut self.peers[place];
        peer.commands += 1;
        let id = CommandId(peer.commands);
        peer.handle(Input::Command(id, command));
        self.settle();
        self.peers[place].answers.remove(&id).unwrap()
    }

    pub(super) fn send(&mut self, place: usize, text: &str) {
        self.send_to(place, self.conversation, text);
    }

    pub(super) fn send_to(&mut self, place: usize, conversation: ConversationId, text: &str) {
        let send = Command::Send {
            conversation,
            draft: Draft::text(text),
            token: None,
        };
        self.ask(place, send);
    }

    pub(super) fn rotate(&mut self) -> EpochId {
        match self.ask(ALICE, Command::Rotate(self.conversation)) {
            Reply::Rotated(epoch) => epoch,
            other => panic!("an epoch was asked for: {other:?}"),
        }
    }

    /// Puts a record on a topic, past whatever the relay would check, and has everybody read it.
    pub(super) fn inject(&mut self, topic: TopicId, record: Vec<u8>) {
        self.log.push(topic, record);
        self.settle();
    }

    /// Bob's program ends and starts again.
    pub(super) fn restart_bob(&mut self) {
        self.restart(BOB);
    }

    pub(super) fn restart(&mut self, place: usize) {
        let old = &mut self.peers[place];
        // No two devices ever have one time: ids of messages follow the clock.
        let now = Timestamp(old.now.0 + 10_000 + u64::from(old.number));
        let restarts = u8::try_from((now.0 - NOW.0) / 10_000 % 12).unwrap();
        let (seed, disk) = (old.number + 8 * restarts, std::mem::take(&mut old.disk));
        let mut peer = Peer::open_at(old.number, disk, seed, now);
        peer.feed = std::mem::take(&mut old.feed);
        self.peers[place] = peer;
        self.settle();
    }

    fn misbehaviour(&mut self) -> Vec<Misbehaviour> {
        self.peers.iter_mut().flat_map(Peer::misbehaviour).collect()
    }

    pub(super) fn state(&self, place: usize) -> State {
        let peer = &self.peers[place];
        let kept = |(key, _): &(&Key, &Vec<u8>)| {
            !matches!(
                key.kind,
                Kind::Cursor | Kind::Audit | Kind::AuditHead | Kind::Peer
            )
        };
        let disk = peer.disk.iter().filter(kept);
        State {
            messages: self.messages(place),
            shown: peer.replica.conversation(&self.conversation).unwrap(),
            disk: disk
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        }
    }

    pub(super) fn messages(&self, place: usize) -> Vec<MessageRecord> {
        let listed = |(key, _): &(&Key, &Vec<u8>)| {
            key.kind == Kind::Message && key.scope == self.conversation.0
        };
        let disk = self.peers[place].disk.iter().filter(listed);
        disk.map(|(_, value)| MessageRecord::decode(value).unwrap())
            .collect()
    }

    /// The next good record of everybody gets through, before and after a restart.
    pub(super) fn goes_on(&mut self) {
        for round in ["at once", "after a restart"] {
            for place in [ALICE, BOB, MALLORY] {
                let before = self.messages(BOB).len();
                self.send(place, round);
                assert_eq!(self.messages(BOB).len(), before + 1, "{place} {round}");
            }
            let heads = |place: usize| {
                let shown = self.peers[place].replica.conversation(&self.conversation);
                shown.map(|shown| (shown.heads, shown.members.len(), shown.parked))
            };
            for place in [ALICE, MALLORY] {
                assert_eq!(self.messages(place), self.messages(BOB), "{round}");
                assert_eq!(heads(place), heads(BOB), "{round}");
            }
            self.restart_bob();
        }
        let reports = self.peers[BOB].misbehaviour();
        assert!(reports.is_empty(), "good records are blamed: {reports:?}");
    }
}

fn row(key: &Key, value: &[u8]) -> Row {
    Row {
        kind: key.kind,
        order: key.order.clone(),
        value: value.to_vec(),
    }
}
