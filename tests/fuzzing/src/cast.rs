//! Three people who share a conversation: Alice, who is honest; Bob, whose replica is under test;
//! and Mallory, a member whose keys the input may use.

use std::sync::OnceLock;

use automerge::ObjType;
use sheaf_crypto::{
    ConversationId, DeviceSecrets, EpochId, EpochKeys, EpochSecret, Inner, ItemId, Recipient,
    UserId, inbox_capability, item_of_record, open,
};
use sheaf_protocol::TopicId;
use sheaf_replica::document::ObjectId;
use sheaf_replica::record::Kind;
use sheaf_replica::{Command, Draft, Reply, Timestamp};

use super::peer::{Disk, Log, Peer};

pub(super) const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// What every life starts from.
pub(super) struct Cast {
    pub(super) alice: Disk,
    pub(super) bob: Disk,
    /// All that the relay holds; Bob has not read its end.
    pub(super) log: Log,
    pub(super) conversation: ConversationId,
    pub(super) keys: EpochKeys,
    pub(super) mallory: DeviceSecrets,
    pub(super) mallory_user: UserId,
    /// Mallory's last envelope on the relay.
    pub(super) last: (Inner, ItemId),
    /// What Mallory wrote and held back, in the order of her chain.
    pub(super) held: Vec<Inner>,
    pub(super) bob_inbox: (TopicId, Recipient),
    /// A card of somebody whom nobody knows yet.
    pub(super) card: String,
}

pub(super) fn cast() -> &'static Cast {
    static CAST: OnceLock<Cast> = OnceLock::new();
    CAST.get_or_init(found)
}

fn person(number: u8, name: &str, log: &mut Log) -> Peer {
    let mut peer = Peer::open(number, 0, NOW, Disk::new()).unwrap();
    let create = Command::CreateAccount {
        name: name.to_owned(),
        device: "first".to_owned(),
        relay: None,
    };
    ask(&mut peer, log, create);
    peer.link_up(NOW);
    settle(&mut peer, log);
    peer
}

fn settle(peer: &mut Peer, log: &mut Log) {
    assert!(peer.settle(log, NOW), "an honest world comes to rest");
}

fn ask(peer: &mut Peer, log: &mut Log, command: Command) -> Reply {
    let id = peer.command(NOW, command);
    settle(peer, log);
    peer.answers.remove(&id).unwrap().unwrap()
}

fn send(peer: &mut Peer, log: &mut Log, conversation: ConversationId, text: &str) {
    let command = Command::Send {
        conversation,
        draft: Draft::text(text),
        token: None,
    };
    ask(peer, log, command);
}

fn card(peer: &Peer) -> String {
    peer.replica.overview().card.unwrap()
}

fn found() -> Cast {
    let mut log = Log::default();
    let mut alice = person(1, "Alice", &mut log);
    let mut bob = person(2, "Bob", &mut log);
    let mut mallory = person(3, "Mallory", &mut log);
    let stranger = person(4, "Stranger", &mut Log::default());
    for other in [&bob, &mallory] {
        let add = Command::AddContact {
            card: card(other),
            alias: None,
        };
        ask(&mut alice, &mut log, add);
    }
    let user = |peer: &Peer| peer.replica.overview().user.unwrap();
    let create = Command::CreateConversation {
        name: "field".to_owned(),
        members: vec![user(&bob), user(&mallory)],
        segment_messages: Some(6),
        history: sheaf_crypto::History::Full,
    };
    let Reply::ConversationCreated(conversation) = ask(&mut alice, &mut log, create) else {
        panic!("a conversation was asked for");
    };
    for _ in 0..2 {
        for peer in [&mut bob, &mut mallory, &mut alice] {
            settle(peer, &mut log);
        }
    }
    for (peer, text) in [
        (&mut alice, "one"),
        (&mut mallory, "two"),
        (&mut bob, "three"),
    ] {
        send(peer, &mut log, conversation, text);
    }
    edit(&mut alice, &mut log, conversation);
    settle(&mut bob, &mut log);
    // From here on Bob is away.
    for text in ["four", "five"] {
        settle(&mut mallory, &mut log);
        send(&mut mallory, &mut log, conversation, text);
        settle(&mut alice, &mut log);
        send(&mut alice, &mut log, conversation, text);
    }
    settle(&mut mallory, &mut log);
    let (epoch, keys) = epoch(&mallory.disk, &conversation);
    assert_eq!(keys.epoch(), epoch);
    let secrets = secrets(&mallory.disk);
    let before = envelopes(&log, &keys, &secrets);
    let mut fork = log.clone();
    hold_back(&mut mallory, &mut fork, conversation);
    let after = envelopes(&fork, &keys, &secrets);
    let held = after[before.len()..].iter().map(|(inner, _)| inner.clone());
    let bob_secrets = self::secrets(&bob.disk);
    Cast {
        conversation,
        held: held.collect(),
        last: before.last().cloned().unwrap(),
        mallory_user: user(&mallory),
        mallory: secrets,
        bob_inbox: (
            inbox_capability(bob_secrets.inbox_seed()).topic(),
            super::statement::recipient(&bob_secrets),
        ),
        card: card(&stranger),
        alice: alice.disk,
        bob: bob.disk,
        log,
        keys,
    }
}

