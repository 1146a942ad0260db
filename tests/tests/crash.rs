//! kill -9 at random moments of a running exchange. `SHEAF_KILLS` sets how many.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test stops at a broken expectation, and says its figures"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use sheaf_tests::processes::{DeviceProcess, PATIENCE, RelayProcess, open, texts, two_people};

const RELAY: &str = env!("CARGO_BIN_EXE_relay");
const DEVICE: &str = env!("CARGO_BIN_EXE_device");

/// Nothing that was acknowledged is lost, nothing is doubled, everybody has the same.
#[tokio::test(flavor = "multi_thread")]
async fn kills_at_random_moments_lose_and_double_nothing() {
    let kills: u32 = std::env::var("SHEAF_KILLS").map_or(8, |kills| kills.parse().unwrap());
    let seed: u64 = std::env::var("SHEAF_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let homes = [folders[0].path(), folders[1].path()];
    let mut relay = RelayProcess::start(RELAY, folders[2].path(), 0);
    let address = relay.address.clone();
    let (engines, talk) = two_people(homes, &address).await;
    for engine in engines {
        engine.close().await.unwrap();
    }
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let start = |who: usize, round: u32| {
        let prefix = format!("device {who} round {round} message");
        let log = folders[who].path().join("log");
        let relays = std::slice::from_ref(&address);
        let about = (relays, talk, prefix.as_str(), Duration::ZERO);
        DeviceProcess::start(DEVICE, homes[who], about, &log, Arc::clone(&acknowledged))
    };
    let mut devices = [start(0, 0), start(1, 0)];
    let mut killed = BTreeMap::new();
    for round in 1..=kills {
        std::thread::sleep(Duration::from_millis(20 + rng.next_u64() % 300));
        let victim = rng.next_u64() as usize % 3;
        *killed.entry(victim).or_insert(0) += 1;
        match devices.get_mut(victim) {
            Some(device) => {
                device.kill();
                *device = start(victim, round);
            }
            None => {
                relay.kill();
                relay = RelayProcess::start(RELAY, folders[2].path(), address.port);
            }
        }
    }
    for mut device in devices {
        device.kill();
    }
    let [alice, bob] = [
        open(homes[0], &address).await,
        open(homes[1], &address).await,
    ];
    let healing = Instant::now();
    let deadline = healing + PATIENCE;
    let listed = loop {
        alice.wait_settled(PATIENCE).await.unwrap();
        bob.wait_settled(PATIENCE).await.unwrap();
        let listed = texts(&alice, talk).await;
        if listed == texts(&bob, talk).await {
            break listed;
        }
        assert!(Instant::now() < deadline, "the devices do not converge");
        tokio::task::yield_now().await;
    };
    let once: BTreeSet<&String> = listed.iter().collect();
    assert_eq!(once.len(), listed.len(), "a message is listed twice");
    let acknowledged = acknowledged.lock().unwrap();
    for text in acknowledged.iter() {
        assert!(once.contains(text), "acknowledged and lost: {text}");
    }
    println!(
        "{kills} kills {killed:?} (0, 1: devices, 2: relay), {} acknowledged, {} listed, \
         healed in {:?}",
        acknowledged.len(),
        listed.len(),
        healing.elapsed()
    );
}
