//! Through a real relay and real stores, with records altered on the disk.

use std::path::Path;
use std::time::Duration;

use sheaf_crypto::{ConversationId, Unlock};
use sheaf_protocol::RelayAddress;
use sheaf_relay::{Config, Relay};
use sheaf_replica::record::Kind;
use sheaf_replica::{Away, Draft, Event, Keep, MessageId, Policy};

use crate::conversation::{Conversation, Page};
use crate::engine::Engine;
use crate::store::Store;

const PATIENCE: Duration = Duration::from_secs(30);
const MESSAGES: usize = 10;

async fn open(home: &Path, relay: Option<&RelayAddress>) -> Engine {
    let policy = Policy::without_message_limit();
    let mut builder = Engine::builder(home).key([7; 32]).policy(policy);
    if let Some(relay) = relay {
        builder = builder.relay(relay.clone());
    }
    builder.open().await.unwrap()
}

async fn listed(engine: &Engine, id: ConversationId) -> usize {
    let page = Page {
        limit: 1_000,
        ..Page::default()
    };
    let conversation = engine.conversation(id).await.unwrap();
    conversation.messages(page).map_or(0, |found| found.len())
}

async fn until_synced(engine: &Engine, id: ConversationId, count: usize) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < deadline {
        engine.acknowledge().await.unwrap();
        let info = engine.conversation_info(id).await.unwrap();
        if info.is_some_and(|info| info.synced) && listed(engine, id).await == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not synced in time");
}

/// Alters every stored record of a kind; gives how many.
fn flip(home: &Path, kind: Kind) -> usize {
    let store = Store::open(home, &Unlock::KeyFile(&[7; 32]), None).unwrap();
    store.flip(kind)
}

fn of(limit: usize, before: Option<MessageId>) -> Page {
    Page {
        limit,
        before,
        after: None,
    }
}

async fn missing(talk: &Conversation, limit: usize, before: Option<MessageId>) -> Vec<(u32, Away)> {
    talk.list(of(limit, before)).await.unwrap().missing
}

struct Pair {
    homes: Vec<tempfile::TempDir>,
    relay: Relay,
    alice: Engine,
    id: ConversationId,
}

