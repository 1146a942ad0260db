//! Relays: which are connected, which are known, and what each of them lacks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sheaf_crypto::ConversationId;
use sheaf_protocol::{LogId, RelayId};

use super::Replica;
use crate::account::addresses;
use crate::conversation::Conversation;
use crate::io::Event;
use crate::limits;
use crate::misbehaviour::{Act, Suspect};
use crate::record::{Kind, RelayRecord, Write};
use crate::time::Timestamp;
use crate::topic::{Connection, Owner};

/// How a relay stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayInfo {
    /// The relay.
    pub relay: RelayId,
    /// There is a connection to it.
    pub connected: bool,
    /// When it last said hello; `None` if it never did.
    pub hello: Option<Timestamp>,
    /// Records on their way to it.
    pub pending: u64,
    /// Conversations of which it lacks something that this device offers.
    pub behind: u64,
    /// Records that it has left without a receipt for half a minute or longer, and since when.
    pub unconfirmed: Option<(u64, Timestamp)>,
    /// Pieces of evidence against it.
    pub evidence: u64,
}

/// Relays that this device has been connected to, and whom something is offered to.
#[derive(Default)]
pub(super) struct Relays {
    known: BTreeMap<RelayId, RelayRecord>,
    /// Conversations whose items a connected relay may lack, to be offered one after the other.
    offering: BTreeMap<RelayId, VecDeque<ConversationId>>,
}

impl Relays {
    pub(super) fn restore(&mut self, record: RelayRecord) {
        self.known.insert(record.relay, record);
    }
}

impl Replica {
    pub(super) fn relay_up(&mut self, relay: RelayId, exporter: [u8; 32], log: LogId) {
        self.stage.notify(Event::Connected { relay });
        self.stage.forget_frames(&relay);
        self.was_caught_up = false;
        let replaced = self.greet(relay, log);
        let connection = Connection::new(exporter, log);
        let claimed = self.topics.link_up(relay, connection, &mut self.stage);
        self.outbox.link_up(relay, &mut self.stage);
        self.outbox
            .pump(&mut self.topics, self.now, &mut self.stage);
        let ids: Vec<ConversationId> = self.conversations.keys().copied().collect();
        for id in &ids {
            self.on_conversation(id, |known, context| {
                match (replaced, known.knows_of(&relay)) {
                    (false, true) => known.doubt(&relay),
                    (false, false) if claimed => known.presume(relay, context),
                    _ => known.offer_anew(relay, context),
                }
                known.run(context);
            });
        }
        self.relays.offering.insert(relay, ids.into());
        self.resume_linking(relay);
    }

    /// Remembers the relay; `true` if its store is another one than at the last hello.
    fn greet(&mut self, relay: RelayId, log: LogId) -> bool {
        let hello = self.now;
        let record = RelayRecord { relay, log, hello };
        let before = self.relays.known.insert(relay, record);
        self.stage
            .write_last(Write::put(Kind::Relay, &[], &relay.0, &record));
        if before.is_none() && self.relays.known.len() > limits::RELAYS_KNOWN_MAX {
            self.forget_silent();
        }
        let replaced = before.is_some_and(|before| before.log != log);
        if replaced {
            self.stage
                .report(Suspect::Relay(relay), Act::StoreReplaced, None);
        }
        replaced
    }

    fn forget_silent(&mut self) {
        let away = self.relays.known.values();
        let away = away.filter(|known| !self.topics.is_connected_to(&known.relay));
        let Some(relay) = away
            .min_by_key(|known| known.hello)
            .map(|known| known.relay)
        else {
            return;
        };
        self.relays.known.remove(&relay);
        self.stage.write(Write::delete(Kind::Relay, &[], &relay.0));
        self.topics.forget_relay(&relay, &mut self.stage);
        let ids: Vec<ConversationId> = self.conversations.keys().copied().collect();
        for id in ids {
            self.on_conversation(&id, |known, context| known.forget_relay(&relay, context));
        }
    }

    pub(super) fn relay_down(&mut self, relay: RelayId) {
        self.stage.forget_frames(&relay);
        if self.topics.is_connected_to(&relay) {
            self.stage.notify(Event::Disconnected { relay });
        }
        self.topics.link_down(&relay);
        self.outbox.link_down(&relay, &mut self.stage);
        self.relays.offering.remove(&relay);
        self.linking_down(&relay);
    }

    /// A relay holds less of a topic than it had: what it may lack is offered.
    pub(super) fn rolled_back(&mut self, relay: RelayId, owner: Owner) {
        self.stage
            .report(Suspect::Relay(relay), Act::RolledBack, None);
        if let Owner::Epoch(id, _) = owner {
            self.offer_all(relay, id);
        }
    }

    pub(super) fn offer_all(&mut self, relay: RelayId, id: ConversationId) {
        self.on_conversation(&id, |known, context| known.offer_anew(relay, context));
        if !self.topics.is_connected_to(&relay) {
            // The next connection offers all there is.
            return;
        }
        let queue = self.relays.offering.entry(relay).or_default();
        if !queue.contains(&id) {
            queue.push_back(id);
        }
    }

    /// Goes on offering, one conversation at a time for each relay.
    pub(super) fn pursue_offers(&mut self) {
        let relays: Vec<RelayId> = self.relays.offering.keys().copied().collect();
        for relay in relays {
            while !self.outbox.is_offering(&relay) {
                let next = self.relays.offering.get(&relay);
                let Some(id) = next.and_then(|queue| queue.front().copied()) else {
                    self.relays.offering.remove(&relay);
                    break;
                };
                let waits = self.on_conversation(&id, |known, context| {
                    if known.is_busy() {
                        return true;
                    }
                    let owes = known.owes_relay(&relay, context);
                    if owes {
                        known.offer(relay, context);
                    }
                    owes
                });
                if waits == Some(true) {
                    break;
                }
                if let Some(queue) = self.relays.offering.get_mut(&relay) {
                    queue.pop_front();
                }
            }
        }
    }

    /// The account's list of relays is another one.
    pub(super) fn follow_relays(&mut self) {
        let listed = self.account.as_ref().and_then(|a| a.relay.as_deref());
        let relays = addresses(listed.unwrap_or_default());
        let relays: BTreeSet<RelayId> = relays.iter().map(|address| address.relay).collect();
        self.outbox.use_relays(relays);
    }

    /// How the relays stand that this device has been connected to.
    #[must_use]
    pub fn relays(&self) -> Vec<RelayInfo> {
        let infos = self.relays.known.values().map(|known| RelayInfo {
            relay: known.relay,
            connected: self.topics.is_connected_to(&known.relay),
            hello: Some(known.hello),
            pending: u64::try_from(self.outbox.waiting_at(&known.relay)).unwrap_or(u64::MAX),
            behind: u64::try_from(self.behind_at(&known.relay)).unwrap_or(u64::MAX),
            unconfirmed: self
                .outbox
                .late_at(&known.relay, self.now)
                .map(|(since, count)| (u64::try_from(count).unwrap_or(u64::MAX), since)),
            evidence: u64::try_from(self.exhibits.against(&known.relay)).unwrap_or(u64::MAX),
        });
        infos.collect()
    }

    fn behind_at(&self, relay: &RelayId) -> usize {
        let Some(account) = &self.account else {
            return 0;
        };
        let own = account.device();
        let behind = |known: &&Conversation| known.lags_at(relay, own);
        self.conversations.values().filter(behind).count()
    }
}
