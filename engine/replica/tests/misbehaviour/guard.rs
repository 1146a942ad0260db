//! What follows from misbehaviour, and what is due by the clock: quarantine, floods, sealing keys, the
//! audit log. Whatever is held back is taken in afterwards, and replicas come to the same.

use std::collections::BTreeSet;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sheaf_crypto::{Body, ConversationId, RunId, SignedOperation, item_of_record, seal};
use sheaf_replica::record::Kind;
use sheaf_replica::{
    AuditEntry, AuditHead, AuditVerifier, Command, DeviceChange, Event, Input, Offence, Policy,
    Quarantine, Reply,
};

use crate::forge::{only_epoch, secrets, written};
use crate::last_record;
use crate::relay::Log;
use crate::world::{ALICE, BOB, MALLORY, World};

pub(super) const MINUTE_MS: u64 = 60_000;
pub(super) const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

impl World {
    /// Texts as a device lists them.
    fn texts(&self, place: usize) -> Vec<String> {
        let messages = self.messages(place).into_iter();
        messages.map(|message| message.text).collect()
    }

    /// Time passes for everybody.
    pub(super) fn pass(&mut self, ms: u64) {
        for peer in &mut self.peers {
            peer.now = peer.now.after_ms(ms);
            peer.handle(Input::Elapsed);
        }
        self.settle();
    }

    /// What a device was told about quarantines, once.
    fn told(&mut self, place: usize) -> Vec<Event> {
        let events = std::mem::take(&mut self.peers[place].events).into_iter();
        let told = events.filter(|event| {
            matches!(
                event,
                Event::DeviceQuarantined { .. } | Event::QuarantineEnded { .. }
            )
        });
        told.collect()
    }

    fn no_limit(&mut self, place: usize) {
        let policy = Policy::without_message_limit();
        self.peers[place].replica.set_policy(policy);
    }

    fn mallory(&self) -> sheaf_crypto::DeviceId {
        secrets(&self.peers[MALLORY].disk).device()
    }

    /// Content by Mallory's device that no gate lets through, in a run of its own.
    fn bad_content(&mut self, run: u8) {
        let epoch = only_epoch(self, MALLORY);
        let (topic, last) = last_record(self);
        let mallory = secrets(&self.peers[MALLORY].disk);
        let mut inner = written(&self.log, &epoch.keys, &mallory).pop().unwrap();
        inner.kind = sheaf_crypto::Kind::Content;
        inner.seq += 1;
        inner.previous = Some(item_of_record(&last));
        inner.run = RunId([run; 16]);
        inner.body = vec![run; 9];
        let mut rng = ChaCha20Rng::from_seed([run; 32]);
        let record = seal(&epoch.keys, &inner, &mallory, &mut rng).unwrap();
        self.inject(topic, record);
    }

    /// All three list the same, and nothing waits.
    fn agree(&self) {
        for place in [ALICE, MALLORY] {
            assert_eq!(self.texts(place), self.texts(BOB), "{place}");
        }
        let heads = |place: usize| {
            let shown = self.peers[place].replica.conversation(&self.conversation);
            shown.map(|shown| (shown.heads, shown.parked))
        };
        assert_eq!(heads(ALICE), heads(BOB));
        assert_eq!(heads(MALLORY), heads(BOB));
    }
}

#[test]
fn a_device_in_quarantine_is_heard_again_when_it_is_over() {
    let mut world = World::new();
    let before = world.texts(BOB);
    world.bad_content(9);
    world.send(MALLORY, "held back");
    world.send(ALICE, "goes on");
    let told = world.told(BOB);
    let [Event::DeviceQuarantined { device, quarantine }] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!(*device, world.mallory());
    assert_eq!(quarantine.why, Offence::RefusedContent);
    let until = quarantine.until.unwrap();
    assert_eq!(until.since_ms(quarantine.since), 10 * MINUTE_MS);
    let shown = world.texts(BOB);
    assert_eq!(shown.len(), before.len() + 1, "{shown:?}");
    assert!(shown.contains(&"goes on".to_owned()));
    let held = world.peers[BOB].replica.quarantines();
    assert_eq!((held.len(), held[0].kept), (1, 1));

    // A restart changes nothing about it.
    let now = world.peers[BOB].now;
    world.restart_bob();
    world.peers[BOB].now = now;
    world.send(MALLORY, "held back as well");
    assert_eq!(world.texts(BOB).len(), before.len() + 1);

    world.pass(10 * MINUTE_MS);
    let told = world.told(BOB);
    let ended = |event: &Event| matches!(event, Event::QuarantineEnded { lifted: false, .. });
    assert!(told.iter().any(ended), "{told:?}");
    assert!(world.peers[BOB].replica.quarantines().is_empty());
    world.agree();
    world.send(MALLORY, "heard again");
    world.agree();
    assert!(world.texts(BOB).contains(&"heard again".to_owned()));
}

