//! Changes that Automerge takes badly, made by hand (research: hostile input, measured).

use automerge::legacy::{Key, ObjectId as LegacyObject, Op, OpId, OpType, SortedVec};
use automerge::{ActorId, Change, ChangeHash, ExpandedChange, ObjType, ScalarValue};

use super::*;

/// A change of device 1 that puts a key into the application state, to be bent.
fn honest(segment: &Segment) -> ExpandedChange {
    ExpandedChange {
        operations: vec![put("k", "v")],
        actor_id: ActorId::from(actor(1)),
        hash: None,
        seq: 1,
        start_op: 35.try_into().unwrap(),
        time: 0,
        message: None,
        deps: segment.heads().into_iter().map(ChangeHash).collect(),
        extra_bytes: Vec::new(),
        author: None,
    }
}

fn genesis_op(segment: &Segment, counter: u64) -> LegacyObject {
    LegacyObject::Id(OpId(counter, ActorId::from(*segment.key().actor())))
}

fn put(key: &str, value: &str) -> Op {
    Op {
        action: OpType::Put(ScalarValue::Str(value.into())),
        obj: genesis_op(&fresh(), 34),
        key: Key::Map(key.into()),
        pred: SortedVec::new(),
        insert: false,
    }
}

fn verdict(segment: &mut Segment, change: ExpandedChange) -> Outcome {
    let bytes = Change::from(change).raw_bytes().to_vec();
    verdict_of(segment, bytes)
}

fn verdict_of(segment: &mut Segment, bytes: Vec<u8>) -> Outcome {
    let incoming = Incoming {
        actor: actor(1),
        author_tag: tag(1),
        changes: vec![bytes],
    };
    segment.merge(&[incoming]).remove(0)
}

fn refused(bend: impl FnOnce(&mut ExpandedChange)) -> Refusal {
    hush();
    let mut segment = fresh();
    let heads = segment.heads();
    let mut change = honest(&segment);
    bend(&mut change);
    let outcome = verdict(&mut segment, change);
    let Outcome::Refused(refusal) = outcome else {
        panic!("not refused: {outcome:?}")
    };
    assert_eq!(segment.heads(), heads);
    segment
        .append(actor(2), &[text(2, 1, "still alive")])
        .unwrap();
    refusal
}

#[test]
fn the_change_to_bend_is_honest() {
    let mut segment = fresh();
    let change = honest(&segment);
    assert!(applied(&[verdict(&mut segment, change)]));
}

#[test]
fn counters_that_do_not_follow() {
    assert_eq!(
        refused(|change| change.start_op = u64::from(u32::MAX).try_into().unwrap()),
        Refusal::OpCounter
    );
    assert_eq!(
        refused(|change| change.start_op = u64::MAX.try_into().unwrap()),
        Refusal::OpCounter
    );
    assert_eq!(
        refused(|change| change.start_op = 36.try_into().unwrap()),
        Refusal::StartOp
    );
    assert_eq!(
        refused(|change| change.start_op = 1.try_into().unwrap()),
        Refusal::StartOp
    );
    assert_eq!(refused(|change| change.seq = 2), Refusal::Sequence);
    assert_eq!(refused(|change| change.seq = 0), Refusal::Sequence);
    assert_eq!(refused(|change| change.seq = u64::MAX), Refusal::Sequence);
}

#[test]
fn more_than_a_change_of_ours_carries() {
    assert_eq!(refused(|change| change.time = 5), Refusal::Extra);
    assert_eq!(
        refused(|change| change.message = Some("m".to_owned())),
        Refusal::Extra
    );
    assert_eq!(
        refused(|change| change.extra_bytes = vec![1, 1, 7]),
        Refusal::Extra
    );
    assert_eq!(refused(|change| change.operations.clear()), Refusal::Empty);
    assert_eq!(refused(|change| change.deps.clear()), Refusal::Dependencies);
    assert_eq!(
        refused(|change| change.deps.push(change.deps[0])),
        Refusal::Dependencies
    );
    assert_eq!(
        refused(|change| change.actor_id = ActorId::from(actor(2))),
        Refusal::ForeignActor
    );
    assert_eq!(
        refused(|change| change.operations = vec![put("k", "v"); 17_000]),
        Refusal::TooManyOps
    );
    let long = "x".repeat(70_000);
    assert_eq!(
        refused(|change| change.operations = vec![put("k", &long); 5]),
        Refusal::TooLong
    );
}

