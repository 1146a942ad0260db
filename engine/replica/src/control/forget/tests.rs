use std::collections::BTreeSet;

use sheaf_crypto::OperationId;

use super::super::cut::Cut;
use super::super::view::View;
use super::{Forgetting, check, in_vain, reads};
use crate::limits::{SEGMENTS_MAX, WINDOW_SEGMENTS};

fn id(number: u8) -> OperationId {
    OperationId([number; 32])
}

/// Operations in one line, by their numbers.
fn saw(later: &OperationId, earlier: &OperationId) -> bool {
    later >= earlier
}

/// Cuts 10 and 20, forgotten by 12 and 22.
fn view() -> View {
    let mut view = View::default();
    for (number, window) in [(10, 0), (20, 1)] {
        let segment = SEGMENTS_MAX + window * WINDOW_SEGMENTS;
        let stands = true;
        view.cuts.insert(id(number), Cut { segment, stands });
        let forgetting = Forgetting {
            cut: id(number),
            stands,
        };
        view.forgets.insert(id(number + 2), forgetting);
    }
    view
}

#[test]
fn who_came_before_a_statement_reads_on_and_who_comes_after_begins_at_its_cut() {
    let view = view();
    let from = |attachments: &[u8], cut: Option<u8>| {
        let attachments: BTreeSet<_> = attachments.iter().map(|number| id(*number)).collect();
        reads(&view, Some(&attachments), cut.map(id).as_ref(), &saw)
    };
    for early in [1, 11] {
        assert!(from(&[early], None), "{early}");
    }
    for between in [12, 21] {
        assert!(!from(&[between], None), "{between}");
        assert!(!from(&[between], Some(9)), "{between}");
        assert!(from(&[between], Some(10)), "{between}");
    }
    assert!(!from(&[30], Some(10)));
    assert!(from(&[30], Some(20)));
    // Of a device that was attached twice the earlier time counts as well.
    assert!(from(&[1, 30], None));
    // Who is not attached yet will come after everything.
    assert!(!from(&[], Some(10)));
    assert!(from(&[], Some(20)));
    assert!(!reads(&view, None, None, &saw));
    assert!(reads(&View::default(), None, None, &saw));
}

#[test]
fn only_a_cut_that_stands_alone_is_forgotten_before() {
    let mut view = view();
    assert!(check(&view, &id(10)).is_ok());
    assert!(check(&view, &id(11)).is_err());
    let twin = *view.cuts.get(&id(10)).unwrap();
    view.cuts.insert(id(15), twin);
    assert!(check(&view, &id(10)).is_err());
    assert!(check(&view, &id(15)).is_err());
    let void = view.cuts.get_mut(&id(20)).unwrap();
    void.stands = false;
    assert!(check(&view, &id(20)).is_err());
}

#[test]
fn what_shares_its_window_comes_to_nothing_until_a_later_one_makes_up_for_it() {
    let mut view = view();
    assert!(in_vain(&view, &saw).is_empty());
    let twin = *view.cuts.get(&id(20)).unwrap();
    view.cuts.insert(id(15), twin);
    assert_eq!(in_vain(&view, &saw), [id(20)]);
    let forgetting = view.forgets.remove(&id(12)).unwrap();
    let cut = id(30);
    let segment = SEGMENTS_MAX + 2 * WINDOW_SEGMENTS;
    let stands = true;
    view.cuts.insert(cut, Cut { segment, stands });
    view.forgets
        .insert(id(32), Forgetting { cut, ..forgetting });
    assert!(in_vain(&view, &saw).is_empty());
    view.cuts.insert(id(31), Cut { segment, stands });
    assert_eq!(in_vain(&view, &saw), [id(20), cut]);
}
