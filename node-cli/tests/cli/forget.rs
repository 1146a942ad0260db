//! Keys from before a cut are erased on every device once all have acknowledged it.

use crate::home::{Home, text};
use crate::relay::Relay;

fn epochs(home: &Home) -> Vec<String> {
    let known = home.lines(&["epoch", "list", "Harvest"]);
    known.iter().map(|epoch| text(epoch, "epoch")).collect()
}

fn texts(home: &Home) -> Vec<String> {
    let listed = home.lines(&["message", "list", "Harvest"]);
    listed.iter().map(|message| text(message, "text")).collect()
}

#[test]
fn keys_of_before_a_cut_go_when_everybody_knows_it() {
    let relay = Relay::start();
    let (alice, bob) = (Home::of("alice", "laptop"), Home::of("bob", "desk"));
    let card = text(&bob.ok(&["card"]), "card");
    alice.ok(&["contact", "add", &card]);
    alice.ok(&["conversation", "create", "Harvest", "--member", "bob"]);
    let sync = |home: &Home| home.run(&["sync", "now", "--relay", relay.address()]);
    alice.ok(&["message", "send", "Harvest", "before", "--wait", "0"]);
    for home in [&alice, &bob, &alice] {
        sync(home);
    }
    let old = epochs(&alice);
    assert_eq!((old.len(), texts(&bob)), (1, vec!["before".to_owned()]));
    let refused = alice.run(&["conversation", "cut", "Harvest", "--forget"]);
    assert!(refused.stderr.contains("erases the keys"), "{refused:?}");
    let cut = alice.ok(&["conversation", "cut", "Harvest", "--forget", "--yes"]);
    assert_eq!(
        (&cut["forget"], &cut["name"]),
        (&true.into(), &"Harvest".into())
    );
    sync(&alice);
    // Bob was not there yet: he is waited for, by name.
    assert!(epochs(&alice).contains(&old[0]));
    let shown = alice.ok(&["conversation", "show", "Harvest"]);
    assert_eq!(shown["forgetting"]["devices"], serde_json::json!(["desk"]));
    let doctor = alice.run(&["doctor", "--wait", "5", "--relay", relay.address()]);
    assert!(doctor.stdout.contains("\"forgetting\""), "{doctor:?}");
    for home in [&bob, &alice, &bob, &alice] {
        sync(home);
    }
    for home in [&alice, &bob] {
        let left = epochs(home);
        assert_eq!(left.len(), 1, "{left:?}");
        assert!(!left.contains(&old[0]));
        assert_eq!(texts(home), ["before"]);
        let shown = home.ok(&["conversation", "show", "Harvest"]);
        assert_eq!(shown["forgetting"], serde_json::Value::Null);
        assert_eq!(home.ok(&["store", "check"])["sound"], true);
    }
    alice.ok(&["message", "send", "Harvest", "after", "--wait", "0"]);
    for home in [&alice, &bob] {
        sync(home);
    }
    assert_eq!(texts(&bob), ["before", "after"]);
    let audit = alice.run(&["audit"]);
    assert!(
        audit.stdout.contains("1 epochs from before a cut erased"),
        "{audit:?}"
    );
}
