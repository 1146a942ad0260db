//! The table of research/keys.md 2.3 row by row, refusals by name, and logs with several roots.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at its first error"
)]

use std::sync::Arc;

use sheaf_membership::{
    Act, Inserted, Limits, Log, Operation, Part, Rank, Refusal, RemovalFact, View,
};

type Id = u32;
type Name = &'static str;
type Row = ((Name, Id), Act<Id, Name>, Refusal);

/// A log in which operations are written by hand; identifiers rise from 1, the founding is 0.
struct Table {
    log: Log<Id, Name>,
    last: Id,
}

impl Table {
    fn new() -> Self {
        Self {
            log: Log::found(0, "owner"),
            last: 0,
        }
    }

    fn try_put(
        &mut self,
        parents: &[Id],
        (author, incarnation): (Name, Id),
        act: Act<Id, Name>,
    ) -> Result<Id, Refusal> {
        let operation = Operation {
            id: self.last + 1,
            parents: parents.to_vec(),
            author,
            incarnation,
            act,
        };
        assert_eq!(self.log.insert(&operation)?, Inserted::New);
        assert_eq!(self.log.insert(&operation), Ok(Inserted::Known));
        self.last += 1;
        Ok(self.last)
    }

    fn grant(&mut self, parents: &[Id], by: (Name, Id), to: Name, rank: Rank) -> Id {
        self.try_put(parents, by, Act::Grant { to, rank }).unwrap()
    }

    fn remove(&mut self, parents: &[Id], by: (Name, Id), subject: Name, named: &[Id]) -> Id {
        let named = named.to_vec();
        let act = Act::Remove { subject, named };
        self.try_put(parents, by, act).unwrap()
    }

    fn ranks(&self) -> Vec<(Name, Rank)> {
        let view = self.log.current();
        let members = view.members().iter();
        members.map(|(name, member)| (*name, member.rank)).collect()
    }

    fn is_in(&self, name: Name) -> bool {
        self.log.current().member(&name).is_some()
    }

    fn removals(&self) -> Vec<Id> {
        let view = self.log.current();
        view.effective_removals()
            .map(|fact| fact.operation)
            .collect()
    }
}

const OWNER: (Name, Id) = ("owner", 0);

/// Owner, and three admins whom the owner granted: incarnations 1, 2 and 3, on one branch.
fn three_admins() -> Table {
    let mut table = Table::new();
    table.grant(&[0], OWNER, "ann", Rank::Admin);
    table.grant(&[1], OWNER, "bob", Rank::Admin);
    table.grant(&[2], OWNER, "cyd", Rank::Admin);
    table
}

#[test]
fn who_is_removed_does_nothing_beside_it() {
    let mut table = three_admins();
    let removal = table.remove(&[3], OWNER, "bob", &[2]);
    let added = table.grant(&[3], ("bob", 2), "eve", Rank::Writer);
    let least = Rank::Reader;
    let other = table
        .try_put(&[added], ("bob", 2), Act::Other { least })
        .unwrap();
    let by_eve = table
        .try_put(&[other], ("eve", added), Act::Other { least })
        .unwrap();
    assert!(!table.is_in("bob") && !table.is_in("eve"));
    let view = table.log.current();
    assert_eq!(view.voided_by(&added, Part::Grant), Some(removal));
    assert_eq!(view.voided_by(&other, Part::Other), Some(removal));
    assert_eq!(view.voided_by(&by_eve, Part::Other), Some(removal));
    assert_eq!(view.void().len(), 3);
}

#[test]
fn a_peer_cannot_bring_back_who_is_removed_beside_it_but_afterwards() {
    let mut table = three_admins();
    let dan = table.grant(&[3], OWNER, "dan", Rank::Writer);
    let removed = table.remove(&[dan], ("ann", 1), "dan", &[dan]);
    let promoted = table.grant(&[dan], ("bob", 2), "dan", Rank::Admin);
    assert!(!table.is_in("dan"));
    let again = table.grant(&[removed, promoted], ("bob", 2), "dan", Rank::Writer);
    let view = table.log.current();
    assert_eq!(view.live(&"dan", &again), Some(Rank::Writer));
    assert_eq!(view.rank(&"dan"), Some(Rank::Writer));
}

