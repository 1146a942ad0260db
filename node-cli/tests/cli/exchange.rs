//! Two people and a relay.

use serde_json::Value;

use crate::home::{Home, text};
use crate::relay::Relay;

/// Alice and Bob, each other's contacts, with one conversation that the relay knows nothing of yet.
fn acquainted() -> (Home, Home) {
    let (alice, bob) = (Home::of("alice", "laptop"), Home::of("bob", "laptop"));
    for (from, to) in [(&alice, &bob), (&bob, &alice)] {
        let card = text(&from.ok(&["card"]), "card");
        to.ok(&["contact", "add", &card]);
    }
    alice.ok(&["conversation", "create", "Harvest", "--member", "bob"]);
    (alice, bob)
}

fn texts(home: &Home) -> Vec<String> {
    let messages = home.lines(&["message", "list", "Harvest"]);
    messages
        .iter()
        .map(|message| text(message, "text"))
        .collect()
}

#[test]
fn a_message_written_offline_arrives_later() {
    let relay = Relay::start();
    let (alice, bob) = acquainted();
    let sent = alice.ok(&["message", "send", "Harvest", "written without any network"]);
    assert_eq!(sent["state"], "queued");
    assert_eq!(texts(&alice), ["written without any network"]);

    let synced = alice.ok(&["sync", "now", "--relay", relay.address()]);
    assert_eq!(synced["sent"], 1, "{synced}");
    assert_eq!(synced["pending"], 0, "{synced}");
    assert_eq!(synced["converged"], true, "{synced}");
    let synced = bob.ok(&["sync", "now", "--relay", relay.address()]);
    assert_eq!(synced["received"], 1, "{synced}");
    assert_eq!(texts(&bob), ["written without any network"]);

    let answer = bob.ok(&["message", "send", "Harvest", "read it", "--wait", "10"]);
    assert_eq!(answer["state"], "sent");
    let synced = alice.ok(&["sync", "now"]);
    assert_eq!(
        (&synced["sent"], &synced["received"]),
        (&Value::from(0), &Value::from(1))
    );
    assert_eq!(texts(&alice), texts(&bob));
    assert_eq!(
        alice.ok(&["conversation", "heads", "Harvest"]),
        bob.ok(&["conversation", "heads", "Harvest"])
    );
    let status = alice.ok(&["status", "--wait", "10"]);
    assert_eq!(status["connection"], "connected", "{status}");
    assert_eq!(status["pending"], 0);
    assert!(status["last_sync"].is_string());
    let shown = alice.ok(&["conversation", "show", "Harvest"]);
    assert_eq!(shown["members"].as_array().unwrap().len(), 2);
    assert_eq!(shown["messages"], 2);
}

#[test]
fn run_prints_what_happens() {
    let relay = Relay::start();
    let (alice, bob) = acquainted();
    alice.ok(&["sync", "now", "--relay", relay.address()]);
    let mut running = bob.start(&["run", "--relay", relay.address()]);
    running.event("caught_up");
    alice.ok(&["message", "send", "Harvest", "now", "--wait", "10"]);
    let event = running.event("message_received");
    assert_eq!(event["message"]["text"], "now");
    assert_eq!(event["message"]["author_name"], "alice");
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[test]
fn a_member_can_be_added_later() {
    let relay = Relay::start();
    let (alice, bob) = acquainted();
    let made = alice.ok(&["conversation", "create", "Orchard"]);
    let added = alice.ok(&[
        "conversation",
        "member",
        "add",
        "Orchard",
        "bob",
        "--role",
        "reader",
    ]);
    assert_eq!(added["role"], "reader");
    assert_eq!(added["conversation"], made["conversation"]);
    alice.ok(&["sync", "now", "--relay", relay.address()]);
    bob.ok(&["sync", "now", "--relay", relay.address()]);
    let members = bob.lines(&["conversation", "member", "list", "Orchard"]);
    let roles: Vec<_> = members.iter().map(|member| text(member, "role")).collect();
    assert_eq!(members.len(), 2);
    assert!(roles.contains(&"reader".to_owned()), "{roles:?}");
    bob.fails(&["message", "send", "Orchard", "readers read"], 1);
}

#[test]
fn what_is_made_while_an_invite_comes_in_is_at_the_relay_and_nothing_else_is_said() {
    let relay = Relay::start();
    let (alice, bob) = acquainted();
    bob.ok(&["sync", "now", "--relay", relay.address()]);
    alice.ok(&["sync", "now", "--relay", relay.address()]);
    let made = bob.run(&["conversation", "create", "Orchard", "--member", "alice"]);
    assert_eq!((made.code, made.stderr.as_str()), (0, ""));
    bob.ok(&["sync", "now"]);
    assert_eq!(bob.lines(&["conversation", "list"]).len(), 2);
}

#[test]
fn an_unreachable_relay_is_13() {
    let (alice, _) = acquainted();
    let said = alice.fails(&["sync", "now"], 13);
    assert!(said.contains("--relay"), "{said}");
    let address = Relay::start().address().to_owned();
    let said = alice.fails(&["sync", "now", "--relay", &address, "--timeout", "2"], 13);
    assert!(said.contains("check the network"), "{said}");
    let sent = alice.ok(&["message", "send", "Harvest", "kept", "--wait", "0.2"]);
    assert_eq!(sent["state"], "queued");
    let status = alice.ok(&["status", "--wait", "0.2"]);
    assert_eq!(status["connection"], "unreachable");
}

#[test]
fn an_interrupted_command_is_130() {
    let address = Relay::start().address().to_owned();
    let home = Home::of("alice", "laptop");
    let running = home.start(&["sync", "now", "--relay", &address]);
    std::thread::sleep(std::time::Duration::from_millis(500));
    running.interrupt();
    assert_eq!(running.end().code, 130);
}

#[test]
fn a_relay_with_another_key_is_13_and_says_so() {
    let (relay, other) = (Relay::start(), Relay::start());
    let (place, _) = relay.address().split_once('#').unwrap();
    let (_, key) = other.address().split_once('#').unwrap();
    let (alice, _) = acquainted();
    let said = alice.fails(&["sync", "now", "--relay", &format!("{place}#{key}")], 13);
    assert!(said.contains("key"), "{said}");
}
