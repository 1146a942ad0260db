//! What one can do to one's own devices, and what becomes of them.

use serde_json::Value;

use crate::home::{Home, text};
use crate::people::{People, epochs, link, send, texts};

fn device(home: &Home, name: &str) -> Value {
    let devices = home.lines(&["device", "list"]);
    let found = devices.iter().find(|device| device["name"] == name);
    found
        .unwrap_or_else(|| panic!("no {name} in {devices:?}"))
        .clone()
}

#[test]
fn a_revoked_device_is_out_of_everything() {
    let people = People::meet();
    send(&people.phone, "from the phone");
    people.exchange();
    let said = people.laptop.fails(&["device", "revoke", "phone"], 2);
    assert!(
        said.contains("every conversation") && said.contains("--yes"),
        "{said}"
    );
    assert_eq!(device(&people.laptop, "phone")["state"], "active");

    let (before, _) = epochs(&people.bob);
    let revoked = people.laptop.ok(&["device", "revoke", "phone", "--yes"]);
    assert_eq!(revoked["state"], "revoked");
    assert_eq!(revoked["device"], device(&people.laptop, "phone")["device"]);
    assert_eq!(revoked["rotated"].as_array().unwrap().len(), 1, "{revoked}");
    assert_eq!(
        revoked["outstanding"].as_array().unwrap().len(),
        0,
        "{revoked}"
    );
    assert_eq!(device(&people.laptop, "phone")["state"], "revoked");
    people.laptop.ok(&["sync", "now"]);
    people.bob.ok(&["sync", "now"]);
    assert_ne!(epochs(&people.bob).0, before);
    send(&people.laptop, "after the phone");
    people.bob.ok(&["sync", "now"]);
    assert_eq!(texts(&people.bob), ["from the phone", "after the phone"]);

    people.phone.run(&["sync", "now", "--timeout", "5"]);
    assert_eq!(texts(&people.phone), ["from the phone"]);
    let status = people.phone.ok(&["status", "--wait", "5"]);
    assert_eq!(status["conversations"][0]["out"], true, "{status}");
    let found = people.phone.run(&["doctor", "--wait", "5"]).stdout;
    assert!(found.contains("\"revoked\""), "{found}");
    assert!(!found.contains("\"behind\""), "{found}");
    let commands: [&[&str]; 3] = [
        &["message", "send", "Harvest", "still me"],
        &["sync", "barrier", "--everywhere"],
        &["sync", "resync"],
    ];
    for command in commands {
        let said = people.phone.fails(command, 14);
        assert!(said.contains("was revoked"), "{said}");
    }
    let audit = people.laptop.lines(&["audit", "--since", "1h"]);
    let noted = audit
        .iter()
        .any(|entry| text(entry, "what") == "device phone revoked");
    assert!(noted, "{audit:?}");
}

#[test]
fn the_only_device_is_not_revoked() {
    let home = Home::of("alice", "laptop");
    let said = home.fails(&["device", "revoke", "laptop", "--yes"], 1);
    assert!(said.contains("only device"), "{said}");
    assert_eq!(home.lines(&["device", "list"])[0]["state"], "active");
}

/// Freezes the phone, which learns of it before it writes.
fn frozen() -> People {
    let people = People::meet();
    let frozen = people.laptop.ok(&["device", "freeze", "phone"]);
    assert_eq!(frozen["state"], "frozen");
    for home in [&people.laptop, &people.phone, &people.bob] {
        home.ok(&["sync", "now"]);
    }
    people
}

