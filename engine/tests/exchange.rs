//! Engines exchange messages through a real relay over QUIC on loopback.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at a broken expectation"
)]

use std::path::Path;
use std::time::Duration;

use sheaf_engine::{
    ConversationId, Draft, Engine, Event, LinkError, MessageRecord, Page, Policy, RelayAddress,
    RelayId,
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

async fn open(home: &Path, relay: Option<&RelayAddress>) -> Engine {
    let policy = Policy::without_message_limit();
    let mut builder = Engine::builder(home).key([7; 32]).policy(policy);
    if let Some(relay) = relay {
        builder = builder.relay(relay.clone());
    }
    builder.open().await.unwrap()
}

fn texts(engine: &[MessageRecord]) -> Vec<String> {
    engine.iter().map(|message| message.text.clone()).collect()
}

async fn listed(engine: &Engine, id: ConversationId) -> Vec<String> {
    let page = Page {
        limit: 10_000,
        ..Page::default()
    };
    texts(
        &engine
            .conversation(id)
            .await
            .unwrap()
            .messages(page)
            .unwrap(),
    )
}

/// Waits until a device lists so many messages.
async fn until(engine: &Engine, id: ConversationId, count: usize) -> Vec<String> {
    let mut events = engine.events();
    loop {
        let texts = listed(engine, id).await;
        if texts.len() >= count {
            return texts;
        }
        tokio::time::timeout(PATIENCE, events.next()).await.unwrap();
    }
}

/// Waits until a conversation is on a device, and everything is read.
async fn joined(engine: &Engine) -> ConversationId {
    let mut events = engine.events();
    loop {
        if let Some(first) = engine.conversations().await.unwrap().first() {
            return first.conversation;
        }
        tokio::time::timeout(PATIENCE, events.next()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_talk_offline_and_online_and_a_linked_device_gets_the_history() {
    let homes: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let relay = Relay::start(config(homes[3].path())).await.unwrap();
    let address = relay.address().clone();
    let alice = open(homes[0].path(), Some(&address)).await;
    let bob = open(homes[1].path(), Some(&address)).await;
    alice
        .create_account("Alice", "laptop", Some(&address))
        .await
        .unwrap();
    let card = bob
        .create_account("Bob", "laptop", Some(&address))
        .await
        .unwrap()
        .card;
    let user = alice.add_contact(&card, None).await.unwrap();
    let harvest = alice
        .create_conversation("Harvest", &[user], None)
        .await
        .unwrap();
    harvest.send(Draft::text("hello")).await.unwrap();
    let id = joined(&bob).await;
    assert_eq!(until(&bob, id, 1).await, ["hello"]);

    // Bob goes away; both write; he comes back.
    bob.close().await.unwrap();
    harvest
        .send(Draft::text("while you were away"))
        .await
        .unwrap();
    let bob = open(homes[1].path(), None).await;
    bob.conversation(id)
        .await
        .unwrap()
        .send(Draft::text("on the train"))
        .await
        .unwrap();
    bob.use_relay(Some(address.clone())).await.unwrap();
    bob.connect_now().await.unwrap();
    bob.wait_settled(PATIENCE).await.unwrap();
    until(&alice, id, 3).await;

    // Alice links her phone, which gets everything.
    let phone = open(homes[2].path(), Some(&address)).await;
    let mut shown = phone.events();
    let mut asked = alice.events();
    let code = alice.start_link().await.unwrap();
    phone.join_account(&code, "phone").await.unwrap();
    let digits = loop {
        if let Some(Event::LinkDigits { digits, .. }) = shown.next().await {
            break digits;
        }
    };
    while !matches!(asked.next().await, Some(Event::LinkRequested { .. })) {}
    alice.approve_link(&digits).await.unwrap();
    assert_eq!(joined(&phone).await, id);
    let expected = until(&phone, id, 3).await;
    assert_eq!(listed(&alice, id).await, expected);
    assert_eq!(until(&bob, id, 3).await, expected);

    // The phone is a full member: what it writes reaches everybody.
    let told = phone.conversation(id).await.unwrap();
    told.send(Draft::text("from the phone")).await.unwrap();
    for engine in [&phone, &alice, &bob] {
        assert_eq!(
            until(engine, id, 4).await.last().map(String::as_str),
            Some("from the phone")
        );
    }
    for engine in [alice, bob, phone] {
        engine.close().await.unwrap();
    }
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_with_another_key_is_refused_and_named() {
    let homes: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let relay = Relay::start(config(homes[1].path())).await.unwrap();
    let mut address = relay.address().clone();
    address.relay = RelayId([3; 32]);
    let engine = open(homes[0].path(), Some(&address)).await;
    engine
        .create_account("Alice", "laptop", None)
        .await
        .unwrap();
    let error = engine.wait_connected(PATIENCE).await.unwrap_err();
    assert!(
        matches!(error, sheaf_engine::EngineError::Link(LinkError::WrongKey)),
        "{error:?}"
    );
    engine.close().await.unwrap();
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_sends_once_and_pages_go_both_ways() {
    let home = tempfile::tempdir().unwrap();
    let engine = open(home.path(), None).await;
    engine
        .create_account("Alice", "laptop", None)
        .await
        .unwrap();
    let talk = engine
        .create_conversation("Talk", &[], Some(4))
        .await
        .unwrap();
    let first = talk
        .send_with_token(Draft::text("once"), "token")
        .await
        .unwrap();
    let again = talk
        .send_with_token(Draft::text("once"), "token")
        .await
        .unwrap();
    assert_eq!(first, again);
    for n in 0..9 {
        talk.send(Draft::text(format!("message {n}")))
            .await
            .unwrap();
    }
    engine.close().await.unwrap();
    let engine = open(home.path(), None).await;
    let talk = engine.conversation(talk.id()).await.unwrap();
    assert_eq!(
        talk.send_with_token(Draft::text("once"), "token")
            .await
            .unwrap(),
        first
    );
    let all = talk.messages(Page::default()).unwrap();
    assert_eq!(all.len(), 10);
    let last = talk
        .messages(Page {
            limit: 3,
            ..Page::default()
        })
        .unwrap();
    assert_eq!(texts(&last), ["message 6", "message 7", "message 8"]);
    let before = Page {
        limit: 2,
        before: Some(last[0].message),
        after: None,
    };
    assert_eq!(
        texts(&talk.messages(before).unwrap()),
        ["message 4", "message 5"]
    );
    let after = Page {
        limit: 2,
        before: None,
        after: Some(first),
    };
    assert_eq!(
        texts(&talk.messages(after).unwrap()),
        ["message 0", "message 1"]
    );
    engine.close().await.unwrap();
}
