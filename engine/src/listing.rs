//! A page of messages, and what may be missing from it because it is not on this device.

use sheaf_replica::{Away, ConversationInfo, MessageId, MessageRecord};

use crate::conversation::{Conversation, Page};
use crate::engine::EngineError;

/// A page of messages.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Listed {
    /// Those that are here, in the order that every device shows.
    pub messages: Vec<MessageRecord>,
    /// Segments that are not on this device and may hold messages of this page, the newest first, and
    /// why they are not here. Of a segment that was never here it is taken that its messages come
    /// after those of the segments before it, and before those of the segments after it.
    pub missing: Vec<(u32, Away)>,
}

/// Which part of the order of messages a page covers, ends excluded, and which segments.
struct Covered {
    after: Option<MessageId>,
    before: Option<MessageId>,
    segments: std::ops::RangeInclusive<u32>,
}

impl Conversation {
    /// Lists messages as [`messages`](Self::messages) does, and says what may be missing from the page:
    /// what was dropped here, or has not come yet. [`fetch`](Self::fetch) brings it.
    ///
    /// # Errors
    /// [`EngineError`] if there is no such conversation or the store cannot be read.
    pub async fn list(&self, page: Page) -> Result<Listed, EngineError> {
        // What comes or goes between the looks is taken for missing.
        let mut away = self.away().await?;
        let messages = self.messages(page)?;
        for (segment, gone) in self.away().await? {
            if !away.iter().any(|(known, _)| *known == segment) {
                away.push((segment, gone));
            }
        }
        let covered = self.covered(page, &messages)?;
        let mut missing: Vec<(u32, Away)> = away
            .into_iter()
            .filter(|(segment, gone)| covered.may_hold(*segment, gone.span))
            .map(|(segment, gone)| (segment, gone.why))
            .collect();
        missing.sort_unstable_by_key(|(segment, _)| std::cmp::Reverse(*segment));
        Ok(Listed { messages, missing })
    }

    async fn away(&self) -> Result<Vec<(u32, Gone)>, EngineError> {
        let info = self.engine().conversation_info(self.id()).await?;
        Ok(info.as_ref().map(gone).unwrap_or_default())
    }

    fn covered(&self, page: Page, messages: &[MessageRecord]) -> Result<Covered, EngineError> {
        let full = messages.len() >= page.limit;
        let (first, last) = match (messages.first(), messages.last()) {
            (Some(first), Some(last)) if full => (Some(first.message), Some(last.message)),
            _ => (None, None),
        };
        let segments = || messages.iter().map(|message| message.segment);
        let (oldest, newest) = match full {
            true => (segments().min(), segments().max()),
            false => (None, None),
        };
        let (after, before) = match page.after {
            Some(_) => (page.after, last.or(page.before)),
            None => (first, page.before),
        };
        let (from, to) = match page.after {
            Some(cursor) => (self.segment_of(cursor)?, newest),
            None => (oldest, None),
        };
        let bound = match page.before {
            Some(cursor) => self.segment_of(cursor)?,
            None => None,
        };
        Ok(Covered {
            after,
            before,
            segments: from.unwrap_or(0)..=to.or(bound).unwrap_or(u32::MAX),
        })
    }

    /// Which segment holds a message that is listed here.
    fn segment_of(&self, message: MessageId) -> Result<Option<u32>, EngineError> {
        let known = self.message(message)?;
        Ok(known.map(|known| known.segment))
    }
}

/// A segment that is not here.
#[derive(Debug, Clone, Copy)]
struct Gone {
    why: Away,
    span: Option<(MessageId, MessageId)>,
}

fn gone(info: &ConversationInfo) -> Vec<(u32, Gone)> {
    let span = |segment: u32| {
        let mut spans = info.spans.iter();
        let span = spans.find(|(of, ..)| *of == segment)?;
        Some((span.1, span.2))
    };
    let away = info.away.iter();
    let away = away.map(|(segment, why)| {
        let span = span(*segment);
        (*segment, Gone { why: *why, span })
    });
    away.collect()
}

impl Covered {
    fn may_hold(&self, segment: u32, span: Option<(MessageId, MessageId)>) -> bool {
        match span {
            Some((oldest, newest)) => {
                self.after.is_none_or(|after| newest > after)
                    && self.before.is_none_or(|before| oldest < before)
            }
            None => self.segments.contains(&segment),
        }
    }
}

#[cfg(test)]
mod tests;
