//! A relay that shows two histories is found out, and the proof holds for everybody.

use crate::home::{Home, ended, program, text};
use crate::people::{send, texts};
use crate::relay::Relay;

fn befriend(alice: &Home, bob: &Home, relay: &Relay) {
    for home in [alice, bob] {
        home.ok(&["relay", "add", relay.address()]);
    }
    for (from, to) in [(alice, bob), (bob, alice)] {
        let card = text(&from.ok(&["card"]), "card");
        to.ok(&["contact", "add", &card]);
    }
    alice.ok(&["conversation", "create", "Harvest", "--member", "bob"]);
    for home in [alice, bob, alice, bob] {
        home.ok(&["sync", "now"]);
    }
}

#[test]
fn two_histories_under_one_key_are_proved_to_anybody() {
    let relay = Relay::start();
    let (alice, bob) = (Home::of("alice", "laptop"), Home::of("bob", "laptop"));
    befriend(&alice, &bob, &relay);
    assert!(alice.lines(&["relay", "evidence"]).is_empty());

    let (one, other) = relay.fork();
    alice.ok(&["relay", "add", one.address()]);
    bob.ok(&["relay", "add", other.address()]);
    for number in 0..3 {
        send(&alice, &format!("alice {number}"));
        send(&bob, &format!("bob {number}"));
    }
    for home in [&alice, &bob, &alice, &bob] {
        home.ok(&["sync", "now"]);
    }
    // Alice comes to the other store, which has what Bob wrote where she has read herself.
    alice.ok(&["relay", "add", other.address()]);
    for _ in 0..3 {
        for home in [&bob, &alice] {
            home.run(&["sync", "now"]);
        }
    }
    let pieces = alice.lines(&["relay", "evidence"]);
    assert_eq!(pieces.len(), 1, "{pieces:?}");
    let key = one.address().rsplit_once('#').unwrap().1;
    assert_eq!(
        (text(&pieces[0], "relay"), text(&pieces[0], "of")),
        (key.into(), "histories".into())
    );
    let listed = alice.lines(&["relay", "list"]);
    assert_eq!(listed[0]["evidence"], 1, "{listed:?}");
    let doctor = alice.run(&["doctor"]);
    assert!(doctor.stdout.contains("relay_contradicts"), "{doctor:?}");
    // Nothing was lost by it.
    assert_eq!(texts(&alice).len(), 6);
    assert_eq!(texts(&alice), texts(&bob));

    // Somebody without a store, home or connection checks it.
    let nobody = Home::empty();
    let file = nobody.key_file().with_file_name("proof");
    let path = file.to_str().unwrap();
    alice.lines(&["relay", "evidence", "--export", path]);
    assert_eq!(
        alice.run(&["relay", "evidence", "--export", path]).code,
        1,
        "nothing is overwritten"
    );
    let verify = || {
        ended(
            program()
                .args(["relay", "verify", path, "--json"])
                .output()
                .unwrap(),
        )
    };
    let verdict = verify();
    assert_eq!(verdict.code, 0, "{verdict:?}");
    assert!(verdict.stdout.contains(key), "{verdict:?}");
    let proof = std::fs::read(&file).unwrap();
    for place in (0..proof.len() - 1).step_by(7) {
        let mut changed = proof.clone();
        changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
        std::fs::write(&file, changed).unwrap();
        let verdict = verify();
        assert_eq!(
            (verdict.code, verdict.stdout.as_str()),
            (15, ""),
            "byte {place}"
        );
    }
    for other in [b"".as_slice(), &[0xff, 0xfe, 0x00]] {
        std::fs::write(&file, other).unwrap();
        assert_eq!(verify().code, 15);
    }
}
