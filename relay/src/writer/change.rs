//! Subscriptions and questions, between two batches: what the store shows then is durable.

use sheaf_protocol::{Changed, Cursor, ErrorCode, digest_topics};

use super::{
    FollowCommand, Outcome, SubscribeCommand, WitnessCommand, Writer, answer, unavailable,
};
use crate::hub::Behind;

impl Writer {
    /// The head is read between batches, when everything the store shows is durable.
    pub(super) fn subscribe(&self, command: SubscribeCommand) {
        let SubscribeCommand {
            topic,
            after,
            generation,
            outbox,
            reply,
        } = command;
        let head = match self.storage.stat(&topic) {
            Ok(stat) => stat.head,
            Err(error) => {
                tracing::warn!(%error, "a subscription was refused: the store is not readable");
                self.metrics.store_errors.increment(1);
                return answer(reply, unavailable(Some(topic)));
            }
        };
        let known =
            after.is_none_or(|cursor| cursor.log == self.storage.log() && cursor.sequence <= head);
        let after = after.filter(|_| known).map_or(0, |cursor| cursor.sequence);
        let behind = Behind {
            topic,
            generation,
            after,
        };
        answer(
            reply,
            Outcome::Subscribed {
                topic,
                head,
                restarted: !known,
            },
        );
        self.hub.subscribe(&outbox, behind, head);
    }

    /// What a device has everything of is live from here on, without another word; the rest is read
    /// from the store. All heads are of one moment, between two batches.
    pub(super) fn follow(&self, command: FollowCommand) {
        let FollowCommand {
            topics,
            outbox,
            reply,
        } = command;
        let log = self.storage.log();
        let mut heads = Vec::with_capacity(topics.len());
        for (topic, _, _) in &topics {
            match self.storage.stat(topic) {
                Ok(stat) => heads.push(stat.head),
                Err(error) => {
                    tracing::warn!(%error, "subscriptions were refused: the store is not readable");
                    self.metrics.store_errors.increment(1);
                    return answer(reply, unavailable(None));
                }
            }
        }
        let mut changed = Vec::new();
        let mut unchanged = Vec::new();
        let mut subscriptions = Vec::with_capacity(topics.len());
        for (((topic, after, generation), head), place) in topics.into_iter().zip(heads).zip(0..) {
            let known = after.is_none_or(|cursor| cursor.log == log && cursor.sequence <= head);
            let after = after.filter(|_| known).map_or(0, |cursor| cursor.sequence);
            if known && after == head {
                unchanged.push((topic, head));
            } else {
                let restarted = !known;
                changed.push(Changed {
                    place,
                    head,
                    restarted,
                });
            }
            let behind = Behind {
                topic,
                generation,
                after,
            };
            subscriptions.push((behind, head));
        }
        let digest = digest_topics(unchanged);
        answer(reply, Outcome::Followed { digest, changed });
        for (behind, head) in subscriptions {
            self.hub.follow(&outbox, behind, head);
        }
    }

    pub(super) fn witness(&self, command: WitnessCommand) {
        let WitnessCommand {
            topic,
            sequence,
            reply,
        } = command;
        let outcome = match self.storage.history(&topic, sequence) {
            Ok(Some((sequence, history))) => Outcome::Witnessed {
                topic,
                cursor: Cursor {
                    log: self.storage.log(),
                    sequence,
                },
                history,
            },
            Ok(None) => Outcome::Refused {
                topic: Some(topic),
                code: ErrorCode::Gone,
                retry_after_ms: 0,
                message: "nothing is kept about that place",
            },
            Err(error) => {
                tracing::warn!(%error, "a statement was refused: the store is not readable");
                self.metrics.store_errors.increment(1);
                unavailable(Some(topic))
            }
        };
        answer(reply, outcome);
    }
}
