//! What an owner hands over: the place at the top, and nothing stays behind.
#![allow(clippy::unwrap_used, reason = "a test may stop at its first error")]

use sheaf_membership::{Act, Inserted, Log, Operation, Part, Rank, Refusal};

type Id = u32;
type Name = &'static str;

const ROOT: (Name, Id) = ("owner", 0);

fn try_put(
    log: &mut Log<Id, Name>,
    (id, parents): (Id, &[Id]),
    (author, incarnation): (Name, Id),
    act: Act<Id, Name>,
) -> Result<Inserted, Refusal> {
    log.insert(&Operation {
        id,
        parents: parents.to_vec(),
        author,
        incarnation,
        act,
    })
}

fn put(log: &mut Log<Id, Name>, at: (Id, &[Id]), by: (Name, Id), act: Act<Id, Name>) {
    assert_eq!(try_put(log, at, by, act), Ok(Inserted::New));
}

fn admin(to: Name) -> Act<Id, Name> {
    Act::Grant {
        to,
        rank: Rank::Admin,
    }
}

fn remove(subject: Name, incarnation: Id) -> Act<Id, Name> {
    Act::Remove {
        subject,
        named: vec![incarnation],
    }
}

/// Owner, ann and bob below the owner, cyd below bob: incarnations 1, 2 and 3.
fn admins() -> Log<Id, Name> {
    let mut log = Log::found(0, "owner");
    put(&mut log, (1, &[0]), ROOT, admin("ann"));
    put(&mut log, (2, &[1]), ROOT, admin("bob"));
    put(&mut log, (3, &[2]), ("bob", 2), admin("cyd"));
    log
}

fn ranks(log: &Log<Id, Name>) -> Vec<(Name, Rank)> {
    let view = log.current();
    let members = view.members().iter();
    members.map(|(name, member)| (*name, member.rank)).collect()
}

/// Twice handed over, and both times to somebody who admitted nobody.
#[test]
fn the_new_owner_removes_every_admin() {
    let mut log = admins();
    put(&mut log, (4, &[3]), ROOT, Act::Transfer { to: "ann" });
    put(&mut log, (5, &[4]), ("ann", 4), admin("owner"));
    put(&mut log, (6, &[5]), ("ann", 4), Act::Transfer { to: "cyd" });
    for junior in [1, 2, 3, 5] {
        assert!(log.is_above(&6, &junior) && !log.is_above(&junior, &6));
    }
    assert!(!log.is_above(&6, &0) && !log.is_above(&0, &6));
    assert_eq!(log.chain(&6), Some(vec![4, 0]));
    put(&mut log, (7, &[6]), ("cyd", 6), remove("bob", 2));
    put(&mut log, (8, &[7]), ("cyd", 6), remove("owner", 5));
    assert_eq!(ranks(&log), [("cyd", Rank::Owner)]);
}

#[test]
fn nobody_removes_the_new_owner() {
    let mut log = admins();
    put(&mut log, (4, &[3]), ROOT, Act::Transfer { to: "cyd" });
    let upward = try_put(&mut log, (5, &[4]), ("bob", 2), remove("cyd", 3));
    assert_eq!(upward, Err(Refusal::OwnerOnlyByHimself));
}

/// Bob, who is above cyd's old incarnation, removes him while cyd hands on what he has just been
/// given to ann: both transfers stand.
#[test]
fn an_heir_removed_beside_his_inheritance_is_owner() {
    let mut log = admins();
    put(&mut log, (4, &[3]), ROOT, Act::Transfer { to: "ann" });
    put(&mut log, (5, &[4]), ("ann", 4), Act::Transfer { to: "cyd" });
    put(&mut log, (6, &[4]), ("bob", 2), remove("cyd", 3));
    assert_eq!(ranks(&log), [("bob", Rank::Admin), ("cyd", Rank::Owner)]);
    let view = log.current();
    assert_eq!(view.member(&"cyd").unwrap().live, [(5, Rank::Owner)]);
}

/// What the old owner back-dates is void, wherever his incarnation stood.
#[test]
fn the_old_owner_has_no_rank_left() {
    let mut log = admins();
    put(&mut log, (4, &[3]), ROOT, Act::Transfer { to: "ann" });
    put(&mut log, (5, &[4]), ("ann", 4), admin("owner"));
    put(&mut log, (6, &[3]), ROOT, remove("bob", 2));
    put(&mut log, (7, &[3]), ROOT, admin("dan"));
    assert_eq!(log.current().voided_by(&6, Part::Removal), Some(4));
    assert_eq!(log.current().voided_by(&7, Part::Grant), Some(4));
    let beside = try_put(&mut log, (8, &[5]), ("owner", 5), remove("bob", 2));
    assert_eq!(beside, Err(Refusal::NotSenior));
    let old = try_put(&mut log, (8, &[5]), ROOT, remove("bob", 2));
    assert_eq!(old, Err(Refusal::NotLive));
}

/// The price of not asking who came first: a fork of the old owner's chain undoes both transfers, and
/// whom the new owner admitted. Whom he removed is in doubt, so he stays out.
#[test]
fn the_old_owners_fork_leaves_no_owner() {
    let mut log = admins();
    put(&mut log, (4, &[3]), ROOT, Act::Transfer { to: "ann" });
    put(&mut log, (5, &[4]), ("ann", 4), remove("bob", 2));
    put(&mut log, (6, &[5]), ("ann", 4), admin("dan"));
    put(&mut log, (7, &[3]), ROOT, Act::Transfer { to: "ann" });
    assert_eq!(ranks(&log), [("ann", Rank::Admin), ("cyd", Rank::Admin)]);
    assert_eq!(log.current().undecided(), [4, 5, 7]);
}

/// Owner rank below somebody else's is a deputy's: what he hands over is not the top.
#[test]
fn below_the_top_the_place_is_not_handed_over() {
    let roots = [("phrase", Rank::Owner, 100), ("phone", Rank::Owner, 0)];
    let mut log = Log::found_with(0, &roots);
    put(&mut log, (1, &[0]), ("phone", 0), admin("laptop"));
    put(&mut log, (2, &[1]), ("phone", 0), admin("tablet"));
    put(
        &mut log,
        (3, &[2]),
        ("phone", 0),
        Act::Transfer { to: "laptop" },
    );
    assert!(!log.is_above(&3, &2) && log.is_above(&100, &3));
}
