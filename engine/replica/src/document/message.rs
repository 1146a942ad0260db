//! What a message holds, before and after it is in a document.

use std::fmt;

use super::bound;
use super::error::Refusal;
use super::id::MessageId;

/// What a message is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MessageKind {
    /// Words of a person.
    #[default]
    Text,
    /// A notice by a program.
    System,
}

/// Where an imported message came from. Nobody vouches for it but the device that imported it.
#[derive(Clone, PartialEq, Eq)]
pub struct Origin {
    /// Name of the author in the imported source.
    pub author: String,
    /// Milliseconds since the epoch in the imported source.
    pub time_ms: i64,
}

/// A message as its author writes it. The author is not stored in it: the actor of the change that
/// holds it says who wrote it.
#[derive(Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// Name and time.
    pub id: MessageId,
    /// The words, at most [`bound::TEXT_BYTES_MAX`] bytes.
    pub text: String,
    /// The message that this one answers; it must be older.
    pub reply_to: Option<MessageId>,
    /// What the message is for.
    pub kind: MessageKind,
    /// Set on imported messages only.
    pub origin: Option<Origin>,
}

impl NewMessage {
    /// Checks what any device can check of a message by itself.
    pub(super) fn check(&self, author_tag: Option<[u8; 8]>) -> Result<(), Refusal> {
        if author_tag.is_some_and(|tag| tag != self.id.author_tag()) {
            return Err(Refusal::ForeignMessage);
        }
        if self.text.len() > bound::TEXT_BYTES_MAX {
            return Err(Refusal::MessageBounds);
        }
        if let Some(origin) = &self.origin {
            let ms = origin.time_ms;
            if origin.author.len() > bound::ORIGIN_BYTES_MAX
                || !(-bound::ORIGIN_MS_MAX..=bound::ORIGIN_MS_MAX).contains(&ms)
            {
                return Err(Refusal::MessageBounds);
            }
        }
        match self.reply_to {
            Some(reply) if reply.time() >= self.id.time() => Err(Refusal::ReplyOrder),
            Some(_) | None => Ok(()),
        }
    }
}

// Words of people reach no log line, so `Debug` shows sizes.
impl fmt::Debug for NewMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewMessage")
            .field("id", &self.id)
            .field("text_bytes", &self.text.len())
            .field("reply_to", &self.reply_to)
            .field("kind", &self.kind)
            .field("origin", &self.origin.is_some())
            .finish()
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").finish_non_exhaustive()
    }
}
