//! Changes of a document, as payloads, as they are, and in messages of the sync protocol.
//!
//! Whatever comes in may be refused, wait, or be taken; it may never hide a message or leave a
//! document that does not save, load and change.

use std::sync::OnceLock;

use sha2::{Digest, Sha256};
use sheaf_replica::document::{
    DocumentError, DocumentTransaction, Genesis, HybridTime, Incoming, LocalChange, MessageId,
    MessageKind, NewMessage, ObjectId, Origin, Outcome, Scalar, Segment, StoredMessage, SyncState,
    Value, decode_payload, encode_payload,
};

use super::Seed;
use super::reader::Reader;

const CONVERSATION: [u8; 32] = [3; 32];
/// Automerge's first bytes of every chunk, and the type byte of a change.
const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
const CHANGE: u8 = 1;

fn actor(device: u8) -> [u8; 16] {
    [device.wrapping_mul(37) ^ 0x5a; 16]
}

fn message(device: u8, ms: u64) -> NewMessage {
    NewMessage {
        id: MessageId::new(HybridTime::new(ms, 0).unwrap(), [device; 8]),
        text: format!("message {ms} of {device}"),
        reply_to: (ms > 3).then(|| MessageId::new(HybridTime::new(ms - 2, 0).unwrap(), [2; 8])),
        kind: if ms.is_multiple_of(3) {
            MessageKind::System
        } else {
            MessageKind::Text
        },
        origin: ms.is_multiple_of(2).then(|| Origin {
            author: "someone".to_owned(),
            time_ms: 1_000,
        }),
    }
}

fn edit(
    segment: &mut Segment,
    device: u8,
    work: impl FnOnce(&mut DocumentTransaction<'_, '_>) -> Result<(), DocumentError>,
) -> LocalChange {
    segment.change(actor(device), work).unwrap().unwrap()
}

/// A document before each of several changes of device 1, and after the last; saved.
struct Case {
    stages: Vec<Vec<u8>>,
    changes: Vec<Vec<u8>>,
}

fn case() -> &'static Case {
    static CASE: OnceLock<Case> = OnceLock::new();
    CASE.get_or_init(|| {
        let mut ahead = founded();
        let mut stages = vec![ahead.save().unwrap()];
        let mut changes = Vec::new();
        for step in 0..4 {
            changes.push(step_of(&mut ahead, step).bytes);
            stages.push(ahead.save().unwrap());
        }
        Case { stages, changes }
    })
}

fn founded() -> Segment {
    let mut segment = Segment::genesis(&CONVERSATION, 0).unwrap();
    segment.append(actor(2), &[message(2, 1)]).unwrap();
    segment.append(actor(1), &[message(1, 2)]).unwrap();
    edit(&mut segment, 2, |tx| {
        let root = ObjectId::ROOT;
        tx.put(&root, "n", Scalar::Counter(0))?;
        let text = tx.put_object(&root, "text", automerge::ObjType::Text)?;
        tx.splice_text(&text, 0, 0, "a text that two people write")?;
        tx.mark(&text, 2..6, "bold", true)?;
        let list = tx.put_object(&root, "list", automerge::ObjType::List)?;
        (0..5_usize).try_for_each(|index| tx.insert(&list, index, "entry"))
    });
    segment
}

fn step_of(segment: &mut Segment, step: usize) -> LocalChange {
    let root = ObjectId::ROOT;
    match step {
        0 => segment.append(actor(1), &[message(1, 10)]).unwrap(),
        1 => {
            let many: Vec<_> = (20..29).map(|ms| message(1, ms)).collect();
            segment.append(actor(1), &many).unwrap()
        }
        2 => edit(segment, 1, |tx| {
            let text = tx.object(&root, "text")?;
            let text = text.ok_or(DocumentError::UnknownObject)?;
            tx.splice_text(&text, 7, 4, "those")?;
            tx.mark(&text, 4..15, "italic", "yes")?;
            tx.unmark(&text, 3..5, "bold")?;
            tx.increment(&root, "n", 3)
        }),
        _ => edit(segment, 1, |tx| {
            let list = tx.object(&root, "list")?;
            let list = list.ok_or(DocumentError::UnknownObject)?;
            tx.delete(&list, 1_usize)?;
            tx.put(&list, 0_usize, Scalar::Float(1.5))?;
            let inner = tx.insert_object(&list, 2, automerge::ObjType::Map)?;
            tx.put(&inner, "k", Scalar::Bytes(vec![1, 2, 3]))?;
            tx.put(&inner, "k", Scalar::Timestamp(77))?;
            tx.put(&root, "n", Scalar::Counter(9))?;
            tx.increment(&root, "n", -2)
        }),
    }
}

fn load(saved: &[u8]) -> Segment {
    Segment::load(&CONVERSATION, 0, saved).unwrap()
}

/// The first byte chooses the document; the rest is what an envelope of device 1 carries.
pub(super) fn payload(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    let stage = reader.below(case().stages.len());
    let genesis = Genesis::of(&CONVERSATION, 0);
    let Ok(changes) = decode_payload(&genesis, &actor(1), reader.rest()) else {
        return false;
    };
    let again = encode_payload(&genesis, &actor(1), &changes);
    if let Ok(again) = again {
        let decoded = decode_payload(&genesis, &actor(1), &again);
        assert!(decoded.is_ok_and(|decoded| decoded == changes));
    }
    take(&case().stages[stage], changes);
    true
}

/// The first byte chooses the document; the rest is the body of a change, whose header, length and
/// checksum are made right.
pub(super) fn change(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    let stage = reader.below(case().stages.len());
    take(&case().stages[stage], vec![wrap(reader.rest())])
}

