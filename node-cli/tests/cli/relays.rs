//! Several relays at once, and moving from one to another.

use serde_json::Value;

use crate::home::{Home, text};
use crate::people::{link, send, texts};
use crate::relay::Relay;

/// Alice and Bob with a conversation, on some relays.
fn acquainted(relays: &[&Relay]) -> (Home, Home) {
    let (alice, bob) = (Home::of("alice", "laptop"), Home::of("bob", "laptop"));
    for home in [&alice, &bob] {
        for relay in relays {
            home.ok(&["relay", "add", relay.address()]);
        }
    }
    for (from, to) in [(&alice, &bob), (&bob, &alice)] {
        let card = text(&from.ok(&["card"]), "card");
        to.ok(&["contact", "add", &card]);
    }
    alice.ok(&["conversation", "create", "Harvest", "--member", "bob"]);
    exchange(&alice, &bob);
    (alice, bob)
}

fn exchange(alice: &Home, bob: &Home) {
    for home in [alice, bob, alice, bob] {
        home.ok(&["sync", "now"]);
    }
}

fn state(home: &Home, relay: &str) -> Value {
    let relays = home.lines(&["relay", "list"]);
    let mut relays = relays.into_iter();
    relays.find(|one| one["url"] == relay).expect("in use")
}

fn agree(alice: &Home, bob: &Home, count: usize) {
    assert_eq!(texts(alice).len(), count);
    assert_eq!(texts(alice), texts(bob));
    assert_eq!(
        alice.ok(&["conversation", "heads", "Harvest"]),
        bob.ok(&["conversation", "heads", "Harvest"])
    );
}

#[test]
fn one_of_two_relays_dies_while_people_write() {
    let (first, second) = (Relay::start(), Relay::start());
    let (alice, bob) = acquainted(&[&first, &second]);
    send(&alice, "on both");
    let gone = first.address().to_owned();
    drop(first);
    for number in 0..3 {
        send(&alice, &format!("alice {number}"));
        send(&bob, &format!("bob {number}"));
    }
    exchange(&alice, &bob);
    agree(&alice, &bob, 7);
    assert_eq!(state(&alice, &gone)["state"], "unreachable");
    let doctor = alice.run(&["doctor", "--wait", "15"]);
    assert_eq!(doctor.code, 3, "{doctor:?}");
    let found = doctor
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let about: Vec<_> = found
        .map(|one: Value| (text(&one, "finding"), text(&one, "subject")))
        .collect();
    assert_eq!(about, [("relay_away".to_owned(), gone.clone())]);
    let left = state(&alice, second.address());
    assert_eq!(left["state"], "connected", "{left}");
    assert_eq!((&left["pending"], &left["behind"]), (&0.into(), &0.into()));
    // Who is behind at a relay that is away is said, and nothing waits for it.
    assert_eq!(alice.ok(&["status"])["pending"], 0);
    assert!(state(&alice, &gone)["behind"].as_u64() > Some(0));
}

#[test]
fn people_move_to_another_relay() {
    let (old, new) = (Relay::start(), Relay::start());
    let (alice, bob) = acquainted(&[&old]);
    for number in 0..5 {
        send(&alice, &format!("alice {number}"));
        send(&bob, &format!("bob {number}"));
    }
    exchange(&alice, &bob);
    for home in [&alice, &bob] {
        let added = home.ok(&["relay", "add", new.address()]);
        assert_eq!(added["complete"], true, "{added}");
        let removed = home.ok(&["relay", "remove", old.address()]);
        assert_eq!(removed["relays"], Value::from(vec![new.address()]));
    }
    drop(old);
    send(&alice, "alice on the new one");
    send(&bob, "bob on the new one");
    exchange(&alice, &bob);
    agree(&alice, &bob, 12);
    // Whoever comes now finds the whole history there.
    let phone = link(&alice, "phone");
    for home in [&alice, &phone, &alice, &phone] {
        home.ok(&["sync", "now"]);
    }
    assert_eq!(texts(&phone), texts(&alice));
}

#[test]
fn the_last_copy_is_not_left_behind() {
    let old = Relay::start();
    let (alice, _bob) = acquainted(&[&old]);
    alice.ok(&["relay", "ping"]);
    let nowhere = {
        let relay = Relay::start();
        relay.address().to_owned()
    };
    alice.fails(&["relay", "add", &nowhere, "--timeout", "1"], 3);
    alice.fails(&["relay", "remove", old.address(), "--timeout", "1"], 3);
    assert_eq!(alice.lines(&["relay", "list", "--wait", "0"]).len(), 2);
    assert_eq!(alice.run(&["relay", "ping", &nowhere]).code, 13);
    alice.fails(&["relay", "remove", "sheaf://nobody:1/#x"], 1);
    alice.ok(&["relay", "remove", &nowhere]);
    assert_eq!(alice.lines(&["relay", "list"]).len(), 1);
}
