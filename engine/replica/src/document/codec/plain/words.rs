//! Messages in a payload: names and times as differences, texts apart.

use crate::document::id::{HybridTime, MessageId};
use crate::document::message::{MessageKind, NewMessage, Origin};
use crate::document::varint::{Reader, put_length, put_signed, put_unsigned};

const HAS_REPLY: u8 = 1;
const IS_SYSTEM: u8 = 2;
const HAS_ORIGIN: u8 = 4;
/// The author's tag is not that of the message before.
const HAS_TAG: u8 = 8;
/// The counter within the millisecond is not zero.
const HAS_COUNTER: u8 = 16;
/// The answered message has the author's own tag.
const REPLY_TO_SELF: u8 = 32;

/// Appends a message; `before` is the id of the one before it in the payload.
pub(super) fn put_message(
    facts: &mut Vec<u8>,
    words: &mut Vec<u8>,
    before: Option<MessageId>,
    message: &NewMessage,
) {
    let tag = message.id.author_tag();
    let time = message.id.time();
    let same_tag = before.is_some_and(|before| before.author_tag() == tag);
    let own_reply = message
        .reply_to
        .is_some_and(|reply| reply.author_tag() == tag);
    let mut flags = 0;
    for (flag, set) in [
        (HAS_REPLY, message.reply_to.is_some()),
        (IS_SYSTEM, message.kind == MessageKind::System),
        (HAS_ORIGIN, message.origin.is_some()),
        (HAS_TAG, !same_tag),
        (HAS_COUNTER, time.counter() != 0),
        (REPLY_TO_SELF, own_reply),
    ] {
        flags |= if set { flag } else { 0 };
    }
    facts.push(flags);
    put_signed(facts, difference(ms_of(before), time.ms()));
    if time.counter() != 0 {
        put_unsigned(facts, u64::from(time.counter()));
    }
    if !same_tag {
        facts.extend_from_slice(&tag);
    }
    if let Some(reply) = &message.reply_to {
        put_signed(facts, difference(time.ms(), reply.time().ms()));
        put_unsigned(facts, u64::from(reply.time().counter()));
        if !own_reply {
            facts.extend_from_slice(&reply.author_tag());
        }
    }
    if let Some(origin) = &message.origin {
        put_signed(facts, origin.time_ms);
        put_length(facts, origin.author.len());
        words.extend_from_slice(origin.author.as_bytes());
    }
    put_length(facts, message.text.len());
    words.extend_from_slice(message.text.as_bytes());
}

/// Reads what [`put_message`] wrote.
pub(super) fn get_message(
    facts: &mut Reader<'_>,
    words: &mut Reader<'_>,
    before: Option<MessageId>,
) -> Option<NewMessage> {
    let flags = facts.byte()?;
    let has = |flag: u8| flags & flag != 0;
    let ms = ms_of(before).checked_add_signed(facts.signed()?)?;
    let counter = if has(HAS_COUNTER) {
        facts.unsigned()?
    } else {
        0
    };
    let tag = if has(HAS_TAG) {
        facts.array()?
    } else {
        before?.author_tag()
    };
    let id = id(ms, counter, tag)?;
    let reply_to = if has(HAS_REPLY) {
        let reply_ms = ms.checked_add_signed(facts.signed()?)?;
        let counter = facts.unsigned()?;
        let tag = if has(REPLY_TO_SELF) {
            tag
        } else {
            facts.array()?
        };
        Some(self::id(reply_ms, counter, tag)?)
    } else {
        None
    };
    let origin = if has(HAS_ORIGIN) {
        let time_ms = facts.signed()?;
        Some(Origin {
            author: text(facts, words)?,
            time_ms,
        })
    } else {
        None
    };
    let kind = if has(IS_SYSTEM) {
        MessageKind::System
    } else {
        MessageKind::Text
    };
    Some(NewMessage {
        id,
        text: text(facts, words)?,
        reply_to,
        kind,
        origin,
    })
}

fn text(facts: &mut Reader<'_>, words: &mut Reader<'_>) -> Option<String> {
    let length = usize::try_from(facts.unsigned()?).ok()?;
    std::str::from_utf8(words.take(length)?)
        .ok()
        .map(str::to_owned)
}

fn id(ms: u64, counter: u64, tag: [u8; 8]) -> Option<MessageId> {
    let time = HybridTime::new(ms, u16::try_from(counter).ok()?)?;
    Some(MessageId::new(time, tag))
}

fn ms_of(id: Option<MessageId>) -> u64 {
    id.map_or(0, |id| id.time().ms())
}

/// Valid times are far below 2^63.
fn difference(from: u64, to: u64) -> i64 {
    to.checked_signed_diff(from).unwrap_or_default()
}
