//! Files of other versions: those of version 1 stay readable, those of a newer one are refused by
//! name (tests/fixtures/README.md).

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::home::{Home, text};
use crate::people::{People, texts};

/// Where the version stands in each, after its magic, and the newest one.
const BACKUP_VERSION_AT: (usize, u8) = ("sheaf-backup".len(), 1);
const BUNDLE_VERSION_AT: (usize, u8) = ("sheaf-bundle".len(), 1);
const HEADER_VERSION_AT: (usize, u8) = ("sheaf-store".len(), 2);

fn fixture(name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/v1");
    fixtures.join(name)
}

fn path(file: &Path) -> &str {
    file.to_str().unwrap()
}

/// A home without a store that has the fixture's key file.
fn with_key() -> Home {
    let home = Home::empty();
    std::fs::copy(fixture("key"), home.key_file()).unwrap();
    // A checkout does not keep a file from others.
    let owner = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(home.key_file(), owner).unwrap();
    home
}

/// A copy of a file that says to be of the version after the newest one.
fn newer(file: &Path, (version_at, newest): (usize, u8), copy: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let version = bytes[version_at];
    assert!(
        (1..=newest).contains(&version),
        "the version stands elsewhere"
    );
    bytes[version_at] = newest + 1;
    std::fs::write(copy, bytes).unwrap();
}

#[test]
fn a_backup_and_a_bundle_of_version_1_are_read() {
    let home = with_key();
    let made = home.ok(&["store", "restore", path(&fixture("backup"))]);
    assert_eq!(text(&made, "user").len(), 64);
    // What that version wrote has no key that could be destroyed.
    let checked = home.ok(&["store", "check"]);
    assert_eq!(checked["erasable"]["records"], 0, "{checked}");
    assert!(checked["erasable"]["unprotected"].as_u64() > Some(0));
    assert_eq!(
        texts(&home),
        ["ploughed", "sown", "Grüße aus der Scheune 🐄"]
    );
    let members = home.lines(&["conversation", "member", "list", "Harvest"]);
    assert_eq!(members.len(), 2, "{members:?}");
    let imported = home.ok(&["sync", "import", path(&fixture("bundle"))]);
    assert_eq!(imported["messages"], 2, "{imported}");
    assert_eq!(texts(&home)[3..], ["by hand", "across the yard"]);
    let token = ["message", "send", "Harvest", "reaped", "--wait", "0"];
    home.ok(&token);
    assert_eq!(texts(&home).len(), 6);
}

#[test]
fn files_of_a_newer_version_are_refused_by_name_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("copy");
    newer(&fixture("backup"), BACKUP_VERSION_AT, &copy);
    let home = with_key();
    let said = home.run(&["store", "restore", path(&copy)]);
    assert_ne!(said.code, 0, "{said:?}");
    assert!(said.stderr.contains("newer version"), "{said:?}");
    let left = std::fs::read_dir(home.directory()).map_or(0, Iterator::count);
    assert_eq!(left, 0);

    home.ok(&["store", "restore", path(&fixture("backup"))]);
    newer(&fixture("bundle"), BUNDLE_VERSION_AT, &copy);
    let said = home.run(&["sync", "import", path(&copy)]);
    assert_ne!(said.code, 0, "{said:?}");
    assert!(said.stderr.contains("newer version"), "{said:?}");
    assert_eq!(texts(&home).len(), 3);

    let header = header(&home.directory());
    newer(&header.clone(), HEADER_VERSION_AT, &header);
    let before = std::fs::read(&header).unwrap();
    let said = home.run(&["message", "list", "Harvest"]);
    assert_ne!(said.code, 0, "{said:?}");
    assert!(said.stderr.contains("newer version"), "{said:?}");
    assert_eq!(std::fs::read(&header).unwrap(), before);
}

/// The file of a store that begins with the header's magic.
fn header(directory: &Path) -> PathBuf {
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if std::fs::read(&path).unwrap().starts_with(b"sheaf-store") {
                return path;
            }
        }
    }
    panic!("a store has a header");
}

#[test]
#[ignore = "writes the fixtures of a new version into SHEAF_FIXTURES; those of version 1 stay as they are"]
fn write_fixtures() {
    let target = PathBuf::from(std::env::var("SHEAF_FIXTURES").unwrap());
    let people = People::meet();
    for (home, words) in [
        (&people.laptop, "ploughed"),
        (&people.bob, "sown"),
        (&people.laptop, "Grüße aus der Scheune 🐄"),
    ] {
        home.ok(&["message", "send", "Harvest", words]);
        people.exchange();
    }
    for words in ["by hand", "across the yard"] {
        people
            .laptop
            .ok(&["message", "send", "Harvest", words, "--wait", "0"]);
    }
    let bundle = target.join("bundle");
    people
        .laptop
        .ok(&["sync", "export", path(&bundle), "--device", "desk"]);
    people
        .bob
        .ok(&["store", "backup", path(&target.join("backup"))]);
    std::fs::copy(people.bob.key_file(), target.join("key")).unwrap();
}
