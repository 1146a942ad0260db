use super::*;

#[test]
fn messages_come_back_in_order() {
    let mut segment = fresh();
    let mut late = text(1, 50, "late");
    late.reply_to = Some(id(2, 49));
    late.kind = MessageKind::System;
    late.origin = Some(Origin {
        author: "crimsun".to_owned(),
        time_ms: -4,
    });
    segment
        .append(actor(1), &[late.clone(), text(1, 20, "early")])
        .unwrap();
    segment.append(actor(2), &[text(2, 30, "between")]).unwrap();
    let stored: Vec<_> = segment.messages().collect();
    assert_eq!(
        stored
            .iter()
            .map(|one| one.message.text.as_str())
            .collect::<Vec<_>>(),
        ["early", "between", "late"]
    );
    assert_eq!(stored[1].actor, actor(2));
    assert_eq!(stored[2].message, late);
    assert_eq!(segment.message_count(), 3);
}

#[test]
fn a_saved_segment_is_the_same_segment() {
    let mut segment = fresh();
    for ms in 1..60 {
        segment
            .append(actor((ms % 3) as u8), &[text((ms % 3) as u8, ms, "words")])
            .unwrap();
    }
    let saved = segment.save().unwrap();
    let mut loaded = Segment::load(&CONVERSATION, 0, &saved).unwrap();
    assert_eq!(loaded.heads(), segment.heads());
    assert!(loaded.messages().eq(segment.messages()));
    let next = loaded.append(actor(1), &[text(1, 99, "on")]).unwrap();
    assert!(applied(&segment.merge(&[from(1, &[&next])])));
    assert!(matches!(
        Segment::load(&CONVERSATION, 1, &saved),
        Err(DocumentError::Snapshot)
    ));
    assert!(matches!(
        Segment::load(&CONVERSATION, 0, &saved[1..]),
        Err(DocumentError::Snapshot)
    ));
    assert!(matches!(
        Segment::load(&CONVERSATION, 0, b""),
        Err(DocumentError::Snapshot)
    ));
}

#[test]
fn an_envelope_is_taken_whole_or_waits_whole() {
    let mut here = fresh();
    let one = here.append(actor(1), &[text(1, 1, "one")]).unwrap();
    let two = here.append(actor(1), &[text(1, 2, "two")]).unwrap();
    let three = here.append(actor(2), &[text(2, 3, "three")]).unwrap();
    let mut there = fresh();
    assert_eq!(
        there.merge(&[from(2, &[&three])]),
        [Outcome::Missing(vec![two.hash])]
    );
    assert_eq!(
        there.merge(&[from(1, &[&two, &one])]),
        [Outcome::Missing(vec![one.hash])]
    );
    assert_eq!(there.message_count(), 0);
    // Any order within a batch.
    let outcomes = there.merge(&[
        from(2, &[&three]),
        from(1, &[&two]),
        from(1, &[&one]),
        from(1, &[&one]),
    ]);
    assert_eq!(
        outcomes,
        [
            Outcome::Applied {
                messages: three.messages.clone(),
                changed_document: false
            },
            Outcome::Applied {
                messages: two.messages.clone(),
                changed_document: false
            },
            Outcome::Applied {
                messages: one.messages.clone(),
                changed_document: false
            },
            Outcome::Duplicate,
        ]
    );
    assert_eq!(there.heads(), here.heads());
    assert!(there.contains_change(&two.hash));
    assert_eq!(there.changes_after(&[one.hash]), [two.bytes, three.bytes]);
}

#[test]
fn one_bad_change_spoils_its_envelope_only() {
    let mut here = fresh();
    let one = here.append(actor(1), &[text(1, 1, "one")]).unwrap();
    let two = here.append(actor(1), &[text(9, 2, "not mine")]).unwrap();
    let mut other = fresh();
    let three = other.append(actor(2), &[text(2, 3, "three")]).unwrap();
    let mut there = fresh();
    let outcomes = there.merge(&[from(1, &[&one, &two]), from(2, &[&three])]);
    assert_eq!(outcomes[0], Outcome::Refused(Refusal::ForeignMessage));
    assert!(applied(&outcomes[1..]));
    assert!(!there.contains_change(&one.hash));
    assert!(applied(&there.merge(&[from(1, &[&one])])));
}

