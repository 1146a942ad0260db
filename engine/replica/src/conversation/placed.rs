//! Items in their chains: where one stands, what it names as seen, and what it is followed by.

use sheaf_crypto::{Body, Dependency, DeviceId, Inner, ItemId, Kind as Purpose, RunId};

use super::inbound::{Source, Verdict};
use super::parked::Need;
use super::{ContentBody, Conversation};
use crate::chain::Place;
use crate::context::Context;
use crate::control::View;
use crate::limits;
use crate::misbehaviour::{Act, Suspect};

impl Conversation {
    /// Puts an item in its place of its device's chain; `None` if it is not to be taken in.
    pub(super) fn placed(
        &mut self,
        inner: &Inner,
        item: ItemId,
        wire: &[u8],
        source: Source,
        (body, view): (Option<&ContentBody>, &View),
        context: &mut Context<'_>,
    ) -> Result<(), Verdict> {
        let chain = (&inner.device, &inner.run);
        let mut place = self
            .chains
            .place(chain, inner.seq, inner.previous.as_ref(), &item);
        if place == Place::Old && self.begins_within(context) {
            // What lies before a newcomer's part of a chain is none of his business.
            let part = self.chains.get(chain.0, chain.1);
            if part.is_some_and(|part| inner.seq < part.first) {
                return Err(Verdict::Done);
            }
        }
        if place == Place::Old {
            place = match self.is_same(inner, &item) {
                Some(true) => Place::Known,
                Some(false) => Place::Conflict,
                None => return Err(Verdict::Place(Box::new(inner.clone()), item)),
            };
        }
        if place == Place::Start {
            place = match self.follows_known(inner, &item) {
                Some(true) => Place::Next,
                Some(false) => Place::Gap,
                None => return Err(Verdict::Place(Box::new(inner.clone()), item)),
            };
        }
        if matches!(place, Place::Conflict | Place::Broken) {
            let index = self.chains.get(chain.0, chain.1).map(|chain| chain.index);
            if index.is_some_and(|index| self.contradicts_start(index, inner.seq)) {
                self.drop_start(None, context);
                return Err(Verdict::Done);
            }
            // What stood there was let go of: what came of it stays.
            if !self.is_erased(inner) {
                self.keep_sibling((inner, item), source.epoch, wire, context);
            }
        }
        let sequence = inner.seq;
        let act = match place {
            Place::Next => return self.ready(inner, body, view, context),
            Place::Gap if self.begins_chain(inner, view, context) => {
                return self.ready(inner, body, view, context);
            }
            Place::Gap if self.is_before_beginning(view, context) => return Err(Verdict::Done),
            Place::Gap => return Err(Verdict::Park(Need::Chain(inner.device, inner.seq))),
            // Control items are published under every newest epoch and so come several times; what
            // this device wrote itself comes back after a restart.
            Place::Known if inner.kind == Purpose::Control => return Err(Verdict::Done),
            Place::Known if inner.device == context.account.device() => return Err(Verdict::Done),
            // A relay whose store was replaced delivers from the beginning, and others what is here.
            Place::Known if !source.once => return Err(Verdict::Done),
            Place::Known | Place::Old | Place::Start => Act::Replayed,
            Place::Conflict => Act::Equivocation { sequence },
            Place::Broken => Act::BrokenChain { sequence },
        };
        // Anybody who holds the topic can append a copy of an honest device's envelope.
        let suspect = if act == Act::Replayed {
            Suspect::Topic(source.topic)
        } else {
            Suspect::Device(inner.device)
        };
        context.stage.report(suspect, act, Some(self.id));
        if matches!(place, Place::Conflict | Place::Broken) {
            return Err(Verdict::Aside);
        }
        Err(Verdict::Done)
    }

    /// The item is part of its chain from here on.
    pub(super) fn accept_item(&mut self, inner: &Inner, item: ItemId, context: &mut Context<'_>) {
        self.note_votes(inner);
        self.arrivals = self.arrivals.saturating_add(1);
        context.stage.figures().item_received();
        self.note_shown(inner, context);
        self.chains.accept(
            inner.device,
            inner.run,
            inner.seq,
            item,
            inner.incarnation,
            context.now,
        );
        let own = (context.account.device(), self.own_run(context));
        if (inner.device, inner.run) == own {
            context.stage.report(
                Suspect::Device(inner.device),
                Act::OwnRollback,
                Some(self.id),
            );
        } else if !self.is_withheld(inner) {
            self.pass_kept(inner, context);
            // A copy of this device writes under a run of its own: it is built on like any other's.
            if !self.keeps_any(&inner.device, &inner.run) {
                let chain = (inner.device, inner.run);
                self.seen.insert(chain, (inner.seq, item));
            }
        }
        self.write_chain(inner.device, inner.run, context);
        self.note_frontier(inner, context);
    }

    /// The newest items of other chains since this device's last content: of other devices, and of
    /// its own other runs.
    pub(super) fn dependencies(&mut self, own: (DeviceId, RunId)) -> Vec<Dependency> {
        self.vouch_due = false;
        let named = self.new_cuts((&own.0, &own.1));
        let seen = self.seen.iter().filter(|((device, run), _)| {
            (*device, *run) != own && self.fell_out(&own.0, (device, run)).is_none()
        });
        let seen = seen.map(|((device, run), (seq, item))| Dependency {
            device: *device,
            run: *run,
            seq: *seq,
            item: *item,
        });
        self.name_read(named, seen)
    }

    /// The same beside an operation. A record full of sealed secrets has no room for all of them;
    /// operations use none of them up, so the next content names the rest.
    pub(super) fn dependencies_beside(
        &mut self,
        body: &Body,
        own: (DeviceId, RunId),
    ) -> Vec<Dependency> {
        let due = self.vouch_due;
        let mut named = self.dependencies(own);
        let full = matches!(body, Body::Rekey(_) | Body::HandOver { .. });
        if full && named.len() > limits::DEPENDENCIES_BESIDE_SEALS_MAX {
            named.truncate(limits::DEPENDENCIES_BESIDE_SEALS_MAX);
            self.vouch_due = due;
        }
        named
    }

    /// The same, no longer new after it.
    pub(super) fn take_dependencies(&mut self, own: (DeviceId, RunId)) -> Vec<Dependency> {
        let taken = self.dependencies(own);
        for dependency in &taken {
            let chain = (dependency.device, dependency.run);
            if self.seen.get(&chain) == Some(&(dependency.seq, dependency.item)) {
                self.seen.remove(&chain);
            }
        }
        taken
    }

    /// An item of this device is part of its chain.
    pub(super) fn accept_own(&mut self, inner: &Inner, item: ItemId, context: &mut Context<'_>) {
        self.arrivals = self.arrivals.saturating_add(1);
        let chain = (inner.device, inner.run);
        let grant = inner.incarnation;
        // A run knows what the one knew that it goes on from.
        let cuts = self.chains.cuts(&chain.0, &chain.1);
        self.chains
            .accept(chain.0, chain.1, inner.seq, item, grant, context.now);
        self.chains.knew(&chain.0, &chain.1, cuts);
        self.seen.insert(chain, (inner.seq, item));
        self.note_own_votes(inner);
        self.write_chain(chain.0, chain.1, context);
        self.note_frontier(inner, context);
    }
}
