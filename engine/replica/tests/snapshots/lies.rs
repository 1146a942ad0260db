//! Snapshots that are false: made by a member, or by two who collude.

use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sheaf_crypto::{
    ConversationId, Dependency, DeviceId, EpochId, Inner, ItemId, Kind as Purpose, RunId,
    SignedOperation, item_of_record, open, seal,
};
use sheaf_protocol::{LogId, RelayId, TopicId};
use sheaf_replica::record::Kind;
use sheaf_replica::{Act, Command, Suspect};

use crate::forge::{Epoch, epochs, secrets};
use crate::world::{ALICE, BOB, MALLORY, World};
use crate::{CAROL, fetched, invite, is_as_everywhere, pass, rows, unread, world_of};

type Chain = (DeviceId, RunId, u64, u64, ItemId);
type Segment = (u32, Vec<[u8; 32]>, u32);
/// A statement as it is encoded.
type Statement = (
    u8,
    Vec<Chain>,
    Vec<Segment>,
    Vec<(RelayId, LogId, Vec<(TopicId, u64)>)>,
);
type Sealed = (DeviceId, EpochId, Vec<u8>);
/// How a device remembers one.
type Record = (
    ConversationId,
    u64,
    ItemId,
    Sealed,
    Option<Sealed>,
    u8,
    bool,
    u64,
    u32,
);

fn epoch_of(world: &World) -> Epoch {
    epochs(&world.peers[ALICE].disk, &world.conversation).remove(0)
}

/// Everything on the topic of the one epoch, in order.
fn items(world: &World) -> Vec<(Inner, ItemId)> {
    let keys = epoch_of(world).keys;
    let records = world.log.0[&keys.topic()].iter();
    let devices: Vec<_> = (0..world.peers.len())
        .map(|place| secrets(&world.peers[place].disk))
        .collect();
    let opened = records.map(|record| {
        let opened = open(&keys, record).unwrap();
        let mut devices = devices.iter();
        let author = devices.find(|device| device.device() == opened.device());
        let inner = opened.verify(&author.unwrap().signing_public()).unwrap();
        let item = match inner.kind {
            Purpose::Control => {
                ItemId::from(SignedOperation::from_bytes(&inner.body).unwrap().id())
            }
            _ => item_of_record(record),
        };
        (inner, item)
    });
    opened.collect()
}

/// Puts a device's next item on the relay, which names everything that is there.
fn say(
    world: &mut World,
    place: usize,
    kind: Purpose,
    body: impl FnOnce(&Inner) -> Vec<u8>,
) -> ItemId {
    let (topic, record) = next_item(world, place, kind, body);
    let item = item_of_record(&record);
    world.inject(topic, record);
    item
}

/// The same, without putting it there.
fn next_item(
    world: &World,
    place: usize,
    kind: Purpose,
    body: impl FnOnce(&Inner) -> Vec<u8>,
) -> (TopicId, Vec<u8>) {
    let own = secrets(&world.peers[place].disk);
    let items = items(world);
    let mut heads = BTreeMap::new();
    for (inner, item) in &items {
        heads.insert((inner.device, inner.run), (inner.seq, *item));
    }
    let last = items
        .iter()
        .rfind(|(inner, _)| inner.device == own.device());
    let (mut inner, previous) = last.unwrap().clone();
    let others = heads
        .iter()
        .filter(|((device, _), _)| *device != own.device());
    inner.dependencies = others
        .map(|((device, run), (seq, item))| Dependency {
            device: *device,
            run: *run,
            seq: *seq,
            item: *item,
        })
        .collect();
    inner
        .control_heads
        .clone_from(&items.last().unwrap().0.control_heads);
    (inner.kind, inner.seq, inner.previous) = (kind, inner.seq + 1, Some(previous));
    inner.body = body(&inner);
    let keys = epoch_of(world).keys;
    let mut rng = ChaCha20Rng::from_seed([77; 32]);
    let record = seal(&keys, &inner, &own, &mut rng).unwrap();
    (keys.topic(), record)
}

/// What Alice states, with the frontier of somebody who has seen everything, and a lie in it.
fn lie(world: &mut World, place: usize, change: impl FnOnce(&mut Statement)) -> ItemId {
    let mut honest = items(world).into_iter();
    let honest = honest.rfind(|(inner, _)| inner.kind == Purpose::Snapshot);
    let honest = honest.expect("a snapshot is made").0;
    say(world, place, Purpose::Snapshot, |inner| {
        let mut statement: Statement = postcard::from_bytes(&honest.body).unwrap();
        for (device, run, _, seq, item) in &mut statement.1 {
            if *device == inner.device {
                (*seq, *item) = (inner.seq - 1, inner.previous.unwrap());
            }
            for seen in &inner.dependencies {
                if (seen.device, seen.run) == (*device, *run) {
                    (*seq, *item) = (seen.seq, seen.item);
                }
            }
        }
        change(&mut statement);
        postcard::to_allocvec(&statement).unwrap()
    })
}

