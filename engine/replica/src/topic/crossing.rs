//! What relays have stated to peers, and what time shows about relays.

use sheaf_crypto::{ConversationId, DeviceId};
use sheaf_protocol::{Cursor, RelayId, Statement, TopicId};

use super::told::Told;
use super::witness::{Beyond, Finding, Witnesses, evidence};
use super::{Owner, Topics};
use crate::limits;
use crate::stage::Stage;
use crate::time::Timestamp;

impl Topics {
    /// Statements for a checkpoint: the newest about each topic that no checkpoint has named yet.
    pub(crate) fn statements(&self, conversation: &ConversationId) -> Vec<(RelayId, Statement)> {
        let mut fresh = Vec::new();
        for (relay, id) in self.of_conversation(conversation) {
            let told = self.told(&relay, &id);
            let statement = told.and_then(|told| {
                let known = told.statement.as_ref();
                known.filter(|known| known.cursor.sequence > told.named)
            });
            fresh.extend(statement.map(|statement| (relay, statement.clone())));
        }
        fresh.truncate(limits::STATEMENTS_PER_CHECKPOINT);
        fresh
    }

    /// A checkpoint of this device named statements.
    pub(crate) fn named(&mut self, statements: &[(RelayId, Statement)]) {
        for (relay, statement) in statements {
            if let Some(reading) = self.reading(relay, &statement.topic) {
                reading.told.named = statement.cursor.sequence;
            }
        }
    }

    /// Whose a topic is.
    pub(crate) fn owner(&self, topic: &TopicId) -> Option<Owner> {
        self.topics.get(topic).map(|topic| topic.owner)
    }

    pub(super) fn told(&self, relay: &RelayId, topic: &TopicId) -> Option<&Told> {
        let topic = self.topics.get(topic)?;
        topic.readings.get(relay).map(|reading| &reading.told)
    }

    /// A peer says what a relay has stated to it.
    pub(crate) fn heed(
        &mut self,
        (relay, statement): (RelayId, &Statement),
        by: DeviceId,
        conversation: &ConversationId,
        stage: &mut Stage,
    ) -> Option<Finding> {
        let topic = self.topics.get_mut(&statement.topic)?;
        let reading = topic.is_of(conversation).then_some(&mut topic.readings);
        let reading = reading?.get_mut(&relay)?;
        let cursor = reading.cursor?;
        if cursor.log != statement.cursor.log || statement.verify(&relay).is_err() {
            return None;
        }
        let (place, now) = (statement.cursor.sequence, stage.now());
        let (live, told) = (reading.live, &mut reading.told);
        if place > cursor.sequence {
            let of = (relay, statement.topic);
            let known = self.witnessing.beyond.get(&of);
            let beyond = Beyond {
                statement: statement.clone(),
                by,
                since: known.map_or(live.then_some(now), |known| known.since),
            };
            if known.is_none_or(|known| known.statement.cursor.sequence < place) {
                self.witnessing.beyond.insert(of, beyond);
            }
            return None;
        }
        let own = told.statement.as_ref();
        if let Some(own) = own.filter(|own| own.cursor == statement.cursor) {
            let piece = evidence(relay, own, statement);
            return (own.history != statement.history).then_some(Finding::Evidence(piece));
        }
        told.hold_against(statement);
        self.witness(relay, &statement.topic, stage);
        None
    }

    /// What the passing of time shows: questions without answers, and records that do not come.
    pub(crate) fn watch(&mut self, now: Timestamp) -> Vec<Finding> {
        let mut found = Vec::new();
        self.witnessing.wake(now);
        let over = |since: Timestamp| since.after_ms(limits::ANSWER_MS_MAX) <= now;
        let silent = self.witnessing.questions.values();
        let silent: Vec<RelayId> = silent.filter(|q| over(q.asked)).map(|q| q.relay).collect();
        for relay in silent {
            self.witnessing.forget(&relay);
            if let Some(connection) = self.connections.get_mut(&relay)
                && std::mem::replace(&mut connection.witnesses, Witnesses::No) != Witnesses::No
            {
                found.push(Finding::Unanswered(relay));
            }
        }
        let late = self.witnessing.beyond.iter();
        let late = late.filter(|(_, beyond)| beyond.since.is_some_and(over));
        let late: Vec<_> = late.map(|(of, _)| *of).collect();
        for (relay, id) in late {
            let Some(beyond) = self.witnessing.beyond.remove(&(relay, id)) else {
                continue;
            };
            let log = self.connections.get(&relay).map(|known| known.log);
            if log != Some(beyond.statement.cursor.log) {
                // It was said of a store that is gone.
                continue;
            }
            if let Some(reading) = self.reading(&relay, &id) {
                reading.told.hold_against(&beyond.statement);
                if reading.has_let_go(beyond.statement.cursor.sequence) {
                    continue;
                }
            }
            found.push(Finding::Withheld(relay, id, beyond.by));
        }
        let due = self.witnessing.again.iter().filter(|(_, due)| **due <= now);
        let due = due.filter(|((relay, _), _)| self.connections.contains_key(relay));
        let due: Vec<_> = due.map(|(of, _)| *of).collect();
        for (relay, id) in due {
            self.witnessing.again.remove(&(relay, id));
            found.push(Finding::Due(relay, id));
        }
        let stalled = self.witnessing.stalled.iter();
        let stalled = stalled.filter(|(_, since)| over(**since));
        found.extend(stalled.map(|((relay, id), _)| Finding::Stalled(*relay, *id)));
        found
    }

    /// Relays are still to say whether they hold what they delivered.
    pub(crate) fn is_asking(&self) -> bool {
        !self.witnessing.questions.is_empty()
    }

    /// When [`Self::watch`] has something to look at next.
    pub(crate) fn next_watch(&self) -> Option<Timestamp> {
        let questions = self.witnessing.questions.values().map(|asked| asked.asked);
        let beyond = self.witnessing.beyond.values();
        let beyond = beyond.filter_map(|beyond| beyond.since);
        let stalled = self.witnessing.stalled.values().copied();
        let next = questions.chain(beyond).chain(stalled).min();
        let next = next.map(|since| since.after_ms(limits::ANSWER_MS_MAX));
        let again = self.witnessing.again.iter();
        let again = again.filter(|((relay, _), _)| self.connections.contains_key(relay));
        again.map(|(_, due)| *due).chain(next).min()
    }

    /// What should stand before records that wait does not come: they are taken without it. Gives
    /// the places that were left out, and whether the relay let go of them.
    pub(crate) fn skip(&mut self, relay: &RelayId, id: &TopicId) -> Option<((u64, u64), bool)> {
        self.witnessing.stalled.remove(&(*relay, *id));
        let log = self.connections.get(relay)?.log;
        let reading = self.reading(relay, id)?;
        let at = reading.at();
        let next = reading.early.iter().map(|(previous, _)| *previous).min();
        let sequence = next.filter(|next| *next > at)?;
        reading.cursor = Some(Cursor { log, sequence });
        reading.told.rewind(sequence);
        let gone = reading.live && reading.has_let_go(sequence);
        Some(((at.saturating_add(1), sequence), gone))
    }

    /// Whether other devices are to be asked now for what a relay left out.
    pub(crate) fn may_seek(&mut self, relay: &RelayId, id: &TopicId, now: Timestamp) -> bool {
        let Some(reading) = self.reading(relay, id) else {
            return false;
        };
        let sought = reading.told.sought;
        let may = sought.is_none_or(|at| now.since_ms(at) >= limits::MINUTE_MS);
        if may {
            reading.told.sought = Some(now);
        }
        may
    }
}
