//! What is proved to be where, and repair.

use crate::home::{Home, text};
use crate::people::People;

/// The only conversation, as `sheaf status` shows it.
fn conversation(home: &Home) -> serde_json::Value {
    let status = home.ok(&["status", "--wait", "10"]);
    let conversations = status["conversations"].as_array().unwrap();
    assert_eq!(conversations.len(), 1, "{status}");
    conversations[0].clone()
}

#[test]
fn synced_is_shown_only_when_every_device_has_said_so() {
    let people = People::meet();
    people.exchange();
    let shown = conversation(&people.laptop);
    assert_eq!(shown["synced"], true, "{shown}");

    people
        .laptop
        .ok(&["message", "send", "Harvest", "read me", "--wait", "10"]);
    let passed = people.laptop.ok(&["sync", "barrier"]);
    assert_eq!(passed["durable"], true, "{passed}");
    let ended = people
        .laptop
        .run(&["sync", "barrier", "--everywhere", "--timeout", "1"]);
    assert_eq!(ended.code, 3, "{ended:?}");
    let passed: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(passed["everywhere"], false, "{passed}");
    let shown = conversation(&people.laptop);
    assert_eq!(shown["synced"], false, "{shown}");
    let mut lacking: Vec<String> = shown["lacking"]
        .as_array()
        .unwrap()
        .iter()
        .map(|device| text(device, "name"))
        .collect();
    lacking.sort_unstable();
    assert_eq!(lacking, ["desk", "phone"]);

    people.bob.ok(&["sync", "now"]);
    let shown = conversation(&people.laptop);
    assert_eq!(shown["lacking"][0]["name"], "phone", "{shown}");
    assert_eq!(shown["lacking"].as_array().unwrap().len(), 1, "{shown}");

    people.phone.ok(&["sync", "now"]);
    let passed = people.laptop.ok(&["sync", "barrier", "--everywhere"]);
    assert_eq!(passed["everywhere"], true, "{passed}");
    assert_eq!(passed["missing"].as_array().unwrap().len(), 0, "{passed}");
    assert_eq!(conversation(&people.laptop)["synced"], true);
}

#[test]
fn resync_asks_the_others_and_says_what_was_missing() {
    let people = People::meet();
    people.exchange();
    let mut desk = people.bob.start(&["run"]);
    desk.event("caught_up");
    let ended = people
        .laptop
        .run(&["sync", "resync", "--full", "--timeout", "5"]);
    assert_eq!(ended.code, 3, "the phone is away: {ended:?}");
    let rows: Vec<serde_json::Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let answered = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap().clone();
    assert_eq!(answered("phone")["answered"], false);
    let desks = answered("desk");
    assert_eq!(desks["answered"], true, "{desks}");
    for nothing in ["missing_here", "missing_there", "unreadable"] {
        assert_eq!(desks[nothing], 0, "{desks}");
    }
    let rows = people.laptop.lines(&[
        "sync",
        "resync",
        "--device",
        "desk",
        "--conversation",
        "Harvest",
    ]);
    assert_eq!(rows.len(), 1, "{rows:?}");
    desk.interrupt();
    assert_eq!(desk.end().code, 0);

    let unknown = people
        .laptop
        .fails(&["sync", "resync", "--device", "fridge"], 1);
    assert!(unknown.contains("fridge"), "{unknown}");
}

