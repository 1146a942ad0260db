//! Telling relays what they need not keep any longer (docs/decisions/0018).

use sheaf_crypto::ConversationId;
use sheaf_protocol::{ClientFrame, RelayId, TopicId};

use super::witness::Witnesses;
use super::{Topic, Topics};
use crate::limits;
use crate::stage::Stage;
use crate::time::Timestamp;

/// What one relay was told about one topic since this process began.
#[derive(Default)]
pub(super) struct Released {
    /// Up to where its records may go.
    upto: u64,
    /// When that was taken back.
    taken_back: Option<Timestamp>,
}

impl Topics {
    /// Everybody has what was read of a conversation: relays may let go of it, where that is so many
    /// records.
    pub(crate) fn release(&mut self, conversation: &ConversationId, least: u64, stage: &mut Stage) {
        for (relay, topic) in self.releasing(conversation) {
            let reading = self.reading(&relay, &topic).filter(|reading| reading.live);
            let Some(reading) = reading else { continue };
            let Some(upto) = reading.taken.filter(|_| reading.taken == reading.cursor) else {
                continue;
            };
            let more = upto.sequence.saturating_sub(reading.released.upto);
            if more < least.max(1) {
                continue;
            }
            reading.released = Released {
                upto: upto.sequence,
                taken_back: None,
            };
            let upto = Some(upto);
            stage.transmit(relay, ClientFrame::Release { topic, upto });
        }
    }

    /// Somebody lacks something: whoever told relays to let go of it was wrong, or lied.
    pub(crate) fn take_back(&mut self, conversation: &ConversationId, stage: &mut Stage) {
        let now = stage.now();
        for (relay, topic) in self.releasing(conversation) {
            let Some(reading) = self.reading(&relay, &topic).filter(|reading| reading.live) else {
                continue;
            };
            let taken_back = reading.released.taken_back;
            if taken_back.is_some_and(|at| now.since_ms(at) < limits::TAKE_BACK_MS) {
                continue;
            }
            reading.released = Released {
                upto: 0,
                taken_back: Some(now),
            };
            let upto = None;
            stage.transmit(relay, ClientFrame::Release { topic, upto });
        }
    }

    /// A conversation's topics at relays that know the word.
    fn releasing(&self, conversation: &ConversationId) -> Vec<(RelayId, TopicId)> {
        let topics = self.topics.iter();
        let topics = topics.filter(|(_, topic)| topic.is_of(conversation));
        let knows = |relay: &RelayId| {
            let connection = self.connections.get(relay);
            connection.is_some_and(|known| known.witnesses == Witnesses::Yes)
        };
        let at = |topic: &Topic| -> Vec<RelayId> {
            let relays = topic.readings.keys();
            relays.filter(|relay| knows(relay)).copied().collect()
        };
        topics
            .flat_map(|(id, topic)| at(topic).into_iter().map(|relay| (relay, *id)))
            .collect()
    }
}
