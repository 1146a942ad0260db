//! Relays as processes that die, forget and go back in time while five devices write to them.
//! `SHEAF_KILLS` sets how often the first test kills, `SHEAF_SEED` when.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test stops at a broken expectation, and says its figures"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use sheaf_engine::{ConversationId, Engine, RelayAddress};
use sheaf_tests::processes::{
    DeviceProcess, PATIENCE, RelayProcess, copy, files, open_at, people, texts,
};
use tempfile::TempDir;

const RELAY: &str = env!("CARGO_BIN_EXE_relay");
const DEVICE: &str = env!("CARGO_BIN_EXE_device");
const DEVICES: usize = 5;
/// What a device waits after each of its messages.
const PAUSE: Duration = Duration::from_millis(4);

struct World {
    homes: Vec<TempDir>,
    data: Vec<TempDir>,
    copies: Vec<TempDir>,
    relays: Vec<RelayProcess>,
    addresses: Vec<RelayAddress>,
    talk: ConversationId,
    devices: Vec<DeviceProcess>,
    acknowledged: Arc<Mutex<Vec<String>>>,
}

impl World {
    /// Five people who have met at so many relays, and write.
    async fn new(relays: usize) -> Self {
        let folders = |count: usize| -> Vec<TempDir> {
            (0..count).map(|_| tempfile::tempdir().unwrap()).collect()
        };
        let (homes, data, copies) = (folders(DEVICES), folders(relays), folders(relays));
        let start = |folder: &TempDir| RelayProcess::start(RELAY, folder.path(), 0);
        let relays: Vec<RelayProcess> = data.iter().map(start).collect();
        let addresses: Vec<_> = relays.iter().map(|relay| relay.address.clone()).collect();
        let paths: Vec<&Path> = homes.iter().map(TempDir::path).collect();
        let (engines, talk) = people(&paths, &addresses).await;
        for engine in engines {
            engine.close().await.unwrap();
        }
        let mut world = Self {
            homes,
            data,
            copies,
            relays,
            addresses,
            talk,
            devices: Vec::new(),
            acknowledged: Arc::default(),
        };
        for number in 0..DEVICES {
            let prefix = format!("device {number} message");
            let home = world.homes[number].path();
            let about = (&*world.addresses, talk, prefix.as_str(), PAUSE);
            let list = Arc::clone(&world.acknowledged);
            let device = DeviceProcess::start(DEVICE, home, about, &home.join("log"), list);
            world.devices.push(device);
        }
        world
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Waits until so many more messages were acknowledged.
    fn write(&self, more: usize) {
        let (until, deadline) = (self.count() + more, Instant::now() + PATIENCE);
        while self.count() < until {
            assert!(Instant::now() < deadline, "the devices do not write");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn kill(&mut self, relay: usize) {
        self.relays[relay].kill();
    }

    fn start(&mut self, relay: usize) {
        let port = self.addresses[relay].port;
        self.relays[relay] = RelayProcess::start(RELAY, self.data[relay].path(), port);
        assert_eq!(self.relays[relay].address, self.addresses[relay]);
    }

    /// Keeps a copy of a relay's files, made while it does not run.
    fn back_up(&mut self, relay: usize) {
        self.kill(relay);
        copy(self.data[relay].path(), self.copies[relay].path());
        self.start(relay);
    }

    /// Puts the copy in the place of a dead relay's files.
    fn put_back(&self, relay: usize) {
        std::fs::remove_dir_all(self.data[relay].path()).unwrap();
        copy(self.copies[relay].path(), self.data[relay].path());
    }

    /// Deletes what a dead relay keeps, except its keys.
    fn wipe(&self, relay: usize) {
        for file in files(self.data[relay].path()) {
            if file.extension().is_none_or(|extension| extension != "key") {
                std::fs::remove_file(file).unwrap();
            }
        }
    }

    /// The devices stop writing; then all of them have everything that any has acknowledged, once,
    /// and each relay has what each device wrote.
    async fn heals(&mut self, what: &str) {
        for device in &mut self.devices {
            device.kill();
        }
        let healing = Instant::now();
        let mut engines: Vec<Engine> = Vec::new();
        for home in &self.homes {
            engines.push(open_at(home.path(), &self.addresses).await);
        }
        let listed = loop {
            let mut all = BTreeSet::new();
            for engine in &engines {
                engine.wait_settled(PATIENCE).await.unwrap();
                all.insert(texts(engine, self.talk).await);
            }
            if all.len() == 1 {
                break all.pop_first().unwrap();
            }
            assert!(healing.elapsed() < PATIENCE, "the devices do not converge");
        };
        let once: BTreeSet<&String> = listed.iter().collect();
        assert_eq!(once.len(), listed.len(), "a message is listed twice");
        let acknowledged = self.acknowledged.lock().unwrap().clone();
        let lost = acknowledged.iter().filter(|text| !once.contains(text));
        assert_eq!(lost.count(), 0, "acknowledged and lost");
        for engine in &engines {
            let barrier = engine.barrier(true, PATIENCE).await.unwrap();
            assert!(barrier.durable && barrier.behind.is_empty(), "{barrier:?}");
        }
        println!(
            "{what}: {} acknowledged, {} listed, 0 lost, healed in {:?}",
            acknowledged.len(),
            listed.len(),
            healing.elapsed()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_killed_again_and_again_loses_nothing() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |n| n.parse().unwrap());
    let kills = number("SHEAF_KILLS", 5);
    let mut rng = ChaCha8Rng::seed_from_u64(number("SHEAF_SEED", 1));
    let mut world = World::new(1).await;
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(20 + rng.next_u64() % 300));
        world.kill(0);
        std::thread::sleep(Duration::from_millis(rng.next_u64() % 100));
        world.start(0);
    }
    world.write(200);
    world.heals(&format!("{kills} kills of the relay")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_a_relays_store_is_found_and_filled_up() {
    let mut world = World::new(1).await;
    world.write(300);
    world.back_up(0);
    world.write(300);
    world.kill(0);
    world.put_back(0);
    world.start(0);
    world.write(300);
    world.heals("an older copy").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_relay_is_filled_again() {
    let mut world = World::new(1).await;
    world.write(500);
    world.kill(0);
    world.wipe(0);
    world.start(0);
    world.write(300);
    world.heals("a wiped relay").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_relays_fail_at_once() {
    let mut world = World::new(2).await;
    world.write(300);
    world.back_up(0);
    world.write(300);
    world.kill(0);
    world.kill(1);
    world.write(100);
    world.put_back(0);
    world.wipe(1);
    world.start(1);
    world.start(0);
    world.write(300);
    world.heals("one relay older, one wiped").await;
}
