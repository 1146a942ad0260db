//! Reconnection, initial sync and resync, each beside its floor.

use std::path::Path;
use std::time::{Duration, Instant};

use sheaf_engine::{Conversation, Draft, Engine, RelayAddress, Role};
use sheaf_tests::processes::{PATIENCE, open, texts};

use super::floor;

/// Conversations that nothing happens in.
const IDLE: usize = 1_000;
/// Without a frame for so long, a device has nothing more to say.
const QUIET: Duration = Duration::from_secs(3);
/// Changes that a device is behind.
const BEHIND: usize = 1_000;

/// A device with many idle conversations comes back.
pub(super) async fn reconnection(home: &Path, relay: &RelayAddress, echo: Duration) {
    let keeper = open(home, relay).await;
    keeper
        .create_account("Keeper", "wall", std::slice::from_ref(relay))
        .await
        .unwrap();
    for number in 0..IDLE {
        let name = format!("row {number}");
        keeper.create_conversation(&name, &[], None).await.unwrap();
    }
    comes_to_rest(&keeper).await;
    keeper.close().await.unwrap();
    let keeper = open(home, relay).await;
    comes_to_rest(&keeper).await;
    keeper.close().await.unwrap();
    let start = Instant::now();
    let keeper = open(home, relay).await;
    let opened = start.elapsed();
    keeper.wait_settled(PATIENCE).await.unwrap();
    let back = start.elapsed().saturating_sub(opened);
    let counters = keeper.counters();
    println!(
        "back with {IDLE} idle conversations: store opened {opened:?}, connected and nothing new \
         {back:?} ({:.0} raw round trips); {} frames out, {} in, {} bytes out, {} in",
        back.as_secs_f64() / echo.as_secs_f64(),
        counters.sent_frames,
        counters.received_frames,
        counters.sent_bytes,
        counters.received_bytes
    );
    keeper.close().await.unwrap();
}

/// Everything was said: acknowledgements, and the account vault.
async fn comes_to_rest(engine: &Engine) {
    engine.wait_settled(PATIENCE).await.unwrap();
    loop {
        let before = engine.counters().sent_frames;
        tokio::time::sleep(QUIET).await;
        if engine.counters().sent_frames == before {
            return;
        }
    }
}

/// A device that was away while 1,000 single messages were written.
pub(super) async fn behind(
    alice: &Engine,
    bob: Engine,
    told: &Conversation,
    home: &Path,
    relay: &RelayAddress,
) -> Engine {
    bob.close().await.unwrap();
    for number in 0..BEHIND {
        told.send(Draft::text(line(number))).await.unwrap();
    }
    alice.wait_settled(PATIENCE).await.unwrap();
    let start = Instant::now();
    let bob = open(home, relay).await;
    let opened = start.elapsed();
    bob.wait_settled(PATIENCE).await.unwrap();
    let all = start.elapsed().saturating_sub(opened);
    let (raw, _) = floor::automerge((0..BEHIND).map(line));
    println!(
        "{BEHIND} changes behind: store opened {opened:?}, connected and caught up {all:?}; raw \
         automerge applies them in {raw:?} ({:.2}x)",
        all.as_secs_f64() / raw.as_secs_f64()
    );
    bob
}

fn line(number: usize) -> String {
    format!("behind {number}: which package has the manual pages?")
}

/// A person who joins and reads everything.
pub(super) async fn initial(
    alice: &Engine,
    told: &Conversation,
    home: &Path,
    relay: &RelayAddress,
) {
    let written = texts(alice, told.id()).await;
    let carol = open(home, relay).await;
    let created = carol
        .create_account("Carol", "tablet", std::slice::from_ref(relay))
        .await;
    carol.wait_settled(PATIENCE).await.unwrap();
    let before = carol.counters().received_bytes;
    let user = alice
        .add_contact(&created.unwrap().card, None)
        .await
        .unwrap();
    let start = Instant::now();
    told.add_member(user, Role::Writer).await.unwrap();
    let (mut first, mut events) = (None, carol.events());
    loop {
        let info = carol.conversation_info(told.id()).await.unwrap();
        let here = info.map_or(0, |info| info.messages as usize);
        if here >= 50 && first.is_none() {
            first = Some((start.elapsed(), carol.counters().received_bytes - before));
        }
        if here >= written.len() {
            break;
        }
        events.next().await.unwrap();
    }
    carol.wait_settled(PATIENCE).await.unwrap();
    let all = start.elapsed();
    let bytes = carol.counters().received_bytes - before;
    assert!(texts(&carol, told.id()).await == written, "not equal");
    let (raw, _) = floor::automerge(written.into_iter());
    let (first, first_bytes) = first.unwrap();
    println!(
        "a newcomer: first 50 messages after {first:?} and {first_bytes} bytes, all after {all:?} \
         and {bytes} bytes; raw automerge applies them in {raw:?} ({:.2}x)",
        all.as_secs_f64() / raw.as_secs_f64()
    );
    carol.close().await.unwrap();
}

/// Two devices that have everything compare it.
pub(super) async fn resync(alice: &Engine, told: &Conversation, echo: Duration) {
    for full in [false, true] {
        let start = Instant::now();
        let asked = alice
            .resync(vec![told.id()], Vec::new(), full, PATIENCE)
            .await;
        let took = start.elapsed();
        let answered = asked.unwrap().iter().filter(|one| one.answered).count();
        println!(
            "resync with nothing missing, {}: {answered} answered after {took:?} ({:.0} raw round \
             trips)",
            if full {
                "documents compared"
            } else {
                "chains compared"
            },
            took.as_secs_f64() / echo.as_secs_f64()
        );
    }
}