#[test]
fn a_file_brings_what_no_network_does() {
    let people = People::meet();
    people.exchange();
    // From here on the laptop and the desk have no relay to meet at.
    let nowhere = "sheaf://127.0.0.1:9/#";
    assert!(!people.relay().starts_with(nowhere));
    for text in ["by hand", "across the yard"] {
        people
            .laptop
            .ok(&["message", "send", "Harvest", text, "--wait", "0"]);
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("for-desk");
    let file = file.to_str().unwrap();
    let exported = people
        .laptop
        .ok(&["sync", "export", file, "--device", "desk"]);
    assert!(exported["records"].as_u64().unwrap() > 0, "{exported}");

    // Only the desk can read it.
    let said = people.phone.run(&["sync", "import", file]);
    assert_eq!(said.code, 3, "{said:?}");
    // One flipped bit is noticed and changes nothing.
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let damaged = directory.path().join("damaged");
    std::fs::write(&damaged, &bytes).unwrap();
    let said = people
        .bob
        .run(&["sync", "import", damaged.to_str().unwrap()]);
    assert_eq!(said.code, 3, "{said:?}");
    bytes.truncate(middle);
    std::fs::write(&damaged, &bytes).unwrap();
    people
        .bob
        .fails(&["sync", "import", damaged.to_str().unwrap()], 15);

    let imported = people.bob.ok(&["sync", "import", file]);
    assert_eq!(imported["messages"], 2, "{imported}");
    assert_eq!(imported["unreadable"], 0, "{imported}");
    let listed = people.bob.lines(&["message", "list", "Harvest"]);
    let texts: Vec<String> = listed.iter().map(|m| text(m, "text")).collect();
    assert_eq!(texts, ["by hand", "across the yard"]);
    let by_file = last_sync(&people.bob);
    assert_eq!(by_file["relays"].as_array().unwrap().len(), 0, "{by_file}");
    assert_eq!(by_file["messages_received"], 2, "{by_file}");
    // Again brings nothing new.
    assert_eq!(people.bob.ok(&["sync", "import", file])["messages"], 0);
    // The relay brings the same records later: nothing comes twice.
    people.exchange();
    assert_eq!(people.bob.lines(&["message", "list", "Harvest"]).len(), 2);
    assert_eq!(conversation(&people.bob)["synced"], true);
}

/// The newest sync of a device's history.
fn last_sync(home: &Home) -> serde_json::Value {
    home.ok(&["sync", "history", "--limit", "1"])
}

#[test]
fn the_history_of_syncs_says_what_each_brought_and_took() {
    let people = People::meet();
    for text in ["one", "two"] {
        people
            .laptop
            .ok(&["message", "send", "Harvest", text, "--wait", "0"]);
    }
    people.laptop.ok(&["sync", "now"]);
    let sync = last_sync(&people.laptop);
    assert_eq!(sync["messages_sent"], 2, "{sync}");
    assert_eq!(sync["messages_received"], 0, "{sync}");
    assert!(text(&sync, "began") <= text(&sync, "caught_up"), "{sync}");
    assert!(text(&sync, "caught_up") <= text(&sync, "ended"), "{sync}");
    let relay = sync["relays"][0].as_str().unwrap();
    assert!(people.relay().ends_with(relay), "{sync}");

    let before = last_sync(&people.bob)["number"].as_u64().unwrap();
    let mut running = people.bob.start(&["run"]);
    running.event("caught_up");
    running.kill();
    let killed = last_sync(&people.bob);
    assert_eq!(killed["number"], before + 1, "{killed}");
    assert_eq!(killed["messages_received"], 2, "{killed}");
    assert!(killed["ended"].is_null(), "{killed}");
    people.bob.ok(&["sync", "now"]);
    let whole = last_sync(&people.bob);
    assert_eq!(whole["number"], before + 2, "{whole}");
    assert!(whole["ended"].is_string(), "{whole}");

    let mut desk = people.bob.start(&["run"]);
    desk.event("caught_up");
    people.laptop.ok(&["sync", "resync", "--device", "desk"]);
    assert_eq!(last_sync(&people.laptop)["answers"], 1);
    desk.interrupt();
    assert_eq!(desk.end().code, 0);
    let all = people.bob.lines(&["sync", "history", "--limit", "1000"]);
    let mut numbers = all.iter().map(|sync| sync["number"].as_u64().unwrap());
    assert!((0..).zip(&mut numbers).all(|(at, number)| at == number));
}

/// What `sheaf doctor` finds, by its word.
fn findings(home: &Home) -> Vec<(String, String)> {
    let ended = home.run(&["doctor", "--wait", "5"]);
    let lines = ended.stdout.lines();
    let found: Vec<(String, String)> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .map(|finding: serde_json::Value| (text(&finding, "finding"), text(&finding, "says")))
        .collect();
    assert_eq!(
        ended.code,
        if found.is_empty() { 0 } else { 3 },
        "{ended:?}"
    );
    found
}

#[test]
fn the_doctor_says_why_something_is_not_synced() {
    let people = People::meet();
    people.exchange();
    assert_eq!(findings(&people.laptop), []);

    people
        .laptop
        .ok(&["message", "send", "Harvest", "late", "--wait", "10"]);
    people.phone.ok(&["sync", "now"]);
    let found = findings(&people.laptop);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, "behind");
    assert!(
        found[0].1.starts_with("desk of bob has not said"),
        "{found:?}"
    );

    let alone = Home::of("carol", "tablet");
    assert_eq!(findings(&alone)[0].0, "no_relay");
}
