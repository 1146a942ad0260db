//! How the first sync of a device, and any longer catch-up, goes on: a pure function of what is
//! known, and a reporter that says no more than is news.
//!
//! A number that nobody knows is `None`. What is known comes from the snapshot that a conversation
//! began at, from the linking device, and from the head of each topic that the relay stated.

use crate::limits;
use crate::time::Timestamp;

/// How many of something are done, and of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Count {
    /// So many are.
    pub done: u64,
    /// Of so many; `None` while nobody knows.
    pub of: Option<u64>,
}

/// What is being waited for, each stage after the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ProgressStage {
    /// Conversations that are not on this device yet.
    Conversations,
    /// The newest messages of each conversation.
    Recent,
    /// Older messages, as far as they are kept here.
    History,
    /// Nothing that is known to exist is missing. Without a connection there may be more.
    Done,
}

impl ProgressStage {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Conversations => "conversations",
            Self::Recent => "recent",
            Self::History => "history",
            Self::Done => "done",
        }
    }
}

/// Why progress begins, or stands at less than it was said to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProgressReason {
    /// It begins: the device is new.
    Begun,
    /// It goes on where an earlier run of the program stopped.
    Resumed,
    /// A connection came or went: what is to be read is counted from there.
    Connection,
    /// Another conversation came.
    Conversation,
    /// Relays are read from the beginning: no device gave what a snapshot states, or it was wrong.
    ReadAnew,
    /// Old history was dropped by policy.
    Dropped,
    /// More, or less, is missing than was known.
    Found,
}

impl ProgressReason {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Resumed => "resumed",
            Self::Connection => "connection",
            Self::Conversation => "conversation",
            Self::ReadAnew => "read_anew",
            Self::Dropped => "dropped",
            Self::Found => "found",
        }
    }
}

/// How far this device has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Progress {
    /// What is being waited for.
    pub stage: ProgressStage,
    /// Conversations on this device, of those that the linking device named. `None` where none did.
    pub conversations: Count,
    /// Conversations whose newest 50 messages, or all if there are fewer, are here.
    pub recent: Count,
    /// Segments that are here, of those that are not dropped by policy; their number is known where
    /// that of messages is.
    pub segments: Count,
    /// Messages that are here. How many there are is known once each conversation was read to its end
    /// or while what a snapshot states is on its way; the snapshot's figure is proved only once its
    /// segments are here.
    pub messages: Count,
    /// Items of snapshots' frontiers that relays gave, where they are read from the beginning.
    pub items: Count,
    /// Places of topics that were read since the connection came, of those that the connected relays
    /// said to have then. `None` until each topic was asked for.
    pub records: Count,
    /// A relay is connected: without one nothing goes on.
    pub connected: bool,
    /// Why it begins, or stands at less than was said before; `None` where it only went on.
    pub because: Option<ProgressReason>,
}

/// What is known at one time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Figures {
    pub(crate) connected: bool,
    /// Connections that came and went so far.
    pub(crate) links: u64,
    /// Invites may be waiting at a relay.
    pub(crate) inbox_open: bool,
    pub(crate) conversations: Count,
    /// Conversations whose newest messages are here.
    pub(crate) recent: u64,
    pub(crate) segments: (u64, u64),
    pub(crate) messages: Count,
    pub(crate) items: Count,
    pub(crate) records: Count,
    /// Records that are known to be still to read.
    pub(crate) left: u64,
    /// Topics of conversations that are not read to their end.
    pub(crate) topics_open: u64,
    /// Conversations whose relays are read from the beginning.
    pub(crate) reread: u64,
    /// Segments that are beyond what is kept.
    pub(crate) dropped: u64,
}

impl Figures {
    pub(crate) fn stage(&self) -> ProgressStage {
        if self.lacks_conversations() || self.inbox_open {
            ProgressStage::Conversations
        } else if self.recent < self.conversations.done {
            ProgressStage::Recent
        } else if self.segments.0 < self.segments.1 || self.topics_open > 0 {
            ProgressStage::History
        } else {
            ProgressStage::Done
        }
    }

    fn lacks_conversations(&self) -> bool {
        let of = self.conversations.of;
        of.is_some_and(|of| self.conversations.done < of)
    }

    /// It takes long enough for somebody to want to see it.
    fn is_long(&self) -> bool {
        self.lacks_conversations()
            || self.segments.0 < self.segments.1
            || self.left >= limits::CATCH_UP_RECORDS
    }

