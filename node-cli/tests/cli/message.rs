//! Messages on one device: tokens, pages, imports.

use std::io::Write;

use serde_json::{Value, json};

use crate::home::{Home, text};

fn home() -> Home {
    let home = Home::of("alice", "laptop");
    home.ok(&["conversation", "create", "Harvest"]);
    home
}

#[test]
fn a_token_sends_once() {
    let home = home();
    let send = ["message", "send", "Harvest", "once", "--token", "t-1"];
    let first = home.ok(&send);
    let second = home.ok(&send);
    assert_eq!(first["message"], second["message"]);
    let other = home.ok(&["message", "send", "Harvest", "twice", "--token", "t-2"]);
    assert_ne!(first["message"], other["message"]);
    assert_eq!(home.lines(&["message", "list", "Harvest"]).len(), 2);
}

#[test]
fn messages_are_listed_page_by_page() {
    let home = home();
    let sent: Vec<String> = (0..7)
        .map(|number| {
            let words = format!("message {number}");
            text(&home.ok(&["message", "send", "Harvest", &words]), "message")
        })
        .collect();
    let ids = |arguments: &[&str]| -> Vec<String> {
        let arguments = [&["message", "list", "Harvest"], arguments].concat();
        let listed = home.lines(&arguments);
        listed
            .iter()
            .map(|message| text(message, "message"))
            .collect()
    };
    assert_eq!(ids(&[]), sent);
    assert_eq!(ids(&["--limit", "3"]), sent[4..]);
    assert_eq!(ids(&["--limit", "3", "--before", &sent[4]]), sent[1..4]);
    assert_eq!(ids(&["--limit", "3", "--after", &sent[1]]), sent[2..5]);
    assert_eq!(ids(&["--after", &sent[6]]), Vec::<String>::new());
    let first = home.lines(&["message", "list", "Harvest", "--limit", "1"]);
    let time = text(&first[0], "time");
    assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
}

#[test]
fn replies_name_what_they_answer() {
    let home = home();
    let asked = home.ok(&["message", "send", "Harvest", "who drives?"]);
    let id = text(&asked, "message");
    home.ok(&["message", "send", "Harvest", "I do", "--reply-to", &id]);
    let listed = home.lines(&["message", "list", "Harvest"]);
    assert_eq!(listed[1]["reply_to"], id);
    assert_eq!(listed[0].get("reply_to"), None);
}

fn corpus(lines: usize) -> String {
    let line = |seq: usize| {
        let mut line = json!({
            "conversation": "old/one",
            "seq": seq,
            "time": "2004-12-25T09:14:00Z",
            "kind": if seq % 10 == 3 { "system" } else { "text" },
            "author": format!("nick{}", seq % 5),
            "text": format!("line {seq}"),
        });
        if seq % 4 == 2 {
            line["reply_to"] = json!(seq - 2);
        }
        if seq == 299 {
            line["reply_to"] = json!(0);
        }
        line.to_string()
    };
    (0..lines).map(line).collect::<Vec<_>>().join("\n")
}

fn check_import(home: &Home, file: &std::path::Path) {
    let imported = home.ok(&["message", "import", "Harvest", file.to_str().unwrap()]);
    assert_eq!(imported["imported"], 300);
    let listed = home.lines(&["message", "list", "Harvest", "--limit", "1000"]);
    let texts: Vec<String> = listed.iter().map(|message| text(message, "text")).collect();
    let expected: Vec<String> = (0..300).map(|seq| format!("line {seq}")).collect();
    assert_eq!(texts, expected);
    for (seq, answered) in [(2, 0), (130, 128), (299, 0)] {
        assert_eq!(
            listed[seq]["reply_to"], listed[answered]["message"],
            "{seq}"
        );
    }
    assert_eq!(listed[3]["system"], true);
    let origin = json!({ "author": "nick4", "time": "2004-12-25T09:14:00.000Z" });
    assert_eq!(listed[4]["origin"], origin);
}

#[test]
fn a_file_is_imported_with_its_replies() {
    let home = home();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(corpus(300).as_bytes()).unwrap();
    check_import(&home, file.path());
}

#[test]
fn a_gzipped_file_is_imported_alike() {
    let home = home();
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut encoder =
        flate2::write::GzEncoder::new(file.reopen().unwrap(), flate2::Compression::default());
    encoder.write_all(corpus(300).as_bytes()).unwrap();
    encoder.finish().unwrap();
    check_import(&home, file.path());
}

#[test]
fn a_wrong_line_imports_nothing() {
    let home = home();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{}\nnot json", corpus(2)).unwrap();
    let said = home.fails(
        &[
            "message",
            "import",
            "Harvest",
            file.path().to_str().unwrap(),
        ],
        1,
    );
    assert!(said.contains("line 3"), "{said}");
    assert_eq!(
        home.lines(&["message", "list", "Harvest"]),
        Vec::<Value>::new()
    );
}

#[test]
fn what_is_not_unique_or_not_there_is_refused() {
    let home = home();
    home.ok(&["conversation", "create", "Harvest"]);
    let said = home.fails(&["message", "list", "Harvest"], 1);
    assert!(said.contains("names 2"), "{said}");
    home.fails(&["message", "list", "Orchard"], 1);
    let all = home.lines(&["conversation", "list"]);
    let id = text(&all[0], "conversation");
    home.ok(&["conversation", "show", &id]);
    home.ok(&["conversation", "show", id.get(..16).unwrap()]);
    home.fails(&["message", "send", &id, ""], 1);
}
