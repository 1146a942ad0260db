//! Questions to relays about what they hold, and what their answers and those of peers come to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sheaf_crypto::{ConversationId, DeviceId};
use sheaf_protocol::{
    ClientFrame, Contradiction, Cursor, Evidence, Receipt, RecordHash, RelayId, RequestId,
    Statement, TopicId, hash_record,
};

use super::reading::Advance;
use super::{Owner, Topics, cursor_write};
use crate::limits;
use crate::stage::Stage;
use crate::time::Timestamp;

/// Why a relay was asked.
#[derive(Debug, Clone)]
enum Purpose {
    /// To begin counting behind the place.
    Anchor,
    /// To compare with what was counted.
    Check,
    /// To hold this statement against it.
    Challenge(Statement),
}

/// A question without an answer.
pub(super) struct Question {
    pub(super) relay: RelayId,
    topic: TopicId,
    sequence: u64,
    purpose: Purpose,
    pub(super) asked: Timestamp,
}

/// Whether a relay answers such questions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Witnesses {
    #[default]
    Unknown,
    Yes,
    /// It knows no such question, or leaves it unanswered.
    No,
}

/// A peer's statement about records that did not come here.
#[derive(Debug, Clone)]
pub(super) struct Beyond {
    pub(super) statement: Statement,
    pub(super) by: DeviceId,
    /// Since when nothing comes; nothing while the topic is not read to its end.
    pub(super) since: Option<Timestamp>,
}

/// Questions and receipts of all topics.
#[derive(Default)]
pub(super) struct Witnessing {
    pub(super) questions: BTreeMap<RequestId, Question>,
    /// Topics about which a question waits for room.
    postponed: BTreeSet<(RelayId, TopicId)>,
    pub(super) beyond: BTreeMap<(RelayId, TopicId), Beyond>,
    /// Topics of which records wait for others before them, and since when nothing comes.
    pub(super) stalled: BTreeMap<(RelayId, TopicId), Timestamp>,
    /// Topics to be read from their beginning once more, and from when on that may be.
    pub(super) again: BTreeMap<(RelayId, TopicId), Timestamp>,
    /// Newest receipts, oldest first.
    receipts: VecDeque<(RelayId, Receipt)>,
}

/// What a statement or its absence comes to.
#[derive(Debug)]
pub(crate) enum Finding {
    /// The relay contradicts what it signed.
    Evidence(Evidence),
    /// A topic that was read lately may be read from its beginning now.
    Due(RelayId, TopicId),
    /// The relay states, or promised, something else than it delivered.
    OtherHistory(RelayId, TopicId),
    /// The answer is not signed, or not about what was asked.
    BadStatement(RelayId),
    /// The relay left questions without an answer.
    Unanswered(RelayId),
    /// Records wait for others before them that do not come.
    Stalled(RelayId, TopicId),
    /// A peer was told of records that did not come here.
    Withheld(RelayId, TopicId, DeviceId),
}

impl Witnessing {
    pub(super) fn forget(&mut self, relay: &RelayId) {
        self.questions.retain(|_, asked| asked.relay != *relay);
        self.postponed.retain(|(asked, _)| asked != relay);
        self.stalled.retain(|(asked, _), _| asked != relay);
        for ((_, _), beyond) in self.beyond.iter_mut().filter(|((by, _), _)| by == relay) {
            beyond.since = None;
        }
    }

    /// Records came up to a place, or everything did. Gives what a peer was told about that place.
    pub(super) fn came(
        &mut self,
        of: (RelayId, TopicId),
        upto: u64,
        now: Timestamp,
    ) -> Option<Statement> {
        if let Some(since) = self.stalled.get_mut(&of) {
            *since = now;
        }
        let beyond = self.beyond.get_mut(&of)?;
        beyond.since = Some(now);
        if beyond.statement.cursor.sequence > upto {
            return None;
        }
        self.beyond.remove(&of).map(|beyond| beyond.statement)
    }

    /// Where much more time passed than was asked to be woken after, this device slept, and nobody can
    /// have answered: everybody is given time anew.
    pub(super) fn wake(&mut self, now: Timestamp) {
        let asked = self.questions.values_mut().map(|asked| &mut asked.asked);
        let beyond = self.beyond.values_mut();
        let beyond = beyond.filter_map(|beyond| beyond.since.as_mut());
        for since in asked.chain(beyond).chain(self.stalled.values_mut()) {
            if since.after_ms(limits::ANSWER_MS_MAX.saturating_mul(2)) <= now {
                *since = now;
            }
        }
    }

