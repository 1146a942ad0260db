//! Forked chains: both sides are kept, one of them stands, the documents follow.
//!
//! What stands is a function of the items known ([`tree`]). Whenever that may have changed, all kept
//! envelopes of the conversation are read once, judged, and the segments that a forked device wrote
//! in are made anew from those that count. Nothing is ever deleted.

mod again;
mod place;
mod proof;
mod rebuild;
mod tree;
mod vouched;

use std::collections::{BTreeMap, BTreeSet};

use sheaf_crypto::{
    DeviceId, EpochId, Inner, ItemId, Kind as Purpose, OperationId, RunId, UserId, item_of_record,
};

use super::merge::{decode_content, envelope_order};
use super::segments::Loading;
use super::{Conversation, Work};
use crate::context::Context;
use crate::control::content_of;
use crate::limits;
use crate::record::{
    self, EnvelopeRecord, Kind, LostRecord, Range, RecordError, Row, SiblingRecord, Write,
};

use crate::document::MessageId;
use tree::{Fork, Judged, Node};
use vouched::Itself;

/// Items beside the followed branch have an index of their own, with this bit.
const ASIDE: u32 = 1 << 31;

/// What is known of forks in one conversation.
#[derive(Default)]
pub(super) struct Forks {
    siblings: BTreeMap<u32, SiblingRecord>,
    /// Messages of this device that a fork took away, with what they were written again as.
    lost: BTreeMap<MessageId, LostRecord>,
    /// Something came that may change what stands.
    due: bool,
    /// Items of forked devices, and those of them that do not stand, as judged last.
    nodes: BTreeSet<ItemId>,
    aside: BTreeSet<ItemId>,
    heard: BTreeSet<(UserId, ItemId)>,
    /// What forked devices vouch for of their own, as judged last.
    itself: BTreeMap<DeviceId, Itself>,
    /// The first place of each followed chain that does not stand.
    broken_from: BTreeMap<(DeviceId, RunId), u64>,
    places: Vec<(DeviceId, Fork)>,
    /// The newest item of this device that stands, where it forked.
    newest: Option<(u64, ItemId)>,
    /// What stands was judged since the start.
    judged: bool,
    /// Items were put beside since it was judged last.
    grown: bool,
    /// The run that this device writes under here, after its own content was set aside.
    run: Option<RunId>,
    /// An answer of the store: whether an item is the one that is known at its place.
    compared: BTreeMap<ItemId, bool>,
    /// Items that begin a run after another item than the one at that place.
    misplaced: BTreeSet<ItemId>,
}

/// A place of a device's chain that holds several items (research/keys.md 2.7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForkInfo {
    /// The device that signed them.
    pub device: DeviceId,
    /// The place.
    pub sequence: u64,
    /// The item that stands: more than half of the other users acknowledged it, or it has the
    /// smallest id.
    pub stands: ItemId,
    /// The others: kept, and refused together with what builds on them.
    pub set_aside: Vec<ItemId>,
    /// More than half of the other users acknowledged it: it stands for ever.
    pub settled: bool,
}

/// A kept envelope, opened.
struct Kept {
    order: Vec<u8>,
    record: EnvelopeRecord,
    inner: Inner,
    item: ItemId,
}

impl Kept {
    fn segment(&self) -> u32 {
        part(&self.order, 0)
    }

    fn index(&self) -> u32 {
        part(&self.order, 4)
    }
}

