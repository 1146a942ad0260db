use super::*;
use crate::{Class, RequestId};

fn append() -> ClientFrame {
    ClientFrame::Append {
        request: RequestId(7),
        topic: TopicId([3; 32]),
        class: Class::Log,
        record: b"record".to_vec(),
    }
}

#[test]
fn a_frame_survives_the_wire_and_names_its_length() {
    let bytes = encode_client_frame(&append());
    let (prefix, body) = bytes.split_at(FRAME_PREFIX_BYTES);
    assert_eq!(
        u32::from_le_bytes(prefix.try_into().unwrap()) as usize,
        body.len()
    );
    assert_eq!(decode_client_frame(body), Ok(append()));
}

/// Pinned bytes: a change here is a change of the wire format and needs a new version.
#[test]
fn the_bytes_of_a_frame_are_pinned() {
    let bytes = encode_client_frame(&append());
    let expected = [
        &[43u8, 0, 0, 0, 1, 4, 7][..],
        &[3; 32][..],
        &[0, 6][..],
        b"record",
    ]
    .concat();
    assert_eq!(bytes[4..], expected[4..]);
    assert_eq!(bytes.len(), expected.len());
}

#[test]
fn truncated_extended_and_foreign_frames_are_refused() {
    let bytes = encode_client_frame(&append());
    let body = &bytes[FRAME_PREFIX_BYTES..];
    for cut in 0..body.len() {
        assert!(decode_client_frame(&body[..cut]).is_err(), "cut at {cut}");
    }
    let mut longer = body.to_vec();
    longer.push(0);
    assert_eq!(decode_client_frame(&longer), Err(DecodeError::Malformed));
    let mut foreign = body.to_vec();
    foreign[0] = 9;
    assert_eq!(decode_client_frame(&foreign), Err(DecodeError::Version(9)));
    let huge = vec![VERSION; limits::FRAME_BYTES_MAX + 1];
    assert_eq!(
        decode_client_frame(&huge),
        Err(DecodeError::TooLarge(huge.len()))
    );
}
