//! Rules of the house that no compiler checks: sizes of files, layout, words, and which room may
//! use what.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::string_slice,
    clippy::indexing_slicing,
    reason = "a test stops at a broken expectation"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const LINES_MAX: usize = 500;
/// Folders of the workspace that hold sources.
const ROOMS: [&str; 6] = ["protocol", "engine", "relay", "node-cli", "tests", "fuzz"];
/// Folders inside them that do not.
const SKIPPED: [&str; 3] = ["target", "corpus", "artifacts"];
/// Promises instead of work, each split so that this file does not hold them itself.
const WORDS: [(&str, &str); 5] = [
    ("to", "do"),
    ("fix", "me"),
    ("for", " now"),
    ("in a", " real"),
    ("place", "holder"),
];

/// What a package must not use, however indirectly, except in its own tests. The relay cannot read
/// what it keeps because nothing that could read is in it.
const FORBIDDEN: [(&str, &[&str]); 4] = [
    (
        "sheaf-protocol",
        &[
            "sheaf-crypto",
            "sheaf-replica",
            "sheaf-engine",
            "sheaf-relay",
            "automerge",
            "tokio",
            "quinn",
            "sled",
            "rustls",
        ],
    ),
    (
        "sheaf-crypto",
        &[
            "sheaf-replica",
            "sheaf-engine",
            "sheaf-relay",
            "automerge",
            "tokio",
            "quinn",
            "sled",
            "rustls",
        ],
    ),
    (
        "sheaf-replica",
        &[
            "sheaf-engine",
            "sheaf-relay",
            "tokio",
            "quinn",
            "quinn-proto",
            "sled",
            "rustls",
        ],
    ),
    (
        "sheaf-relay",
        &["sheaf-crypto", "sheaf-replica", "sheaf-engine", "automerge"],
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = ROOMS.iter().map(|room| root().join(room)).collect();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && !SKIPPED.contains(&name) {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root()).unwrap().to_owned();
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 100, "the sources were not found");
    found.sort();
    found
}

/// Tests and benches may be longer: they are read one case at a time.
fn is_test(path: &Path) -> bool {
    path.components()
        .any(|part| part.as_os_str() == "tests" || part.as_os_str() == "benches")
        || path.ends_with("tests.rs")
}

fn report(what: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{what}:\n{}", broken.join("\n"));
}

#[test]
fn a_source_file_has_at_most_500_lines() {
    let broken: Vec<String> = sources()
        .iter()
        .filter(|(path, _)| !is_test(path))
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| format!("{}: {lines} lines", path.display()))
        .collect();
    report("too long: split by what changes together", &broken);
}

#[test]
fn a_module_is_a_file_beside_its_folder() {
    let broken: Vec<String> = sources()
        .iter()
        .filter(|(path, _)| path.ends_with("mod.rs"))
        .map(|(path, _)| path.display().to_string())
        .collect();
    report("foo.rs beside foo/, not foo/mod.rs", &broken);
}

#[test]
fn sources_hold_no_promises() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            let line = line.to_lowercase();
            for (first, second) in WORDS {
                let word = format!("{first}{second}");
                if holds_word(&line, &word) {
                    broken.push(format!("{}:{}: {word:?}", path.display(), number + 1));
                }
            }
        }
    }
    report("say what is, not what may come", &broken);
}

fn holds_word(line: &str, word: &str) -> bool {
    let inside = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
    line.match_indices(word).any(|(at, _)| {
        !inside(line[..at].chars().next_back()) && !inside(line[at + word.len()..].chars().next())
    })
}

#[test]
fn words_are_found_whole() {
    assert!(holds_word("// abc: x", "abc"));
    assert!(!holds_word("abcd dabc", "abc"));
}

/// Names of the packages that each package of the workspace is built from, its own tests aside.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = metadata();
    let names: BTreeMap<&str, &str> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            (
                package["id"].as_str().unwrap(),
                package["name"].as_str().unwrap(),
            )
        })
        .collect();
    let edges: BTreeMap<&str, Vec<&str>> = metadata["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| (node["id"].as_str().unwrap(), used_by(node)))
        .collect();
    let members = metadata["workspace_members"].as_array().unwrap();
    members
        .iter()
        .map(|member| {
            let member = member.as_str().unwrap();
            let mut seen = BTreeSet::new();
            let mut waiting = vec![member];
            while let Some(id) = waiting.pop() {
                for next in &edges[id] {
                    if seen.insert(*next) {
                        waiting.push(next);
                    }
                }
            }
            let used = seen.iter().map(|id| names[id].to_owned()).collect();
            (names[member].to_owned(), used)
        })
        .collect()
}

fn used_by(node: &Value) -> Vec<&str> {
    let deps = node["deps"].as_array().unwrap().iter();
    deps.filter(|dep| {
        let mut kinds = dep["dep_kinds"].as_array().unwrap().iter();
        kinds.any(|kind| kind["kind"] != "dev")
    })
    .map(|dep| dep["pkg"].as_str().unwrap())
    .collect()
}

fn metadata() -> Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let version = Command::new(&cargo).arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap();
    let output = Command::new(&cargo)
        .args(["metadata", "--format-version", "1", "--filter-platform"])
        .arg(host)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn no_room_uses_what_it_must_not() {
    let dependencies = dependencies();
    // The walk itself works: what the engine is for is in it.
    assert!(dependencies["sheaf-engine"].contains("automerge"));
    assert!(dependencies["sheaf-relay"].contains("sheaf-protocol"));
    let mut broken = Vec::new();
    for (package, forbidden) in FORBIDDEN {
        for name in forbidden {
            if dependencies[package].contains(*name) {
                broken.push(format!("{package} uses {name}"));
            }
        }
    }
    report("forbidden edges of the dependency graph", &broken);
}

/// `docs/ATTACKS.md` names files and, after each, tests in it.
#[test]
fn every_test_that_holds_an_attack_off_is_there() {
    let table = fs::read_to_string(root().join("docs/ATTACKS.md")).unwrap();
    let (mut file, mut gone, mut found) = (String::new(), Vec::new(), 0);
    for word in table.split('`').skip(1).step_by(2) {
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if Path::new(word).extension().is_some_and(|end| end == "rs") {
            file = fs::read_to_string(root().join(word)).unwrap_or_default();
            if file.is_empty() {
                gone.push(word.to_owned());
            }
        } else if word.chars().all(is_name) {
            found += 1;
            if !file.contains(&format!("fn {word}(")) {
                gone.push(word.to_owned());
            }
        }
    }
    assert!(found > 40, "the table was not read: {found}");
    report("tests of docs/ATTACKS.md that are gone", &gone);
}
