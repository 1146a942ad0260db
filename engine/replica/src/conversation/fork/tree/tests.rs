use super::*;

fn id(n: u8) -> ItemId {
    ItemId([n; 32])
}

fn user(n: u8) -> UserId {
    UserId([n; 32])
}

const RUN: RunId = RunId([1; 16]);

/// Items as (id, place, the one before, content), among users 1 to 3 beside the author.
fn nodes(items: &[(u8, u64, u8, u8)]) -> BTreeMap<ItemId, Node> {
    let node = |(name, seq, previous, content): &(u8, u64, u8, u8)| {
        let node = Node {
            run: RUN,
            seq: *seq,
            previous: (*previous > 0).then(|| id(*previous)),
            content: [*content; 32],
            others: (1..=3).map(user).collect(),
        };
        (id(*name), node)
    };
    items.iter().map(node).collect()
}

fn aside(items: &[(u8, u64, u8, u8)], seen: &[(u8, u8)]) -> Vec<u8> {
    let seen = seen.iter().map(|(who, item)| (user(*who), id(*item)));
    let judged = judge(&nodes(items), &seen.collect());
    judged.aside.iter().map(|item| item.0[0]).collect()
}

const FORKED: [(u8, u64, u8, u8); 5] = [
    (1, 1, 0, 1),
    (2, 2, 1, 2),
    (3, 2, 1, 3),
    (4, 3, 2, 4),
    (5, 3, 3, 5),
];

#[test]
fn the_smaller_id_stands_while_nobody_acknowledged_enough() {
    assert_eq!(aside(&FORKED, &[]), [3, 5]);
    assert_eq!(aside(&FORKED, &[(1, 3)]), [3, 5]);
}

#[test]
fn what_most_acknowledged_stands_by_whichever_item_they_named() {
    assert_eq!(aside(&FORKED, &[(1, 3), (2, 5)]), [2, 4]);
    assert_eq!(aside(&FORKED, &[(1, 3), (2, 5), (3, 2)]), [2, 4]);
}

#[test]
fn who_acknowledged_both_and_strangers_count_for_neither() {
    assert_eq!(aside(&FORKED, &[(1, 3), (2, 5), (2, 4)]), [3, 5]);
    assert_eq!(aside(&FORKED, &[(1, 3), (8, 3), (9, 3)]), [3, 5]);
}

#[test]
fn the_same_content_sealed_twice_is_no_fork() {
    let twice = [(1, 1, 0, 1), (2, 2, 1, 7), (3, 2, 1, 7), (4, 3, 3, 4)];
    assert_eq!(aside(&twice, &[]), Vec::<u8>::new());
}

#[test]
fn what_follows_an_item_that_has_not_come_waits_for_it() {
    // 9 is not known, and another item is at its place.
    let orphan = [(1, 1, 0, 1), (2, 2, 1, 2), (4, 3, 9, 4), (5, 3, 2, 5)];
    assert_eq!(aside(&orphan, &[(1, 4), (2, 4)]), [4]);
}

#[test]
fn a_fork_on_a_losing_side_decides_nothing() {
    let deep = [
        (1, 1, 0, 1),
        (2, 2, 1, 2),
        (3, 2, 1, 3),
        (4, 3, 3, 4),
        (5, 3, 3, 5),
    ];
    let judged = judge(&nodes(&deep), &BTreeSet::new());
    assert_eq!(judged.forks.len(), 1);
    assert_eq!(judged.forks[0].winner, id(2));
}
