//! What each relay has of this device's items, and offering it what it lacks.
//!
//! Every receipt says that one item is at one relay. A relay that was away, is new, or came back
//! with an older or an empty store lacks items: the author offers them again, from the stored
//! envelopes, a few at a time, and the relay drops what it has. Items of devices that take part no
//! longer are offered by the device with the lowest id that does, where a relay is new or has lost
//! its store.
//!
//! A receipt beyond what was read from the relay counts as long as the connection lasts: another record
//! that comes at its place is noticed. It is made durable when the place was read. Until then a relay
//! that is put back and grows again could lose the item unseen, if the program ended meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use sheaf_crypto::{DeviceId, Inner, RunId};
use sheaf_protocol::{Cursor, RelayId, TopicId};

use super::merge::envelope_order;
use super::segments::Loading;
use super::{Conversation, Work};
use crate::chain::Chain;
use crate::context::Context;
use crate::limits;
use crate::record::{
    self, EnvelopeRecord, Kind, OfferedRecord, Place, Range, RecordError, Row, Write,
};

/// Where a relay has an item.
type Promised = (TopicId, u64);

/// What one relay has.
#[derive(Default)]
struct There {
    /// By chain index: up to which item everything is there.
    upto: BTreeMap<u32, u64>,
    /// Items beyond that which are there, in the order of their places. Not durable: what is
    /// forgotten is offered again.
    beyond: BTreeSet<(u32, u64)>,
    /// Items whose places were not read there yet: those after the first of a chain are offered again
    /// after a restart.
    unread: BTreeMap<(u32, u64), Promised>,
    /// Chains of devices that are gone are offered too.
    whole: bool,
}

/// What the relays have, as far as receipts say.
#[derive(Default)]
pub(super) struct Offered(BTreeMap<RelayId, There>);

/// Items of one chain that are being read to be offered: chain index, from, up to.
type Stretch = (u32, u64, u64);

/// An offer being put together.
pub(super) struct Offering {
    relay: RelayId,
    stretches: Vec<Stretch>,
}

impl Offered {
    pub(super) fn restore(&mut self, record: OfferedRecord) {
        let there = There {
            upto: record.upto.into_iter().collect(),
            whole: record.whole,
            ..There::default()
        };
        self.0.insert(record.relay, there);
    }
}

impl There {
    /// `before` is the last item of the chain that no relay ever gets.
    fn confirm(&mut self, chain: u32, before: u64, seq: u64) -> bool {
        let upto = self.upto.entry(chain).or_insert(before);
        if seq > upto.saturating_add(1) {
            if self.beyond.len() < limits::OWED_RECORDS_MAX {
                self.beyond.insert((chain, seq));
            }
            return false;
        }
        let known = *upto;
        *upto = known.max(seq);
        while self.beyond.remove(&(chain, upto.saturating_add(1))) {
            *upto = upto.saturating_add(1);
        }
        self.beyond
            .retain(|(index, seq)| *index != chain || *seq > *upto);
        *upto > known
    }

    /// The place of an item was not read there yet. At the bound the last one of the chain stands for
    /// it.
    fn await_reading(&mut self, (chain, seq): (u32, u64), at: Promised) {
        let full = self.unread.len() >= limits::OWED_RECORDS_MAX;
        let mut of_chain = self.unread.range_mut((chain, 0)..=(chain, seq));
        match of_chain.next_back().filter(|_| full) {
            Some((_, last)) => *last = at,
            None => drop(self.unread.insert((chain, seq), at)),
        }
    }

    /// A topic was read up to a place; `true` if items were waited for there.
    fn read(&mut self, topic: &TopicId, upto: u64) -> bool {
        let before = self.unread.len();
        self.unread
            .retain(|_, (of, place)| of != topic || *place > upto);
        self.unread.len() < before
    }

    /// What was not read there may be lost since; what a start would offer again is.
    fn doubt(&mut self) {
        if !self.unread.is_empty() {
            self.upto = self.durable().into_iter().collect();
            self.unread.clear();
            self.beyond.clear();
        }
    }

    /// By chain: up to which item everything is there and was read there.
    fn durable(&self) -> Vec<(u32, u64)> {
        let upto = self.upto.iter().map(|(chain, upto)| {
            let mut unread = self.unread.range((*chain, 0)..=(*chain, u64::MAX));
            let first = unread.next().map(|((_, seq), _)| seq.saturating_sub(1));
            (*chain, first.map_or(*upto, |first| first.min(*upto)))
        });
        upto.collect()
    }
}

