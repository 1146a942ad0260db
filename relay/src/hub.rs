//! Who gets a topic's new records.
//!
//! The hub knows, for every topic somebody is subscribed to, the newest durable sequence and the
//! subscriptions. A subscription is *behind*, and read from the store by its connection, or *live*,
//! and handed every record as it becomes durable. It becomes live only at the moment it has all
//! there is, under the hub's lock, so nothing falls between the two; a live subscription whose
//! connection cannot take more falls behind again, at the last record it was handed.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sheaf_protocol::{Delivery, ServerFrame, TopicId, encode_server_frame, limits};
use tokio::sync::{Notify, mpsc};

use crate::metrics::Metrics;

/// Frames that a connection's live queue holds.
const LIVE_FRAMES_MAX: usize = 1024;
/// Bytes that a connection's live queue holds.
const LIVE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Names one subscription: a topic may be subscribed to again, and stale work must be told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Generation(pub(crate) u64);

/// A subscription that is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Behind {
    pub(crate) topic: TopicId,
    pub(crate) generation: Generation,
    /// Sequence of the last record handed over.
    pub(crate) after: u64,
}

/// What a connection does next about a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Advance {
    /// It has everything; what comes, comes live.
    Live,
    /// Read on, up to this sequence.
    Behind(u64),
    /// It is no more.
    Gone,
}

/// Where the hub puts what a connection is to send. No queue here grows without bound: the live
/// queue has two maxima, and the backlog holds a subscription at most once.
#[derive(Debug)]
pub(crate) struct Outbox {
    live: mpsc::Sender<Bytes>,
    live_bytes: AtomicUsize,
    // A std mutex: it is never held across an await.
    backlog: Mutex<VecDeque<Behind>>,
    wake: Notify,
    closed: AtomicBool,
}

impl Outbox {
    /// An outbox and the receiving end of its live queue.
    pub(crate) fn new() -> (Arc<Self>, mpsc::Receiver<Bytes>) {
        let (live, receiver) = mpsc::channel(LIVE_FRAMES_MAX);
        let outbox = Self {
            live,
            live_bytes: AtomicUsize::new(0),
            backlog: Mutex::default(),
            wake: Notify::new(),
            closed: AtomicBool::new(false),
        };
        (Arc::new(outbox), receiver)
    }

    fn push_live(&self, frame: &Bytes) -> bool {
        let held = self.live_bytes.load(Ordering::Relaxed);
        if held.saturating_add(frame.len()) > LIVE_BYTES_MAX {
            return false;
        }
        self.live_bytes.fetch_add(frame.len(), Ordering::Relaxed);
        let sent = self.live.try_send(frame.clone()).is_ok();
        if !sent {
            self.live_bytes.fetch_sub(frame.len(), Ordering::Relaxed);
        }
        sent
    }