/// Alice goes on; Bob has everything and is closed.
async fn pair() -> Pair {
    let homes: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let mut config = Config {
        data: homes[2].path().to_path_buf(),
        ..Config::default()
    };
    config.listen = "127.0.0.1:0".parse().unwrap();
    config.http.enabled = false;
    let relay = Relay::start(config).await.unwrap();
    let address = relay.address().clone();
    let alice = open(homes[0].path(), Some(&address)).await;
    let bob = open(homes[1].path(), Some(&address)).await;
    let at = std::slice::from_ref(&address);
    alice.create_account("Alice", "laptop", at).await.unwrap();
    let card = bob.create_account("Bob", "laptop", at).await.unwrap().card;
    let user = alice.add_contact(&card, None).await.unwrap();
    let talk = alice.create_conversation("Talk", &[user], Some(4)).await;
    let talk = talk.unwrap();
    for number in 0..MESSAGES {
        talk.send(Draft::text(format!("message {number}")))
            .await
            .unwrap();
    }
    let id = talk.id();
    let mut events = bob.events();
    while bob.conversations().await.unwrap().is_empty() {
        tokio::time::timeout(PATIENCE, events.next()).await.unwrap();
    }
    until_synced(&bob, id, MESSAGES).await;
    until_synced(&alice, id, MESSAGES).await;
    bob.close().await.unwrap();
    Pair {
        homes,
        relay,
        alice,
        id,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn altered_envelopes_are_fetched_from_another_device() {
    let Pair {
        homes,
        relay,
        alice,
        id,
    } = pair().await;
    let home = homes[1].path();
    assert!(flip(home, Kind::Envelope) >= 3);
    let report = Engine::builder(home).key([7; 32]).check().await.unwrap();
    assert!(report.is_replaceable(), "{report:?}");
    // What is listed is still there, and the damage is named before anything is removed.
    let bob = open(home, None).await;
    assert_eq!(listed(&bob, id).await, MESSAGES);
    let repaired = bob.repair().await.unwrap();
    assert_eq!(repaired.to_fetch, 3);
    bob.close().await.unwrap();
    let report = Engine::builder(home).key([7; 32]).check().await.unwrap();
    assert!(report.is_sound(), "{report:?}");

    let bob = open(home, Some(relay.address())).await;
    let mut events = bob.events();
    let mut missing = 3;
    while missing > 0 {
        let event = tokio::time::timeout(PATIENCE, events.next()).await.unwrap();
        missing -= i32::from(matches!(event, Some(Event::SegmentFetched { .. })));
    }
    let talk = bob.conversation(id).await.unwrap();
    talk.send(Draft::text("afterwards")).await.unwrap();
    until_synced(&alice, id, MESSAGES + 1).await;
    until_synced(&bob, id, MESSAGES + 1).await;
    let of = |info: Option<sheaf_replica::ConversationInfo>| info.unwrap().heads;
    assert_eq!(
        of(bob.conversation_info(id).await.unwrap()),
        of(alice.conversation_info(id).await.unwrap())
    );
    for engine in [alice, bob] {
        engine.close().await.unwrap();
    }
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn altered_message_rows_are_listed_again() {
    let Pair {
        homes,
        relay,
        alice,
        id,
    } = pair().await;
    let home = homes[1].path();
    assert_eq!(flip(home, Kind::Message), MESSAGES);
    let bob = open(home, None).await;
    assert_eq!(listed(&bob, id).await, 0);
    let repaired = bob.repair().await.unwrap();
    assert_eq!(repaired.records, u64::try_from(MESSAGES).unwrap());
    assert_eq!(repaired.to_fetch, 0);
    assert_eq!(listed(&bob, id).await, MESSAGES);
    for engine in [alice, bob] {
        engine.close().await.unwrap();
    }
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_messages_are_dropped_weighed_and_fetched() {
    let Pair {
        homes,
        relay,
        alice,
        id,
    } = pair().await;
    let bob = open(homes[1].path(), Some(relay.address())).await;
    bob.wait_connected(PATIENCE).await.unwrap();
    bob.wait_settled(PATIENCE).await.unwrap();
    let (before, _) = bob.stats().await.unwrap();
    assert_eq!(
        (before[0].segments_held, before[0].segments_dropped),
        (3, 0)
    );
    let talk = bob.conversation(id).await.unwrap();
    talk.keep(Some(Keep::Messages(2))).await.unwrap();
    while bob.query(sheaf_replica::Replica::is_busy).await.unwrap() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Answered when everything before it is durable.
    bob.acknowledge().await.unwrap();
    let (after, disk) = bob.stats().await.unwrap();
    assert_eq!((after[0].segments_held, after[0].segments_dropped), (1, 2));
    assert!(before[0].droppable_bytes > 0 && after[0].droppable_bytes == 0);
    assert_eq!(after[0].messages.records, 2);
    assert!(disk > 0);
    // The page of what is here lacks nothing, a longer one does.
    assert_eq!(missing(&talk, 2, None).await, []);
    let dropped = [(1, Away::Dropped), (0, Away::Dropped)];
    assert_eq!(missing(&talk, 3, None).await, dropped);
    let fetched = talk.fetch(0).await.unwrap().unwrap();
    assert_eq!((fetched.messages, fetched.older), (4, true));
    assert_eq!(talk.fetch(0).await.unwrap(), None);
    // There are enough messages now, and some are missing between them.
    let page = talk.list(of(6, None)).await.unwrap();
    assert_eq!(page.messages.len(), 6);
    assert_eq!(page.missing, [(1, Away::Dropped)]);
    let cursor = page.messages[0].message;
    assert_eq!(missing(&talk, 6, Some(cursor)).await, []);
    let fetched = talk.fetch_older().await.unwrap().unwrap();
    assert_eq!((fetched.messages, fetched.older), (4, false));
    assert_eq!(talk.fetch_older().await.unwrap(), None);
    assert_eq!(missing(&talk, 100, None).await, []);
    assert_eq!(listed(&bob, id).await, MESSAGES);
    for engine in [alice, bob] {
        engine.close().await.unwrap();
    }
    relay.shutdown().await;
}
