//! The people, their homes, and the relays between them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use serde_json::Value;
use sheaf_tests::home::{Ended, Home, Started};
use sheaf_tests::processes::{RelayProcess, copy};
use tempfile::TempDir;

const SHEAF: &str = env!("CARGO_BIN_EXE_cli");
const RELAY: &str = env!("CARGO_BIN_EXE_relay");
/// The first homes are those of different people.
pub const PEOPLE: usize = 3;
/// Exit codes that `docs/CLI.md` names and that these commands may end with.
const CODES: [i32; 9] = [0, 3, 10, 11, 12, 13, 14, 16, 130];

pub struct World {
    pub rng: ChaCha8Rng,
    pub homes: Vec<Home>,
    pub stations: Vec<Station>,
    /// Nobody leaves it: all that was acknowledged is to be there at the end.
    pub steady: String,
    /// Members come and go.
    pub wild: String,
    /// Acknowledged messages of the steady one, with their texts.
    pub sent: BTreeMap<String, String>,
    pub number: u32,
    pub with: Faults,
    pub copied: bool,
    commands: u32,
    found: Vec<String>,
    log: fs::File,
    root: TempDir,
}

/// What else happens in a history.
#[derive(Clone, Copy)]
pub struct Faults {
    /// Also the steady conversation forgets.
    pub forget: bool,
    pub copy: bool,
    pub restore: bool,
    /// Devices are frozen and thawed by hand.
    pub freeze: bool,
}

/// A relay that can be killed, put back to an older copy, and wiped.
pub struct Station {
    process: Option<RelayProcess>,
    folder: PathBuf,
    port: u16,
    pub address: String,
}

impl Station {
    fn new(folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).unwrap();
        let process = RelayProcess::start(RELAY, &folder, 0);
        Self {
            port: process.address.port,
            address: process.address.to_string(),
            process: Some(process),
            folder,
        }
    }

    pub fn start(&mut self) {
        if self.process.is_none() {
            self.process = Some(RelayProcess::start(RELAY, &self.folder, self.port));
        }
    }

    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Does something to the files of a relay that is down, and starts it again if it was up.
    fn while_down(&mut self, act: impl FnOnce(PathBuf, PathBuf)) {
        let was_up = self.process.is_some();
        self.kill();
        act(self.folder.join("store"), self.folder.join("copy"));
        if was_up {
            self.start();
        }
    }

    pub fn back_up(&mut self) {
        self.while_down(|store, older| {
            fs::remove_dir_all(&older).ok();
            copy(&store, &older);
        });
    }

    pub fn go_back(&mut self) {
        self.while_down(|store, older| {
            if older.exists() {
                fs::remove_dir_all(&store).unwrap();
                copy(&older, &store);
            }
        });
    }

    /// Everything is gone but its key.
    pub fn wipe(&mut self) {
        self.while_down(|store, _| {
            for entry in fs::read_dir(store).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    fs::remove_dir_all(entry.path()).unwrap();
                } else if entry.file_name() != "relay.key" {
                    fs::remove_file(entry.path()).unwrap();
                }
            }
        });
    }
}

