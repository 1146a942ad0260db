use super::*;

fn item(n: u8) -> ItemId {
    ItemId([n; 32])
}

const DEVICE: DeviceId = DeviceId([1; 32]);
const RUN: RunId = RunId([1; 16]);
const LATER_RUN: RunId = RunId([2; 16]);

fn three_items() -> Chains {
    let mut chains = Chains::default();
    for n in 1..=3 {
        chains.accept(
            DEVICE,
            RUN,
            u64::from(n),
            item(n),
            OperationId([0; 32]),
            Timestamp(0),
        );
    }
    chains
}

#[test]
fn an_item_is_next_known_in_conflict_broken_or_beyond_a_gap() {
    let chains = three_items();
    let place =
        |seq, previous, id| chains.place((&DEVICE, &RUN), seq, Some(&item(previous)), &item(id));
    assert_eq!(place(4, 3, 4), Place::Next);
    assert_eq!(place(4, 2, 4), Place::Broken);
    assert_eq!(place(5, 4, 5), Place::Gap);
    assert_eq!(place(2, 1, 2), Place::Known);
    assert_eq!(place(2, 1, 9), Place::Conflict);
}

#[test]
fn a_new_run_goes_on_from_an_item_of_an_earlier_one() {
    let chains = three_items();
    let place = |seq, previous: Option<ItemId>| {
        chains.place((&DEVICE, &LATER_RUN), seq, previous.as_ref(), &item(7))
    };
    assert_eq!(place(4, Some(item(3))), Place::Next);
    assert_eq!(
        place(3, Some(item(2))),
        Place::Next,
        "a copy that forked earlier"
    );
    // Two runs may have reached the same place: the one that is meant may still come.
    assert_eq!(place(4, Some(item(9))), Place::Gap);
    assert_eq!(place(6, Some(item(5))), Place::Gap);
    assert_eq!(place(2, None), Place::Broken);
    assert_eq!(place(0, Some(item(1))), Place::Broken);
}

#[test]
fn what_a_run_begins_after_is_asked_of_the_store_where_it_is_not_remembered() {
    let mut chains = Chains::default();
    chains.take_over((DEVICE, RUN), (1, 3), item(3), Timestamp(0));
    let place =
        |seq, previous| chains.place((&DEVICE, &LATER_RUN), seq, Some(&item(previous)), &item(7));
    assert_eq!(place(4, 3), Place::Next);
    assert_eq!(place(4, 9), Place::Gap);
    assert_eq!(place(2, 9), Place::Start);
    assert_eq!(chains.old_at(&DEVICE, 1), [0]);
    assert_eq!(chains.old_at(&DEVICE, 3), [0; 0], "its head is known");
}

#[test]
fn dependencies_are_met_by_reaching_their_place() {
    let chains = three_items();
    let dependency = |seq| Dependency {
        device: DEVICE,
        run: RUN,
        seq,
        item: item(3),
    };
    assert!(chains.satisfies(&dependency(3)));
    assert!(!chains.satisfies(&dependency(4)));
}