#[test]
fn objects_that_are_not_the_application_state() {
    // The root, the map of shards, a shard, an object that nobody made, one of another document.
    let obj = |obj: LegacyObject| refused(|change| change.operations[0].obj = obj);
    let segment = fresh();
    assert_eq!(obj(LegacyObject::Root), Refusal::UnknownObject);
    for counter in [1, 2, 33, 35, 36, 99] {
        assert_eq!(obj(genesis_op(&segment, counter)), Refusal::UnknownObject);
    }
    assert_eq!(
        obj(LegacyObject::Id(OpId(40, ActorId::from(actor(1))))),
        Refusal::UnknownObject
    );
    assert_eq!(
        obj(LegacyObject::Id(OpId(34, ActorId::from([1_u8; 3])))),
        Refusal::UnknownObject
    );
}

#[test]
fn operations_that_refer_to_nothing() {
    let device = ActorId::from(actor(1));
    let pred = |counter| {
        refused(|change| change.operations[0].pred = vec![OpId(counter, device.clone())].into())
    };
    assert_eq!(pred(34), Refusal::UnknownOperation);
    assert_eq!(pred(35), Refusal::UnknownOperation);
    assert_eq!(pred(u64::from(u32::MAX)), Refusal::UnknownOperation);
    assert_eq!(
        refused(|change| {
            change.operations.push(put("other", "w"));
            change.operations[1].pred = vec![OpId(35, device.clone())].into();
        }),
        Refusal::UnknownOperation
    );
    assert_eq!(
        refused(|change| change.operations[0].action = OpType::Delete),
        Refusal::WrongOperation
    );
    assert_eq!(
        refused(|change| change.operations[0].action = OpType::Increment(1)),
        Refusal::WrongOperation
    );
    assert_eq!(
        refused(|change| change.operations[0].insert = true),
        Refusal::WrongOperation
    );
    assert_eq!(
        refused(|change| change.operations[0].key = Key::head()),
        Refusal::WrongOperation
    );
    assert_eq!(
        refused(|change| change.operations[0].action = OpType::MarkEnd(true)),
        Refusal::WrongOperation
    );
    assert_eq!(
        refused(|change| change.operations[0].action = OpType::Make(ObjType::Table)),
        Refusal::WrongOperation
    );
    let unknown = ScalarValue::Unknown {
        type_code: 12,
        bytes: vec![1],
    };
    assert_eq!(
        refused(|change| change.operations[0].action = OpType::Put(unknown)),
        Refusal::WrongOperation
    );
    let counter = ScalarValue::Counter(i64::MAX.into());
    assert_eq!(
        refused(|change| change.operations[0].action = OpType::Put(counter)),
        Refusal::StateBounds
    );
}

#[test]
fn a_reference_must_be_in_the_causal_past_not_only_here() {
    // Device 2 makes a list; device 1, who has not seen it, writes into it all the same.
    let mut segment = fresh();
    let made = segment
        .change(actor(2), |tx| {
            tx.put_object(&ObjectId::ROOT, "list", ObjType::Map)
                .map(|_| ())
        })
        .unwrap()
        .unwrap();
    let mut change = honest(&fresh());
    change.operations[0].obj = LegacyObject::Id(OpId(35, ActorId::from(actor(2))));
    assert_eq!(
        verdict(&mut segment, change.clone()),
        Outcome::Refused(Refusal::UnknownObject)
    );
    change.deps = vec![ChangeHash(made.hash)];
    change.start_op = 36.try_into().unwrap();
    assert!(applied(&[verdict(&mut segment, change)]));
}