fn edit(peer: &mut Peer, log: &mut Log, conversation: ConversationId) {
    let change = Command::Change {
        conversation,
        change: Box::new(|tx| {
            tx.put(&ObjectId::ROOT, "n", 1_i64)?;
            let text = tx.put_object(&ObjectId::ROOT, "text", ObjType::Text)?;
            tx.splice_text(&text, 0, 0, "a text")?;
            let list = tx.put_object(&ObjectId::ROOT, "list", ObjType::List)?;
            tx.insert(&list, 0, "entry")
        }),
    };
    ask(peer, log, change);
}

/// Mallory writes for herself: what the input may send later, changed or not.
fn hold_back(mallory: &mut Peer, fork: &mut Log, conversation: ConversationId) {
    for text in ["six", "seven"] {
        send(mallory, fork, conversation, text);
        edit(mallory, fork, conversation);
    }
    let delete = Command::Change {
        conversation,
        change: Box::new(|tx| tx.delete(&ObjectId::ROOT, "text")),
    };
    ask(mallory, fork, delete);
    send(mallory, fork, conversation, "eight");
}

/// This device's secrets; the first field of its account's record.
fn secrets(disk: &Disk) -> DeviceSecrets {
    let value = disk.iter().find(|(key, _)| key.kind == Kind::Account);
    let (secrets, _) = postcard::take_from_bytes::<Vec<u8>>(&value.unwrap().1[1..]).unwrap();
    DeviceSecrets::from_bytes(&secrets).unwrap()
}

/// The newest epoch that a device knows.
fn epoch(disk: &Disk, conversation: &ConversationId) -> (EpochId, EpochKeys) {
    let mut epochs: Vec<(u64, EpochId, EpochKeys)> = disk
        .iter()
        .filter(|(key, _)| key.kind == Kind::Epoch)
        .filter_map(|(_, value)| {
            type Record = (ConversationId, EpochId, Vec<u8>, u64);
            let (record, _) = postcard::take_from_bytes::<Record>(&value[1..]).ok()?;
            let secret = EpochSecret::from_bytes(&record.2).ok()?;
            let keys = EpochKeys::derive(&record.0, record.1, &secret);
            (record.0 == *conversation).then_some((record.3, record.1, keys))
        })
        .collect();
    epochs.sort_by_key(|(learned, ..)| *learned);
    let (_, id, keys) = epochs.pop().unwrap();
    (id, keys)
}

/// What a device wrote in an epoch.
fn envelopes(log: &Log, keys: &EpochKeys, author: &DeviceSecrets) -> Vec<(Inner, ItemId)> {
    log.topics[&keys.topic()]
        .iter()
        .filter_map(|record| {
            let opened = open(keys, record).ok()?;
            let inner = opened.verify(&author.signing_public()).ok()?;
            Some((inner, item_of_record(record)))
        })
        .collect()
}
