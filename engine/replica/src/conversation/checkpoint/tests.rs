use sheaf_protocol::{Cursor, History, LogId, TopicId};

use super::*;

fn statement() -> (RelayId, Statement) {
    let statement = Statement {
        topic: TopicId([1; 32]),
        cursor: Cursor {
            log: LogId(2),
            sequence: 3,
        },
        history: History([4; 32]),
        signature: vec![5; 64],
    };
    (RelayId([6; 32]), statement)
}

#[test]
fn every_version_is_read_and_a_later_one_is_left_alone() {
    let first = CheckpointBody {
        documents: vec![(7, [8; 32])],
        ..CheckpointBody::default()
    };
    let second = CheckpointBody {
        statements: vec![statement()],
        documents: first.documents.clone(),
        ..CheckpointBody::default()
    };
    let third = CheckpointBody {
        documents: first.documents.clone(),
        statements: second.statements.clone(),
        verified: Some(ItemId([9; 32])),
        unread: Some(false),
        ..CheckpointBody::default()
    };
    let unread = CheckpointBody {
        unread: Some(true),
        ..CheckpointBody::default()
    };
    for (body, version) in [
        (first, FIRST),
        (second, SECOND),
        (third, THIRD),
        (unread, THIRD),
    ] {
        let mut bytes = body.encode().unwrap();
        assert_eq!(bytes[0], version);
        assert_eq!(CheckpointBody::decode(&bytes), Some(body));
        bytes.push(0);
        assert_eq!(CheckpointBody::decode(&bytes), None);
        bytes[0] = THIRD + 1;
        assert_eq!(CheckpointBody::decode(&bytes), None);
    }
}