    /// Whether the relay has promised to have another record at a place.
    pub(super) fn contradicts(
        &self,
        relay: &RelayId,
        topic: &TopicId,
        (cursor, record): (Cursor, RecordHash),
    ) -> bool {
        let mut receipts = self.receipts.iter();
        receipts.any(|(by, known)| {
            by == relay && known.topic == *topic && known.cursor == cursor && known.record != record
        })
    }

    fn awaits(&self, relay: &RelayId, topic: &TopicId, like: impl Fn(&Purpose) -> bool) -> bool {
        let mut questions = self.questions.values();
        questions.any(|q| q.relay == *relay && q.topic == *topic && like(&q.purpose))
    }
}

impl Topics {
    /// A relay promised a record: gives what it promised otherwise before.
    pub(crate) fn keep_receipt(&mut self, relay: RelayId, receipt: &Receipt) -> Option<Evidence> {
        let receipts = &mut self.witnessing.receipts;
        let mut known = receipts.iter();
        let other = known.find(|(by, known)| {
            *by == relay
                && known.topic == receipt.topic
                && known.cursor == receipt.cursor
                && known.record != receipt.record
        });
        let words = other.map(|(_, known)| known.clone());
        receipts.push_back((relay, receipt.clone()));
        if receipts.len() > limits::RECEIPTS_KEPT_MAX {
            receipts.pop_front();
        }
        words.map(|known| Evidence {
            relay,
            words: Contradiction::Records(known, receipt.clone()),
        })
    }

    /// Counts what was delivered. Gives what was left out behind a record of the same subscription,
    /// and whether the relay had promised another record.
    pub(super) fn count(
        &mut self,
        relay: RelayId,
        id: &TopicId,
        advance: &Advance,
        stage: &mut Stage,
    ) -> (Option<(u64, u64)>, bool) {
        let Some(topic) = self.topics.get_mut(id) else {
            return (None, false);
        };
        let counted = matches!(topic.owner, Owner::Epoch(..));
        let reading = topic.readings.get_mut(&relay).filter(|_| counted);
        let Some(reading) = reading else {
            return (None, false);
        };
        let (mut gap, mut otherwise) = (None, false);
        let log = advance.cursor.log;
        for delivery in &advance.records {
            let (sequence, record) = (delivery.sequence, hash_record(&delivery.record));
            let left_out = reading.told.deliver(id, (sequence, record));
            gap = gap.or(left_out.filter(|_| reading.delivered));
            reading.delivered = true;
            let place = Cursor { log, sequence };
            otherwise |= self.witnessing.contradicts(&relay, id, (place, record));
        }
        if reading.early.is_empty() {
            self.witnessing.stalled.remove(&(relay, *id));
        }
        let (upto, now) = (advance.cursor.sequence, stage.now());
        let peer = self.witnessing.came((relay, *id), upto, now);
        let told = &mut reading.told;
        if let Some(peer) = peer {
            told.hold_against(&peer);
        }
        if told.wants().is_some() || told.challenge.is_some() {
            self.witness(relay, id, stage);
        }
        (gap, otherwise)
    }

    fn question(
        &mut self,
        relay: RelayId,
        topic: TopicId,
        (sequence, purpose): (u64, Purpose),
        stage: &mut Stage,
    ) {
        let connection = self.connections.get(&relay);
        let may = connection.is_some_and(|known| known.witnesses != Witnesses::No);
        // Until the first one is answered it is not known whether the relay knows the question.
        let waits = connection.is_some_and(|known| known.witnesses == Witnesses::Unknown)
            && self.witnessing.questions.values().any(|q| q.relay == relay);
        if !may {
            return;
        }
        if waits || self.witnessing.questions.len() >= limits::QUESTIONS_MAX {
            self.witnessing.postponed.insert((relay, topic));
            return;
        }
        let request = self.request();
        let question = Question {
            relay,
            topic,
            sequence,
            purpose,
            asked: stage.now(),
        };
        self.witnessing.questions.insert(request, question);
        let sequence = Some(sequence);
        stage.transmit(
            relay,
            ClientFrame::Witness {
                request,
                topic,
                sequence,
            },
        );
    }

