//! Topics that this device follows, and how far it has read each of them at each relay.

mod capability;
mod heard;
mod reading;

use std::collections::{BTreeMap, BTreeSet};

use sheaf_crypto::ConversationId;
use sheaf_protocol::{
    ClientFrame, Cursor, Delivery, LogId, RecordHash, RelayId, RequestId, TopicId,
};

use crate::limits;
use crate::record::{CursorRecord, Kind, Write};
use crate::stage::Stage;
use heard::Window;
use reading::{Advance, Reading};

pub(crate) use capability::{Capability, Owner};
pub(crate) use heard::Heard;

/// One topic.
struct Topic {
    owner: Owner,
    capability: Capability,
    /// Topics that are read to their end first, once.
    after: BTreeSet<TopicId>,
    readings: BTreeMap<RelayId, Reading>,
    /// Where a store of before there were several relays stood: it belongs to the relay whose log
    /// it names.
    unclaimed: Option<(Cursor, bool)>,
}

/// A connection that topics are followed over.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) exporter: [u8; 32],
    pub(crate) log: LogId,
    proved: BTreeSet<TopicId>,
}

/// All topics.
#[derive(Default)]
pub(crate) struct Topics {
    topics: BTreeMap<TopicId, Topic>,
    connections: BTreeMap<RelayId, Connection>,
    requests: u64,
    heard: Window,
}

/// Where records come from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) relay: RelayId,
    pub(crate) topic: TopicId,
    subscription: u64,
}

/// Records to take in, and where the topic stands after them.
pub(crate) struct Batch {
    pub(crate) owner: Owner,
    pub(crate) origin: Origin,
    pub(crate) records: Vec<Vec<u8>>,
    pub(crate) before: Option<Cursor>,
    pub(crate) cursor: Cursor,
    /// The topic had been read to its end when these came: they are new.
    pub(crate) live: bool,
    /// No other relay is read, and this one's store was never replaced.
    pub(crate) alone: bool,
}

impl Connection {
    pub(crate) fn new(exporter: [u8; 32], log: LogId) -> Self {
        Self {
            exporter,
            log,
            proved: BTreeSet::new(),
        }
    }
}

impl Topics {
    /// Follows a topic from now on; subscribes at once where there is a connection.
    pub(crate) fn follow(
        &mut self,
        topic: TopicId,
        owner: Owner,
        capability: Capability,
        after: BTreeSet<TopicId>,
        stage: &mut Stage,
    ) {
        self.topics.entry(topic).or_insert_with(|| Topic {
            owner,
            capability,
            after,
            readings: BTreeMap::new(),
            unclaimed: None,
        });
        self.subscribe_ready(stage);
    }

    /// Follows a topic no longer.
    pub(crate) fn forget(&mut self, topic: &TopicId, stage: &mut Stage) {
        let known = self.topics.remove(topic);
        for (relay, reading) in known.into_iter().flat_map(|known| known.readings) {
            if reading.subscribed {
                stage.transmit(relay, ClientFrame::Unsubscribe { topic: *topic });
            }
        }
    }

    pub(crate) fn restore(&mut self, record: &CursorRecord) {
        let Some(topic) = self.topics.get_mut(&record.topic) else {
            return;
        };
        let Some(relay) = record.relay else {
            topic.unclaimed = Some((record.cursor, record.caught_up));
            return;
        };
        let reading = topic.readings.entry(relay).or_default();
        reading.cursor = Some(record.cursor);
        reading.taken = Some(record.cursor);
        reading.caught_up = record.caught_up;
        reading.replaced = record.replaced;
        reading.highest = record.highest.max(record.cursor.sequence);
    }

    /// Number for the next request; no two connections share one.
    pub(crate) fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    pub(crate) fn is_connected(&self) -> bool {
        !self.connections.is_empty()
    }

    pub(crate) fn is_connected_to(&self, relay: &RelayId) -> bool {
        self.connections.contains_key(relay)
    }

    /// Relays that there is a connection to.
    pub(crate) fn connected(&self) -> impl Iterator<Item = RelayId> {
        self.connections.keys().copied()
    }

    /// Proves access to a topic once per connection.
    pub(crate) fn prove(
        &mut self,
        relay: RelayId,
        topic: TopicId,
        capability: &Capability,
        stage: &mut Stage,
    ) {
        let Some(connection) = self.connections.get_mut(&relay) else {
            return;
        };
        if connection.proved.insert(topic) {
            let proof = capability.prove(&relay, &connection.exporter);
            stage.transmit(relay, ClientFrame::Prove(proof));
        }
    }

