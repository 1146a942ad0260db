use automerge::Change;
use proptest::prelude::*;

use super::*;
use crate::document::chunk::Chunk;
use crate::document::shape::MessageChange;

pub(crate) fn message(device: u8) -> impl Strategy<Value = NewMessage> {
    let words = prop_oneof![4 => "[a-zé🦀 ]{0,40}".prop_map(|text| text), 1 => Just("same".to_owned()), 1 => Just("text".to_owned())];
    let origin = proptest::option::weighted(0.3, ("[a-z]{0,9}", -3_i64..3_000_000_000_000));
    (
        1_u64..1 << 34,
        any::<u16>(),
        words,
        proptest::option::weighted(0.3, any::<u8>()),
        any::<bool>(),
        origin,
    )
        .prop_map(
            move |(ms, counter, text, reply, system, origin)| NewMessage {
                id: MessageId::new(HybridTime::new(ms, counter).unwrap(), tag(device)),
                text,
                reply_to: reply.map(|other| id(other, ms - 1)),
                kind: if system {
                    MessageKind::System
                } else {
                    MessageKind::Text
                },
                origin: origin.map(|(author, time_ms)| Origin { author, time_ms }),
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// The columns that we write are Automerge's, to the byte, and read back.
    #[test]
    fn automerge_writes_the_same(messages in proptest::collection::vec(message(1), 1..20)) {
        let mut seen = std::collections::BTreeSet::new();
        let messages: Vec<_> = messages.into_iter().filter(|message| seen.insert(message.id)).collect();
        let mut segment = fresh();
        segment.append(actor(1), &[text(1, 1 << 40, "before")]).unwrap();
        let change = segment.append(actor(1), &messages).unwrap();
        let (chunk, hash) = Chunk::read(&change.bytes).unwrap();
        prop_assert_eq!(hash, change.hash);
        prop_assert_eq!(&chunk.write(), &change.bytes);
        let read = MessageChange::read(&chunk, segment.key()).expect("shape of own change");
        prop_assert_eq!(&read.messages, &messages);
        prop_assert_eq!(read.write(segment.key()), change.bytes.clone());
        let parsed = Change::from_bytes(change.bytes.clone()).unwrap();
        prop_assert_eq!(parsed.max_op(), read.max_op());
        let again = Change::from(parsed.decode());
        prop_assert_eq!(again.raw_bytes(), &change.bytes[..]);
        for message in &messages {
            prop_assert_eq!(&segment.message(&message.id).unwrap().message, message);
        }
    }
}

#[test]
fn another_segment_has_another_shape() {
    let mut segment = fresh();
    let change = segment.append(actor(1), &[text(1, 5, "hello")]).unwrap();
    let (chunk, _) = Chunk::read(&change.bytes).unwrap();
    assert!(MessageChange::read(&chunk, &Genesis::of(&CONVERSATION, 1)).is_none());
}