#[test]
fn a_seniors_promotion_stands_against_a_removal() {
    let mut table = three_admins();
    let dan = table.grant(&[3], OWNER, "dan", Rank::Writer);
    table.remove(&[dan], ("ann", 1), "dan", &[dan]);
    let promoted = table.grant(&[dan], OWNER, "dan", Rank::Admin);
    let view = table.log.current();
    let member = view.member(&"dan").unwrap();
    assert_eq!(member.live, [(promoted, Rank::Admin)]);
}

#[test]
fn two_admins_remove_each_other_one_was_not_entitled() {
    let mut table = Table::new();
    let ann = table.grant(&[0], OWNER, "ann", Rank::Admin);
    let bob = table.grant(&[ann], ("ann", ann), "bob", Rank::Admin);
    let cyd = table.grant(&[bob], OWNER, "cyd", Rank::Admin);
    let remove = |subject, named| Act::Remove {
        subject,
        named: vec![named],
    };
    let upward = table.try_put(&[cyd], ("bob", bob), remove("ann", ann));
    assert_eq!(upward, Err(Refusal::NotSenior));
    let sideways = table.try_put(&[cyd], ("cyd", cyd), remove("ann", ann));
    assert_eq!(sideways, Err(Refusal::NotSenior));
    table.remove(&[cyd], ("ann", ann), "bob", &[bob]);
    assert!(!table.is_in("bob") && table.is_in("ann"));
}

#[test]
fn the_removal_by_who_is_removed_is_void() {
    let mut table = three_admins();
    let spammer = table.grant(&[3], OWNER, "spammer", Rank::Writer);
    let out = table.remove(&[spammer], OWNER, "ann", &[1]);
    let void = table.remove(&[spammer], ("ann", 1), "spammer", &[spammer]);
    assert!(!table.is_in("ann") && table.is_in("spammer"));
    let view = table.log.current();
    assert_eq!(view.voided_by(&void, Part::Removal), Some(out));
    assert_eq!(table.removals(), [out]);
}

#[test]
fn removals_of_different_people_both_stand() {
    let mut table = three_admins();
    let dan = table.grant(&[3], OWNER, "dan", Rank::Writer);
    let eve = table.grant(&[dan], OWNER, "eve", Rank::Writer);
    table.remove(&[eve], ("ann", 1), "dan", &[dan]);
    table.remove(&[eve], ("cyd", 3), "eve", &[eve]);
    assert!(!table.is_in("dan") && !table.is_in("eve"));
    assert_eq!(table.removals().len(), 2);
}

#[test]
fn two_devices_of_the_owner_disagree() {
    let mut table = three_admins();
    table.remove(&[3], OWNER, "ann", &[1]);
    table.remove(&[3], OWNER, "bob", &[2]);
    let view = table.log.current();
    assert_eq!(
        table.ranks(),
        [("cyd", Rank::Admin), ("owner", Rank::Owner)]
    );
    assert!(view.undecided().is_empty());
}

#[test]
fn a_removed_admin_back_dates_in_vain() {
    let mut table = three_admins();
    let dan = table.grant(&[3], OWNER, "dan", Rank::Writer);
    let removed = table.remove(&[dan], OWNER, "ann", &[1]);
    table.grant(&[removed], OWNER, "eve", Rank::Writer);
    let before = table.ranks();
    table.remove(&[dan], ("ann", 1), "dan", &[dan]);
    let sybil = table.grant(&[1], ("ann", 1), "sybil", Rank::Admin);
    table.remove(&[sybil, dan], ("sybil", sybil), "dan", &[dan]);
    table.grant(&[1], ("ann", 1), "eve", Rank::Reader);
    assert_eq!(table.ranks(), before);
}

