//! Backup, restoration, check, another secret, and the lock.

use std::path::{Path, PathBuf};

use crate::home::{Ended, Home, ended, program, text};
use crate::relay::Relay;

fn texts(home: &Home) -> Vec<String> {
    let messages = home.lines(&["message", "list", "Harvest"]);
    let texts = messages.iter().map(|message| text(message, "text"));
    texts.collect()
}

/// Makes each a contact of the first, and the first one of each.
fn acquaint(first: &Home, others: &[&Home]) {
    for other in others {
        let card = text(&first.ok(&["card"]), "card");
        other.ok(&["contact", "add", &card]);
        let card = text(&other.ok(&["card"]), "card");
        first.ok(&["contact", "add", &card]);
    }
}

fn send(home: &Home, words: &str) {
    home.ok(&["message", "send", "Harvest", words, "--wait", "0"]);
}

/// A home without a store that has the key file of another.
fn heir(of: &Home) -> Home {
    let home = Home::empty();
    std::fs::copy(of.key_file(), home.key_file()).unwrap();
    home
}

fn path(file: &Path) -> &str {
    file.to_str().unwrap()
}

#[test]
fn a_restored_device_gets_everything_back_and_goes_on() {
    let relay = Relay::start();
    let (alice, bob) = (Home::of("alice", "laptop"), Home::of("bob", "laptop"));
    let (carol, dave) = (Home::of("carol", "laptop"), Home::of("dave", "laptop"));
    acquaint(&alice, &[&bob, &carol, &dave]);
    alice.ok(&["conversation", "create", "Harvest", "--member", "bob"]);
    let sync = |home: &Home| {
        let synced = home.ok(&["sync", "now", "--relay", relay.address()]);
        assert_eq!(synced["converged"], true, "{synced}");
    };
    send(&alice, "before");
    sync(&alice);
    sync(&bob);
    // Two that are in the backup unsent, and that the lost store sends afterwards.
    send(&alice, "unsent 1");
    send(&alice, "unsent 2");
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("backup");
    let made = alice.ok(&["store", "backup", path(&file)]);
    assert_eq!(text(&made, "file"), path(&file));
    assert_eq!(made["bytes"], std::fs::metadata(&file).unwrap().len());
    sync(&alice);
    send(&alice, "after 1");
    sync(&alice);
    alice.ok(&["conversation", "member", "add", "Harvest", "carol"]);
    send(&alice, "after 2");
    sync(&alice);
    sync(&bob);
    send(&bob, "from bob");
    sync(&bob);
    let restored = heir(&alice);
    drop(alice);

    let made = restored.ok(&["store", "restore", path(&file)]);
    assert_eq!(text(&made, "user").len(), 64);
    assert!(made["rows"].as_u64().unwrap() > 10, "{made}");
    assert_eq!(texts(&restored), ["before", "unsent 1", "unsent 2"]);
    // Written before anything is read again, and by two processes.
    send(&restored, "offline 1");
    send(&restored, "offline 2");
    sync(&restored);
    let here = texts(&restored);
    for words in ["unsent 1", "after 1", "after 2", "from bob", "offline 2"] {
        let count = here.iter().filter(|text| *text == words).count();
        assert_eq!(count, 1, "{words}: {here:?}");
    }
    assert_eq!(here.len(), 8);
    sync(&bob);
    restored.ok(&["conversation", "member", "add", "Harvest", "dave"]);
    send(&bob, "answer");
    sync(&bob);
    sync(&restored);
    send(&restored, "thanks");
    for home in [&restored, &bob, &carol, &dave, &restored, &bob, &carol] {
        sync(home);
    }
    let heads = |home: &Home| home.ok(&["conversation", "heads", "Harvest"]);
    assert_eq!(texts(&restored).len(), 10);
    for home in [&bob, &carol] {
        assert_eq!(texts(&restored), texts(home));
        assert_eq!(heads(&restored), heads(home));
    }
    let members = restored.lines(&["conversation", "member", "list", "Harvest"]);
    assert_eq!(members.len(), 4);
    restored.ok(&["store", "check"]);
}

#[test]
fn backups_are_neither_overwritten_nor_restored_over_a_store() {
    let home = Home::of("alice", "laptop");
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("backup");
    let backup = ["store", "backup", path(&file)];
    home.ok(&backup);
    let before = std::fs::read(&file).unwrap();
    let said = home.fails(&backup, 1);
    assert!(said.contains("--force"), "{said}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
    home.ok(&[&backup[..], &["--force"]].concat());
    let said = home.fails(&["store", "restore", path(&file)], 1);
    assert!(said.contains("over it"), "{said}");
    Home::empty().fails(&backup, 10);

    let other = Home::empty();
    std::fs::write(other.key_file(), [9; 32]).unwrap();
    other.fails(&["store", "restore", path(&file)], 12);
    let bytes = std::fs::read(&file).unwrap();
    let right = heir(&home);
    for (bytes, code) in [
        (&bytes[..bytes.len() - 1], 15),
        (&bytes[..bytes.len() / 2], 15),
        (&b"something else, of some length"[..], 1),
        (&b""[..], 1),
    ] {
        std::fs::write(&file, bytes).unwrap();
        right.fails(&["store", "restore", path(&file)], code);
        let left = std::fs::read_dir(right.directory()).map_or(0, Iterator::count);
        assert_eq!(left, 0);
    }
    right.fails(&["card"], 10);
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_file()).collect()
}