/// Neither the end of a quarantine nor the next step of the ladder is gained by waiting for a restart.
#[test]
fn a_restart_forgives_nothing() {
    let mut world = World::new();
    for (run, minutes) in [(9, 10), (10, 60), (11, 24 * 60)] {
        world.bad_content(run);
        world.restart_bob();
        let held = world.peers[BOB].replica.quarantines();
        let [held] = held.as_slice() else {
            panic!("{held:?}");
        };
        let Quarantine { since, until, .. } = held.quarantine;
        assert_eq!(until.unwrap().since_ms(since), minutes * MINUTE_MS);
        assert_eq!(held.counts, [(Offence::RefusedContent, u64::from(run) - 8)]);
        world.pass((minutes - 1) * MINUTE_MS);
        world.restart_bob();
        assert_eq!(world.peers[BOB].replica.quarantines().len(), 1, "too early");
        world.pass(MINUTE_MS);
        assert!(world.peers[BOB].replica.quarantines().is_empty());
        world.restart_bob();
    }
    world.bad_content(12);
    world.restart_bob();
    let held = world.peers[BOB].replica.quarantines();
    assert_eq!(held[0].quarantine.until, None, "until somebody lifts it");
}

/// The count of the present minute is lost at a restart, what follows from earlier floods is not.
#[test]
fn a_restart_gives_back_no_limit_that_a_flood_has_halved() {
    let mut world = World::new();
    world.no_limit(ALICE);
    for number in 0..101 {
        world.send(MALLORY, &format!("flood {number}"));
    }
    assert_eq!(world.peers[BOB].replica.quarantines().len(), 1);
    world.restart_bob();
    assert_eq!(world.peers[BOB].replica.quarantines().len(), 1);
    world.pass(2 * MINUTE_MS);
    world.restart_bob();
    assert!(world.peers[BOB].replica.quarantines().is_empty());
    for number in 0..51 {
        world.send(MALLORY, &format!("again {number}"));
    }
    let held = world.peers[BOB].replica.quarantines();
    assert_eq!(held.len(), 1, "51 are too many after a flood");
    assert_eq!(held[0].quarantine.why, Offence::Flood);
    world.pass(10 * MINUTE_MS);
    world.agree();
}

#[test]
fn a_false_alarm_is_lifted_and_forgiven() {
    let mut world = World::new();
    world.bad_content(9);
    world.send(MALLORY, "held back");
    let mallory = world.mallory();
    for place in [ALICE, BOB] {
        assert_eq!(
            world.ask(place, Command::LiftQuarantine(mallory)),
            Reply::Done
        );
    }
    world.agree();
    assert!(world.texts(BOB).contains(&"held back".to_owned()));
    world.told(BOB);
    // The limits are what they were: the next time is the first time.
    world.bad_content(10);
    let told = world.told(BOB);
    let [Event::DeviceQuarantined { quarantine, .. }] = told.as_slice() else {
        panic!("{told:?}");
    };
    let until = quarantine.until.unwrap();
    assert_eq!(until.since_ms(quarantine.since), 10 * MINUTE_MS);
}

#[test]
fn a_flood_is_delayed_and_not_lost() {
    let mut world = World::new();
    world.no_limit(ALICE);
    let before = world.texts(BOB).len();
    for number in 0..150 {
        world.send(MALLORY, &format!("flood {number}"));
    }
    assert_eq!(world.texts(ALICE).len(), before + 150);
    let shown = world.texts(BOB).len() - before;
    assert!((90..=101).contains(&shown), "{shown}");
    let told = world.told(BOB);
    let flood = |event: &Event| {
        matches!(event, Event::DeviceQuarantined { quarantine, .. }
            if quarantine.why == Offence::Flood)
    };
    assert!(told.iter().any(flood), "{told:?}");
    world.pass(MINUTE_MS);
    assert_eq!(world.texts(BOB).len(), before + 150);
    world.agree();
    assert!(world.peers[BOB].misbehaviour().is_empty());
}

#[test]
fn what_others_build_on_is_not_held_back() {
    let mut world = World::new();
    world.no_limit(ALICE);
    for number in 0..150 {
        world.send(MALLORY, &format!("flood {number}"));
    }
    let held = world.peers[BOB].replica.quarantines();
    assert!(held[0].kept > 0);
    // Alice names what she has read: Bob needs it to read her.
    world.send(ALICE, "an answer");
    world.agree();
    assert!(world.texts(BOB).contains(&"an answer".to_owned()));
    world.send(MALLORY, "still over the limit");
    assert!(
        !world
            .texts(BOB)
            .contains(&"still over the limit".to_owned())
    );
    world.pass(MINUTE_MS);
    world.agree();
}

