//! Reading from a given place, and from the beginning again.

use sheaf_crypto::ConversationId;
use sheaf_protocol::{ClientFrame, Cursor, LogId, RelayId, TopicId};

use super::reading::Reading;
use super::{Topics, cursor_write};
use crate::stage::Stage;

/// How far the topics of one conversation were taken in at one relay.
pub(crate) type Read = (RelayId, LogId, Vec<(TopicId, u64)>);

impl Topics {
    /// How far the topics of a conversation were taken in, relay by relay.
    pub(crate) fn taken(&self, conversation: &ConversationId) -> Vec<Read> {
        let mut taken: Vec<Read> = Vec::new();
        let of = self.topics.iter().filter(|(_, t)| t.is_of(conversation));
        for (id, topic) in of {
            for (relay, reading) in &topic.readings {
                let Some(cursor) = reading.taken.filter(|cursor| cursor.sequence > 0) else {
                    continue;
                };
                let known = taken
                    .iter_mut()
                    .find(|(known, log, _)| known == relay && *log == cursor.log);
                match known {
                    Some((_, _, topics)) => topics.push((*id, cursor.sequence)),
                    None => taken.push((*relay, cursor.log, vec![(*id, cursor.sequence)])),
                }
            }
        }
        taken
    }

    /// Topics that are not followed yet will be read from these places.
    pub(crate) fn begin_at(&mut self, read: &[Read]) {
        self.beginnings.clear();
        for (relay, log, topics) in read {
            for (topic, sequence) in topics {
                let cursor = Cursor {
                    log: *log,
                    sequence: *sequence,
                };
                let known = self.beginnings.entry(*topic).or_default();
                known.push((*relay, cursor));
            }
        }
    }

    /// Gives a topic that is followed from now on the places to begin at.
    pub(super) fn begun(
        &mut self,
        id: &TopicId,
        stage: &mut Stage,
    ) -> std::collections::BTreeMap<RelayId, Reading> {
        let places = self.beginnings.remove(id).unwrap_or_default();
        let begun = places.into_iter().map(|(relay, cursor)| {
            let reading = Reading::begun(cursor);
            stage.write(cursor_write(*id, relay, &reading, cursor));
            (relay, reading)
        });
        begun.collect()
    }

    /// Reads the topics of a conversation from their beginnings, whatever came of them before.
    pub(crate) fn read_all_again(&mut self, conversation: &ConversationId, stage: &mut Stage) {
        let of = self.topics.iter().filter(|(_, t)| t.is_of(conversation));
        let ids: Vec<TopicId> = of.map(|(id, _)| *id).collect();
        for id in &ids {
            self.heard.forget(id);
            let Some(topic) = self.topics.get_mut(id) else {
                continue;
            };
            for (relay, reading) in &mut topic.readings {
                let log = reading.cursor.map(|cursor| cursor.log);
                reading.begin_anew();
                reading.caught_up = false;
                // What of the old subscription is on its way belongs to no subscription any more.
                reading.subscription = 0;
                if reading.subscribed {
                    reading.stop();
                    stage.transmit(*relay, ClientFrame::Unsubscribe { topic: *id });
                }
                if let Some(log) = log {
                    let start = Cursor { log, sequence: 0 };
                    stage.write(cursor_write(*id, *relay, reading, start));
                }
            }
        }
        self.subscribe_ready(stage);
    }
}
