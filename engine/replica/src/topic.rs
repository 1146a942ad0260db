//! Topics that this device follows, and how far it has read each of them at each relay.

mod capability;
mod crossing;
mod follow;
mod heard;
mod link;
mod progress;
mod reading;
mod release;
mod repair;
mod start;
mod told;
mod witness;

use std::collections::{BTreeMap, BTreeSet};

use sheaf_crypto::ConversationId;
use sheaf_protocol::{ClientFrame, Cursor, Delivery, LogId, RelayId, RequestId, TopicId};

use crate::io::Scope;
use crate::limits;
use crate::record::{CursorRecord, Write};
use crate::stage::Stage;
use crate::time::Timestamp;
use heard::Window;
use reading::{Advance, Reading};

pub(crate) use capability::{Capability, Owner};
pub(crate) use heard::Heard;
pub(crate) use start::Read;
pub(crate) use witness::Finding;

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
    witnesses: witness::Witnesses,
    spots: usize,
}

/// All topics.
#[derive(Default)]
pub(crate) struct Topics {
    topics: BTreeMap<TopicId, Topic>,
    connections: BTreeMap<RelayId, Connection>,
    /// Topics of requests about many, with the cursors that were named.
    following: BTreeMap<RequestId, (RelayId, Vec<follow::Named>)>,
    scope: Scope,
    /// Topics that are written to and not read.
    granted: BTreeMap<TopicId, Capability>,
    /// When the next topic is to be subscribed again.
    next_repair: Option<Timestamp>,
    requests: u64,
    heard: Window,
    /// Where topics are begun that are not followed yet.
    beginnings: BTreeMap<TopicId, Vec<(RelayId, Cursor)>>,
    witnessing: witness::Witnessing,
}

/// A delivery that does not fit the subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadDelivery;

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
    /// Places that were left out before or between them.
    pub(crate) gap: Option<(u64, u64)>,
    /// The relay promised to have another record at one of the places.
    pub(crate) otherwise: bool,
}

