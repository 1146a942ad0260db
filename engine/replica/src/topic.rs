//! Topics that this device follows, and how far it has read each of them.

mod follow;
mod repair;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use sheaf_crypto::{CapabilityKey, ConversationId, EpochId, EpochKeys};
use sheaf_protocol::{
    AccessProof, ClientFrame, Cursor, Delivery, LogId, RelayId, RequestId, TopicId,
};

use crate::io::Scope;
use crate::limits;
use crate::record::{CursorRecord, Kind, Write};
use crate::stage::Stage;
use crate::time::Timestamp;

use repair::Faults;

/// Whose records a topic holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// One epoch of a conversation.
    Epoch(ConversationId, EpochId),
    /// This device's inbox.
    Inbox,
    /// The meeting place of two devices that are being linked.
    Rendezvous,
    /// The account vault, read by a device that is to become one of the account.
    Vault,
}

/// What proves access.
#[derive(Clone)]
pub(crate) enum Capability {
    /// An epoch's.
    Epoch(Arc<EpochKeys>),
    /// Another one.
    Key(Arc<CapabilityKey>),
}

impl Capability {
    pub(crate) fn prove(&self, relay: &RelayId, exporter: &[u8; 32]) -> AccessProof {
        match self {
            Self::Epoch(keys) => keys.capability().prove(relay, exporter),
            Self::Key(key) => key.prove(relay, exporter),
        }
    }
}

/// One topic.
struct Topic {
    owner: Owner,
    capability: Capability,
    /// Topics that are read to their end first, once.
    after: BTreeSet<TopicId>,
    cursor: Option<Cursor>,
    /// How far its records are taken in; behind the cursor while a document is being read. Only
    /// this is made durable.
    taken: Option<Cursor>,
    /// It was read to its end at least once.
    caught_up: bool,
    subscribed: bool,
    live: bool,
    /// It is not read until records that wait have found what they wait for.
    paused: bool,
    /// Records ahead of the cursor.
    early: VecDeque<(u64, Vec<Delivery>)>,
    early_records: usize,
    faults: Faults,
}

/// The connection that topics are followed over.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) relay: RelayId,
    pub(crate) exporter: [u8; 32],
    pub(crate) log: LogId,
}

/// All topics.
#[derive(Default)]
pub(crate) struct Topics {
    topics: BTreeMap<TopicId, Topic>,
    pub(crate) connection: Option<Connection>,
    proved: BTreeSet<TopicId>,
    /// Topics of requests about many, with the cursors that were named.
    following: BTreeMap<RequestId, Vec<(TopicId, Option<Cursor>)>>,
    scope: Scope,
    requests: u64,
    /// Topics that are written to and not read.
    granted: BTreeMap<TopicId, Capability>,
    /// When the next topic is to be subscribed again.
    next_repair: Option<Timestamp>,
}

/// A delivery that does not fit the subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadDelivery;

/// Records to take in, and where the topic stands after them.
pub(crate) struct Batch {
    pub(crate) owner: Owner,
    pub(crate) topic: TopicId,
    pub(crate) records: Vec<Vec<u8>>,
    pub(crate) before: Option<Cursor>,
    pub(crate) cursor: Cursor,
    /// The topic had been read to its end when these came: they are new.
    pub(crate) live: bool,
}

