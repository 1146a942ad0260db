//! A home of the program, and commands there that may be killed.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// No command takes longer: the timeouts of those that wait are shorter.
const ENDS_WITHIN: Duration = Duration::from_secs(120);

/// A device's home.
#[derive(Clone, Debug)]
pub struct Home {
    /// Its device's name, and that of its folder.
    pub name: String,
    /// Whose it is.
    pub user: &'static str,
    root: PathBuf,
    program: PathBuf,
}

/// A command that was started.
#[derive(Debug)]
pub struct Started {
    what: String,
    at: Instant,
    child: Running,
    printed: PathBuf,
    complained: PathBuf,
}

/// A process that does not outlive the test.
#[derive(Debug)]
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.kill().is_ok() {
            self.0.wait().ok();
        }
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Who ran what.
    pub what: String,
    /// From its start.
    pub took: Duration,
    /// Nothing if it was killed.
    pub code: Option<i32>,
    /// Whether it neither ended by itself in time nor was killed as it was meant to be.
    pub hung: bool,
    /// What it printed.
    pub lines: Vec<String>,
    /// What it said on standard error.
    pub complaint: String,
}

impl Ended {
    /// The objects that it printed.
    #[must_use]
    pub fn values(&self) -> Vec<Value> {
        let lines = self.lines.iter();
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// The first object that it printed.
    #[must_use]
    pub fn first(&self) -> Value {
        self.values().into_iter().next().unwrap_or_default()
    }
}

impl Home {
    /// A home below a folder, for a program.
    #[must_use]
    pub fn new(root: &Path, name: &str, user: &'static str, program: &str) -> Self {
        Self {
            name: name.to_owned(),
            user,
            root: root.to_owned(),
            program: program.into(),
        }
    }

    /// What it consists of.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.root.join(&self.name)
    }

    /// What opens its store.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        self.root.join(format!("{}.key", self.name))
    }

    /// Where its backup lies, if it has one.
    #[must_use]
    pub fn backup(&self) -> PathBuf {
        self.root.join(format!("{}.backup", self.name))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
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

    /// Starts a command.
    #[must_use]
    pub fn start(&self, arguments: &[&str]) -> Started {
        let printed = self.root.join(format!("{}.out", self.name));
        let complained = self.root.join(format!("{}.err", self.name));
        let mut command = self.command(arguments);
        command.stdout(File::create(&printed).unwrap());
        command.stderr(File::create(&complained).unwrap());
        Started {
            what: format!("{} {}", self.name, arguments.join(" ")),
            at: Instant::now(),
            child: Running(command.spawn().unwrap()),
            printed,
            complained,
        }
    }

    /// Links a new device of the same user, and kills it as soon as it is active if it is not to stay for
    /// what it gets at once.
    pub fn link(&self, new: &Self, relays: &[String], stay: bool) {
        let start = |home: &Self, arguments: &[&str]| {
            let mut command = home.command(arguments);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            command.stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            let said = BufReader::new(child.stdout.take().unwrap());
            (child, said)
        };
        let next = |said: &mut BufReader<ChildStdout>| {
            let mut line = String::new();
            said.read_line(&mut line).unwrap();
            serde_json::from_str::<Value>(&line).unwrap()
        };
        let (mut linking, mut said) = start(self, &["device", "link"]);
        let code = next(&mut said);
        let mut join = Vec::new();
        for relay in relays {
            join.extend(["--relay", relay]);
        }
        join.extend(["device", "join", code["code"].as_str().unwrap()]);
        join.extend(["--device", &new.name]);
        let (mut joining, mut joins) = start(new, &join);
        let digits = next(&mut joins);
        let digits = digits["digits"].as_str().unwrap();
        writeln!(linking.stdin.take().unwrap(), "{digits}").unwrap();
        assert_eq!(next(&mut joins)["state"], "active");
        if !stay {
            joining.kill().unwrap();
        }
        assert!(linking.wait().unwrap().success());
        assert_eq!(joining.wait().unwrap().success(), stay);
    }
}

/// What a command prints, line by line.
#[derive(Debug)]
pub struct Follow {
    from: BufReader<File>,
    line: String,
}

impl Follow {
    /// The first of the next lines that is an object of which something is so.
    pub fn wait(&mut self, patience: Duration, is_it: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + patience;
        let mut last = Value::Null;
        loop {
            // A line that is not whole yet stays.
            if self.from.read_line(&mut self.line).unwrap() > 0 && self.line.ends_with('\n') {
                let value = serde_json::from_str(&self.line).unwrap();
                self.line.clear();
                if is_it(&value) {
                    return value;
                }
                last = value;
            } else {
                assert!(Instant::now() < deadline, "not in time; at last {last}");
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

impl Started {
    /// Waits for its end, or kills it after a while.
    #[must_use]
    pub fn end(self, kill: Option<Duration>) -> Ended {
        self.end_within(kill.unwrap_or(ENDS_WITHIN), kill.is_some())
    }

    /// Follows what it prints, from its beginning.
    #[must_use]
    pub fn follow(&self) -> Follow {
        Follow {
            from: BufReader::new(File::open(&self.printed).unwrap()),
            line: String::new(),
        }
    }

    /// The most memory that it held until now, in bytes.
    #[must_use]
    pub fn memory_max(&self) -> Option<u64> {
        let path = format!("/proc/{}/status", self.child.0.id());
        let status = std::fs::read_to_string(path).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kibibytes * 1024)
    }

    /// Asks it to end, in one way or another, and waits for that.
    #[must_use]
    pub fn stop(self, signal: &str) -> Ended {
        let id = self.child.0.id().to_string();
        Command::new("kill").args([signal, &id]).status().unwrap();
        self.end(None)
    }

    fn end_within(mut self, max: Duration, killed: bool) -> Ended {
        let deadline = Instant::now() + max;
        let status = loop {
            match self.child.0.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if Instant::now() >= deadline => break None,
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        if status.is_none() {
            self.child.0.kill().unwrap();
            self.child.0.wait().unwrap();
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