#[test]
fn catching_up_is_no_flood() {
    let mut world = World::new();
    world.no_limit(ALICE);
    world.peers[BOB].handle(Input::LinkDown(Log::id()));
    world.peers[BOB].offline();
    for number in 0..300 {
        world.send(MALLORY, &format!("while Bob was away {number}"));
    }
    world.peers[BOB].link_up();
    world.settle();
    assert!(world.told(BOB).is_empty());
    world.agree();
}

#[test]
fn one_who_was_offline_is_no_flood() {
    let mut world = World::new();
    world.peers[MALLORY].handle(Input::LinkDown(Log::id()));
    world.peers[MALLORY].offline();
    for number in 0..300 {
        world.send(MALLORY, &format!("written offline {number}"));
    }
    // An hour later the connection is back.
    world.pass(60 * MINUTE_MS);
    world.peers[MALLORY].link_up();
    world.settle();
    assert!(world.told(BOB).is_empty());
    world.agree();
}

/// Counters of the sealing keys that the newest epoch was sealed to.
fn sealed_to(world: &World) -> BTreeSet<u64> {
    let operations = world.peers[BOB].disk.iter();
    let operations = operations.filter(|(key, _)| key.kind == Kind::Operation);
    let mut last = None;
    for (_, value) in operations {
        type Row = (ConversationId, u64, SignedOperation);
        let (_, number, signed) = postcard::from_bytes::<Row>(&value[1..]).unwrap();
        if let Body::Rekey(rekey) = signed.decode().unwrap().body {
            let real = rekey.seals.iter().filter(|seal| seal.device.0 != [0; 32]);
            let counters = real.map(|seal| seal.counter).collect();
            last = last.max(Some((number, counters)));
        }
    }
    last.unwrap().1
}

#[test]
fn sealing_keys_are_drawn_weekly_used_by_all_and_erased() {
    let mut world = World::new();
    let kept = |world: &World| {
        let secrets = secrets(&world.peers[BOB].disk);
        let bytes = secrets.to_bytes().unwrap();
        (secrets.kem_counter(), bytes.len())
    };
    world.pass(60 * MINUTE_MS);
    world.rotate();
    assert_eq!(sealed_to(&world), BTreeSet::from([0]));
    world.pass(6 * DAY_MS);
    assert_eq!(kept(&world).0, 0, "not before a week is over");
    world.pass(DAY_MS + 60 * MINUTE_MS);
    assert_eq!(kept(&world).0, 1);
    world.rotate();
    assert_eq!(
        sealed_to(&world),
        BTreeSet::from([1]),
        "everybody seals to the newest"
    );
    world.send(MALLORY, "read under the new keys");
    world.agree();

    let mut most = 0;
    for _ in 0..9 {
        world.pass(7 * DAY_MS + 60 * MINUTE_MS);
        most = most.max(kept(&world).1);
    }
    let (newest, bytes) = kept(&world);
    assert_eq!(newest, 10);
    // Those of 30 days and the certificate's: as many bytes from the sixth week on.
    assert!(bytes <= most && bytes < 1 + 3 * 32 + 1 + 7 * 36, "{bytes}");
    world.rotate();
    assert_eq!(sealed_to(&world), BTreeSet::from([10]));
    for place in [ALICE, BOB, MALLORY] {
        world.send(place, "ten weeks later");
    }
    world.agree();
    let audit = audit(&world, BOB);
    let said = |what: &str| {
        audit
            .iter()
            .filter(|entry| entry.what.contains(what))
            .count()
    };
    assert_eq!(said("sealing key of this device replaced"), 10);
    assert!(said("old sealing keys erased") >= 4);
}

/// The audit log of a device, whose chain is checked.
fn audit(world: &World, place: usize) -> Vec<AuditEntry> {
    let rows = |kind| {
        world.peers[place]
            .disk
            .iter()
            .filter(move |(key, _)| key.kind == kind)
    };
    let mut head = rows(Kind::AuditHead).map(|(_, value)| AuditHead::decode(value).unwrap());
    let mut verifier = AuditVerifier::new(head.next_back().unwrap());
    let entries: Vec<AuditEntry> = rows(Kind::Audit)
        .map(|(_, value)| AuditEntry::decode(value).unwrap())
        .collect();
    for entry in &entries {
        verifier.entry(entry).unwrap();
    }
    verifier.end().unwrap();
    entries
}