impl Connection {
    pub(crate) fn new(exporter: [u8; 32], log: LogId) -> Self {
        Self {
            exporter,
            log,
            proved: BTreeSet::new(),
            witnesses: witness::Witnesses::default(),
            spots: 0,
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
        if !self.topics.contains_key(&topic) {
            let known = Topic {
                owner,
                capability,
                after,
                readings: self.begun(&topic, stage),
                unclaimed: None,
            };
            self.topics.insert(topic, known);
        }
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
        reading.count_anew();
        let at = record.history.map(|known| (record.cursor.sequence, known));
        reading.told.restore(at, record.statement.clone());
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
        let followed = self.topics.get(topic).map(|known| &known.capability);
        followed.or_else(|| self.granted.get(topic)).cloned()
    }

    /// Lets records go to a topic that is not read here.
    pub(crate) fn grant(&mut self, topic: TopicId, capability: Capability) {
        self.granted.insert(topic, capability);
    }

    /// Stops reading a topic and goes back to a cursor: there is no room for what waits.
    pub(crate) fn pause(&mut self, origin: &Origin, back_to: Option<Cursor>, stage: &mut Stage) {
        let Some(reading) = self.reading(&origin.relay, &origin.topic) else {
            return;
        };
        if back_to.map_or(0, |cursor| cursor.sequence) < reading.at() {
            reading.cursor = back_to;
            reading.told.rewind(reading.at());
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
                let idle = reading.is_none_or(Reading::is_idle);
                let known = reading.is_some_and(|reading| reading.caught_up);
                idle && (known || self.read(&relay, &topic.after))
            });
            let ready: Vec<TopicId> = ready.map(|(id, _)| *id).collect();
            let ready = self.within_scope(ready);
            self.subscribe_all(relay, &ready, stage);
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
        let Some(log) = self.connections.get(&relay).map(|known| known.log) else {
            return;
        };
        self.prove(relay, id, &capability, stage);
        let request = self.request();
        if let Some(topic) = self.topics.get_mut(&id) {
            let reading = topic.readings.entry(relay).or_default();
            reading.begin(request, log);
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
        reading.stated = Some(reading.stated.unwrap_or(0).max(head));
        // Records may have overtaken the answer: what counts is what was known when it was asked.
        if !restarted && head >= reading.expected {
            return None;
        }
        self.read_anew(relay, id, stage);
        owner
    }

    /// Reads a topic of a relay from its beginning: what it holds there is not what was read.
    fn read_anew(&mut self, relay: RelayId, id: &TopicId, stage: &mut Stage) {
        self.witnessing.again.remove(&(relay, *id));
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
    ) -> Result<Option<Batch>, BadDelivery> {
        let Some(log) = self.connections.get(&relay).map(|known| known.log) else {
            return Ok(None);
        };
        if !self.topics.contains_key(id) {
            return Ok(None);
        }
        let rising = records.is_sorted_by(|a, b| a.sequence < b.sequence);
        let first = records.first().map_or(0, |delivery| delivery.sequence);
        let Some(reading) = self.reading(&relay, id) else {
            return Err(BadDelivery);
        };
        // What was under way when this device unsubscribed is no fault of the relay's.
        if reading.paused || reading.faults.waits() {
            return Ok(None);
        }
        if !rising || !reading.subscribed || first <= previous && !records.is_empty() {
            return Err(BadDelivery);
        }
        if !reading.fits(previous) {
            let stalled = &mut self.witnessing.stalled;
            stalled.entry((relay, *id)).or_insert(stage.now());
            let Some(reading) = self.reading(&relay, id) else {
                return Ok(None);
            };
            if reading.keep_early(previous, records) > limits::EARLY_RECORDS_MAX {
                reading.drop_early();
                stage.transmit(relay, ClientFrame::Unsubscribe { topic: *id });
                self.subscribe(relay, *id, stage);
            }
            return Ok(None);
        }
        let advance = reading.advance(log, records);
        Ok(advance.and_then(|advance| self.batch(relay, id, advance, stage)))
    }

    /// What waited and fits now, after the cursor moved.
    pub(crate) fn early(
        &mut self,
        relay: RelayId,
        id: &TopicId,
        stage: &mut Stage,
    ) -> Option<Batch> {
        let log = self.connections.get(&relay)?.log;
        let advance = self.reading(&relay, id)?.take_early(log)?;
        self.batch(relay, id, advance, stage)
    }

    fn batch(
        &mut self,
        relay: RelayId,
        id: &TopicId,
        advance: Advance,
        stage: &mut Stage,
    ) -> Option<Batch> {
        let (gap, otherwise) = self.count(relay, id, &advance, stage);
        let topic = self.topics.get(id)?;
        let reading = topic.readings.get(&relay)?;
        Some(Batch {
            owner: topic.owner,
            origin: Origin {
                relay,
                topic: *id,
                subscription: reading.subscription,
            },
            records: advance.records.into_iter().map(|d| d.record).collect(),
            before: advance.before,
            cursor: advance.cursor,
            live: reading.live,
            alone: topic.readings.len() == 1 && !reading.replaced,
            gap,
            otherwise,
        })
    }

    /// The relay says that a topic was delivered to its end, which is at a place.
    pub(crate) fn caught_up(
        &mut self,
        relay: RelayId,
        id: &TopicId,
        sequence: u64,
        stage: &mut Stage,
    ) {
        let Some(log) = self.connections.get(&relay).map(|known| known.log) else {
            return;
        };
        let reading = self.reading(&relay, id).filter(|known| known.subscribed);
        let Some(reading) = reading else {
            return;
        };
        reading.reach(sequence);
        if !reading.caught_up || reading.cursor.is_none() {
            reading.caught_up = true;
            let start = Cursor { log, sequence: 0 };
            if reading.cursor.is_none() {
                reading.told.begin_empty();
            }
            reading.cursor = Some(reading.cursor.unwrap_or(start));
            let taken = reading.taken.unwrap_or(start);
            stage.write(cursor_write(*id, relay, reading, taken));
            self.subscribe_ready(stage);
        }
        self.witnessing.came((relay, *id), 0, stage.now());
        self.witness(relay, id, stage);
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

    /// Forgets the topics of a conversation that did not come about.
    pub(crate) fn forget_conversation(&mut self, conversation: &ConversationId) {
        self.topics.retain(|_, topic| !topic.is_of(conversation));
    }
}

impl Topic {
    fn is_of(&self, conversation: &ConversationId) -> bool {
        matches!(self.owner, Owner::Epoch(owner, _) if owner == *conversation)
    }

    fn was_caught_up(&self) -> bool {
        self.readings.values().any(|reading| reading.caught_up)
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
        history: reading.told.counted(cursor.sequence),
        statement: reading.told.statement.clone(),
    };
    record.write()
}
