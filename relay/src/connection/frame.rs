//! Frames off a stream: the length first, then the body.

use sheaf_protocol::{ClientFrame, DecodeError, FRAME_PREFIX_BYTES, decode_client_frame};

use crate::misbehaviour::Misbehaviour;
use crate::wire::{ReadEnd, Receiving};

/// Why there is no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadFault {
    /// The device broke the protocol.
    Blame(Misbehaviour),
    /// The stream ended between two frames.
    Ended,
    /// The connection is gone, or the stream was reset.
    Lost,
}

/// Reads one frame; nothing is set aside for its body before its length is checked.
pub(super) async fn read_frame(
    stream: &mut Receiving,
    bytes_max: usize,
) -> Result<ClientFrame, ReadFault> {
    let mut prefix = [0; FRAME_PREFIX_BYTES];
    stream.read_exact(&mut prefix).await.map_err(fault)?;
    let length = u32::from_le_bytes(prefix) as usize;
    if length > bytes_max {
        return Err(ReadFault::Blame(Misbehaviour::FrameTooLarge));
    }
    let mut body = vec![0; length];
    stream
        .read_exact(&mut body)
        .await
        .map_err(|end| match end {
            ReadEnd::Early(_) => ReadFault::Blame(Misbehaviour::FrameTruncated),
            ReadEnd::Lost => ReadFault::Lost,
        })?;
    decode_client_frame(&body).map_err(|error| {
        ReadFault::Blame(match error {
            DecodeError::TooLarge(_) => Misbehaviour::FrameTooLarge,
            DecodeError::Version(_) => Misbehaviour::FrameVersion,
            DecodeError::Malformed | _ => Misbehaviour::FrameMalformed,
        })
    })
}

fn fault(end: ReadEnd) -> ReadFault {
    match end {
        ReadEnd::Early(0) => ReadFault::Ended,
        ReadEnd::Early(_) => ReadFault::Blame(Misbehaviour::FrameTruncated),
        ReadEnd::Lost => ReadFault::Lost,
    }
}