/// Dan is writer by the owner's grant, admin by a promotion; bob goes back to before it.
fn went_back(promoter: (Name, Id)) -> (Table, Id, Id) {
    let mut table = three_admins();
    let dan = table.grant(&[3], OWNER, "dan", Rank::Writer);
    let admin = table.grant(&[dan], promoter, "dan", Rank::Admin);
    table.remove(&[dan], ("bob", 2), "dan", &[dan]);
    (table, dan, admin)
}

#[test]
fn going_back_to_before_a_promotion_fails_against_an_ancestors() {
    let (table, _, admin) = went_back(OWNER);
    let view = table.log.current();
    assert_eq!(view.live(&"dan", &admin), Some(Rank::Admin));
}

#[test]
fn going_back_to_before_a_promotion_works_once_against_a_siblings() {
    let (mut table, ..) = went_back(("ann", 1));
    assert!(!table.is_in("dan"));
    let heads = table.log.heads();
    table.grant(&heads, OWNER, "dan", Rank::Admin);
    assert!(table.is_in("dan"));
}

/// Each of two writers is promoted beside the other, and removes the other who is a writer there.
#[test]
fn a_circle_of_concurrent_promotions_puts_both_out() {
    let mut table = three_admins();
    let dan = table.grant(&[3], OWNER, "dan", Rank::Writer);
    let eve = table.grant(&[dan], OWNER, "eve", Rank::Writer);
    let left = table.grant(&[eve], ("ann", 1), "dan", Rank::Admin);
    let right = table.grant(&[eve], ("bob", 2), "eve", Rank::Admin);
    let by_dan = table.remove(&[left], ("dan", left), "eve", &[eve]);
    let by_eve = table.remove(&[right], ("eve", right), "dan", &[dan]);
    assert!(!table.is_in("dan") && !table.is_in("eve"));
    assert_eq!(table.log.current().undecided(), [by_dan, by_eve]);
    assert_eq!(table.removals(), [by_dan, by_eve]);
}

#[test]
fn two_regrants_beside_each_other_put_the_member_out() {
    let mut table = three_admins();
    let dan = table.grant(&[3], OWNER, "dan", Rank::Writer);
    let act = || Act::Regrant {
        subject: "dan",
        named: vec![dan],
        rank: Rank::Reader,
    };
    let first = table.try_put(&[dan], ("ann", 1), act()).unwrap();
    let second = table.try_put(&[dan], ("bob", 2), act()).unwrap();
    assert!(!table.is_in("dan"));
    assert_eq!(table.removals(), [first, second]);
    let view = table.log.current();
    assert!(view.undecided().is_empty());
    assert_eq!(view.voided_by(&first, Part::Grant), Some(second));
    assert_eq!(view.voided_by(&second, Part::Grant), Some(first));
}

#[test]
fn a_regrant_by_a_senior_stands() {
    let mut table = three_admins();
    let dan = table.grant(&[3], OWNER, "dan", Rank::Writer);
    let act = || Act::Regrant {
        subject: "dan",
        named: vec![dan],
        rank: Rank::Reader,
    };
    let by_owner = table.try_put(&[dan], OWNER, act()).unwrap();
    table.try_put(&[dan], ("bob", 2), act()).unwrap();
    let view = table.log.current();
    assert_eq!(
        view.member(&"dan").unwrap().live,
        [(by_owner, Rank::Reader)]
    );
}

#[test]
fn only_a_regrant_lowers_a_rank() {
    let mut table = three_admins();
    let lower = Act::Grant {
        to: "ann",
        rank: Rank::Writer,
    };
    assert_eq!(
        table.try_put(&[3], OWNER, lower),
        Err(Refusal::AlreadyMember)
    );
    let act = Act::Regrant {
        subject: "ann",
        named: vec![1],
        rank: Rank::Reader,
    };
    let id = table.try_put(&[3], OWNER, act).unwrap();
    let view = table.log.current();
    assert_eq!(view.member(&"ann").unwrap().live, [(id, Rank::Reader)]);
}