fn part(order: &[u8], from: usize) -> u32 {
    let bytes = order.get(from..).and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

impl Forks {
    pub(super) fn next(&mut self) -> Option<Work> {
        let due = std::mem::take(&mut self.due);
        due.then_some(Work::Forks)
    }

    pub(super) fn is_broken(&self, device: &DeviceId, run: &RunId, seq: u64) -> bool {
        let from = self.broken_from.get(&(*device, *run));
        from.is_some_and(|from| seq >= *from)
    }

    /// How far a forked device vouches for one of its runs itself.
    pub(super) fn vouched(&self, device: &DeviceId, run: &RunId) -> u64 {
        let itself = self.itself.get(device);
        itself.map_or(0, |itself| itself.upto(run))
    }

    pub(super) fn restore_sibling(&mut self, record: SiblingRecord) {
        self.siblings.insert(record.number, record);
        self.due = true;
    }

    pub(super) fn restore_lost(&mut self, record: LostRecord) {
        self.lost.insert(record.message.message, record);
    }

    /// Envelopes beside the followed branches that may be part of a segment, by index and sequence.
    pub(super) fn of_segment(&self, segment: u32) -> impl Iterator<Item = (u32, u64)> {
        let here = self.siblings.values().filter(move |s| s.segment == segment);
        here.map(|sibling| (ASIDE | sibling.number, sibling.seq))
    }

    /// All of them, by index.
    pub(super) fn siblings(&self) -> impl Iterator<Item = (u32, &SiblingRecord)> {
        let siblings = self.siblings.iter();
        siblings.map(|(number, sibling)| (ASIDE | number, sibling))
    }

    /// All of them, by index and sequence.
    pub(super) fn all(&self) -> impl Iterator<Item = (u32, u64)> {
        let siblings = self.siblings.values();
        siblings.map(|sibling| (ASIDE | sibling.number, sibling.seq))
    }

    pub(super) fn info(&self) -> Vec<ForkInfo> {
        let places = self.places.iter().map(|(device, fork)| ForkInfo {
            device: *device,
            sequence: fork.seq,
            stands: fork.winner,
            set_aside: fork.losers.clone(),
            settled: fork.stable,
        });
        places.collect()
    }
}

impl Conversation {
    /// The run that this device writes under here.
    pub(super) fn own_run(&self, context: &Context<'_>) -> RunId {
        self.forks.run.unwrap_or(context.run)
    }

    /// What a new run of a device goes on from: its newest item that stands.
    pub(super) fn newest_standing(&self, device: &DeviceId) -> Option<(u64, ItemId)> {
        let chains = self.chains.of_device(device);
        let chains = chains.filter(|(run, chain)| !self.forks.is_broken(device, run, chain.head));
        let standing = chains.map(|(_, chain)| (chain.head, chain.item));
        let standing = standing
            .chain(self.forks.newest)
            .max_by_key(|(seq, _)| *seq);
        standing.or_else(|| self.chains.newest_of(device))
    }

    /// Where own content was set aside before, another run is written under: the one that the store
    /// goes on with may have holes here.
    pub(super) fn start_forked(&mut self, context: &mut Context<'_>) {
        if self.chains.forked().next().is_some() {
            let mut run = RunId([0; 16]);
            context.rng.fill_bytes(&mut run.0);
            self.forks.run = Some(run);
        }
        self.write_again();
    }

    /// What a device may have forked stands elsewhere: judged again soon.
    pub(super) fn judge_forks(&mut self) {
        self.forks.due |= self.chains.forked().next().is_some();
    }

    /// An item names items of a forked device as seen, which may decide what stands.
    pub(super) fn note_votes(&mut self, inner: &Inner) {
        if inner.kind == Purpose::Control {
            return;
        }
        if self.chains.has_forked(&inner.device) {
            self.forks.due = true;
        }
        for dependency in &inner.dependencies {
            if self.forks.nodes.contains(&dependency.item)
                && self.forks.heard.insert((inner.user, dependency.item))
            {
                self.forks.due = true;
            }
        }
    }

    /// More of a forked device is vouched for.
    pub(super) fn vouch_forked(&mut self, device: &DeviceId) -> bool {
        let forked = self.chains.has_forked(device);
        self.forks.due |= forked;
        forked
    }

    /// What this device names as seen of forked chains counts here as it does for others.
    pub(super) fn note_own_votes(&mut self, inner: &Inner) {
        for seen in &inner.dependencies {
            if self.chains.has_forked(&seen.device) {
                self.chains.vouch(&seen.device, &seen.run, seen.seq);
            }
        }
        self.note_votes(inner);
    }

    /// Keeps an item beside the branch that is followed here.
    pub(super) fn keep_sibling(
        &mut self,
        (inner, item): (&Inner, ItemId),
        epoch: EpochId,
        wire: &[u8],
        context: &mut Context<'_>,
    ) {
        if self.forks.siblings.len() >= limits::FORK_ITEMS_MAX {
            return;
        }
        let last = self.forks.siblings.keys().next_back();
        let number = last.map_or(0, |last| last.saturating_add(1));
        let segment = if inner.kind == Purpose::Content {
            decode_content(inner, &self.id).map(|(segment, _)| segment)
        } else {
            Ok(limits::ASIDE)
        };
        let record = SiblingRecord {
            conversation: self.id,
            number,
            device: inner.device,
            run: inner.run,
            seq: inner.seq,
            item,
            segment: segment.unwrap_or(limits::ASIDE),
        };
        self.arrivals = self.arrivals.saturating_add(1);
        let envelope = EnvelopeRecord {
            epoch,
            arrival: self.arrivals,
            refused: true,
            wire: wire.to_vec(),
        };
        let order = envelope_order(record.segment, ASIDE | number, inner.seq);
        let scope = &self.id.0;
        let stage = &mut *context.stage;
        stage.write(Write::put(Kind::Envelope, scope, &order, &envelope));
        let order = number.to_be_bytes();
        stage.write(Write::put(Kind::Sibling, scope, &order, &record));
        self.count_vouched_anew(&inner.device, context);
        self.chains
            .put_aside(inner.device, inner.run, inner.seq, item);
        self.forks.siblings.insert(number, record);
        self.other_came(inner.device, inner.run);
        self.forks.due = true;
        self.forks.grown = true;
        self.work.push_back(Work::Retry);
    }

    /// Reads everything that is kept of the conversation.
    pub(super) fn read_forks(&mut self, context: &mut Context<'_>) {
        let whole = |kind| Range {
            kind,
            scope: self.id.0.to_vec(),
            from: Vec::new(),
            to: vec![u8::MAX; 17],
        };
        let mut ranges = vec![whole(Kind::Envelope), whole(Kind::Message)];
        let settled = self.segments.indices().filter(|s| self.is_settled(*s));
        let settled = settled.map(|segment| segment.to_be_bytes().to_vec());
        ranges.extend(settled.map(|order| Range {
            kind: Kind::Snapshot,
            scope: self.id.0.to_vec(),
            from: order.clone(),
            to: order,
        }));
        let load = context.stage.load(ranges);
        self.segments.loading = Some(Loading::Forks(load));
    }

    /// Judges what was read, makes documents anew where something else stands than before, and shows
    /// the fork to everybody.
    pub(super) fn judge(
        &mut self,
        rows: &[Row],
        context: &mut Context<'_>,
    ) -> Result<(), RecordError> {
        let mut kept = Vec::new();
        for row in rows.iter().filter(|row| row.kind == Kind::Envelope) {
            let record: EnvelopeRecord = record::decode(row.kind, &row.value)?;
            kept.extend(self.open_kept(row.order.clone(), record));
        }
        let first = !std::mem::replace(&mut self.forks.judged, true);
        let grown = std::mem::take(&mut self.forks.grown);
        let before = std::mem::take(&mut self.forks.places);
        self.forks.nodes.clear();
        self.forks.aside.clear();
        self.forks.broken_from.clear();
        let devices: Vec<DeviceId> = self.chains.forked().copied().collect();
        for device in devices {
            let (nodes, judged) = self.judge_device(&device, &kept);
            for (id, node) in nodes.iter().filter(|(id, _)| judged.aside.contains(*id)) {
                if !self.chains.is_aside(&device, id) {
                    let from = self.forks.broken_from.entry((device, node.run));
                    let from = from.or_insert(node.seq);
                    *from = node.seq.min(*from);
                }
            }
            if device == context.account.device() {
                let standing = nodes.iter().filter(|(id, _)| !judged.aside.contains(*id));
                let standing = standing.map(|(id, node)| (node.seq, *id));
                self.forks.newest = standing.max();
            }
            self.forks.nodes.extend(nodes.into_keys());
            self.forks.aside.extend(judged.aside);
            let places = judged.forks.into_iter().map(|fork| (device, fork));
            self.forks.places.extend(places);
        }
        self.count_vouched(&kept, context);
        let other = self.make_anew(kept.as_mut_slice(), rows, context)?;
        // What is judged after a start as it was before was told then.
        if !first || grown || other {
            self.tell_forks(&before, context);
        }
        self.show_forks(&kept, context);
        self.vouch_for_removed();
        self.release();
        self.work.push_back(Work::Retry);
        Ok(())
    }

    fn open_kept(&self, order: Vec<u8>, record: EnvelopeRecord) -> Option<Kept> {
        let inner = self.reopened(&record)?;
        let item = if inner.kind == Purpose::Control {
            let signed = sheaf_crypto::SignedOperation::from_bytes(&inner.body).ok()?;
            ItemId::from(signed.id())
        } else {
            item_of_record(&record.wire)
        };
        Some(Kept {
            order,
            record,
            inner,
            item,
        })
    }

    fn judge_device(
        &mut self,
        device: &DeviceId,
        kept: &[Kept],
    ) -> (BTreeMap<ItemId, Node>, Judged) {
        let mut nodes = BTreeMap::new();
        let mut acknowledged = BTreeSet::new();
        let mut owner = None;
        for envelope in kept {
            let inner = &envelope.inner;
            if inner.device == *device {
                owner = Some(inner.user);
                let node = Node {
                    run: inner.run,
                    seq: inner.seq,
                    previous: inner.previous,
                    content: content_of(inner),
                    others: self.others(&inner.user, &inner.control_heads),
                };
                nodes.insert(envelope.item, node);
            }
            if inner.kind == Purpose::Control {
                continue;
            }
            let named = inner.dependencies.iter().filter(|d| d.device == *device);
            acknowledged.extend(named.map(|dependency| (inner.user, dependency.item)));
        }
        let operations: Vec<_> = self
            .control
            .entries()
            .filter(|(_, entry)| entry.operation.author == *device)
            .map(|(id, entry)| (*id, entry.operation.clone()))
            .collect();
        for (id, operation) in operations {
            let node = Node {
                run: operation.run,
                seq: operation.seq,
                previous: operation.previous,
                content: id.0,
                others: self.others(&operation.user, &operation.parents),
            };
            owner = Some(operation.user);
            nodes.insert(ItemId(id.0), node);
        }
        acknowledged.retain(|(user, _)| Some(*user) != owner);
        let judged = tree::judge(&nodes, &acknowledged);
        (nodes, judged)
    }

    /// The other users, as an author saw the membership.
    fn others(&mut self, user: &UserId, heads: &[OperationId]) -> BTreeSet<UserId> {
        let view = self.control.view(heads);
        let members = view.iter().flat_map(|view| view.members.keys());
        members.filter(|other| *other != user).copied().collect()
    }
}
