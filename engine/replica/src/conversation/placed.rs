//! Items in their chains: where one stands, what it names as seen, and what it is followed by.

use sheaf_crypto::{Dependency, DeviceId, Inner, ItemId, Kind as Purpose, RunId};

use super::Conversation;
use super::inbound::{Source, Verdict};
use super::parked::Need;
use crate::chain::Place;
use crate::context::Context;
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
        context: &mut Context<'_>,
    ) -> Result<(), Verdict> {
        let chain = (&inner.device, &inner.run);
        let mut place = self
            .chains
            .place(chain, inner.seq, inner.previous.as_ref(), &item);
        if place == Place::Old {
            place = match self.is_same(inner, &item) {
                Some(true) => Place::Known,
                Some(false) => Place::Conflict,
                None => return Err(Verdict::Place(Box::new(inner.clone()), item)),
            };
        }
        if matches!(place, Place::Conflict | Place::Broken) {
            self.keep_sibling((inner, item), source.epoch, wire, context);
        }
        let sequence = inner.seq;
        let act = match place {
            Place::Next => {
                let unmet = inner
                    .dependencies
                    .iter()
                    .find(|d| !self.chains.satisfies(d));
                return unmet.map_or(Ok(()), |unmet| Err(Verdict::Park(Need::Dependency(*unmet))));
            }
            Place::Gap => return Err(Verdict::Park(Need::Chain(inner.device, inner.seq))),
            // Control items are published under every newest epoch and so come several times; what
            // this device wrote itself comes back after a restart.
            Place::Known if inner.kind == Purpose::Control => return Err(Verdict::Done),
            Place::Known if inner.device == context.account.device() => return Err(Verdict::Done),
            // A relay whose store was replaced delivers from the beginning.
            Place::Known if !source.live => return Err(Verdict::Done),
            Place::Known | Place::Old => Act::Replayed,
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
        self.note_shown(inner, context);
        self.chains.accept(
            inner.device,
            inner.run,
            inner.seq,
            item,
            inner.incarnation,
            context.now,
        );
        if inner.device == context.account.device() {
            if inner.run == self.own_run(context) {
                context.stage.report(
                    Suspect::Device(inner.device),
                    Act::OwnRollback,
                    Some(self.id),
                );
            }
        } else if !self.keeps_any(&inner.device, &inner.run) && !self.is_withheld(inner) {
            self.seen
                .insert((inner.device, inner.run), (inner.seq, item));
        }
        self.write_chain(inner.device, inner.run, context);
        self.note_frontier(inner, context);
    }

    /// The newest items of other chains since this device's last content: of other devices, and of
    /// its own other runs.
    pub(super) fn dependencies(&mut self, own: (DeviceId, RunId)) -> Vec<Dependency> {
        self.vouch_due = false;
        let seen = self.seen.iter().filter(|(chain, _)| **chain != own);
        let seen = seen.take(limits::DEPENDENCIES_MAX);
        let seen = seen.map(|((device, run), (seq, item))| Dependency {
            device: *device,
            run: *run,
            seq: *seq,
            item: *item,
        });
        seen.collect()
    }

    /// The same, no longer new after it.
    pub(super) fn take_dependencies(&mut self, own: (DeviceId, RunId)) -> Vec<Dependency> {
        let taken = self.dependencies(own);
        for dependency in &taken {
            self.seen.remove(&(dependency.device, dependency.run));
        }
        taken
    }

    /// An item of this device is part of its chain.
    pub(super) fn accept_own(&mut self, inner: &Inner, item: ItemId, context: &mut Context<'_>) {
        self.arrivals = self.arrivals.saturating_add(1);
        let chain = (inner.device, inner.run);
        let grant = inner.incarnation;
        self.chains
            .accept(chain.0, chain.1, inner.seq, item, grant, context.now);
        self.seen.insert(chain, (inner.seq, item));
        self.note_own_votes(inner);
        self.write_chain(chain.0, chain.1, context);
        self.note_frontier(inner, context);
    }
}