#[test]
fn the_owner_hands_over_and_is_out() {
    let mut table = three_admins();
    let heir = table
        .try_put(&[3], OWNER, Act::Transfer { to: "ann" })
        .unwrap();
    assert!(!table.is_in("owner"));
    assert_eq!(table.log.current().rank(&"ann"), Some(Rank::Owner));
    assert_eq!(table.log.chain(&heir), Some(vec![0]));
    // What the old owner back-dates has no effect.
    table.remove(&[3], OWNER, "ann", &[1]);
    table.remove(&[3], OWNER, "bob", &[2]);
    assert_eq!(table.log.current().rank(&"ann"), Some(Rank::Owner));
    assert!(table.is_in("bob"));
    table.grant(&[heir], ("ann", heir), "owner", Rank::Writer);
    assert!(table.is_in("owner"));
}

#[test]
fn two_transfers_beside_each_other_leave_no_owner() {
    let mut table = three_admins();
    table
        .try_put(&[3], OWNER, Act::Transfer { to: "ann" })
        .unwrap();
    table
        .try_put(&[3], OWNER, Act::Transfer { to: "bob" })
        .unwrap();
    let admins = [
        ("ann", Rank::Admin),
        ("bob", Rank::Admin),
        ("cyd", Rank::Admin),
    ];
    assert_eq!(table.ranks(), admins);
    assert_eq!(table.log.current().undecided().len(), 2);
}

#[test]
fn refusals_by_name() {
    let mut table = three_admins();
    let dan = table.grant(&[3], OWNER, "dan", Rank::Writer);
    let grant = |to, rank| Act::Grant { to, rank };
    let remove = |subject, named: &[Id]| Act::Remove {
        subject,
        named: named.to_vec(),
    };
    let ann = ("ann", 1);
    let rows: Vec<Row> = vec![
        (
            ("dan", dan),
            grant("eve", Rank::Reader),
            Refusal::RankTooLow,
        ),
        (("eve", dan), grant("fay", Rank::Reader), Refusal::NotLive),
        (("ann", 2), grant("fay", Rank::Reader), Refusal::NotLive),
        (ann, grant("dan", Rank::Writer), Refusal::AlreadyMember),
        (ann, grant("eve", Rank::Owner), Refusal::OwnerOnlyByHimself),
        (ann, remove("eve", &[]), Refusal::NotAMember),
        (ann, remove("dan", &[1]), Refusal::WrongIncarnations),
        (ann, remove("dan", &[dan, dan]), Refusal::WrongIncarnations),
        (ann, remove("ann", &[]), Refusal::WrongIncarnations),
        (ann, remove("bob", &[2]), Refusal::NotSenior),
        (ann, remove("owner", &[0]), Refusal::OwnerOnlyByHimself),
        (OWNER, remove("owner", &[0]), Refusal::OwnerOnlyByHimself),
        (ann, Act::Transfer { to: "bob" }, Refusal::RankTooLow),
        (OWNER, Act::Transfer { to: "dan" }, Refusal::NotAnAdmin),
        (OWNER, Act::Transfer { to: "eve" }, Refusal::NotAMember),
        (
            ("dan", dan),
            Act::Other { least: Rank::Admin },
            Refusal::RankTooLow,
        ),
    ];
    for (by, act, refusal) in rows {
        assert_eq!(
            table.try_put(&[dan], by, act.clone()),
            Err(refusal),
            "{act:?}"
        );
    }
    let early = table.try_put(&[99], OWNER, grant("eve", Rank::Reader));
    assert_eq!(early, Err(Refusal::UnknownParents));
    let orphan = table.try_put(&[], OWNER, grant("eve", Rank::Reader));
    assert_eq!(orphan, Err(Refusal::NotLive));
}

#[test]
fn leaving() {
    let mut table = three_admins();
    let left = table.remove(&[3], ("bob", 2), "bob", &[2]);
    assert!(!table.is_in("bob"));
    let fact = RemovalFact {
        operation: left,
        subject: "bob",
        named: vec![2],
    };
    let view = table.log.current();
    assert_eq!(view.effective_removals().collect::<Vec<_>>(), [&fact]);
}

