//! Subscribing to many topics at once, and to some of them only.

use std::collections::BTreeSet;

use sheaf_protocol::{
    Changed, ClientFrame, Cursor, Followed, RequestId, TopicId, digest_topics, limits::FOLLOWED_MAX,
};

use super::{Owner, Topics};
use crate::io::Scope;
use crate::stage::Stage;

/// What the answer to a request about many topics says.
#[derive(Default)]
pub(crate) struct Answered {
    /// Topics that have nothing new.
    pub(crate) unchanged: Vec<TopicId>,
    /// The relay's store is another one than some cursor's.
    pub(crate) restarted: bool,
}

impl Topics {
    /// Subscribes to topics: one by a proof and a request of its own, many by one frame.
    pub(super) fn subscribe_all(&mut self, ids: &[TopicId], stage: &mut Stage) {
        if let [id] = ids {
            return self.subscribe(*id, stage);
        }
        for chunk in ids.chunks(FOLLOWED_MAX) {
            self.follow_chunk(chunk, stage);
        }
    }

    fn follow_chunk(&mut self, ids: &[TopicId], stage: &mut Stage) {
        let Some(connection) = self.connection.clone() else {
            return;
        };
        let request = self.request();
        let mut topics = Vec::with_capacity(ids.len());
        let mut named = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(topic) = self.topics.get_mut(id) else {
                continue;
            };
            topic.subscribed = true;
            topic.live = false;
            let proof = topic
                .capability
                .prove(&connection.relay, &connection.exporter);
            self.proved.insert(*id);
            named.push((*id, topic.cursor));
            topics.push(Followed {
                capability: proof.capability,
                signature: proof.signature,
                after: topic.cursor,
            });
        }
        if !topics.is_empty() {
            self.following.insert(request, named);
            stage.transmit(ClientFrame::Follow { request, topics });
        }
    }

    /// The relay answered a request about many topics. An answer that speaks of other topics or
    /// places than were named is an error: each topic is asked for by itself then.
    pub(crate) fn followed(
        &mut self,
        request: RequestId,
        digest: [u8; 32],
        changed: &[Changed],
        stage: &mut Stage,
    ) -> Result<Answered, ()> {
        // An answer to what an earlier connection asked says nothing about this one.
        let Some(named) = self.following.remove(&request) else {
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
                self.subscribe(id, stage);
            }
            return Err(());
        }
        let mut restarted = false;
        for change in changed {
            let place = usize::try_from(change.place).unwrap_or(usize::MAX);
            if let Some((id, _)) = named.get(place) {
                restarted |= self.subscribed(id, change.restarted);
            }
        }
        let unchanged = unchanged.into_iter().map(|(id, _)| id).collect();
        Ok(Answered {
            unchanged,
            restarted,
        })
    }

    /// Reads more or less from now on.
    pub(crate) fn read_only(&mut self, scope: Scope, stage: &mut Stage) {
        self.scope = scope;
        if scope == Scope::Critical {
            let subscribed = self.topics.iter().filter(|(_, topic)| topic.subscribed);
            let subscribed: Vec<TopicId> = subscribed.map(|(id, _)| *id).collect();
            let kept: BTreeSet<TopicId> =
                self.within_scope(subscribed.clone()).into_iter().collect();
            for id in subscribed {
                if !kept.contains(&id) {
                    self.leave(&id, stage);
                }
            }
        }
        self.subscribe_ready(stage);
    }

    /// What was handed over is still taken in; reading goes on after it later.
    fn leave(&mut self, id: &TopicId, stage: &mut Stage) {
        if let Some(topic) = self.topics.get_mut(id) {
            topic.subscribed = false;
            topic.live = false;
            topic.early.clear();
            topic.early_records = 0;
            stage.transmit(ClientFrame::Unsubscribe { topic: *id });
        }
    }

    /// Of some topics those that are to be read now.
    pub(super) fn within_scope(&self, ids: Vec<TopicId>) -> Vec<TopicId> {
        if self.scope == Scope::Everything {
            return ids;
        }
        let newer = self.topics.values().filter(|topic| topic.caught_up);
        let superseded: BTreeSet<TopicId> = newer
            .flat_map(|topic| topic.after.iter().copied())
            .collect();
        let critical = |id: &TopicId| {
            self.topics.get(id).is_some_and(|topic| match topic.owner {
                Owner::Inbox | Owner::Rendezvous | Owner::Vault => true,
                Owner::Epoch(..) => {
                    let begun = topic.caught_up || !topic.after.is_empty();
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
