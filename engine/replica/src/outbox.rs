//! Sealed records on their way to the relay. One leaves only when a valid receipt for it came.

use std::collections::BTreeMap;
use std::sync::Arc;

use sheaf_crypto::{ConversationId, inbox_capability};
use sheaf_protocol::{
    Class, ClientFrame, ErrorCode, RecordHash, Refusal, RequestId, TopicId, hash_record,
};

use crate::document::MessageId;
use crate::limits;
use crate::record::{Kind, OutboxRecord, Write};
use crate::stage::Stage;
use crate::time::Timestamp;
use crate::topic::{Capability, Topics};

/// One record on its way.
struct Entry {
    topic: TopicId,
    /// For topics that this device does not follow itself.
    capability: Option<Capability>,
    class: Class,
    conversation: Option<ConversationId>,
    messages: Vec<MessageId>,
    record: Arc<Vec<u8>>,
    hash: RecordHash,
    in_flight: bool,
    attempts: usize,
    not_before: Timestamp,
}

/// What a receipt settled.
pub(crate) struct Settled {
    pub(crate) conversation: Option<ConversationId>,
    pub(crate) messages: Vec<MessageId>,
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
}

/// All records on their way.
#[derive(Default)]
pub(crate) struct Outbox {
    entries: BTreeMap<u64, Entry>,
    /// Unsent ones, in order.
    unsent: std::collections::BTreeSet<u64>,
    in_flight: BTreeMap<RequestId, u64>,
    next: u64,
    per_conversation: BTreeMap<ConversationId, usize>,
    held: bool,
    next_try: Option<Timestamp>,
    /// The relay takes nothing before then, as it said itself.
    shut_until: Timestamp,
}

impl Outbox {
    /// Queues a record; it is sent by the next [`Self::pump`].
    pub(crate) fn push(&mut self, outgoing: Outgoing, stage: &mut Stage) {
        let number = self.next;
        let record = OutboxRecord {
            number,
            topic: outgoing.topic,
            inbox_seed: outgoing.inbox_seed.map(Vec::from).unwrap_or_default(),
            class: outgoing.class,
            conversation: outgoing.conversation,
            messages: outgoing.messages,
            record: outgoing.record,
        };
        stage.write(Write::put(
            Kind::Outbox,
            &[],
            &number.to_be_bytes(),
            &record,
        ));
        self.restore(record);
    }

    pub(crate) fn restore(&mut self, record: OutboxRecord) {
        let seed: Option<[u8; 32]> = record.inbox_seed.as_slice().try_into().ok();
        let capability = seed.map(|seed| Capability::Key(Arc::new(inbox_capability(&seed))));
        self.next = self.next.max(record.number.saturating_add(1));
        if let Some(conversation) = record.conversation {
            *self.per_conversation.entry(conversation).or_default() += 1;
        }
        let hash = hash_record(&record.record);
        let entry = Entry {
            topic: record.topic,
            capability,
            class: record.class,
            conversation: record.conversation,
            messages: record.messages,
            record: Arc::new(record.record),
            hash,
            in_flight: false,
            attempts: 0,
            not_before: Timestamp(0),
        };
        self.unsent.insert(record.number);
        self.entries.insert(record.number, entry);
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
        if topics.connection.is_none() {
            return;
        }
        if now < self.shut_until {
            return stage.wait(self.shut_until);
        }
        let room = limits::APPENDS_IN_FLIGHT_MAX.saturating_sub(self.in_flight.len());
        let due = |number: &&u64| {
            self.entries
                .get(number)
                .is_some_and(|e| e.not_before <= now)
        };
        let numbers: Vec<u64> = self.unsent.iter().filter(due).take(room).copied().collect();
        for number in numbers {
            let Some(entry) = self.entries.get_mut(&number) else {
                continue;
            };
            let capability = entry
                .capability
                .clone()
                .or_else(|| topics.capability(&entry.topic));
            let Some(capability) = capability else {
                continue;
            };
            topics.prove(entry.topic, &capability, stage);
            let request = topics.request();
            entry.in_flight = true;
            self.unsent.remove(&number);
            self.in_flight.insert(request, number);
            stage.transmit(ClientFrame::Append {
                request,
                topic: entry.topic,
                class: entry.class,
                record: entry.record.as_ref().clone(),
            });
        }
        self.next_try = self.soonest(now);
    }

