//! What every device is known to have: the proof behind the word *synced*.
//!
//! Every item names the newest items of other chains that its author has seen, so the items of a
//! device say, signed, how far it has come. A device that has nothing to write says so with a
//! checkpoint, which carries what its documents come to besides. A checkpoint itself need not be
//! acknowledged, so this comes to an end.

mod begun;
mod told;

use std::collections::{BTreeMap, BTreeSet};

use sheaf_crypto::{
    Dependency, DeviceId, Inner, Kind as Purpose, OperationId, RunId, document_digest,
};

use super::checkpoint::CheckpointBody;
use super::{Conversation, Work};
use crate::chain::Chains;
use crate::command::{CommandError, PeerInfo};
use crate::context::Context;
use crate::control::Reader;
use crate::epoch::Choice;
use crate::io::Event;
use crate::limits;
use crate::record::FrontierRecord;
use crate::time::Timestamp;
use begun::Begun;

/// How far the devices of a conversation have come.
#[derive(Default)]
pub(super) struct Frontiers {
    /// By device: highest sequence that it names as seen, by chain index.
    seen: BTreeMap<DeviceId, BTreeMap<u32, u64>>,
    /// The same of chains of which nothing is here yet.
    ahead: BTreeMap<DeviceId, BTreeMap<(DeviceId, RunId), u64>>,
    /// By chain index: the last item that is more than a checkpoint.
    substance: BTreeMap<u32, u64>,
    /// Where each chain begins for whom.
    begun: Begun,
    /// Segments in which a device that has everything states other heads than there are here.
    differs: BTreeMap<DeviceId, BTreeSet<u32>>,
    /// Devices that have not all of the history that they name as seen, this one among them.
    unread: BTreeSet<DeviceId>,
    /// When this device acknowledges what it has seen.
    due: Option<Timestamp>,
    /// No epoch was usable at that time: others were given time to draw one.
    patient: bool,
}

impl Frontiers {
    /// An item was accepted: what its author has seen, some cuts left out that it need not have
    /// read, and whether it is to be acknowledged.
    fn note(&mut self, inner: &Inner, unread: &BTreeSet<OperationId>, chains: &Chains) {
        let read = inner.dependencies.iter();
        for dependency in read.filter(|seen| !unread.contains(&OperationId(seen.item.0))) {
            let name = (dependency.device, dependency.run);
            let known = if let Some(chain) = chains.get(&name.0, &name.1) {
                let seen = self.seen.entry(inner.device).or_default();
                seen.entry(chain.index).or_default()
            } else {
                let ahead = self.ahead.entry(inner.device).or_default();
                if ahead.len() >= limits::AHEAD_CHAINS_MAX && !ahead.contains_key(&name) {
                    continue;
                }
                ahead.entry(name).or_default()
            };
            *known = (*known).max(dependency.seq);
        }
        if inner.kind != Purpose::Checkpoint
            && let Some(chain) = chains.get(&inner.device, &inner.run)
        {
            self.substance.insert(chain.index, inner.seq);
        }
    }

    /// A chain begins here: gives the devices that named items of it before.
    fn arrived(&mut self, name: (DeviceId, RunId), index: u32) -> Vec<DeviceId> {
        let mut named = Vec::new();
        for (device, ahead) in &mut self.ahead {
            if let Some(seq) = ahead.remove(&name) {
                let seen = self.seen.entry(*device).or_default();
                let known = seen.entry(index).or_default();
                *known = (*known).max(seq);
                named.push(*device);
            }
        }
        self.ahead.retain(|_, ahead| !ahead.is_empty());
        named
    }

    pub(super) fn restore(&mut self, record: FrontierRecord) {
        self.substance.extend(record.substance);
        for (chain, cut, seq) in record.begun {
            self.begun.entry(chain).or_default().insert(cut, seq);
        }
        let seen = record.seen.into_iter().collect();
        self.seen.insert(record.device, seen);
        let ahead = record.ahead.into_iter();
        let ahead: BTreeMap<_, _> = ahead.map(|(d, run, seq)| ((d, run), seq)).collect();
        if !ahead.is_empty() {
            self.ahead.insert(record.device, ahead);
        }
        if !record.differs.is_empty() {
            let differs = record.differs.into_iter().collect();
            self.differs.insert(record.device, differs);
        }
    }

