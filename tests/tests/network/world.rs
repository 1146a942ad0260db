//! A relay and three devices on a simulated network, and what is done to them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use sheaf_engine::{
    Conversation, Draft, Engine, LifeCycle, Page, Policy, RelayAddress, VaultSetting,
};
use sheaf_relay::{Config, Relay};
use tempfile::TempDir;
use tokio::sync::Notify;
use turmoil::Sim;

use crate::socket::{Network, Simulated};

const PORT: u16 = 4433;
const TICK: Duration = Duration::from_millis(1);
/// What the disks are given after a tick.
const MOMENT: Duration = Duration::from_micros(60);
/// Simulated time after which a test gives up.
const GIVES_UP: Duration = Duration::from_secs(600);
const DEVICES: [&str; 3] = ["alice", "bob", "carol"];
const PAUSE: Duration = Duration::from_millis(250);

/// So many seconds.
pub(crate) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// What one device is to do.
#[derive(Clone, Copy, Default)]
struct Part {
    messages: usize,
    /// All at once, each so long; else with a pause after each.
    burst: Option<usize>,
}

/// What became of one device.
#[derive(Default)]
struct Seen {
    texts: Vec<String>,
    was_down: bool,
    was_asked_to_wait: bool,
    done: Duration,
}

/// What the hosts tell each other outside the network.
#[derive(Default)]
struct Board {
    address: OnceLock<RelayAddress>,
    cards: Mutex<BTreeMap<&'static str, String>>,
    joined: Mutex<BTreeSet<&'static str>>,
    seen: Mutex<BTreeMap<&'static str, Seen>>,
}

/// Something that is done so many seconds after the devices have met.
pub(crate) struct Act {
    at: Duration,
    act: Box<dyn FnOnce(&mut Sim<'_>)>,
}

impl Act {
    pub(crate) fn at(second: u64, act: impl FnOnce(&mut Sim<'_>) + 'static) -> Self {
        Self {
            at: seconds(second),
            act: Box::new(act),
        }
    }
}

/// The simulated world.
pub(crate) struct World {
    builder: turmoil::Builder,
    parts: BTreeMap<&'static str, Part>,
    board: Arc<Board>,
    drain: Arc<Notify>,
    homes: BTreeMap<&'static str, TempDir>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut builder = turmoil::Builder::new();
        builder
            .rng_seed(seed)
            .tick_duration(TICK)
            .simulation_duration(GIVES_UP)
            .udp_capacity(1_024)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(5));
        let names = DEVICES.into_iter().chain(["relay"]);
        Self {
            builder,
            parts: DEVICES.map(|name| (name, Part::default())).into(),
            board: Arc::default(),
            drain: Arc::default(),
            homes: names
                .map(|name| (name, tempfile::tempdir().unwrap()))
                .collect(),
        }
    }

    pub(crate) fn latency(&mut self, min: Duration, max: Duration) {
        self.builder
            .min_message_latency(min)
            .max_message_latency(max);
    }

    /// A device writes so many messages, four a second.
    pub(crate) fn writer(&mut self, name: &'static str, messages: usize) {
        let burst = None;
        self.parts.insert(name, Part { messages, burst });
    }

    /// A device writes so many messages of so many bytes as fast as it can.
    pub(crate) fn burst(&mut self, name: &'static str, messages: usize, bytes: usize) {
        let burst = Some(bytes);
        self.parts.insert(name, Part { messages, burst });
    }

    /// Makes the relay drain and end.
    pub(crate) fn drain(&self) -> Arc<Notify> {
        Arc::clone(&self.drain)
    }

    /// Runs until every device has everything that all write.
    pub(crate) fn run(&self, acts: &mut Vec<Act>) {
        let mut sim = self.builder.build();
        let (board, drain) = (Arc::clone(&self.board), Arc::clone(&self.drain));
        let data = self.homes["relay"].path().to_owned();
        sim.host("relay", move || {
            relay(data.clone(), Arc::clone(&board), Arc::clone(&drain))
        });
        let total = self.parts.values().map(|part| part.messages).sum();
        for (name, part) in &self.parts {
            let (name, part) = (*name, *part);
            let (home, board) = (self.homes[name].path().to_owned(), Arc::clone(&self.board));
            sim.client(name, async move {
                device(&home, name, part, total, &board).await;
                Ok(())
            });
        }
        let mut met = None;
        acts.sort_by_key(|act| act.at);
        acts.reverse();
        while !sim.step().unwrap() {
            let now = sim.elapsed();
            if met.is_none() && self.board.joined.lock().unwrap().len() == DEVICES.len() {
                met = Some(now);
            }
            while met.is_some_and(|met| acts.last().is_some_and(|act| met + act.at <= now)) {
                (acts.pop().unwrap().act)(&mut sim);
            }
            std::thread::sleep(MOMENT);
        }
        assert!(acts.is_empty(), "it was over before {} acts", acts.len());
    }