    /// When a refused record is to be tried again.
    pub(crate) fn next_try(&self) -> Option<Timestamp> {
        self.next_try
    }

    fn soonest(&self, now: Timestamp) -> Option<Timestamp> {
        let waiting = self
            .unsent
            .iter()
            .filter_map(|number| self.entries.get(number));
        waiting
            .map(|entry| entry.not_before)
            .filter(|at| *at > now)
            .min()
    }

    /// Takes back what is on its way to a topic, in flight or not: something newer replaces it.
    pub(crate) fn withdraw(&mut self, topic: &TopicId, stage: &mut Stage) {
        let of_topic = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.topic == *topic);
        let numbers: Vec<u64> = of_topic.map(|(number, _)| *number).collect();
        for number in numbers {
            self.entries.remove(&number);
            self.unsent.remove(&number);
            self.in_flight.retain(|_, flying| *flying != number);
            stage.write(Write::delete(Kind::Outbox, &[], &number.to_be_bytes()));
        }
    }

    /// What a receipt is for: topic and hash to compare it with.
    pub(crate) fn awaited(&self, request: RequestId) -> Option<(TopicId, RecordHash)> {
        let entry = self.entries.get(self.in_flight.get(&request)?)?;
        Some((entry.topic, entry.hash))
    }

    /// A valid receipt came: the record is durable at the relay.
    pub(crate) fn settle(&mut self, request: RequestId, stage: &mut Stage) -> Option<Settled> {
        let number = self.in_flight.remove(&request)?;
        let entry = self.entries.remove(&number)?;
        stage.write(Write::delete(Kind::Outbox, &[], &number.to_be_bytes()));
        if let Some(conversation) = &entry.conversation
            && let Some(count) = self.per_conversation.get_mut(conversation)
        {
            *count = count.saturating_sub(1);
        }
        Some(Settled {
            conversation: entry.conversation,
            messages: entry.messages,
        })
    }

    /// The relay refused a record: it is tried again later, never dropped.
    pub(crate) fn refused(&mut self, refusal: &Refusal, now: Timestamp) -> bool {
        let Some(number) = refusal
            .request
            .and_then(|request| self.in_flight.remove(&request))
        else {
            return false;
        };
        let whole_relay = matches!(
            refusal.code,
            ErrorCode::RateLimited | ErrorCode::Unavailable | ErrorCode::Draining
        );
        if whole_relay && refusal.retry_after_ms > 0 {
            let asked = u64::from(refusal.retry_after_ms).min(limits::RETRY_AFTER_MS_MAX);
            let until = now.after_ms(asked);
            self.shut_until = self.shut_until.max(until);
        }
        if let Some(entry) = self.entries.get_mut(&number) {
            let place = entry
                .attempts
                .min(limits::RETRY_DELAYS_MS.len().saturating_sub(1));
            let delay = limits::RETRY_DELAYS_MS
                .get(place)
                .copied()
                .unwrap_or(16_000);
            entry.attempts = entry.attempts.saturating_add(1);
            entry.in_flight = false;
            entry.not_before = now.after_ms(delay.max(u64::from(refusal.retry_after_ms)));
            self.unsent.insert(number);
        }
        true
    }

    /// The connection is gone: what had no receipt is sent again on the next one.
    pub(crate) fn link_down(&mut self) {
        self.in_flight.clear();
        self.next_try = None;
        for (number, entry) in &mut self.entries {
            entry.in_flight = false;
            entry.attempts = 0;
            entry.not_before = Timestamp(0);
            self.unsent.insert(*number);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= limits::OUTBOX_RECORDS_MAX
    }

    /// Records of one conversation without a receipt.
    pub(crate) fn of_conversation(&self, conversation: &ConversationId) -> usize {
        self.per_conversation
            .get(conversation)
            .copied()
            .unwrap_or(0)
    }
}
