//! What one sees of and does about devices that are frozen, revoked, away or suspected.

use serde_json::Value;

use crate::home::{Home, text};
use crate::people::{People, send, texts};

fn device(home: &Home, name: &str) -> Value {
    let devices = home.lines(&["device", "list"]);
    let found = devices.iter().find(|device| device["name"] == name);
    found
        .unwrap_or_else(|| panic!("no {name} in {devices:?}"))
        .clone()
}

fn audit(home: &Home) -> Vec<String> {
    let entries = home.lines(&["audit"]);
    entries.iter().map(|entry| text(entry, "what")).collect()
}

#[test]
fn a_report_tells_what_a_revoked_device_had_and_who_knows() {
    let people = People::meet();
    send(&people.phone, "from the phone");
    people.exchange();
    let revoked = people.laptop.ok(&["device", "revoke", "phone", "--yes"]);
    assert_eq!(revoked["state"], "revoked");
    let conversations = revoked["report"]["conversations"].as_array().unwrap();
    let [harvest] = conversations.as_slice() else {
        panic!("{revoked}");
    };
    assert_eq!(harvest["name"], "Harvest");
    assert_eq!(harvest["out"], true);
    assert_eq!(harvest["messages"], 1);
    assert!(!harvest["epochs"].as_array().unwrap().is_empty());
    assert!(!harvest["positions"].as_array().unwrap().is_empty());
    let laptop = text(&device(&people.laptop, "laptop"), "device");
    let bob = text(&device(&people.bob, "desk"), "device");
    assert_eq!(harvest["taken_in"], serde_json::json!([laptop]));
    assert_eq!(harvest["outstanding"], serde_json::json!([bob]));

    people.laptop.ok(&["sync", "now"]);
    people.bob.ok(&["sync", "now"]);
    send(&people.bob, "without the phone");
    people.laptop.ok(&["sync", "now"]);
    let report = people.laptop.ok(&["device", "report", "phone"]);
    let harvest = &report["report"]["conversations"][0];
    assert_eq!(harvest["outstanding"], serde_json::json!([]), "{report}");
    assert_eq!(harvest["taken_in"].as_array().unwrap().len(), 2);
    assert_eq!(harvest["messages"], 1, "what came after it was not read");
    let noted = audit(&people.bob);
    assert!(
        noted.iter().any(|what| what.contains("detached")),
        "{noted:?}"
    );
}

#[test]
fn a_frozen_device_knows_of_it_and_is_thawed_by_the_phrase() {
    let people = People::meet();
    let phrase = people.phrase();
    people.laptop.ok(&["device", "freeze", "phone"]);
    people.laptop.ok(&["sync", "now"]);
    people.phone.ok(&["sync", "now"]);
    let phone = device(&people.phone, "phone");
    assert_eq!(
        (&phone["state"], &phone["frozen_by"]),
        (&"frozen".into(), &"laptop".into())
    );
    let ended = people.phone.run(&["message", "send", "Harvest", "waits"]);
    assert!(ended.stderr.contains("was frozen by laptop"), "{ended:?}");
    assert!(
        ended.stderr.contains("sheaf device thaw phone"),
        "{ended:?}"
    );
    let wrong = people.file("these are not the words");
    let thaw = |file: &str| ["device", "thaw", "phone", "--phrase-file", file].map(str::to_owned);
    let arguments = thaw(&wrong);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    people.phone.fails(&arguments, 1);
    let right = people.file(&phrase);
    let arguments = thaw(&right);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let thawed = people.phone.ok(&arguments);
    assert_eq!(thawed["state"], "active");
    people.exchange();
    people.exchange();
    assert_eq!(device(&people.laptop, "phone")["state"], "active");
    assert_eq!(texts(&people.bob), ["waits"]);
}

#[test]
fn the_phrase_is_replaced_and_only_the_new_one_counts() {
    let people = People::meet();
    let old = people.file(&people.phrase());
    let rotate = ["account", "rotate-phrase", "--phrase-file", &old];
    let new = text(&people.laptop.ok(&rotate), "recovery_phrase");
    assert_eq!(new.split(' ').count(), 24);
    people.laptop.fails(&rotate, 1);
    people.laptop.ok(&["device", "freeze", "phone"]);
    let new = people.file(&new);
    let thaw = ["device", "thaw", "phone", "--phrase-file", &new];
    people.laptop.ok(&thaw);
    people.laptop.fails(
        &["account", "rotate-phrase", "--phrase-file", "/no/such/file"],
        2,
    );
}

#[test]
fn the_primary_passes_its_place_on_and_a_candidate_declines() {
    let people = People::meet();
    assert_eq!(device(&people.laptop, "laptop")["primary"], true);
    let away = people.laptop.ok(&["device", "handover", "--unavailable"]);
    assert_eq!(away["primary"], false);
    people.exchange();
    for home in [&people.laptop, &people.phone] {
        assert_eq!(device(home, "phone")["primary"], true);
        assert_eq!(device(home, "laptop")["declined"], true);
    }
    // Nobody else is left: it goes back to the one that was named.
    people.phone.ok(&["device", "handover", "--decline"]);
    people.exchange();
    for home in [&people.laptop, &people.phone] {
        assert_eq!(device(home, "laptop")["primary"], true);
    }
    assert_eq!(people.laptop.run(&["device", "handover"]).code, 2);
}

#[test]
fn verification_is_withdrawn() {
    let people = People::meet();
    let confirmed = people.laptop.ok(&["contact", "verify", "bob", "--confirm"]);
    assert_eq!(confirmed["verified"], true);
    let withdrawn = people
        .laptop
        .ok(&["contact", "verify", "bob", "--withdraw"]);
    assert_eq!(withdrawn["verified"], false);
    assert_eq!(
        people.laptop.ok(&["contact", "verify", "bob"])["verified"],
        false
    );
}

#[test]
fn nothing_is_in_quarantine_among_honest_people() {
    let people = People::meet();
    assert!(
        people
            .laptop
            .lines(&["device", "quarantine", "list"])
            .is_empty()
    );
    people
        .laptop
        .fails(&["device", "quarantine", "lift", "0123abcd"], 1);
}

#[test]
fn the_audit_log_tells_who_came_and_under_which_keys() {
    let people = People::meet();
    people.laptop.ok(&["epoch", "rotate", "Harvest"]);
    people
        .laptop
        .ok(&["conversation", "rename", "Harvest", "Hay"]);
    let noted = audit(&people.laptop);
    let count = |words: &str| noted.iter().filter(|what| what.contains(words)).count();
    assert_eq!(count("conversation Harvest founded"), 1, "{noted:?}");
    assert_eq!(count("bob added as writer"), 1, "{noted:?}");
    assert_eq!(count("conversation renamed to Hay"), 1, "{noted:?}");
    assert_eq!(count("the first one"), 1, "{noted:?}");
    assert_eq!(count("by its age or use, or asked for"), 1, "{noted:?}");
}
