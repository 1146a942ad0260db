//! Subscribing to many topics at once, and to some of them only.

use std::collections::BTreeSet;

use sheaf_protocol::{
    Changed, ClientFrame, Cursor, Followed, RelayId, RequestId, TopicId, digest_topics,
    limits::FOLLOWED_MAX,
};

use super::{Owner, Topics};
use crate::io::Scope;
use crate::record::{Kind, Write};
use crate::stage::Stage;

/// A topic of a request about many, and the cursor that was named.
pub(super) type Named = (TopicId, Option<Cursor>);

/// What the answer to a request about many topics says.
#[derive(Default)]
pub(crate) struct Answered {
    /// Topics that have nothing new.
    pub(crate) unchanged: Vec<TopicId>,
    /// Topics of which the relay holds less than it had.
    pub(crate) rolled_back: Vec<Owner>,
}

impl Topics {
    /// Subscribes to topics: one by a proof and a request of its own, many by one frame.
    pub(super) fn subscribe_all(&mut self, relay: RelayId, ids: &[TopicId], stage: &mut Stage) {
        if let [id] = ids {
            return self.subscribe(relay, *id, stage);
        }
        for chunk in ids.chunks(FOLLOWED_MAX) {
            self.follow_chunk(relay, chunk, stage);
        }
    }

    fn follow_chunk(&mut self, relay: RelayId, ids: &[TopicId], stage: &mut Stage) {
        let request = self.request();
        let Some(connection) = self.connections.get_mut(&relay) else {
            return;
        };
        let mut topics = Vec::with_capacity(ids.len());
        let mut named = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(topic) = self.topics.get_mut(id) else {
                continue;
            };
            let proof = topic.capability.prove(&relay, &connection.exporter);
            connection.proved.insert(*id);
            let reading = topic.readings.entry(relay).or_default();
            reading.begin(request, connection.log);
            named.push((*id, reading.cursor));
            topics.push(Followed {
                capability: proof.capability,
                signature: proof.signature,
                after: reading.cursor,
            });
        }
        if !topics.is_empty() {
            self.following.insert(request, (relay, named));
            stage.transmit(relay, ClientFrame::Follow { request, topics });
        }
    }

    /// The relay answered a request about many topics. An answer that speaks of other topics or
    /// places than were named is an error: each topic is asked for by itself then.
    pub(crate) fn followed(
        &mut self,
        relay: RelayId,
        request: RequestId,
        digest: [u8; 32],
        changed: &[Changed],
        stage: &mut Stage,
    ) -> Result<Answered, ()> {
        // An answer to what an earlier connection asked says nothing about this one.
        let asked = self.following.get(&request);
        if asked.is_none_or(|(asked, _)| *asked != relay) {
            return Ok(Answered::default());
        }
        let Some((_, named)) = self.following.remove(&request) else {
            return Ok(Answered::default());
        };
        let places: BTreeSet<u32> = changed.iter().map(|changed| changed.place).collect();
        let unchanged: Vec<(TopicId, u64)> = named
            .iter()
            .zip(0..)
            .filter(|(_, place)| !places.contains(place))
            .map(|((id, cursor), _)| (*id, sequence(*cursor)))
            .collect();
        let right = unchanged.len().saturating_add(changed.len()) == named.len();
        if !right || digest_topics(unchanged.iter().copied()) != digest {
            for (id, _) in named {
                self.subscribe(relay, id, stage);
            }
            return Err(());
        }
        let mut answered = Answered::default();
        for change in changed {
            let place = usize::try_from(change.place).unwrap_or(usize::MAX);
            if let Some((id, _)) = named.get(place) {
                let head = (change.head, change.restarted);
                let owner = self.subscribed(relay, id, head, stage);
                answered.rolled_back.extend(owner);
            }
        }
        for (id, head) in unchanged {
            match self.subscribed(relay, &id, (head, false), stage) {
                Some(owner) => answered.rolled_back.push(owner),
                None => answered.unchanged.push(id),
            }
        }
        Ok(answered)
    }

    /// Reads more or less from now on.
    pub(crate) fn read_only(&mut self, scope: Scope, stage: &mut Stage) {
        self.scope = scope;
        if scope == Scope::Critical {
            let ids: Vec<TopicId> = self.topics.keys().copied().collect();
            let kept: BTreeSet<TopicId> = self.within_scope(ids.clone()).into_iter().collect();
            for id in ids.iter().filter(|id| !kept.contains(id)) {
                self.leave(id, stage);
            }
        }
        self.subscribe_ready(stage);
    }

    /// Follows a topic no longer, and forgets where it was read to.
    pub(crate) fn erase(&mut self, topic: &TopicId, stage: &mut Stage) {
        let relays = self.topics.get(topic).into_iter();
        let relays = relays.flat_map(|known| known.readings.keys());
        let orders = relays.map(|relay| relay.0.to_vec()).chain([Vec::new()]);
        for order in orders {
            stage.write(Write::delete(Kind::Cursor, &topic.0, &order));
        }
        self.beginnings.remove(topic);
        self.forget(topic, stage);
    }

    /// What was handed over is still taken in; reading goes on after it later.
    fn leave(&mut self, id: &TopicId, stage: &mut Stage) {
        let readings = self.topics.get_mut(id).into_iter();
        for (relay, reading) in readings.flat_map(|topic| &mut topic.readings) {
            if reading.subscribed {
                reading.stop();
                stage.transmit(*relay, ClientFrame::Unsubscribe { topic: *id });
            }
        }
    }

    /// Of some topics those that are to be read now.
    pub(super) fn within_scope(&self, ids: Vec<TopicId>) -> Vec<TopicId> {
        if self.scope == Scope::Everything {
            return ids;
        }
        let newer = self.topics.values().filter(|topic| topic.was_caught_up());
        let superseded: BTreeSet<TopicId> = newer
            .flat_map(|topic| topic.after.iter().copied())
            .collect();
        let critical = |id: &TopicId| {
            self.topics.get(id).is_some_and(|topic| match topic.owner {
                Owner::Inbox | Owner::Rendezvous | Owner::Vault => true,
                Owner::Epoch(..) => {
                    let begun = topic.was_caught_up() || !topic.after.is_empty();
                    begun && !superseded.contains(id)
                }
            })
        };
        ids.into_iter().filter(critical).collect()
    }
}

fn sequence(cursor: Option<Cursor>) -> u64 {
    cursor.map_or(0, |cursor| cursor.sequence)
}
