//! Connections to relays: what comes and goes with them, and what was read over them.

use sheaf_crypto::ConversationId;
use sheaf_protocol::{LogId, RelayId};

use super::{Connection, Topic, Topics, cursor_write};
use crate::io::Scope;
use crate::record::{Kind, Write};
use crate::stage::Stage;

impl Topics {
    /// Gives `true` if cursors of before there were several relays are this relay's.
    pub(crate) fn link_up(
        &mut self,
        relay: RelayId,
        connection: Connection,
        stage: &mut Stage,
    ) -> bool {
        self.link_down(&relay);
        let claimed = self.claim(relay, connection.log, stage);
        for topic in self.topics.values_mut() {
            if let Some(reading) = topic.readings.get_mut(&relay) {
                reading.expect_log(connection.log);
            }
        }
        self.connections.insert(relay, connection);
        self.subscribe_ready(stage);
        claimed
    }

    fn claim(&mut self, relay: RelayId, log: LogId, stage: &mut Stage) -> bool {
        let mut claimed = false;
        for (id, topic) in &mut self.topics {
            let unclaimed = topic.unclaimed.filter(|(cursor, _)| cursor.log == log);
            let Some((cursor, caught_up)) = unclaimed else {
                continue;
            };
            claimed = true;
            topic.unclaimed = None;
            let reading = topic.readings.entry(relay).or_default();
            reading.cursor = Some(cursor);
            reading.taken = Some(cursor);
            reading.caught_up = caught_up;
            reading.highest = cursor.sequence;
            stage.write(Write::delete(Kind::Cursor, &id.0, &[]));
            stage.write(cursor_write(*id, relay, reading, cursor));
        }
        claimed
    }

    pub(crate) fn link_down(&mut self, relay: &RelayId) {
        self.connections.remove(relay);
        self.witnessing.forget(relay);
        self.following.retain(|_, (asked, _)| asked != relay);
        for topic in self.topics.values_mut() {
            if let Some(reading) = topic.readings.get_mut(relay) {
                reading.disconnect();
                reading.count_anew();
                reading.paused = false;
                reading.faults.connection_ended();
            }
        }
    }

    /// Nothing of a relay is remembered any more.
    pub(crate) fn forget_relay(&mut self, relay: &RelayId, stage: &mut Stage) {
        for (id, topic) in &mut self.topics {
            if topic.readings.remove(relay).is_some() {
                stage.write(Write::delete(Kind::Cursor, &id.0, &relay.0));
            }
        }
    }

    /// Every topic was read to its end at every relay that there is a connection to.
    pub(crate) fn all_live(&self) -> bool {
        let critical = self.scope == Scope::Critical;
        let read = |topic: &Topic, relay: &RelayId| match topic.readings.get(relay) {
            Some(reading) => reading.live || critical && !reading.subscribed,
            None => critical,
        };
        let live = |topic: &Topic| self.connected().all(|relay| read(topic, &relay));
        self.is_connected() && self.topics.values().all(live)
    }

    /// All topics of one conversation were read to their end at every relay that there is a
    /// connection to.
    pub(crate) fn conversation_live(&self, conversation: &ConversationId) -> bool {
        let live = |relay: RelayId| self.live_at(conversation, &relay);
        self.is_connected() && self.connected().all(live)
    }

    /// The same at one relay at least: a relay that is slow holds nothing up.
    pub(crate) fn conversation_live_somewhere(&self, conversation: &ConversationId) -> bool {
        self.connected()
            .any(|relay| self.live_at(conversation, &relay))
    }

    fn live_at(&self, conversation: &ConversationId, relay: &RelayId) -> bool {
        let mut topics = self.topics.values();
        topics.all(|topic| !topic.is_of(conversation) || topic.is_live(relay))
    }
}
