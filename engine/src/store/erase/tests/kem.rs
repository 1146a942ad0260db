//! Sealing keys of a device, over its real store and a clock that is set.

use sheaf_replica::{Command, CommandId, Input, Output, Replica, Timestamp};

use super::*;
use crate::entropy::OsEntropy;
use crate::store::{CheckReport, Overwrite, restore, write_backup};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// Does what the replica asks of the store.
fn drain(store: &Store, replica: &mut Replica, now: Timestamp) {
    while let Some(output) = replica.poll_output() {
        if let Output::Persist(batch, writes) = output {
            attempt(store, writes).unwrap();
            replica.handle(now, Input::Persisted(batch));
        }
    }
}

#[test]
fn a_sealing_key_is_gone_thirty_days_after_it_was_replaced() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path()).unwrap();
    let day = |day: u64| Timestamp(1_700_000_000_000 + day * DAY_MS);
    let mut replica = Replica::open(Box::new(OsEntropy), day(0), [1; 32], Vec::new()).unwrap();
    let create = Command::CreateAccount {
        name: "ada".to_owned(),
        device: "desk".to_owned(),
        relay: None,
    };
    replica.handle(day(0), Input::Command(CommandId(1), create));
    drain(&store, &mut replica, day(0));
    let account = |store: &Store| {
        let mut rows = rows(store);
        rows.retain(|(key, _)| key[0] == Kind::Account as u8);
        rows
    };
    // The first key, of the certificate, stays. The second is drawn on the eighth day and replaced on
    // the sixteenth.
    let mut second = Vec::new();
    let backups = tempfile::tempdir().unwrap();
    for week in 1..=7 {
        let now = day(week * 8);
        replica.handle(now, Input::Elapsed);
        drain(&store, &mut replica, now);
        if week == 1 {
            second = account(&store);
            back_up(&store, &backups.path().join("early"));
        }
        // Written over weekly, and still there for who has the device's files.
        let is_there = week * 8 < 16 + 30;
        assert_eq!(
            opened(&store, &second),
            usize::from(is_there),
            "week {week}"
        );
    }
    drop((store, replica));
    let store = open(home.path()).unwrap();
    assert_eq!(opened(&store, &second), 0);
    assert_eq!(account(&store).len(), 1);
    assert!(store.scan(Kind::Account).is_ok());
    // A backup has the keys of its time, and what was erased later.
    back_up(&store, &backups.path().join("late"));
    for (name, is_there) in [("early", 1), ("late", 0)] {
        let home = backups.path().join(name).with_extension("home");
        let unlock = Unlock::KeyFile(&KEY);
        let sound = |store: &Store, report: &CheckReport| {
            assert_eq!(opened(store, &second), is_there);
            assert_eq!(store.ring().len(), 1);
            assert!(report.erasable.records > 0 && report.erasable.unprotected == 0);
            Ok(report.is_sound())
        };
        assert!(restore(&backups.path().join(name), &home, &unlock, sound).unwrap());
    }
}

fn back_up(store: &Store, file: &Path) {
    write_backup(store, file, Overwrite::Never).unwrap();
}
