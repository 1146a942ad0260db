//! Accounts, passphrases, exit codes, and what needs no account.

use std::process::Stdio;

use crate::home::{Ended, Home, ended, program, text};

fn with_passphrase(home: &Home, passphrase: Option<&str>, arguments: &[&str]) -> Ended {
    let mut command = program();
    command.args(arguments).arg("--home").arg(home.directory());
    if let Some(passphrase) = passphrase {
        command.env("SHEAF_PASSPHRASE", passphrase);
    }
    ended(command.output().unwrap())
}

#[test]
fn init_prints_everything_once() {
    let home = Home::empty();
    let made = home.ok(&["init", "--user", "alice", "--device", "laptop"]);
    for field in ["user", "device"] {
        assert_eq!(text(&made, field).len(), 64);
    }
    assert_eq!(text(&made, "recovery_phrase").split(' ').count(), 24);
    assert!(text(&made, "card").starts_with("sheaf:"));
    let card = home.ok(&["card"]);
    assert_eq!(card["card"], made["card"]);
    assert_eq!(card["fingerprint"], made["fingerprint"]);
    let devices = home.lines(&["device", "list"]);
    assert_eq!(devices.len(), 1);
    assert_eq!(devices[0]["device"], made["device"]);
    assert_eq!(devices[0]["name"], "laptop");
    assert_eq!(devices[0]["state"], "active");
    let again = home.fails(&["init", "--user", "alice", "--device", "laptop"], 1);
    assert!(again.contains("already"), "{again}");
}

#[test]
fn a_name_that_cannot_be_taken_leaves_no_store_behind() {
    let long = "x".repeat(65);
    for (user, device) in [
        ("", "laptop"),
        ("alice", "  "),
        ("al\nice", "laptop"),
        ("alice", &long),
    ] {
        let home = Home::empty();
        let said = home.fails(&["init", "--user", user, "--device", device], 1);
        assert!(said.contains("1 to 64 bytes"), "{said}");
        let said = home.fails(&["status"], 10);
        assert!(said.contains("there is no store"), "{said}");
        home.ok(&["init", "--user", "alice", "--device", "laptop"]);
    }
}

#[test]
fn what_makes_no_account_leaves_no_store_behind() {
    let home = Home::empty();
    let alice = Home::of("alice", "laptop");
    let card = text(&alice.ok(&["card"]), "card");
    let phrases = home.directory().with_extension("phrase");
    let phrase = phrases.to_str().unwrap();
    for words in ["no such words", &["abandon"; 24].join(" ")] {
        std::fs::write(&phrases, words).unwrap();
        let recover = [
            "account",
            "recover",
            "--phrase-file",
            phrase,
            "--device",
            "tablet",
        ];
        home.fails(&[&recover[..], &["--card", &card, "--yes"]].concat(), 1);
        let said = home.fails(&["status"], 10);
        assert!(said.contains("there is no store"), "{said}");
    }
    std::fs::remove_file(&phrases).unwrap();
    home.fails(&["device", "join", "no-code", "--device", "tablet"], 14);
    home.fails(&["status"], 10);
    // With another secret than the one that was tried with.
    let made = with_passphrase(
        &home,
        Some("a passphrase of its own"),
        &["init", "--user", "alice", "--device", "laptop"],
    );
    assert_eq!(made.code, 0, "{}", made.stderr);
}

#[cfg(unix)]
#[test]
fn the_key_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;

    let home = Home::of("alice", "laptop");
    let file = std::fs::metadata(home.key_file()).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    assert_eq!(file.len(), 32);
    let directory = std::fs::metadata(home.directory()).unwrap();
    assert_eq!(directory.permissions().mode() & 0o077, 0);
}