    fn seen(&self, device: &DeviceId, chain: u32) -> u64 {
        let seen = self.seen.get(device).and_then(|seen| seen.get(&chain));
        seen.copied().unwrap_or(0)
    }
}

impl Conversation {
    /// An item was accepted: remembered is what its author has seen.
    pub(super) fn note_frontier(&mut self, inner: &Inner, context: &mut Context<'_>) {
        let (cuts, unread) = self.named_cuts(inner);
        if let Some(chain) = self.chains.get(&inner.device, &inner.run) {
            self.frontiers.begin(chain.index, &cuts, inner.seq);
            let name = (inner.device, inner.run);
            for device in self.frontiers.arrived(name, chain.index) {
                self.write_frontier(device, context);
            }
        }
        self.frontiers.note(inner, &unread, &self.chains);
        self.write_frontier(inner.device, context);
    }

    fn write_frontier(&self, device: DeviceId, context: &mut Context<'_>) {
        let seen = self.frontiers.seen.get(&device);
        let seen = seen.map(|seen| seen.iter().map(|(c, s)| (*c, *s)).collect());
        let own = self.chains.of_device(&device);
        let substance = own.filter_map(|(_, chain)| {
            let last = self.frontiers.substance.get(&chain.index)?;
            Some((chain.index, *last))
        });
        let own = self.chains.of_device(&device);
        let begun = own.flat_map(|(_, chain)| {
            let begun = self.frontiers.begun.get(&chain.index);
            let cuts = begun.into_iter().flatten();
            cuts.map(|(cut, seq)| (chain.index, *cut, *seq))
        });
        let differs = self.frontiers.differs.get(&device);
        let ahead = self.frontiers.ahead.get(&device).into_iter().flatten();
        let record = FrontierRecord {
            conversation: self.id,
            device,
            seen: seen.unwrap_or_default(),
            substance: substance.collect(),
            begun: begun.collect(),
            differs: differs.into_iter().flatten().copied().collect(),
            ahead: ahead.map(|((d, run), seq)| (*d, *run, *seq)).collect(),
        };
        context.stage.write_last(record.write());
    }

    /// Chains of other devices than the one given: the first item that a device which has everything
    /// has, and how far it has read. What is kept back is not named as seen, nor what only this device has
    /// of what is forgotten.
    fn required(&self, but: DeviceId, own: DeviceId) -> impl Iterator<Item = (u32, u64, u64)> {
        let others = self.concerns(&but).into_iter();
        // Of a forked chain devices follow different sides: how far each came cannot be compared.
        let others =
            others.filter(move |of| of.name.0 != but && !self.chains.has_forked(&of.name.0));
        others.filter_map(move |of| {
            let last = *self.frontiers.substance.get(&of.index)?;
            let kept = self.kept_of_chain(of.index).next();
            let last = kept.map_or(last, |((_, seq), _)| last.min(seq.saturating_sub(1)));
            let counts = self.fell_out(&own, (&of.name.0, &of.name.1));
            Some((of.index, of.from, last.min(counts.unwrap_or(last))))
        })
    }

    /// Items that a device has not said to have.
    fn lacks(&self, device: DeviceId, own: DeviceId) -> u64 {
        let missing = |(chain, from, last): (u32, u64, u64)| {
            let seen = self.frontiers.seen(&device, chain);
            last.saturating_sub(seen.max(from.saturating_sub(1)))
        };
        let missing: u64 = self.required(device, own).map(missing).sum();
        missing.max(u64::from(self.is_unread(&device)))
    }

    /// How far a device has said to have read a chain.
    pub(super) fn has_seen(&self, device: &DeviceId, chain: u32) -> u64 {
        self.frontiers.seen(device, chain)
    }

    /// How far this device's own chains go, checkpoints left out.
    pub(crate) fn own_reach(&self, own: DeviceId) -> Vec<(u32, u64)> {
        let chains = self.chains.of_device(&own);
        let reach = chains.filter_map(|(run, chain)| {
            let last = *self.frontiers.substance.get(&chain.index)?;
            let counts = self.fell_out(&own, (&own, run));
            Some((chain.index, last.min(counts.unwrap_or(last))))
        });
        reach.collect()
    }

