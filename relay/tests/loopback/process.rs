//! The real program: killed, ended, asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sheaf_protocol::{Class, RelayAddress, ServerFrame};

use crate::client::{Capability, Device, Reassembly};

pub struct Process {
    pub child: Child,
    pub address: RelayAddress,
}

fn program(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sheaf-relay"));
    command
        .args(["--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

impl Process {
    pub fn start(data: &Path, more: &[&str]) -> Self {
        let mut child = program(data).args(more).spawn().unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let address = match serde_json::from_str::<serde_json::Value>(&line) {
            Ok(json) => json["address"].as_str().unwrap().parse().unwrap(),
            Err(_) => line.parse().unwrap(),
        };
        Self { child, address }
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A test that failed must leave no process behind.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Whatever had its receipt when the process was killed is there afterwards, under its sequence.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_receipted_survives_a_kill() {
    let home = tempfile::tempdir().unwrap();
    let capability = Capability::new(1);
    let topic = capability.topic();
    let mut receipted: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut number = 0_u64;
    for round in 0..5_u64 {
        let more = [
            "--http",
            "off",
            "--appends-per-second",
            "100000",
            "--appends-burst",
            "100000",
        ];
        let mut process = Process::start(home.path(), &more);
        let mut client = Device::new(1).connect(&process.address).await.unwrap();
        client.prove(&capability).await;
        client.subscribe(topic, None).await;
        let mut read = Reassembly::default();
        read.until_caught_up(&mut client, topic).await;
        for (sequence, record) in &receipted {
            let found = read
                .records
                .iter()
                .find(|found| found.sequence == *sequence);
            assert!(
                found.is_some_and(|found| found.record == *record),
                "{sequence} is lost"
            );
        }
        let mut sent = std::collections::HashMap::new();
        for _ in 0..150 {
            number += 1;
            let record = [number.to_be_bytes().to_vec(), vec![3; 2_000]].concat();
            let request = client.append(topic, Class::Log, &record).await;
            sent.insert(request, record);
        }
        let wanted = receipted.len() + 20 + 17 * usize::try_from(round).unwrap();
        while receipted.len() < wanted {
            if let ServerFrame::Receipt { request, receipt } = client.next().await.1 {
                receipt.verify(&client.relay).unwrap();
                receipted.push((receipt.cursor.sequence, sent.remove(&request).unwrap()));
            }
        }
        process.child.kill().unwrap();
        process.child.wait().unwrap();
    }
    assert!(receipted.len() >= 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_it_well_and_the_address_stays() {
    let home = tempfile::tempdir().unwrap();
    let mut process = Process::start(home.path(), &["--http", "off", "--json"]);
    let mut client = Device::new(1).connect(&process.address).await.unwrap();
    process.signal("-TERM");
    loop {
        if let ServerFrame::GoAway { .. } = client.next().await.1 {
            break;
        }
    }
    drop(client);
    assert_eq!(process.child.wait().unwrap().code(), Some(0));
    let again = Process::start(
        home.path(),
        &["--http", "off", "--public-host", "relay.example"],
    );
    assert_eq!(again.address.relay, process.address.relay);
    assert_eq!(again.address.host, "relay.example");
}

fn ends_with(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    assert!(output.stdout.is_empty());
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn what_keeps_it_from_starting_is_told_by_the_exit_code() {
    let home = tempfile::tempdir().unwrap();
    let process = Process::start(home.path(), &["--http", "off"]);
    let (code, said) = ends_with(program(home.path()));
    assert_eq!(code, Some(11));
    assert!(said.contains("in use by another relay"), "{said}");
    let other = tempfile::tempdir().unwrap();
    let mut taken = program(other.path());
    let listen = format!("127.0.0.1:{}", process.address.port);
    taken.args(["--http", "off", "--listen", &listen]);
    assert_eq!(ends_with(taken).0, Some(2), "--listen given twice");
    let mut taken = Command::new(env!("CARGO_BIN_EXE_sheaf-relay"));
    taken
        .args(["--http", "off", "--listen", &listen, "--data"])
        .arg(other.path());
    assert_eq!(ends_with(taken).0, Some(13));
    let mut unknown = program(other.path());
    unknown.env("SHEAF_RELAY__LIMITS__WISHES", "3");
    assert_eq!(ends_with(unknown).0, Some(2));
    std::fs::write(other.path().join("relay.key"), b"short").unwrap();
    let mut damaged = program(other.path());
    damaged.args(["--http", "off"]);
    assert_eq!(ends_with(damaged).0, Some(15));
}

pub fn ask(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: relay\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_are_served() {
    let home = tempfile::tempdir().unwrap();
    let relay = crate::start(home.path()).await;
    let address = relay.http_address().unwrap();
    let asked = tokio::task::spawn_blocking(move || {
        ["/healthz", "/readyz", "/metrics", "/other"].map(|path| ask(address, path))
    });
    let [health, ready, metrics, other] = asked.await.unwrap();
    assert!(health.starts_with("HTTP/1.1 200") && ready.starts_with("HTTP/1.1 200"));
    assert!(other.starts_with("HTTP/1.1 404"));
    assert!(metrics.contains("sheaf_relay_build_info{version="));
    assert!(metrics.contains("# HELP sheaf_relay_append_seconds "));
    relay.shutdown().await;
    let mut full = crate::config(home.path());
    full.store.free_bytes_min = u64::MAX;
    let relay = sheaf_relay::Relay::start(full).await.unwrap();
    let address = relay.http_address().unwrap();
    let ready = tokio::task::spawn_blocking(move || ask(address, "/readyz"))
        .await
        .unwrap();
    assert!(
        ready.starts_with("HTTP/1.1 503") && ready.contains("free"),
        "{ready}"
    );
    relay.shutdown().await;
}
