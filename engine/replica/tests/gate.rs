//! The gate from outside: mutants of real changes, with their checksums repaired.
//!
//! `SHEAF_MUTANTS` sets how many (3,000 by default) of each kind: bytes changed, or operations. A
//! mutant may be refused, wait, or be taken; it
//! may never panic, hang, hide a message, or leave a document that does not save and load.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test may stop at its first error and says what it counted"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use automerge::legacy::{ElementId, Key, MarkData, ObjectId as LegacyObject, Op, OpId, OpType};
use automerge::{ActorId, Change, ExpandedChange, ObjType, ScalarValue};
use sha2::{Digest, Sha256};
use sheaf_replica::document::{
    DocumentError, DocumentTransaction, HybridTime, Incoming, LocalChange, MessageId, MessageKind,
    NewMessage, ObjectId, Origin, Outcome, Scalar, Segment, Value,
};

const CONVERSATION: [u8; 32] = [3; 32];
const MUTANTS: u32 = 3_000;
/// Far more than any merge takes, on a busy machine too.
const HANG: Duration = Duration::from_secs(4);

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
    edit: impl FnOnce(&mut DocumentTransaction<'_, '_>) -> Result<(), DocumentError>,
) -> LocalChange {
    segment.change(actor(device), edit).unwrap().unwrap()
}

/// A segment as its readers have it, and changes of device 1 that go on top of it one by one.
struct Case {
    base: Segment,
    changes: Vec<LocalChange>,
}

fn case() -> Case {
    let mut ahead = Segment::genesis(&CONVERSATION, 0).unwrap();
    let root = ObjectId::ROOT;
    ahead.append(actor(2), &[message(2, 1)]).unwrap();
    ahead.append(actor(1), &[message(1, 2)]).unwrap();
    edit(&mut ahead, 2, |tx| {
        tx.put(&root, "n", Scalar::Counter(0))?;
        let text = tx.put_object(&root, "text", ObjType::Text)?;
        tx.splice_text(&text, 0, 0, "a text that two people write")?;
        tx.mark(&text, 2..6, "bold", true)?;
        let list = tx.put_object(&root, "list", ObjType::List)?;
        (0..5_usize).try_for_each(|index| tx.insert(&list, index, "entry"))
    });
    let saved = ahead.save().unwrap();
    let base = Segment::load(&CONVERSATION, 0, &saved).unwrap();
    let many: Vec<_> = (20..29).map(|ms| message(1, ms)).collect();
    let mut changes = vec![
        ahead.append(actor(1), &[message(1, 10)]).unwrap(),
        ahead.append(actor(1), &many).unwrap(),
    ];
    changes.push(edit(&mut ahead, 1, |tx| {
        let text = tx
            .object(&root, "text")?
            .ok_or(DocumentError::UnknownObject)?;
        tx.splice_text(&text, 7, 4, "those")?;
        tx.mark(&text, 4..15, "italic", "yes")?;
        tx.unmark(&text, 3..5, "bold")?;
        tx.increment(&root, "n", 3)
    }));
    changes.push(edit(&mut ahead, 1, |tx| {
        let list = tx
            .object(&root, "list")?
            .ok_or(DocumentError::UnknownObject)?;
        tx.delete(&list, 1_usize)?;
        tx.put(&list, 0_usize, Scalar::Float(1.5))?;
        let inner = tx.insert_object(&list, 2, ObjType::Map)?;
        tx.put(&inner, "k", Scalar::Bytes(vec![1, 2, 3]))?;
        tx.put(&inner, "k", Scalar::Timestamp(77))?;
        tx.put(&root, "n", Scalar::Counter(9))?;
        tx.increment(&root, "n", -2)?;
        let text = tx.put_object(&root, "other", ObjType::Text)?;
        tx.splice_text(&text, 0, 0, "é🦀")
    }));
    Case { base, changes }
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// One to three bytes set, flipped, removed or added, then the length and checksum made right.
fn mutate(change: &[u8], dice: &mut Dice) -> Vec<u8> {
    let start = 9 + leb(&change[9..]).1;
    let mut body = change[start..].to_vec();
    for _ in 0..1 + dice.below(3) {
        let at = dice.below(body.len());
        match dice.below(6) {
            0 => body[at] ^= 1 << dice.below(8),
            1 => body[at] = body[at].wrapping_add(1),
            2 => body[at] = [0, 1, 0x7f, 0x80, 0xff][dice.below(5)],
            3 => body.insert(at, dice.below(256) as u8),
            4 if body.len() > 1 => drop(body.remove(at)),
            _ => body[at] = dice.below(256) as u8,
        }
    }
    wrap(&body)
}

fn wrap(body: &[u8]) -> Vec<u8> {
    let mut head = vec![1];
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
    [&[0x85, 0x6f, 0x4a, 0x83], &hash[..4], &head, body].concat()
}

fn leb(bytes: &[u8]) -> (usize, usize) {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return (value, index + 1);
        }
    }
    panic!("no length")
}