impl Conversation {
    /// The last item of a chain that no relay ever gets: what was before it, and the founding
    /// operation, which travels in invites only.
    pub(super) fn before_first(&self, (device, run): &(DeviceId, RunId), chain: &Chain) -> u64 {
        let founding = self.control.entries().next();
        let founds = founding.is_some_and(|(_, entry)| {
            let operation = &entry.operation;
            (operation.author, operation.run) == (*device, *run)
        });
        match founds {
            true => chain.first,
            false => chain.first.saturating_sub(1),
        }
    }

    /// The place of an item of this device, as its receipts are counted.
    pub(super) fn place_in_chain(&self, inner: &Inner) -> Option<Place> {
        let chain = self.chains.get(&inner.device, &inner.run)?;
        Some(Place {
            conversation: self.id,
            chain: chain.index,
            seq: inner.seq,
        })
    }

    /// A relay has an item; `at` a place, if it said so.
    pub(crate) fn confirmed(
        &mut self,
        relay: RelayId,
        (place, at): (Place, Option<(TopicId, Cursor)>),
        context: &mut Context<'_>,
    ) {
        let mut chains = self.chains.iter();
        let Some((name, chain)) = chains.find(|(_, chain)| chain.index == place.chain) else {
            return;
        };
        let before = self.before_first(name, chain);
        let there = self.offered.0.entry(relay).or_default();
        let unread = at.filter(|(topic, at)| {
            let settled = context.topics.settled(&relay, topic);
            settled.is_some_and(|settled| settled < at.sequence)
        });
        if let Some((topic, at)) = unread {
            there.await_reading((place.chain, place.seq), (topic, at.sequence));
        }
        if there.confirm(place.chain, before, place.seq) && unread.is_none() {
            self.write_offered(relay, context);
        }
    }

    /// More of a topic was read at a relay.
    pub(super) fn read_at(&mut self, relay: RelayId, topic: &TopicId, context: &mut Context<'_>) {
        let settled = context.topics.settled(&relay, topic);
        let there = self.offered.0.get_mut(&relay);
        let news = there.zip(settled);
        if news.is_some_and(|(there, settled)| there.read(topic, settled)) {
            self.write_offered(relay, context);
        }
    }

    fn write_offered(&self, relay: RelayId, context: &mut Context<'_>) {
        let Some(there) = self.offered.0.get(&relay) else {
            return;
        };
        let record = OfferedRecord {
            conversation: self.id,
            relay,
            upto: there.durable(),
            whole: there.whole,
        };
        let write = Write::put(Kind::Offered, &self.id.0, &relay.0, &record);
        context.stage.write_last(write);
    }

    /// A relay is back. It may have been put back meanwhile, and have grown beyond what was read there:
    /// where nobody knows here what that came to, it tells, and what it promised to have before is not
    /// part of it.
    pub(crate) fn doubt(&mut self, relay: &RelayId) {
        if let Some(there) = self.offered.0.get_mut(relay) {
            there.doubt();
        }
    }

    /// A relay is new here, or lost what it had: everything is offered to it.
    pub(crate) fn offer_anew(&mut self, relay: RelayId, context: &mut Context<'_>) {
        let there = There {
            whole: true,
            ..There::default()
        };
        self.offered.0.insert(relay, there);
        self.write_offered(relay, context);
    }

    /// Whether anything is known of what a relay has.
    pub(crate) fn knows_of(&self, relay: &RelayId) -> bool {
        self.offered.0.contains_key(relay)
    }

    /// A relay that was in use before anybody kept account of what is there has everything.
    pub(crate) fn presume(&mut self, relay: RelayId, context: &mut Context<'_>) {
        let chains = self.chains.iter();
        let there = There {
            upto: chains.map(|(_, chain)| (chain.index, chain.head)).collect(),
            ..There::default()
        };
        self.offered.0.insert(relay, there);
        self.write_offered(relay, context);
    }

    /// A relay is forgotten.
    pub(crate) fn forget_relay(&mut self, relay: &RelayId, context: &mut Context<'_>) {
        if self.offered.0.remove(relay).is_some() {
            let write = Write::delete(Kind::Offered, &self.id.0, &relay.0);
            context.stage.write(write);
        }
    }

