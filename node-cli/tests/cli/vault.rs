//! An account whose devices are all lost comes back by the phrase alone, from the vault.

use serde_json::Value;

use crate::home::{Ended, Home, text};
use crate::people::{send, texts};
use crate::relay::Relay;

/// Alice, whose phrase is in a file, and Bob; they have talked.
struct Talk {
    relay: Relay,
    alice: Home,
    bob: Home,
    made: Value,
    phrase: std::path::PathBuf,
}

fn talk() -> Talk {
    let relay = Relay::start();
    let home = |user: &str| {
        let home = Home::empty();
        let device = "desk";
        let relay = relay.address();
        let made = home.ok(&["init", "--user", user, "--device", device, "--relay", relay]);
        (home, made)
    };
    let ((alice, made), (bob, _)) = (home("alice"), home("bob"));
    for (from, to) in [(&alice, &bob), (&bob, &alice)] {
        let card = text(&from.ok(&["card"]), "card");
        to.ok(&["contact", "add", &card]);
    }
    alice.ok(&["contact", "verify", "bob", "--confirm"]);
    alice.ok(&["conversation", "create", "Harvest", "--member", "bob"]);
    send(&alice, "the pears are ripe");
    bob.ok(&["sync", "now"]);
    send(&bob, "so are the plums");
    alice.ok(&["sync", "now"]);
    // Beside the homes, which are lost.
    let phrase = bob.directory().join("phrase of alice");
    std::fs::write(&phrase, text(&made, "recovery_phrase") + "\n").unwrap();
    Talk {
        relay,
        alice,
        bob,
        made,
        phrase,
    }
}

fn recover(talk: &Talk, home: &Home, more: &[&str]) -> Ended {
    let file = talk.phrase.to_str().unwrap();
    let given = [
        "account",
        "recover",
        "--phrase-file",
        file,
        "--device",
        "new",
    ];
    home.run(&[&given[..], more].concat())
}

#[test]
fn the_phrase_alone_brings_everything_back() {
    let talk = talk();
    let status = talk.alice.ok(&["account", "vault", "status"]);
    assert_eq!(
        (&status["vault"], &status["stale"]),
        (&"on".into(), &false.into())
    );
    assert!(status["published"].is_string(), "{status}");

    // The home of Alice is gone for good from here on.
    let new = Home::empty();
    let address = talk.relay.address();
    let asked = recover(&talk, &new, &["--relay", address]);
    assert_eq!(asked.code, 2, "it revokes, so it asks: {asked:?}");
    let nowhere = recover(&talk, &new, &["--yes"]);
    assert_eq!(nowhere.code, 2, "{nowhere:?}");
    assert!(nowhere.stderr.contains("--relay"), "{nowhere:?}");
    let ended = recover(&talk, &new, &["--yes", "--relay", address]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let back: Value = serde_json::from_str(ended.stdout.trim()).unwrap();
    assert_eq!(back["user"], talk.made["user"]);
    assert_ne!(back["device"], talk.made["device"]);
    assert_eq!(back["vault"]["conversations"], 1);
    assert_eq!(back["vault"]["refused"], 0);
    assert_eq!(texts(&new), ["the pears are ripe", "so are the plums"]);
    let contacts = new.lines(&["contact", "list"]);
    assert_eq!(contacts[0]["name"], "bob");
    assert_eq!(contacts[0]["verified"], true);

    // Both go on, and Bob was told nothing by hand.
    send(&new, "here again");
    talk.bob.ok(&["sync", "now"]);
    send(&talk.bob, "welcome back");
    new.ok(&["sync", "now"]);
    let all = [
        "the pears are ripe",
        "so are the plums",
        "here again",
        "welcome back",
    ];
    assert_eq!(texts(&new), all);
    assert_eq!(texts(&talk.bob), all);
}

#[test]
fn an_empty_vault_brings_nothing_back() {
    let talk = talk();
    let off = talk.alice.ok(&["account", "vault", "off"]);
    assert_eq!(off["vault"], "off");
    let new = Home::empty();
    let ended = recover(&talk, &new, &["--yes", "--relay", talk.relay.address()]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("turned off"), "{ended:?}");
    assert!(ended.stderr.contains("--card"), "{ended:?}");
    let on = talk.alice.ok(&["account", "vault", "on"]);
    assert_eq!(on["vault"], "on");
    let ended = recover(&talk, &new, &["--yes"]);
    assert_eq!(ended.code, 0, "the relay is remembered: {ended:?}");
}