impl World {
    pub fn new(seed: u64) -> Self {
        let root = tempfile::tempdir().unwrap();
        let stations = ["relay0", "relay1"].map(|name| Station::new(root.path().join(name)));
        let all = [
            ("al", "Alice"),
            ("bo", "Bob"),
            ("ca", "Carol"),
            ("al2", "Alice"),
            ("bo2", "Bob"),
        ];
        let homes = all.map(|(name, user)| Home::new(root.path(), name, user, SHEAF));
        let mut world = Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            homes: homes.into(),
            stations: stations.into(),
            steady: String::new(),
            wild: String::new(),
            sent: BTreeMap::new(),
            number: 0,
            with: Faults {
                forget: seed % 2 == 1,
                copy: seed.is_multiple_of(5),
                restore: seed.is_multiple_of(3),
                freeze: seed % 4 < 2,
            },
            copied: false,
            commands: 0,
            found: Vec::new(),
            log: fs::File::create(root.path().join("log")).unwrap(),
            root,
        };
        world.meet();
        world
    }

    /// Everybody knows everybody, and both conversations.
    fn meet(&mut self) {
        let relays = self.relays();
        for home in 0..PEOPLE {
            let (name, user) = (self.homes[home].name.clone(), self.homes[home].user);
            let mut arguments = vec!["init", "--user", user, "--device", &name];
            for relay in &relays {
                arguments.extend(["--relay", relay]);
            }
            let made = self.must(home, &arguments);
            fs::write(self.path(user), word(&made, "recovery_phrase")).unwrap();
        }
        let cards = [0, 1, 2].map(|home| word(&self.must(home, &["card"]), "card"));
        for (home, from) in (0..PEOPLE).flat_map(|home| (0..PEOPLE).map(move |from| (home, from))) {
            if home != from {
                self.must(home, &["contact", "add", &cards[from]]);
            }
        }
        self.homes[0].link(&self.homes[3], &relays, true);
        self.homes[1].link(&self.homes[4], &relays, true);
        let create = |name, with: [&'static str; 2]| {
            let [first, second] = with;
            [
                "conversation",
                "create",
                name,
                "--member",
                first,
                "--member",
                second,
            ]
        };
        let made = self.must(0, &create("steady", ["Bob", "Carol"]));
        self.steady = word(&made, "conversation");
        let made = self.must(1, &create("wild", ["Alice", "Carol"]));
        self.wild = word(&made, "conversation");
        for home in (0..self.homes.len()).cycle().take(15) {
            self.whole(home, &["sync", "now", "--timeout", "20"]);
        }
    }

    pub fn relays(&self) -> Vec<String> {
        let stations = self.stations.iter();
        stations.map(|station| station.address.clone()).collect()
    }

    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap();
        usize::try_from(self.rng.next_u64() % bound).unwrap()
    }

    pub fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    pub fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    /// Some milliseconds.
    pub fn moment(&mut self, from: usize, to: usize) -> Duration {
        let ms = from + self.below(to - from);
        Duration::from_millis(u64::try_from(ms).unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn commands(&self) -> u32 {
        self.commands
    }

    pub fn acknowledged(&self) -> usize {
        self.sent.len()
    }

    /// Something is not as it should be.
    pub fn find(&mut self, what: String) {
        self.say(&format!("FOUND {what}"));
        println!("{what}");
        self.found.push(what);
    }

    pub fn say(&mut self, what: &str) {
        writeln!(self.log, "{what}").unwrap();
    }

    fn must(&mut self, home: usize, arguments: &[&str]) -> Value {
        let ended = self.whole(home, arguments);
        assert_eq!(ended.code, Some(0), "{}: {}", ended.what, ended.complaint);
        ended.first()
    }

    /// Runs a command to its end; it may be refused.
    pub fn whole(&mut self, home: usize, arguments: &[&str]) -> Ended {
        self.run(home, arguments, None)
    }

    /// Runs a command and kills it after a while, if it is still there.
    pub fn run(&mut self, home: usize, arguments: &[&str], kill: Option<Duration>) -> Ended {
        let started = self.start(home, arguments);
        let ended = started.end(kill);
        self.judge(&ended);
        ended
    }

    pub fn start(&mut self, home: usize, arguments: &[&str]) -> Started {
        self.commands += 1;
        self.homes[home].start(arguments)
    }

    /// How a command may end, whatever came before it.
    pub fn judge(&mut self, ended: &Ended) {
        let Ended {
            what, code, took, ..
        } = ended;
        let said = ended.lines.join(" ");
        let complaint = ended.complaint.trim();
        self.say(&format!(
            "{took:.1?} {what} -> {code:?} | {said} | {complaint}"
        ));
        if ended.hung {
            self.find(format!("{what}: it does not end"));
        }
        if complaint.contains("panic") || complaint.contains("overflow") {
            self.find(format!("{what}: {complaint}"));
        }
        // 1: refused, in words. Nobody hears of 2 and 15 who asks for what there is.
        let refused = *code == Some(1) && complaint.contains("error");
        if code.is_some_and(|code| !CODES.contains(&code) && !refused) {
            self.find(format!("{what}: exit {code:?}, {complaint}"));
        }
        // Of a command that is killed the last line may be cut off.
        let whole = if code.is_some() { ended.lines.len() } else { 0 };
        let mut lines = ended.lines.iter().take(whole);
        if lines.any(|line| serde_json::from_str::<Value>(line).is_err()) {
            self.find(format!("{what}: no JSON: {said}"));
        }
    }

    /// Tells what was found, and keeps the files of it.
    pub fn end(mut self) {
        for station in &mut self.stations {
            station.kill();
        }
        if !self.found.is_empty() {
            let kept = self.root.keep();
            panic!("{:#?}\nthe log is in {}", self.found, kept.display());
        }
    }
}

pub fn word(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}
