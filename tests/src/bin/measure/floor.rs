//! The bare parts that the product is measured against.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use automerge::{Automerge, Change, ChangeHash};
use quinn::{ClientConfig, Endpoint, ServerConfig};
use rustls::RootCertStore;
use rustls::pki_types::PrivatePkcs8KeyDer;
use sheaf_replica::document::{HybridTime, MessageId, MessageKind, NewMessage, Segment};

use super::median;

/// Bytes of one hop of the echo: about what one sealed message takes.
const HOP_BYTES: usize = 400;

/// What one durable append of a small record costs on this disk.
pub(super) fn disk() -> (Duration, Duration) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut out = file.as_file();
    let mut times: Vec<Duration> = (0..500)
        .map(|_| {
            let start = Instant::now();
            out.write_all(&[7; 600]).unwrap();
            out.sync_data().unwrap();
            start.elapsed()
        })
        .collect();
    median(&mut times)
}

/// There and back over one QUIC stream on loopback: as many hops as a message has, device to relay
/// and relay to device.
pub(super) async fn quinn_echo() -> (Duration, Duration) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let here: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let config = ServerConfig::with_single_cert(vec![certificate.clone()], key.into()).unwrap();
    let server = Endpoint::server(config, here).unwrap();
    let address = server.local_addr().unwrap();
    let echo = tokio::spawn(async move {
        let connection = server.accept().await.unwrap().await.unwrap();
        let (mut out, mut input) = connection.accept_bi().await.unwrap();
        let mut hop = [0; HOP_BYTES];
        while input.read_exact(&mut hop).await.is_ok() {
            out.write_all(&hop).await.unwrap();
        }
    });
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let mut client = Endpoint::client(here).unwrap();
    client
        .set_default_client_config(ClientConfig::with_root_certificates(Arc::new(roots)).unwrap());
    let connection = client.connect(address, "localhost").unwrap().await.unwrap();
    let (mut out, mut input) = connection.open_bi().await.unwrap();
    let mut times = Vec::new();
    let mut hop = [7; HOP_BYTES];
    for _ in 0..600 {
        let start = Instant::now();
        out.write_all(&hop).await.unwrap();
        input.read_exact(&mut hop).await.unwrap();
        times.push(start.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    out.finish().unwrap();
    echo.await.unwrap();
    median(&mut times)
}

/// Raw Automerge over changes of the same texts: the time to apply them in batches of a thousand,
/// and the bytes of bundles of a hundred.
pub(super) fn automerge(texts: impl Iterator<Item = String>) -> (Duration, usize) {
    const SEGMENT: usize = 4_096;
    let texts: Vec<String> = texts.collect();
    let (mut took, mut bytes) = (Duration::ZERO, 0);
    for (number, part) in (0_u32..).zip(texts.chunks(SEGMENT)) {
        let mut segment = Segment::genesis(&[7; 32], number).unwrap();
        let mut doc = Automerge::load(&segment.save().unwrap()).unwrap();
        let changes: Vec<_> = part
            .iter()
            .enumerate()
            .map(|(index, text)| segment.append([9; 16], &[message(index, text)]).unwrap())
            .collect();
        let start = Instant::now();
        for batch in changes.chunks(1_000) {
            let parsed = batch.iter().map(|c| Change::from_bytes(c.bytes.clone()));
            doc.apply_changes(parsed.map(Result::unwrap)).unwrap();
        }
        took += start.elapsed();
        for batch in changes.chunks(100) {
            let hashes = batch.iter().map(|change| ChangeHash(change.hash));
            bytes += doc.bundle(hashes).unwrap().bytes().len();
        }
    }
    (took, bytes)
}

fn message(index: usize, text: &str) -> NewMessage {
    let ms = 1_700_000_000_000 + index as u64 * 7;
    NewMessage {
        id: MessageId::new(HybridTime::new(ms, 0).unwrap(), [3; 8]),
        text: text.to_owned(),
        reply_to: None,
        kind: MessageKind::Text,
        origin: None,
    }
}
