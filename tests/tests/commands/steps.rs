//! One step of a history.

use std::fs;
use std::time::Duration;

use sheaf_tests::processes::copy;

use crate::world::{World, word};

const PEOPLE: [&str; 3] = ["Alice", "Bob", "Carol"];
const ROLES: [&str; 3] = ["reader", "writer", "admin"];

impl World {
    pub fn step(&mut self) {
        if self.with.copy && !self.copied && self.one_in(20) {
            self.copy_home();
        }
        if self.with.restore && self.one_in(30) {
            self.put_home_back();
        }
        let home = self.below(self.homes.len());
        let kill = self.one_in(5).then(|| self.moment(10, 600));
        match self.below(100) {
            0..34 => self.send(home, kill),
            34..40 => self.send_twice(home),
            40..48 => self.send_wild(home, kill),
            48..62 => self.go(home, &["sync", "now", "--timeout", "15"], kill),
            62..65 => self.run_two(),
            65..67 => self.go(home, &["status", "--wait", "1"], kill),
            67..69 => self.go(home, &["doctor", "--wait", "1"], kill),
            69 => self.go(home, &["sync", "resync", "--timeout", "5"], kill),
            70 => self.go(home, &["sync", "resync", "--full", "--timeout", "5"], kill),
            71 => self.go(home, &["sync", "barrier", "--timeout", "3"], kill),
            72 => self.go(
                home,
                &["sync", "barrier", "--everywhere", "--timeout", "3"],
                kill,
            ),
            73..77 => self.change_keys(home, kill),
            77..80 => self.change_members(home, kill),
            80..82 => self.carry(home),
            82..84 => self.look(home, kill),
            84..86 => self.go(home, &["store", "stats"], kill),
            86..88 => self.go(home, &["store", "check"], None),
            88 => self.go(home, &["audit"], None),
            89..92 => self.back_up(home),
            92..94 if self.with.freeze => self.change_devices(home, kill),
            _ => self.strike(),
        }
    }

    fn go(&mut self, home: usize, arguments: &[&str], kill: Option<Duration>) {
        self.run(home, arguments, kill);
    }

    fn send(&mut self, home: usize, kill: Option<Duration>) {
        self.number += 1;
        let length = [0, 5, 50, 2_000][self.below(4)];
        let filler = "x".repeat(length);
        let text = format!("{} {} {filler}", self.homes[home].name, self.number);
        let (steady, wait) = (self.steady.clone(), self.pick(&["0", "0", "1", "1.5"]));
        let arguments = ["message", "send", &steady, &text, "--wait", wait];
        let ended = self.run(home, &arguments, kill);
        self.acknowledge(&word(&ended.first(), "message"), text);
    }

    /// Once killed in the middle, once to its end, with one token: that is one message.
    fn send_twice(&mut self, home: usize) {
        self.number += 1;
        let (text, token) = (
            format!("token {}", self.number),
            format!("{:032x}", self.number),
        );
        let steady = self.steady.clone();
        let arguments = ["message", "send", &steady, &text, "--token", &token];
        let kill = self.moment(10, 300);
        let first = self.run(home, &arguments, Some(kill));
        let second = self.run(home, &arguments, None);
        let [first, second] = [first, second].map(|ended| word(&ended.first(), "message"));
        if !first.is_empty() && !second.is_empty() && first != second {
            self.find(format!("two messages of one token: {first} and {second}"));
        }
        self.acknowledge(&second, text);
    }

    fn acknowledge(&mut self, message: &str, text: String) {
        if !message.is_empty() {
            self.sent.insert(message.to_owned(), text);
        }
    }

    fn send_wild(&mut self, home: usize, kill: Option<Duration>) {
        self.number += 1;
        let (wild, text) = (self.wild.clone(), format!("wild {}", self.number));
        self.go(
            home,
            &["message", "send", &wild, &text, "--wait", "0"],
            kill,
        );
    }

    /// Two devices are connected for a while, at the same time.
    fn run_two(&mut self) {
        let first = self.below(self.homes.len());
        let second = (first + 1 + self.below(self.homes.len() - 1)) % self.homes.len();
        let running = [first, second].map(|home| self.start(home, &["run"]));
        let pause = self.moment(200, 2_000);
        std::thread::sleep(pause);
        for started in running {
            let signal = self.pick(&["-KILL", "-TERM", "-INT"]);
            let ended = started.stop(signal);
            self.judge(&ended);
        }
    }

    fn change_keys(&mut self, home: usize, kill: Option<Duration>) {
        let steady = self.one_in(2);
        let talk = if steady { &self.steady } else { &self.wild }.clone();
        let forget = (!steady || self.with.forget) && self.one_in(2);
        match (self.one_in(2), forget) {
            (true, _) => self.go(home, &["epoch", "rotate", &talk], kill),
            (false, true) => {
                self.go(
                    home,
                    &["conversation", "cut", &talk, "--forget", "--yes"],
                    kill,
                );
            }
            (false, false) => self.go(home, &["conversation", "cut", &talk, "--yes"], kill),
        }
    }

