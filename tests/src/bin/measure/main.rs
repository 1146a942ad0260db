//! Figures with medians, each beside its floor, in one run: `cargo run --release -p sheaf-tests
//! --bin measure`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a measuring program: a broken expectation must end it"
)]

mod floor;
mod sync;

use std::path::Path;
use std::time::{Duration, Instant};

use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sheaf_crypto::{
    ConversationId, DeviceSecrets, EpochId, EpochKeys, EpochSecret, Inner, Kind, OperationId,
    RunId, Suite, UserId,
};
use sheaf_engine::{Conversation, Draft, Engine, Event, ImportDraft};
use sheaf_relay::{Config, Relay};
use sheaf_tests::processes::{PATIENCE, open, texts, two_people};

fn median(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

fn relay_config(data: &Path) -> Config {
    let mut config = Config {
        data: data.to_path_buf(),
        ..Config::default()
    };
    config.listen = "127.0.0.1:0".parse().unwrap();
    config.http.enabled = false;
    config
}

#[tokio::main]
async fn main() {
    let history: usize = std::env::args()
        .nth(1)
        .and_then(|count| count.parse().ok())
        .unwrap_or(100_000);
    let (disk, disk99) = floor::disk();
    let (echo, echo99) = floor::quinn_echo().await;
    // A message is made durable on the sender, the relay and the receiver, and hops twice.
    let bare = echo + disk * 3;
    println!("append + fdatasync, bare: p50 {disk:?}, p99 {disk99:?}");
    println!("raw quinn, there and back: p50 {echo:?}, p99 {echo99:?}");
    println!("bare parts of a message (two hops, three times durable): {bare:?}");
    sealing();
    let folders: Vec<_> = (0..5).map(|_| tempfile::tempdir().unwrap()).collect();
    let relay = Relay::start(relay_config(folders[2].path())).await.unwrap();
    let address = relay.address().clone();
    let homes = [folders[0].path(), folders[1].path()];
    let ([alice, bob], id) = two_people(homes, &address).await;
    let talk = alice.create_conversation("Speed", &[], None).await.unwrap();
    drop(talk);
    let told = alice.conversation(id).await.unwrap();
    latency("latency, empty history", &told, &bob, bare).await;
    bulk(&alice, &bob, &told, history).await;
    latency(
        &format!("latency, {history} messages of history"),
        &told,
        &bob,
        bare,
    )
    .await;
    let bob = sync::behind(&alice, bob, &told, homes[1], &address).await;
    sync::resync(&alice, &told, echo).await;
    catch_up(&alice, bob, &told, homes[1], &address).await;
    sync::initial(&alice, &told, folders[3].path(), &address).await;
    sync::reconnection(folders[4].path(), &address, echo).await;
    alice.close().await.unwrap();
    relay.shutdown().await;
}

/// Sealing and opening an envelope of 1 KiB beside the bare cipher.
fn sealing() {
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let device = DeviceSecrets::generate(&mut rng, Suite::default());
    let conversation = ConversationId([2; 32]);
    let secret = EpochSecret::from_bytes(&epoch_secret()).unwrap();
    let keys = EpochKeys::derive(&conversation, EpochId([3; 32]), &secret);
    let inner = Inner {
        kind: Kind::Content,
        user: UserId([4; 32]),
        device: device.device(),
        run: RunId([5; 16]),
        incarnation: OperationId([6; 32]),
        seq: 1,
        previous: None,
        control_heads: vec![OperationId([7; 32])],
        dependencies: Vec::new(),
        body: vec![9; 1024],
    };
    let signing = device.signing_public();
    let cipher = XChaCha20Poly1305::new(&[1; 32].into());
    let (mut sealed, mut opened, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..2_000 {
        let start = Instant::now();
        let wire = sheaf_crypto::seal(&keys, &inner, &device, &mut rng).unwrap();
        sealed.push(start.elapsed());
        let start = Instant::now();
        sheaf_crypto::open(&keys, &wire)
            .unwrap()
            .verify(&signing)
            .unwrap();
        opened.push(start.elapsed());
        let start = Instant::now();
        cipher
            .encrypt(&XNonce::from([2; 24]), inner.body.as_slice())
            .unwrap();
        bare.push(start.elapsed());
    }
    let (seal, open, bare) = (
        median(&mut sealed).0,
        median(&mut opened).0,
        median(&mut bare).0,
    );
    println!(
        "envelope of 1 KiB: seal {seal:?}, open and verify {open:?}; bare AEAD {bare:?} \
         ({:.1}x, {:.1}x)",
        seal.as_secs_f64() / bare.as_secs_f64(),
        open.as_secs_f64() / bare.as_secs_f64()
    );
}

/// An epoch secret in its stored form, made by the real thing.
fn epoch_secret() -> Vec<u8> {
    let mut rng = ChaCha20Rng::from_seed([8; 32]);
    let device = DeviceSecrets::generate(&mut rng, Suite::default());
    let to = sheaf_crypto::Recipient {
        device: device.device(),
        kem: device.kem_record().unwrap(),
    };
    let conversation = ConversationId([2; 32]);
    let made =
        sheaf_crypto::rekey(&mut rng, &conversation, device.device(), 1, &[], &[to], &[]).unwrap();
    made.1.to_bytes().to_vec()
}

/// From `send` to the event on the other device, durable on both and at the relay.
async fn latency(what: &str, told: &Conversation, bob: &Engine, bare: Duration) {
    let mut events = bob.events();
    let (mut durable, mut seen) = (Vec::new(), Vec::new());
    for number in 0..600 {
        let text = format!("ping {number} of the measured kind, sixty letters long or so");
        let start = Instant::now();
        told.send(Draft::text(text.clone())).await.unwrap();
        durable.push(start.elapsed());
        loop {
            let event = events.next().await.unwrap();
            if let Event::MessagesReceived { messages, .. } = event
                && messages.iter().any(|message| message.text == text)
            {
                break;
            }
        }
        if number >= 100 {
            seen.push(start.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let ((own, _), (p50, p99)) = (median(&mut durable), median(&mut seen));
    println!(
        "{what}: durable here p50 {own:?}; seen there p50 {p50:?} ({:.2}x the bare parts), p99 {p99:?}",
        p50.as_secs_f64() / bare.as_secs_f64()
    );
}

fn drafts(from: usize, count: usize) -> Vec<ImportDraft> {
    (from..from + count)
        .map(|number| ImportDraft {
            draft: Draft::text(format!(
                "line {number}: does a gnome subversion client exist?"
            )),
            reply_in_batch: None,
        })
        .collect()
}

/// Bulk import until the other device has all of it.
async fn bulk(alice: &Engine, bob: &Engine, told: &Conversation, count: usize) {
    let before = alice.counters().sent_bytes;
    let start = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for from in (0..count).step_by(128) {
        while running.len() >= 16 {
            running.join_next().await.unwrap().unwrap();
        }
        let (told, batch) = (told.clone(), drafts(from, 128.min(count - from)));
        running.spawn(async move {
            told.import(batch).await.unwrap();
        });
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
    let written = start.elapsed();
    let wanted = texts(alice, told.id()).await.len();
    let mut events = bob.events();
    loop {
        let info = bob.conversation_info(told.id()).await.unwrap().unwrap();
        if info.messages as usize >= wanted {
            break;
        }
        events.next().await.unwrap();
    }
    let all = start.elapsed();
    let bytes = alice.counters().sent_bytes - before;
    println!(
        "bulk import of {count}: written in {written:?}, there in {all:?}: {:.0} messages/s, \
         {:.1} bytes/message on the wire",
        count as f64 / all.as_secs_f64(),
        bytes as f64 / count as f64
    );
}

/// A device that was away while 10,000 single messages were written.
async fn catch_up(
    alice: &Engine,
    bob: Engine,
    told: &Conversation,
    home: &Path,
    address: &sheaf_engine::RelayAddress,
) {
    bob.close().await.unwrap();
    let before = alice.counters().sent_bytes;
    let mut running = tokio::task::JoinSet::new();
    let start = Instant::now();
    for number in 0..10_000 {
        while running.len() >= 256 {
            running.join_next().await.unwrap().unwrap();
        }
        let told = told.clone();
        running.spawn(async move {
            told.send(Draft::text(away(number))).await.unwrap();
        });
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
    let sent = start.elapsed();
    alice.wait_settled(PATIENCE).await.unwrap();
    let bytes = alice.counters().sent_bytes - before;
    let opening = Instant::now();
    let bob = open(home, address).await;
    let opened = opening.elapsed();
    bob.wait_settled(PATIENCE).await.unwrap();
    let all = opening.elapsed();
    let equal = texts(alice, told.id()).await == texts(&bob, told.id()).await;
    assert!(equal, "not equal");
    let caught_up = all.saturating_sub(opened);
    println!(
        "10,000 single sends durable in {sent:?} ({:.0}/s)",
        10_000.0 / sent.as_secs_f64()
    );
    let (raw, bundles) = floor::automerge((0..10_000).map(away));
    println!(
        "catch-up: store opened {opened:?}, connected and caught up {caught_up:?}; raw automerge \
         applies such changes in {raw:?} ({:.2}x)",
        caught_up.as_secs_f64() / raw.as_secs_f64()
    );
    println!(
        "on the wire {:.1} bytes/message, all of the frames; automerge bundles of 100 {:.1} ({:.2}x)",
        bytes as f64 / 10_000.0,
        bundles as f64 / 10_000.0,
        bytes as f64 / bundles as f64
    );
    bob.close().await.unwrap();
}

fn away(number: usize) -> String {
    format!("away {number}: is there a way to mount an iso image?")
}
