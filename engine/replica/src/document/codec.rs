//! Whole changes on their way between devices.
//!
//! ```text
//! payload  = format (1 plain, 2 zstd) | plain or compressed
//! plain    = number of changes | length of facts | facts | words
//! facts    = per change: tag | [seq] | [start of operations] | [deps] | content
//! ```
//!
//! What follows from the change before it or from the segment is left out: header, checksum, actor,
//! sequence number, operation counter, the dependency on the change before, and for a change of
//! messages all of Automerge's columns, which [`MessageChange::write`] makes again. Words (texts,
//! column data) come last and together, where zstd finds more in them. Decoding gives back every
//! change bit for bit: what no shorter form reproduces exactly is carried verbatim.
//! Decision 0004 has the figures.

mod plain;

use super::bound;
use super::error::CodecError;
use super::genesis::Genesis;

const FORMAT_PLAIN: u8 = 1;
const FORMAT_ZSTD: u8 = 2;
/// Levels above cost more time than they save bytes: decision 0004.
const LEVEL: i32 = 9;

/// Encodes changes of one actor in one segment, in the order of its chain.
///
/// # Errors
/// [`CodecError::TooLarge`] if the payload would not decode within its bounds.
pub fn encode_payload(
    genesis: &Genesis,
    actor: &[u8; 16],
    changes: &[impl AsRef<[u8]>],
) -> Result<Vec<u8>, CodecError> {
    let total: usize = changes.iter().map(|change| change.as_ref().len()).sum();
    if changes.len() > bound::PAYLOAD_CHANGES_MAX || total > bound::PAYLOAD_BYTES_MAX {
        return Err(CodecError::TooLarge);
    }
    let plain = plain::encode(genesis, actor, changes);
    if plain.len() > bound::INFLATED_BYTES_MAX {
        return Err(CodecError::TooLarge);
    }
    let packed = zstd::bulk::compress(&plain, LEVEL).map_err(|_| CodecError::Compression)?;
    let (format, body) = if packed.len() < plain.len() {
        (FORMAT_ZSTD, packed)
    } else {
        (FORMAT_PLAIN, plain)
    };
    let mut payload = Vec::with_capacity(body.len() + 1);
    payload.push(format);
    payload.extend_from_slice(&body);
    Ok(payload)
}

/// Decodes what [`encode_payload`] made. Never inflates more than
/// [`bound::INFLATED_BYTES_MAX`] bytes and never rebuilds more than four times that.
///
/// # Errors
/// [`CodecError`] if the payload is malformed or beyond a bound. The changes are not judged here.
pub fn decode_payload(
    genesis: &Genesis,
    actor: &[u8; 16],
    payload: &[u8],
) -> Result<Vec<Vec<u8>>, CodecError> {
    let (format, body) = payload.split_first().ok_or(CodecError::Malformed)?;
    match *format {
        FORMAT_PLAIN if body.len() > bound::INFLATED_BYTES_MAX => Err(CodecError::TooLarge),
        FORMAT_PLAIN => plain::decode(genesis, actor, body),
        FORMAT_ZSTD => {
            let inflated = zstd::bulk::decompress(body, bound::INFLATED_BYTES_MAX)
                .map_err(|_| CodecError::Malformed)?;
            plain::decode(genesis, actor, &inflated)
        }
        _ => Err(CodecError::Format),
    }
}
