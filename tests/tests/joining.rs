//! Newcomers of a long conversation, with the real programs: one who reads the relay, and others who begin at
//! a snapshot, alone, with members running, and killed again and again. They have the same documents in
//! the end, the newest messages first where there is a snapshot, and their memory has one bound
//! whatever the history's length.
//!
//! `SHEAF_MESSAGES` sets the length, `SHEAF_CORPUS` a file of JSON lines to import instead.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test stops at a broken expectation, and says its figures"
)]

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use sheaf_tests::home::{Home, Started};
use sheaf_tests::processes::RelayProcess;
use tempfile::TempDir;

const RELAY: &str = env!("CARGO_BIN_EXE_relay");
const SHEAF: &str = env!("CARGO_BIN_EXE_cli");
/// More than a segment is filled, so that a snapshot is made.
const MESSAGES: usize = 12_000;
const NEWEST: u64 = 50;
const PATIENCE: Duration = Duration::from_secs(60);
/// How long members are connected between two looks.
const SESSION: Duration = Duration::from_secs(2);
/// The last of so many takes half a minute.
const STARTS_MAX: u32 = 18;
const MEMORY_MAX: u64 = 320 * 1024 * 1024;
const TALK: &str = "Long";

struct World {
    root: TempDir,
    relay: RelayProcess,
    metrics: SocketAddr,
    homes: Vec<Home>,
    messages: u64,
}

impl World {
    /// One device has written everything, and the relay has it.
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("relay");
        std::fs::create_dir(&folder).unwrap();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let metrics = free.local_addr().unwrap();
        drop(free);
        let relay = RelayProcess::start_with(RELAY, &folder, 0, &metrics.to_string());
        let mut world = Self {
            root,
            relay,
            metrics,
            homes: Vec::new(),
            messages: 0,
        };
        let writer = world.home("writer");
        let address = world.relay.address.to_string();
        let init = [
            "init", "--user", "Alice", "--device", "writer", "--relay", &address,
        ];
        run(&writer, &init);
        run(&writer, &["conversation", "create", TALK]);
        let file = world.corpus();
        let imported = run(
            &writer,
            &["message", "import", TALK, file.to_str().unwrap()],
        );
        world.messages = imported[0]["imported"].as_u64().unwrap();
        run(&writer, &["sync", "barrier", "--timeout", "120"]);
        world.homes.push(writer);
        world
    }

    fn corpus(&self) -> PathBuf {
        if let Some(file) = std::env::var_os("SHEAF_CORPUS") {
            return file.into();
        }
        let set = std::env::var("SHEAF_MESSAGES");
        let count = set.map_or(MESSAGES, |set| set.parse().unwrap());
        let mut lines = String::new();
        for number in 0..count {
            let minute = number / 5;
            let (day, hour, minute) = (minute / 1440, minute / 60 % 24, minute % 60);
            let (month, day) = (day / 28 % 12 + 1, day % 28 + 1);
            writeln!(
                lines,
                r#"{{"seq":{number},"time":"2021-{month:02}-{day:02}T{hour:02}:{minute:02}:00Z","kind":"text","author":"a{}","text":"{number:x} what the {} says to that"}}"#,
                number % 17,
                number * number % 1009,
            )
            .unwrap();
        }
        let file = self.root.path().join("corpus.jsonl");
        std::fs::write(&file, lines).unwrap();
        file
    }

    fn home(&self, name: &str) -> Home {
        Home::new(self.root.path(), name, "Alice", SHEAF)
    }

    /// Links one more device, which has got nothing yet. Nobody is connected afterwards.
    fn link(&mut self, name: &str) -> Home {
        let newcomer = self.home(name);
        let relays = [self.relay.address.to_string()];
        self.homes[0].link(&newcomer, &relays, false);
        self.homes.push(newcomer.clone());
        newcomer
    }

    /// Bytes that the relay has given to the transport.
    fn delivered(&self) -> u64 {
        let mut stream = TcpStream::connect(self.metrics).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let of = |line: &str| {
            let counts = line.starts_with("sheaf_relay_delivered_");
            let (_, number) = line.split_once(' ')?;
            counts.then(|| number.parse::<u64>().unwrap())
        };
        text.lines().filter_map(of).sum()
    }

    /// Both say that they have everything; one states a snapshot, the other verifies it.
    fn makes_snapshot(&self) {
        let deadline = Instant::now() + PATIENCE;
        let known = |home: &Home| run(home, &["conversation", "show", TALK])[0]["snapshot"].clone();
        while self.homes.iter().any(|home| known(home).is_null()) {
            assert!(Instant::now() < deadline, "no snapshot is made");
            let running = self.homes.iter().map(|home| home.start(&["run"]));
            let running: Vec<Started> = running.collect();
            // Only a home that nobody uses shows what it knows.
            std::thread::sleep(SESSION);
            running.into_iter().for_each(end);
        }
    }

    /// Runs a newcomer until it has everything; says its figures, and whether the newest messages came
    /// before the others.
    fn joins(&self, newcomer: &Home, what: &str) -> bool {
        let before = self.delivered();
        let start = Instant::now();
        let running = newcomer.start(&["run"]);
        let mut printed = running.follow();
        let first = printed.wait(PATIENCE, has_newest);
        let (recent, newest_bytes) = (start.elapsed(), self.delivered() - before);
        if first["stage"] != "done" {
            printed.wait(PATIENCE, is_done);
        }
        let (all, bytes) = (start.elapsed(), self.delivered() - before);
        let memory = running.memory_max();
        end(running);
        println!(
            "{what}: newest {NEWEST} after {recent:.1?} and {newest_bytes} bytes, all after {all:.1?} and {bytes}; {} MB",
            memory.unwrap_or_default() / 1_000_000
        );
        if let Some(memory) = memory {
            assert!(memory < MEMORY_MAX, "{what}: {memory} bytes of memory");
        }
        first["messages"]["done"].as_u64().unwrap() < self.messages
    }

    /// Starts a newcomer and kills it, again and again and each time later, until it has everything.
    fn joins_killed(&self, newcomer: &Home) {
        let start = Instant::now();
        let mut patience = Duration::from_millis(300);
        for starts in 1..=STARTS_MAX {
            let ended = newcomer.start(&["run"]).end(Some(patience));
            assert!(ended.code.is_none(), "it ended: {}", ended.complaint);
            let status = run(newcomer, &["status", "--wait", "0"]).swap_remove(0);
            if is_done(&status["progress"]) {
                let took = start.elapsed();
                println!("snapshot, killed again and again: {starts} starts, {took:.1?}");
                return;
            }
            let found = newcomer.start(&["doctor", "--wait", "0"]).end(None);
            let found = found.values();
            let says = |finding: &Value| finding["finding"] == "incomplete";
            assert!(found.iter().any(says), "{found:?} of {status}");
            patience = patience.mul_f32(1.3);
        }
        panic!("not everything came in {STARTS_MAX} starts");
    }

    /// Everybody has the same documents and messages, in a sound store.
    fn agree(&self) {
        let seen = |home: &Home| {
            let listed = messages(home);
            let heads = run(home, &["conversation", "heads", TALK]).swap_remove(0);
            run(home, &["store", "check"]);
            (heads, listed)
        };
        let (heads, listed) = seen(&self.homes[0]);
        let count: usize = listed.iter().map(Vec::len).sum();
        assert_eq!(u64::try_from(count).unwrap(), self.messages);
        for home in self.homes.get(1..).unwrap() {
            let (others_heads, others) = seen(home);
            assert_eq!(others_heads, heads, "{}: other documents", home.name);
            assert!(others == listed, "{}: other messages", home.name);
        }
    }
}

