//! Messages of this device that a fork took away are written again: the same words under a new name.

use std::collections::BTreeMap;

use super::Conversation;
use crate::command::{Draft, ImportDraft};
use crate::context::Context;
use crate::conversation::Work;
use crate::document::MessageId;
use crate::record::{Kind, LostRecord, MessageRecord, Write};

impl Conversation {
    /// Remembers messages that do not show any more, to write them again. One that is itself written
    /// again stands for the first one, which may show again by now.
    pub(super) fn lose(
        &mut self,
        gone: &[MessageRecord],
        listed: &BTreeMap<MessageId, MessageRecord>,
        context: &mut Context<'_>,
    ) {
        for record in gone {
            let first = self
                .forks
                .lost
                .values()
                .find(|lost| lost.copy == Some(record.message))
                .map_or_else(|| record.clone(), |lost| lost.message.clone());
            let lost = LostRecord {
                conversation: self.id,
                message: first,
                copy: None,
            };
            self.keep_lost(lost, context);
        }
        let back: Vec<LostRecord> = self
            .forks
            .lost
            .values()
            .filter(|lost| lost.copy.is_none() && listed.contains_key(&lost.message.message))
            .cloned()
            .collect();
        for mut lost in back {
            lost.copy = Some(lost.message.message);
            self.keep_lost(lost, context);
        }
        self.write_again();
    }

    /// Queues what is to be written again.
    pub(in crate::conversation) fn write_again(&mut self) {
        if self.forks.lost.values().any(|lost| lost.copy.is_none()) {
            self.work.push_back(Work::Again);
        }
    }

    fn keep_lost(&mut self, lost: LostRecord, context: &mut Context<'_>) {
        let id = lost.message.message;
        let write = Write::put(Kind::Lost, &self.id.0, id.as_bytes(), &lost);
        context.stage.write(write);
        self.forks.lost.insert(id, lost);
    }

    /// Writes again what is lost, oldest first. Who may not write keeps it for when he may, and
    /// before it is known what stands there is nothing to go on from.
    pub(in crate::conversation) fn again(&mut self, context: &mut Context<'_>) -> Option<Work> {
        loop {
            let mut lost = self.forks.lost.values().filter(|lost| lost.copy.is_none());
            let mut lost = lost.next()?.clone();
            if !self.may_write(context) || !self.forks.judged {
                return None;
            }
            let segment = self.segments.writing(self.control.current().window.first);
            if !self.segments.is_ready(segment) {
                self.load(segment, context);
                return Some(Work::Again);
            }
            let message = &lost.message;
            let answered = message.reply_to.map(|target| {
                let moved = self.forks.lost.get(&target).and_then(|lost| lost.copy);
                moved.unwrap_or(target)
            });
            let draft = Draft {
                text: message.text.clone(),
                reply_to: answered,
                system: message.system,
                origin: message
                    .origin
                    .clone()
                    .map(|(author, time_ms)| crate::document::Origin { author, time_ms }),
            };
            let draft = ImportDraft {
                draft,
                reply_in_batch: None,
            };
            match self.write_messages(segment, vec![draft], context) {
                Ok(ids) => {
                    lost.copy = ids.first().copied();
                    self.keep_lost(lost, context);
                }
                Err(error) => {
                    tracing::warn!(%error, "a message that was set aside is not written again");
                    return None;
                }
            }
        }
    }
}
