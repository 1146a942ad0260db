//! A payload before compression.

mod words;

use std::collections::BTreeMap;

use self::words::{get_message, put_message};
use crate::document::bound;
use crate::document::chunk::Chunk;
use crate::document::error::CodecError;
use crate::document::genesis::Genesis;
use crate::document::id::MessageId;
use crate::document::shape::MessageChange;
use crate::document::varint::{Reader, put_length, put_signed, put_unsigned};

/// How the content of a change is carried.
const KIND_MESSAGES: u8 = 0;
const KIND_PARTS: u8 = 1;
const KIND_VERBATIM: u8 = 2;
const KIND_MASK: u8 = 3;
/// The sequence number is not the one after the change before.
const TAG_SEQ: u8 = 4;
/// The operations do not start after those of the change before.
const TAG_START: u8 = 8;
/// The dependencies are not exactly the change before.
const TAG_DEPS: u8 = 16;
/// The columns are not those of the last change carried in parts.
const TAG_COLUMNS: u8 = 32;

/// What the next change is compared with.
#[derive(Default)]
struct Before {
    seq: u64,
    max_op: u64,
    hashes: Vec<[u8; 32]>,
    numbers: BTreeMap<[u8; 32], usize>,
    specifications: Vec<u64>,
    id: Option<MessageId>,
}

impl Before {
    fn follow(&mut self, hash: [u8; 32], seq: u64, max_op: u64) {
        self.seq = seq;
        self.max_op = max_op;
        self.numbers.insert(hash, self.hashes.len());
        self.hashes.push(hash);
    }
}

struct Writer<'a> {
    genesis: &'a Genesis,
    actor: &'a [u8; 16],
    before: Before,
    facts: Vec<u8>,
    words: Vec<u8>,
}

pub(super) fn encode(genesis: &Genesis, actor: &[u8; 16], changes: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut writer = Writer {
        genesis,
        actor,
        before: Before::default(),
        facts: Vec::new(),
        words: Vec::new(),
    };
    for change in changes {
        writer.put_change(change.as_ref());
    }
    let mut plain = Vec::with_capacity(writer.facts.len() + writer.words.len() + 8);
    put_length(&mut plain, changes.len());
    put_length(&mut plain, writer.facts.len());
    plain.append(&mut writer.facts);
    plain.append(&mut writer.words);
    plain
}

