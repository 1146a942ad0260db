//! Sealed records on their way to the relays.
//!
//! A record is *sent* when the first relay that counts has signed a receipt for it; then its entry
//! is gone for whoever wrote it. It is offered to every other connected relay until that one's
//! receipt. For a relay that is away nothing waits here: what it misses is offered to it from the
//! stored envelopes when it is back (`conversation/offered.rs`). Inbox messages are not among
//! those, and so stay until every relay of the account has them, within a bound.

mod lane;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sheaf_crypto::{ConversationId, inbox_capability};
use sheaf_protocol::{
    Class, ClientFrame, ErrorCode, RecordHash, Refusal, RelayId, RequestId, TopicId, hash_record,
};

use crate::document::MessageId;
use crate::limits;
use crate::record::{Kind, OutboxRecord, Place, Write};
use crate::stage::Stage;
use crate::time::Timestamp;
use crate::topic::{Capability, Topics};
use lane::Lane;

/// One record on its way.
struct Entry {
    topic: TopicId,
    inbox_seed: Vec<u8>,
    /// For topics that this device does not follow itself.
    capability: Option<Capability>,
    class: Class,
    conversation: Option<ConversationId>,
    messages: Vec<MessageId>,
    place: Option<Place>,
    /// Relays whose receipt counts; none for any.
    relays: Vec<RelayId>,
    record: Arc<Vec<u8>>,
    hash: RecordHash,
    receipts: BTreeSet<RelayId>,
    /// A receipt that counts came.
    settled: bool,
    /// It is a stored item that this relay alone may lack.
    only: Option<RelayId>,
}

/// What a receipt settled.
pub(crate) struct Settled {
    pub(crate) conversation: Option<ConversationId>,
    pub(crate) messages: Vec<MessageId>,
    /// The item that the relay has now.
    pub(crate) place: Option<Place>,
    /// It is the first receipt that counts: the record is sent.
    pub(crate) first: bool,
}

/// A record to send.
pub(crate) struct Outgoing {
    pub(crate) topic: TopicId,
    /// Seed of the recipient's inbox, where the topic is one.
    pub(crate) inbox_seed: Option<[u8; 32]>,
    pub(crate) class: Class,
    pub(crate) conversation: Option<ConversationId>,
    pub(crate) messages: Vec<MessageId>,
    pub(crate) record: Vec<u8>,
    /// The item that it is, where it is one.
    pub(crate) place: Option<Place>,
    /// Relays where the recipient reads; none for anywhere.
    pub(crate) relays: Vec<RelayId>,
}

/// All records on their way.
#[derive(Default)]
pub(crate) struct Outbox {
    entries: BTreeMap<u64, Entry>,
    lanes: BTreeMap<RelayId, Lane>,
    in_flight: BTreeMap<RequestId, (RelayId, u64)>,
    /// Relays of the account.
    own: BTreeSet<RelayId>,
    next: u64,
    /// Entries that no receipt settled.
    unsettled: usize,
    /// Settled ones that some relay is still to take, in order: of conversations, and of inboxes.
    owed: BTreeSet<u64>,
    owed_inbox: BTreeSet<u64>,
    per_conversation: BTreeMap<ConversationId, usize>,
    held: bool,
    next_try: Option<Timestamp>,
}

impl Outbox {
    /// Queues a record; it is sent by the next [`Self::pump`].
    pub(crate) fn push(&mut self, outgoing: Outgoing, stage: &mut Stage) {
        let record = OutboxRecord {
            number: self.next,
            topic: outgoing.topic,
            inbox_seed: outgoing.inbox_seed.map(Vec::from).unwrap_or_default(),
            class: outgoing.class,
            conversation: outgoing.conversation,
            messages: outgoing.messages,
            record: outgoing.record,
            place: outgoing.place,
            relays: outgoing.relays,
            receipts: Vec::new(),
        };
        stage.write(record.write());
        self.restore(record);
    }

