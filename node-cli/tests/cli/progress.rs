//! How history comes to a new device, as a person sees it.

use std::io::Write;

use serde_json::{Value, json};

use crate::home::{Ended, Home, Running, text};
use crate::relay::Relay;

/// Two full segments, and some of the next.
const MESSAGES: usize = 2 * 4_096 + 100;
/// Seconds without anything after which those who keep a conversation end.
const QUIET: &str = "4";

fn home(relay: &Relay, user: &str) -> Home {
    let home = Home::empty();
    let (init, relay) = (["init", "--device", "laptop"], relay.address());
    home.ok(&[&init[..], &["--user", user, "--relay", relay]].concat());
    home
}

fn import(home: &Home, messages: usize) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for number in 0..messages {
        let line = json!({
            "conversation": "old",
            "seq": number,
            "time": "2024-01-01T00:00:00Z",
            "kind": "text",
            "author": "old",
            "text": format!("message {number}"),
        });
        writeln!(file, "{line}").unwrap();
    }
    let file = file.path().to_str().unwrap();
    home.ok(&["message", "import", "Harvest", file]);
}

/// Both run until nothing more happens.
fn rest(homes: [&Home; 2]) {
    let running = homes.map(|home| home.start(&["run", "--lock-after", QUIET]));
    for ended in running.map(Running::end) {
        assert_eq!(ended.code, 16, "{ended:?}");
    }
}

fn has_snapshot(home: &Home) -> bool {
    let checked = home.ok(&["store", "check"]);
    let kinds = checked["kinds"].as_array().unwrap();
    kinds
        .iter()
        .any(|kind| kind["kind"] == "snapshot statement")
}

fn heads(home: &Home) -> Value {
    home.ok(&["conversation", "heads", "Harvest"])
}

fn progress(home: &Home) -> Value {
    home.ok(&["status", "--wait", "0"])["progress"].clone()
}

fn lines(said: &Ended) -> Vec<Value> {
    let lines = said.stderr.lines();
    let objects = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    objects.filter(|said| said["event"] == "progress").collect()
}

fn all(count: usize) -> Value {
    json!({ "done": count, "of": count })
}

#[test]
fn a_newcomer_reads_the_newest_first_and_goes_on_after_it_was_killed() {
    let relay = Relay::start();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|user| home(&relay, user));
    for other in [&bob, &carol] {
        let card = text(&other.ok(&["card"]), "card");
        alice.ok(&["contact", "add", &card]);
    }
    alice.ok(&["conversation", "create", "Harvest", "--member", "bob"]);
    import(&alice, MESSAGES);
    for home in [&alice, &bob, &alice] {
        home.ok(&["sync", "now"]);
    }
    let mut rounds = 0;
    while ![&alice, &bob].into_iter().all(has_snapshot) {
        rounds += 1;
        assert!(rounds < 12, "no snapshot was made");
        rest([&alice, &bob]);
    }
    // Whoever compared it says so.
    rest([&alice, &bob]);
    alice.ok(&["conversation", "member", "add", "Harvest", "carol"]);

    let mut givers = [&alice, &bob].map(|home| home.start(&["run"]));
    for giver in &mut givers {
        giver.event("caught_up");
    }
    let mut running = carol.start(&["run"]);
    let mut told = running.event("progress");
    assert_eq!(told["because"], "found", "{told}");
    assert_eq!(told["messages"]["of"], MESSAGES, "{told}");
    while told["stage"] != "history" {
        assert_ne!(told["stage"], "done", "{told}");
        told = running.event("progress");
    }
    running.kill();
    let newest = carol.lines(&["message", "list", "Harvest", "--limit", "50"]);
    let newest: Vec<String> = newest.iter().map(|m| text(m, "text")).collect();
    let expected = (MESSAGES - 50..MESSAGES).map(|number| format!("message {number}"));
    assert_eq!(newest, expected.collect::<Vec<_>>());
    let left = progress(&carol);
    assert_eq!(left["stage"], "history", "{left}");
    assert_eq!(left["segments"]["of"], 3, "{left}");
    assert!(left["segments"]["done"].as_u64() < Some(3), "{left}");

    let mut running = carol.start(&["run"]);
    let first = running.event("progress");
    assert_eq!(first["because"], "resumed", "{first}");
    assert!(first["segments"]["done"].as_u64() >= Some(1), "{first}");
    let mut told = first;
    while told["stage"] != "done" {
        told = running.event("progress");
    }
    assert_eq!(told["segments"], all(3));
    assert_eq!(told["messages"], all(MESSAGES));
    for running in givers.into_iter().chain([running]) {
        running.interrupt();
        assert_eq!(running.end().code, 0);
    }
    assert_eq!(heads(&carol), heads(&alice));
    assert_eq!(heads(&bob), heads(&alice));
}

#[test]
fn a_device_that_is_linked_reads_everything_while_nobody_else_runs() {
    let relay = Relay::start();
    let laptop = home(&relay, "alice");
    laptop.ok(&["conversation", "create", "Harvest"]);
    import(&laptop, 4_100);
    laptop.ok(&["sync", "now"]);
    let phone = Home::empty();
    let mut linking = laptop.start(&["device", "link"]);
    let code = text(&linking.next(), "code");
    let join = ["device", "join", &code, "--device", "phone"];
    let mut joining = phone.start(&join);
    linking.type_line(&text(&joining.next(), "digits"));
    assert_eq!(linking.end().code, 0);
    let joined = joining.end();
    assert_eq!(joined.code, 0, "{joined:?}");
    let told = lines(&joined);
    let first = told.first().expect("it is told");
    assert_eq!(first["because"], "begun", "{told:?}");
    assert_eq!(first["conversations"]["of"], 1, "{told:?}");
    assert!(first["messages"]["done"].as_u64() < Some(4_100), "{told:?}");

    phone.ok(&["sync", "now"]);
    let done = progress(&phone);
    assert_eq!(done["stage"], "done", "{done}");
    assert_eq!(done["conversations"]["done"], 1, "{done}");
    assert_eq!(done["messages"], all(4_100));
    assert_eq!(heads(&phone), heads(&laptop));
}
