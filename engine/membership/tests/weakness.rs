//! What the rule of research/keys.md 2.3 lets through, found by a long random search.

use sheaf_membership::{Act, Inserted, Log, Operation, Part, Rank};

/// Two who were removed bring somebody in. Bob, an admin, removes dan, whom he made admin; the owner
/// removes bob. Bob goes back and leaves beside his own removal of dan, which voids that; dan, in
/// again in that view alone, adds a sybil. The owner's removal voids the leaving, so that dan's
/// removal has effect; but the sybil's grant has that removal in its past, and a removal kills what
/// is concurrent alone.
#[test]
fn a_grant_made_while_its_authors_removal_was_void_stands() {
    let grant = |to, rank| Act::Grant { to, rank };
    let remove = |subject, incarnation| Act::Remove {
        subject,
        named: vec![incarnation],
    };
    let mut log = Log::found(0, "owner");
    for (id, parents, author, incarnation, act) in [
        (1, vec![0], "owner", 0, grant("bob", Rank::Admin)),
        (2, vec![1], "bob", 1, grant("dan", Rank::Admin)),
        (3, vec![2], "bob", 1, remove("dan", 2)),
        (4, vec![3], "owner", 0, remove("bob", 1)),
        (5, vec![2], "bob", 1, remove("bob", 1)),
        (6, vec![3, 5], "dan", 2, grant("sybil", Rank::Admin)),
    ] {
        let operation = Operation {
            id,
            parents,
            author,
            incarnation,
            act,
        };
        assert_eq!(log.insert(&operation), Ok(Inserted::New));
    }
    let view = log.current();
    assert_eq!(view.voided_by(&5, Part::Removal), Some(4));
    assert!(view.member(&"dan").is_none() && view.member(&"bob").is_none());
    assert!(view.member(&"sybil").is_some(), "as the reference has it");
}
