//! Why the primary role is not a grant, with the resolver alone.

use sheaf_membership::{Act, Inserted, Log, Operation, Rank, Refusal};

type Step = (u8, u8, &'static str, u8, Act<u8, &'static str>);

const RECOVERY: u8 = 100;

fn log(first: Rank) -> Log<u8, &'static str> {
    Log::found_with(0, &[("phrase", Rank::Owner, RECOVERY), ("phone", first, 0)])
}

fn grant(to: &'static str, rank: Rank) -> Act<u8, &'static str> {
    Act::Grant { to, rank }
}

fn remove(subject: &'static str, named: u8) -> Act<u8, &'static str> {
    Act::Remove {
        subject,
        named: vec![named],
    }
}

fn insert(log: &mut Log<u8, &'static str>, step: Step) -> Result<Inserted, Refusal> {
    let (id, parent, author, incarnation, act) = step;
    log.insert(&Operation {
        id,
        parents: vec![parent],
        author,
        incarnation,
        act,
    })
}

/// The phone approved laptop and tablet. It hands over to the laptop as research/keys.md 2.1 has it:
/// a new grant for the laptop, the end of its own. Whichever way that is put to the resolver, the
/// laptop is not above the tablet and the phone is no device any more.
#[test]
fn the_handover_of_the_paper_strands_the_siblings() {
    let begin = |first| {
        let mut log = log(first);
        let added = Inserted::New;
        let laptop = (1, 0, "phone", 0, grant("laptop", Rank::Admin));
        assert_eq!(insert(&mut log, laptop), Ok(added));
        let tablet = (2, 1, "phone", 0, grant("tablet", Rank::Admin));
        assert_eq!(insert(&mut log, tablet), Ok(added));
        log
    };
    // As an admin's grant it cannot even be said: the laptop is an admin already.
    let mut plain = begin(Rank::Admin);
    let again = (3, 2, "phone", 0, grant("laptop", Rank::Admin));
    assert_eq!(insert(&mut plain, again), Err(Refusal::AlreadyMember));
    // As a regrant and a leaving, the laptop's new grant stands beside the tablet's.
    let regrant = Act::Regrant {
        subject: "laptop",
        named: vec![1],
        rank: Rank::Admin,
    };
    insert(&mut plain, (3, 2, "phone", 0, regrant)).unwrap();
    insert(&mut plain, (4, 3, "phone", 0, remove("phone", 0))).unwrap();
    stranded(plain, 4, 3);
    // As a transfer of a higher rank, the new grant still stands above nothing.
    let mut higher = begin(Rank::Owner);
    let transfer = Act::Transfer { to: "laptop" };
    insert(&mut higher, (3, 2, "phone", 0, transfer)).unwrap();
    stranded(higher, 3, 3);
}

fn stranded(mut log: Log<u8, &'static str>, head: u8, laptop: u8) {
    let view = log.current();
    assert!(view.member(&"phone").is_none(), "no device any more");
    assert!(view.live(&"laptop", &laptop).is_some());
    assert!(!log.chain(&2).unwrap().contains(&laptop));
    let by_primary = (10, head, "laptop", laptop, remove("tablet", 2));
    assert_eq!(insert(&mut log, by_primary), Err(Refusal::NotSenior));
    let by_phrase = (11, head, "phrase", RECOVERY, remove("tablet", 2));
    assert_eq!(insert(&mut log, by_phrase), Ok(Inserted::New));
}
