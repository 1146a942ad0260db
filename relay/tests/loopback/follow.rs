//! Many topics in one request.

use sheaf_protocol::*;

use crate::client::{Capability, Client, Device, Reassembly, Source};
use crate::start;

fn followed(client: &Client, capability: &Capability, after: Option<Cursor>) -> Followed {
    let proof = capability.proof(client.relay, &client.exporter);
    Followed {
        capability: proof.capability,
        signature: proof.signature,
        after,
    }
}

async fn answer(client: &mut Client) -> ([u8; 32], Vec<Changed>) {
    loop {
        match client.next().await {
            (
                Source::Control,
                ServerFrame::Followed {
                    digest, changed, ..
                },
            ) => {
                return (digest, changed);
            }
            (_, ServerFrame::Refused(refusal)) => panic!("refused: {refusal:?}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn only_what_is_new_is_named_and_the_rest_is_live_at_once() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let mut writer = Device::new(1).connect(relay.address()).await.unwrap();
    writer.listen();
    let topics: Vec<Capability> = (0..4).map(Capability::numbered).collect();
    let mut cursors = Vec::new();
    for capability in &topics {
        writer.prove(capability).await;
        cursors.push(writer.keep(capability.topic(), Class::Log, b"one").await);
    }
    // The second topic goes on; the third was read in another store; the fourth was never read.
    writer.keep(topics[1].topic(), Class::Log, b"two").await;
    cursors[2].log = LogId(cursors[2].log.0 ^ 1);

    let mut reader = Device::new(2).connect(relay.address()).await.unwrap();
    reader.listen();
    let after = [Some(cursors[0]), Some(cursors[1]), Some(cursors[2]), None];
    let wanted = topics.iter().zip(after);
    let wanted = wanted.map(|(capability, after)| followed(&reader, capability, after));
    let frame = ClientFrame::Follow {
        request: RequestId(9),
        topics: wanted.collect(),
    };
    reader.write(&frame).await;
    let (digest, changed) = answer(&mut reader).await;
    let unchanged = (topics[0].topic(), cursors[0].sequence);
    assert_eq!(digest, digest_topics([unchanged]));
    let change = |place, head, restarted| Changed {
        place,
        head,
        restarted,
    };
    let expected = [change(1, 2, false), change(2, 1, true), change(3, 1, false)];
    assert_eq!(changed, expected);

    let mut second = Reassembly::default();
    second.after = cursors[1].sequence;
    assert_eq!(
        second.until_caught_up(&mut reader, topics[1].topic()).await,
        2
    );
    assert_eq!(second.records.len(), 1);
    writer.keep(topics[0].topic(), Class::Log, b"two").await;
    let mut first = Reassembly::default();
    first.after = cursors[0].sequence;
    first.until(&mut reader, topics[0].topic(), 1).await;
    assert_eq!((first.live_frames, first.caught_up.len()), (1, 0));
}

#[tokio::test]
async fn one_wrong_proof_refuses_the_whole_request() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let mut device = Device::new(1).connect(relay.address()).await.unwrap();
    let (good, bad) = (Capability::numbered(1), Capability::numbered(2));
    let mut wrong = followed(&device, &bad, None);
    wrong.signature = bad.proof(device.relay, &[0; 32]).signature;
    let frame = ClientFrame::Follow {
        request: RequestId(5),
        topics: vec![followed(&device, &good, None), wrong],
    };
    device.write(&frame).await;
    let refusal = device.refusal().await;
    assert_eq!(refusal.request, Some(RequestId(5)));
    assert_eq!(refusal.code, ErrorCode::NoAccess);
    // Not even the good one counts as proved.
    device.append(good.topic(), Class::Log, b"x").await;
    assert_eq!(device.refusal().await.code, ErrorCode::NoAccess);
}

#[tokio::test]
async fn a_ping_is_answered() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let mut device = Device::new(1).connect(relay.address()).await.unwrap();
    device.write(&ClientFrame::Ping { token: 77 }).await;
    let answer = device.next().await;
    assert_eq!(answer, (Source::Control, ServerFrame::Pong { token: 77 }));
}
