//! What a relay says that a topic holds.

use sheaf_protocol::{
    Class, ClientFrame, ErrorCode, History, RequestId, ServerFrame, Statement, TopicId, hash_record,
};

use crate::client::{Capability, Client, Device};
use crate::start;

async fn ask(device: &mut Client, topic: TopicId, sequence: Option<u64>) -> Option<Statement> {
    let request = RequestId(1_000_000);
    let frame = ClientFrame::Witness {
        request,
        topic,
        sequence,
    };
    device.write(&frame).await;
    loop {
        match device.next().await.1 {
            ServerFrame::Statement {
                request: answered,
                statement,
            } if answered == request => return Some(statement),
            ServerFrame::Refused(refusal) => {
                assert_eq!(
                    (refusal.request, refusal.topic),
                    (Some(request), Some(topic))
                );
                assert_eq!(refusal.code, ErrorCode::Gone);
                return None;
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_relay_signs_what_it_holds_up_to_a_place() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let mut device = Device::new(1).connect(relay.address()).await.unwrap();
    device.listen();
    let capability = Capability::numbered(1);
    let topic = capability.topic();
    device.prove(&capability).await;
    let mut history = History::default();
    for (sequence, record) in [(1, b"one"), (2, b"two"), (3, b"six")] {
        let cursor = device.keep(topic, Class::Log, record).await;
        history = history.then(&topic, sequence, &hash_record(record));
        for place in [None, Some(sequence)] {
            let said = ask(&mut device, topic, place).await.unwrap();
            said.verify(&device.relay).unwrap();
            assert_eq!((said.topic, said.cursor), (topic, cursor));
            assert_eq!(said.history, history);
        }
    }
    let before = ask(&mut device, topic, Some(0)).await.unwrap();
    assert_eq!(before.history, History::default());
    assert_eq!(ask(&mut device, topic, Some(4)).await, None);
    // Nothing is said about a topic that was not proved.
    let other = Capability::numbered(2).topic();
    device
        .write(&ClientFrame::Witness {
            request: RequestId(9),
            topic: other,
            sequence: None,
        })
        .await;
    assert_eq!(device.refusal().await.code, ErrorCode::NoAccess);
}