impl Writer<'_> {
    fn put_change(&mut self, bytes: &[u8]) {
        let own = Chunk::read(bytes).filter(|(chunk, _)| chunk.actor == self.actor);
        let Some((chunk, hash)) = own else {
            return self.put_verbatim(bytes);
        };
        if let Some(change) = MessageChange::read(&chunk, self.genesis) {
            self.put_head(KIND_MESSAGES, &chunk);
            self.put_messages(&change);
            self.before.follow(hash, change.seq, change.max_op());
        } else if chunk.write() == bytes {
            self.put_head(KIND_PARTS, &chunk);
            self.put_parts(&chunk);
            // The number of operations takes decoding; the start stands in for the last.
            self.before.follow(hash, chunk.seq, chunk.start_op);
        } else {
            self.put_verbatim(bytes);
        }
    }

    fn put_verbatim(&mut self, bytes: &[u8]) {
        self.facts.push(KIND_VERBATIM);
        put_length(&mut self.facts, bytes.len());
        self.words.extend_from_slice(bytes);
    }

    fn put_head(&mut self, kind: u8, chunk: &Chunk<'_>) {
        let seq_follows = self.before.seq.checked_add(1) == Some(chunk.seq);
        let start_follows = self.before.max_op.checked_add(1) == Some(chunk.start_op);
        let last = self.before.hashes.last();
        let deps_follow = last.is_some_and(|last| chunk.deps == [*last]);
        let specifications: Vec<u64> = chunk.columns.iter().map(|(spec, _)| *spec).collect();
        let columns_differ = kind == KIND_PARTS && specifications != self.before.specifications;
        let mut tag = kind;
        for (flag, set) in [
            (TAG_SEQ, !seq_follows),
            (TAG_START, !start_follows),
            (TAG_DEPS, !deps_follow),
            (TAG_COLUMNS, columns_differ),
        ] {
            tag |= if set { flag } else { 0 };
        }
        self.facts.push(tag);
        if !seq_follows {
            put_unsigned(&mut self.facts, chunk.seq);
        }
        if !start_follows {
            put_unsigned(&mut self.facts, chunk.start_op);
        }
        if !deps_follow {
            self.put_deps(chunk);
        }
        if columns_differ {
            put_length(&mut self.facts, specifications.len());
            for specification in &specifications {
                put_unsigned(&mut self.facts, *specification);
            }
            self.before.specifications = specifications;
        }
    }

    /// A change of this payload by how far back it is, any other by its hash.
    fn put_deps(&mut self, chunk: &Chunk<'_>) {
        put_length(&mut self.facts, chunk.deps.len());
        for dep in &chunk.deps {
            match self.before.numbers.get(dep) {
                Some(number) => put_length(&mut self.facts, self.before.hashes.len() - number),
                None => {
                    self.facts.push(0);
                    self.facts.extend_from_slice(dep);
                }
            }
        }
    }

    fn put_messages(&mut self, change: &MessageChange) {
        put_length(&mut self.facts, change.messages.len());
        for message in &change.messages {
            put_message(&mut self.facts, &mut self.words, self.before.id, message);
            self.before.id = Some(message.id);
        }
    }

    fn put_parts(&mut self, chunk: &Chunk<'_>) {
        put_signed(&mut self.facts, chunk.time);
        put_length(&mut self.facts, chunk.message.len());
        self.words.extend_from_slice(chunk.message);
        put_length(&mut self.facts, chunk.others.len());
        for other in &chunk.others {
            // Nobody's actor is empty, so zero stands for the one that nearly every change names.
            let known = other == self.genesis.actor();
            let other: &[u8] = if known { &[] } else { other };
            put_length(&mut self.facts, other.len());
            self.facts.extend_from_slice(other);
        }
        for (_, length) in &chunk.columns {
            put_length(&mut self.facts, *length);
        }
        self.words.extend_from_slice(chunk.data);
        put_length(&mut self.facts, chunk.extra.len());
        self.words.extend_from_slice(chunk.extra);
    }
}

struct Parser<'a> {
    genesis: &'a Genesis,
    actor: &'a [u8; 16],
    before: Before,
    facts: Reader<'a>,
    words: Reader<'a>,
}

pub(super) fn decode(
    genesis: &Genesis,
    actor: &[u8; 16],
    plain: &[u8],
) -> Result<Vec<Vec<u8>>, CodecError> {
    let mut reader = Reader::new(plain);
    let count = reader.length().ok_or(CodecError::Malformed)?;
    if count > bound::PAYLOAD_CHANGES_MAX {
        return Err(CodecError::TooLarge);
    }
    let facts = Reader::new(reader.prefixed().ok_or(CodecError::Malformed)?);
    let mut parser = Parser {
        genesis,
        actor,
        before: Before::default(),
        facts,
        words: reader,
    };
    let mut changes = Vec::new();
    let mut total = 0_usize;
    for _ in 0..count {
        let change = parser.get_change().ok_or(CodecError::Malformed)?;
        total = total.saturating_add(change.len());
        if total > bound::PAYLOAD_BYTES_MAX {
            return Err(CodecError::TooLarge);
        }
        changes.push(change);
    }
    if parser.facts.is_empty() && parser.words.is_empty() {
        Ok(changes)
    } else {
        Err(CodecError::Malformed)
    }
}

struct Head {
    deps: Vec<[u8; 32]>,
    seq: u64,
    start_op: u64,
}

