//! The one shape of a change that holds messages, read and written exactly.
//!
//! Per message, in this order: make a map under the id in its shard, put `text`, and where set
//! `reply` (16 bytes), `kind` (1 for a system notice), `by` and `at`. Nothing is overwritten, so no
//! operation has predecessors.
//!
//! [`MessageChange::read`] accepts a change only if [`MessageChange::write`] gives back the same
//! bytes. That makes it a proof: such a change is canonical, touches nothing but its own messages
//! and needs no further look at its operations. It costs a tenth of decoding by Automerge.

use super::bound;
use super::chunk::Chunk;
use super::column::{put_runs, read_runs};
use super::genesis::Genesis;
use super::id::MessageId;
use super::message::{MessageKind, NewMessage, Origin};
use super::varint::{Reader, put_length, put_signed, put_unsigned, signed_length};

pub(super) const TEXT: &str = "text";
pub(super) const REPLY: &str = "reply";
pub(super) const KIND: &str = "kind";
pub(super) const BY: &str = "by";
pub(super) const AT: &str = "at";
/// Value of `kind` for a system notice; without the field a message is text.
pub(super) const KIND_SYSTEM: u64 = 1;

const OPS_PER_MESSAGE_MAX: usize = 6;
const OPS_MAX: usize = OPS_PER_MESSAGE_MAX * bound::MESSAGES_PER_CHANGE_MAX;

const OBJECT_ACTOR: u64 = 0x01;
const OBJECT_COUNTER: u64 = 0x02;
const KEY: u64 = 0x15;
const INSERT: u64 = 0x34;
const ACTION: u64 = 0x42;
const VALUE_META: u64 = 0x56;
const VALUE: u64 = 0x57;
const PRED_COUNT: u64 = 0x70;

const ACTION_MAKE_MAP: u64 = 0;
const ACTION_PUT: u64 = 1;

const CODE_UNSIGNED: u64 = 3;
const CODE_TEXT: u64 = 6;
const CODE_BYTES: u64 = 7;
const CODE_TIMESTAMP: u64 = 9;

/// A change that holds messages and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MessageChange {
    pub(super) deps: Vec<[u8; 32]>,
    pub(super) actor: [u8; 16],
    pub(super) seq: u64,
    pub(super) start_op: u64,
    pub(super) messages: Vec<NewMessage>,
}

impl MessageChange {
    /// The change that `chunk` is, if it is exactly of this shape.
    pub(super) fn read(chunk: &Chunk<'_>, genesis: &Genesis) -> Option<Self> {
        let change = Self {
            deps: chunk.deps.clone(),
            actor: chunk.actor.try_into().ok()?,
            seq: chunk.seq,
            start_op: chunk.start_op,
            messages: read_messages(chunk)?,
        };
        let columns = Columns::of(&change);
        (columns.chunk(&change, &[genesis.actor().as_slice()]) == *chunk).then_some(change)
    }

    /// The bytes of the change.
    pub(super) fn write(&self, genesis: &Genesis) -> Vec<u8> {
        Columns::of(self)
            .chunk(self, &[genesis.actor().as_slice()])
            .write()
    }

    /// The counter of the last operation.
    pub(super) fn max_op(&self) -> u64 {
        let count: u64 = self.messages.iter().map(ops).sum();
        self.start_op.saturating_add(count.saturating_sub(1))
    }

    /// Each message with the operation that makes it.
    pub(super) fn placed(&self) -> impl Iterator<Item = (u64, &NewMessage)> {
        self.messages.iter().scan(self.start_op, |next, message| {
            let op = *next;
            *next = next.saturating_add(ops(message));
            Some((op, message))
        })
    }
}

/// Operations that a message takes.
pub(super) fn ops(message: &NewMessage) -> u64 {
    2 + u64::from(message.reply_to.is_some())
        + u64::from(message.kind == MessageKind::System)
        + if message.origin.is_some() { 2 } else { 0 }
}

/// Column data of a change, and where each column ends.
struct Columns {
    layout: Vec<(u64, usize)>,
    data: Vec<u8>,
}

impl Columns {
    fn of(change: &MessageChange) -> Self {
        let mut rows = Rows::default();
        let digits: Vec<[u8; 32]> = change
            .messages
            .iter()
            .map(|message| message.id.digits())
            .collect();
        for ((op, message), key) in change.placed().zip(&digits) {
            rows.put_message(op, message, key);
        }
        let mut columns = Self {
            layout: Vec::with_capacity(8),
            data: Vec::new(),
        };
        columns.add(OBJECT_ACTOR, |out| {
            put_runs(out, &rows.object_actor, put_number)
        });
        columns.add(OBJECT_COUNTER, |out| {
            put_runs(out, &rows.object_counter, put_number)
        });
        columns.add(KEY, |out| {
            put_runs(out, &rows.key, |out, key| {
                put_length(out, key.len());
                out.extend_from_slice(key);
            });
        });
        columns.add(INSERT, |out| put_length(out, rows.key.len()));
        columns.add(ACTION, |out| put_runs(out, &rows.action, put_number));
        columns.add(VALUE_META, |out| {
            put_runs(out, &rows.value_meta, put_number)
        });
        columns.add(VALUE, |out| out.append(&mut rows.value));
        columns.add(PRED_COUNT, |out| {
            put_signed(out, i64::try_from(rows.key.len()).unwrap_or(i64::MAX));
            out.push(0);
        });
        columns
    }