#[test]
fn a_check_counts_every_kind_and_finds_damage() {
    let home = Home::of("alice", "laptop");
    home.ok(&["conversation", "create", "Harvest"]);
    for number in 0..30 {
        send(&home, &format!("{number} {}", "x7Q".repeat(700)));
    }
    let checked = home.ok(&["store", "check"]);
    assert_eq!(checked["sound"], true);
    let kinds = checked["kinds"].as_array().unwrap();
    let of = |kind: &str| kinds.iter().find(|one| one["kind"] == kind).unwrap();
    assert_eq!(of("message")["records"], 30);
    assert_eq!(of("account")["records"], 1);
    // The account, the epoch, the keys of the account vault: under the first key of this store.
    let secrets: u64 = ["account", "epoch", "vault"]
        .map(|kind| of(kind)["records"].as_u64().unwrap())
        .iter()
        .sum();
    let erasable = &checked["erasable"];
    assert_eq!(erasable["generation"], 1);
    assert_eq!(erasable["records"], secrets);
    assert_eq!(erasable["unprotected"], 0);
    assert_eq!(erasable["unfinished"], false);
    // Flipped bits, one at a time: those that are found end with 15, and words on what to do.
    let records = home.directory().join("state").join("records");
    let kept: Vec<_> = files(&records)
        .into_iter()
        .map(|file| (file.clone(), std::fs::read(&file).unwrap()))
        .collect();
    let mut damaged = 0;
    for round in 0..40_usize {
        std::fs::remove_dir_all(&records).unwrap();
        std::fs::create_dir_all(records.join("blobs")).unwrap();
        for (file, bytes) in &kept {
            let mut bytes = bytes.clone();
            if file.ends_with("db") {
                let place = (round * 17_929 + 13) % bytes.len();
                bytes[place] ^= 1 << (round % 8);
            }
            std::fs::write(file, bytes).unwrap();
        }
        let ended = home.run(&["store", "check"]);
        assert!([0, 15].contains(&ended.code), "{round}: {ended:?}");
        if ended.code == 15 {
            assert!(ended.stderr.contains("backup"), "{ended:?}");
            damaged += 1;
        }
    }
    println!("{damaged} of 40 flipped bits were found");
    assert!(damaged > 0);
}

fn with_passphrases(home: &Home, present: &str, new: Option<&str>, arguments: &[&str]) -> Ended {
    let mut command = program();
    command.args(arguments).arg("--home").arg(home.directory());
    command.env("SHEAF_PASSPHRASE", present);
    if let Some(new) = new {
        command.env("SHEAF_NEW_PASSPHRASE", new);
    }
    ended(command.output().unwrap())
}

#[test]
fn a_passphrase_is_changed_and_a_wrong_one_changes_nothing() {
    let home = Home::empty();
    let init = ["init", "--user", "alice", "--device", "laptop"];
    let change = ["account", "passphrase"];
    let run = |present: &str, new: Option<&str>, arguments: &[&str]| {
        let ended = with_passphrases(&home, present, new, arguments);
        for secret in ["first", "second", "third"] {
            let printed = [ended.stdout.as_str(), &ended.stderr].concat();
            assert!(!printed.contains(&format!("{secret} secret")), "{ended:?}");
        }
        ended.code
    };
    assert_eq!(run("first secret", None, &init), 0);
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("backup");
    let backup = ["store", "backup", path(&file)];
    assert_eq!(run("first secret", None, &backup), 0);
    assert_eq!(run("third secret", Some("second secret"), &change), 12);
    assert_eq!(run("first secret", None, &["card"]), 0);
    assert_eq!(run("first secret", None, &change), 2);
    assert_eq!(run("first secret", Some("second secret"), &change), 0);
    assert_eq!(run("first secret", None, &["card"]), 12);
    assert_eq!(run("second secret", None, &["card"]), 0);
    // To a key file that is made on the way, and no passphrase opens the store any more.
    let key = home.key_file();
    let change = [&change[..], &["--new-key-file", path(&key)]].concat();
    assert_eq!(run("second secret", None, &change), 0);
    assert_eq!(run("second secret", None, &["card"]), 12);
    home.ok(&["card"]);
    // The backup still opens by the passphrase of its time.
    let other = Home::empty();
    let restore = ["store", "restore", path(&file)];
    let ended = with_passphrases(&other, "first secret", None, &restore);
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[test]
fn an_idle_program_is_locked() {
    let relay = Relay::start();
    let home = Home::of("alice", "laptop");
    let arguments = ["run", "--lock-after", "1", "--relay", relay.address()];
    let running = home.start(&arguments);
    let ended = running.end();
    assert_eq!(ended.code, 16, "{ended:?}");
    assert!(ended.stderr.contains("locked"), "{ended:?}");
    // Closed in order: another process opens it at once.
    home.ok(&["card"]);
    let running = home.start(&["run", "--lock-after", "600", "--relay", relay.address()]);
    std::thread::sleep(std::time::Duration::from_secs(2));
    running.interrupt();
    assert_eq!(running.end().code, 0);
}
