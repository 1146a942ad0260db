//! Roles, removal, leaving, names and epochs, among two people with three devices.

use serde_json::{Value, json};

use crate::home::{Home, text};
use crate::people::{People, epochs, role, send, texts};

fn member(home: &Home, verb: &str, rest: &[&str]) -> Value {
    home.ok(&[&["conversation", "member", verb, "Harvest"], rest].concat())
}

#[test]
fn a_removed_member_sees_nothing_more() {
    let people = People::meet();
    let bob = people.bob_id();
    send(&people.bob, "before");
    people.exchange();
    let (before, known) = epochs(&people.phone);

    let removed = member(&people.laptop, "remove", &["bob"]);
    assert_eq!(removed["user"], bob);
    assert_eq!(removed["removed"], true);
    send(&people.laptop, "after");
    people.exchange();

    let (after, now_known) = epochs(&people.phone);
    assert_ne!(before, after, "a removal draws a new epoch");
    assert!(now_known > known);
    assert_eq!(texts(&people.phone), ["before", "after"]);
    assert_eq!(texts(&people.laptop), texts(&people.phone));
    assert_eq!(role(&people.phone, &bob), None);
    assert_eq!(texts(&people.bob), ["before"]);
    let said = people
        .bob
        .fails(&["message", "send", "Harvest", "still me"], 1);
    assert!(said.contains("does not allow"), "{said}");
    assert!(said.contains("sheaf conversation member list"), "{said}");

    // Back in by a new grant, with what was said in between.
    member(&people.laptop, "add", &["bob"]);
    people.exchange();
    send(&people.bob, "back");
    people.exchange();
    assert_eq!(texts(&people.phone), ["before", "after", "back"]);
}

#[test]
fn roles_are_given_and_taken() {
    let people = People::meet();
    let bob = people.bob_id();
    let given = member(&people.laptop, "role", &["bob", "reader"]);
    assert_eq!(given["role"], "reader");
    people.exchange();
    assert_eq!(role(&people.bob, &bob).as_deref(), Some("reader"));
    people
        .bob
        .fails(&["message", "send", "Harvest", "readers read"], 1);
    let rise = ["conversation", "member", "role", "Harvest", "bob", "admin"];
    people.bob.fails(&rise, 1);

    member(&people.phone, "role", &["bob", "admin"]);
    people.exchange();
    assert_eq!(role(&people.bob, &bob).as_deref(), Some("admin"));
    send(&people.bob, "admins write");
    people.exchange();
    assert_eq!(texts(&people.phone), ["admins write"]);
}

#[test]
fn the_owner_hands_over_and_is_out() {
    let people = People::meet();
    let bob = people.bob_id();
    let owner = ["conversation", "member", "role", "Harvest", "bob", "owner"];
    let said = people.laptop.fails(&owner, 2);
    assert!(said.contains("your own membership"), "{said}");
    assert!(said.contains("--yes"), "{said}");
    let yes = [&owner[..], &["--yes"]].concat();
    let said = people.laptop.fails(&yes, 1);
    assert!(
        said.contains("only an admin can become the owner"),
        "{said}"
    );
    member(&people.laptop, "role", &["bob", "admin"]);
    let given = people.laptop.ok(&yes);
    assert_eq!(given["role"], "owner");
    people.exchange();
    assert_eq!(role(&people.bob, &bob).as_deref(), Some("owner"));
    assert_eq!(
        people
            .bob
            .lines(&["conversation", "member", "list", "Harvest"])
            .len(),
        1
    );
    for former in [&people.laptop, &people.phone] {
        former.fails(&["message", "send", "Harvest", "still me"], 1);
    }
}