    /// Columns without data are left out.
    fn add(&mut self, specification: u64, fill: impl FnOnce(&mut Vec<u8>)) {
        let before = self.data.len();
        fill(&mut self.data);
        let length = self.data.len() - before;
        if length > 0 {
            self.layout.push((specification, length));
        }
    }

    fn chunk<'a>(&'a self, change: &'a MessageChange, others: &[&'a [u8]]) -> Chunk<'a> {
        Chunk {
            deps: change.deps.clone(),
            actor: &change.actor,
            seq: change.seq,
            start_op: change.start_op,
            time: 0,
            message: &[],
            others: others.to_vec(),
            columns: self.layout.clone(),
            data: &self.data,
            extra: &[],
        }
    }
}

fn put_number(out: &mut Vec<u8>, value: &u64) {
    put_unsigned(out, *value);
}

/// Operations, column by column.
#[derive(Default)]
struct Rows<'a> {
    object_actor: Vec<u64>,
    object_counter: Vec<u64>,
    key: Vec<&'a [u8]>,
    action: Vec<u64>,
    value_meta: Vec<u64>,
    value: Vec<u8>,
}

impl<'a> Rows<'a> {
    fn put_message(&mut self, op: u64, message: &'a NewMessage, key: &'a [u8]) {
        self.put(
            1,
            Genesis::shard_op(&message.id),
            key,
            ACTION_MAKE_MAP,
            0,
            &[],
        );
        self.put_field(op, TEXT, CODE_TEXT, message.text.as_bytes());
        if let Some(reply) = &message.reply_to {
            self.put_field(op, REPLY, CODE_BYTES, reply.as_bytes());
        }
        if message.kind == MessageKind::System {
            let mut number = Vec::with_capacity(1);
            put_unsigned(&mut number, KIND_SYSTEM);
            self.put_field(op, KIND, CODE_UNSIGNED, &number);
        }
        if let Some(origin) = &message.origin {
            self.put_field(op, BY, CODE_TEXT, origin.author.as_bytes());
            let mut number = Vec::with_capacity(signed_length(origin.time_ms));
            put_signed(&mut number, origin.time_ms);
            self.put_field(op, AT, CODE_TIMESTAMP, &number);
        }
    }

    fn put_field(&mut self, object: u64, key: &'static str, code: u64, value: &[u8]) {
        self.put(0, object, key.as_bytes(), ACTION_PUT, code, value);
    }

    fn put(
        &mut self,
        actor: u64,
        object: u64,
        key: &'a [u8],
        action: u64,
        code: u64,
        value: &[u8],
    ) {
        self.object_actor.push(actor);
        self.object_counter.push(object);
        self.key.push(key);
        self.action.push(action);
        self.value_meta
            .push((u64::try_from(value.len()).unwrap_or_default() << 4) | code);
        self.value.extend_from_slice(value);
    }
}

/// The messages that the columns seem to hold; the caller compares.
fn read_messages(chunk: &Chunk<'_>) -> Option<Vec<NewMessage>> {
    let number = Reader::unsigned;
    let actions = read_runs(chunk.column(ACTION), OPS_MAX, number)?;
    let keys = read_runs(chunk.column(KEY), OPS_MAX, Reader::prefixed)?;
    let meta = read_runs(chunk.column(VALUE_META), OPS_MAX, number)?;
    let mut values = Reader::new(chunk.column(VALUE));
    let mut messages: Vec<NewMessage> = Vec::new();
    for ((action, key), meta) in actions.into_iter().zip(keys).zip(meta) {
        if action == ACTION_MAKE_MAP {
            if messages.len() == bound::MESSAGES_PER_CHANGE_MAX {
                return None;
            }
            messages.push(NewMessage {
                id: MessageId::from_digits(key).ok()?,
                text: String::new(),
                reply_to: None,
                kind: MessageKind::Text,
                origin: None,
            });
        } else {
            let value = values.take(usize::try_from(meta >> 4).ok()?)?;
            read_field(messages.last_mut()?, key, value)?;
        }
    }
    (!messages.is_empty()).then_some(messages)
}

fn read_field(message: &mut NewMessage, key: &[u8], value: &[u8]) -> Option<()> {
    let text = || std::str::from_utf8(value).ok().map(str::to_owned);
    if key == TEXT.as_bytes() {
        message.text = text()?;
    } else if key == REPLY.as_bytes() {
        message.reply_to = Some(MessageId::from_bytes(value.try_into().ok()?).ok()?);
    } else if key == KIND.as_bytes() {
        message.kind = MessageKind::System;
    } else if key == BY.as_bytes() {
        message.origin = Some(Origin {
            author: text()?,
            time_ms: 0,
        });
    } else if key == AT.as_bytes() {
        message.origin.as_mut()?.time_ms = Reader::new(value).signed()?;
    } else {
        return None;
    }
    Some(())
}
