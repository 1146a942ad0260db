//! Old history that one device does not keep, and gets back from another one.

use std::io::Write;

use serde_json::json;

use crate::home::{Home, text};
use crate::relay::Relay;

/// More than one segment, and some of the next.
const MESSAGES: usize = 4_100;
const SEGMENT: usize = 4_096;

#[test]
fn old_messages_are_dropped_and_fetched_again() {
    let relay = Relay::start();
    let (alice, bob) = (Home::of("alice", "laptop"), Home::of("bob", "laptop"));
    let card = text(&bob.ok(&["card"]), "card");
    alice.ok(&["contact", "add", &card]);
    alice.ok(&["conversation", "create", "Harvest", "--member", "bob"]);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for number in 0..MESSAGES {
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
    alice.ok(&[
        "message",
        "import",
        "Harvest",
        file.path().to_str().unwrap(),
    ]);
    let sync = |home: &Home| home.ok(&["sync", "now", "--relay", relay.address()]);
    for home in [&alice, &bob, &alice] {
        sync(home);
    }
    let listed = |arguments: &[&str]| {
        let list = ["message", "list", "Harvest", "--limit", "10000"];
        alice.run(&[&list, arguments].concat())
    };
    let count = |ended: &crate::home::Ended| ended.stdout.lines().count();
    let before = listed(&[]);
    assert_eq!(count(&before), MESSAGES);
    let kept = alice.ok(&["conversation", "keep", "Harvest", "--messages", "3"]);
    assert_eq!(kept["keep"], "at least 3 messages");
    let after = listed(&[]);
    assert_eq!(count(&after), MESSAGES - SEGMENT);
    assert!(after.stderr.contains("not on this device"), "{after:?}");
    // The newest are all here, and nothing is said of others.
    let newest = alice.run(&["message", "list", "Harvest", "--limit", "3"]);
    assert_eq!((count(&newest), newest.stderr.as_str()), (3, ""));
    let stats = alice.ok(&["store", "stats"]);
    let known = &stats["conversations"][0];
    assert_eq!(known["segments"]["dropped"], 1, "{stats}");
    assert_eq!(known["messages"]["records"], MESSAGES - SEGMENT);

    // Bob is there, and gives it back.
    let running = bob.start(&["run", "--relay", relay.address()]);
    let fetched = listed(&["--fetch", "--timeout", "60", "--relay", relay.address()]);
    assert_eq!(count(&fetched), MESSAGES, "{}", fetched.stderr);
    assert_eq!(fetched.stdout, before.stdout);
    running.interrupt();
    assert_eq!(running.end().code, 0);
    // It stays for a day, and the store is sound.
    assert_eq!(count(&listed(&[])), MESSAGES);
    assert_eq!(alice.ok(&["store", "check", "--repair"])["sound"], true);
}