    pub(crate) fn restore(&mut self, record: OutboxRecord) {
        let settled = !record.receipts.is_empty();
        let seed: Option<[u8; 32]> = record.inbox_seed.as_slice().try_into().ok();
        let capability = seed.map(|seed| Capability::Key(Arc::new(inbox_capability(&seed))));
        if settled {
            self.owed_inbox.insert(record.number);
        } else {
            self.unsettled = self.unsettled.saturating_add(1);
        }
        if let Some(conversation) = record.conversation {
            *self.per_conversation.entry(conversation).or_default() += 1;
        }
        let entry = Entry {
            topic: record.topic,
            inbox_seed: record.inbox_seed,
            capability,
            class: record.class,
            conversation: record.conversation,
            messages: record.messages,
            place: record.place,
            relays: record.relays,
            hash: hash_record(&record.record),
            record: Arc::new(record.record),
            receipts: record.receipts.into_iter().collect(),
            settled,
            only: None,
        };
        self.insert(record.number, entry);
    }

    fn insert(&mut self, number: u64, entry: Entry) {
        self.next = self.next.max(number.saturating_add(1));
        for (relay, lane) in &mut self.lanes {
            if entry.is_for(relay) {
                lane.unsent.insert(number);
            }
        }
        self.entries.insert(number, entry);
    }

    /// Offers a stored item to one relay; it is not durable here, since the item is.
    pub(crate) fn offer(&mut self, relay: RelayId, topic: TopicId, place: Place, record: Vec<u8>) {
        let number = self.next;
        let entry = Entry {
            topic,
            inbox_seed: Vec::new(),
            capability: None,
            class: Class::Log,
            conversation: None,
            messages: Vec::new(),
            place: Some(place),
            relays: Vec::new(),
            hash: hash_record(&record),
            record: Arc::new(record),
            receipts: BTreeSet::new(),
            settled: true,
            only: Some(relay),
        };
        self.insert(number, entry);
        self.owed.insert(number);
    }

    /// Stored items that are being offered to a relay.
    pub(crate) fn is_offering(&self, relay: &RelayId) -> bool {
        let mut owed = self.owed.iter();
        owed.any(|number| {
            self.entries
                .get(number)
                .is_some_and(|e| e.only == Some(*relay))
        })
    }

    /// The relays of the account, for inbox messages.
    pub(crate) fn use_relays(&mut self, relays: BTreeSet<RelayId>) {
        self.own = relays;
    }

    /// Lets nothing new be sealed until [`Self::release`]: it may have been sealed and sent before.
    pub(crate) fn hold(&mut self) {
        self.held = true;
    }

    /// Lets new records be sealed; `false` if nothing was held.
    pub(crate) fn release(&mut self) -> bool {
        std::mem::take(&mut self.held)
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held
    }

    /// Sends what may be sent.
    pub(crate) fn pump(&mut self, topics: &mut Topics, now: Timestamp, stage: &mut Stage) {
        self.next_try = None;
        for (relay, lane) in &mut self.lanes {
            for number in lane.due(now) {
                let Some(entry) = self.entries.get(&number) else {
                    continue;
                };
                let own = entry.capability.clone();
                let Some(capability) = own.or_else(|| topics.capability(&entry.topic)) else {
                    continue;
                };
                topics.prove(*relay, entry.topic, &capability, stage);
                let request = topics.request();
                lane.sent(number, now);
                self.in_flight.insert(request, (*relay, number));
                let frame = ClientFrame::Append {
                    request,
                    topic: entry.topic,
                    class: entry.class,
                    record: entry.record.as_ref().clone(),
                };
                stage.transmit(*relay, frame);
            }
            let soonest = lane.soonest(now);
            self.next_try = self.next_try.into_iter().chain(soonest).min();
        }
    }

    /// When a refused record is to be tried again.
    pub(crate) fn next_try(&self) -> Option<Timestamp> {
        self.next_try
    }

    /// Takes back what is on its way to a topic, in flight or not: something newer replaces it.
    pub(crate) fn withdraw(&mut self, topic: &TopicId, stage: &mut Stage) {
        let entries = self.entries.iter();
        let of_topic = entries.filter(|(_, entry)| entry.topic == *topic);
        let numbers: Vec<u64> = of_topic.map(|(number, _)| *number).collect();
        for number in numbers {
            let entry = self.entries.get(&number);
            if entry.is_some_and(|entry| !entry.settled) {
                self.unsettled = self.unsettled.saturating_sub(1);
                stage.write(number_write(number));
            }
            self.remove(number, stage);
        }
    }