    /// Chains that this device offers to a relay, and how far they go there.
    fn owed(&self, relay: &RelayId, context: &Context<'_>) -> Vec<Stretch> {
        let own = context.account.device();
        let there = self.offered.0.get(relay);
        let whole = there.is_some_and(|there| there.whole) && self.stands_in(own);
        let mine = |(device, _): &(DeviceId, RunId)| {
            *device == own || whole && self.control.current().device(device).is_none()
        };
        let chains = self.chains.iter().filter(|(name, _)| mine(name));
        let owed = chains.filter_map(|(_, chain)| {
            let upto = there
                .and_then(|there| there.upto.get(&chain.index))
                .copied();
            let from = upto.map_or(chain.first, |upto| upto.saturating_add(1));
            let flying = context
                .outbox
                .first_on_its_way(relay, &self.id, chain.index);
            let until = flying.map_or(chain.head, |seq| chain.head.min(seq.saturating_sub(1)));
            (from <= until).then_some((chain.index, from, until))
        });
        owed.collect()
    }

    /// Whether a relay is not known to have all that this device wrote.
    pub(crate) fn lags_at(&self, relay: &RelayId, own: DeviceId) -> bool {
        let there = self.offered.0.get(relay);
        let mut chains = self.chains.of_device(&own);
        chains.any(|(_, chain)| {
            let upto = there.and_then(|there| there.upto.get(&chain.index));
            upto.copied().unwrap_or(0) < chain.head
        })
    }

    /// Whether this device offers what the devices that are gone have written.
    fn stands_in(&self, own: DeviceId) -> bool {
        let view = self.control.current();
        view.live().map(|(device, _)| *device).min() == Some(own)
    }

    /// Whether a relay lacks something that this device offers.
    pub(crate) fn owes_relay(&self, relay: &RelayId, context: &Context<'_>) -> bool {
        !self.owed(relay, context).is_empty()
    }

    /// Offers a relay some of what it lacks.
    pub(crate) fn offer(&mut self, relay: RelayId, context: &mut Context<'_>) {
        self.work.push_back(Work::Offer(relay));
        self.run(context);
    }

    pub(super) fn begin_offer(&mut self, relay: RelayId, context: &mut Context<'_>) {
        let mut room = u64::try_from(limits::OFFER_ITEMS).unwrap_or(64);
        let mut stretches = Vec::new();
        for (index, from, until) in self.owed(&relay, context) {
            if room == 0 {
                break;
            }
            let until = until.min(from.saturating_add(room).saturating_sub(1));
            room = room.saturating_sub(until.saturating_sub(from).saturating_add(1));
            stretches.push((index, from, until));
        }
        if stretches.is_empty() {
            return;
        }
        let mut ranges = Vec::new();
        for (index, from, until) in &stretches {
            for segment in self.segments.indices().chain([limits::ASIDE]) {
                ranges.push(Range {
                    kind: Kind::Envelope,
                    scope: self.id.0.to_vec(),
                    from: envelope_order(segment, *index, *from).to_vec(),
                    to: envelope_order(segment, *index, *until).to_vec(),
                });
            }
        }
        let load = context.stage.load(ranges);
        let offering = Offering { relay, stretches };
        self.segments.loading = Some(Loading::Offer(load, offering));
    }

    /// The envelopes are read, and go to the relay.
    pub(super) fn offer_with(
        &mut self,
        offering: Offering,
        rows: &[Row],
        context: &mut Context<'_>,
    ) -> Result<(), RecordError> {
        let relay = offering.relay;
        if !context.topics.is_connected_to(&relay) {
            return Ok(());
        }
        let mut found = BTreeMap::new();
        for row in rows {
            let envelope: EnvelopeRecord = record::decode(row.kind, &row.value)?;
            let place = super::exchange::giving::place_of(&row.order);
            let (chain, seq) = place.ok_or(RecordError(Kind::Envelope))?;
            found.insert((envelope.arrival, chain, seq), envelope);
        }
        let mut offered = BTreeSet::new();
        for ((_, chain, seq), envelope) in found {
            let Some(held) = self.epochs.get(&envelope.epoch) else {
                continue;
            };
            let place = Place {
                conversation: self.id,
                chain,
                seq,
            };
            offered.insert((chain, seq));
            let topic = held.keys.topic();
            context.outbox.offer(relay, topic, place, envelope.wire);
        }
        // An item whose envelope is not kept here cannot be offered; that ends there.
        for (chain, from, until) in offering.stretches {
            for seq in (from..=until).filter(|seq| !offered.contains(&(chain, *seq))) {
                let conversation = self.id;
                let place = Place {
                    conversation,
                    chain,
                    seq,
                };
                self.confirmed(relay, (place, None), context);
            }
        }
        context
            .outbox
            .pump(context.topics, context.now, context.stage);
        Ok(())
    }
}