    /// Asks a relay what there is to ask about a topic: where to begin counting, else whether what
    /// was counted is what it states, else what a peer's statement is held against.
    pub(crate) fn witness(&mut self, relay: RelayId, id: &TopicId, stage: &mut Stage) {
        let anchors = |purpose: &Purpose| matches!(purpose, Purpose::Anchor);
        let anchoring = self.witnessing.awaits(&relay, id, anchors);
        let checks = |purpose: &Purpose| matches!(purpose, Purpose::Check);
        let checking = self.witnessing.awaits(&relay, id, checks);
        let challenges = |purpose: &Purpose| matches!(purpose, Purpose::Challenge(_));
        let challenging = self.witnessing.awaits(&relay, id, challenges);
        let Some(reading) = self.reading(&relay, id).filter(|r| r.subscribed) else {
            return;
        };
        let (live, told) = (reading.live, &mut reading.told);
        if let Some(base) = told.wants() {
            if !anchoring {
                self.question(relay, *id, (base, Purpose::Anchor), stage);
            }
            return;
        }
        let Some((at, _)) = told.at().filter(|(at, _)| live && *at > 0) else {
            return;
        };
        if told.challenge.is_none() {
            told.challenge = told.former.take_if(|known| known.cursor.sequence <= at);
        }
        let challenge = told.challenge.clone();
        if (told.recheck || !told.is_checked()) && !checking {
            told.recheck = false;
            self.question(relay, *id, (at, Purpose::Check), stage);
        }
        if let Some(peer) = challenge.filter(|peer| peer.cursor.sequence <= at)
            && !challenging
        {
            let sequence = peer.cursor.sequence;
            self.question(relay, *id, (sequence, Purpose::Challenge(peer)), stage);
        }
    }

    /// The same for all topics of a conversation, before what was seen is acknowledged.
    pub(crate) fn witness_conversation(
        &mut self,
        conversation: &ConversationId,
        stage: &mut Stage,
    ) {
        for (relay, topic) in self.of_conversation(conversation) {
            self.witness(relay, &topic, stage);
        }
    }

    pub(super) fn of_conversation(&self, conversation: &ConversationId) -> Vec<(RelayId, TopicId)> {
        let topics = self.topics.iter();
        let topics = topics.filter(|(_, topic)| topic.is_of(conversation));
        let readings = topics.flat_map(|(id, topic)| topic.readings.keys().map(|r| (*r, *id)));
        readings.collect()
    }

    /// Has a relay asked about some topics that bring nothing new: a store that was put back, and grew
    /// to the same length, shows nothing else.
    pub(crate) fn spot_check(&mut self, relay: RelayId, id: &TopicId) {
        if !matches!(self.owner(id), Some(Owner::Epoch(..))) {
            return;
        }
        let connection = self.connections.get_mut(&relay);
        let Some(connection) = connection.filter(|c| c.spots < limits::SPOT_CHECKS) else {
            return;
        };
        connection.spots = connection.spots.saturating_add(1);
        if let Some(reading) = self.reading(&relay, id) {
            reading.told.recheck = true;
        }
    }

    /// A relay answered.
    pub(crate) fn stated(
        &mut self,
        relay: RelayId,
        request: RequestId,
        statement: &Statement,
        stage: &mut Stage,
    ) -> Option<Finding> {
        let asked = self.witnessing.questions.get(&request);
        asked.filter(|asked| asked.relay == relay)?;
        let asked = self.witnessing.questions.remove(&request)?;
        let connection = self.connections.get_mut(&relay)?;
        let cursor = statement.cursor;
        let right = statement.topic == asked.topic
            && (cursor.log, cursor.sequence) == (connection.log, asked.sequence);
        if !right || statement.verify(&relay).is_err() {
            return Some(Finding::BadStatement(relay));
        }
        connection.witnesses = Witnesses::Yes;
        let id = asked.topic;
        let told = &mut self.reading(&relay, &id)?.told;
        let signed = told.statement.iter().chain(&told.former);
        let mut signed = signed.chain(&told.challenge);
        let other =
            signed.find(|known| known.cursor == cursor && known.history != statement.history);
        if let Some(other) = other.cloned() {
            told.drop_at(cursor);
            return Some(Finding::Evidence(evidence(relay, &other, statement)));
        }
        if matches!(asked.purpose, Purpose::Challenge(_)) {
            told.challenge = None;
        }
        if let Purpose::Anchor = asked.purpose {
            told.anchor(&id, cursor.sequence, statement.history);
        }
        let counted = told.counted(cursor.sequence);
        if counted.is_some_and(|counted| counted != statement.history) {
            return Some(Finding::OtherHistory(relay, id));
        }
        if counted.is_some() {
            told.agree(statement);
            self.keep_statement(relay, id, stage);
        }
        // What was not asked while this was open is asked now.
        self.witness(relay, &id, stage);
        self.witness_postponed(stage);
        None
    }