#[test]
fn two_changes_with_one_number_are_proof_and_do_not_wedge() {
    let (mut left, mut right) = (fresh(), fresh());
    let one = left.append(actor(1), &[text(1, 1, "one")]).unwrap();
    let two = right.append(actor(1), &[text(1, 2, "two")]).unwrap();
    let other = right
        .append(actor(2), &[text(2, 3, "on top of two")])
        .unwrap();
    let honest = fresh().append(actor(3), &[text(3, 4, "three")]).unwrap();
    let mut there = fresh();
    let outcomes = there.merge(&[
        from(1, &[&one]),
        from(1, &[&two]),
        from(2, &[&other]),
        from(3, &[&honest]),
    ]);
    assert!(matches!(outcomes[0], Outcome::Applied { .. }));
    assert_eq!(outcomes[1], Outcome::Refused(Refusal::Equivocation));
    assert_eq!(outcomes[2], Outcome::Missing(vec![two.hash]));
    assert!(matches!(outcomes[3], Outcome::Applied { .. }));
}

#[test]
fn nobody_writes_as_the_first_change() {
    let mut segment = fresh();
    let genesis = *segment.key().actor();
    let mut change = honest(&segment);
    change.actor_id = ActorId::from(genesis);
    change.seq = 2;
    let bytes = Change::from(change).raw_bytes().to_vec();
    let incoming = Incoming {
        actor: genesis,
        author_tag: tag(1),
        changes: vec![bytes],
    };
    assert_eq!(
        segment.merge(&[incoming]),
        [Outcome::Refused(Refusal::ForeignActor)]
    );
    let own = segment.append(genesis, &[text(1, 1, "a")]);
    assert!(matches!(
        own,
        Err(DocumentError::Refused(Refusal::ForeignActor))
    ));
}

#[test]
fn compressed_chunks_and_documents_never_reach_automerge() {
    let mut segment = fresh();
    let mut other = fresh();
    let long = "long ".repeat(500);
    let change = other.append(actor(1), &[text(1, 1, &long)]).unwrap();
    let deflated = Change::from_bytes(change.bytes.clone())
        .unwrap()
        .bytes()
        .into_owned();
    assert_eq!(deflated[8], 2);
    for bytes in [
        deflated,
        other.save().unwrap(),
        Vec::new(),
        vec![0x85, 0x6f, 0x4a, 0x83],
    ] {
        assert_eq!(
            verdict_of(&mut segment, bytes),
            Outcome::Refused(Refusal::Malformed)
        );
    }
    let twice = [&change.bytes[..], &change.bytes[..]].concat();
    assert_eq!(
        verdict_of(&mut segment, twice),
        Outcome::Refused(Refusal::Malformed)
    );
}

#[test]
fn a_flood_of_orphans_stays_outside() {
    let mut far = fresh();
    let changes: Vec<_> = (1..400)
        .map(|ms| far.append(actor(1), &[text(1, ms, "o")]).unwrap())
        .collect();
    let mut segment = fresh();
    let orphans: Vec<_> = changes[1..]
        .iter()
        .map(|change| from(1, &[change]))
        .collect();
    let outcomes = segment.merge(&orphans);
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, Outcome::Missing(_)))
    );
    assert_eq!(segment.heads(), fresh().heads());
    assert!(segment.save().unwrap().len() < 400);
}

#[test]
fn a_text_whose_mark_ends_before_it_begins() {
    hush();
    let mut segment = fresh();
    segment
        .change(actor(1), |tx| {
            let text = tx.put_object(&ObjectId::ROOT, "t", ObjType::Text)?;
            tx.splice_text(&text, 0, 0, "abc")
        })
        .unwrap();
    let device = ActorId::from(actor(1));
    let mut change = honest(&segment);
    change.seq = 2;
    change.start_op = 39.try_into().unwrap();
    let mark = automerge::legacy::MarkData {
        name: "b".into(),
        value: true.into(),
        expand: false,
    };
    let anchor = |counter, action| Op {
        action,
        obj: LegacyObject::Id(OpId(35, device.clone())),
        key: Key::Seq(automerge::legacy::ElementId::Id(OpId(
            counter,
            device.clone(),
        ))),
        pred: SortedVec::new(),
        insert: true,
    };
    change.operations = vec![
        anchor(38, OpType::MarkBegin(mark)),
        anchor(36, OpType::MarkEnd(false)),
    ];
    let outcome = verdict(&mut segment, change);
    assert_eq!(outcome, Outcome::Refused(Refusal::NotApplicable));
    segment.save().unwrap();
}
