//! Bad records of every kind arrive at a device: it says what was done and by whom as far as that is
//! proved, nothing else changes, and the next good record gets through.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::type_complexity,
    reason = "a test may stop at its first error"
)]

mod away;
mod copied;
mod cut;
mod forge;
mod fork;
mod gap;
mod guard;
mod newcomer;
mod relay;
mod roles;
mod world;

use ed25519_dalek::SigningKey;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sheaf_crypto::{EnvelopeError, EpochSecret, OperationId, epoch_id, item_of_record, open, seal};
use sheaf_protocol::{Delivery, ServerFrame, TopicId, limits::RECORD_BYTES_MAX};
use sheaf_replica::{Act, Misbehaviour, Suspect};

use forge::{Epoch, epochs, only_epoch, seal_signed_by, secrets, signing_key, written};
use relay::Log;
use world::{ALICE, BOB, MALLORY, World};

/// Injects a record and checks that Bob reports exactly this and is as he was.
fn is_reported(world: &mut World, topic: TopicId, record: Vec<u8>, by: Suspect, act: Act) {
    let before = world.state(BOB);
    world.inject(topic, record);
    let conversation = Some(world.conversation);
    let expected = Misbehaviour {
        by,
        act,
        conversation,
    };
    assert_eq!(world.peers[BOB].misbehaviour(), [expected]);
    assert_eq!(world.state(BOB), before, "a bad record changed something");
}

fn is_unopenable(world: &mut World, topic: TopicId, record: Vec<u8>, why: EnvelopeError) {
    let act = Act::Unopenable(why.to_string());
    is_reported(world, topic, record, Suspect::Topic(topic), act);
}

/// Mallory's last record and its topic.
fn last_record(world: &World) -> (TopicId, Vec<u8>) {
    let topic = only_epoch(world, BOB).keys.topic();
    let author = secrets(&world.peers[MALLORY].disk).device();
    let keys = only_epoch(world, BOB).keys;
    let by_author = |record: &&Vec<u8>| open(&keys, record).is_ok_and(|o| o.device() == author);
    let record = world.log.0[&topic].iter().rev().find(by_author);
    (topic, record.unwrap().clone())
}

#[test]
fn truncated() {
    let mut world = World::new();
    let (topic, record) = last_record(&world);
    for length in [0, 1, 2, 25, 26, 57, 58, 73, 255, record.len() - 1] {
        let cut = record[..length].to_vec();
        is_unopenable(&mut world, topic, cut, EnvelopeError::Framing);
    }
    // A length that an envelope may have.
    assert!(record.len() > 256);
    let cut = record[..256].to_vec();
    is_unopenable(&mut world, topic, cut, EnvelopeError::Ciphertext);
    world.goes_on();
}

#[test]
fn a_byte_flipped() {
    let mut world = World::new();
    let (topic, record) = last_record(&world);
    let regions = [
        ("version and suite", 0..2, EnvelopeError::Framing),
        ("nonce", 2..26, EnvelopeError::Commitment),
        ("commitment", 26..58, EnvelopeError::Commitment),
        (
            "ciphertext and tag",
            58..record.len(),
            EnvelopeError::Ciphertext,
        ),
    ];
    for (region, places, why) in regions {
        let (first, last) = (places.start, places.end - 1);
        for place in [first, (first + last) / 2, last] {
            let mut bad = record.clone();
            bad[place] ^= 1;
            println!("{region}, byte {place}");
            is_unopenable(&mut world, topic, bad, why);
        }
    }
    world.goes_on();
}

#[test]
fn oversized() {
    let mut world = World::new();
    let (topic, record) = last_record(&world);
    for length in [RECORD_BYTES_MAX + 1, 2 * RECORD_BYTES_MAX] {
        let mut bad = record.clone();
        bad.resize(length, 0);
        is_unopenable(&mut world, topic, bad, EnvelopeError::Framing);
    }
    let mut bad = record;
    bad.resize(RECORD_BYTES_MAX, 0);
    is_unopenable(&mut world, topic, bad, EnvelopeError::Ciphertext);
    world.goes_on();
}

#[test]
fn replayed() {
    let mut world = World::new();
    let (topic, record) = last_record(&world);
    for _ in 0..2 {
        is_reported(
            &mut world,
            topic,
            record.clone(),
            Suspect::Topic(topic),
            Act::Replayed,
        );
    }
    // The author reads its own record again, as after a restart: nobody is to blame.
    assert!(world.peers[MALLORY].misbehaviour().is_empty());
    // The same place again is what a subscription that overlaps gives.
    let before = world.state(BOB);
    let sequence = world.log.head(&topic);
    world.peers[BOB].receive(ServerFrame::Records {
        topic,
        previous: sequence - 1,
        records: vec![Delivery {
            sequence,
            record: record.clone(),
        }],
    });
    world.settle();
    assert!(world.peers[BOB].misbehaviour().is_empty());
    assert_eq!(world.state(BOB), before);
    world.restart_bob();
    is_reported(
        &mut world,
        topic,
        record,
        Suspect::Topic(topic),
        Act::Replayed,
    );
    world.goes_on();
}

