//! Refusing: who is not let in, what is not taken, and what ends a connection.

use sheaf_protocol::limits::FRAME_BYTES_MAX;
use sheaf_protocol::{
    Class, ClientFrame, ErrorCode, RequestId, ServerFrame, TopicId, VERSION, encode_client_frame,
};
use sheaf_relay::{AdmissionConfig, AdmissionMode, CloseCode, Relay};

use crate::client::{Capability, Client, Device, PATIENCE};
use crate::{config, start};

fn metric(relay: &Relay, line: &str) -> bool {
    relay.metrics().lines().any(|found| found == line)
}

fn closed(code: CloseCode) -> u64 {
    u64::from(code.code())
}

async fn raw(relay: &Relay, bytes: &[u8]) -> quinn::Connection {
    let dialled = Device::new(9).dial(relay.address()).await.unwrap();
    let (mut send, _receive) = dialled.connection.open_bi().await.unwrap();
    send.write_all(bytes).await.unwrap();
    let reason = tokio::time::timeout(PATIENCE, dialled.connection.closed()).await;
    let quinn::ConnectionError::ApplicationClosed(close) = reason.expect("a close in time") else {
        panic!("not closed by the relay");
    };
    assert_eq!(close.error_code.into_inner(), closed(CloseCode::Misbehaved));
    dialled.connection
}

