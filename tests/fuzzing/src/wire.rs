//! What a relay and a device say to each other.

use ed25519_dalek::{Signer, SigningKey};
use sheaf_crypto::CapabilityKey;
use sheaf_protocol::{
    Class, ClientFrame, Cursor, Delivery, ErrorCode, FRAME_PREFIX_BYTES, History, LogId, Receipt,
    Refusal, RelayAddress, RelayId, RequestId, ServerFrame, Statement, TopicId,
    decode_client_frame, decode_server_frame, encode_client_frame, encode_server_frame,
    hash_record, receipt_message, statement_message,
};

use super::Seed;

fn relay() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn relay_id() -> RelayId {
    RelayId(relay().verifying_key().to_bytes())
}

/// What a relay reads from a device.
pub(super) fn client_frame(bytes: &[u8]) -> bool {
    let Ok(frame) = decode_client_frame(bytes) else {
        return false;
    };
    if let ClientFrame::Prove(proof) = &frame {
        let _verdict = proof.verify(&relay_id(), &[9; 32]);
    }
    let encoded = encode_client_frame(&frame);
    let again = decode_client_frame(&encoded[FRAME_PREFIX_BYTES..]);
    assert_eq!(again.as_ref(), Ok(&frame));
    true
}

/// What a device reads from a relay.
pub(super) fn server_frame(bytes: &[u8]) -> bool {
    let Ok(frame) = decode_server_frame(bytes) else {
        return false;
    };
    if let ServerFrame::Receipt { receipt, .. } = &frame {
        let _verdict = receipt.verify(&relay_id());
    }
    let encoded = encode_server_frame(&frame);
    let again = decode_server_frame(&encoded[FRAME_PREFIX_BYTES..]);
    assert_eq!(again.as_ref(), Ok(&frame));
    true
}

/// A relay's address as people paste it.
pub(super) fn relay_address(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let Ok(address) = text.parse::<RelayAddress>() else {
        return false;
    };
    let again: RelayAddress = address.to_string().parse().expect("own text is an address");
    assert_eq!(again, address);
    true
}

pub(super) fn client_frame_seeds() -> Vec<Seed> {
    let capability = CapabilityKey::from_seed(&[3; 32]);
    let topic = capability.topic();
    let cursor = Cursor {
        log: LogId(7),
        sequence: 300,
    };
    let request = RequestId(5);
    let frames = [
        (
            "hello",
            ClientFrame::Hello {
                version: 1,
                token: Some("token".into()),
            },
        ),
        (
            "prove",
            ClientFrame::Prove(capability.prove(&relay_id(), &[9; 32])),
        ),
        (
            "subscribe",
            ClientFrame::Subscribe {
                request,
                topic,
                after: Some(cursor),
            },
        ),
        (
            "subscribe_all",
            ClientFrame::Subscribe {
                request,
                topic,
                after: None,
            },
        ),
        ("unsubscribe", ClientFrame::Unsubscribe { topic }),
        (
            "append",
            ClientFrame::Append {
                request,
                topic,
                class: Class::Log,
                record: vec![1; 40],
            },
        ),
        (
            "trim",
            ClientFrame::Trim {
                topic,
                upto: cursor,
            },
        ),
        (
            "witness",
            ClientFrame::Witness {
                request,
                topic,
                sequence: Some(300),
            },
        ),
    ];
    frames
        .into_iter()
        .map(|(name, frame)| Seed::new(name, &encode_client_frame(&frame)[FRAME_PREFIX_BYTES..]))
        .collect()
}

pub(super) fn server_frame_seeds() -> Vec<Seed> {
    let topic = TopicId([4; 32]);
    let request = RequestId(5);
    let cursor = Cursor {
        log: LogId(7),
        sequence: 300,
    };
    let record = hash_record(b"record");
    let signature = relay().sign(&receipt_message(&topic, cursor, &record));
    let receipt = Receipt {
        topic,
        cursor,
        record,
        signature: signature.to_bytes().to_vec(),
    };
    let history = History([9; 32]);
    let signature = relay().sign(&statement_message(&topic, cursor, &history));
    let statement = Statement {
        topic,
        cursor,
        history,
        signature: signature.to_bytes().to_vec(),
    };
    let frames = [
        (
            "hello",
            ServerFrame::Hello {
                version: 1,
                log: LogId(7),
                record_bytes_max: 65_536,
            },
        ),
        (
            "subscribed",
            ServerFrame::Subscribed {
                request,
                topic,
                head: 300,
                restarted: true,
            },
        ),
        (
            "records",
            ServerFrame::Records {
                topic,
                previous: 1,
                records: (2..4)
                    .map(|sequence| Delivery {
                        sequence,
                        record: vec![8; 20],
                    })
                    .collect(),
            },
        ),
        (
            "caught_up",
            ServerFrame::CaughtUp {
                topic,
                sequence: 300,
            },
        ),
        ("receipt", ServerFrame::Receipt { request, receipt }),
        (
            "refused",
            ServerFrame::Refused(Refusal {
                request: Some(request),
                topic: Some(topic),
                code: ErrorCode::RateLimited,
                retry_after_ms: 1_000,
                message: "too fast".into(),
            }),
        ),
        ("go_away", ServerFrame::GoAway { reconnect_ms: 100 }),
        ("statement", ServerFrame::Statement { request, statement }),
    ];
    frames
        .into_iter()
        .map(|(name, frame)| Seed::new(name, &encode_server_frame(&frame)[FRAME_PREFIX_BYTES..]))
        .collect()
}

pub(super) fn relay_address_seeds() -> Vec<Seed> {
    let id = relay_id();
    [
        ("name", format!("sheaf://relay.example:4433/#{id}")),
        ("ipv4", format!("sheaf://192.0.2.1:1/#{id}")),
        ("ipv6", format!("sheaf://[2001:db8::1]:65535/#{id}")),
        ("blanks", format!("  sheaf://localhost:4433#{id}\n")),
    ]
    .into_iter()
    .map(|(name, text)| Seed::new(name, text))
    .collect()
}
