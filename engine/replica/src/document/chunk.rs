//! Change chunks, read and written without Automerge.
//!
//! ```text
//! magic 85 6f 4a 83 | first 4 bytes of hash | type 1 | length of body | body
//! body: deps, actor, seq, start_op, time, message, other actors, column metadata, columns, extra
//! hash: SHA-256(type | length of body | body)
//! ```
//!
//! Source: the Automerge binary format, and `storage/change.rs` of automerge 0.12.

use sha2::{Digest, Sha256};

use super::varint::{Reader, put_length, put_signed, put_unsigned};

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
const TYPE_CHANGE: u8 = 1;
/// Columns of a change; the format knows fourteen.
const COLUMNS_MAX: u64 = 32;

/// The parts of one change chunk, borrowed from its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk<'a> {
    pub(super) deps: Vec<[u8; 32]>,
    pub(super) actor: &'a [u8],
    pub(super) seq: u64,
    pub(super) start_op: u64,
    pub(super) time: i64,
    pub(super) message: &'a [u8],
    pub(super) others: Vec<&'a [u8]>,
    /// Specification and length of each column, in the order of the data.
    pub(super) columns: Vec<(u64, usize)>,
    pub(super) data: &'a [u8],
    pub(super) extra: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// The parts and the hash of `bytes`, if they are exactly one change chunk with a right
    /// checksum. Not every such chunk is canonical: see [`Chunk::write`].
    pub(super) fn read(bytes: &'a [u8]) -> Option<(Self, [u8; 32])> {
        let mut reader = Reader::new(bytes);
        let magic: [u8; 4] = reader.array()?;
        let checksum: [u8; 4] = reader.array()?;
        let kind = reader.byte()?;
        let length = reader.length()?;
        if magic != MAGIC || kind != TYPE_CHANGE || length != reader.remaining() {
            return None;
        }
        let body = reader.rest();
        let hash = hash_body(body);
        if !hash.starts_with(&checksum) {
            return None;
        }
        Some((Self::read_body(body)?, hash))
    }

    fn read_body(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let mut deps = Vec::new();
        for _ in 0..reader.length()? {
            deps.push(reader.array()?);
        }
        let actor = reader.prefixed()?;
        let seq = reader.unsigned()?;
        let start_op = reader.unsigned()?;
        let time = reader.signed()?;
        let message = reader.prefixed()?;
        let mut others = Vec::new();
        for _ in 0..reader.length()? {
            others.push(reader.prefixed()?);
        }
        let count = reader.unsigned()?;
        if count > COLUMNS_MAX {
            return None;
        }
        let mut columns = Vec::new();
        let mut total = 0_usize;
        for _ in 0..count {
            let specification = reader.unsigned()?;
            let length = reader.length()?;
            total = total.checked_add(length)?;
            columns.push((specification, length));
        }
        let data = reader.take(total)?;
        let extra = reader.rest();
        Some(Self {
            deps,
            actor,
            seq,
            start_op,
            time,
            message,
            others,
            columns,
            data,
            extra,
        })
    }

    /// The bytes of the chunk. Equal to what was read if that had shortest numbers throughout.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.data.len() + 32 * self.deps.len() + 128);
        put_length(&mut body, self.deps.len());
        for dep in &self.deps {
            body.extend_from_slice(dep);
        }
        put_prefixed(&mut body, self.actor);
        put_unsigned(&mut body, self.seq);
        put_unsigned(&mut body, self.start_op);
        put_signed(&mut body, self.time);
        put_prefixed(&mut body, self.message);
        put_length(&mut body, self.others.len());
        for actor in &self.others {
            put_prefixed(&mut body, actor);
        }
        put_length(&mut body, self.columns.len());
        for (specification, length) in &self.columns {
            put_unsigned(&mut body, *specification);
            put_length(&mut body, *length);
        }
        body.extend_from_slice(self.data);
        body.extend_from_slice(self.extra);
        wrap(&body)
    }

    /// The bytes of the column with this specification; empty if there is none.
    pub(super) fn column(&self, specification: u64) -> &'a [u8] {
        let mut reader = Reader::new(self.data);
        for (candidate, length) in &self.columns {
            let bytes = reader.take(*length).unwrap_or_default();
            if *candidate == specification {
                return bytes;
            }
        }
        &[]
    }
}

/// Puts a header before the body of a change.
fn wrap(body: &[u8]) -> Vec<u8> {
    let hash = hash_body(body);
    let mut bytes = Vec::with_capacity(body.len() + 19);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend(hash.iter().take(4));
    bytes.push(TYPE_CHANGE);
    put_length(&mut bytes, body.len());
    bytes.extend_from_slice(body);
    bytes
}

/// The hash that names a change, if the bytes are one.
pub(crate) fn change_hash(bytes: &[u8]) -> Option<[u8; 32]> {
    Chunk::read(bytes).map(|(_, hash)| hash)
}

fn hash_body(body: &[u8]) -> [u8; 32] {
    let mut head = vec![TYPE_CHANGE];
    put_length(&mut head, body.len());
    Sha256::new()
        .chain_update(&head)
        .chain_update(body)
        .finalize()
        .into()
}

fn put_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}
