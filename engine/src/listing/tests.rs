use sheaf_replica::MessageId;
use sheaf_replica::document::HybridTime;

use super::Covered;

fn at(ms: u64) -> MessageId {
    MessageId::new(HybridTime::new(ms, 0).unwrap(), [0; 8])
}

fn covered(after: Option<u64>, before: Option<u64>) -> Covered {
    Covered {
        after: after.map(at),
        before: before.map(at),
        segments: 2..=4,
    }
}

#[test]
fn a_segment_whose_messages_are_known_is_missing_where_they_overlap_the_page() {
    let page = covered(Some(10), Some(20));
    let span = |oldest, newest| Some((at(oldest), at(newest)));
    for (oldest, newest) in [(1, 11), (19, 30), (12, 15), (1, 30)] {
        assert!(
            page.may_hold(9, span(oldest, newest)),
            "{oldest} to {newest}"
        );
    }
    // The cursors themselves are no part of it.
    for (oldest, newest) in [(1, 10), (20, 30), (1, 9)] {
        assert!(
            !page.may_hold(3, span(oldest, newest)),
            "{oldest} to {newest}"
        );
    }
    assert!(covered(None, Some(20)).may_hold(9, span(1, 2)));
    assert!(covered(Some(10), None).may_hold(9, span(30, 31)));
}

#[test]
fn a_segment_that_was_never_here_is_missing_where_its_place_is_in_the_page() {
    let page = covered(None, None);
    assert!(!page.may_hold(1, None));
    assert!((2..=4).all(|segment| page.may_hold(segment, None)));
    assert!(!page.may_hold(5, None));
}