/// A user log: the recovery key 100 above the first device 101, both of the founding operation 0.
fn user_log() -> Table {
    let roots = [("phrase", Rank::Owner, 100), ("phone", Rank::Admin, 101)];
    Table {
        log: Log::found_with(0, &roots),
        last: 0,
    }
}

#[test]
fn a_user_log_has_two_roots() {
    let mut table = user_log();
    assert_eq!(table.log.heads(), [0]);
    assert_eq!(table.log.depth(&100), Some(0));
    assert_eq!(table.log.depth(&101), Some(1));
    assert_eq!(table.log.chain(&101), Some(vec![100]));
    let laptop = table.grant(&[0], ("phone", 101), "laptop", Rank::Admin);
    assert_eq!(table.log.chain(&laptop), Some(vec![101, 100]));
    let act = Act::Remove {
        subject: "phone",
        named: vec![101],
    };
    let upward = table.try_put(&[laptop], ("laptop", laptop), act);
    assert_eq!(upward, Err(Refusal::NotSenior));
    table.remove(&[laptop], ("phrase", 100), "phone", &[101]);
    assert_eq!(
        table.ranks(),
        [("laptop", Rank::Admin), ("phrase", Rank::Owner)]
    );
    assert_eq!(table.log.len(), 3);
}

/// The founding operation's identifier may be the name of any of its incarnations.
#[test]
fn a_root_may_be_named_like_the_founding() {
    let roots = [("phrase", Rank::Owner, 0), ("phone", Rank::Admin, 101)];
    let mut log = Log::found_with(0, &roots);
    assert_eq!((log.depth(&0), log.depth(&101)), (Some(0), Some(1)));
    let operation = Operation {
        id: 1,
        parents: vec![0],
        author: "phrase",
        incarnation: 0,
        act: Act::Remove {
            subject: "phone",
            named: vec![101],
        },
    };
    assert_eq!(log.insert(&operation), Ok(Inserted::New));
    assert!(log.past_contains(&1, &0) && !log.past_contains(&0, &1));
}

#[test]
fn bounds() {
    let limits = Limits {
        operations: 6,
        width: 2,
    };
    let mut table = Table::new();
    table.log = Log::found(0, "owner").with_limits(limits);
    let tips: Vec<Id> = ["ann", "bob", "cyd"]
        .into_iter()
        .map(|name| table.grant(&[0], OWNER, name, Rank::Admin))
        .collect();
    let act = Act::Other {
        least: Rank::Reader,
    };
    let wide = table.try_put(&tips, OWNER, act.clone());
    assert_eq!(wide, Err(Refusal::BubbleTooWide));
    let narrow = table.try_put(&tips[..2], OWNER, act.clone()).unwrap();
    let by_ann = table
        .try_put(&[narrow, 3], ("ann", 1), act.clone())
        .unwrap();
    let full = table.try_put(&[by_ann], ("ann", 1), act);
    assert_eq!(full, Err(Refusal::TooManyOperations));
}

#[test]
fn views_of_places() {
    let mut table = three_admins();
    let before: Arc<View<Id, Name>> = table.log.current();
    let removed = table.remove(&[3], OWNER, "bob", &[2]);
    let added = table.grant(&[3], ("bob", 2), "eve", Rank::Writer);
    let beside = table.log.view(&[added]).unwrap();
    assert!(beside.member(&"eve").is_some() && beside.member(&"bob").is_some());
    assert_eq!(table.log.view(&[3]), Some(before));
    assert_eq!(
        table.log.view(&[removed, added, 3]),
        Some(table.log.current())
    );
    assert_eq!(table.log.view(&[77]), None);
    assert!(table.log.view(&[]).unwrap().members().is_empty());
    assert_eq!(table.log.heads(), [removed, added]);
    assert!(table.log.past_contains(&added, &3));
    assert!(!table.log.past_contains(&added, &removed) && !table.log.past_contains(&3, &3));
}
