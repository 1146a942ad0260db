use sheaf_crypto::ConversationId;

use super::{Away, AwayRecord, FIRST, SECOND};
use crate::document::{HybridTime, MessageId};

fn record(span: Option<(MessageId, MessageId)>) -> AwayRecord {
    AwayRecord {
        conversation: ConversationId([42; 32]),
        segment: 7,
        why: Away::Dropped,
        upto: vec![(3, 44)],
        span,
    }
}

#[test]
fn the_first_version_is_read_and_written_where_it_says_all() {
    let before = [[FIRST].as_slice(), &[42; 32], &[7, 0, 1, 3, 44]].concat();
    let known = record(None);
    assert_eq!(AwayRecord::decode(&before).unwrap(), known);
    assert_eq!(known.write().value.unwrap(), before);
}

#[test]
fn the_second_version_says_which_messages_there_were() {
    let at = |ms| MessageId::new(HybridTime::new(ms, 0).unwrap(), [9; 8]);
    let known = record(Some((at(1), at(2))));
    let written = known.write().value.unwrap();
    assert_eq!(written.first(), Some(&SECOND));
    assert_eq!(AwayRecord::decode(&written).unwrap(), known);
    assert!(AwayRecord::decode(&written[..written.len() - 1]).is_err());
}
