use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_device_opens_the_same_segment() {
    assert_eq!(fresh().heads(), fresh().heads());
    assert_ne!(
        fresh().heads(),
        Segment::genesis(&CONVERSATION, 1).unwrap().heads()
    );
    assert_ne!(
        fresh().heads(),
        Segment::genesis(&[8; 32], 0).unwrap().heads()
    );
}

/// These bytes are in the stores of users: a change of them is a new format.
#[test]
fn golden_first_change() {
    assert_eq!(
        hex(&fresh().heads()[0]),
        "862caa700c56486e065209dff9879efba32660a4476e063f6f565783b6709bb2"
    );
}

#[test]
fn golden_payload() {
    let mut segment = fresh();
    let mut reply = text(1, 1_700_000_060_000, "it rained, so tomorrow");
    reply.reply_to = Some(id(2, 1_700_000_000_000));
    let first = segment
        .append(
            actor(1),
            &[text(1, 1_700_000_000_000, "shall we pick apples?")],
        )
        .unwrap();
    let second = segment.append(actor(1), &[reply]).unwrap();
    assert_eq!(
        hex(&second.hash),
        "0b0a57af618968dacbfe8b05492ce7d3a88111985c4e75632556cc199ccc058c"
    );
    let payload = encode_payload(segment.key(), &actor(1), &[first.bytes, second.bytes]).unwrap();
    assert_eq!(
        hex(&payload),
        "01024818230100862caa700c56486e065209dff9879efba32660a4476e063f6f565783b6709bb2010880d095ffbc31010101010101010115000101e0d403a0ab7c000202020202020202167368616c6c207765207069636b206170706c65733f6974207261696e65642c20736f20746f6d6f72726f77"
    );
}
