//! The store's key in GNOME's keyring, on a session bus of its own.

use std::process::{Command, Stdio};

use crate::home::{ended, program};

/// Runs a script on a new session bus with an unlocked keyring; `None` where there are no such
/// programs (`.ci/run` installs them).
fn with_keyring(directory: &std::path::Path, script: &str) -> Option<crate::home::Ended> {
    let there = |name: &str| {
        let mut asked = Command::new(name);
        let asked = asked.arg("--version").stdout(Stdio::null());
        asked.stderr(Stdio::null()).status().is_ok()
    };
    if !there("dbus-run-session") || !there("gnome-keyring-daemon") {
        println!("left out: dbus-run-session and gnome-keyring-daemon are not installed");
        return None;
    }
    let unlock =
        "printf secret | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1";
    let run = directory.join("run");
    std::fs::create_dir(&run).unwrap();
    let mut permissions = std::fs::metadata(&run).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o700);
    std::fs::set_permissions(&run, permissions).unwrap();
    let output = Command::new("dbus-run-session")
        .args(["--", "sh", "-ec", &format!("{unlock}\n{script}")])
        .current_dir(directory)
        .env("HOME", directory)
        .env("XDG_DATA_HOME", directory.join("data"))
        .env("XDG_RUNTIME_DIR", run)
        .env("SHEAF", program().get_program())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Some(ended(output))
}

#[test]
fn a_store_opens_by_a_key_in_the_keyring() {
    let directory = tempfile::tempdir().unwrap();
    let script = r#"
        "$SHEAF" --home one --json init --user alice --device desk --keyring >init
        "$SHEAF" --home one --json status >before
        "$SHEAF" --home one store backup backup >&2
        name=$(sed -n 's/.*"keyring": *"\([0-9a-f]*\)".*/\1/p' one/config.json)
        "$SHEAF" --home two --keyring-key "$name" store restore backup >&2
        "$SHEAF" --home two --json status >restored
        "$SHEAF" --home one --json account passphrase --new-key-file key >changed
        "$SHEAF" --home one --key-file key --json account passphrase --new-keyring >back
        "$SHEAF" --home one --json status >after
        grep -c . one/config.json
    "#;
    let Some(ended) = with_keyring(directory.path(), script) else {
        return;
    };
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let said = |name: &str| -> serde_json::Value {
        let text = std::fs::read_to_string(directory.path().join(name)).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    assert_eq!(said("before")["user"], said("init")["user"]);
    assert_eq!(said("restored")["user"], said("init")["user"]);
    assert_eq!(said("changed")["opens_by"], "key file");
    assert_eq!(said("back")["opens_by"], "key in the keyring");
    assert_eq!(said("after")["device"], said("init")["device"]);
}

#[test]
fn without_the_keyring_of_its_key_a_store_stays_shut() {
    let directory = tempfile::tempdir().unwrap();
    let made = with_keyring(
        directory.path(),
        r#""$SHEAF" --home one init --user alice --device desk --keyring >&2; rm -r data"#,
    );
    let Some(made) = made else { return };
    assert_eq!(made.code, 0, "{}", made.stderr);
    // No session bus at all.
    let output = program()
        .args(["--home", "one", "status"])
        .current_dir(directory.path())
        .env("HOME", directory.path())
        .env_remove("DBUS_SESSION_BUS_ADDRESS")
        .env("XDG_RUNTIME_DIR", directory.path().join("none"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let shut = ended(output);
    assert_eq!(shut.code, 1, "{}", shut.stderr);
    assert!(
        shut.stderr.contains("the keyring cannot be used"),
        "{}",
        shut.stderr
    );
}