    /// What the relay signed is kept beside the cursor.
    fn keep_statement(&mut self, relay: RelayId, id: TopicId, stage: &mut Stage) {
        if let Some(reading) = self.reading(&relay, &id)
            && let Some(taken) = reading.taken
        {
            stage.write(cursor_write(id, relay, reading, taken));
        }
    }

    /// There is room: what was not asked for want of it is asked now.
    fn witness_postponed(&mut self, stage: &mut Stage) {
        let waiting = std::mem::take(&mut self.witnessing.postponed);
        for (relay, id) in waiting {
            match self.witnessing.questions.len() < limits::QUESTIONS_MAX {
                true => self.witness(relay, &id, stage),
                false => drop(self.witnessing.postponed.insert((relay, id))),
            }
        }
    }

    /// A relay refused to answer. `Err` if the refusal is about something else.
    pub(crate) fn not_stated(
        &mut self,
        relay: RelayId,
        request: Option<RequestId>,
        stage: &mut Stage,
    ) -> Result<Option<Finding>, ()> {
        let Some(request) = request else {
            // An older relay cannot even read the question.
            let mut questions = self.witnessing.questions.values();
            let open = questions.any(|asked| asked.relay == relay);
            let connection = self.connections.get_mut(&relay).filter(|_| open);
            let connection = connection.filter(|c| c.witnesses == Witnesses::Unknown);
            let connection = connection.ok_or(())?;
            connection.witnesses = Witnesses::No;
            self.witnessing.forget(&relay);
            return Ok(None);
        };
        let asked = self.witnessing.questions.get(&request);
        asked.filter(|asked| asked.relay == relay).ok_or(())?;
        let asked = self.witnessing.questions.remove(&request).ok_or(())?;
        if let Some(connection) = self.connections.get_mut(&relay) {
            connection.witnesses = Witnesses::Yes;
        }
        let mut found = None;
        if let Some(reading) = self.reading(&relay, &asked.topic) {
            let told = &mut reading.told;
            match asked.purpose {
                Purpose::Anchor => told.no_anchor(),
                Purpose::Check => {}
                Purpose::Challenge(peer) => {
                    told.challenge = None;
                    let counted = told.counted(peer.cursor.sequence);
                    // It signed something else once than it delivered, and does not want to know.
                    if counted.is_some_and(|counted| counted != peer.history) {
                        found = Some(Finding::OtherHistory(relay, asked.topic));
                    }
                }
            }
        }
        self.witness_postponed(stage);
        Ok(found)
    }

    /// Up to which place a topic was taken in at a relay, and what the records up to there come to is
    /// known, where the relay states that: another store shows itself by it, even after a restart.
    /// Nothing where the topic is not read.
    pub(crate) fn settled(&self, relay: &RelayId, id: &TopicId) -> Option<u64> {
        let reading = self.topics.get(id)?.readings.get(relay)?;
        let taken = reading.taken.map_or(0, |cursor| cursor.sequence);
        let connection = self.connections.get(relay);
        let silent = connection.is_some_and(|known| known.witnesses == Witnesses::No);
        let known = silent || reading.told.counted(taken).is_some();
        Some(if known { taken } else { 0 })
    }

    /// The relay is asked whether it holds what it delivered, even if it said so before.
    pub(crate) fn recheck(&mut self, relay: RelayId, id: &TopicId, stage: &mut Stage) {
        if let Some(reading) = self.reading(&relay, id) {
            reading.told.recheck = true;
        }
        self.witness(relay, id, stage);
    }

    /// A topic of a relay is read once more from its beginning; if that repeats, later and later: what
    /// comes is read meanwhile as it comes. Gives whose topic it is, if it is read again now.
    pub(crate) fn read_again(
        &mut self,
        relay: RelayId,
        id: &TopicId,
        stage: &mut Stage,
    ) -> Option<Owner> {
        self.witnessing
            .receipts
            .retain(|(by, known)| *by != relay || known.topic != *id);
        let owner = self.topics.get(id)?.owner;
        let reading = self.reading(&relay, id)?;
        if let Err(due) = reading.told.may_read_again(stage.now()) {
            self.witnessing.again.insert((relay, *id), due);
            return None;
        }
        self.witnessing.again.remove(&(relay, *id));
        let reading = self.reading(&relay, id)?;
        match reading.subscribed {
            true => self.read_anew(relay, id, stage),
            false => reading.begin_anew(),
        }
        Some(owner)
    }
}

pub(super) fn evidence(relay: RelayId, one: &Statement, other: &Statement) -> Evidence {
    Evidence {
        relay,
        words: Contradiction::Histories(one.clone(), other.clone()),
    }
}