impl<'a> Parser<'a> {
    fn get_change(&mut self) -> Option<Vec<u8>> {
        let tag = self.facts.byte()?;
        match tag & KIND_MASK {
            KIND_MESSAGES => self.get_messages(tag),
            KIND_PARTS => self.get_parts(tag),
            KIND_VERBATIM if tag == KIND_VERBATIM => {
                let length = usize::try_from(self.facts.unsigned()?).ok()?;
                self.words.take(length).map(<[u8]>::to_vec)
            }
            _ => None,
        }
    }

    fn get_head(&mut self, tag: u8) -> Option<Head> {
        let seq = match tag & TAG_SEQ {
            0 => self.before.seq.checked_add(1)?,
            _ => self.facts.unsigned()?,
        };
        let start_op = match tag & TAG_START {
            0 => self.before.max_op.checked_add(1)?,
            _ => self.facts.unsigned()?,
        };
        let deps = match tag & TAG_DEPS {
            0 => vec![*self.before.hashes.last()?],
            _ => self.get_deps()?,
        };
        if tag & TAG_COLUMNS != 0 {
            let count = self.facts.length()?;
            self.before.specifications = (0..count)
                .map(|_| self.facts.unsigned())
                .collect::<Option<_>>()?;
        }
        Some(Head {
            deps,
            seq,
            start_op,
        })
    }

    fn get_deps(&mut self) -> Option<Vec<[u8; 32]>> {
        let count = self.facts.length()?;
        (0..count)
            .map(|_| match usize::try_from(self.facts.unsigned()?).ok()? {
                0 => self.facts.array(),
                back => {
                    let number = self.before.hashes.len().checked_sub(back)?;
                    self.before.hashes.get(number).copied()
                }
            })
            .collect()
    }

    fn get_messages(&mut self, tag: u8) -> Option<Vec<u8>> {
        let head = self.get_head(tag)?;
        let count = self.facts.length()?;
        if count > bound::MESSAGES_PER_CHANGE_MAX {
            return None;
        }
        let mut messages = Vec::with_capacity(count);
        for _ in 0..count {
            let message = get_message(&mut self.facts, &mut self.words, self.before.id)?;
            self.before.id = Some(message.id);
            messages.push(message);
        }
        let Head {
            deps,
            seq,
            start_op,
        } = head;
        let change = MessageChange {
            deps,
            actor: *self.actor,
            seq,
            start_op,
            messages,
        };
        let bytes = change.write(self.genesis);
        let (_, hash) = Chunk::read(&bytes)?;
        self.before.follow(hash, seq, change.max_op());
        Some(bytes)
    }

    fn get_parts(&mut self, tag: u8) -> Option<Vec<u8>> {
        let head = self.get_head(tag)?;
        let time = self.facts.signed()?;
        let message = usize::try_from(self.facts.unsigned()?).ok()?;
        let message = self.words.take(message)?;
        let others = self.facts.length()?;
        let others: Vec<&[u8]> = (0..others)
            .map(|_| {
                let other = self.facts.prefixed()?;
                Some(if other.is_empty() {
                    self.genesis.actor().as_slice()
                } else {
                    other
                })
            })
            .collect::<Option<_>>()?;
        let mut columns = Vec::with_capacity(self.before.specifications.len());
        let mut total = 0_usize;
        for specification in &self.before.specifications {
            let length = usize::try_from(self.facts.unsigned()?).ok()?;
            total = total.checked_add(length)?;
            columns.push((*specification, length));
        }
        let data = self.words.take(total)?;
        let extra = usize::try_from(self.facts.unsigned()?).ok()?;
        let extra = self.words.take(extra)?;
        let Head {
            deps,
            seq,
            start_op,
        } = head;
        let chunk = Chunk {
            deps,
            actor: self.actor,
            seq,
            start_op,
            time,
            message,
            others,
            columns,
            data,
            extra,
        };
        let bytes = chunk.write();
        let (_, hash) = Chunk::read(&bytes)?;
        self.before.follow(hash, seq, start_op);
        Some(bytes)
    }
}
