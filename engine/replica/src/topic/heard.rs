//! Which records came from where lately: what several relays deliver is taken in once.

use std::collections::{BTreeMap, VecDeque};

use sheaf_protocol::{RecordHash, RelayId, TopicId};

use super::Origin;
use crate::limits;

type Name = (TopicId, RecordHash);

/// How a record stands to what came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It is not known to have come.
    New,
    /// Another relay, or an earlier subscription, delivered it.
    Elsewhere,
    /// The same subscription delivered it at another place.
    Again,
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
        let name = (origin.topic, hash);
        let by = self.by.entry(name).or_insert_with(|| {
            self.order.push_back(name);
            Vec::new()
        });
        by.retain(|(relay, _)| *relay != origin.relay);
        by.push((origin.relay, origin.subscription));
        if self.order.len() > limits::HEARD_RECORDS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.by.remove(&oldest);
        }
    }
}
