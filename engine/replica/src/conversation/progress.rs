//! How far the history of one conversation has come.

use super::Conversation;
use crate::limits;
use crate::record::Away;

/// What is here of one conversation, and what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Part {
    /// The newest messages are here, as far as documents are concerned.
    pub(crate) recent: bool,
    pub(crate) segments: (u64, u64),
    pub(crate) messages: (u64, u64),
    /// Items that the relays gave of a snapshot's frontier since they are read from the beginning.
    pub(crate) items: Option<(u64, u64)>,
    /// Segments that are beyond what is kept.
    pub(crate) dropped: u64,
}

impl Conversation {
    pub(crate) fn part(&self) -> Part {
        let mut part = Part {
            items: self.reread_items(),
            ..Part::default()
        };
        let on_its_way = self.fetching.so_far();
        // Messages newer than the newest segment that is not here.
        let mut newest = 0_u64;
        let mut whole = true;
        for (segment, messages, heads) in self.segments.all() {
            // One that is open for what comes next.
            if messages == 0 && heads.is_empty() {
                continue;
            }
            let messages = u64::from(messages);
            let why = self.segments.gone(segment).map(|gone| gone.why);
            if matches!(why, Some(Away::Dropped | Away::Forgotten)) {
                part.dropped = part.dropped.saturating_add(1);
                continue;
            }
            let so_far = on_its_way.filter(|(of, _)| *of == segment);
            // Messages of a damaged segment stay listed.
            let here = match why {
                Some(Away::Unread) => {
                    so_far.map_or(0, |(_, so_far)| u64::from(so_far).min(messages))
                }
                Some(Away::Dropped | Away::Forgotten | Away::Damaged) | None => messages,
            };
            part.messages.0 = part.messages.0.saturating_add(here);
            part.messages.1 = part.messages.1.saturating_add(messages);
            part.segments.1 = part.segments.1.saturating_add(1);
            if why.is_none() {
                part.segments.0 = part.segments.0.saturating_add(1);
            }
            if why == Some(Away::Unread) {
                (newest, whole) = (0, false);
            } else {
                newest = newest.saturating_add(messages);
            }
        }
        part.recent = whole || newest >= limits::RECENT_MESSAGES;
        part
    }
}