#[test]
fn newcomers_get_a_long_conversation_in_bounded_memory() {
    let mut world = World::new();
    let reads = world.link("reads");
    world.joins(&reads, "no snapshot, nobody running");
    world.makes_snapshot();
    let alone = world.link("alone");
    let newest_first = world.joins(&alone, "snapshot, nobody running");
    assert!(newest_first, "alone: there was no snapshot to begin at");

    let helped = world.link("helped");
    let running: Vec<Started> = world.homes[..2].iter().map(|h| h.start(&["run"])).collect();
    for member in &running {
        member
            .follow()
            .wait(PATIENCE, |event| event["event"] == "caught_up");
    }
    let newest_first = world.joins(&helped, "snapshot, two members running");
    assert!(newest_first, "helped: there was no snapshot to begin at");
    running.into_iter().for_each(end);

    let killed = world.link("killed");
    world.joins_killed(&killed);
    for home in &world.homes {
        run(home, &["sync", "now", "--timeout", "60"]);
    }
    world.agree();
}

/// Runs a command that has to succeed.
fn run(home: &Home, arguments: &[&str]) -> Vec<Value> {
    let ended = home.start(arguments).end(None);
    let values = ended.values();
    assert_eq!(ended.code, Some(0), "{}: {}", ended.what, ended.complaint);
    values
}

/// Ids of all messages: pages from the newest back, each in order.
fn messages(home: &Home) -> Vec<Vec<String>> {
    let mut pages: Vec<Vec<String>> = Vec::new();
    loop {
        let mut list = vec!["message", "list", TALK, "--limit", "10000"];
        let oldest = pages.last().map(|page| page[0].clone());
        if let Some(oldest) = &oldest {
            list.extend(["--before", oldest]);
        }
        let page = run(home, &list);
        if page.is_empty() {
            return pages;
        }
        let id = |message: &Value| message["message"].as_str().unwrap().to_owned();
        pages.push(page.iter().map(id).collect());
    }
}

fn has_newest(progress: &Value) -> bool {
    progress["recent"]["done"] == 1 && progress["recent"]["of"] == 1
}

fn is_done(progress: &Value) -> bool {
    has_newest(progress) && progress["stage"] == "done"
}

fn end(running: Started) {
    let ended = running.stop("-INT");
    assert_eq!(ended.code, Some(0), "{}: {}", ended.what, ended.complaint);
}