    /// Frees the room of live frames that were written.
    pub(crate) fn written(&self, bytes: usize) {
        self.live_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn push_behind(&self, behind: Behind) {
        self.backlog().push_back(behind);
        self.wake.notify_one();
    }

    /// Takes the subscriptions that fell behind.
    pub(crate) fn take_behind(&self) -> VecDeque<Behind> {
        std::mem::take(&mut *self.backlog())
    }

    /// Waits until some subscription may have fallen behind.
    pub(crate) async fn some_behind(&self) {
        self.wake.notified().await;
    }

    fn backlog(&self) -> MutexGuard<'_, VecDeque<Behind>> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The subscriptions of all connections.
#[derive(Debug)]
pub(crate) struct Hub {
    // A std mutex: it is never held across an await, and what is done under it is short.
    topics: Mutex<HashMap<TopicId, Topic>>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Topic {
    /// Newest durable sequence.
    head: u64,
    subscribers: Vec<Subscriber>,
}

#[derive(Debug)]
struct Subscriber {
    outbox: Arc<Outbox>,
    generation: Generation,
    live: bool,
    /// Last sequence handed over while live.
    last: u64,
}

impl Hub {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            topics: Mutex::default(),
            metrics,
        }
    }

    fn topics(&self) -> MutexGuard<'_, HashMap<TopicId, Topic>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a subscription, in place of an older one of the same connection. `head` is the topic's
    /// newest durable sequence; only the store's writer may say so.
    pub(crate) fn subscribe(&self, outbox: &Arc<Outbox>, behind: Behind, head: u64) {
        self.enter(outbox, behind, head, false);
    }

    /// Adds a subscription, live at once if it has everything.
    pub(crate) fn follow(&self, outbox: &Arc<Outbox>, behind: Behind, head: u64) {
        self.enter(outbox, behind, head, true);
    }

    fn enter(&self, outbox: &Arc<Outbox>, behind: Behind, head: u64, live: bool) {
        let mut topics = self.topics();
        if outbox.closed.load(Ordering::Relaxed) {
            return;
        }
        let topic = topics.entry(behind.topic).or_insert_with(|| Topic {
            head,
            subscribers: Vec::new(),
        });
        topic.head = topic.head.max(head);
        topic.drop_subscriber(outbox, &self.metrics);
        let live = live && topic.head == behind.after;
        topic.subscribers.push(Subscriber {
            outbox: Arc::clone(outbox),
            generation: behind.generation,
            live,
            last: behind.after,
        });
        self.metrics.subscriptions.increment(1.0);
        if !live {
            outbox.push_behind(behind);
        }
    }

    pub(crate) fn unsubscribe(&self, outbox: &Arc<Outbox>, topic: &TopicId) {
        self.drop_subscriptions(&mut self.topics(), outbox, topic);
    }

    /// Ends all subscriptions of a connection, those under way included.
    pub(crate) fn disconnect(
        &self,
        outbox: &Arc<Outbox>,
        subscribed: impl IntoIterator<Item = TopicId>,
    ) {
        let mut topics = self.topics();
        outbox.closed.store(true, Ordering::Relaxed);
        for topic in subscribed {
            self.drop_subscriptions(&mut topics, outbox, &topic);
        }
    }

    fn drop_subscriptions(
        &self,
        topics: &mut HashMap<TopicId, Topic>,
        outbox: &Arc<Outbox>,
        id: &TopicId,
    ) {
        let Some(topic) = topics.get_mut(id) else {
            return;
        };
        topic.drop_subscriber(outbox, &self.metrics);
        if topic.subscribers.is_empty() {
            topics.remove(id);
        }
    }

    /// Says how a subscription that has everything up to `behind.after` goes on.
    pub(crate) fn advance(&self, outbox: &Arc<Outbox>, behind: &Behind) -> Advance {
        let mut topics = self.topics();
        let Some(topic) = topics.get_mut(&behind.topic) else {
            return Advance::Gone;
        };
        let head = topic.head;
        let subscriber = topic.subscribers.iter_mut().find(|subscriber| {
            Arc::ptr_eq(&subscriber.outbox, outbox) && subscriber.generation == behind.generation
        });
        match subscriber {
            None => Advance::Gone,
            Some(_) if behind.after < head => Advance::Behind(head),
            Some(subscriber) => {
                subscriber.live = true;
                subscriber.last = head;
                Advance::Live
            }
        }
    }

    /// Hands durable records of one topic to its live subscriptions. `previous` is the topic's head
    /// before them.
    pub(crate) fn publish(&self, id: TopicId, previous: u64, records: Vec<Delivery>) {
        let mut topics = self.topics();
        let Some(topic) = topics.get_mut(&id) else {
            return;
        };
        topic.reach(id, previous, &self.metrics);
        for (frame, last) in frames(id, previous, records) {
            for subscriber in &mut topic.subscribers {
                if !subscriber.live {
                    continue;
                }
                if subscriber.outbox.push_live(&frame) {
                    subscriber.last = last;
                } else {
                    subscriber.fall_behind(id, &self.metrics);
                }
            }
            topic.head = last;
        }
    }

    /// Notes that a topic holds records up to `sequence`; those that the hub was never handed (the
    /// store failed after it had taken them) are read by everybody from the store.
    pub(crate) fn reach(&self, id: TopicId, sequence: u64) {
        if let Some(topic) = self.topics().get_mut(&id) {
            topic.reach(id, sequence, &self.metrics);
        }
    }

    /// Hands an ephemeral record to everybody who has room for it.
    pub(crate) fn publish_ephemeral(&self, id: TopicId, record: Vec<u8>) {
        let mut topics = self.topics();
        let Some(topic) = topics.get_mut(&id) else {
            return;
        };
        let delivery = Delivery {
            sequence: 0,
            record,
        };
        let frame = Bytes::from(encode_server_frame(&ServerFrame::Records {
            topic: id,
            previous: 0,
            records: vec![delivery],
        }));
        for subscriber in &mut topic.subscribers {
            if !subscriber.outbox.push_live(&frame) {
                self.metrics.ephemeral_dropped.increment(1);
            }
        }
    }
}

impl Topic {
    fn reach(&mut self, id: TopicId, sequence: u64, metrics: &Metrics) {
        if sequence <= self.head {
            return;
        }
        self.head = sequence;
        for subscriber in &mut self.subscribers {
            if subscriber.live {
                subscriber.fall_behind(id, metrics);
            }
        }
    }

    fn drop_subscriber(&mut self, outbox: &Arc<Outbox>, metrics: &Metrics) {
        let place = self
            .subscribers
            .iter()
            .position(|subscriber| Arc::ptr_eq(&subscriber.outbox, outbox));
        if let Some(place) = place {
            self.subscribers.swap_remove(place);
            metrics.subscriptions.decrement(1.0);
        }
    }
}

impl Subscriber {
    fn fall_behind(&mut self, topic: TopicId, metrics: &Metrics) {
        self.live = false;
        metrics.fell_behind.increment(1);
        self.outbox.push_behind(Behind {
            topic,
            generation: self.generation,
            after: self.last,
        });
    }
}

/// Encodes records once for all subscribers, in frames within the limits of a delivery.
fn frames(topic: TopicId, mut previous: u64, records: Vec<Delivery>) -> Vec<(Bytes, u64)> {
    let mut frames = Vec::new();
    let mut chunk: Vec<Delivery> = Vec::new();
    let mut bytes = 0_usize;
    let mut close = |chunk: &mut Vec<Delivery>| {
        let Some(last) = chunk.last().map(|delivery| delivery.sequence) else {
            return;
        };
        let frame = ServerFrame::Records {
            topic,
            previous,
            records: std::mem::take(chunk),
        };
        frames.push((Bytes::from(encode_server_frame(&frame)), last));
        previous = last;
    };
    for record in records {
        let over = bytes.saturating_add(record.record.len()) > limits::DELIVERY_BYTES_MAX;
        if over || chunk.len() >= limits::DELIVERY_RECORDS_MAX {
            close(&mut chunk);
            bytes = 0;
        }
        bytes = bytes.saturating_add(record.record.len());
        chunk.push(record);
    }
    close(&mut chunk);
    frames
}

#[cfg(test)]
mod tests;