    /// Whether something for a topic is on its way that no relay has yet.
    pub(crate) fn is_unsettled(&self, topic: &TopicId) -> bool {
        let mut entries = self.entries.values();
        entries.any(|entry| entry.topic == *topic && !entry.settled)
    }

    /// What a relay's receipt is for: topic and hash to compare it with.
    pub(crate) fn awaited(
        &self,
        relay: &RelayId,
        request: RequestId,
    ) -> Option<(TopicId, RecordHash)> {
        let (asked, number) = self.in_flight.get(&request)?;
        let entry = self.entries.get(number).filter(|_| asked == relay)?;
        Some((entry.topic, entry.hash))
    }

    /// A valid receipt came: the record is durable at that relay.
    pub(crate) fn settle(&mut self, request: RequestId, stage: &mut Stage) -> Option<Settled> {
        let (relay, number) = self.in_flight.remove(&request)?;
        if let Some(lane) = self.lanes.get_mut(&relay) {
            lane.forget(number);
        }
        let entry = self.entries.get_mut(&number)?;
        entry.receipts.insert(relay);
        let known = |relay: &RelayId| self.own.contains(relay) || self.lanes.contains_key(relay);
        let counts = entry.relays.contains(&relay) || !entry.relays.iter().any(known);
        let first = counts && !entry.settled;
        let mut settled = Settled {
            conversation: None,
            messages: Vec::new(),
            place: entry.place,
            first,
        };
        if first {
            entry.settled = true;
            settled.conversation = entry.conversation;
            settled.messages = std::mem::take(&mut entry.messages);
            self.unsettled = self.unsettled.saturating_sub(1);
            if let Some(conversation) = &entry.conversation
                && let Some(count) = self.per_conversation.get_mut(conversation)
            {
                *count = count.saturating_sub(1);
            }
            match entry.class {
                Class::Inbox => {
                    let lacking = |relay: &RelayId| !entry.receipts.contains(relay);
                    if self.own.iter().any(lacking) {
                        stage.write(entry.record(number).write());
                    }
                    self.owed_inbox.insert(number)
                }
                Class::Log | Class::Ephemeral => {
                    stage.write(number_write(number));
                    self.owed.insert(number)
                }
            };
        }
        self.let_go(number, stage);
        self.bound(stage);
        Some(settled)
    }

    /// Removes an entry that nobody waits for any more.
    fn let_go(&mut self, number: u64, stage: &mut Stage) {
        let Some(entry) = self.entries.get(&number).filter(|entry| entry.settled) else {
            return;
        };
        let lacking = |relay: &RelayId| !entry.receipts.contains(relay);
        let kept = entry.class == Class::Inbox && self.own.iter().any(lacking);
        if kept || self.lanes.values().any(|lane| lane.wants(number)) {
            return;
        }
        self.remove(number, stage);
    }

    fn remove(&mut self, number: u64, stage: &mut Stage) {
        self.entries.remove(&number);
        self.owed.remove(&number);
        if self.owed_inbox.remove(&number) {
            stage.write(number_write(number));
        }
        for lane in self.lanes.values_mut() {
            lane.forget(number);
        }
        self.in_flight.retain(|_, (_, flying)| *flying != number);
    }

    fn bound(&mut self, stage: &mut Stage) {
        while self.owed.len() > limits::OWED_RECORDS_MAX
            && let Some(oldest) = self.owed.first().copied()
        {
            self.remove(oldest, stage);
        }
        while self.owed_inbox.len() > limits::OWED_INBOX_MAX
            && let Some(oldest) = self.owed_inbox.first().copied()
        {
            self.remove(oldest, stage);
        }
    }

    /// A relay refused a record: it is tried again later, never dropped.
    pub(crate) fn refused(&mut self, relay: &RelayId, refusal: &Refusal, now: Timestamp) {
        let request = refusal.request.filter(|request| {
            let asked = self.in_flight.get(request);
            asked.is_some_and(|(asked, _)| asked == relay)
        });
        let Some((_, number)) = request.and_then(|request| self.in_flight.remove(&request)) else {
            return;
        };
        if let Some(lane) = self.lanes.get_mut(relay) {
            let whole_relay = matches!(
                refusal.code,
                ErrorCode::RateLimited | ErrorCode::Unavailable | ErrorCode::Draining
            );
            if whole_relay && refusal.retry_after_ms > 0 {
                let asked = u64::from(refusal.retry_after_ms).min(limits::RETRY_AFTER_MS_MAX);
                lane.shut_until = lane.shut_until.max(now.after_ms(asked));
            }
            lane.refused(number, refusal.retry_after_ms, now);
        }
    }

