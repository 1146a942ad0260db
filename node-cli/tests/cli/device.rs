//! Linking a second device through two processes.

use crate::home::{Home, text};
use crate::relay::Relay;

#[test]
fn a_device_is_linked_by_code_and_digits() {
    let relay = Relay::start();
    let laptop = Home::empty();
    let init = [
        "init",
        "--user",
        "alice",
        "--device",
        "laptop",
        "--relay",
        relay.address(),
    ];
    let account = laptop.ok(&init);
    laptop.ok(&["conversation", "create", "Harvest"]);
    laptop.ok(&[
        "message",
        "send",
        "Harvest",
        "written before there was a phone",
    ]);

    let phone = Home::empty();
    let mut linking = laptop.start(&["device", "link"]);
    let code = text(&linking.next(), "code");
    // The code names the relay, and so does the account that comes with it: nobody types it again.
    let join = ["device", "join", &code, "--device", "phone"];
    let mut joining = phone.start(&join);
    let shown = joining.next();
    assert_eq!(shown["fingerprint"], account["fingerprint"]);
    linking.type_line(&text(&shown, "digits"));

    let approved = linking.next();
    assert_eq!(approved["state"], "active");
    let joined = joining.next();
    assert_eq!(joined["user"], account["user"]);
    assert_eq!(joined["device"], approved["device"]);
    assert_eq!(joined["state"], "active");
    let (linking, joining) = (linking.end(), joining.end());
    assert_eq!(
        (linking.code, joining.code),
        (0, 0),
        "{linking:?} {joining:?}"
    );

    laptop.ok(&["sync", "now"]);
    phone.ok(&["sync", "now"]);
    let messages = phone.lines(&["message", "list", "Harvest"]);
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert_eq!(messages[0]["text"], "written before there was a phone");
    assert_eq!(messages[0]["author_name"], "alice");
    for home in [&laptop, &phone] {
        assert_eq!(home.lines(&["device", "list"]).len(), 2);
    }
    assert_eq!(
        laptop.ok(&["conversation", "heads", "Harvest"]),
        phone.ok(&["conversation", "heads", "Harvest"])
    );
}

#[test]
fn wrong_digits_approve_nothing() {
    let relay = Relay::start();
    let laptop = Home::empty();
    laptop.ok(&[
        "init",
        "--user",
        "alice",
        "--device",
        "laptop",
        "--relay",
        relay.address(),
    ]);
    let phone = Home::empty();
    let mut linking = laptop.start(&["device", "link"]);
    let code = text(&linking.next(), "code");
    let join = [
        "device",
        "join",
        &code,
        "--device",
        "phone",
        "--relay",
        relay.address(),
        "--timeout",
        "3",
    ];
    let mut joining = phone.start(&join);
    let digits = text(&joining.next(), "digits");
    let first = if digits.starts_with('1') { "2" } else { "1" };
    let wrong: String = first.chars().chain(digits.chars().skip(1)).collect();
    linking.type_line(&wrong);
    let linking = linking.end();
    assert_eq!(linking.code, 14, "{linking:?}");
    let joining = joining.end();
    assert_eq!(joining.code, 14, "{joining:?}");
    assert_eq!(laptop.lines(&["device", "list"]).len(), 1);
    let commands: [&[&str]; 7] = [
        &["card"],
        &["status"],
        &["doctor"],
        &["run"],
        &["sync", "now"],
        &["sync", "resync"],
        &["relay", "ping", relay.address()],
    ];
    for command in commands {
        let said = phone.fails(command, 10);
        assert!(said.contains("sheaf device join"), "{said}");
    }
}

#[test]
fn linking_needs_a_relay() {
    let laptop = Home::of("alice", "laptop");
    laptop.fails(&["device", "link", "--timeout", "2"], 13);
    let phone = Home::empty();
    let said = phone.fails(&["device", "join", "nonsense", "--device", "phone"], 14);
    assert!(said.contains("sheaf device link"), "{said}");
}