/// Mallory's next two records, which nobody but the relay has seen.
fn held_back(world: &mut World) -> (TopicId, Vec<Vec<u8>>) {
    let topic = only_epoch(world, BOB).keys.topic();
    let head = world.log.head(&topic);
    let mut ahead = World::new();
    for text in ["four", "five"] {
        ahead.send(MALLORY, text);
    }
    let records = ahead.log.0[&topic][usize::try_from(head).unwrap()..].to_vec();
    world.peers[MALLORY] = ahead.peers.into_iter().nth(MALLORY).unwrap();
    (topic, records)
}

#[test]
fn reordered_on_the_topic() {
    let mut world = World::new();
    let (topic, records) = held_back(&mut world);
    assert_eq!(records.len(), 2);
    let before = world.messages(BOB);
    world.inject(topic, records[1].clone());
    assert_eq!(
        world.messages(BOB),
        before,
        "it waits for the one before it"
    );
    assert_eq!(world.peers[BOB].replica.settled().parked, 1);
    world.restart_bob();
    world.inject(topic, records[0].clone());
    let texts: Vec<String> = world
        .messages(BOB)
        .into_iter()
        .skip(before.len())
        .map(|m| m.text)
        .collect();
    assert_eq!(texts, ["four", "five"]);
    assert_eq!(world.peers[BOB].replica.settled().parked, 0);
    assert!(
        world.peers[BOB].misbehaviour().is_empty(),
        "order is no device's fault"
    );
    world.peers[MALLORY].link_up();
    world.settle();
    world.goes_on();
}

#[test]
fn reordered_by_the_relay() {
    let mut world = World::new();
    let (topic, records) = held_back(&mut world);
    let head = world.log.head(&topic);
    let delivery = |ahead: u64, place: usize| Delivery {
        sequence: head + ahead,
        record: records[place].clone(),
    };
    let bad = [
        (head, vec![delivery(2, 1), delivery(1, 0)]),
        (head, vec![delivery(1, 0), delivery(1, 1)]),
        (head + 1, vec![delivery(1, 0)]),
    ];
    for (previous, records) in bad {
        let before = world.state(BOB);
        world.peers[BOB].receive(ServerFrame::Records {
            topic,
            previous,
            records,
        });
        let expected = Misbehaviour {
            by: Suspect::Relay(Log::id()),
            act: Act::BadDelivery,
            conversation: None,
        };
        assert_eq!(world.peers[BOB].misbehaviour(), [expected]);
        world.settle();
        world.peers[BOB].wake();
        world.settle();
        assert_eq!(world.state(BOB), before);
    }
    for record in records {
        world.inject(topic, record);
    }
    world.peers[MALLORY].link_up();
    world.settle();
    world.goes_on();
}

/// What a bad delivery held back is read again on the same connection: at once the first time, later
/// when the time has come, and what was under way meanwhile is nobody's fault.
#[test]
fn a_topic_is_read_again_after_a_bad_delivery() {
    let mut world = World::new();
    let topic = only_epoch(&world, BOB).keys.topic();
    for (round, waits) in [false, true, true].into_iter().enumerate() {
        let before = world.messages(BOB).len();
        let head = world.log.head(&topic);
        let bad = ServerFrame::Records {
            topic,
            previous: head,
            records: vec![Delivery {
                sequence: head,
                record: Vec::new(),
            }],
        };
        world.peers[BOB].receive(bad.clone());
        assert_eq!(world.peers[BOB].misbehaviour().len(), 1, "round {round}");
        world.send(MALLORY, "written meanwhile");
        let here = world.messages(BOB).len() - before;
        assert_eq!(here, usize::from(!waits), "round {round}");
        if waits {
            world.peers[BOB].receive(bad);
            let since = world.peers[BOB].now;
            while world.messages(BOB).len() == before {
                assert!(world.peers[BOB].wake(), "nothing is waited for");
                world.settle();
            }
            let waited = world.peers[BOB].now.since_ms(since);
            assert_eq!(waited, [0, 1_000, 4_000][round]);
        }
        assert_eq!(world.messages(BOB).len(), before + 1, "round {round}");
        assert!(world.peers[BOB].misbehaviour().is_empty(), "round {round}");
    }
    world.goes_on();
}

#[test]
fn signed_by_another_key() {
    let mut world = World::new();
    let epoch = only_epoch(&world, MALLORY);
    let (alice, mallory) = (
        secrets(&world.peers[ALICE].disk),
        secrets(&world.peers[MALLORY].disk),
    );
    let topic = epoch.keys.topic();
    let stranger = SigningKey::from_bytes(&[3; 32]);
    for (author, key) in [
        (&alice, signing_key(&mallory)),
        (&alice, stranger.clone()),
        (&mallory, stranger),
    ] {
        let mut inner = written(&world.log, &epoch.keys, author).pop().unwrap();
        inner.seq += 1;
        let good = seal_signed_by(&epoch, &inner, &signing_key(author));
        let opened = open(&epoch.keys, &good).unwrap();
        assert!(
            opened.verify(&author.signing_public()).is_ok(),
            "all else fits"
        );
        let bad = seal_signed_by(&epoch, &inner, &key);
        is_reported(
            &mut world,
            topic,
            bad,
            Suspect::Topic(topic),
            Act::BadSignature,
        );
    }
    world.goes_on();
}

