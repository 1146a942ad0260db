//! How far this device has come with what it is to have.

use super::Replica;
use crate::conversation::Part;
use crate::io::Event;
use crate::progress::{Count, Figures, Progress};
use crate::record::{Kind, NamedRecord, Write};

/// Conversations that the linking device named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Named {
    count: u64,
    /// So many have come. It is not remembered any longer then.
    reached: bool,
}

impl Named {
    pub(super) fn restore(record: &NamedRecord) -> Self {
        Self {
            count: record.conversations,
            reached: false,
        }
    }
}

impl Replica {
    /// How far this device has come. Costs a look at every conversation.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let figures = self.figures();
        figures.progress(self.reporter.pending(&figures))
    }

    /// This device is a new one of its account, which has so many conversations.
    pub(super) fn begin_progress(&mut self, conversations: Option<u64>) {
        self.reporter.begin();
        let Some(conversations) = conversations else {
            return;
        };
        let record = NamedRecord { conversations };
        self.named = Some(Named::restore(&record));
        self.stage.write(Write::put(Kind::Named, &[], &[], &record));
    }

    /// Says what is news.
    pub(super) fn note_progress(&mut self) {
        let moved = self.stage.take_moved();
        if self.account.is_none() || !self.reporter.is_due(self.now, moved) {
            return;
        }
        let here = u64::try_from(self.conversations.len()).unwrap_or(u64::MAX);
        if let Some(named) = &mut self.named
            && !named.reached
            && here >= named.count
        {
            named.reached = true;
            self.stage.write(Write::delete(Kind::Named, &[], &[]));
        }
        let figures = self.figures();
        if let Some(progress) = self.reporter.look(&figures, self.now) {
            self.stage.notify(Event::Progress(progress));
        }
    }

    pub(super) fn figures(&self) -> Figures {
        let so_far = self.topics.read_so_far();
        let here = u64::try_from(self.conversations.len()).unwrap_or(u64::MAX);
        let of = self.named.map(|named| match named.reached {
            true => here,
            false => named.count,
        });
        let mut figures = Figures {
            connected: self.topics.is_connected(),
            links: self.stage.links(),
            inbox_open: so_far.inbox_open,
            conversations: Count { done: here, of },
            messages: Count {
                done: 0,
                of: Some(0),
            },
            records: so_far.records,
            left: so_far.left,
            topics_open: so_far.open,
            ..Figures::default()
        };
        for (id, known) in &self.conversations {
            let open_at = so_far.open_at.get(id);
            let read = open_at.is_none_or(|open| {
                let mut relays = self.topics.connected();
                relays.any(|relay| !open.contains(&Some(relay)))
            });
            figures.add(
                &known.part(),
                read,
                open_at.is_none() || known.is_starting(),
            );
        }
        figures
    }
}

impl Figures {
    fn add(&mut self, part: &Part, read: bool, counted: bool) {
        let sum = |a: (u64, u64), b: (u64, u64)| (a.0.saturating_add(b.0), a.1.saturating_add(b.1));
        self.recent = self.recent.saturating_add(u64::from(part.recent && read));
        self.segments = sum(self.segments, part.segments);
        self.dropped = self.dropped.saturating_add(part.dropped);
        let (here, known) = part.messages;
        self.messages.done = self.messages.done.saturating_add(here);
        let of = self.messages.of.filter(|_| counted);
        self.messages.of = of.map(|of| of.saturating_add(known));
        if let Some((done, of)) = part.items {
            self.reread = self.reread.saturating_add(1);
            self.items.done = self.items.done.saturating_add(done);
            self.items.of = Some(self.items.of.unwrap_or(0).saturating_add(of));
        }
    }
}