    pub(crate) fn progress(&self, because: Option<ProgressReason>) -> Progress {
        Progress {
            stage: self.stage(),
            conversations: self.conversations,
            recent: Count {
                done: self.recent,
                of: Some(self.conversations.done),
            },
            segments: Count {
                done: self.segments.0,
                of: self.messages.of.map(|_| self.segments.1),
            },
            messages: self.messages,
            items: self.items,
            records: self.records,
            connected: self.connected,
            because,
        }
    }

    /// Why it stands otherwise than at an earlier time.
    fn reason(&self, before: &Self) -> ProgressReason {
        if self.links != before.links {
            ProgressReason::Connection
        } else if self.conversations.done > before.conversations.done {
            ProgressReason::Conversation
        } else if self.reread > before.reread {
            ProgressReason::ReadAnew
        } else if self.dropped > before.dropped {
            ProgressReason::Dropped
        } else {
            ProgressReason::Found
        }
    }
}

impl Count {
    /// Fewer are done, or known to be.
    fn is_behind(&self, before: &Self) -> bool {
        let less = match (self.of, before.of) {
            (Some(now), Some(before)) => now < before,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        less || self.done < before.done
    }
}

impl Progress {
    fn is_behind(&self, before: &Self) -> bool {
        let counts = [
            (&self.conversations, &before.conversations),
            (&self.recent, &before.recent),
            (&self.segments, &before.segments),
            (&self.messages, &before.messages),
            (&self.items, &before.items),
            (&self.records, &before.records),
        ];
        self.stage < before.stage || counts.iter().any(|(now, before)| now.is_behind(before))
    }
}

/// Says what is news, and no more often than every [`limits::PROGRESS_MS`] where the stage is the
/// same.
#[derive(Debug, Default)]
pub(crate) struct Reporter {
    /// An earlier run stopped in the middle.
    resumed: bool,
    /// The device is new.
    new: bool,
    /// What was said last, since something began that is not done.
    said: Option<(Figures, Progress)>,
    said_at: Timestamp,
    looked_at: Timestamp,
}

impl Reporter {
    /// The device has this to go on from.
    pub(crate) fn restore(&mut self, figures: &Figures) {
        self.resumed = figures.stage() != ProgressStage::Done;
    }

    /// The device is new, and not the first one of its account.
    pub(crate) fn begin(&mut self) {
        self.new = true;
    }

    /// Whether it is worth looking; `moved` says that something happened that may change the stage.
    pub(crate) fn is_due(&self, now: Timestamp, moved: bool) -> bool {
        moved || self.looked_at.after_ms(limits::PROGRESS_MS) <= now
    }

    /// Why it has not been said yet that something is under way.
    pub(crate) fn pending(&self, figures: &Figures) -> Option<ProgressReason> {
        let under_way = figures.stage() != ProgressStage::Done;
        (self.said.is_none() && under_way && self.resumed).then_some(ProgressReason::Resumed)
    }

    /// What is to be said, if anything.
    pub(crate) fn look(&mut self, figures: &Figures, now: Timestamp) -> Option<Progress> {
        self.looked_at = now;
        let stage = figures.stage();
        let Some((before, said)) = &self.said else {
            if figures.connected && stage == ProgressStage::Done {
                (self.resumed, self.new) = (false, false);
            }
            let worth = self.resumed || self.new || figures.is_long();
            if !figures.connected || stage == ProgressStage::Done || !worth {
                return None;
            }
            let because = match (self.resumed, self.new) {
                (true, _) => ProgressReason::Resumed,
                (false, true) => ProgressReason::Begun,
                (false, false) => ProgressReason::Found,
            };
            let progress = figures.progress(Some(because));
            self.say(figures, progress, now);
            return Some(progress);
        };
        let progress = figures.progress(None);
        let same = Progress {
            because: None,
            ..*said
        };
        let soon = now < self.said_at.after_ms(limits::PROGRESS_MS);
        if progress == same || stage == said.stage && soon {
            return None;
        }
        let behind = progress.is_behind(said);
        let because = behind.then(|| figures.reason(before));
        let progress = figures.progress(because);
        self.say(figures, progress, now);
        Some(progress)
    }

    fn say(&mut self, figures: &Figures, progress: Progress, now: Timestamp) {
        (self.resumed, self.new) = (false, false);
        self.said_at = now;
        let done = progress.stage == ProgressStage::Done;
        self.said = (!done).then(|| (figures.clone(), progress));
    }
}

#[cfg(test)]
mod tests;