#[tokio::test(flavor = "multi_thread")]
async fn another_protocol_a_missing_key_and_another_relay_do_not_connect() {
    let home = tempfile::tempdir().unwrap();
    let relay = start(home.path()).await;
    let mut other = Device::new(1);
    other.alpn = b"h3";
    assert!(other.connect(relay.address()).await.is_err());
    let mut keyless = Device::new(1);
    keyless.with_key = false;
    assert!(keyless.connect(relay.address()).await.is_err());
    let mut wrong = relay.address().clone();
    wrong.relay = Device::new(7).id();
    assert!(Device::new(1).connect(&wrong).await.is_err());
    assert!(Device::new(1).connect(relay.address()).await.is_ok());
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_before_the_hello_ends_the_connection() {
    let home = tempfile::tempdir().unwrap();
    let relay = start(home.path()).await;
    raw(&relay, &[0xff; 64]).await;
    raw(&relay, &1_000_u32.to_le_bytes()).await;
    raw(&relay, &[2, 0, 0, 0, VERSION, 99]).await;
    raw(&relay, &[2, 0, 0, 0, 77, 0]).await;
    let append = encode_client_frame(&ClientFrame::Unsubscribe {
        topic: TopicId([0; 32]),
    });
    raw(&relay, &append).await;
    assert!(metric(
        &relay,
        "sheaf_relay_misbehaviour_total{kind=\"frame_too_large\"} 2"
    ));
    assert!(metric(
        &relay,
        "sheaf_relay_misbehaviour_total{kind=\"no_hello\"} 1"
    ));
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_hello_is_closed_in_time() {
    let home = tempfile::tempdir().unwrap();
    let mut config = config(home.path());
    config.limits.handshake_seconds = 1;
    let relay = Relay::start(config).await.unwrap();
    let silent = Device::new(1).dial(relay.address()).await.unwrap();
    let reason = tokio::time::timeout(PATIENCE, silent.connection.closed())
        .await
        .unwrap();
    let quinn::ConnectionError::ApplicationClosed(close) = reason else {
        panic!("{reason}");
    };
    assert_eq!(
        close.error_code.into_inner(),
        closed(CloseCode::HelloTimeout)
    );
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_topic_without_its_proof_and_no_proof_of_another_connection() {
    let home = tempfile::tempdir().unwrap();
    let relay = start(home.path()).await;
    let capability = Capability::new(1);
    let topic = capability.topic();
    let first = Device::new(1).connect(relay.address()).await.unwrap();
    let mut second = Device::new(2).connect(relay.address()).await.unwrap();
    let stolen = capability.proof(first.relay, &first.exporter);
    second.write(&ClientFrame::Prove(stolen)).await;
    assert_eq!(second.refusal().await.code, ErrorCode::NoAccess);
    let mut foreign = capability.proof(second.relay, &second.exporter);
    foreign.topic = Capability::new(2).topic();
    second.write(&ClientFrame::Prove(foreign)).await;
    assert_eq!(second.refusal().await.code, ErrorCode::NoAccess);
    let request = second.append(topic, Class::Log, b"x").await;
    let refusal = second.refusal().await;
    assert_eq!(
        (refusal.request, refusal.topic),
        (Some(request), Some(topic))
    );
    assert_eq!(refusal.code, ErrorCode::NoAccess);
    second
        .write(&ClientFrame::Subscribe {
            request: RequestId(9),
            topic,
            after: None,
        })
        .await;
    assert_eq!(second.refusal().await.code, ErrorCode::NoAccess);
    assert!(relay.peek(topic).await.unwrap().is_empty());
    assert!(metric(
        &relay,
        "sheaf_relay_misbehaviour_total{kind=\"proof_wrong\"} 2"
    ));
    assert!(metric(
        &relay,
        "sheaf_relay_misbehaviour_total{kind=\"not_proved\"} 2"
    ));
    relay.shutdown().await;
}

async fn send_garbage(client: &mut Client, body: &[u8]) {
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    client
        .send
        .write_all(&[&length, body].concat())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_refused_a_few_times_and_then_ends_the_connection() {
    let home = tempfile::tempdir().unwrap();
    let relay = start(home.path()).await;
    let capability = Capability::new(1);
    let mut client = Device::new(1).connect(relay.address()).await.unwrap();
    send_garbage(&mut client, &[VERSION, 200, 1, 2, 3]).await;
    assert_eq!(client.refusal().await.code, ErrorCode::BadFrame);
    send_garbage(&mut client, &[]).await;
    assert_eq!(client.refusal().await.code, ErrorCode::BadFrame);
    send_garbage(&mut client, &[9, 9]).await;
    assert_eq!(client.refusal().await.code, ErrorCode::Version);
    let hello = ClientFrame::Hello {
        version: VERSION,
        token: None,
    };
    client.write(&hello).await;
    assert_eq!(client.refusal().await.code, ErrorCode::BadFrame);
    // What is good is still taken.
    client.prove(&capability).await;
    client.keep(capability.topic(), Class::Log, b"good").await;
    for _ in 0..12 {
        send_garbage(&mut client, &[VERSION, 200]).await;
    }
    assert_eq!(client.close_code().await, closed(CloseCode::Misbehaved));
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_and_truncated_frames_end_the_connection() {
    let home = tempfile::tempdir().unwrap();
    let relay = start(home.path()).await;
    let mut client = Device::new(1).connect(relay.address()).await.unwrap();
    let length = u32::try_from(FRAME_BYTES_MAX + 1).unwrap();
    client.send.write_all(&length.to_le_bytes()).await.unwrap();
    assert_eq!(client.close_code().await, closed(CloseCode::Misbehaved));
    let mut client = Device::new(1).connect(relay.address()).await.unwrap();
    client.send.write_all(&[100, 0, 0, 0, 1]).await.unwrap();
    client.send.finish().unwrap();
    assert_eq!(client.close_code().await, closed(CloseCode::Misbehaved));
    assert!(metric(
        &relay,
        "sheaf_relay_misbehaviour_total{kind=\"frame_truncated\"} 1"
    ));
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_limit_the_answer_is_a_refusal_and_nothing_changes() {
    let home = tempfile::tempdir().unwrap();
    let mut config = config(home.path());
    config.limits.record_bytes_max = 1_000;
    config.limits.topics_per_day = 1;
    config.limits.appends_burst = 4;
    config.limits.appends_per_second = 1;
    config.store.topic_bytes_max = 1_500;
    let relay = Relay::start(config).await.unwrap();
    let (capability, another) = (Capability::new(1), Capability::new(2));
    let topic = capability.topic();
    let mut client = Device::new(1).connect(relay.address()).await.unwrap();
    client.prove(&capability).await;
    client.prove(&another).await;
    client.append(topic, Class::Log, &[1; 1_001]).await;
    assert_eq!(client.refusal().await.code, ErrorCode::RecordTooLarge);
    client.keep(topic, Class::Log, &[1; 1_000]).await;
    client.append(topic, Class::Log, &[2; 1_000]).await;
    let refusal = client.refusal().await;
    assert_eq!((refusal.code, refusal.retry_after_ms), (ErrorCode::Full, 0));
    client.append(another.topic(), Class::Log, b"x").await;
    let refusal = client.refusal().await;
    assert_eq!(refusal.code, ErrorCode::RateLimited);
    assert!(refusal.retry_after_ms > 60_000, "a new topic tomorrow");
    client.keep(topic, Class::Log, b"fits").await;
    client.append(topic, Class::Log, b"too fast").await;
    let refusal = client.refusal().await;
    assert_eq!(refusal.code, ErrorCode::RateLimited);
    assert!((1..=1_100).contains(&refusal.retry_after_ms));
    assert_eq!(relay.peek(topic).await.unwrap().len(), 2);
    assert!(relay.peek(another.topic()).await.unwrap().is_empty());
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_room_refuses_appends_for_a_while_and_delivers_what_there_is() {
    let home = tempfile::tempdir().unwrap();
    let capability = Capability::new(1);
    let topic = capability.topic();
    let relay = start(home.path()).await;
    let mut client = Device::new(1).connect(relay.address()).await.unwrap();
    client.prove(&capability).await;
    client.keep(topic, Class::Log, b"kept").await;
    relay.shutdown().await;
    let mut config = config(home.path());
    config.store.free_bytes_min = u64::MAX;
    let relay = Relay::start(config).await.unwrap();
    let mut client = Device::new(1).connect(relay.address()).await.unwrap();
    client.prove(&capability).await;
    client.append(topic, Class::Log, b"no room").await;
    let refusal = client.refusal().await;
    assert_eq!(refusal.code, ErrorCode::Unavailable);
    assert!(refusal.retry_after_ms > 0);
    assert_eq!(client.subscribe(topic, None).await.0, 1);
    loop {
        if let (_, ServerFrame::Records { records, .. }) = client.next().await {
            assert_eq!(records[0].record, b"kept");
            break;
        }
    }
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_admit_and_a_token_taken_away_ends_the_connection() {
    let home = tempfile::tempdir().unwrap();
    let tokens = home.path().join("tokens");
    std::fs::write(&tokens, "# ours\nsesame  # the first\n").unwrap();
    let mut config = config(home.path());
    config.admission = AdmissionConfig {
        mode: AdmissionMode::Token,
        tokens_file: Some(tokens.clone()),
        allow_file: None,
    };
    let relay = Relay::start(config).await.unwrap();
    let mut device = Device::new(1);
    for token in [None, Some("wrong")] {
        device.token = token.map(str::to_owned);
        let refused = device.connect(relay.address()).await.err().unwrap();
        assert!(refused.contains("NotAdmitted"), "{refused}");
    }
    device.token = Some("sesame".to_owned());
    let client = device.connect(relay.address()).await.unwrap();
    std::fs::write(&tokens, "another\n").unwrap();
    assert_eq!(relay.reload_admission().unwrap(), 1);
    assert_eq!(client.close_code().await, closed(CloseCode::NotAdmitted));
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_allow_list_admits_its_devices_only() {
    let home = tempfile::tempdir().unwrap();
    let allowed = home.path().join("allowed");
    std::fs::write(&allowed, format!("{}\n", Device::new(1).id())).unwrap();
    let mut config = config(home.path());
    config.admission = AdmissionConfig {
        mode: AdmissionMode::Allow,
        tokens_file: None,
        allow_file: Some(allowed.clone()),
    };
    let relay = Relay::start(config).await.unwrap();
    assert!(Device::new(1).connect(relay.address()).await.is_ok());
    assert!(Device::new(2).connect(relay.address()).await.is_err());
    std::fs::write(&allowed, "not a key\n").unwrap();
    assert!(relay.reload_admission().is_err());
    assert!(Device::new(1).connect(relay.address()).await.is_ok());
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_replaces_the_devices_oldest() {
    let home = tempfile::tempdir().unwrap();
    let mut config = config(home.path());
    config.limits.connections_per_device = 2;
    let relay = Relay::start(config).await.unwrap();
    let device = Device::new(1);
    let first = device.connect(relay.address()).await.unwrap();
    let second = device.connect(relay.address()).await.unwrap();
    let _third = device.connect(relay.address()).await.unwrap();
    assert_eq!(first.close_code().await, closed(CloseCode::Replaced));
    assert!(second.connection.close_reason().is_none());
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_takes_nothing_is_cut() {
    let home = tempfile::tempdir().unwrap();
    let mut config = config(home.path());
    config.limits.stall_seconds = 1;
    let relay = Relay::start(config).await.unwrap();
    let capability = Capability::new(1);
    let topic = capability.topic();
    let mut writer = Device::new(1).connect(relay.address()).await.unwrap();
    writer.prove(&capability).await;
    for number in 0..10 {
        writer.keep(topic, Class::Log, &[number; 50_000]).await;
    }
    let mut device = Device::new(2);
    device.window = 16 * 1024;
    let mut idle = device.connect(relay.address()).await.unwrap();
    idle.prove(&capability).await;
    let subscribe = ClientFrame::Subscribe {
        request: RequestId(1),
        topic,
        after: None,
    };
    idle.write(&subscribe).await;
    assert_eq!(idle.close_code().await, closed(CloseCode::Stalled));
    assert!(metric(
        &relay,
        "sheaf_relay_misbehaviour_total{kind=\"stalled\"} 1"
    ));
    writer.keep(topic, Class::Log, b"others go on").await;
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_answers_what_is_under_way_and_says_go_away() {
    let home = tempfile::tempdir().unwrap();
    let relay = start(home.path()).await;
    let capability = Capability::new(1);
    let topic = capability.topic();
    let mut client = Device::new(1).connect(relay.address()).await.unwrap();
    client.prove(&capability).await;
    client.keep(topic, Class::Log, b"first").await;
    for number in 0..200_u32 {
        client
            .append(topic, Class::Log, &number.to_be_bytes())
            .await;
    }
    let ending = tokio::spawn(relay.shutdown());
    let mut receipts = 0;
    loop {
        match client.next().await.1 {
            ServerFrame::Receipt { .. } => receipts += 1,
            ServerFrame::GoAway { reconnect_ms } => {
                assert!((500..5_000).contains(&reconnect_ms));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    drop(client);
    ending.await.unwrap();
    let relay = start(home.path()).await;
    assert!(relay.peek(topic).await.unwrap().len() > receipts);
    relay.shutdown().await;
}
