//! History from the relays, where no device gives it; and what is done about a snapshot that is
//! wrong.

use std::collections::{BTreeMap, BTreeSet};

use sheaf_crypto::{Inner, ItemId, Kind as Purpose, OperationId, SignedOperation};

use super::super::inbound::Verdict;
use super::super::merge::{decode_content, envelope_order};
use super::super::{Conversation, Work};
use super::Stage;
use crate::context::Context;
use crate::control::View;
use crate::misbehaviour::{Act, Suspect};
use crate::record::{Compared, EnvelopeRecord, Kind, Write};

/// Which items of the frontier the relays gave since they are read from the beginning. Kept in
/// memory only: whoever restarts reads them again.
#[derive(Default)]
pub(super) struct Given {
    /// By chain index: up to which item all came, and what came beyond it.
    chains: BTreeMap<u32, (u64, BTreeSet<u64>)>,
    items: u64,
    /// Items of the frontier.
    known: u64,
    /// All came, and what they come to is being tried.
    tried: bool,
}

impl Given {
    fn take(&mut self, chain: u32, seq: u64) {
        self.items = self.items.saturating_add(1);
        let (upto, beyond) = self.chains.entry(chain).or_default();
        if seq > *upto {
            beyond.insert(seq);
        }
        while beyond.remove(&upto.saturating_add(1)) {
            *upto = upto.saturating_add(1);
        }
    }

    /// Items of a chain up to a place that did not come.
    fn lacking(&self, chain: u32, seq: u64) -> u64 {
        let Some((upto, beyond)) = self.chains.get(&chain) else {
            return seq;
        };
        let beyond = u64::try_from(beyond.range(..=seq).count()).unwrap_or(u64::MAX);
        seq.saturating_sub(*upto).saturating_sub(beyond)
    }

    fn has(&self, chain: u32, seq: u64) -> bool {
        self.chains
            .get(&chain)
            .is_some_and(|(upto, _)| *upto >= seq)
    }
}

impl Conversation {
    /// Nobody gives the history: the relays are read from the beginning.
    pub(super) fn read_from_beginning(&mut self, context: &mut Context<'_>) {
        // The founding operation travels in invites only, and before it there is nothing.
        let chains = self.chains.iter();
        let before = chains.map(|(name, chain)| (chain.index, self.before_first(name, chain)));
        let before: Vec<(u32, u64)> = before.collect();
        let Some(start) = &mut self.start else {
            return;
        };
        start.stage = Stage::Reading;
        start.record.reading = true;
        start.given = Given::default();
        for (chain, seq) in before {
            start.given.chains.insert(chain, (seq, BTreeSet::new()));
        }
        let record = start.record.clone();
        let lacking = |(chain, seq): &(u32, u64)| start.given.lacking(*chain, *seq);
        let known = record.frontier.iter().map(lacking);
        start.given.known = known.fold(0, u64::saturating_add);
        self.write_start(&record, context);
        context.topics.read_all_again(&self.id, context.stage);
    }

    /// Items of the frontier that the relays gave since they are read from the beginning, and how many
    /// there are.
    pub(in crate::conversation) fn reread_items(&self) -> Option<(u64, u64)> {
        let start = self.start.as_ref()?;
        if start.stage == Stage::Asking {
            return None;
        }
        let frontier = start.record.frontier.iter();
        let lacking = frontier.map(|(chain, seq)| start.given.lacking(*chain, *seq));
        let known = start.given.known;
        let lacking = lacking.fold(0, u64::saturating_add);
        Some((known.saturating_sub(lacking), known))
    }