#[test]
fn members_and_epochs_are_in_the_audit_log_once() {
    let mut world = World::new();
    let conversation = world.conversation;
    let mallory = world.peers[MALLORY].replica.overview().user.unwrap();
    let name = "meadow".to_owned();
    world.ask(ALICE, Command::RenameConversation { conversation, name });
    world.rotate();
    let user = mallory;
    world.ask(ALICE, Command::RemoveMember { conversation, user });
    world.restart_bob();
    world.send(ALICE, "after it");
    let here = |entry: &&AuditEntry| entry.conversation == Some(conversation);
    for place in [ALICE, BOB] {
        let log = audit(&world, place);
        let said = |what: &str, who: &str| {
            let mut log = log.iter().filter(here);
            let found = log.by_ref().filter(|entry| entry.what.contains(what));
            let found: Vec<_> = found.collect();
            assert_eq!(found.len(), 1, "{place} {what}: {found:?}");
            assert!(found[0].who.starts_with(who), "{place} {what}: {found:?}");
        };
        said("conversation field founded", "Alice");
        // Bob has no card of Mallory's: to him she is the beginning of her id.
        let mallory = match place {
            ALICE => "Mallory".to_owned(),
            _ => mallory.to_string().chars().take(8).collect(),
        };
        said("Bob added as writer", "Alice");
        said(&format!("{mallory} added as writer"), "Alice");
        said("the first one", "Alice");
        said("conversation renamed to meadow", "Alice");
        said("by its age or use, or asked for", "Alice");
        said(&format!("{mallory} removed"), "Alice");
        said("taken out or frozen", "Alice");
    }
}

/// The device that a device holds for primary, by place.
fn primary(world: &World, place: usize) -> Option<usize> {
    let devices = world.peers[place].replica.devices();
    let primary = devices.iter().find(|device| device.primary)?.device;
    [ALICE, MALLORY]
        .into_iter()
        .find(|other| world.peers[*other].replica.overview().device == Some(primary))
}

#[test]
fn a_primary_that_is_only_silent_stays_and_one_that_is_gone_is_replaced() {
    let mut world = World::with_two_devices();
    for _ in 0..40 {
        world.pass(DAY_MS);
    }
    for place in [ALICE, MALLORY] {
        assert_eq!(
            primary(&world, place),
            Some(ALICE),
            "heard of by its new keys"
        );
    }
    world.peers[ALICE].handle(Input::LinkDown(Log::id()));
    world.peers[ALICE].offline();
    for _ in 0..6 {
        world.pass(DAY_MS);
    }
    assert_eq!(primary(&world, MALLORY), Some(ALICE), "not before its time");
    for _ in 0..10 {
        world.pass(DAY_MS);
    }
    assert_eq!(primary(&world, MALLORY), Some(MALLORY));
    world.peers[ALICE].link_up();
    world.settle();
    for place in [ALICE, MALLORY] {
        assert_eq!(primary(&world, place), Some(MALLORY), "{place}");
    }
}

#[test]
fn who_was_away_himself_replaces_nobody() {
    let mut world = World::with_two_devices();
    world.pass(60 * MINUTE_MS);
    world.peers[MALLORY].handle(Input::LinkDown(Log::id()));
    world.peers[MALLORY].offline();
    for _ in 0..30 {
        world.pass(DAY_MS);
    }
    world.send(ALICE, "while the second was away");
    world.peers[MALLORY].link_up();
    world.settle();
    world.pass(60 * MINUTE_MS);
    for place in [ALICE, MALLORY] {
        assert_eq!(primary(&world, place), Some(ALICE), "{place}");
    }
    world.agree();
}

#[test]
fn what_is_written_beside_a_freeze_is_read_by_all_in_the_end() {
    let mut world = World::with_two_devices();
    let second = world.peers[MALLORY].replica.overview().device.unwrap();
    // Bob and the second device do not hear of the freeze, and talk on.
    world.peers[ALICE].handle(Input::LinkDown(Log::id()));
    world.peers[ALICE].offline();
    let change = DeviceChange::Freeze;
    world.ask(
        ALICE,
        Command::ChangeDevice {
            device: second,
            change,
        },
    );
    world.send(MALLORY, "written beside the freeze");
    world.send(BOB, "an answer to that");
    world.peers[ALICE].link_up();
    world.settle();
    assert!(world.texts(ALICE).contains(&"an answer to that".to_owned()));
    let change = DeviceChange::Thaw;
    world.ask(
        ALICE,
        Command::ChangeDevice {
            device: second,
            change,
        },
    );
    world.agree();
    assert!(
        world
            .texts(BOB)
            .contains(&"written beside the freeze".to_owned())
    );
}