fn other_heads(statement: &mut Statement) {
    statement.2[1].1[0][7] ^= 1;
}

/// Who named whom as the author of a false snapshot.
fn named(world: &mut World, place: usize) -> Vec<DeviceId> {
    let reports = world.peers[place].misbehaviour().into_iter();
    let mut named: Vec<DeviceId> = reports
        .map(|report| match (report.by, report.act) {
            (Suspect::Device(device), Act::FalseSnapshot(_)) => device,
            other => panic!("{other:?}"),
        })
        .collect();
    named.sort_unstable();
    named
}

fn device(world: &World, place: usize) -> DeviceId {
    secrets(&world.peers[place].disk).device()
}

#[test]
fn what_a_member_states_falsely_is_named_and_not_used() {
    let lies: [fn(&mut Statement); 6] = [
        other_heads,
        // A document without its newest messages.
        |statement| statement.2[3].1 = statement.2[2].1.clone(),
        |statement| statement.2.truncate(2),
        |statement| statement.2.push((4, vec![[3; 32]], 4)),
        |statement| statement.1[0].3 += 1,
        |statement| statement.1[1].4.0[0] ^= 1,
    ];
    for lie_in in lies {
        let mut world = world_of(15);
        pass(&mut world, 30);
        lie(&mut world, MALLORY, lie_in);
        let mallory = device(&world, MALLORY);
        for place in [ALICE, BOB] {
            assert_eq!(named(&mut world, place), [mallory]);
        }
        pass(&mut world, 5);
        invite(&mut world);
        assert_eq!(fetched(&world), [3, 2, 1, 0]);
        is_as_everywhere(&mut world);
        for place in [ALICE, BOB, CAROL] {
            assert_eq!(named(&mut world, place), []);
        }
    }
}

#[test]
fn the_same_without_a_lie_is_verified() {
    let mut world = world_of(15);
    pass(&mut world, 30);
    lie(&mut world, MALLORY, |_| {});
    assert_eq!(rows(&world, BOB, Kind::Stated), 2);
    for place in [ALICE, BOB] {
        assert_eq!(named(&mut world, place), []);
    }
}

#[test]
fn two_who_collude_cost_a_newcomer_time_and_nothing_else() {
    let mut world = world_of(15);
    pass(&mut world, 30);
    let item = lie(&mut world, MALLORY, other_heads);
    let by = [device(&world, ALICE), device(&world, MALLORY)];
    say(&mut world, ALICE, Purpose::Checkpoint, |_| {
        let body = postcard::to_allocvec(&(3_u8, 0_u8, 0_u8, 0_u8, Some(item), None::<bool>));
        body.unwrap()
    });
    let keys = epoch_of(&world);
    let wire = world.log.0[&keys.keys.topic()].last().unwrap().clone();
    // Alice's program takes it for right.
    let alice = &mut world.peers[ALICE].disk;
    let rows = alice.iter_mut().filter(|(key, _)| key.kind == Kind::Stated);
    for (_, value) in rows {
        let mut record: Record = postcard::from_bytes(&value[1..]).unwrap();
        (record.4, record.5) = match record.2 == item {
            true => (Some((by[0], keys.id, wire.clone())), 2),
            false => (None, 0),
        };
        *value = [vec![1], postcard::to_allocvec(&record).unwrap()].concat();
    }
    world.restart(ALICE);
    invite(&mut world);
    assert!(unread(&world).contains(&1));
    pass(&mut world, 20);
    let mut by = by.to_vec();
    by.sort_unstable();
    assert_eq!(named(&mut world, CAROL), by);
    world.peers[BOB].events.clear();
    assert_eq!(world.messages(CAROL), world.messages(BOB));
    is_as_everywhere(&mut world);
}

#[test]
fn what_somebody_acknowledged_after_his_removal_stands_in_no_snapshots_way() {
    let mut world = world_of(5);
    pass(&mut world, 10);
    assert_eq!(rows(&world, BOB, Kind::Stated), 0);
    let (topic, record) = next_item(&world, MALLORY, Purpose::Checkpoint, |_| {
        postcard::to_allocvec(&(3_u8, 0_u8, 0_u8, 0_u8, None::<ItemId>, None::<bool>)).unwrap()
    });
    let user = world.peers[MALLORY].replica.overview().user.unwrap();
    let conversation = world.conversation;
    world.ask(ALICE, Command::RemoveMember { conversation, user });
    world.inject(topic, record);
    assert!(
        rows(&world, BOB, Kind::Withheld) > 0,
        "it came, and is kept back"
    );
    for number in 0..10 {
        world.send(number % 2, &format!("without her {number}"));
    }
    pass(&mut world, 30);
    assert_eq!(rows(&world, BOB, Kind::Stated), 1);
}
