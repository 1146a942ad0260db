//! Nothing of a message is to be found anywhere outside the devices' memory.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test stops at a broken expectation, and says its figures"
)]

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use sheaf_engine::{Draft, RelayAddress};
use sheaf_tests::processes::{
    DeviceProcess, PATIENCE, RelayProcess, files, open, texts, two_people,
};

const RELAY: &str = env!("CARGO_BIN_EXE_relay");
const DEVICE: &str = env!("CARGO_BIN_EXE_device");
const CANARY: &str = "kanarienvogel-7f3a91c2";

/// A UDP forwarder in front of the relay that keeps every byte it sees.
fn tap(relay: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let front = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
    let address = front.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    std::thread::spawn(move || {
        let mut backs: std::collections::BTreeMap<SocketAddr, Arc<UdpSocket>> =
            std::collections::BTreeMap::new();
        let mut buffer = vec![0; 65_536];
        while let Ok((length, device)) = front.recv_from(&mut buffer) {
            kept.lock().unwrap().extend_from_slice(&buffer[..length]);
            let back = backs.entry(device).or_insert_with(|| {
                let back = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
                back.connect(relay).unwrap();
                let (from, to, kept) = (Arc::clone(&back), Arc::clone(&front), Arc::clone(&kept));
                std::thread::spawn(move || {
                    let mut buffer = vec![0; 65_536];
                    while let Ok(length) = from.recv(&mut buffer) {
                        kept.lock().unwrap().extend_from_slice(&buffer[..length]);
                        to.send_to(&buffer[..length], device).ok();
                    }
                });
                back
            });
            back.send(&buffer[..length]).ok();
        }
    });
    (address, seen)
}

/// The canary in plain, hex and every alignment of base64.
fn needles() -> Vec<Vec<u8>> {
    let plain = CANARY.as_bytes();
    let mut needles = vec![
        plain.to_vec(),
        HEXLOWER.encode(plain).into_bytes(),
        HEXUPPER.encode(plain).into_bytes(),
    ];
    for skip in 0..3 {
        // What does not depend on the neighbours: whole groups of three bytes.
        let whole = (plain.len() - skip) / 3 * 3;
        let inner = &plain[skip..skip + whole];
        needles.push(BASE64.encode(inner).into_bytes());
        needles.push(BASE64URL_NOPAD.encode(inner).into_bytes());
    }
    needles
}

fn assert_clean(what: &str, bytes: &[u8]) {
    for needle in needles() {
        let found = bytes.windows(needle.len()).any(|window| window == needle);
        assert!(!found, "{what} holds {}", String::from_utf8_lossy(&needle));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_is_found_nowhere() {
    let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let homes = [folders[0].path(), folders[1].path()];
    let relay = RelayProcess::start(RELAY, folders[2].path(), 0);
    let behind = SocketAddr::new("127.0.0.1".parse().unwrap(), relay.address.port);
    let (front, seen) = tap(behind);
    let address = RelayAddress {
        port: front.port(),
        ..relay.address.clone()
    };
    let ([alice, bob], talk) = two_people(homes, &address).await;
    let told = alice.conversation(talk).await.unwrap();
    told.send(Draft::text(format!("first {CANARY}")))
        .await
        .unwrap();
    alice.wait_settled(PATIENCE).await.unwrap();
    alice.close().await.unwrap();
    bob.close().await.unwrap();
    // And from processes that log everything they can.
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let relays = std::slice::from_ref(&address);
    let about = (relays, talk, CANARY, Duration::ZERO);
    let log = folders[0].path().join("log");
    let mut device = DeviceProcess::start(DEVICE, homes[0], about, &log, Arc::clone(&acknowledged));
    let deadline = Instant::now() + PATIENCE;
    while acknowledged.lock().unwrap().len() < 50 {
        assert!(Instant::now() < deadline, "the device writes nothing");
        std::thread::sleep(Duration::from_millis(5));
    }
    device.kill();
    let bob = open(homes[1], &address).await;
    bob.wait_settled(PATIENCE).await.unwrap();
    assert!(
        texts(&bob, talk)
            .await
            .iter()
            .any(|text| text.contains(CANARY))
    );
    bob.close().await.unwrap();

    let wire = seen.lock().unwrap();
    assert!(wire.len() > 20_000, "the tap saw the traffic");
    assert_clean("the captured traffic", &wire);
    let mut looked = 0_usize;
    for folder in &folders {
        for file in files(folder.path()) {
            let bytes = std::fs::read(&file).unwrap();
            looked += bytes.len();
            assert_clean(&file.display().to_string(), &bytes);
        }
    }
    println!(
        "{} bytes of traffic and {looked} bytes of files are clean",
        wire.len()
    );
}
