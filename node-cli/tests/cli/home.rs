//! A home of the program, and ways to run it there.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A device's home, unlocked by a key file so that it is quick.
pub struct Home {
    directory: TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sheaf"));
    command
        .env_remove("SHEAF_PASSPHRASE")
        .env_remove("SHEAF_RELAY_TOKEN")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

pub fn ended(output: Output) -> Ended {
    Ended {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Home {
    pub fn empty() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// The same, on a certain disk.
    pub fn within(disk: &std::path::Path) -> Self {
        Self {
            directory: tempfile::tempdir_in(disk).unwrap(),
        }
    }

    /// A home with an account.
    pub fn of(user: &str, device: &str) -> Self {
        let home = Self::empty();
        home.ok(&["init", "--user", user, "--device", device]);
        home
    }

    pub fn directory(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    pub fn key_file(&self) -> PathBuf {
        self.directory.path().join("key")
    }

    /// The program in this home, with its key file and JSON.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command
            .args(arguments)
            .arg("--json")
            .arg("--home")
            .arg(self.directory())
            .arg("--key-file")
            .arg(self.key_file());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ended {
        ended(self.command(arguments).output().unwrap())
    }

    /// Runs what must succeed and gives its lines.
    pub fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        let ended = self.run(arguments);
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        let lines = ended.stdout.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Runs what must succeed with one object.
    pub fn ok(&self, arguments: &[&str]) -> Value {
        let mut lines = self.lines(arguments);
        assert_eq!(lines.len(), 1, "{arguments:?}: {lines:?}");
        lines.remove(0)
    }

    /// Runs what must fail with a code, and gives what it says.
    pub fn fails(&self, arguments: &[&str], code: i32) -> String {
        let ended = self.run(arguments);
        assert_eq!(ended.code, code, "{arguments:?}: {ended:?}");
        assert_eq!(ended.stdout, "", "words belong on standard error");
        let said: Value = serde_json::from_str(ended.stderr.trim()).expect(&ended.stderr);
        assert_eq!(said["code"], code);
        text(&said, "error")
    }

    /// Starts what goes on for a while.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Running { child, lines }
    }
}

/// A field that must be text.
pub fn text(value: &Value, field: &str) -> String {
    let found = value[field].as_str();
    found
        .unwrap_or_else(|| panic!("no {field} in {value}"))
        .to_owned()
}

/// A program that runs.
pub struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    /// The next object that it prints.
    pub fn next(&mut self) -> Value {
        let mut line = String::new();
        assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "it ended");
        serde_json::from_str(&line).expect(&line)
    }

    /// The next event of a kind.
    pub fn event(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next();
            if event["event"] == kind {
                return event;
            }
        }
    }

    pub fn type_line(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
        stdin.flush().unwrap();
    }

    pub fn interrupt(&self) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status().unwrap();
        assert!(sent.success());
    }

    /// Ends it in the middle of whatever it does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn end(mut self) -> Ended {
        drop(self.child.stdin.take());
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.lines, &mut rest).unwrap();
        let mut ended = ended(self.child.wait_with_output().unwrap());
        ended.stdout = rest;
        ended
    }
}
