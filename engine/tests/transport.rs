//! The connection to a relay where the network is not as one would wish.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at a broken expectation"
)]

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use sheaf_engine::{
    Activity, Draft, Engine, Event, LifeCycle, LinkError, Page, RelayAddress, RelayId, Transport,
    VaultSetting,
};
use sheaf_relay::{Config, Relay};

const PATIENCE: Duration = Duration::from_secs(30);

fn config(data: &Path) -> Config {
    let mut config = Config {
        data: data.to_path_buf(),
        ..Config::default()
    };
    config.listen = "127.0.0.1:0".parse().unwrap();
    config.http.enabled = false;
    config
}

/// A relay on a network that drops every datagram: what is sent to its UDP port is never answered.
async fn blocked(data: &Path) -> (Relay, RelayAddress, UdpSocket) {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at: SocketAddr = silent.local_addr().unwrap();
    let mut config = config(data);
    config.websocket.listen = Some(at);
    let relay = Relay::start(config).await.unwrap();
    let mut address = relay.address().clone();
    address.port = at.port();
    (relay, address, silent)
}

async fn open(home: &Path, relay: &RelayAddress) -> Engine {
    let builder = Engine::builder(home).key([7; 32]).relay(relay.clone());
    // What the account vault sends is not what is looked at here.
    let builder = builder.account_vault(VaultSetting::Off);
    builder.open().await.unwrap()
}

async fn person(home: &Path, name: &str, relay: &RelayAddress) -> (Engine, String) {
    let engine = open(home, relay).await;
    let created = engine
        .create_account(name, "laptop", std::slice::from_ref(relay))
        .await;
    (engine, created.unwrap().card)
}

async fn state(engine: &Engine, wanted: LifeCycle) {
    let mut events = engine.events();
    while engine.link_status().state != wanted {
        let event = tokio::time::timeout(PATIENCE, events.next()).await;
        event.unwrap_or_else(|_| panic!("not {wanted:?} but {:?}", engine.link_status()));
    }
}