#[test]
fn a_frozen_device_is_not_heard() {
    let people = frozen();
    assert_eq!(device(&people.laptop, "phone")["state"], "frozen");
    let ended = people.phone.run(&["message", "send", "Harvest", "waits"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains("queued"), "{ended:?}");
    assert!(
        ended.stderr.contains("this device was frozen by laptop"),
        "{ended:?}"
    );
    send(&people.laptop, "without the phone");
    // It has nothing to wait for, and says so at once.
    let ended = people.phone.run(&["sync", "now", "--timeout", "3600"]);
    assert!(ended.stdout.contains(r#""waits":["Harvest"]"#), "{ended:?}");
    people.bob.ok(&["sync", "now"]);
    assert_eq!(texts(&people.bob), ["without the phone"]);
    assert_eq!(texts(&people.phone), ["waits"]);
    people.phone.fails(&["device", "thaw", "phone"], 1);
    let thawed = people.laptop.ok(&["device", "thaw", "phone"]);
    assert_eq!(thawed["state"], "active");
    assert_eq!(device(&people.laptop, "phone")["state"], "active");
}

#[test]
fn a_thawed_device_writes_and_reads_again() {
    let people = frozen();
    send(&people.laptop, "without the phone");
    people.laptop.ok(&["device", "thaw", "phone"]);
    people.exchange();
    send(&people.phone, "thawed");
    people.exchange();
    for home in [&people.laptop, &people.phone, &people.bob] {
        assert_eq!(texts(home), ["without the phone", "thawed"]);
    }
}

#[test]
fn a_device_has_another_name_and_becomes_primary() {
    let people = People::meet();
    let id = text(&device(&people.laptop, "phone"), "device");
    let renamed = people.laptop.ok(&["device", "rename", "phone", "pocket"]);
    assert_eq!(
        (&renamed["device"], &renamed["name"]),
        (&id.clone().into(), &"pocket".into())
    );
    people.exchange();
    assert_eq!(device(&people.phone, "pocket")["this"], true);
    let beginning = id.get(..8).unwrap();
    let primary = people.laptop.ok(&["device", "handover", beginning]);
    assert_eq!(primary["primary"], true);
    people.exchange();
    for home in [&people.laptop, &people.phone] {
        assert_eq!(device(home, "pocket")["primary"], true);
        assert_eq!(device(home, "laptop")["primary"], false);
    }
    people
        .laptop
        .fails(&["device", "rename", "no such device", "x"], 1);
    let said = people
        .phone
        .fails(&["device", "revoke", "laptop", "--yes"], 1);
    assert!(said.contains("senior"), "{said}");
}

#[test]
fn an_account_comes_back_by_its_phrase() {
    let people = People::meet();
    let lost = Home::empty();
    let init = [
        "init",
        "--user",
        "carol",
        "--device",
        "lost",
        "--relay",
        people.relay(),
    ];
    let account = lost.ok(&init);
    let card = text(&account, "card");
    let phrase = text(&account, "recovery_phrase");
    let recover = |home: &Home, words: &str, yes: &[&str]| {
        let given = ["account", "recover", "--card", &card, "--device", "new"];
        let mut running = home.start(&[&given[..], yes].concat());
        running.type_line(words);
        running.end()
    };
    let new = Home::empty();
    let asked = new.run(&["account", "recover", "--card", &card, "--device", "new"]);
    assert_eq!(asked.code, 2, "{asked:?}");
    let wrong = recover(&new, "these are not the words", &["--yes"]);
    assert_eq!(wrong.code, 1, "{wrong:?}");
    let ended = recover(&new, &phrase, &["--yes"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let recovered: Value = serde_json::from_str(ended.stdout.trim()).unwrap();
    assert_eq!(recovered["user"], account["user"]);
    assert_eq!(device(&new, "lost")["state"], "revoked");
    assert_eq!(device(&new, "new")["this"], true);

    // The relay came with the card; Bob takes the new card and invites the new device.
    people
        .bob
        .ok(&["contact", "add", &text(&recovered, "card")]);
    people
        .laptop
        .ok(&["contact", "add", &text(&recovered, "card")]);
    let add = ["conversation", "member", "add", "Harvest", "carol"];
    people.laptop.ok(&add);
    people.laptop.ok(&["sync", "now"]);
    new.ok(&["sync", "now"]);
    send(&new, "here again");
    people.exchange();
    assert_eq!(texts(&people.bob), ["here again"]);
    drop(link(&new, "another"));
    assert_eq!(new.lines(&["device", "list"]).len(), 3);
}
