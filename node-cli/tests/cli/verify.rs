//! Comparing digits, blocking, the audit log and manual pages.

use serde_json::Value;

use crate::home::{Home, ended, program, text};
use crate::people::{People, link};

fn contact(home: &Home, name: &str) -> Value {
    let contacts = home.lines(&["contact", "list"]);
    let found = contacts.iter().find(|contact| contact["name"] == name);
    found
        .unwrap_or_else(|| panic!("no {name} in {contacts:?}"))
        .clone()
}

#[test]
fn both_see_the_same_digits() {
    let people = People::meet();
    let alices = people.laptop.ok(&["contact", "verify", "bob"]);
    let bobs = people.bob.ok(&["contact", "verify", "alice"]);
    assert_eq!(alices["safety_number"], bobs["safety_number"]);
    let groups = text(&alices, "safety_number");
    let groups: Vec<&str> = groups.split(' ').collect();
    assert_eq!(groups.len(), 12);
    assert!(groups.iter().all(|group| group.len() == 5));
    assert_eq!(alices["verified"], false, "looking verifies nothing");
    assert_eq!(contact(&people.bob, "alice")["verified"], false);

    let confirmed = people.bob.ok(&["contact", "verify", "alice", "--confirm"]);
    assert_eq!(confirmed["verified"], true);
    let alice = contact(&people.bob, "alice");
    assert_eq!(
        (&alice["verified"], &alice["changed"]),
        (&true.into(), &false.into())
    );

    // A new device shows as a change of the device list that was verified.
    drop(link(&people.laptop, "tablet"));
    people.laptop.ok(&["sync", "now"]);
    people.bob.ok(&["sync", "now"]);
    let alice = contact(&people.bob, "alice");
    assert_eq!(alice["changed"], true, "{alice}");
    let looked = people.bob.ok(&["contact", "verify", "alice"]);
    assert_eq!(looked["verified"], false, "to be compared again");
    let noted = people.bob.lines(&["audit"]);
    let verified = noted
        .iter()
        .any(|entry| text(entry, "what").contains("alice marked verified"));
    assert!(verified, "{noted:?}");
}

#[test]
fn a_blocked_contact_invites_in_vain() {
    let people = People::meet();
    let blocked = people.bob.ok(&["contact", "block", "alice"]);
    assert_eq!(blocked["blocked"], true);
    assert_eq!(contact(&people.bob, "alice")["blocked"], true);
    people
        .laptop
        .ok(&["conversation", "create", "Orchard", "--member", "bob"]);
    people.exchange();
    let known = people.bob.lines(&["conversation", "list"]);
    assert!(
        known.iter().all(|one| one["name"] != "Orchard"),
        "{known:?}"
    );
    let create = ["conversation", "create", "Cellar"];
    people.bob.ok(&create);
    let add = ["conversation", "member", "add", "Cellar", "alice"];
    let said = people.bob.fails(&add, 1);
    assert!(said.contains("unblock"), "{said}");

    let unblocked = people.bob.ok(&["contact", "unblock", "alice"]);
    assert_eq!(unblocked["blocked"], false);
    people.bob.ok(&add);
    people
        .laptop
        .ok(&["conversation", "create", "Field", "--member", "bob"]);
    people.exchange();
    let known = people.bob.lines(&["conversation", "list"]);
    assert!(known.iter().any(|one| one["name"] == "Field"), "{known:?}");
}

#[test]
fn the_audit_log_is_in_order_and_can_be_cut() {
    let home = Home::of("alice", "laptop");
    home.ok(&["device", "rename", "laptop", "desk"]);
    home.ok(&["device", "rename", "desk", "laptop"]);
    let all = home.lines(&["audit"]);
    let numbers: Vec<u64> = all
        .iter()
        .map(|entry| entry["number"].as_u64().unwrap())
        .collect();
    assert!(
        numbers.windows(2).all(|pair| pair[0] < pair[1]),
        "{numbers:?}"
    );
    assert!(all.len() >= 2);
    assert!(all.iter().all(|entry| text(entry, "hash").len() == 64));
    assert_eq!(home.lines(&["audit", "--since", "1h"]).len(), all.len());
    assert_eq!(
        home.lines(&["audit", "--since", "2100-01-01T00:00:00Z"])
            .len(),
        0
    );
    let said = home.fails(&["audit", "--since", "yesterday"], 2);
    assert!(said.contains("2h"), "{said}");
}

#[test]
fn every_command_has_a_manual_page() {
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("man1");
    let written = ended(
        program()
            .args(["man", "--json", "--dir"])
            .arg(&pages)
            .output()
            .unwrap(),
    );
    assert_eq!(written.code, 0, "{written:?}");
    let written: Value = serde_json::from_str(written.stdout.trim()).unwrap();
    let files = std::fs::read_dir(&pages).unwrap().count();
    assert_eq!(written["pages"], files);
    for page in [
        "sheaf.1",
        "sheaf-device-revoke.1",
        "sheaf-conversation-member-role.1",
    ] {
        assert!(pages.join(page).is_file(), "{page}");
    }
}
