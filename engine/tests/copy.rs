//! A home is copied and both copies go on as one device: nothing is lost, nobody is frozen.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at a broken expectation"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use sheaf_engine::{ConversationId, Draft, Engine, Event, EventStream, Page, Policy, RelayAddress};
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

async fn open(home: &Path, relay: Option<&RelayAddress>) -> Engine {
    let policy = Policy::without_message_limit();
    let mut builder = Engine::builder(home).key([7; 32]).policy(policy);
    if let Some(relay) = relay {
        builder = builder.relay(relay.clone());
    }
    builder.open().await.unwrap()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &place);
        } else {
            std::fs::copy(entry.path(), place).unwrap();
        }
    }
}

async fn listed(engine: &Engine, id: ConversationId) -> Vec<String> {
    let Ok(conversation) = engine.conversation(id).await else {
        return Vec::new();
    };
    let page = Page {
        limit: 10_000,
        ..Page::default()
    };
    let messages = conversation.messages(page).unwrap();
    messages.into_iter().map(|message| message.text).collect()
}

async fn until(engine: &Engine, id: ConversationId, count: usize) -> Vec<String> {
    let mut events = engine.events();
    loop {
        let texts = listed(engine, id).await;
        if texts.len() >= count {
            return texts;
        }
        let waited = tokio::time::timeout(PATIENCE, events.next()).await;
        waited.unwrap_or_else(|_| panic!("{texts:?}"));
    }
}

async fn say(engine: &Engine, id: ConversationId, text: &str) {
    let conversation = engine.conversation(id).await.unwrap();
    conversation.send(Draft::text(text)).await.unwrap();
}

/// What was reported of devices so far.
async fn accused(events: &mut EventStream) -> Vec<String> {
    let mut accused = Vec::new();
    while let Ok(Some(event)) =
        tokio::time::timeout(Duration::from_millis(200), events.next()).await
    {
        if let Event::Misbehaved(misbehaviour) = event {
            accused.push(format!("{misbehaviour:?}"));
        }
    }
    accused
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_home_writes_on_under_a_run_of_its_own_and_nothing_is_lost() {
    let homes: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let relay = Relay::start(config(homes[3].path())).await.unwrap();
    let address = relay.address().clone();
    let relays = std::slice::from_ref(&address);
    let alice = open(homes[0].path(), Some(&address)).await;
    let bob = open(homes[1].path(), Some(&address)).await;
    alice
        .create_account("Alice", "laptop", relays)
        .await
        .unwrap();
    let card = bob.create_account("Bob", "laptop", relays).await.unwrap();
    let user = alice.add_contact(&card.card, None).await.unwrap();
    let harvest = alice.create_conversation("Harvest", &[user], None).await;
    let id = harvest.unwrap().id();
    say(&alice, id, "before").await;
    until(&bob, id, 1).await;
    let mut seen = bob.events();
    alice.close().await.unwrap();
    copy(homes[0].path(), &homes[2].path().join("home"));

    // Both begin where the other does, and neither knows of the other: first without the relay.
    let original = open(homes[0].path(), None).await;
    let twin = open(&homes[2].path().join("home"), None).await;
    let mut expected = BTreeSet::from(["before".to_owned()]);
    for round in 0..3 {
        for (engine, who) in [(&original, "original"), (&twin, "twin")] {
            let text = format!("{who} {round}");
            say(engine, id, &text).await;
            expected.insert(text);
        }
    }
    for engine in [&original, &twin] {
        engine.use_relays(vec![address.clone()]).await.unwrap();
        engine.connect_now().await.unwrap();
        engine.wait_settled(PATIENCE).await.unwrap();
    }
    for engine in [&original, &twin, &bob] {
        let texts = until(engine, id, expected.len()).await;
        assert_eq!(texts.into_iter().collect::<BTreeSet<_>>(), expected);
    }
    // Then side by side on the same relay, and with an answer in between.
    say(&original, id, "original, online").await;
    say(&twin, id, "twin, online").await;
    say(&bob, id, "an answer").await;
    let order = until(&bob, id, 10).await;
    assert_eq!(order.len(), 10);
    for engine in [&original, &twin] {
        assert_eq!(until(engine, id, 10).await, order);
    }
    // Nobody takes it for a fork: no place in a run was written twice.
    assert_eq!(accused(&mut seen).await, Vec::<String>::new());
    let shown = bob.conversations().await.unwrap().remove(0);
    assert!(shown.frozen.is_empty() && shown.forks.is_empty());

    // And so it stays when both start again.
    for engine in [original, twin] {
        engine.close().await.unwrap();
    }
    let original = open(homes[0].path(), Some(&address)).await;
    say(&original, id, "after all").await;
    assert_eq!(until(&bob, id, 11).await.len(), 11);
    let twin = open(&homes[2].path().join("home"), Some(&address)).await;
    assert_eq!(until(&twin, id, 11).await, listed(&original, id).await);
    for engine in [original, twin, bob] {
        engine.close().await.unwrap();
    }
    relay.shutdown().await;
}