    fn change_members(&mut self, home: usize, kill: Option<Duration>) {
        let (wild, who, role) = (self.wild.clone(), self.pick(&PEOPLE), self.pick(&ROLES));
        let member = |verb| ["conversation", "member", verb, &wild, who];
        match self.below(10) {
            0..4 if who == self.homes[home].user => {
                self.go(home, &["conversation", "leave", &wild, "--yes"], kill);
            }
            0..4 => self.go(home, &member("remove"), kill),
            4..8 => self.go(
                home,
                &[&member("add")[..], &["--role", role]].concat(),
                kill,
            ),
            8 => self.go(
                home,
                &[&member("role")[..], &[role, "--yes"]].concat(),
                kill,
            ),
            _ => {
                let name = format!("wild {}", self.number);
                self.go(home, &["conversation", "rename", &wild, &name], kill);
            }
        }
    }

    /// A person freezes a device, thaws it, or makes it the primary one.
    fn change_devices(&mut self, home: usize, kill: Option<Duration>) {
        let user = self.homes[home].user;
        let own = self.homes.iter().filter(|other| other.user == user);
        let names: Vec<String> = own.map(|other| other.name.clone()).collect();
        let device = names[self.below(names.len())].clone();
        let phrase = self.path(user).display().to_string();
        match self.below(8) {
            0..3 => self.go(home, &["device", "freeze", &device], kill),
            3..5 => self.go(home, &["device", "thaw", &device], kill),
            5 => {
                let thaw = ["device", "thaw", &device, "--phrase-file", &phrase];
                self.go(home, &thaw, kill);
            }
            6 => self.go(home, &["device", "handover", &device], kill),
            _ => {
                let report = ["device", "report", &device];
                self.go(home, &report, kill);
            }
        }
    }

    /// A file brings to one device what it lacks, now and then with a bit that is wrong.
    fn carry(&mut self, home: usize) {
        let other = (home + 1 + self.below(self.homes.len() - 1)) % self.homes.len();
        let path = self.path("bundle");
        fs::remove_file(&path).ok();
        let file = path.display().to_string();
        let state = self.whole(other, &["status", "--wait", "0"]).first();
        let device = word(&state, "device");
        let exported = self.whole(home, &["sync", "export", &file, "--device", &device]);
        if exported.code != Some(0) {
            return;
        }
        if self.one_in(3) {
            let mut bytes = fs::read(&path).unwrap();
            let place = self.below(bytes.len());
            bytes[place] ^= 1 << self.below(8);
            fs::write(&path, bytes).unwrap();
            let imported = self.start(other, &["sync", "import", &file]).end(None);
            if ![Some(0), Some(1), Some(3), Some(15)].contains(&imported.code) {
                self.find(format!("a wrong bit: {:?}", imported.complaint));
            }
        } else {
            self.go(other, &["sync", "import", &file], None);
        }
    }

    fn look(&mut self, home: usize, kill: Option<Duration>) {
        let steady = self.steady.clone();
        self.go(home, &["message", "list", &steady, "--limit", "20"], kill);
    }

    fn back_up(&mut self, home: usize) {
        let backup = self.homes[home].backup().display().to_string();
        self.go(home, &["store", "backup", &backup, "--force"], None);
    }

    fn strike(&mut self) {
        let (relay, fate) = (self.below(self.stations.len()), self.below(20));
        self.say(&format!("relay {relay}: {fate}"));
        let station = &mut self.stations[relay];
        match fate {
            0..8 => station.kill(),
            8..15 => station.start(),
            15..17 => station.back_up(),
            17..19 => station.go_back(),
            _ => station.wipe(),
        }
    }

    /// Alice's second device is copied with everything it holds, and both go on.
    fn copy_home(&mut self) {
        self.copied = true;
        let first = self.homes.iter().find(|home| home.name == "al2").unwrap();
        let (mut twin, first) = (first.clone(), first.clone());
        "twin".clone_into(&mut twin.name);
        copy(&first.directory(), &twin.directory());
        fs::copy(first.key_file(), twin.key_file()).unwrap();
        self.homes.push(twin);
        self.say("al2 is copied");
    }

    fn put_home_back(&mut self) {
        let homes = 0..self.homes.len();
        let backed: Vec<usize> = homes
            .filter(|home| self.homes[*home].backup().exists())
            .collect();
        if backed.is_empty() {
            return;
        }
        let home = backed[self.below(backed.len())];
        fs::remove_dir_all(self.homes[home].directory()).unwrap();
        let backup = self.homes[home].backup().display().to_string();
        let relays = self.relays();
        let mut arguments = Vec::new();
        for relay in &relays {
            arguments.extend(["--relay", relay]);
        }
        arguments.extend(["store", "restore", &backup]);
        self.go(home, &arguments, None);
    }
}