async fn received(engine: &Engine, count: usize) -> Vec<String> {
    let mut events = engine.events();
    loop {
        if let Some(first) = engine.conversations().await.unwrap().first() {
            let talk = engine.conversation(first.conversation).await.unwrap();
            let page = talk.messages(Page::default()).unwrap();
            if page.len() >= count {
                return page.into_iter().map(|message| message.text).collect();
            }
        }
        tokio::time::timeout(PATIENCE, events.next()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_udp_is_blocked_devices_talk_over_websocket() {
    let homes: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let (relay, address, _silent) = blocked(homes[2].path()).await;
    let (alice, _) = person(homes[0].path(), "Alice", &address).await;
    let (bob, card) = person(homes[1].path(), "Bob", &address).await;
    let user = alice.add_contact(&card, None).await.unwrap();
    let talk = alice
        .create_conversation("Harvest", &[user], None)
        .await
        .unwrap();
    // Larger than one message of the transport, in both directions.
    let long = "leek ".repeat(6_000);
    for number in 0..20 {
        let draft = Draft::text(format!("{number} {long}"));
        talk.send(draft).await.unwrap();
    }
    let texts = received(&bob, 20).await;
    assert!(texts.iter().all(|text| text.ends_with(&long)));
    for engine in [&alice, &bob] {
        engine.wait_settled(PATIENCE).await.unwrap();
        assert_eq!(engine.link_status().transport, Some(Transport::WebSocket));
    }
    let metrics = relay.metrics();
    assert!(metrics.contains("sheaf_relay_connected_total{transport=\"websocket\"} 2"));
    assert!(metrics.contains("sheaf_relay_connected_total{transport=\"quic\"} 0"));

    relay.shutdown().await;
    state(&alice, LifeCycle::Disconnected).await;
    assert!(alice.link_status().retry_asked, "the relay said when");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_udp_works_quic_is_taken() {
    let homes: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let relay = Relay::start(config(homes[1].path())).await.unwrap();
    let (alice, _) = person(homes[0].path(), "Alice", relay.address()).await;
    alice.wait_connected(PATIENCE).await.unwrap();
    assert_eq!(alice.link_status().transport, Some(Transport::Quic));
    let metrics = relay.metrics();
    assert!(metrics.contains("sheaf_relay_connected_total{transport=\"websocket\"} 0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn over_websocket_too_a_relay_with_another_key_is_refused() {
    let homes: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let (_relay, mut address, _silent) = blocked(homes[1].path()).await;
    address.relay = RelayId([3; 32]);
    let (alice, _) = person(homes[0].path(), "Alice", &address).await;
    let error = alice.wait_connected(PATIENCE).await.unwrap_err();
    assert_eq!(error.to_string(), LinkError::WrongKey.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn over_websocket_too_a_stranger_is_not_admitted() {
    let homes: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let tokens = homes[1].path().join("tokens");
    std::fs::write(&tokens, "leek\n").unwrap();
    let mut config = config(homes[1].path());
    config.admission.mode = sheaf_relay::AdmissionMode::Token;
    config.admission.tokens_file = Some(tokens);
    config.websocket.listen = Some(silent.local_addr().unwrap());
    let relay = Relay::start(config).await.unwrap();
    let mut address = relay.address().clone();
    address.port = silent.local_addr().unwrap().port();
    let (alice, _) = person(homes[0].path(), "Alice", &address).await;
    let error = alice.wait_connected(PATIENCE).await.unwrap_err();
    assert!(matches!(
        error,
        sheaf_engine::EngineError::Link(LinkError::NotAdmitted(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_network_is_gone_over_to_without_a_new_connection() {
    let homes: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let relay = Relay::start(config(homes[1].path())).await.unwrap();
    let (alice, _) = person(homes[0].path(), "Alice", relay.address()).await;
    state(&alice, LifeCycle::Active).await;
    assert_eq!(alice.link_status().round_trip, None);
    alice.network_changed().await.unwrap();
    // The ping over the new socket is answered on the old connection.
    let answered = async {
        while alice.link_status().round_trip.is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.unwrap();
    assert_eq!(alice.link_status().state, LifeCycle::Active);
    let metrics = relay.metrics();
    assert!(metrics.contains("sheaf_relay_connected_total{transport=\"quic\"} 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_a_connection_is_shown() {
    let homes: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let relay = Relay::start(config(homes[1].path())).await.unwrap();
    let alice = Engine::builder(homes[0].path())
        .key([7; 32])
        .open()
        .await
        .unwrap();
    let mut events = alice.events();
    alice.create_account("Alice", "laptop", &[]).await.unwrap();
    alice
        .use_relays(vec![relay.address().clone()])
        .await
        .unwrap();
    alice.connect_now().await.unwrap();
    state(&alice, LifeCycle::Active).await;
    alice.set_activity(Activity::Idle).await.unwrap();
    state(&alice, LifeCycle::Idle).await;
    alice.set_activity(Activity::Background).await.unwrap();
    state(&alice, LifeCycle::Backgrounded).await;
    alice.set_activity(Activity::Foreground).await.unwrap();
    state(&alice, LifeCycle::Active).await;
    alice.close().await.unwrap();
    let mut seen = Vec::new();
    while let Some(event) = events.next().await {
        if let Event::LifeCycleChanged { state, .. } = event {
            seen.push(state.name());
        }
    }
    seen.dedup();
    let whole = [
        "connecting",
        "authenticating",
        "synchronizing",
        "active",
        "idle",
        "backgrounded",
        "active",
        "disconnecting",
    ];
    assert_eq!(seen, whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_idle_conversations_cost_one_round_trip() {
    let homes: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let mut config = config(homes[1].path());
    config.limits.appends_per_second = 1_000_000;
    config.limits.appends_burst = 1_000_000;
    let relay = Relay::start(config).await.unwrap();
    let (alice, _) = person(homes[0].path(), "Alice", relay.address()).await;
    for number in 0..1_000 {
        let name = format!("row {number}");
        alice.create_conversation(&name, &[], None).await.unwrap();
    }
    alice.wait_settled(PATIENCE).await.unwrap();
    alice.close().await.unwrap();
    // What it had not asked the relay yet about new topics it asks once more.
    let alice = open(homes[0].path(), relay.address()).await;
    alice.wait_settled(PATIENCE).await.unwrap();
    alice.close().await.unwrap();

    let alice = open(homes[0].path(), relay.address()).await;
    alice.wait_settled(PATIENCE).await.unwrap();
    let counters = alice.counters();
    // All proofs and cursors one way; hello and "nothing new" the other. Besides, eight topics at most are
    // looked at more closely (docs/decisions/0016).
    assert!(counters.sent_frames <= 1 + 8, "{counters:?}");
    assert!(counters.received_frames <= 2 + 8, "{counters:?}");
    assert!(counters.sent_bytes < 130_000, "{counters:?}");
    assert!(counters.received_bytes < 100 + 8 * 200, "{counters:?}");
    println!("{counters:?}");

    // What comes is live, and what was missed is read.
    let some = alice.conversations().await.unwrap();
    let talk = some.get(500).unwrap().conversation;
    let talk = alice.conversation(talk).await.unwrap();
    talk.send(Draft::text("rain")).await.unwrap();
    alice.wait_settled(PATIENCE).await.unwrap();
}
