//! Keeping and delivering.

use sheaf_protocol::{Class, Cursor, LogId};

use crate::client::{Capability, Device, Reassembly, Source};
use crate::{config, start};

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_kept_receipted_and_delivered_to_everybody() {
    let home = tempfile::tempdir().unwrap();
    let relay = start(home.path()).await;
    let capability = Capability::new(1);
    let topic = capability.topic();
    let mut alice = Device::new(1).connect(relay.address()).await.unwrap();
    alice.prove(&capability).await;
    assert_eq!(alice.subscribe(topic, None).await, (0, false));
    let first = alice.keep(topic, Class::Log, b"one").await;
    assert_eq!(
        first,
        Cursor {
            log: relay.log(),
            sequence: 1
        }
    );

    let mut bob = Device::new(2).connect(relay.address()).await.unwrap();
    bob.prove(&capability).await;
    assert_eq!(bob.subscribe(topic, None).await, (1, false));
    let mut read = Reassembly::default();
    assert_eq!(read.until_caught_up(&mut bob, topic).await, 1);
    alice.keep(topic, Class::Log, b"two").await;
    read.until(&mut bob, topic, 2).await;
    assert_eq!(read.records[0].record, b"one");
    assert_eq!(read.records[1].record, b"two");
    assert_eq!(read.live_frames, 1);
    let seen = relay.peek(topic).await.unwrap();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].bytes, b"two");
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_appender_gets_its_own_record_and_a_repeated_append_the_same_cursor() {
    let home = tempfile::tempdir().unwrap();
    let relay = start(home.path()).await;
    let capability = Capability::new(1);
    let topic = capability.topic();
    let mut alice = Device::new(1).connect(relay.address()).await.unwrap();
    alice.prove(&capability).await;
    alice.subscribe(topic, None).await;
    alice.append(topic, Class::Log, b"mine").await;
    let mut own = Reassembly::default();
    own.until(&mut alice, topic, 1).await;
    assert_eq!(own.records[0].record, b"mine");
    let again = alice.keep(topic, Class::Log, b"mine").await;
    assert_eq!(again.sequence, 1);
    let other = alice.keep(topic, Class::Log, b"other").await;
    assert_eq!(other.sequence, 2);
    relay.shutdown().await;
}

/// Thousands of records while others are being appended: nothing lost, nothing twice, in order.
#[tokio::test(flavor = "multi_thread")]
async fn history_hands_over_to_live_under_concurrent_appends() {
    const BEFORE: usize = 3_000;
    const DURING: usize = 3_000;
    let home = tempfile::tempdir().unwrap();
    let relay = start(home.path()).await;
    let capability = Capability::new(1);
    let topic = capability.topic();
    let mut writer = Device::new(1).connect(relay.address()).await.unwrap();
    writer.prove(&capability).await;
    for number in 0..BEFORE {
        writer
            .append(topic, Class::Log, &number.to_be_bytes())
            .await;
    }
    let last = writer.keep(topic, Class::Log, b"mark").await;
    assert_eq!(last.sequence as usize, BEFORE + 1);
    let appending = tokio::spawn(async move {
        for number in BEFORE..BEFORE + DURING {
            writer
                .append(topic, Class::Log, &number.to_be_bytes())
                .await;
        }
        writer.keep(topic, Class::Log, b"end").await;
        writer
    });
    let mut readers = Vec::new();
    for number in 2..5 {
        let address = relay.address().clone();
        readers.push(tokio::spawn(async move {
            let mut reader = Device::new(number).connect(&address).await.unwrap();
            reader.prove(&Capability::new(1)).await;
            reader.subscribe(topic, None).await;
            let mut read = Reassembly::default();
            read.until(&mut reader, topic, BEFORE + DURING + 2).await;
            read
        }));
    }
    let _writer = appending.await.unwrap();
    for reader in readers {
        let read = reader.await.unwrap();
        let numbers = read
            .records
            .iter()
            .filter(|record| record.record.len() == 8);
        assert!(
            numbers
                .map(|record| record.record.clone())
                .eq((0..BEFORE + DURING).map(|number| number.to_be_bytes().to_vec()))
        );
        let sequences = read.records.iter().map(|record| record.sequence);
        assert!(sequences.eq(1..=(BEFORE + DURING + 2) as u64));
    }
    relay.shutdown().await;
}