#[test]
fn no_mutant_breaks_a_segment() {
    let mut dice = Dice(0x5eaf_0001);
    run("bytes", |change| mutate(change, &mut dice));
}

#[test]
fn no_bent_operation_breaks_a_segment() {
    let mut dice = Dice(0x5eaf_0002);
    run("operations", |change| bend(change, &mut dice));
}

fn run(kind: &str, mut mutant_of: impl FnMut(&[u8]) -> Vec<u8>) {
    std::panic::set_hook(Box::new(|info| {
        let own = info
            .location()
            .is_some_and(|at| at.file().contains("gate.rs"));
        if own {
            eprintln!("{info}");
        }
    }));
    let wanted = std::env::var("SHEAF_MUTANTS")
        .ok()
        .and_then(|count| count.parse().ok());
    let wanted: u32 = wanted.unwrap_or(MUTANTS);
    let case = case();
    let mut stages = vec![case.base.save().unwrap()];
    for change in &case.changes {
        let mut segment = load(stages.last().unwrap());
        assert!(matches!(
            merge(&mut segment, &change.bytes),
            Outcome::Applied { .. }
        ));
        stages.push(segment.save().unwrap());
    }
    let crowds: Vec<_> = stages.iter().map(|saved| crowd(load(saved))).collect();
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let mut slowest = Duration::ZERO;
    for number in 0..wanted {
        let target = number as usize % case.changes.len();
        let mut segment = load(&stages[target]);
        let mutant = mutant_of(&case.changes[target].bytes);
        let before: Vec<_> = segment.messages().collect();
        let heads = segment.heads();
        let started = Instant::now();
        let outcome = merge(&mut segment, &mutant);
        let took = started.elapsed();
        assert!(took < HANG, "mutant {number} took {took:?}");
        slowest = slowest.max(took);
        let name = match &outcome {
            Outcome::Applied { .. } => "applied".to_owned(),
            Outcome::Missing(_) => "missing".to_owned(),
            Outcome::Duplicate => "duplicate".to_owned(),
            Outcome::Refused(refusal) => format!("refused: {refusal}"),
        };
        *counts.entry(name).or_default() += 1;
        let mut crowded = load(&crowds[target]);
        let elsewhere = merge(&mut crowded, &mutant);
        assert_eq!(
            outcome, elsewhere,
            "mutant {number}: verdict depends on what else is here"
        );
        if matches!(outcome, Outcome::Applied { .. }) {
            survives(&mut segment, &before, number, &mutant);
            survives(&mut crowded, &before, number, &mutant);
        } else {
            assert_eq!(segment.heads(), heads, "mutant {number}");
        }
    }
    println!("{wanted} mutants of {kind}, slowest merge {slowest:?}");
    for (name, count) in counts {
        println!("{count:>8} {name}");
    }
}

/// The segment with what device 3 wrote at the same time as the change that is bent.
fn crowd(mut segment: Segment) -> Vec<u8> {
    let root = ObjectId::ROOT;
    segment.append(actor(3), &[message(3, 15)]).unwrap();
    edit(&mut segment, 3, |tx| {
        let text = tx
            .object(&root, "text")?
            .ok_or(DocumentError::UnknownObject)?;
        tx.splice_text(&text, 5, 6, "between")?;
        tx.mark(&text, 3..8, "bold", "no")?;
        let list = tx
            .object(&root, "list")?
            .ok_or(DocumentError::UnknownObject)?;
        tx.delete(&list, 0_usize)?;
        tx.insert(&list, 1, "more")?;
        tx.put(&root, "n", Scalar::Counter(50))?;
        tx.put(&root, "other", "taken")
    });
    segment.save().unwrap()
}

/// One to three operations bent, in a change that is canonical all the same.
fn bend(change: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut expanded = Change::try_from(change).unwrap().decode();
    for _ in 0..1 + dice.below(3) {
        bend_operation(&mut expanded, dice);
    }
    Change::from(expanded).raw_bytes().to_vec()
}

