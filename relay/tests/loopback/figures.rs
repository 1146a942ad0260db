//! Figures, printed: `cargo test --release -p sheaf-relay --test loopback -- --ignored --nocapture`.

use std::time::Instant;

use sheaf_protocol::{Class, ClientFrame, RequestId, ServerFrame};

use crate::client::{Capability, Device, Reassembly};
use crate::start;

fn percentile(sorted: &[u128], percent: usize) -> u128 {
    sorted[sorted.len() * percent / 100]
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "prints figures; they mean something on a quiet machine only"]
async fn one_record_at_a_time_from_device_to_device() {
    let home = tempfile::tempdir().unwrap();
    let relay = start(home.path()).await;
    let capability = Capability::new(1);
    let topic = capability.topic();
    let mut alice = Device::new(1).connect(relay.address()).await.unwrap();
    alice.prove(&capability).await;
    let mut bob = Device::new(2).connect(relay.address()).await.unwrap();
    bob.prove(&capability).await;
    bob.subscribe(topic, None).await;
    let mut read = Reassembly::default();
    read.until_caught_up(&mut bob, topic).await;
    let mut micros = Vec::new();
    for number in 0..2_000_usize {
        let mut record = vec![0; 512];
        record[..8].copy_from_slice(&number.to_be_bytes());
        let begin = Instant::now();
        alice.append(topic, Class::Log, &record).await;
        read.until(&mut bob, topic, number + 1).await;
        micros.push(begin.elapsed().as_micros());
    }
    micros.sort_unstable();
    println!(
        "delivered after p50 {} us, p99 {} us",
        percentile(&micros, 50),
        percentile(&micros, 99)
    );
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "prints figures; they mean something on a quiet machine only"]
async fn records_a_second() {
    for (bytes, count) in [(512_usize, 100_000_usize), (60_000, 2_000)] {
        let home = tempfile::tempdir().unwrap();
        let relay = start(home.path()).await;
        let capability = Capability::new(1);
        let topic = capability.topic();
        let mut alice = Device::new(1).connect(relay.address()).await.unwrap();
        alice.prove(&capability).await;
        let mut bob = Device::new(2).connect(relay.address()).await.unwrap();
        bob.prove(&capability).await;
        bob.subscribe(topic, None).await;
        let begin = Instant::now();
        let reading = tokio::spawn(async move {
            let mut read = Reassembly::default();
            read.until(&mut bob, topic, count).await;
        });
        let mut record = vec![1; bytes];
        for number in 0..count - 1 {
            record[..8].copy_from_slice(&number.to_be_bytes());
            alice.append(topic, Class::Log, &record).await;
        }
        alice.keep(topic, Class::Log, b"last").await;
        let kept = begin.elapsed();
        reading.await.unwrap();
        let seconds = kept.as_secs_f64();
        println!(
            "{count} records of {bytes} bytes kept in {seconds:.2} s ({:.0} records/s, {:.1} MB/s), read after {:.2} s",
            count as f64 / seconds,
            (count * bytes) as f64 / seconds / 1e6,
            begin.elapsed().as_secs_f64(),
        );
        relay.shutdown().await;
        let begin = Instant::now();
        let relay = start(home.path()).await;
        println!("started again in {} ms", begin.elapsed().as_millis());
        relay.shutdown().await;
    }
}

/// A device that comes back to a thousand topics where nothing happened.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "prints figures; they mean something on a quiet machine only"]
async fn a_thousand_idle_topics() {
    let home = tempfile::tempdir().unwrap();
    let relay = start(home.path()).await;
    let capabilities: Vec<_> = (0..1_000).map(Capability::numbered).collect();
    let begin = Instant::now();
    let mut alice = Device::new(1).connect(relay.address()).await.unwrap();
    let connected = begin.elapsed().as_micros();
    alice.listen();
    for (number, capability) in (0..).zip(&capabilities) {
        alice.prove(capability).await;
        let subscribe = ClientFrame::Subscribe {
            request: RequestId(number),
            topic: capability.topic(),
            after: None,
        };
        alice.write(&subscribe).await;
    }
    let mut caught_up = 0;
    while caught_up < capabilities.len() {
        let (_, frame) = alice.next().await;
        caught_up += usize::from(matches!(frame, ServerFrame::CaughtUp { .. }));
    }
    let all = begin.elapsed().as_millis();
    println!("connected in {connected} us, a thousand topics caught up in {all} ms");
    relay.shutdown().await;
}