#[test]
fn without_a_store_the_code_is_10() {
    let home = Home::empty();
    for arguments in [
        &["status"][..],
        &["contact", "list"],
        &["sync", "now"],
        &["card"],
    ] {
        let said = home.fails(arguments, 10);
        assert!(said.contains("sheaf init"), "{said}");
    }
    assert!(!home.directory().exists(), "looking makes nothing");
}

#[test]
fn a_wrong_secret_is_12() {
    let home = Home::empty();
    let init = ["init", "--user", "alice", "--device", "laptop"];
    let made = with_passphrase(&home, Some("correct horse"), &init);
    assert_eq!(made.code, 0, "{made:?}");
    let wrong = with_passphrase(&home, Some("incorrect horse"), &["card"]);
    assert_eq!(wrong.code, 12, "{wrong:?}");
    assert!(!wrong.stderr.contains("horse"), "{wrong:?}");
    let right = with_passphrase(&home, Some("correct horse"), &["card"]);
    assert_eq!(right.code, 0, "{right:?}");

    std::fs::write(home.key_file(), [9; 32]).unwrap();
    home.fails(&["card"], 12);
    std::fs::write(home.key_file(), [9; 31]).unwrap();
    home.fails(&["card"], 12);
}

#[test]
fn nobody_is_asked_without_a_terminal() {
    let home = Home::of("alice", "laptop");
    let asked = with_passphrase(&home, None, &["card"]);
    assert_eq!(asked.code, 2, "{asked:?}");
    assert!(asked.stderr.contains("SHEAF_PASSPHRASE"), "{asked:?}");
}

#[test]
fn what_makes_no_sense_is_2() {
    let home = Home::empty();
    for arguments in [
        &["no-such-noun"][..],
        &["message", "send"],
        &["status", "--relay", "https://example.org/"],
        &["message", "list", "x", "--limit", "0"],
        &["message", "list", "x", "--before", "not-an-id"],
        &["sync", "now", "--timeout", "-1"],
    ] {
        let ended = home.run(arguments);
        assert_eq!(ended.code, 2, "{arguments:?}: {ended:?}");
    }
}

#[test]
fn a_second_process_on_one_home_is_11() {
    let home = Home::of("alice", "laptop");
    let nowhere = "sheaf://127.0.0.1:9/#AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let running = home.start(&["run", "--relay", nowhere]);
    let mut ended = home.run(&["card"]);
    for _ in 0..100 {
        if ended.code == 11 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        ended = home.run(&["card"]);
    }
    assert_eq!(ended.code, 11, "{ended:?}");
    running.interrupt();
    let closed = running.end();
    assert_eq!(closed.code, 0, "{closed:?}");
    home.ok(&["card"]);
}

#[test]
fn a_closed_pipe_is_success() {
    let mut child = program()
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn completions_and_manual_need_no_account() {
    for (arguments, holds) in [
        (&["completions", "bash"][..], "_sheaf"),
        (&["completions", "fish"], "complete -c sheaf"),
        (&["man"], ".TH sheaf"),
        (&["--help"], "conversation"),
        (&["--version"], "sheaf"),
    ] {
        let ended = ended(program().args(arguments).output().unwrap());
        assert_eq!(ended.code, 0, "{arguments:?}");
        assert!(ended.stdout.contains(holds), "{arguments:?}");
    }
}

#[test]
fn without_a_keyring_nothing_is_made_and_the_weaker_way_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    let mut command = program();
    command
        .args(["init", "--user", "Ada", "--device", "laptop", "--keyring"])
        .arg("--home")
        .arg(&home)
        .env(
            "DBUS_SESSION_BUS_ADDRESS",
            format!("unix:path={}", directory.path().join("none").display()),
        );
    let ended = ended(command.output().unwrap());
    assert_eq!(ended.code, 1, "{ended:?}");
    assert_eq!(ended.stdout, "");
    for words in ["the keyring cannot be used", "--key-file", "weaker"] {
        assert!(ended.stderr.contains(words), "{ended:?}");
    }
    assert!(!home.exists(), "no store without its key");
}
