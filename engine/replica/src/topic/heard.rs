//! Which records came from where lately: what several relays deliver is taken in once.

use std::collections::{BTreeMap, VecDeque};

use sheaf_protocol::{RecordHash, RelayId, TopicId};

use super::{Origin, Topics};
use crate::limits;

/// A record on its topic.
pub(super) type Name = (TopicId, RecordHash);

/// How a record stands to what came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It is not known to have come.
    New,
    /// Another relay, or an earlier subscription, delivered it.
    Elsewhere,
    /// The same subscription delivered it at another place.
    Again,
    /// Another device gave it; no relay delivered it yet.
    Given,
}

/// The newest records that came, over all topics. At the bound the oldest is forgotten: what comes
/// again after that is opened and found to be known.
#[derive(Default)]
pub(super) struct Window {
    by: BTreeMap<Name, Vec<(RelayId, u64)>>,
    order: VecDeque<Name>,
}

impl Window {
    pub(super) fn look(&self, origin: &Origin, hash: RecordHash) -> Heard {
        match self.by.get(&(origin.topic, hash)) {
            None => Heard::New,
            Some(by) if by.is_empty() => Heard::Given,
            Some(by) if by.contains(&(origin.relay, origin.subscription)) => Heard::Again,
            Some(_) => Heard::Elsewhere,
        }
    }

    /// Whatever comes of a topic counts as new again.
    pub(super) fn forget(&mut self, topic: &TopicId) {
        self.by.retain(|(of, _), _| of != topic);
        self.order.retain(|(of, _)| of != topic);
    }

    pub(super) fn note(&mut self, origin: &Origin, hash: RecordHash) {
        let by = self.note_given((origin.topic, hash));
        by.retain(|(relay, _)| *relay != origin.relay);
        by.push((origin.relay, origin.subscription));
    }

    /// Which relays delivered a record that came, in whatever way.
    pub(super) fn note_given(&mut self, name: Name) -> &mut Vec<(RelayId, u64)> {
        if !self.by.contains_key(&name) {
            self.order.push_back(name);
            if self.order.len() > limits::HEARD_RECORDS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.by.remove(&oldest);
            }
        }
        self.by.entry(name).or_default()
    }
}

impl Topics {
    /// How a record stands to what came lately.
    pub(crate) fn heard(&self, origin: &Origin, hash: RecordHash) -> Heard {
        self.heard.look(origin, hash)
    }

    /// A record was taken in.
    pub(crate) fn note(&mut self, origin: &Origin, hash: RecordHash) {
        self.heard.note(origin, hash);
    }

    /// A device gave a record of a topic, whose delivery by a relay is no replay.
    pub(crate) fn note_given(&mut self, topic: TopicId, hash: RecordHash) {
        self.heard.note_given((topic, hash));
    }
}