/// A device that stops reading is switched to history and misses nothing when it reads again.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_subscriber_falls_behind_and_catches_up() {
    const COUNT: usize = 2_000;
    let home = tempfile::tempdir().unwrap();
    let relay = start(home.path()).await;
    let capability = Capability::new(1);
    let topic = capability.topic();
    let mut device = Device::new(2);
    device.window = 16 * 1024;
    let mut slow = device.connect(relay.address()).await.unwrap();
    slow.prove(&capability).await;
    // The answer to a subscription makes the client read; this one does not wait for it.
    slow.write(&sheaf_protocol::ClientFrame::Subscribe {
        request: sheaf_protocol::RequestId(1),
        topic,
        after: None,
    })
    .await;
    slow.next().await;
    let mut writer = Device::new(1).connect(relay.address()).await.unwrap();
    writer.prove(&capability).await;
    let body = vec![7; 8 * 1024];
    for number in 0..COUNT {
        let record = [&number.to_be_bytes()[..], &body].concat();
        writer.append(topic, Class::Log, &record).await;
    }
    writer.keep(topic, Class::Log, b"end").await;
    assert!(relay.metrics().contains("sheaf_relay_fell_behind_total 1"));
    slow.listen();
    let mut read = Reassembly::default();
    read.until(&mut slow, topic, COUNT + 1).await;
    assert!(
        read.records
            .iter()
            .map(|record| record.sequence)
            .eq(1..=COUNT as u64 + 1)
    );
    writer.keep(topic, Class::Log, b"after").await;
    read.until(&mut slow, topic, COUNT + 2).await;
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_outlive_a_restart_and_a_foreign_one_starts_over() {
    let home = tempfile::tempdir().unwrap();
    let capability = Capability::new(1);
    let topic = capability.topic();
    let relay = start(home.path()).await;
    let mut alice = Device::new(1).connect(relay.address()).await.unwrap();
    alice.prove(&capability).await;
    let first = alice.keep(topic, Class::Log, b"one").await;
    let (address, log) = (relay.address().clone(), relay.log());
    relay.shutdown().await;
    let mut again = config(home.path());
    again.listen.set_port(address.port);
    let relay = sheaf_relay::Relay::start(again).await.unwrap();
    assert_eq!((relay.address(), relay.log()), (&address, log));
    let mut alice = Device::new(1).connect(relay.address()).await.unwrap();
    alice.prove(&capability).await;
    assert_eq!(alice.keep(topic, Class::Log, b"one").await, first);
    let second = alice.keep(topic, Class::Log, b"two").await;
    assert_eq!(second.sequence, 2);
    assert_eq!(alice.subscribe(topic, Some(first)).await, (2, false));
    let (source, frame) = alice.next().await;
    assert_eq!(source, Source::History);
    let sheaf_protocol::ServerFrame::Records {
        previous, records, ..
    } = frame
    else {
        panic!("{frame:?}");
    };
    assert_eq!((previous, records[0].sequence, records.len()), (1, 2, 1));
    for foreign in [
        Cursor {
            log: LogId(log.0 ^ 1),
            sequence: 2,
        },
        Cursor { log, sequence: 9 },
    ] {
        assert_eq!(alice.subscribe(topic, Some(foreign)).await, (2, true));
    }
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ephemeral_records_are_handed_on_and_never_kept() {
    let home = tempfile::tempdir().unwrap();
    let relay = start(home.path()).await;
    let capability = Capability::new(1);
    let topic = capability.topic();
    let mut bob = Device::new(2).connect(relay.address()).await.unwrap();
    bob.prove(&capability).await;
    bob.subscribe(topic, None).await;
    let mut read = Reassembly::default();
    read.until_caught_up(&mut bob, topic).await;
    let mut alice = Device::new(1).connect(relay.address()).await.unwrap();
    alice.prove(&capability).await;
    alice.append(topic, Class::Ephemeral, b"typing").await;
    let (source, frame) = bob.next().await;
    assert_eq!(source, Source::Live);
    let sheaf_protocol::ServerFrame::Records {
        previous, records, ..
    } = frame
    else {
        panic!("{frame:?}");
    };
    assert_eq!((previous, records[0].sequence), (0, 0));
    assert_eq!(records[0].record, b"typing");
    assert_eq!(alice.keep(topic, Class::Log, b"kept").await.sequence, 1);
    assert_eq!(relay.peek(topic).await.unwrap().len(), 1);
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trimming_deletes_inbox_records_only_and_reuses_no_sequence() {
    let home = tempfile::tempdir().unwrap();
    let relay = start(home.path()).await;
    let capability = Capability::new(1);
    let topic = capability.topic();
    let mut alice = Device::new(1).connect(relay.address()).await.unwrap();
    alice.prove(&capability).await;
    alice.keep(topic, Class::Inbox, b"a").await;
    alice.keep(topic, Class::Log, b"b").await;
    let upto = alice.keep(topic, Class::Inbox, b"c").await;
    let foreign = Cursor {
        log: LogId(1),
        ..upto
    };
    for upto in [foreign, upto] {
        alice
            .write(&sheaf_protocol::ClientFrame::Trim { topic, upto })
            .await;
    }
    assert_eq!(alice.keep(topic, Class::Inbox, b"d").await.sequence, 4);
    let left: Vec<_> = relay
        .peek(topic)
        .await
        .unwrap()
        .into_iter()
        .map(|r| r.sequence)
        .collect();
    assert_eq!(left, [2, 4]);
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_released_stays_for_the_grace_period() {
    let home = tempfile::tempdir().unwrap();
    let relay = start(home.path()).await;
    let (capability, other) = (Capability::new(1), Capability::new(2));
    let topic = capability.topic();
    let mut alice = Device::new(1).connect(relay.address()).await.unwrap();
    alice.prove(&capability).await;
    alice.keep(topic, Class::Log, b"a").await;
    let upto = Some(alice.keep(topic, Class::Log, b"b").await);
    for (topic, upto) in [(topic, upto), (topic, None), (topic, upto)] {
        let release = sheaf_protocol::ClientFrame::Release { topic, upto };
        alice.write(&release).await;
    }
    alice.keep(topic, Class::Log, b"c").await;
    assert_eq!(relay.peek(topic).await.unwrap().len(), 3);
    // Whoever does not hold the capability releases nothing.
    let release = sheaf_protocol::ClientFrame::Release {
        topic: other.topic(),
        upto,
    };
    alice.write(&release).await;
    loop {
        if let sheaf_protocol::ServerFrame::Refused(refusal) = alice.next().await.1 {
            assert_eq!(refusal.topic, Some(other.topic()));
            break;
        }
    }
    relay.shutdown().await;
}
