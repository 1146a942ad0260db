//! Content of every kind by everybody: what a role may not write is refused and changes nothing.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sheaf_crypto::{
    DeviceSecrets, Inner, Kind as Purpose, Role, Suite, UserId, item_of_record, open, seal,
};
use sheaf_replica::{Act, Command};

use crate::forge::{Epoch, epochs, secrets};
use crate::world::{ALICE, BOB, MALLORY, World};

/// What the author is when the item is written.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Part {
    Admin,
    Writer,
    Reader,
    Removed,
    NeverMember,
}

const PARTS: [Part; 5] = [
    Part::Admin,
    Part::Writer,
    Part::Reader,
    Part::Removed,
    Part::NeverMember,
];

/// `+` is taken, `N` is not allowed to the role, `M` is by nobody who is a member, `K` is of a kind that
/// this version does not take, `F` is taken for an item and its author named for what it states falsely. The columns are [`PARTS`].
const MATRIX: [(Purpose, [char; 5]); 6] = [
    (Purpose::Content, ['+', '+', 'N', 'M', 'M']),
    (Purpose::Checkpoint, ['+', '+', '+', 'M', 'M']),
    (Purpose::Bundle, ['K', 'K', 'K', 'M', 'M']),
    (Purpose::Snapshot, ['F', 'F', 'F', 'M', 'M']),
    (Purpose::Sync, ['K', 'K', 'K', 'M', 'M']),
    (Purpose::Presence, ['K', 'K', 'K', 'M', 'M']),
];

/// What a device wrote, in order, each with the place of its epoch among Alice's.
pub(super) fn written(world: &World, author: &DeviceSecrets) -> Vec<(Inner, Epoch)> {
    let mut all = Vec::new();
    for place in 0..epochs(&world.peers[ALICE].disk, &world.conversation).len() {
        let epoch = || epochs(&world.peers[ALICE].disk, &world.conversation).remove(place);
        let records = world.log.0.get(&epoch().keys.topic()).into_iter().flatten();
        for record in records {
            let Ok(opened) = open(&epoch().keys, record) else {
                continue;
            };
            if let Ok(inner) = opened.verify(&author.signing_public()) {
                all.push((inner, epoch()));
            }
        }
    }
    all.sort_by_key(|(inner, _)| inner.seq);
    all
}

/// Acknowledgements come that wait for their time.
pub(super) fn rest(world: &mut World) {
    for _ in 0..40 {
        let woken = world.peers.iter_mut().map(|peer| peer.wake());
        if !woken.fold(false, |any, one| any | one) {
            return;
        }
        world.settle();
    }
}

/// Mallory is what she is to be, and everybody knows it.
fn prepared(part: Part) -> World {
    let mut world = World::new();
    let conversation = world.conversation;
    let user = world.peers[MALLORY].replica.overview().user.unwrap();
    let role = |role| Command::SetRole {
        conversation,
        user,
        role,
    };
    match part {
        Part::Admin => drop(world.ask(ALICE, role(Role::Admin))),
        Part::Reader => drop(world.ask(ALICE, role(Role::Reader))),
        Part::Removed => drop(world.ask(ALICE, Command::RemoveMember { conversation, user })),
        Part::Writer | Part::NeverMember => {}
    }
    world.send(ALICE, "from here on");
    rest(&mut world);
    world.peers[BOB].misbehaviour();
    world
}

fn texts(world: &World) -> usize {
    world.messages(BOB).len()
}

/// Mallory's program writes it by itself.
fn is_taken(kind: Purpose, part: Part) {
    let mut world = prepared(part);
    let mallory = secrets(&world.peers[MALLORY].disk);
    let before = texts(&world);
    if kind == Purpose::Content {
        world.send(MALLORY, "allowed");
        assert_eq!(texts(&world), before + 1, "{part:?}");
    } else {
        let (last, _) = written(&world, &mallory).pop().unwrap();
        assert_eq!(last.kind, kind, "{part:?} acknowledges");
    }
    let reports = world.peers[BOB].misbehaviour();
    assert!(reports.is_empty(), "{kind:?} by {part:?}: {reports:?}");
}

/// It is made by hand, under the newest epoch, as somebody could who has its secret.
fn is_refused(kind: Purpose, part: Part, expected: char) {
    let mut world = prepared(part);
    let alice = secrets(&world.peers[ALICE].disk);
    let (known, epoch) = written(&world, &alice).pop().unwrap();
    let (author, user) = match part {
        Part::NeverMember => {
            let mut rng = ChaCha20Rng::from_seed([99; 32]);
            let author = DeviceSecrets::generate(&mut rng, Suite::X25519);
            (author, UserId([99; 32]))
        }
        Part::Admin | Part::Writer | Part::Reader | Part::Removed => {
            let mallory = secrets(&world.peers[MALLORY].disk);
            (
                mallory,
                world.peers[MALLORY].replica.overview().user.unwrap(),
            )
        }
    };
    let own = written(&world, &author).pop();
    let last = own.map_or_else(|| known.clone(), |(inner, _)| inner);
    let inner = Inner {
        kind,
        user,
        device: author.device(),
        seq: last.seq + 1,
        control_heads: known.control_heads,
        dependencies: Vec::new(),
        ..last
    };
    let mut rng = ChaCha20Rng::from_seed([77; 32]);
    let record = seal(&epoch.keys, &inner, &author, &mut rng).unwrap();
    let before = world.state(BOB);
    world.inject(epoch.keys.topic(), record);
    let reports = world.peers[BOB].misbehaviour();
    let [report] = reports.as_slice() else {
        panic!("{kind:?} by {part:?}: {reports:?}");
    };
    let fits = match expected {
        'N' => report.act == Act::NotAllowed,
        'M' => report.act == Act::NotAMember,
        _ => matches!(&report.act, Act::RefusedContent(why) if why.contains("of kind")),
    };
    assert!(fits, "{kind:?} by {part:?}: {report:?}");
    assert_eq!(
        world.state(BOB),
        before,
        "{kind:?} by {part:?} did something"
    );
}

/// A snapshot that states nothing at all has its place in its author's chain, and is of no use.
fn is_named_false(part: Part) {
    let mut world = prepared(part);
    let mallory = secrets(&world.peers[MALLORY].disk);
    let (last, epoch) = written(&world, &mallory).pop().unwrap();
    let mut records = world.log.0[&epoch.keys.topic()].iter();
    let previous = records.find(|record| {
        let opened = open(&epoch.keys, record).unwrap();
        let inner = opened.verify(&mallory.signing_public());
        inner.is_ok_and(|inner| inner == last)
    });
    let inner = Inner {
        kind: Purpose::Snapshot,
        seq: last.seq + 1,
        previous: Some(item_of_record(previous.unwrap())),
        body: vec![9; 20],
        ..last
    };
    let mut rng = ChaCha20Rng::from_seed([77; 32]);
    let record = seal(&epoch.keys, &inner, &mallory, &mut rng).unwrap();
    world.inject(epoch.keys.topic(), record);
    let reports = world.peers[BOB].misbehaviour();
    let [report] = reports.as_slice() else {
        panic!("{part:?}: {reports:?}");
    };
    assert!(matches!(report.act, Act::FalseSnapshot(_)), "{report:?}");
}

#[test]
fn every_kind_of_content_by_every_role() {
    for (kind, row) in MATRIX {
        for (part, expected) in PARTS.into_iter().zip(row) {
            match expected {
                '+' => is_taken(kind, part),
                'F' => is_named_false(part),
                _ => is_refused(kind, part, expected),
            }
        }
    }
}