#[test]
fn of_one_id_written_twice_at_once_all_devices_show_one() {
    let (mut left, mut right) = (fresh(), fresh());
    let one = left.append(actor(1), &[text(1, 1, "one")]).unwrap();
    let two = right.append(actor(3), &[text(1, 1, "two")]).unwrap();
    let second = Incoming {
        actor: actor(3),
        ..from(1, &[&two])
    };
    let first = from(1, &[&one]);
    left.merge(std::slice::from_ref(&second));
    right.merge(std::slice::from_ref(&first));
    assert_eq!(left.heads(), right.heads());
    assert!(left.messages().eq(right.messages()));
    assert_eq!(left.message_count(), 1);
    let loaded = Segment::load(&CONVERSATION, 0, &left.save().unwrap()).unwrap();
    assert!(left.messages().eq(loaded.messages()));
}

#[test]
fn a_local_append_obeys_the_gate() {
    let mut segment = fresh();
    let refusal = |result: Result<LocalChange, DocumentError>| match result {
        Err(DocumentError::Refused(refusal)) => Some(refusal),
        _ => None,
    };
    let heads = segment.heads();
    assert!(matches!(
        segment.append(actor(1), &[]),
        Err(DocumentError::Empty)
    ));
    let long = text(1, 1, &"x".repeat(TEXT_BYTES_MAX + 1));
    assert_eq!(
        refusal(segment.append(actor(1), &[long])),
        Some(Refusal::MessageBounds)
    );
    let twice = [text(1, 1, "a"), text(1, 1, "b")];
    assert_eq!(
        refusal(segment.append(actor(1), &twice)),
        Some(Refusal::MessageExists)
    );
    let many: Vec<_> = (1..=129).map(|ms| text(1, ms, "a")).collect();
    assert_eq!(
        refusal(segment.append(actor(1), &many)),
        Some(Refusal::MessageBounds)
    );
    let mut backward = text(1, 1, "a");
    backward.reply_to = Some(id(2, 1));
    assert_eq!(
        refusal(segment.append(actor(1), &[backward])),
        Some(Refusal::ReplyOrder)
    );
    let fat: Vec<_> = (1..=20)
        .map(|ms| text(1, ms, &"x".repeat(TEXT_BYTES_MAX)))
        .collect();
    assert_eq!(
        refusal(segment.append(actor(1), &fat)),
        Some(Refusal::TooLong)
    );
    assert_eq!(segment.heads(), heads);
    segment.append(actor(1), &many[..128]).unwrap();
    assert_eq!(
        refusal(segment.append(actor(1), &many[..1])),
        Some(Refusal::MessageExists)
    );
    assert_eq!(segment.message_count(), 128);
}

#[test]
fn an_author_has_a_share_and_no_more() {
    let mut segment = fresh();
    let words = "x".repeat(TEXT_BYTES_MAX);
    let mut ms = 0;
    let refused = loop {
        let batch: Vec<_> = (1..=9).map(|more| text(1, ms + more, &words)).collect();
        ms += 9;
        if let Err(error) = segment.append(actor(1), &batch) {
            break error;
        }
    };
    assert!(matches!(
        refused,
        DocumentError::Refused(Refusal::AuthorShare)
    ));
    assert!(ms > 400, "the share holds {ms} of the longest messages");
    segment
        .append(actor(2), &[text(2, 1, "there is room for others")])
        .unwrap();
}

#[test]
fn a_batch_in_reverse_costs_no_more_than_a_batch() {
    let mut here = fresh();
    let mut batch: Vec<_> = (1..3_000)
        .map(|ms| {
            from(
                (ms % 3) as u8,
                &[&here
                    .append(actor((ms % 3) as u8), &[text((ms % 3) as u8, ms, "m")])
                    .unwrap()],
            )
        })
        .collect();
    batch.reverse();
    let mut there = fresh();
    let started = std::time::Instant::now();
    assert!(applied(&there.merge(&batch)));
    assert!(started.elapsed().as_secs() < 5);
    assert_eq!(there.heads(), here.heads());
}
