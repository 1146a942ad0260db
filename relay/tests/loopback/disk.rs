//! A disk that is really full: needs a small file system, so it runs when asked only.
//!
//! `mount -t tmpfs -o size=24m tmpfs /mnt/small`, then
//! `SHEAF_SMALL_DISK=/mnt/small cargo test -p sheaf-relay --test loopback -- --ignored full_disk`.

use std::path::Path;
use std::time::Duration;

use sheaf_protocol::{Class, ErrorCode, ServerFrame, TopicId};
use sheaf_relay::Relay;

use crate::client::{Capability, Client, Device};
use crate::config;

fn record(number: u64) -> Vec<u8> {
    [&number.to_be_bytes()[..], &[5; 50_000]].concat()
}

/// Whether the record was kept.
async fn try_keep(client: &mut Client, topic: TopicId, number: u64) -> bool {
    client.append(topic, Class::Log, &record(number)).await;
    loop {
        match client.next().await.1 {
            ServerFrame::Receipt { .. } => return true,
            ServerFrame::Refused(refusal) => {
                assert_eq!(refusal.code, ErrorCode::Unavailable);
                return false;
            }
            _ => {}
        }
    }
}

async fn fill_and_free(disk: &Path, reserve_bytes: u64) {
    let home = disk.join(format!("relay-{reserve_bytes}"));
    let ballast = disk.join("ballast");
    std::fs::write(&ballast, vec![1; 8 << 20]).unwrap();
    let mut settings = config(&home);
    settings.store.free_bytes_min = reserve_bytes;
    let relay = Relay::start(settings.clone()).await.unwrap();
    let capability = Capability::new(1);
    let topic = capability.topic();
    let mut client = Device::new(1).connect(relay.address()).await.unwrap();
    client.prove(&capability).await;
    let mut kept = Vec::new();
    let mut number = 0;
    while try_keep(&mut client, topic, number).await {
        kept.push(number);
        number += 1;
    }
    println!("{number} records until the disk was full");
    for _ in 0..3 {
        number += 1;
        assert!(!try_keep(&mut client, topic, number).await);
    }
    std::fs::remove_file(&ballast).unwrap();
    let begun = std::time::Instant::now();
    number += 1;
    while !try_keep(&mut client, topic, number).await {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "goes on when there is room"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    kept.push(number);
    println!("went on after {:?}", begun.elapsed());
    relay.shutdown().await;
    let relay = Relay::start(settings).await.unwrap();
    let found = relay.peek(topic).await.unwrap();
    for number in kept {
        let bytes = record(number);
        assert!(
            found.iter().any(|found| found.bytes == bytes),
            "{number} is lost"
        );
    }
    assert!(!relay.metrics().contains("store_damaged_total 1"));
    relay.shutdown().await;
    std::fs::remove_dir_all(home).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a small file system"]
async fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    let disk = std::env::var_os("SHEAF_SMALL_DISK").expect("SHEAF_SMALL_DISK names a directory");
    // With the reserve the store is never brought to its knees; without it sled is.
    fill_and_free(Path::new(&disk), 6 << 20).await;
    fill_and_free(Path::new(&disk), 0).await;
}