    pub(crate) fn capability(&self, topic: &TopicId) -> Option<Capability> {
        self.topics.get(topic).map(|known| known.capability.clone())
    }

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
        for topic in self.topics.values_mut() {
            if let Some(reading) = topic.readings.get_mut(relay) {
                reading.stop();
                reading.paused = false;
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

    /// Stops reading a topic and goes back to a cursor: there is no room for what waits.
    pub(crate) fn pause(&mut self, origin: &Origin, back_to: Option<Cursor>, stage: &mut Stage) {
        let Some(reading) = self.reading(&origin.relay, &origin.topic) else {
            return;
        };
        if back_to.map_or(0, |cursor| cursor.sequence) < reading.at() {
            reading.cursor = back_to;
        }
        reading.paused = true;
        // Records of this subscription that are still on their way move the cursor no more.
        reading.subscription = 0;
        if reading.subscribed {
            let topic = origin.topic;
            reading.stop();
            stage.transmit(origin.relay, ClientFrame::Unsubscribe { topic });
        }
    }

    fn reading(&mut self, relay: &RelayId, topic: &TopicId) -> Option<&mut Reading> {
        self.topics.get_mut(topic)?.readings.get_mut(relay)
    }

    /// Reads on where there was no room before.
    pub(crate) fn resume(&mut self, conversation: &ConversationId, stage: &mut Stage) {
        for topic in self.topics.values_mut() {
            if topic.is_of(conversation) {
                for reading in topic.readings.values_mut() {
                    reading.paused = false;
                }
            }
        }
        self.subscribe_ready(stage);
    }

    /// Subscribes to every topic whose predecessors have been read: history is read in the order
    /// in which it was written, so little has to wait for what it depends on.
    fn subscribe_ready(&mut self, stage: &mut Stage) {
        let relays: Vec<RelayId> = self.connections.keys().copied().collect();
        for relay in relays {
            let ready = self.topics.iter().filter(|(_, topic)| {
                let reading = topic.readings.get(&relay);
                let idle = reading.is_none_or(|reading| !reading.subscribed && !reading.paused);
                let known = reading.is_some_and(|reading| reading.caught_up);
                idle && (known || self.read(&relay, &topic.after))
            });
            let ready: Vec<TopicId> = ready.map(|(id, _)| *id).collect();
            for id in ready {
                self.subscribe(relay, id, stage);
            }
        }
    }

    fn read(&self, relay: &RelayId, topics: &BTreeSet<TopicId>) -> bool {
        let read = |topic: &Topic| topic.readings.get(relay).is_some_and(|r| r.caught_up);
        let mut topics = topics.iter();
        topics.all(|id| self.topics.get(id).is_none_or(read))
    }

    fn subscribe(&mut self, relay: RelayId, id: TopicId, stage: &mut Stage) {
        let Some(capability) = self.capability(&id) else {
            return;
        };
        self.prove(relay, id, &capability, stage);
        let request = self.request();
        if let Some(topic) = self.topics.get_mut(&id) {
            let reading = topic.readings.entry(relay).or_default();
            reading.subscribed = true;
            reading.subscription = request.0;
            reading.live = false;
            reading.expected = reading.highest;
            let frame = ClientFrame::Subscribe {
                request,
                topic: id,
                after: reading.cursor,
            };
            stage.transmit(relay, frame);
        }
    }

    /// The relay answered a subscription: gives the topic's owner if it holds less than it had, and
    /// reads it from the beginning.
    pub(crate) fn subscribed(
        &mut self,
        relay: RelayId,
        id: &TopicId,
        (head, restarted): (u64, bool),
        stage: &mut Stage,
    ) -> Option<Owner> {
        let owner = self.topics.get(id).map(|topic| topic.owner);
        let reading = self.reading(&relay, id).filter(|known| known.subscribed)?;
        // Records may have overtaken the answer: what counts is what was known when it was asked.
        if !restarted && head >= reading.expected {
            return None;
        }
        self.read_anew(relay, id, stage);
        owner
    }

    /// Reads a topic of a relay from its beginning: what it holds there is not what was read.
    fn read_anew(&mut self, relay: RelayId, id: &TopicId, stage: &mut Stage) {
        if let Some(reading) = self.reading(&relay, id) {
            reading.begin_anew();
            stage.transmit(relay, ClientFrame::Unsubscribe { topic: *id });
            self.subscribe(relay, *id, stage);
        }
    }

    /// A relay promised that it has a topic's record at a place.
    pub(crate) fn promised(&mut self, relay: &RelayId, id: &TopicId, at: Cursor) {
        if let Some(reading) = self.reading(relay, id) {
            reading.highest = reading.highest.max(at.sequence);
        }
    }

    /// Takes a delivery in. What fits behind the cursor comes back; what is ahead of it waits for
    /// the history before it.
    pub(crate) fn deliver(
        &mut self,
        relay: RelayId,
        id: &TopicId,
        previous: u64,
        records: Vec<Delivery>,
        stage: &mut Stage,
    ) -> Result<Option<Batch>, ()> {
        let Some(log) = self.connections.get(&relay).map(|known| known.log) else {
            return Ok(None);
        };
        if !self.topics.contains_key(id) {
            return Ok(None);
        }
        let rising = records.is_sorted_by(|a, b| a.sequence < b.sequence);
        let first = records.first().map_or(0, |delivery| delivery.sequence);
        let reading = self.reading(&relay, id).filter(|known| known.subscribed);
        let Some(reading) = reading else {
            return Err(());
        };
        if !rising || first <= previous && !records.is_empty() {
            return Err(());
        }
        if previous > reading.at() {
            if reading.keep_early(previous, records) > limits::EARLY_RECORDS_MAX {
                reading.drop_early();
                stage.transmit(relay, ClientFrame::Unsubscribe { topic: *id });
                self.subscribe(relay, *id, stage);
            }
            return Ok(None);
        }
        let advance = reading.advance(log, records);
        Ok(advance.and_then(|advance| self.batch(relay, id, advance)))
    }

    /// What waited and fits now, after the cursor moved.
    pub(crate) fn early(&mut self, relay: RelayId, id: &TopicId) -> Option<Batch> {
        let log = self.connections.get(&relay)?.log;
        let advance = self.reading(&relay, id)?.take_early(log)?;
        self.batch(relay, id, advance)
    }

    fn batch(&self, relay: RelayId, id: &TopicId, advance: Advance) -> Option<Batch> {
        let topic = self.topics.get(id)?;
        let reading = topic.readings.get(&relay)?;
        Some(Batch {
            owner: topic.owner,
            origin: Origin {
                relay,
                topic: *id,
                subscription: reading.subscription,
            },
            records: advance.records,
            before: advance.before,
            cursor: advance.cursor,
            live: reading.live,
            alone: topic.readings.len() == 1 && !reading.replaced,
        })
    }

    /// How a record stands to what came lately.
    pub(crate) fn heard(&self, origin: &Origin, hash: RecordHash) -> Heard {
        self.heard.look(origin, hash)
    }

    /// A record was taken in.
    pub(crate) fn note(&mut self, origin: &Origin, hash: RecordHash) {
        self.heard.note(origin, hash);
    }

    /// The relay says that a topic was delivered to its end.
    pub(crate) fn caught_up(&mut self, relay: RelayId, id: &TopicId, stage: &mut Stage) {
        let Some(log) = self.connections.get(&relay).map(|known| known.log) else {
            return;
        };
        let reading = self.reading(&relay, id).filter(|known| known.subscribed);
        let Some(reading) = reading else {
            return;
        };
        reading.live = true;
        let at = reading.cursor.map(|cursor| cursor.sequence);
        let early = &mut reading.early;
        early.retain(|(previous, _)| at.is_none_or(|at| *previous >= at));
        if !reading.caught_up || reading.cursor.is_none() {
            reading.caught_up = true;
            let start = Cursor { log, sequence: 0 };
            reading.cursor = Some(reading.cursor.unwrap_or(start));
            let taken = reading.taken.unwrap_or(start);
            stage.write(cursor_write(*id, relay, reading, taken));
            self.subscribe_ready(stage);
        }
    }

    /// The write that makes a cursor durable, to go with what was read. Nothing, if the topic was
    /// gone back in since those records came.
    pub(crate) fn cursor_write(&mut self, origin: &Origin, cursor: Cursor) -> Option<Write> {
        let reading = self.reading(&origin.relay, &origin.topic)?;
        if !reading.is_of(origin) {
            return None;
        }
        reading.taken = Some(cursor);
        Some(cursor_write(origin.topic, origin.relay, reading, cursor))
    }

    /// Every topic was read to its end at every relay that there is a connection to.
    pub(crate) fn all_live(&self) -> bool {
        let live = |topic: &Topic| self.connected().all(|relay| topic.is_live(&relay));
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

    /// Forgets the topics of a conversation that did not come about.
    pub(crate) fn forget_conversation(&mut self, conversation: &ConversationId) {
        self.topics.retain(|_, topic| !topic.is_of(conversation));
    }
}

impl Topic {
    fn is_of(&self, conversation: &ConversationId) -> bool {
        matches!(self.owner, Owner::Epoch(owner, _) if owner == *conversation)
    }

    fn is_live(&self, relay: &RelayId) -> bool {
        self.readings.get(relay).is_some_and(|reading| reading.live)
    }
}

fn cursor_write(topic: TopicId, relay: RelayId, reading: &Reading, cursor: Cursor) -> Write {
    let record = CursorRecord {
        topic,
        cursor,
        caught_up: reading.caught_up,
        relay: Some(relay),
        replaced: reading.replaced,
        highest: reading.highest,
    };
    record.write()
}
