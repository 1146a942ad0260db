//! Reading a topic again after the relay delivered what does not fit.
//!
//! Records of such a delivery are not taken in, so that something is missing from there on. The
//! device subscribes again from its cursor: at once the first time, then later and later.

use sheaf_protocol::{ClientFrame, TopicId};

use super::Topics;
use crate::limits;
use crate::stage::Stage;
use crate::time::Timestamp;

/// Deliveries of one topic that did not fit.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    count: usize,
    last: Timestamp,
    /// When the topic is subscribed again.
    again: Option<Timestamp>,
}

impl Faults {
    pub(super) fn waits(&self) -> bool {
        self.again.is_some()
    }

    /// The next connection subscribes at once; how long a fault is remembered does not change.
    pub(super) fn connection_ended(&mut self) {
        self.again = None;
    }

    fn add(&mut self, now: Timestamp) {
        if now.since_ms(self.last) > limits::RESUBSCRIBE_FORGIVEN_MS {
            self.count = 0;
        }
        let delays = limits::RESUBSCRIBE_DELAYS_MS;
        let delay = delays.get(self.count).or(delays.last()).copied();
        self.count = self.count.saturating_add(1);
        self.last = now;
        self.again = Some(now.after_ms(delay.unwrap_or_default()));
    }
}

impl Topics {
    /// Reads a topic no longer on this subscription, and again from its cursor after a while.
    pub(crate) fn repair(&mut self, id: &TopicId, now: Timestamp, stage: &mut Stage) {
        let Some(topic) = self.topics.get_mut(id).filter(|topic| topic.subscribed) else {
            return;
        };
        topic.subscribed = false;
        topic.live = false;
        topic.early.clear();
        topic.early_records = 0;
        topic.faults.add(now);
        stage.transmit(ClientFrame::Unsubscribe { topic: *id });
        self.subscribe_due(now, stage);
    }

    /// Subscribes to the topics whose time has come.
    pub(crate) fn subscribe_due(&mut self, now: Timestamp, stage: &mut Stage) {
        let mut due = false;
        for topic in self.topics.values_mut() {
            if topic.faults.again.is_some_and(|again| again <= now) {
                topic.faults.again = None;
                due = true;
            }
        }
        let waiting = self.topics.values().filter_map(|topic| topic.faults.again);
        self.next_repair = waiting.min();
        if due {
            self.subscribe_ready(stage);
        }
    }

    /// When the next topic is to be subscribed again.
    pub(crate) fn next_repair(&self) -> Option<Timestamp> {
        self.next_repair
    }
}
