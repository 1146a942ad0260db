//! A home of the program, and commands there that may be killed.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const SHEAF: &str = env!("CARGO_BIN_EXE_cli");
/// No command takes longer: the timeouts of those that wait are shorter.
const ENDS_WITHIN: Duration = Duration::from_secs(120);

/// A device's home.
#[derive(Clone)]
pub struct Home {
    pub name: String,
    pub user: &'static str,
    root: PathBuf,
}

/// A command that was started.
pub struct Started {
    what: String,
    at: Instant,
    child: Child,
    printed: PathBuf,
    complained: PathBuf,
}

/// How a command ended.
pub struct Ended {
    pub what: String,
    pub took: Duration,
    /// Nothing if it was killed.
    pub code: Option<i32>,
    /// Whether it ended by itself in time, or was killed as it was meant to be.
    pub hung: bool,
    pub lines: Vec<String>,
    pub complaint: String,
}

impl Ended {
    pub fn values(&self) -> Vec<Value> {
        let lines = self.lines.iter();
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// The first object that it printed.
    pub fn first(&self) -> Value {
        self.values().into_iter().next().unwrap_or_default()
    }
}

impl Home {
    pub fn new(root: &Path, name: &str, user: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            user,
            root: root.to_owned(),
        }
    }

    pub fn directory(&self) -> PathBuf {
        self.root.join(&self.name)
    }

    pub fn key_file(&self) -> PathBuf {
        self.root.join(format!("{}.key", self.name))
    }

    /// Where its backup lies, if it has one.
    pub fn backup(&self) -> PathBuf {
        self.root.join(format!("{}.backup", self.name))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(SHEAF);
        command
            .args(["--json", "--home"])
            .arg(self.directory())
            .arg("--key-file")
            .arg(self.key_file())
            .args(arguments)
            .env_remove("RUST_LOG")
            .env("RUST_BACKTRACE", "0")
            .env("SHEAF_MESSAGE_LIMIT", "0")
            .stdin(Stdio::null());
        command
    }

    pub fn start(&self, arguments: &[&str]) -> Started {
        let printed = self.root.join(format!("{}.out", self.name));
        let complained = self.root.join(format!("{}.err", self.name));
        let mut command = self.command(arguments);
        command.stdout(File::create(&printed).unwrap());
        command.stderr(File::create(&complained).unwrap());
        Started {
            what: format!("{} {}", self.name, arguments.join(" ")),
            at: Instant::now(),
            child: command.spawn().unwrap(),
            printed,
            complained,
        }
    }

    /// Links a new device of the same user.
    pub fn link(&self, new: &Self, relays: &[String]) {
        let ask = |home: &Self, arguments: &[&str]| {
            let mut command = home.command(arguments);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            command.stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            let mut line = String::new();
            let stdout = child.stdout.as_mut().unwrap();
            BufReader::new(stdout).read_line(&mut line).unwrap();
            (child, serde_json::from_str::<Value>(&line).unwrap())
        };
        let (mut linking, said) = ask(self, &["device", "link"]);
        let mut join = Vec::new();
        for relay in relays {
            join.extend(["--relay", relay]);
        }
        join.extend(["device", "join", said["code"].as_str().unwrap()]);
        join.extend(["--device", &new.name]);
        let (mut joining, said) = ask(new, &join);
        let digits = said["digits"].as_str().unwrap();
        writeln!(linking.stdin.take().unwrap(), "{digits}").unwrap();
        assert!(linking.wait().unwrap().success());
        assert!(joining.wait().unwrap().success());
    }
}

impl Started {
    /// Waits for its end, or kills it after a while.
    pub fn end(self, kill: Option<Duration>) -> Ended {
        self.end_within(kill.unwrap_or(ENDS_WITHIN), kill.is_some())
    }

    /// Asks it to end, in one way or another, and waits for that.
    pub fn stop(self, signal: &str) -> Ended {
        let id = self.child.id().to_string();
        Command::new("kill").args([signal, &id]).status().unwrap();
        self.end(None)
    }

    fn end_within(mut self, max: Duration, killed: bool) -> Ended {
        let deadline = Instant::now() + max;
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if Instant::now() >= deadline => break None,
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        if status.is_none() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        Ended {
            what: self.what,
            took: self.at.elapsed(),
            code: status.and_then(|status| status.code()),
            hung: status.is_none() && !killed,
            lines: read(&self.printed).lines().map(str::to_owned).collect(),
            complaint: read(&self.complained),
        }
    }
}
