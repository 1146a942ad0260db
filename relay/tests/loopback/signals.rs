//! Signals to the real program, and what it says of itself meanwhile.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use sheaf_protocol::Class;
use sheaf_relay::CloseCode;

use crate::client::{Capability, Device};
use crate::process::{Process, ask};

const PATIENCE: Duration = Duration::from_secs(20);

/// A port that nobody uses now.
fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// The answer, once it begins as wanted.
async fn answers(address: SocketAddr, path: &'static str, wanted: &str) -> String {
    let begun = Instant::now();
    loop {
        let asked = tokio::task::spawn_blocking(move || ask(address, path));
        let answer = asked.await.unwrap();
        if answer.starts_with(wanted) {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "{path}: {answer}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn ended(process: &mut Process) -> Option<i32> {
    let begun = Instant::now();
    loop {
        if let Some(status) = process.child.try_wait().unwrap() {
            return status.code();
        }
        assert!(begun.elapsed() < PATIENCE, "it does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A relay that cannot end yet: a connection on it has not said hello.
async fn held_open() -> (
    tempfile::TempDir,
    Process,
    SocketAddr,
    crate::client::Dialled,
) {
    let home = tempfile::tempdir().unwrap();
    let http = free_port();
    let process = Process::start(home.path(), &["--http", &http.to_string()]);
    let silent = Device::new(2).dial(&process.address).await.unwrap();
    // A later connection is up, so the earlier one has been taken.
    drop(Device::new(1).connect(&process.address).await.unwrap());
    let ready = answers(http, "/readyz", "HTTP/1.1 200").await;
    assert!(ready.ends_with("ready\n"), "{ready}");
    (home, process, http, silent)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_drains_and_ends_with_0() {
    let (_home, mut process, http, silent) = held_open().await;
    process.signal("-INT");
    let ready = answers(http, "/readyz", "HTTP/1.1 503").await;
    assert!(ready.ends_with("shutting down\n"), "{ready}");
    assert!(
        ask(http, "/healthz").starts_with("HTTP/1.1 200"),
        "it lives"
    );
    let metrics = ask(http, "/metrics");
    assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
    assert!(process.child.try_wait().unwrap().is_none(), "it drains");
    let stranger = Device::new(3);
    let late = stranger.connect(&process.address);
    let late = tokio::time::timeout(Duration::from_secs(1), late).await;
    assert!(!matches!(late, Ok(Ok(_))), "no new connections");
    silent.connection.close(0_u32.into(), b"");
    assert_eq!(ended(&mut process).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once_with_130() {
    for second in ["-INT", "-TERM"] {
        let (_home, mut process, http, silent) = held_open().await;
        process.signal("-INT");
        answers(http, "/readyz", "HTTP/1.1 503").await;
        process.signal(second);
        let begun = Instant::now();
        assert_eq!(ended(&mut process).await, Some(130));
        assert!(begun.elapsed() < Duration::from_secs(3), "at once");
        drop(silent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_reads_tokens_again_and_keeps_the_old_ones_after_an_error() {
    let home = tempfile::tempdir().unwrap();
    let files = tempfile::tempdir().unwrap();
    let tokens = files.path().join("tokens");
    std::fs::write(&tokens, "sesame\nthistle\n").unwrap();
    let file = tokens.to_str().unwrap();
    let settings = [
        "--http",
        "off",
        "--admission",
        "token",
        "--tokens-file",
        file,
    ];
    let mut process = Process::start(home.path(), &settings);
    let with = |number: u8, token: &str| {
        let mut device = Device::new(number);
        device.token = Some(token.to_owned());
        device
    };
    let (leaves, stays) = (with(1, "sesame"), with(2, "thistle"));
    let leaving = leaves.connect(&process.address).await.unwrap();
    let mut staying = stays.connect(&process.address).await.unwrap();

    std::fs::write(&tokens, "thistle\nclover\n").unwrap();
    process.signal("-HUP");
    let code = u64::from(CloseCode::NotAdmitted.code());
    assert_eq!(leaving.close_code().await, code);
    assert!(leaves.connect(&process.address).await.is_err());
    assert!(with(3, "clover").connect(&process.address).await.is_ok());

    // Without its file the relay goes on with what it knew.
    std::fs::remove_file(&tokens).unwrap();
    process.signal("-HUP");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(with(4, "clover").connect(&process.address).await.is_ok());
    assert!(leaves.connect(&process.address).await.is_err());
    let capability = Capability::new(1);
    staying.prove(&capability).await;
    staying
        .keep(capability.topic(), Class::Log, b"still here")
        .await;
    process.signal("-TERM");
    assert_eq!(ended(&mut process).await, Some(0));
}
