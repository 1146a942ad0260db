//! Reading a topic again after the relay delivered what does not fit.
//!
//! Records of such a delivery are not taken in, so that something is missing from there on. The
//! device subscribes again from its cursor: at once the first time, then later and later.

use sheaf_protocol::{ClientFrame, RelayId, RequestId, TopicId};

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
    /// The relay asked for time.
    pub(super) fn not_before(&mut self, time: Timestamp) {
        self.again = self.again.map(|again| again.max(time));
    }

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
    pub(crate) fn repair(
        &mut self,
        relay: RelayId,
        id: &TopicId,
        now: Timestamp,
        stage: &mut Stage,
    ) {
        let reading = self.reading(&relay, id).filter(|known| known.subscribed);
        let Some(reading) = reading else {
            return;
        };
        reading.stop();
        reading.faults.add(now);
        stage.transmit(relay, ClientFrame::Unsubscribe { topic: *id });
        self.subscribe_due(now, stage);
    }

    /// A relay refused subscriptions: they are asked for again later. `false` if it refused none.
    pub(crate) fn refused(
        &mut self,
        relay: RelayId,
        (request, retry_after_ms): (RequestId, u64),
        now: Timestamp,
        stage: &mut Stage,
    ) -> bool {
        self.following.remove(&request);
        let asked = self.topics.iter().filter(|(_, topic)| {
            let reading = topic.readings.get(&relay);
            reading.is_some_and(|r| r.subscribed && !r.live && r.subscription == request.0)
        });
        let asked: Vec<TopicId> = asked.map(|(id, _)| *id).collect();
        let retry = now.after_ms(retry_after_ms.min(limits::RETRY_AFTER_MS_MAX));
        for id in &asked {
            if let Some(reading) = self.reading(&relay, id) {
                reading.stop();
                reading.faults.add(now);
                reading.faults.not_before(retry);
            }
        }
        self.subscribe_due(now, stage);
        !asked.is_empty()
    }

    /// Subscribes to the topics whose time has come.
    pub(crate) fn subscribe_due(&mut self, now: Timestamp, stage: &mut Stage) {
        let mut due = false;
        let readings = self.topics.values_mut();
        let mut next: Option<Timestamp> = None;
        for reading in readings.flat_map(|topic| topic.readings.values_mut()) {
            match reading.faults.again {
                Some(again) if again <= now => {
                    reading.faults.again = None;
                    due = true;
                }
                Some(again) => next = Some(next.map_or(again, |known| known.min(again))),
                None => {}
            }
        }
        self.next_repair = next;
        if due {
            self.subscribe_ready(stage);
        }
    }

    /// When the next topic is to be subscribed again.
    pub(crate) fn next_repair(&self) -> Option<Timestamp> {
        self.next_repair
    }
}
