use std::collections::BTreeMap;

use automerge::ObjType;

use super::*;

fn map(entries: &[(&str, Value)]) -> Value {
    Value::Map(
        entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect(),
    )
}

/// Every kind of operation that the wrapper offers.
fn edit_everything(segment: &mut Segment, device: u8) -> Vec<LocalChange> {
    let mut changes = Vec::new();
    let mut edit =
        |segment: &mut Segment,
         edit: &dyn Fn(&mut DocumentTransaction<'_, '_>) -> Result<(), DocumentError>| {
            changes.push(segment.change(actor(device), edit).unwrap().unwrap());
        };
    let root = ObjectId::ROOT;
    edit(segment, &|tx| {
        tx.put(&root, "topic", "north field")?;
        tx.put(&root, "count", Scalar::Counter(3))?;
        tx.put(&root, "topic", "south field")?;
        let text = tx.put_object(&root, "text", ObjType::Text)?;
        tx.splice_text(&text, 0, 0, "hello wörld")?;
        tx.mark(&text, 0..5, "bold", true)?;
        let list = tx.put_object(&root, "list", ObjType::List)?;
        for index in 0..4 {
            tx.insert(&list, index, i64::try_from(index).unwrap())?;
        }
        let inner = tx.insert_object(&list, 1, ObjType::Map)?;
        tx.put(&inner, "k", Scalar::Null)
    });
    edit(segment, &|tx| {
        tx.increment(&root, "count", 4)?;
        tx.increment(&root, "count", -1)
    });
    edit(segment, &|tx| {
        let text = tx.object(&root, "text")?.unwrap();
        tx.splice_text(&text, 6, 2, "W")?;
        tx.mark(&text, 2..8, "italic", "yes")?;
        tx.unmark(&text, 0..2, "bold")?;
        tx.splice_text(&text, 3, 0, "XX")
    });
    edit(segment, &|tx| {
        let list = tx.object(&root, "list")?.unwrap();
        tx.delete(&list, 0usize)?;
        tx.put(&list, 2usize, Scalar::Float(0.5))?;
        tx.put(&list, 2usize, Scalar::Bytes(vec![1, 2]))?;
        tx.put(&root, "count", Scalar::Counter(100))?;
        tx.increment(&root, "count", 1)?;
        tx.put(&root, "gone", Scalar::Timestamp(9))?;
        tx.delete(&root, "gone")
    });
    edit(segment, &|tx| tx.delete(&root, "text"));
    changes
}

#[test]
fn the_application_state_is_kept_and_merged() {
    let mut here = fresh();
    let changes = edit_everything(&mut here, 1);
    let expected = map(&[
        ("topic", Value::String("south field".to_owned())),
        ("count", Value::Counter(101)),
        (
            "list",
            Value::List(vec![
                map(&[("k", Value::Null)]),
                Value::Int(1),
                Value::Bytes(vec![1, 2]),
                Value::Int(3),
            ]),
        ),
    ]);
    assert!(here.map_snapshot() == expected);
    let mut there = fresh();
    let outcomes = there.merge(&[from(1, &changes.iter().collect::<Vec<_>>())]);
    assert_eq!(
        outcomes,
        [Outcome::Applied {
            messages: vec![],
            changed_document: true
        }]
    );
    assert!(there.map_snapshot() == expected);
    assert_eq!(there.heads(), here.heads());
    let loaded = Segment::load(&CONVERSATION, 0, &there.save().unwrap()).unwrap();
    assert!(loaded.map_snapshot() == expected);
}

#[test]
fn edits_at_the_same_time_pass_each_others_gates() {
    let (mut left, mut right) = (fresh(), fresh());
    let one = edit_everything(&mut left, 1);
    let two = edit_everything(&mut right, 2);
    assert!(applied(
        &left.merge(&[from(2, &two.iter().collect::<Vec<_>>())])
    ));
    assert!(applied(
        &right.merge(&[from(1, &one.iter().collect::<Vec<_>>())])
    ));
    let three = edit_everything(&mut left, 1);
    let four = edit_everything(&mut right, 2);
    assert!(applied(
        &left.merge(&[from(2, &four.iter().collect::<Vec<_>>())])
    ));
    assert!(applied(
        &right.merge(&[from(1, &three.iter().collect::<Vec<_>>())])
    ));
    assert_eq!(left.heads(), right.heads());
    assert!(left.map_snapshot() == right.map_snapshot());
    left.save().unwrap();
}

#[test]
fn an_edit_that_fails_changes_nothing() {
    let mut segment = fresh();
    let heads = segment.heads();
    let failed = segment.change(actor(1), |tx| {
        tx.put(&ObjectId::ROOT, "a", true)?;
        tx.insert(&ObjectId::ROOT, 0, true)
    });
    assert!(matches!(failed, Err(DocumentError::Operation(_))));
    assert_eq!(segment.heads(), heads);
    assert!(segment.map_snapshot() == Value::Map(BTreeMap::new()));
    assert!(segment.change(actor(1), |_| Ok(())).unwrap().is_none());
}

#[test]
fn what_others_would_refuse_is_not_written() {
    let mut segment = fresh();
    let heads = segment.heads();
    let long = "x".repeat(65 * 1024);
    let refused = segment.change(actor(1), |tx| tx.put(&ObjectId::ROOT, "a", long));
    assert!(matches!(
        refused,
        Err(DocumentError::Refused(Refusal::StateBounds))
    ));
    let deep = segment.change(actor(1), |tx| {
        let mut object = ObjectId::ROOT;
        for _ in 0..40 {
            object = tx.put_object(&object, "in", ObjType::Map)?;
        }
        Ok(())
    });
    assert!(matches!(
        deep,
        Err(DocumentError::Refused(Refusal::StateBounds))
    ));
    assert_eq!(segment.heads(), heads);
}

#[test]
fn messages_are_out_of_reach() {
    let mut segment = fresh();
    segment.append(actor(1), &[text(1, 5, "mine")]).unwrap();
    let mut leaked = None;
    segment
        .change(actor(1), |tx| {
            leaked = Some(tx.put_object(&ObjectId::ROOT, "m", ObjType::Map)?);
            Ok(())
        })
        .unwrap();
    // The same operation makes a message in another segment.
    let mut other = fresh();
    while other.message_count() < 40 {
        let ms = u64::from(other.message_count()) + 1;
        other.append(actor(1), &[text(1, ms, "theirs")]).unwrap();
    }
    let leaked = leaked.unwrap();
    let refused = other.change(actor(1), |tx| tx.put(&leaked, "text", "forged"));
    assert!(refused.is_err());
    assert!(
        other
            .messages()
            .all(|stored| stored.message.text == "theirs")
    );
}
