//! Who may do what: every kind of operation by everybody, written out by hand from research/keys.md
//! 2.3 and 2.10, and not from the code.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at a broken expectation"
)]

mod cast;
mod thaw;

use std::collections::BTreeSet;

use cast::{Case, Cast, PEOPLE};
use sheaf_crypto::Body;

/// `+` is taken, `-` is refused; the columns are [`PEOPLE`]: the owner; an admin whom the owner made; a
/// writer; a reader; who was removed; who was never a member; a writer's device that is frozen.
///
/// Beside them are in the conversation: `peer`, an admin whom the owner made as well; `junior`, an admin
/// whom the admin made; `other`, a writer; `guest`, a reader.
const MATRIX: &str = "
    add_writer                   + + - - - - -
    add_admin                    + + - - - - -
    add_owner                    - - - - - - -
    add_member_again             - - - - - - -
    add_with_foreign_log         - - - - - - -
    promote_reader_to_writer     + + - - - - -
    promote_reader_to_admin      + + - - - - -
    promote_reader_to_owner      - - - - - - -
    promote_to_the_same          - - - - - - -
    promote_who_is_absent        - - - - - - -
    promote_himself_to_writer    - - - - - - -
    promote_himself_to_admin     - - - - - - -
    promote_himself_to_owner     - - - - - - -
    remove_writer                + + - - - - -
    remove_reader                + + - - - - -
    remove_junior_admin          + + - - - - -
    remove_sibling_admin         + - - - - - -
    remove_owner                 - - - - - - -
    remove_who_is_absent         - - - - - - -
    remove_naming_other_grants   - - - - - - -
    demote_writer                + + - - - - -
    demote_junior_admin          + + - - - - -
    demote_sibling_admin         + - - - - - -
    demote_owner                 - - - - - - -
    demote_himself               - - - - - - -
    regrant_owner                - - - - - - -
    hand_ownership_to_admin      + - - - - - -
    hand_ownership_to_writer     - - - - - - -
    take_ownership               - - - - - - -
    leave                        - + + + - - -
    attach_own_device            + + + + - - -
    attach_device_twice          - - - - - - -
    attach_without_secret        - - - - - - -
    attach_device_of_another     - - - - - - -
    detach_own_device            + + + + - - -
    detach_writers_device        + + - - - - -
    detach_admins_device         - - - - - - -
    detach_owners_device         + - - - - - -
    detach_what_its_log_revokes  + + + + - - -
    detach_by_a_proof_of_nothing - - - - - - -
    rekey                        + + + + - - -
    rekey_for_an_outsider        - - - - - - -
    rekey_for_the_removed        - - - - - - -
    rekey_for_the_frozen         - - - - - - -
    rekey_without_himself        - - - - - - -
    rekey_after_unknown_epoch    - - - - - - -
    forward                      + + + + - - -
    forward_to_an_outsider       - - - - - - -
    forward_to_the_removed       - - - - - - -
    forward_to_the_frozen        - - - - - - -
    forward_another_secret       - - - - - - -
    hand_over                    + + + + - - -
    hand_over_to_an_outsider     - - - - - - -
    hand_over_to_the_frozen      - - - - - - -
    hand_over_to_one_twice       - - - - - - -
    hand_over_to_nobody          - - - - - - -
    hand_over_another_secret     - - - - - - -
    complain_of_a_seal           + + + + - - -
    complain_of_unknown_epoch    - - - - - - -
    cut                          + + - - - - -
    cut_with_a_snapshot          - - - - - - -
    cut_below                    - - - - - - -
    freeze_own_other_device      + + + + - - -
    freeze_himself               - - - - - - -
    freeze_device_of_another     - - - - - - -
    thaw_own_other_device        + + + + - - -
    thaw_device_of_another       - - - - - - -
    rename                       + + - - - - -
    false_proof_of_a_fork        - - - - - - -
    thaw_what_no_proof_freezes   - - - - - - -
    found_again                  - - - - - - -
    forget                       + + - - - - -
    forget_before_no_cut         - - - - - - -
";

#[test]
fn every_operation_by_every_role() {
    let mut wrong = Vec::new();
    let mut kinds = BTreeSet::new();
    let mut cast = Cast::new();
    for line in MATRIX
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap();
        let expected: Vec<&str> = words.collect();
        assert_eq!(expected.len(), PEOPLE.len(), "{name}");
        for (who, expected) in PEOPLE.into_iter().zip(expected) {
            let Case { body, prepared } = cast.case(name, who);
            kinds.insert(kind(&body));
            let mut touched = !prepared.is_empty();
            for body in prepared {
                cast.write(who, body).unwrap();
            }
            let before = cast.said();
            let result = cast.write(who, body);
            if result.is_err() {
                assert_eq!(
                    cast.said(),
                    before,
                    "{name} by {who} was refused and did something"
                );
            }
            touched |= result.is_ok();
            if touched {
                cast = Cast::new();
            }
            if result.is_ok() != (expected == "+") {
                wrong.push(format!("{name} by {who}: expected {expected}, {result:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(kinds.len(), KINDS, "every kind of operation is tried");
}

/// Kinds of operations; a new one has to be named below, and so gets its rows.
const KINDS: usize = 20;

fn kind(body: &Body) -> u8 {
    match body {
        Body::Genesis(_) => 0,
        Body::Add { .. } => 1,
        Body::Promote { .. } => 2,
        Body::Remove { .. } => 3,
        Body::Regrant { .. } => 4,
        Body::TransferOwner { .. } => 5,
        Body::Leave => 6,
        Body::AttachDevice { .. } => 7,
        Body::DetachDevice { .. } => 8,
        Body::Rekey(_) => 9,
        Body::Forward(_) => 10,
        Body::BadSeal { .. } => 11,
        Body::Cut { .. } => 12,
        Body::Equivocation { .. } => 13,
        Body::Freeze { .. } => 14,
        Body::Thaw { .. } => 15,
        Body::Rename { .. } => 16,
        Body::HandOver { .. } => 17,
        Body::Forget { .. } => 18,
        Body::ThawByRecovery(_) => 19,
    }
}