    /// An item that a snapshot covers comes from a relay that is read from the beginning: content of
    /// a segment that is not here is kept, and proves nothing until the segment has its heads.
    pub(in crate::conversation) fn reread(
        &mut self,
        inner: &Inner,
        (epoch, wire): (sheaf_crypto::EpochId, &[u8]),
        view: &View,
        context: &mut Context<'_>,
    ) -> Option<Verdict> {
        let start = self.start.as_mut()?;
        let chain = self.chains.get(&inner.device, &inner.run)?;
        let index = chain.index;
        if start.stage == Stage::Asking || inner.seq > start.upto(index) {
            return None;
        }
        start.given.take(index, inner.seq);
        let arrival = start.given.items;
        match inner.kind {
            Purpose::Content => {
                let content = decode_content(inner, &self.id).ok();
                let segment = content.map(|(segment, _)| segment)?;
                if view.has_segment(segment) && self.unread().contains(&segment) {
                    let order = envelope_order(segment, index, inner.seq);
                    let record = EnvelopeRecord {
                        epoch,
                        arrival,
                        refused: false,
                        wire: wire.to_vec(),
                    };
                    let write = Write::put(Kind::Envelope, &self.id.0, &order, &record);
                    context.stage.write(write);
                }
                Some(Verdict::Done)
            }
            Purpose::Control => {
                let signed = SignedOperation::from_bytes(&inner.body).ok();
                let known: Option<OperationId> = signed.map(|signed| signed.id());
                let known = known.is_some_and(|id| self.control.contains(&id));
                known.then_some(Verdict::Done)
            }
            Purpose::Checkpoint | Purpose::Snapshot => Some(Verdict::Done),
            Purpose::Bundle | Purpose::Sync | Purpose::Presence => None,
        }
    }

    /// The relays were read, and segments are still not whole. If every item of the frontier came,
    /// the snapshot is wrong; otherwise devices are asked for the rest.
    pub(super) fn judge_start(&mut self, context: &mut Context<'_>) {
        let Some(start) = &mut self.start else {
            return;
        };
        let mut frontier = start.record.frontier.iter();
        if !frontier.all(|(chain, seq)| start.given.has(*chain, *seq)) {
            return;
        }
        if !start.given.tried {
            start.given.tried = true;
            return self.fetching.begin_anew();
        }
        if self.fetching.tried_newest() {
            let why = "its heads are not those of what its frontier holds";
            self.drop_start(Some(why), context);
        }
    }

    /// Forgets what a snapshot stated, and reads the conversation from its beginning. Own items stay.
    pub(in crate::conversation) fn drop_start(
        &mut self,
        named: Option<&str>,
        context: &mut Context<'_>,
    ) {
        let Some(start) = self.start.take() else {
            return;
        };
        for device in start.record.by.into_iter().filter(|_| named.is_some()) {
            let act = Act::FalseSnapshot(named.unwrap_or_default().to_owned());
            let by = Suspect::Device(device);
            context.stage.report(by, act, Some(self.id));
        }
        self.began.clear();
        let write = Write::delete(Kind::Start, &self.id.0, &[]);
        context.stage.write_last(write);
        let compared = match named {
            Some(_) => Compared::False,
            None => Compared::Never,
        };
        let change = |known: &mut crate::record::StatedRecord| known.compared = compared;
        self.edit_stated(&start.record.item, change, context);
        for segment in self.unread() {
            let order = segment.to_be_bytes();
            for kind in [Kind::Away, Kind::Segment, Kind::Snapshot] {
                context.stage.write(Write::delete(kind, &self.id.0, &order));
            }
            self.segments.forget(segment);
            self.fetching.leave(segment);
        }
        self.fetching.begin_anew();
        let own = context.account.device();
        let emptied = self.chains.empty_all_but(&own);
        // The founding operation travels in invites only.
        let founding = self.control.entries().next();
        let founding = founding.map(|(id, entry)| (*id, &entry.operation));
        if let Some((id, operation)) = founding.filter(|(_, o)| o.author != own) {
            let name = (operation.author, operation.run);
            let places = (operation.seq, operation.seq);
            self.chains
                .take_over(name, places, ItemId::from(id), context.now);
        }
        for (device, run) in emptied {
            self.seen.remove(&(device, run));
            self.write_chain(device, run, context);
        }
        let kept = self.chains.of_device(&own).map(|(_, chain)| chain.index);
        let kept: Vec<u32> = kept.collect();
        self.forget_seen(&kept, context);
        let what =
            "the snapshot that this device began at is not used; all is read from the beginning";
        let who = "this device".to_owned();
        context.stage.audit(what.to_owned(), who, Some(self.id));
        context.topics.read_all_again(&self.id, context.stage);
        self.work.push_back(Work::Retry);
    }
}
