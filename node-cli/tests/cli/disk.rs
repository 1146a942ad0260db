//! Disks that are full, and stores that were damaged.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::home::{Home, text};
use crate::relay::Relay;

/// A file system of its own, of a few mebibytes.
struct SmallDisk {
    mounted: PathBuf,
    _directory: tempfile::TempDir,
}

impl SmallDisk {
    /// `None`, with a word about it, where nothing may be mounted.
    fn mount(kilobytes: u32) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = directory.path().to_owned();
        let size = format!("size={kilobytes}k");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(&mounted)
            .output();
        if mount.is_ok_and(|done| done.status.success()) {
            return Some(Self {
                mounted,
                _directory: directory,
            });
        }
        println!("skipped: a small disk needs the right to mount a tmpfs (run as root)");
        None
    }

    fn resize(&self, kilobytes: u32) {
        let size = format!("remount,size={kilobytes}k");
        let mut mount = Command::new("mount");
        let done = mount.args(["-o", &size]).arg(&self.mounted).status();
        assert!(done.unwrap().success());
    }

    /// Fills what is left, as another program does.
    fn fill(&self) {
        let mut left = vec![0; 1 << 20];
        let file = self.mounted.join("ballast");
        while !left.is_empty() {
            let full = std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(&file)
                .and_then(|mut file| std::io::Write::write_all(&mut file, &left));
            if full.is_err() {
                left.truncate(left.len() / 2);
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A file that is still held keeps it busy for a moment: let go now, unmount then.
        let mut unmount = Command::new("umount");
        let done = unmount.arg("--lazy").arg(&self.mounted).status();
        assert!(done.is_ok_and(|done| done.success()) || std::thread::panicking());
    }
}

/// Lines for `message import`, each of 15,000 bytes.
fn lines_file(directory: &Path, count: u32) -> String {
    let lines = (1..=count).map(|seq| {
        let text = format!("{seq} {}", "x7Q".repeat(5_000));
        let time = "2026-01-01T00:00:00Z";
        let line = serde_json::json!({ "seq": seq, "time": time, "kind": "text", "author": "x",
            "text": text });
        format!("{line}\n")
    });
    let file = directory.join("lines");
    std::fs::write(&file, lines.collect::<String>()).unwrap();
    file.to_str().unwrap().to_owned()
}

fn listed(home: &Home) -> Vec<String> {
    let lines = home.lines(&["message", "list", "yard", "--limit", "10000"]);
    lines.iter().map(|line| text(line, "message")).collect()
}

/// Sends until it fails; gives what was acknowledged and how it failed.
fn send_until_full(home: &Home, bytes: usize) -> (Vec<String>, String) {
    let body = "x7Q".repeat(bytes / 3);
    let mut acknowledged = Vec::new();
    for number in 0..2_000 {
        let line = format!("{number} {body}");
        let arguments = ["message", "send", "yard", &line, "--wait", "0"];
        let ended = home.run(&arguments);
        if ended.code != 0 {
            assert_eq!(ended.code, 1, "{ended:?}");
            assert_eq!(ended.stdout, "");
            return (acknowledged, ended.stderr);
        }
        let said: serde_json::Value = serde_json::from_str(ended.stdout.trim()).unwrap();
        acknowledged.push(text(&said, "message"));
    }
    panic!("the disk is never full");
}

fn says_what_to_do(said: &str) {
    let object: serde_json::Value = serde_json::from_str(said.trim()).expect(said);
    assert_eq!(object["code"], 1);
    let error = text(&object, "error");
    assert!(error.contains("no space is left on the disk"), "{error}");
    assert!(error.contains("make room"), "{error}");
}

#[test]
fn a_full_disk_loses_nothing_and_goes_on_when_there_is_room() {
    for kilobytes in [3_500, 4_400] {
        let Some(disk) = SmallDisk::mount(kilobytes) else {
            return;
        };
        let home = Home::within(&disk.mounted);
        home.ok(&["init", "--user", "Alice", "--device", "first"]);
        home.ok(&["conversation", "create", "yard"]);
        let (mut sent, said) = send_until_full(&home, 24_000);
        says_what_to_do(&said);
        // Reading goes on.
        assert_eq!(listed(&home), sent);
        home.ok(&["status", "--wait", "0"]);
        // Other programs take the rest: then nothing can be opened, and still nothing is lost.
        disk.fill();
        for _ in 0..4 {
            let ended = home.run(&["message", "send", "yard", "more", "--wait", "0"]);
            assert_eq!(ended.code, 1, "{ended:?}");
            says_what_to_do(&ended.stderr);
            home.run(&["message", "list", "yard"]);
        }
        disk.resize(30_000);
        assert_eq!(listed(&home), sent);
        let more = home.ok(&["message", "send", "yard", "more", "--wait", "0"]);
        sent.push(text(&more, "message"));
        assert_eq!(listed(&home), sent);
    }
}

#[test]
fn a_full_disk_in_the_midst_of_an_import() {
    let Some(disk) = SmallDisk::mount(4_000) else {
        return;
    };
    let home = Home::within(&disk.mounted);
    home.ok(&["init", "--user", "Alice", "--device", "first"]);
    home.ok(&["conversation", "create", "yard"]);
    let elsewhere = tempfile::tempdir().unwrap();
    let file = lines_file(elsewhere.path(), 400);
    let ended = home.run(&["message", "import", "yard", &file]);
    assert!([1, 3].contains(&ended.code), "{ended:?}");
    assert!(ended.stderr.contains("make room"), "{ended:?}");
    let before = listed(&home);
    disk.fill();
    home.run(&["message", "list", "yard"]);
    disk.resize(60_000);
    assert_eq!(listed(&home), before);
    home.ok(&["message", "send", "yard", "more", "--wait", "0"]);
    assert_eq!(listed(&home).len(), before.len() + 1);
}

/// Whoever is behind has no room for what comes: it is said, and goes on once there is some.
#[test]
fn who_stays_connected_says_that_the_disk_is_full_and_goes_on_by_itself() {
    let Some(disk) = SmallDisk::mount(6_000) else {
        return;
    };
    let relay = Relay::start();
    let (alice, bob) = (Home::of("alice", "laptop"), Home::within(&disk.mounted));
    bob.ok(&["init", "--user", "bob", "--device", "wall"]);
    for (from, to) in [(&alice, &bob), (&bob, &alice)] {
        let card = text(&from.ok(&["card"]), "card");
        to.ok(&["contact", "add", &card]);
    }
    alice.ok(&["conversation", "create", "yard", "--member", "bob"]);
    let elsewhere = tempfile::tempdir().unwrap();
    let file = lines_file(elsewhere.path(), 400);
    alice.ok(&["message", "import", "yard", &file]);
    alice.ok(&["sync", "now", "--relay", relay.address()]);

    let mut running = bob.start(&["run", "--relay", relay.address()]);
    let failed = running.event("store_failed");
    assert_eq!(failed["full"], true);
    assert!(text(&failed, "reason").contains("no space is left on the disk"));
    running.interrupt();
    assert_eq!(running.end().code, 0);

    let status = bob.run(&["status", "--wait", "20"]);
    says_what_to_do(&status.stderr);
    let status: serde_json::Value = serde_json::from_str(status.stdout.trim()).unwrap();
    assert!(text(&status, "store_failed").contains("no space is left on the disk"));
    assert!(bob.run(&["doctor"]).stdout.contains("store_failed"));

    let mut running = bob.start(&["run"]);
    running.event("store_failed");
    disk.resize(90_000);
    while running.event("progress")["stage"] != "done" {}
    running.interrupt();
    assert_eq!(running.end().code, 0);
    assert_eq!(listed(&bob), listed(&alice));
    assert_eq!(listed(&bob).len(), 400);
}

#[test]
fn a_relay_without_room_is_named_as_the_reason() {
    let relay = Relay::full();
    let home = Home::of("alice", "laptop");
    home.ok(&["conversation", "create", "yard"]);
    home.ok(&["message", "send", "yard", "kept here", "--wait", "0"]);
    let ended = home.run(&["doctor", "--wait", "2", "--relay", relay.address()]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stdout.contains("\"relay_refuses\""), "{ended:?}");
    assert!(
        ended.stdout.contains("does not take records now"),
        "{ended:?}"
    );
    let ended = home.run(&["sync", "now", "--timeout", "2"]);
    assert_eq!(ended.code, 3, "{ended:?}");
    let said: serde_json::Value = serde_json::from_str(ended.stdout.trim()).unwrap();
    assert!(text(&said, "refused").contains("does not take records now"));
    assert!(
        ended.stderr.contains("does not take records now"),
        "{ended:?}"
    );
    assert_eq!(listed(&home).len(), 1);
}

/// Without the right to mount: a limit on the size of files.
#[test]
fn a_file_that_may_not_grow_loses_nothing() {
    let home = Home::of("Alice", "first");
    home.ok(&["conversation", "create", "yard"]);
    let limited = |text: &str| {
        let arguments = ["message", "send", "yard", text, "--wait", "0"];
        // The shell's limit is in blocks of 1,024 bytes; the signal is ignored, so writes fail.
        let script = "ulimit -f 1200; trap '' XFSZ; exec \"$0\" \"$@\"";
        let inner = home.command(&arguments);
        let mut shell = Command::new("bash");
        shell.args(["-c", script]).arg(inner.get_program());
        shell.args(inner.get_args()).output().unwrap()
    };
    let body = "x7Q".repeat(8_000);
    let mut sent = Vec::new();
    let failed = loop {
        let output = limited(&format!("{} {body}", sent.len()));
        if !output.status.success() {
            break output;
        }
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        sent.push(text(&said, "message"));
        assert!(sent.len() < 500, "the limit has no effect");
    };
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    says_what_to_do(&String::from_utf8(failed.stderr).unwrap());
    for _ in 0..3 {
        assert_eq!(limited("more").status.code(), Some(1));
    }
    // Of a write that failed half-way nobody knows whether it was kept; a token makes trying again
    // harmless.
    let here = listed(&home);
    assert_eq!(here[..sent.len()], sent);
    assert!(here.len() <= sent.len() + 1, "{here:?}");
    home.ok(&["message", "send", "yard", "more", "--wait", "0"]);
    assert_eq!(listed(&home).len(), here.len() + 1);
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn flipped_bits_end_with_the_code_of_damage_and_without_a_panic() {
    let home = Home::of("Alice", "first");
    home.ok(&["conversation", "create", "yard"]);
    for number in 0..10 {
        let line = format!("{number} {}", "x7Q".repeat(1_000));
        home.ok(&["message", "send", "yard", &line, "--wait", "0"]);
    }
    let state = home.directory().join("state");
    let kept: Vec<(PathBuf, Vec<u8>)> = files(&state)
        .into_iter()
        .map(|file| (file.clone(), std::fs::read(file).unwrap()))
        .collect();
    let mut damaged = 0;
    for round in 0..30_usize {
        let records = state.join("records");
        std::fs::remove_dir_all(&records).unwrap();
        std::fs::create_dir_all(records.join("blobs")).unwrap();
        for (file, bytes) in &kept {
            let mut bytes = bytes.clone();
            if file.ends_with("db") {
                let place = (round * 7_919 + 13) % bytes.len();
                bytes[place] ^= 1 << (round % 8);
            }
            std::fs::write(file, bytes).unwrap();
        }
        let ended = home.run(&["message", "list", "yard"]);
        assert!([0, 1, 10, 15].contains(&ended.code), "{round}: {ended:?}");
        assert!(!ended.stderr.contains("panicked"), "{round}: {ended:?}");
        assert!(ended.stderr.lines().count() <= 1, "{round}: {ended:?}");
        damaged += usize::from(ended.code == 15);
    }
    println!("{damaged} of 30 ended with 15");
    assert!(damaged > 0);
}