    /// Devices that take part and have not said to have chains up to given places.
    pub(crate) fn behind(&self, reach: &[(u32, u64)], own: DeviceId) -> Vec<DeviceId> {
        let view = self.control.current();
        let others = view.live().map(|(device, _)| *device);
        let others = others.filter(|device| *device != own);
        let lacks = |device: &DeviceId| {
            let concerns = self.concerns(device);
            let mut reach = reach.iter();
            reach.any(|(chain, last)| {
                let concerned = |of: &begun::Concern| of.index == *chain && of.from <= *last;
                concerns.iter().any(concerned) && self.frontiers.seen(device, *chain) < *last
            })
        };
        others.filter(lacks).collect()
    }

    /// How the other devices that take part stand.
    pub(super) fn peers(&self, own: DeviceId) -> Vec<PeerInfo> {
        let view = self.control.current();
        let users = view.members.iter();
        let live = users.flat_map(|(user, member)| member.devices.keys().map(move |d| (*user, d)));
        let others = live.filter(|(_, device)| **device != own && !view.frozen.contains(*device));
        let peers = others.map(|(user, device)| PeerInfo {
            device: *device,
            user,
            name: String::new(),
            lacks: self.lacks(*device, own),
            differs: self
                .frontiers
                .differs
                .get(device)
                .into_iter()
                .flatten()
                .copied()
                .collect(),
            last_seen: self
                .chains
                .of_device(device)
                .map(|(_, chain)| chain.last_seen)
                .max(),
        });
        peers.collect()
    }

    /// Whether this device has seen something that none of its items names yet.
    fn owes(&self, context: &Context<'_>) -> bool {
        let own = context.account.device();
        if self.stated.to_tell().is_some() || self.is_whole_unsaid(&own) {
            return true;
        }
        self.seen.iter().any(|((device, run), (seq, _))| {
            let named = *device != own && self.fell_out(&own, (device, run)).is_none();
            let chain = self.chains.get(device, run).filter(|_| named);
            chain.is_some_and(|chain| {
                let last = self.frontiers.substance.get(&chain.index);
                let last = last.copied().unwrap_or(0).min(*seq);
                self.frontiers.seen(&own, chain.index) < last
            })
        })
    }

    /// Whether an acknowledgement of this device is still to be sent.
    pub(crate) fn owes_acknowledgement(&self) -> bool {
        self.frontiers.due.is_some()
    }

    /// Acknowledges at once what was seen.
    pub(crate) fn acknowledge_now(&mut self, context: &mut Context<'_>) {
        if self.frontiers.due.is_some() {
            self.frontiers.due = Some(context.now);
            self.frontiers.patient = true;
        }
        self.run(context);
    }

    /// Acknowledges what was seen, a while after it came: by then more may have come, or what is
    /// written here says it.
    pub(super) fn acknowledge(&mut self, context: &mut Context<'_>) {
        let may = context.link_is_up()
            && self.pending.is_empty()
            && !self.is_busy()
            && context.topics.conversation_live_somewhere(&self.id)
            && self.is_part(context);
        if !may || !self.owes(context) {
            self.frontiers.due = None;
            self.frontiers.patient = false;
            return;
        }
        match self.frontiers.due {
            None => {
                // By the time of the checkpoint the relays have said what it will name.
                context.topics.witness_conversation(&self.id, context.stage);
                let devices = u64::try_from(self.control.current().live().count()).unwrap_or(0);
                let delay = devices
                    .saturating_mul(limits::ACKNOWLEDGE_MS_PER_DEVICE)
                    .clamp(limits::ACKNOWLEDGE_MS_MIN, limits::ACKNOWLEDGE_MS_MAX);
                self.acknowledge_in(delay, delay, context);
            }
            Some(due) if due <= context.now => self.acknowledge_due(context),
            Some(_) => {}
        }
    }

    fn acknowledge_in(&mut self, delay: u64, spread: u64, context: &mut Context<'_>) {
        let extra = context.rng.next_u64() % spread.max(1);
        let due = context.now.after_ms(delay.saturating_add(extra));
        self.frontiers.due = Some(due);
        context.agenda.at(due, self.id);
    }