#[test]
fn who_leaves_is_asked_once_and_then_out() {
    let people = People::meet();
    let bob = people.bob_id();
    let leave = ["conversation", "leave", "Harvest"];
    let said = people.bob.fails(&leave, 2);
    assert!(said.contains("ends your membership"), "{said}");
    let oneself = ["conversation", "member", "remove", "Harvest", &bob];
    let said = people.bob.fails(&oneself, 2);
    assert!(said.contains("sheaf conversation leave"), "{said}");
    let left = people.bob.ok(&[&leave[..], &["--yes"]].concat());
    assert_eq!(left["user"], bob);
    people.exchange();
    assert_eq!(role(&people.phone, &bob), None);
    send(&people.laptop, "alone");
    people.exchange();
    assert_eq!(texts(&people.phone), ["alone"]);
    assert_eq!(texts(&people.bob), Vec::<String>::new());
    people.bob.fails(&["message", "send", "Harvest", "gone"], 1);
    let status = people.bob.ok(&["status"]);
    let known = &status["conversations"][0];
    assert_eq!(
        (&known["out"], &known["lacking"]),
        (&json!(true), &json!([]))
    );
    assert_eq!(people.bob.lines(&["doctor"]), Vec::<Value>::new());
}

#[test]
fn a_name_and_an_epoch_reach_everybody() {
    let people = People::meet();
    let mut running = people.bob.start(&["run"]);
    running.event("caught_up");
    let renamed = people
        .laptop
        .ok(&["conversation", "rename", "Harvest", "Orchard"]);
    assert_eq!(renamed["name"], "Orchard");
    let event = running.event("conversation_renamed");
    assert_eq!(event["name"], "Orchard");
    running.interrupt();
    assert_eq!(running.end().code, 0);
    people.phone.ok(&["sync", "now"]);
    people.phone.ok(&["conversation", "show", "Orchard"]);
    people
        .laptop
        .ok(&["conversation", "rename", "Orchard", "Harvest"]);
    people.exchange();

    let drawn = people.phone.ok(&["epoch", "rotate", "Harvest"]);
    assert_eq!(
        (&drawn["held"], &drawn["writing"]),
        (&true.into(), &true.into())
    );
    people.exchange();
    for home in [&people.laptop, &people.phone, &people.bob] {
        assert_eq!(epochs(home).0, Some(text(&drawn, "epoch")));
        send(home, "under the new epoch");
    }
    people.exchange();
    assert_eq!(texts(&people.bob).len(), 3);
    assert_eq!(texts(&people.bob), texts(&people.laptop));
}

#[test]
fn a_change_needs_no_network_and_goes_out_later() {
    let people = People::meet();
    let nowhere = "sheaf://127.0.0.1:9/#AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let role_given = ["conversation", "member", "role", "Harvest", "bob", "reader"];
    let ended = people
        .laptop
        .run(&[&role_given[..], &["--relay", nowhere]].concat());
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("next connection"), "{ended:?}");
    people
        .laptop
        .ok(&["sync", "now", "--relay", people.relay()]);
    people.exchange();
    assert_eq!(
        role(&people.bob, &people.bob_id()).as_deref(),
        Some("reader")
    );
}

#[test]
fn a_newcomer_reads_from_where_he_joined() {
    let people = People::meet();
    let made = people
        .laptop
        .ok(&["conversation", "create", "Later", "--history", "since-join"]);
    assert!(made["conversation"].is_string(), "{made}");
    let send =
        |home: &Home, said: &str| home.ok(&["message", "send", "Later", said, "--wait", "10"]);
    let listed = |home: &Home| -> Vec<String> {
        let all = home.lines(&["message", "list", "Later"]);
        all.iter().map(|one| text(one, "text")).collect()
    };
    send(&people.laptop, "the barn code is 4711");
    people.exchange();
    people
        .laptop
        .ok(&["conversation", "member", "add", "Later", "bob"]);
    send(&people.laptop, "welcome");
    people.exchange();
    send(&people.bob, "thanks");
    people.exchange();

    assert_eq!(listed(&people.bob), ["welcome", "thanks"]);
    let whole = ["the barn code is 4711", "welcome", "thanks"];
    assert_eq!(listed(&people.laptop), whole);
    assert_eq!(listed(&people.phone), whole);
    let shown = people.bob.ok(&["conversation", "show", "Later"]);
    assert_eq!(shown["history"], "since-join");
    assert!(shown["since"].is_u64(), "{shown}");
    assert_eq!(shown["parked"], 0, "{shown}");
    let held = shown["epochs"].as_array().cloned().unwrap_or_default();
    assert!(held.iter().any(|epoch| epoch["held"] == false), "{shown}");
}
