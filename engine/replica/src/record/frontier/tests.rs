use sheaf_crypto::{ConversationId, DeviceId, OperationId, RunId};

use super::FrontierRecord;
use crate::record::{Kind, Row, check};

fn record(ahead: Vec<(DeviceId, RunId, u64)>) -> FrontierRecord {
    FrontierRecord {
        conversation: ConversationId([1; 32]),
        device: DeviceId([2; 32]),
        seen: vec![(0, 7)],
        substance: vec![(1, 8)],
        begun: vec![(1, OperationId([3; 32]), 4)],
        differs: vec![5],
        ahead,
    }
}

#[test]
fn both_versions_are_read_and_the_second_is_written_only_where_it_is_needed() {
    let ahead = vec![(DeviceId([6; 32]), RunId([7; 16]), 9)];
    for (version, known) in [(1, record(Vec::new())), (2, record(ahead))] {
        let write = known.write();
        assert_eq!(write.key.kind, Kind::Frontier);
        let value = write.value.unwrap();
        assert_eq!(value.first(), Some(&version));
        assert_eq!(FrontierRecord::decode(&value).unwrap(), known);
        let (kind, order) = (write.key.kind, write.key.order);
        check(&Row { kind, order, value }).unwrap();
    }
    assert!(FrontierRecord::decode(&[3]).is_err());
}
