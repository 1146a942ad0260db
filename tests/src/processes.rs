//! Real processes on loopback: a relay and devices that can be killed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use sheaf_engine::{ConversationId, Engine, Page, Policy, RelayAddress};

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A relay process.
#[derive(Debug)]
pub struct RelayProcess {
    child: Child,
    /// Its address.
    pub address: RelayAddress,
}

impl RelayProcess {
    /// Starts a relay over a data folder, on a port (0: any), and reads its address.
    #[must_use]
    pub fn start(program: &str, data: &Path, port: u16) -> Self {
        Self::start_with(program, data, port, "off")
    }

    /// The same, with its metrics at an address.
    #[must_use]
    pub fn start_with(program: &str, data: &Path, port: u16, http: &str) -> Self {
        let log = std::fs::File::create(data.join("log")).unwrap();
        let mut child = Command::new(program)
            .args([
                "--listen",
                &format!("127.0.0.1:{port}"),
                "--http",
                http,
                "--data",
            ])
            .arg(data.join("store"))
            .arg("-v")
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let address = line.trim().parse().unwrap();
        Self { child, address }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for RelayProcess {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            self.child.wait().ok();
        }
    }
}

/// A device process that writes until it is killed.
#[derive(Debug)]
pub struct DeviceProcess {
    child: Child,
    reader: Option<JoinHandle<()>>,
}

impl DeviceProcess {
    /// Starts a device; what it acknowledges is added to the list.
    #[must_use]
    pub fn start(
        program: &str,
        home: &Path,
        (relays, conversation, prefix, pause): (&[RelayAddress], ConversationId, &str, Duration),
        log: &Path,
        acknowledged: Arc<Mutex<Vec<String>>>,
    ) -> Self {
        let relays: Vec<String> = relays.iter().map(ToString::to_string).collect();
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        let mut child = Command::new(program)
            .arg(home)
            .args([
                relays.join(","),
                conversation.to_string(),
                prefix.to_owned(),
                pause.as_millis().to_string(),
            ])
            .env("RUST_LOG", "trace,quinn=info,quinn_proto=info,sled=info")
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let reader = std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                acknowledged.lock().unwrap().push(line);
            }
        });
        Self {
            child,
            reader: Some(reader),
        }
    }

    /// kill -9, then what was still acknowledged is read to its end.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().unwrap();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }
}

impl Drop for DeviceProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Opens a device of the tests.
pub async fn open(home: &Path, relay: &RelayAddress) -> Engine {
    open_at(home, std::slice::from_ref(relay)).await
}

/// Opens a device of the tests that has several relays.
pub async fn open_at(home: &Path, relays: &[RelayAddress]) -> Engine {
    let mut builder = Engine::builder(home)
        .key([7; 32])
        .policy(Policy::without_message_limit());
    for relay in relays {
        builder = builder.relay(relay.clone());
    }
    builder.open().await.unwrap()
}

/// All texts of a conversation, in order.
pub async fn texts(engine: &Engine, conversation: ConversationId) -> Vec<String> {
    let page = Page {
        limit: usize::MAX,
        ..Page::default()
    };
    let talk = engine.conversation(conversation).await.unwrap();
    talk.messages(page)
        .unwrap()
        .into_iter()
        .map(|message| message.text)
        .collect()
}

/// Two people who share a conversation; the engines are open.
pub async fn two_people(homes: [&Path; 2], relay: &RelayAddress) -> ([Engine; 2], ConversationId) {
    let (engines, talk) = people(&homes, std::slice::from_ref(relay)).await;
    (engines.try_into().unwrap(), talk)
}

/// People who share a conversation that the first of them made; the engines are open.
pub async fn people(homes: &[&Path], relays: &[RelayAddress]) -> (Vec<Engine>, ConversationId) {
    let mut engines: Vec<Engine> = Vec::new();
    let mut users = Vec::new();
    for (number, home) in homes.iter().enumerate() {
        let engine = open_at(home, relays).await;
        let name = format!("Person {number}");
        let created = engine.create_account(&name, "laptop", relays).await;
        let card = created.unwrap().card;
        if let Some(first) = engines.first() {
            users.push(first.add_contact(&card, None).await.unwrap());
        }
        engines.push(engine);
    }
    let (first, others) = engines.split_first().unwrap();
    let talk = first.create_conversation("Talk", &users, Some(256)).await;
    let talk = talk.unwrap().id();
    for engine in others {
        let mut events = engine.events();
        while engine.conversations().await.unwrap().is_empty() {
            let event = tokio::time::timeout(PATIENCE, events.next()).await;
            event.unwrap();
        }
    }
    for engine in &engines {
        engine.wait_settled(PATIENCE).await.unwrap();
    }
    (engines, talk)
}

/// Every file below a folder.
#[must_use]
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Copies every file below a folder.
pub fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let place = to.join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::copy(&file, place).unwrap();
    }
}