#[test]
fn of_another_topic() {
    let mut world = World::new();
    let (topic, _) = last_record(&world);
    let other = world.found("yard");
    world.send_to(MALLORY, other, "elsewhere");
    let there = epochs(&world.peers[BOB].disk, &other);
    let records = world.log.0[&there[0].keys.topic()].clone();
    assert!(records.len() > 1);
    for record in records {
        is_unopenable(&mut world, topic, record, EnvelopeError::Commitment);
    }
    // An inbox message is no envelope at all.
    let inboxes: Vec<Vec<u8>> = world.log.0.values().flatten().cloned().collect();
    let known = epochs(&world.peers[BOB].disk, &world.conversation);
    let strange = inboxes
        .into_iter()
        .find(|record| known.iter().all(|e| open(&e.keys, record).is_err()));
    let before = world.state(BOB);
    world.inject(topic, strange.unwrap());
    let reports = world.peers[BOB].misbehaviour();
    assert!(
        matches!(
            &reports[..],
            [Misbehaviour {
                act: Act::Unopenable(_),
                ..
            }]
        ),
        "{reports:?}"
    );
    assert_eq!(world.state(BOB), before);
    world.goes_on();
}

/// An epoch that nobody was told of, by Mallory.
fn unknown_epoch(world: &World) -> sheaf_crypto::EpochKeys {
    let secret = EpochSecret::from_bytes(&[5; 64]).unwrap();
    let commitment = secret.commitment(&world.conversation);
    let author = secrets(&world.peers[MALLORY].disk).device();
    let id = epoch_id(&world.conversation, author, 9, &commitment);
    sheaf_crypto::EpochKeys::derive(&world.conversation, id, &secret)
}

#[test]
fn sealed_under_an_unknown_epoch() {
    let mut world = World::new();
    let epoch = only_epoch(&world, MALLORY);
    let mallory = secrets(&world.peers[MALLORY].disk);
    let inner = written(&world.log, &epoch.keys, &mallory).pop().unwrap();
    let keys = unknown_epoch(&world);
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let record = seal(&keys, &inner, &mallory, &mut rng).unwrap();
    let topic = epoch.keys.topic();
    is_unopenable(&mut world, topic, record.clone(), EnvelopeError::Commitment);
    // On a topic of its own nobody follows it.
    let before = world.state(BOB);
    world.inject(keys.topic(), record);
    assert!(world.peers[BOB].misbehaviour().is_empty());
    assert_eq!(world.state(BOB), before);
    world.goes_on();
}

#[test]
fn sealed_under_an_epoch_outside_its_view() {
    let mut world = World::new();
    let old = only_epoch(&world, BOB);
    let mallory = secrets(&world.peers[MALLORY].disk);
    let (_, last) = last_record(&world);
    let mut inner = written(&world.log, &old.keys, &mallory).pop().unwrap();
    inner.seq += 1;
    inner.previous = Some(item_of_record(&last));
    let newer = world.rotate();
    let here = epochs(&world.peers[BOB].disk, &world.conversation);
    let epoch: Epoch = here.into_iter().find(|epoch| epoch.id == newer).unwrap();
    // Its control heads are those of before the rotation.
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let record = seal(&epoch.keys, &inner, &mallory, &mut rng).unwrap();
    let topic = epoch.keys.topic();
    let by = Suspect::Device(mallory.device());
    is_reported(&mut world, topic, record.clone(), by, Act::WrongEpoch);
    // And a record of the new epoch on the topic of the old one.
    is_unopenable(
        &mut world,
        old.keys.topic(),
        record,
        EnvelopeError::Commitment,
    );
    world.goes_on();
}

#[test]
fn by_a_view_that_does_not_hold_the_author() {
    let mut world = World::new();
    let epoch = only_epoch(&world, MALLORY);
    let mallory = secrets(&world.peers[MALLORY].disk);
    let mut inner = written(&world.log, &epoch.keys, &mallory).pop().unwrap();
    inner.seq += 1;
    inner.incarnation = OperationId([8; 32]);
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let topic = epoch.keys.topic();
    let record = seal(&epoch.keys, &inner, &mallory, &mut rng).unwrap();
    let by = Suspect::Device(mallory.device());
    is_reported(&mut world, topic, record, by, Act::NotAMember);
    inner.control_heads.clear();
    let record = seal(&epoch.keys, &inner, &mallory, &mut rng).unwrap();
    is_reported(
        &mut world,
        topic,
        record,
        Suspect::Topic(topic),
        Act::NotAMember,
    );
    world.goes_on();
}