/// Merges changes of device 1 and looks at what is left; whether they were taken.
fn take(saved: &[u8], changes: Vec<Vec<u8>>) -> bool {
    let mut segment = load(saved);
    let before: Vec<StoredMessage> = segment.messages().collect();
    let heads = segment.heads();
    let incoming = Incoming {
        actor: actor(1),
        author_tag: [1; 8],
        changes,
    };
    let outcome = segment.merge(std::slice::from_ref(&incoming)).remove(0);
    let taken = matches!(outcome, Outcome::Applied { .. });
    if taken {
        survives(&mut segment, &before);
        let again = segment.merge(std::slice::from_ref(&incoming)).remove(0);
        assert_eq!(again, Outcome::Duplicate);
    } else {
        assert_eq!(segment.heads(), heads);
    }
    taken
}

/// A document that took something hostile is a document like any other.
fn survives(segment: &mut Segment, before: &[StoredMessage]) {
    for stored in before {
        assert_eq!(segment.message(&stored.message.id).as_ref(), Some(stored));
    }
    let mut loaded = load(&segment.save().unwrap());
    assert_eq!(loaded.heads(), segment.heads());
    assert!(loaded.messages().eq(segment.messages()));
    assert!(same(&loaded.map_snapshot(), &segment.map_snapshot()));
    for device in [1, 2] {
        let next = message(device, 90);
        // Device 1 is the hostile one: it may have used the very time that is used here.
        if loaded.message(&next.id).is_none() {
            loaded.append(actor(device), &[next]).unwrap();
        }
        edit(&mut loaded, device, |tx| {
            tx.put(&ObjectId::ROOT, "after", i64::from(device))?;
            if let Some(text) = tx.object(&ObjectId::ROOT, "text")?
                && tx.length(&text) > 0
            {
                tx.splice_text(&text, 1, 0, "!")?;
                tx.splice_text(&text, 0, 1, "?")?;
            }
            Ok(())
        });
    }
    load(&loaded.save().unwrap());
}

/// Equality, but one not-a-number equals another.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Map(left), Value::Map(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right)
                    .all(|(left, right)| left.0 == right.0 && same(left.1, right.1))
        }
        (Value::List(left), Value::List(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right)
                    .all(|(left, right)| same(left, right))
        }
        (Value::Float(left), Value::Float(right)) => left.to_bits() == right.to_bits(),
        _ => left == right,
    }
}

/// The first byte chooses the document, the second the length of a kept state; then the state, then
/// a message of the other device.
pub(super) fn sync_message(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    let stage = reader.below(case().stages.len());
    let mut segment = load(&case().stages[stage]);
    let before: Vec<StoredMessage> = segment.messages().collect();
    let mut state = SyncState::decode(reader.bytes());
    let authors = |claimed: &[u8; 16]| match *claimed {
        claimed if claimed == actor(1) => Some([1; 8]),
        claimed if claimed == actor(2) => Some([2; 8]),
        _ => None,
    };
    let received = segment.receive_sync_message(&mut state, reader.rest(), authors);
    let _answer = segment.generate_sync_message(&mut state);
    survives(&mut segment, &before);
    received.is_ok()
}

/// A change around a body: magic, checksum, type, length, body.
fn wrap(body: &[u8]) -> Vec<u8> {
    let mut head = vec![CHANGE];
    let mut length = body.len();
    while length >= 0x80 {
        head.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    head.push(length as u8);
    let hash = Sha256::new()
        .chain_update(&head)
        .chain_update(body)
        .finalize();
    [&MAGIC, &hash[..4], &head, body].concat()
}

/// The body of a change.
fn unwrap(change: &[u8]) -> &[u8] {
    let length = change[9..].iter().position(|byte| byte & 0x80 == 0);
    &change[9 + length.unwrap() + 1..]
}

pub(super) fn payload_seeds() -> Vec<Seed> {
    let genesis = Genesis::of(&CONVERSATION, 0);
    let seed = |stage: u8, count: usize| {
        let changes = &case().changes[usize::from(stage)..][..count];
        let payload = encode_payload(&genesis, &actor(1), changes).unwrap();
        let name = format!("{count}_of_stage_{stage}");
        Seed::new(name, [&[stage], &*payload].concat())
    };
    vec![
        seed(0, 1),
        seed(1, 1),
        seed(2, 1),
        seed(3, 1),
        seed(0, 4),
        seed(2, 2),
    ]
}

pub(super) fn change_seeds() -> Vec<Seed> {
    let changes = case().changes.iter().enumerate();
    changes
        .map(|(stage, change)| {
            let bytes = [&[stage as u8], unwrap(change)].concat();
            Seed::new(format!("of_stage_{stage}"), bytes)
        })
        .collect()
}

pub(super) fn sync_message_seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for stage in [0, 2, 4] {
        let mut here = load(&case().stages[stage]);
        let mut ahead = load(&case().stages[4]);
        ahead.append(actor(2), &[message(2, 50)]).unwrap();
        let (mut own, mut other) = (here.sync_state(), ahead.sync_state());
        for round in 0..4 {
            if let Some(said) = ahead.generate_sync_message(&mut other) {
                let kept = own.encode();
                let mut bytes = vec![stage as u8];
                super::reader::put_bytes(&mut bytes, &kept);
                bytes.extend_from_slice(&said);
                if round < 3 {
                    seeds.push(Seed::new(format!("stage_{stage}_round_{round}"), bytes));
                }
                here.receive_sync_message(&mut own, &said, |claimed| {
                    Some(if *claimed == actor(1) { [1; 8] } else { [2; 8] })
                })
                .unwrap();
            }
            if let Some(said) = here.generate_sync_message(&mut own) {
                ahead
                    .receive_sync_message(&mut other, &said, |_| Some([1; 8]))
                    .unwrap();
            }
        }
    }
    seeds
}