    /// Every device has the same messages in the same order, as many as this, none twice.
    pub(crate) fn all_agree(&self, messages: usize) {
        let seen = self.board.seen.lock().unwrap();
        let first = &seen["alice"].texts;
        assert_eq!(first.len(), messages);
        assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), messages);
        for (name, other) in seen.iter() {
            assert_eq!(&other.texts, first, "{name} and alice");
        }
    }

    pub(crate) fn was_down(&self, name: &str) -> bool {
        self.board.seen.lock().unwrap()[name].was_down
    }

    pub(crate) fn was_asked_to_wait(&self, name: &str) -> bool {
        self.board.seen.lock().unwrap()[name].was_asked_to_wait
    }

    /// When a device had everything.
    pub(crate) fn done_after(&self, name: &str) -> Duration {
        self.board.seen.lock().unwrap()[name].done
    }
}

async fn relay(
    data: std::path::PathBuf,
    board: Arc<Board>,
    drain: Arc<Notify>,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut config = Config {
        data,
        public_host: Some(turmoil::lookup("relay").to_string()),
        ..Config::default()
    };
    config.http.enabled = false;
    config.websocket.enabled = false;
    let relay = loop {
        // The one that crashed may not have let go of its store yet.
        if let Ok(relay) = Relay::start_on(config.clone(), Simulated::bind(PORT)?).await {
            break relay;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    board.address.get_or_init(|| relay.address().clone());
    drain.notified().await;
    relay.shutdown().await;
    Ok(())
}

async fn wait<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    for _ in 0..10_000 {
        if let Some(ready) = ready() {
            return ready;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no {what}")
}

async fn device(home: &Path, name: &'static str, part: Part, total: usize, board: &Board) {
    let address = wait("relay", || board.address.get().cloned()).await;
    let policy = Policy {
        messages_per_minute: None,
        ..Policy::default()
    };
    let builder = Engine::builder(home).key([7; 32]).relay(address.clone());
    let builder = builder.account_vault(VaultSetting::Off).policy(policy);
    let engine = builder.sockets(Arc::new(Network)).open().await.unwrap();
    let created = engine.create_account(name, "phone", &[address]).await;
    let card = created.unwrap().card;
    board.cards.lock().unwrap().insert(name, card);
    let conversation = meet(&engine, name, board).await;
    board.joined.lock().unwrap().insert(name);
    wait("others", || {
        (board.joined.lock().unwrap().len() == DEVICES.len()).then_some(())
    })
    .await;
    for number in 0..part.messages {
        let bulk = incompressible(number, part.burst.unwrap_or(0));
        let draft = Draft::text(format!("{name} {number} {bulk}"));
        conversation.send(draft).await.unwrap();
        if part.burst.is_none() {
            note(&engine, name, board);
            tokio::time::sleep(PAUSE).await;
        }
    }
    let page = Page {
        limit: total + 1,
        ..Page::default()
    };
    loop {
        note(&engine, name, board);
        let page = conversation.messages(page).unwrap();
        if page.len() >= total {
            let texts = page.into_iter().map(|message| message.text).collect();
            let mut seen = board.seen.lock().unwrap();
            let seen = seen.entry(name).or_default();
            (seen.texts, seen.done) = (texts, turmoil::elapsed());
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    engine.wait_settled(GIVES_UP).await.unwrap();
    engine.close().await.unwrap();
}

/// Digits that no compression makes much smaller than half.
fn incompressible(seed: usize, bytes: usize) -> String {
    let mut random = ChaCha8Rng::seed_from_u64(u64::try_from(seed).unwrap());
    let mut digits = vec![0; bytes / 2];
    random.fill_bytes(&mut digits);
    data_encoding::HEXLOWER.encode(&digits)
}

/// Alice founds the conversation with the others.
async fn meet(engine: &Engine, name: &str, board: &Board) -> Conversation {
    if name == "alice" {
        let cards = wait("cards", || {
            let cards = board.cards.lock().unwrap().clone();
            (cards.len() == DEVICES.len()).then_some(cards)
        })
        .await;
        let mut users = Vec::new();
        for (_, card) in cards.iter().filter(|(of, _)| **of != name) {
            users.push(engine.add_contact(card, None).await.unwrap());
        }
        let founded = engine.create_conversation("Harvest", &users, None).await;
        return founded.unwrap();
    }
    for _ in 0..10_000 {
        if let Some(known) = engine.conversations().await.unwrap().first() {
            return engine.conversation(known.conversation).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{name} was not invited")
}

fn note(engine: &Engine, name: &'static str, board: &Board) {
    let status = engine.link_status();
    let mut seen = board.seen.lock().unwrap();
    let seen = seen.entry(name).or_default();
    seen.was_down |= status.state == LifeCycle::Disconnected;
    seen.was_asked_to_wait |= status.retry_asked;
}
