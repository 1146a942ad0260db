use sheaf_protocol::{Class, Cursor, History, LogId, RelayId, TopicId};

use super::{CursorRecord, FIRST, FirstCursorRecord, FirstOutboxRecord, OutboxRecord, Place};
use crate::record::{Kind, Row, check, encode_version};

const CURSOR: Cursor = Cursor {
    log: LogId(7),
    sequence: 3,
};

#[test]
fn a_cursor_of_one_relay_is_read_as_nobodys() {
    let old = FirstCursorRecord {
        topic: TopicId([1; 32]),
        cursor: CURSOR,
        caught_up: true,
    };
    let value = encode_version(FIRST, &old);
    let read = CursorRecord::decode(&value).unwrap();
    assert_eq!(
        (read.relay, read.cursor, read.caught_up),
        (None, CURSOR, true)
    );
    let row = Row {
        kind: Kind::Cursor,
        order: Vec::new(),
        value,
    };
    assert!(check(&row).is_ok());
}

#[test]
fn a_cursor_names_its_relay() {
    let record = CursorRecord {
        topic: TopicId([1; 32]),
        cursor: CURSOR,
        caught_up: true,
        relay: Some(RelayId([2; 32])),
        replaced: true,
        highest: 5,
        history: Some(History([6; 32])),
        statement: None,
    };
    let write = record.write();
    assert_eq!(write.key.order, [2; 32]);
    assert_eq!(CursorRecord::decode(&write.value.unwrap()).unwrap(), record);
    assert!(CursorRecord::decode(&[4, 0, 0]).is_err());
}

#[test]
fn an_outbox_entry_of_before_goes_anywhere() {
    let old = FirstOutboxRecord {
        number: 9,
        topic: TopicId([1; 32]),
        inbox_seed: Vec::new(),
        class: Class::Log,
        conversation: None,
        messages: Vec::new(),
        record: vec![1, 2, 3],
    };
    let read = OutboxRecord::decode(&encode_version(FIRST, &old)).unwrap();
    assert_eq!((read.number, read.record.len()), (9, 3));
    assert!(read.place.is_none() && read.relays.is_empty());
    let place = Place {
        conversation: sheaf_crypto::ConversationId([4; 32]),
        chain: 1,
        seq: 2,
    };
    let now = OutboxRecord {
        place: Some(place),
        ..read
    };
    let again = OutboxRecord::decode(&now.write().value.unwrap()).unwrap();
    assert_eq!(again.place, Some(place));
}