    fn acknowledge_due(&mut self, context: &mut Context<'_>) {
        let choice = self.epochs.choose(&self.control, context.now);
        if !matches!(choice, Choice::Use(_)) && !self.frontiers.patient {
            self.frontiers.patient = true;
            return self.acknowledge_in(0, limits::REKEY_PATIENCE_MS, context);
        }
        self.frontiers.due = None;
        self.frontiers.patient = false;
        if let Err(error) = self.send_checkpoint(context) {
            tracing::warn!(%error, "what was seen is not acknowledged");
            self.acknowledge_in(
                limits::REKEY_PATIENCE_MS,
                limits::REKEY_PATIENCE_MS,
                context,
            );
        } else if self.owes(context) {
            self.acknowledge_in(0, limits::ACKNOWLEDGE_MS_MIN, context);
        }
    }

    pub(super) fn send_checkpoint(
        &mut self,
        context: &mut Context<'_>,
    ) -> Result<(), CommandError> {
        let epoch = self.writing_epoch(context)?;
        self.send_checkpoint_under(epoch, context)
    }

    /// What a checkpoint of this device says.
    pub(super) fn checkpoint_body(&self, context: &Context<'_>) -> CheckpointBody {
        let whole =
            self.pending.is_empty() && !self.is_waiting() && self.kept_back().next().is_none();
        let own = context.reader();
        let segments = self.segments.heads();
        let newest = segments.iter().rev().filter(|_| whole);
        let newest = newest.filter(|(segment, _)| self.reads_window(&own, *segment));
        let newest = newest.take(limits::DIGESTS_PER_CHECKPOINT);
        CheckpointBody {
            documents: newest
                .map(|(segment, heads)| (*segment, document_digest(&self.id, *segment, heads)))
                .collect(),
            ..CheckpointBody::default()
        }
    }

    /// What a checkpoint names as seen: what no item of this device has named yet, the items of its
    /// own other runs among it.
    pub(super) fn unacknowledged(&self, context: &Context<'_>) -> Vec<Dependency> {
        let own = context.account.device();
        let seen = self.seen.iter().filter(|((device, run), (seq, _))| {
            let chain = self.chains.get(device, run);
            (*device, *run) != (own, self.own_run(context))
                && self.fell_out(&own, (device, run)).is_none()
                && chain.is_some_and(|c| self.frontiers.seen(&own, c.index) < *seq)
        });
        let seen = seen.map(|((device, run), (seq, item))| Dependency {
            device: *device,
            run: *run,
            seq: *seq,
            item: *item,
        });
        let named = self.new_cuts((&own, &self.own_run(context)));
        self.name_read(named, seen)
    }

    /// Whether a device holds a segment as far as it goes. Of a window that it does not read it may
    /// hold the part that an earlier membership left it.
    fn reads_window(&self, reader: &Reader, segment: u32) -> bool {
        let view = self.control.current();
        self.control.is_visible(view, reader, segment)
    }

    /// Compares what another device's documents come to with what they come to here, where both
    /// hold the same items.
    pub(super) fn compare(&mut self, inner: &Inner, context: &mut Context<'_>) {
        let Some(body) = CheckpointBody::decode(&inner.body) else {
            return;
        };
        let here = self.checkpoint_body(context);
        // Who does not read from the first item on cannot tell what he lacks; others compare with him.
        let comparable = self.is_part(context)
            && !self.is_newcomer(context)
            && !here.documents.is_empty()
            && self.lacks(inner.device, context.account.device()) == 0;
        if !comparable {
            return;
        }
        let here: BTreeMap<u32, [u8; 32]> = here.documents.into_iter().collect();
        let differs: BTreeSet<u32> = body
            .documents
            .iter()
            .filter(|(segment, _)| self.reads_window(&(inner.user, inner.device), *segment))
            .filter(|(segment, digest)| here.get(segment).is_some_and(|own| own != digest))
            .map(|(segment, _)| *segment)
            .collect();
        let known = self.frontiers.differs.remove(&inner.device);
        let new = self.is_new_difference(inner.device, &differs);
        if !differs.is_empty() {
            if known.as_ref() != Some(&differs) {
                context.stage.notify(Event::DocumentsDiffer {
                    conversation: self.id,
                    device: inner.device,
                    segments: differs.iter().copied().collect(),
                });
            }
            // Whatever the reason is: what the one lacks the other gives.
            if new {
                let segments = differs.iter().copied().collect();
                let ask = Work::Resync(vec![inner.device], segments, Vec::new());
                self.work.push_back(ask);
            }
            self.frontiers.differs.insert(inner.device, differs);
        }
        self.write_frontier(inner.device, context);
    }
}