    /// A connection stands: what has no receipt of this relay goes to it.
    pub(crate) fn link_up(&mut self, relay: RelayId, stage: &mut Stage) {
        self.link_down(&relay, stage);
        let entries = self.entries.iter();
        let unsent = entries.filter(|(_, entry)| entry.is_for(&relay));
        let lane = Lane {
            unsent: unsent.map(|(number, _)| *number).collect(),
            ..Lane::default()
        };
        self.lanes.insert(relay, lane);
    }

    /// The connection is gone: what had no receipt at all is sent again on the next one.
    pub(crate) fn link_down(&mut self, relay: &RelayId, stage: &mut Stage) {
        self.in_flight.retain(|_, (asked, _)| asked != relay);
        if self.lanes.remove(relay).is_none() {
            return;
        }
        let owed: Vec<u64> = self.owed.union(&self.owed_inbox).copied().collect();
        for number in owed {
            self.let_go(number, stage);
        }
    }

    /// Entries that no receipt settled.
    pub(crate) fn len(&self) -> usize {
        self.unsettled
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= limits::OUTBOX_RECORDS_MAX
    }

    /// Records that one relay is still to take, of those that are on their way.
    pub(crate) fn waiting_at(&self, relay: &RelayId) -> usize {
        match self.lanes.get(relay) {
            Some(lane) => lane.unsent.len().saturating_add(lane.in_flight.len()),
            None => self.unsettled,
        }
    }

    /// Records that a connected relay has left without a receipt for too long: since when, how many.
    pub(crate) fn late_at(&self, relay: &RelayId, now: Timestamp) -> Option<(Timestamp, usize)> {
        self.lanes.get(relay)?.late(now)
    }

    /// Relays that leave records without a receipt, each once until it has confirmed them.
    pub(crate) fn late(&mut self, now: Timestamp) -> Vec<RelayId> {
        let late = self.lanes.iter_mut();
        let late = late.filter(|(_, lane)| !lane.named && lane.late(now).is_some());
        late.map(|(relay, lane)| {
            lane.named = true;
            *relay
        })
        .collect()
    }

    /// When [`Self::late`] has something to say next.
    pub(crate) fn next_late(&self) -> Option<Timestamp> {
        let lanes = self.lanes.values().filter(|lane| !lane.named);
        let first = lanes.filter_map(|lane| lane.since.values().min()).min()?;
        Some(first.after_ms(limits::ANSWER_MS_MAX))
    }

    /// Records of one conversation without a receipt.
    pub(crate) fn of_conversation(&self, conversation: &ConversationId) -> usize {
        let count = self.per_conversation.get(conversation);
        count.copied().unwrap_or(0)
    }

    /// The first item of a chain that is on its way to a relay by itself.
    pub(crate) fn first_on_its_way(
        &self,
        relay: &RelayId,
        conversation: &ConversationId,
        chain: u32,
    ) -> Option<u64> {
        let lane = self.lanes.get(relay)?;
        let numbers = lane.unsent.iter().chain(&lane.in_flight);
        let places = numbers.filter_map(|number| self.entries.get(number)?.place);
        let here = places.filter(|p| p.conversation == *conversation && p.chain == chain);
        here.map(|place| place.seq).min()
    }
}

impl Entry {
    fn record(&self, number: u64) -> OutboxRecord {
        OutboxRecord {
            number,
            topic: self.topic,
            inbox_seed: self.inbox_seed.clone(),
            class: self.class,
            conversation: self.conversation,
            messages: Vec::new(),
            record: self.record.as_ref().clone(),
            place: self.place,
            relays: self.relays.clone(),
            receipts: self.receipts.iter().copied().collect(),
        }
    }

    fn is_for(&self, relay: &RelayId) -> bool {
        !self.receipts.contains(relay) && self.only.is_none_or(|only| only == *relay)
    }
}

fn number_write(number: u64) -> Write {
    Write::delete(Kind::Outbox, &[], &number.to_be_bytes())
}
