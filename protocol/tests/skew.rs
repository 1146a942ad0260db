//! Every frame of version 1, byte by byte (tests/fixtures/v1/frames.txt), and frames of a newer one.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at a broken expectation"
)]

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::HEXLOWER;
use sheaf_protocol::{
    AccessProof, Changed, Class, ClientFrame, Cursor, DecodeError, Delivery, ErrorCode,
    FRAME_PREFIX_BYTES, Followed, History, LogId, Receipt, RecordHash, Refusal, RequestId,
    ServerFrame, Statement, TopicId, VERSION, decode_client_frame, decode_server_frame,
    encode_client_frame, encode_server_frame,
};

const FIXTURE: &str = include_str!("../../tests/fixtures/v1/frames.txt");
const TOPIC: TopicId = TopicId([0x11; 32]);
const REQUEST: RequestId = RequestId(300);
const CURSOR: Cursor = Cursor {
    log: LogId(0x0123_4567_89ab_cdef),
    sequence: 70_000,
};

/// A frame that is added needs a name here, and a line in the fixture of the version it came with.
fn client_name(frame: &ClientFrame) -> &'static str {
    match frame {
        ClientFrame::Hello { .. } => "client Hello",
        ClientFrame::Prove(_) => "client Prove",
        ClientFrame::Subscribe { .. } => "client Subscribe",
        ClientFrame::Unsubscribe { .. } => "client Unsubscribe",
        ClientFrame::Append { .. } => "client Append",
        ClientFrame::Trim { .. } => "client Trim",
        ClientFrame::Ping { .. } => "client Ping",
        ClientFrame::Follow { .. } => "client Follow",
        ClientFrame::Witness { .. } => "client Witness",
        ClientFrame::Release { .. } => "client Release",
    }
}

fn server_name(frame: &ServerFrame) -> &'static str {
    match frame {
        ServerFrame::Hello { .. } => "server Hello",
        ServerFrame::Subscribed { .. } => "server Subscribed",
        ServerFrame::Records { .. } => "server Records",
        ServerFrame::CaughtUp { .. } => "server CaughtUp",
        ServerFrame::Receipt { .. } => "server Receipt",
        ServerFrame::Refused(_) => "server Refused",
        ServerFrame::GoAway { .. } => "server GoAway",
        ServerFrame::Pong { .. } => "server Pong",
        ServerFrame::Followed { .. } => "server Followed",
        ServerFrame::Statement { .. } => "server Statement",
    }
}

fn client_frames() -> Vec<ClientFrame> {
    vec![
        ClientFrame::Hello {
            version: 1,
            token: Some("token".to_owned()),
        },
        ClientFrame::Prove(AccessProof {
            topic: TOPIC,
            capability: [0x22; 32],
            signature: vec![0x33; 64],
        }),
        ClientFrame::Subscribe {
            request: REQUEST,
            topic: TOPIC,
            after: Some(CURSOR),
        },
        ClientFrame::Unsubscribe { topic: TOPIC },
        ClientFrame::Append {
            request: REQUEST,
            topic: TOPIC,
            class: Class::Inbox,
            record: vec![0x44; 200],
        },
        ClientFrame::Trim {
            topic: TOPIC,
            upto: CURSOR,
        },
        ClientFrame::Ping { token: 9 },
        ClientFrame::Follow {
            request: REQUEST,
            topics: vec![Followed {
                capability: [0x22; 32],
                signature: vec![0x33; 64],
                after: None,
            }],
        },
        ClientFrame::Witness {
            request: REQUEST,
            topic: TOPIC,
            sequence: Some(CURSOR.sequence),
        },
        ClientFrame::Release {
            topic: TOPIC,
            upto: Some(CURSOR),
        },
    ]
}

fn server_frames() -> Vec<ServerFrame> {
    vec![
        ServerFrame::Hello {
            version: 1,
            log: CURSOR.log,
            record_bytes_max: 65_536,
        },
        ServerFrame::Subscribed {
            request: REQUEST,
            topic: TOPIC,
            head: 70_001,
            restarted: true,
        },
        ServerFrame::Records {
            topic: TOPIC,
            previous: 1,
            records: vec![Delivery {
                sequence: 2,
                record: vec![0x44; 3],
            }],
        },
        ServerFrame::CaughtUp {
            topic: TOPIC,
            sequence: 2,
        },
        ServerFrame::Receipt {
            request: REQUEST,
            receipt: Receipt {
                topic: TOPIC,
                cursor: CURSOR,
                record: RecordHash([0x55; 32]),
                signature: vec![0x66; 64],
            },
        },
        ServerFrame::Refused(Refusal {
            request: Some(REQUEST),
            topic: None,
            code: ErrorCode::Version,
            retry_after_ms: 2_000,
            message: "why".to_owned(),
        }),
        ServerFrame::GoAway { reconnect_ms: 500 },
        ServerFrame::Pong { token: 9 },
        ServerFrame::Followed {
            request: REQUEST,
            digest: [0x77; 32],
            changed: vec![Changed {
                place: 4,
                head: 5,
                restarted: false,
            }],
        },
        ServerFrame::Statement {
            request: REQUEST,
            statement: Statement {
                topic: TOPIC,
                cursor: CURSOR,
                history: History([0x88; 32]),
                signature: vec![0x99; 64],
            },
        },
    ]
}

/// Name to hexadecimal bytes of the frame without its length.
fn fixture() -> BTreeMap<&'static str, Vec<u8>> {
    let lines = FIXTURE.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, hex) = line.rsplit_once(' ').unwrap();
            (name, HEXLOWER.decode(hex.as_bytes()).unwrap())
        })
        .collect()
}

#[test]
fn every_frame_of_version_1_is_read_and_written_as_ever() {
    let fixture = fixture();
    let mut seen = BTreeSet::new();
    for frame in client_frames() {
        let name = client_name(&frame);
        let written = encode_client_frame(&frame)[FRAME_PREFIX_BYTES..].to_vec();
        let hex = HEXLOWER.encode(&written);
        assert_eq!(fixture.get(name), Some(&written), "{name} {hex}");
        assert_eq!(decode_client_frame(&fixture[name]), Ok(frame));
        seen.insert(name);
    }
    for frame in server_frames() {
        let name = server_name(&frame);
        let written = encode_server_frame(&frame)[FRAME_PREFIX_BYTES..].to_vec();
        let hex = HEXLOWER.encode(&written);
        assert_eq!(fixture.get(name), Some(&written), "{name} {hex}");
        assert_eq!(decode_server_frame(&fixture[name]), Ok(frame));
        seen.insert(name);
    }
    let known: BTreeSet<&str> = fixture.keys().copied().collect();
    assert_eq!(seen, known);
    assert_eq!(seen.len(), 20);
}

#[test]
fn a_frame_of_a_newer_version_is_refused_by_its_version() {
    for bytes in fixture().into_values() {
        let newer = [&[VERSION + 1], &bytes[1..]].concat();
        let refused = DecodeError::Version(VERSION + 1);
        assert_eq!(decode_client_frame(&newer), Err(refused));
        assert_eq!(decode_server_frame(&newer), Err(refused));
    }
}
