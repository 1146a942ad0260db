#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

use clap::Parser;
use keyring_core::{CredentialStore, Entry, Error, mock};

use super::{create_in, read_in, remove, remove_in};
use crate::arguments::Arguments;
use crate::command::execute;
use crate::exit::{Code, Failure};
use crate::home::Home;

/// An entry of a keyring in memory.
fn entry(name: &str) -> Entry {
    let store: std::sync::Arc<CredentialStore> = mock::Store::new().unwrap();
    store.build("sheaf", name, None).unwrap()
}

fn fail_next(entry: &Entry) {
    let mock: &mock::Cred = entry.as_any().downcast_ref().unwrap();
    let locked = std::io::Error::other("the collection is locked");
    mock.set_error(Error::NoStorageAccess(Box::new(locked)));
}

#[test]
fn a_key_is_kept_and_given_back_until_it_is_removed() {
    let entry = entry("one");
    let made = create_in(&entry).unwrap();
    assert_eq!(read_in(&entry).unwrap(), made);
    remove_in(&entry).unwrap();
    assert_eq!(read_in(&entry).unwrap_err().code, Code::WrongPassphrase);
    remove_in(&entry).unwrap();
}

#[test]
fn two_keys_are_never_the_same() {
    let made = create_in(&entry("one")).unwrap();
    assert_ne!(create_in(&entry("two")).unwrap(), made);
}

#[test]
fn a_locked_keyring_is_an_error_that_names_the_alternatives() {
    let entry = entry("one");
    fail_next(&entry);
    let failure = create_in(&entry).unwrap_err();
    let words = format!("{failure:?}");
    assert!(words.contains("the collection is locked"), "{words}");
    assert!(words.contains("--key-file"), "{words}");
    assert_eq!(read_in(&entry).unwrap_err().code, Code::WrongPassphrase);
}

#[test]
fn something_that_is_no_key_is_not_used() {
    let entry = entry("one");
    entry.set_secret(b"short").unwrap();
    read_in(&entry).unwrap_err();
}

/// The keyring of this test program: one in memory, for everybody in it.
pub(super) fn ready() {
    static READY: std::sync::Once = std::sync::Once::new();
    READY.call_once(|| keyring_core::set_default_store(mock::Store::new().unwrap()));
}

/// Runs the program in a home, where nothing can be asked and nothing is given.
async fn run(home: &std::path::Path, arguments: &[&str]) -> Result<(), Failure> {
    let home = ["sheaf", "--quiet", "--home", home.to_str().unwrap()];
    let typed = home.iter().chain(arguments);
    let parsed = Arguments::try_parse_from(typed).unwrap();
    let (settings, request) = parsed.interpret()?;
    execute(&settings, request).await
}

fn remembered(home: &std::path::Path) -> Option<String> {
    let home = Home::locate(Some(home.to_owned())).unwrap();
    home.remembered().unwrap().keyring
}

const INIT: [&str; 6] = ["init", "--user", "ada", "--device", "laptop", "--keyring"];

#[tokio::test]
async fn a_store_whose_key_is_in_the_keyring_opens_without_a_question() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    run(&home, &INIT).await.unwrap();
    run(&home, &["card"]).await.unwrap();
    // The key is nowhere but in the keyring.
    let name = remembered(&home).unwrap();
    remove(&name).unwrap();
    let failure = run(&home, &["card"]).await.unwrap_err();
    assert_eq!(failure.code, Code::WrongPassphrase);
    // A second store is not made over it, and takes no other's key.
    let failure = run(&home, &INIT).await.unwrap_err();
    assert!(failure.to_string().contains("already"), "{failure}");
    assert_eq!(remembered(&home).unwrap(), name);
}

#[tokio::test]
async fn a_key_goes_into_the_keyring_and_out_again_and_old_backups_open() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let home = directory.path().join("home");
    let (first, second, backup) = (path("first"), path("second"), path("backup"));
    let init = [
        "init",
        "--user",
        "ada",
        "--device",
        "laptop",
        "--key-file",
        &first,
    ];
    run(&home, &init).await.unwrap();
    let into = ["account", "passphrase", "--new-keyring"];
    let given = [&into[..], &["--key-file", &first]].concat();
    run(&home, &given).await.unwrap();
    run(&home, &["card"]).await.unwrap();
    run(&home, &["card", "--key-file", &first])
        .await
        .unwrap_err();
    let failure = run(&home, &into).await.unwrap_err();
    assert!(failure.to_string().contains("already"), "{failure}");
    run(&home, &["store", "backup", &backup]).await.unwrap();
    let name = remembered(&home).unwrap();

    let out = ["account", "passphrase", "--new-key-file", &second];
    run(&home, &out).await.unwrap();
    assert_eq!(remembered(&home), None);
    run(&home, &["card", "--key-file", &second]).await.unwrap();
    let other = directory.path().join("other");
    let restore = ["store", "restore", &backup, "--keyring-key", &name];
    run(&other, &restore).await.unwrap();
    run(&other, &["card"]).await.unwrap();
}

#[tokio::test]
async fn two_secrets_for_one_store_are_refused_before_anything_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    let key = directory.path().join("key");
    let both = [&INIT[..], &["--key-file", key.to_str().unwrap()]].concat();
    let failure = run(&home, &both).await.unwrap_err();
    assert_eq!(failure.code, Code::Usage);
    assert!(!home.exists() && !key.exists());
}