impl Topics {
    /// Follows a topic from now on; subscribes at once if there is a connection.
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
            cursor: None,
            taken: None,
            caught_up: false,
            subscribed: false,
            live: false,
            paused: false,
            early: VecDeque::new(),
            early_records: 0,
            faults: Faults::default(),
        });
        self.subscribe_ready(stage);
    }

    /// Follows a topic no longer.
    pub(crate) fn forget(&mut self, topic: &TopicId, stage: &mut Stage) {
        if self
            .topics
            .remove(topic)
            .is_some_and(|known| known.subscribed)
        {
            stage.transmit(ClientFrame::Unsubscribe { topic: *topic });
        }
    }

    pub(crate) fn restore(&mut self, record: &CursorRecord) {
        if let Some(topic) = self.topics.get_mut(&record.topic) {
            topic.cursor = Some(record.cursor);
            topic.taken = Some(record.cursor);
            topic.caught_up = record.caught_up;
        }
    }

    pub(crate) fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    /// Proves access to a topic once per connection.
    pub(crate) fn prove(&mut self, topic: TopicId, capability: &Capability, stage: &mut Stage) {
        let Some(connection) = &self.connection else {
            return;
        };
        if self.proved.insert(topic) {
            let proof = capability.prove(&connection.relay, &connection.exporter);
            stage.transmit(ClientFrame::Prove(proof));
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

    pub(crate) fn link_up(&mut self, connection: Connection, stage: &mut Stage) {
        self.link_down();
        self.connection = Some(connection);
        self.subscribe_ready(stage);
    }

    pub(crate) fn link_down(&mut self) {
        self.connection = None;
        self.next_repair = None;
        self.proved.clear();
        self.following.clear();
        for topic in self.topics.values_mut() {
            topic.subscribed = false;
            topic.live = false;
            topic.paused = false;
            topic.early.clear();
            topic.early_records = 0;
            topic.faults.connection_ended();
        }
    }

    /// Stops reading a topic and goes back to a cursor: there is no room for what waits.
    pub(crate) fn pause(&mut self, id: &TopicId, back_to: Option<Cursor>, stage: &mut Stage) {
        if let Some(topic) = self.topics.get_mut(id) {
            topic.cursor = back_to;
            topic.paused = true;
            topic.subscribed = false;
            topic.live = false;
            topic.early.clear();
            topic.early_records = 0;
            stage.transmit(ClientFrame::Unsubscribe { topic: *id });
        }
    }

    /// Reads on where there was no room before.
    pub(crate) fn resume(&mut self, conversation: &ConversationId, stage: &mut Stage) {
        for topic in self.topics.values_mut() {
            if matches!(topic.owner, Owner::Epoch(owner, _) if owner == *conversation) {
                topic.paused = false;
            }
        }
        self.subscribe_ready(stage);
    }

    /// Subscribes to every topic whose predecessors have been read: history is read in the order
    /// in which it was written, so little has to wait for what it depends on.
    fn subscribe_ready(&mut self, stage: &mut Stage) {
        if self.connection.is_none() {
            return;
        }
        let ready: Vec<TopicId> = self
            .topics
            .iter()
            .filter(|(_, topic)| !topic.subscribed && !topic.paused && !topic.faults.waits())
            .filter(|(_, topic)| topic.caught_up || self.read(&topic.after))
            .map(|(id, _)| *id)
            .collect();
        let ready = self.within_scope(ready);
        self.subscribe_all(&ready, stage);
    }

    fn read(&self, topics: &BTreeSet<TopicId>) -> bool {
        topics
            .iter()
            .all(|id| self.topics.get(id).is_none_or(|topic| topic.caught_up))
    }

    fn subscribe(&mut self, id: TopicId, stage: &mut Stage) {
        let Some(capability) = self.capability(&id) else {
            return;
        };
        self.prove(id, &capability, stage);
        let request = self.request();
        if let Some(topic) = self.topics.get_mut(&id) {
            topic.subscribed = true;
            topic.live = false;
            let after = topic.cursor;
            stage.transmit(ClientFrame::Subscribe {
                request,
                topic: id,
                after,
            });
        }
    }

    /// The relay answered a subscription; `true` if its store is another one than the cursor's.
    pub(crate) fn subscribed(&mut self, id: &TopicId, restarted: bool) -> bool {
        let Some(topic) = self.topics.get_mut(id) else {
            return false;
        };
        if restarted && topic.cursor.is_some() {
            topic.cursor = None;
            topic.taken = None;
            return true;
        }
        false
    }

    /// Takes a delivery in. What fits behind the cursor comes back; what is ahead of it waits for
    /// the history before it.
    pub(crate) fn deliver(
        &mut self,
        id: &TopicId,
        previous: u64,
        records: Vec<Delivery>,
        stage: &mut Stage,
    ) -> Result<Option<Batch>, BadDelivery> {
        let Some(log) = self.connection.as_ref().map(|connection| connection.log) else {
            return Ok(None);
        };
        let Some(topic) = self.topics.get_mut(id) else {
            return Ok(None);
        };
        let rising = records.is_sorted_by(|a, b| a.sequence < b.sequence);
        let first = records.first().map_or(0, |delivery| delivery.sequence);
        // What was under way when this device unsubscribed is no fault of the relay's.
        if topic.paused || topic.faults.waits() {
            return Ok(None);
        }
        if !rising || !topic.subscribed || first <= previous && !records.is_empty() {
            return Err(BadDelivery);
        }
        let at = topic.cursor.map_or(0, |cursor| cursor.sequence);
        if previous > at {
            topic.early_records = topic.early_records.saturating_add(records.len());
            topic.early.push_back((previous, records));
            if topic.early_records > limits::EARLY_RECORDS_MAX {
                topic.early.clear();
                topic.early_records = 0;
                stage.transmit(ClientFrame::Unsubscribe { topic: *id });
                self.subscribe(*id, stage);
            }
            return Ok(None);
        }
        Ok(topic.advance(*id, log, records))
    }

    /// What waited and fits now, after the cursor moved.
    pub(crate) fn early(&mut self, id: &TopicId) -> Option<Batch> {
        let log = self.connection.as_ref()?.log;
        let topic = self.topics.get_mut(id)?;
        let at = topic.cursor.map_or(0, |cursor| cursor.sequence);
        let place = topic
            .early
            .iter()
            .position(|(previous, _)| *previous <= at)?;
        let (_, records) = topic.early.remove(place)?;
        topic.early_records = topic.early_records.saturating_sub(records.len());
        topic.advance(*id, log, records)
    }

    /// The relay says that a topic was delivered to its end.
    pub(crate) fn caught_up(&mut self, id: &TopicId, stage: &mut Stage) {
        let Some(log) = self.connection.as_ref().map(|connection| connection.log) else {
            return;
        };
        let Some(topic) = self.topics.get_mut(id).filter(|topic| topic.subscribed) else {
            return;
        };
        topic.live = true;
        topic.early.retain(|(previous, _)| {
            topic
                .cursor
                .is_none_or(|cursor| *previous >= cursor.sequence)
        });
        if !topic.caught_up || topic.cursor.is_none() {
            topic.caught_up = true;
            let start = Cursor { log, sequence: 0 };
            topic.cursor = Some(topic.cursor.unwrap_or(start));
            stage.write(cursor_write(*id, topic.taken.unwrap_or(start), true));
            self.subscribe_ready(stage);
        }
    }

    /// The write that makes a cursor durable, to go with what was read.
    pub(crate) fn cursor_write(&mut self, id: &TopicId, cursor: Cursor) -> Write {
        let topic = self.topics.get_mut(id);
        let caught_up = topic.is_some_and(|topic| {
            topic.taken = Some(cursor);
            topic.caught_up
        });
        cursor_write(*id, cursor, caught_up)
    }

    /// Every topic was read to its end on this connection.
    pub(crate) fn all_live(&self) -> bool {
        self.connection.is_some()
            && match self.scope {
                Scope::Everything => self.topics.values().all(|topic| topic.live),
                Scope::Critical => self.topics.values().all(|t| t.live || !t.subscribed),
            }
    }

    /// All topics of one conversation were read to their end on this connection.
    pub(crate) fn conversation_live(&self, conversation: &ConversationId) -> bool {
        self.connection.is_some()
            && self.topics.values().all(|topic| match topic.owner {
                Owner::Epoch(owner, _) => owner != *conversation || topic.live,
                Owner::Inbox | Owner::Rendezvous | Owner::Vault => true,
            })
    }

    /// Forgets the topics of a conversation that did not come about.
    pub(crate) fn forget_conversation(&mut self, conversation: &ConversationId) {
        self.topics.retain(
            |_, topic| !matches!(topic.owner, Owner::Epoch(owner, _) if owner == *conversation),
        );
    }
}

impl Topic {
    fn advance(&mut self, id: TopicId, log: LogId, records: Vec<Delivery>) -> Option<Batch> {
        let at = self.cursor.map_or(0, |cursor| cursor.sequence);
        let last = records.last().map(|delivery| delivery.sequence)?;
        if last <= at {
            return None;
        }
        let before = self.cursor;
        let cursor = Cursor {
            log,
            sequence: last,
        };
        self.cursor = Some(cursor);
        let fresh = records
            .into_iter()
            .filter(|delivery| delivery.sequence > at);
        let records = fresh.map(|delivery| delivery.record).collect();
        Some(Batch {
            owner: self.owner,
            topic: id,
            records,
            before,
            cursor,
            live: self.live,
        })
    }
}

fn cursor_write(topic: TopicId, cursor: Cursor, caught_up: bool) -> Write {
    Write::put(
        Kind::Cursor,
        &topic.0,
        &[],
        &CursorRecord {
            topic,
            cursor,
            caught_up,
        },
    )
}