fn bend_operation(change: &mut ExpandedChange, dice: &mut Dice) {
    let count = change.operations.len();
    let Some(last) = count.checked_sub(1) else {
        return;
    };
    let at = dice.below(count);
    let other = dice.below(count);
    let ids: Vec<OpId> = change.operations.iter().flat_map(references).collect();
    let any = |dice: &mut Dice| match dice.below(3) {
        0 => OpId(
            1 + dice.below(170) as u64,
            ActorId::from(actor(1 + dice.below(2) as u8)),
        ),
        1 => OpId(
            change.start_op.get() + dice.below(count + 2) as u64,
            change.actor_id.clone(),
        ),
        _ => ids[dice.below(ids.len())].clone(),
    };
    let (one, two) = (any(dice), any(dice));
    let copy = change.operations[other].clone();
    let op = &mut change.operations[at];
    match dice.below(14) {
        0 => op.obj = LegacyObject::Id(one),
        1 => op.key = Key::Seq(ElementId::Id(one)),
        2 => op.key = Key::Seq(ElementId::Head),
        3 => op.key = Key::Map(["n", "k", "text", "list", ""][dice.below(5)].into()),
        4 => op.pred = vec![one].into(),
        5 => op.pred = vec![one, two].into(),
        6 => op.pred = Vec::new().into(),
        7 => op.insert = !op.insert,
        8 | 9 => op.action = action(dice),
        10 => (op.obj, op.key) = (copy.obj, copy.key),
        11 => op.pred = copy.pred,
        12 => change.operations.insert(at, copy),
        _ if dice.below(2) == 0 => change.operations.swap(at, last),
        _ => drop(change.operations.remove(at)),
    }
}

fn references(op: &Op) -> Vec<OpId> {
    let mut ids: Vec<OpId> = op.pred.iter().cloned().collect();
    if let LegacyObject::Id(id) = &op.obj {
        ids.push(id.clone());
    }
    if let Key::Seq(ElementId::Id(id)) = &op.key {
        ids.push(id.clone());
    }
    ids
}

fn action(dice: &mut Dice) -> OpType {
    let name = ["bold", "", "x"][dice.below(3)].into();
    match dice.below(14) {
        0 => OpType::Make(ObjType::Map),
        1 => OpType::Make(ObjType::List),
        2 => OpType::Make(ObjType::Text),
        3 => OpType::Make(ObjType::Table),
        4 => OpType::Delete,
        5 => OpType::Increment(i64::from(dice.below(9) as u8) - 4),
        6 => OpType::Increment(i64::MIN),
        7 => OpType::Put(ScalarValue::Counter(5.into())),
        8 => OpType::Put(ScalarValue::Str(["", "x", "two"][dice.below(3)].into())),
        9 => OpType::Put(ScalarValue::Null),
        10 => OpType::Put(ScalarValue::Unknown {
            type_code: 11,
            bytes: vec![0xff],
        }),
        11 => OpType::MarkBegin(MarkData {
            name,
            value: true.into(),
            expand: true,
        }),
        12 => OpType::MarkBegin(MarkData {
            name,
            value: ScalarValue::Null,
            expand: false,
        }),
        _ => OpType::MarkEnd(dice.below(2) == 0),
    }
}

fn load(saved: &[u8]) -> Segment {
    Segment::load(&CONVERSATION, 0, saved).unwrap()
}

fn merge(segment: &mut Segment, bytes: &[u8]) -> Outcome {
    let incoming = Incoming {
        actor: actor(1),
        author_tag: [1; 8],
        changes: vec![bytes.to_vec()],
    };
    segment.merge(std::slice::from_ref(&incoming)).remove(0)
}

/// A segment that took a mutant is a segment like any other.
fn survives(
    segment: &mut Segment,
    before: &[sheaf_replica::document::StoredMessage],
    number: u32,
    mutant: &[u8],
) {
    let context = || format!("mutant {number}: {mutant:02x?}");
    for stored in before {
        assert_eq!(
            segment.message(&stored.message.id).as_ref(),
            Some(stored),
            "{}",
            context()
        );
    }
    let bytes = segment
        .save()
        .unwrap_or_else(|error| panic!("{error}: {}", context()));
    let mut loaded = Segment::load(&CONVERSATION, 0, &bytes)
        .unwrap_or_else(|error| panic!("{error}: {}", context()));
    assert_eq!(loaded.heads(), segment.heads(), "{}", context());
    assert!(loaded.messages().eq(segment.messages()), "{}", context());
    assert!(
        same(&loaded.map_snapshot(), &segment.map_snapshot()),
        "{}",
        context()
    );
    for device in [1, 2] {
        loaded
            .append(actor(device), &[message(device, 90)])
            .unwrap();
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
    assert!(loaded.save().is_ok(), "{}", context());
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
