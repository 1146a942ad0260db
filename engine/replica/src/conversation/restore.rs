//! Reading a conversation back from the store.

use std::collections::BTreeMap;

use sheaf_crypto::{ConversationId, DeviceId, EpochSecret};

use super::merge::{decode_content, envelope_order};
use super::segments::Loading;
use super::{Conversation, Pending};
use crate::context::Context;
use crate::control::ControlLog;
use crate::document::{Incoming, Outcome, Segment};
use crate::io::LoadId;
use crate::limits;
use crate::misbehaviour::{Act, Suspect};
use crate::record::{
    self, AwayRecord, ChainRecord, ConversationRecord, EnvelopeRecord, EpochRecord,
    ForgottenRecord, FrontierRecord, KeepRecord, Kind, LostRecord, OfferedRecord, OperationRecord,
    ParkedRecord, PendingRecord, Range, RecordError, Row, SegmentRecord, ShownRecord,
    SiblingRecord, SnapshotRecord, StartRecord, StatedRecord, WithheldRecord,
};

/// Everything of one conversation that is read when the store is opened.
#[derive(Default)]
pub(crate) struct Restored {
    pub(crate) head: Option<ConversationRecord>,
    pub(crate) operations: BTreeMap<u64, OperationRecord>,
    pub(crate) epochs: Vec<EpochRecord>,
    pub(crate) chains: Vec<ChainRecord>,
    pub(crate) segments: Vec<SegmentRecord>,
    pub(crate) pending: BTreeMap<u64, PendingRecord>,
    pub(crate) parked: BTreeMap<u64, ParkedRecord>,
    pub(crate) withheld: Vec<WithheldRecord>,
    pub(crate) frontiers: Vec<FrontierRecord>,
    pub(crate) offered: Vec<OfferedRecord>,
    pub(crate) shown: Vec<ShownRecord>,
    pub(crate) siblings: Vec<SiblingRecord>,
    pub(crate) lost: Vec<LostRecord>,
    pub(crate) away: Vec<AwayRecord>,
    pub(crate) keep: Option<KeepRecord>,
    pub(crate) stated: Vec<StatedRecord>,
    pub(crate) start: Option<StartRecord>,
    pub(crate) unread: Vec<DeviceId>,
    pub(crate) forgotten: Option<ForgottenRecord>,
}

impl Conversation {
    /// Rebuilds a conversation, without its documents.
    pub(crate) fn restore(restored: Restored) -> Result<Self, RecordError> {
        let head = restored.head.ok_or(RecordError(Kind::Conversation))?;
        let damaged = RecordError(Kind::Operation);
        let mut operations = restored.operations.into_values();
        let founding = operations.next().ok_or(damaged)?;
        let control = ControlLog::found(&founding.operation).map_err(|_| damaged)?;
        let segment_messages = control.genesis().map(|genesis| genesis.segment_messages);
        let mut conversation = Self::new(
            control,
            head.created,
            segment_messages.unwrap_or(limits::SEGMENT_MESSAGES),
        );
        conversation.operations = 1;
        for operation in operations {
            conversation
                .control
                .insert(&operation.operation)
                .map_err(|_| damaged)?;
            conversation.operations = operation.number.saturating_add(1);
        }
        conversation.restore_void();
        for epoch in restored.epochs {
            let secret =
                EpochSecret::from_bytes(&epoch.secret).map_err(|_| RecordError(Kind::Epoch))?;
            conversation
                .epochs
                .learn(&conversation.id, epoch.epoch, secret, epoch.learned);
        }
        for chain in restored.chains {
            conversation.restore_chain(&chain);
        }
        for sibling in restored.siblings {
            conversation
                .chains
                .put_aside(sibling.device, sibling.run, sibling.seq, sibling.item);
            conversation.forks.restore_sibling(sibling);
        }
        for lost in restored.lost {
            conversation.forks.restore_lost(lost);
        }
        for withheld in restored.withheld {
            conversation.restore_withheld(withheld);
        }
        for frontier in restored.frontiers {
            conversation.frontiers.restore(frontier);
        }
        for offered in restored.offered {
            conversation.offered.restore(offered);
        }
        for shown in restored.shown {
            conversation.restore_shown(shown);
        }
        for segment in restored.segments {
            conversation.segments.restore(segment);
        }
        conversation.restore_forgotten(restored.forgotten);
        conversation.restore_away(restored.away, restored.keep);
        conversation.stated.restore(restored.stated);
        conversation.restore_start(restored.start);
        conversation.frontiers.restore_unread(restored.unread);
        for pending in restored.pending.into_values() {
            conversation.restore_pending(pending);
        }
        for parked in restored.parked.into_values() {
            conversation.parked.restore(parked);
        }
        Ok(conversation)
    }

    fn restore_chain(&mut self, record: &ChainRecord) {
        self.chains.restore(record);
        // What was seen since the last own item is not stored: naming all heads again is true,
        // and costs some bytes in the first envelope after a start.
        if record.head > 0 {
            self.seen
                .insert((record.device, record.run), (record.head, record.item));
        }
        self.arrivals = self.arrivals.saturating_add(record.head);
    }

    fn restore_pending(&mut self, record: PendingRecord) {
        self.pending_next = self.pending_next.max(record.number.saturating_add(1));
        self.pending.push_back(Pending {
            number: record.number,
            segment: record.segment,
            run: record.run,
            messages: record.messages.clone(),
            change: record.change,
            stored: true,
        });
    }

    /// Follows the topics of every epoch, and examines what waited.
    pub(crate) fn start(&mut self, context: &mut Context<'_>) {
        self.follow_all(context);
        if self.parked.len() > 0 {
            self.work.push_back(super::Work::Retry);
        }
        self.release();
        self.compare_again();
        self.start_forked(context);
    }

    /// Asks for a segment's snapshot; the envelopes after it come next.
    pub(super) fn load(&mut self, segment: u32, context: &mut Context<'_>) {
        let order = segment.to_be_bytes().to_vec();
        let range = Range {
            kind: Kind::Snapshot,
            scope: self.id.0.to_vec(),
            from: order.clone(),
            to: order,
        };
        let load = context.stage.load(vec![range]);
        self.segments.loading = Some(Loading::Snapshot(load, segment));
    }

    /// A read was answered; `false` if it was not this conversation's.
    pub(crate) fn loaded(
        &mut self,
        load: LoadId,
        rows: &[Row],
        context: &mut Context<'_>,
    ) -> Result<bool, RecordError> {
        let loading = self.segments.loading.take();
        let sound: Vec<Row>;
        let mut rows = rows;
        if loading.as_ref().is_some_and(|loading| loading.id() == load)
            && rows.iter().any(|row| row.value.is_empty())
        {
            // Whether a document lacks anything without them shows when it is rebuilt.
            if !matches!(loading, Some(Loading::Tail(..))) {
                self.damaged(rows, context);
            }
            let good = rows.iter().filter(|row| !row.value.is_empty());
            sound = good.cloned().collect();
            rows = &sound;
        }
        match loading {
            Some(Loading::Snapshot(id, segment)) if id == load => {
                self.read_tail(segment, rows, context);
                return Ok(true);
            }
            Some(Loading::Tail(id, segment, snapshot)) if id == load => {
                self.rebuilt(segment, snapshot.as_ref(), rows, context)?;
                return Ok(true);
            }
            Some(Loading::Drop(id, segment)) if id == load => {
                self.drop_with(segment, rows, context)?;
            }
            Some(Loading::Rest(id, segment)) if id == load => {
                self.rest_with(segment, rows, context)?;
            }
            Some(Loading::Forget(id, segment)) if id == load => {
                self.forget_with(segment, rows, context)?;
            }
            Some(Loading::Compare(id, comparing)) if id == load => {
                self.compared_with(*comparing, rows, context)?;
            }
            Some(Loading::Place(id, placing)) if id == load => {
                self.compared(placing, rows)?;
            }
            Some(Loading::Forks(id)) if id == load => {
                self.judge(rows, context)?;
            }
            Some(Loading::Withheld(id, place)) if id == load => {
                self.apply_withheld(place, rows, context)?;
            }
            Some(Loading::Answer(id, answering)) if id == load => {
                self.answer_with(*answering, rows, context)?;
            }
            Some(Loading::Offer(id, offering)) if id == load => {
                self.offer_with(offering, rows, context)?;
            }
            other => {
                self.segments.loading = other;
                return Ok(false);
            }
        }
        self.run(context);
        Ok(true)
    }

    /// Envelopes of a segment that its snapshot does not hold, chain by chain.
    fn tail_ranges(&self, segment: u32, snapshot: Option<&SnapshotRecord>) -> Vec<Range> {
        let covered: BTreeMap<u32, u64> = snapshot
            .map(|snapshot| snapshot.covered.iter().copied().collect())
            .unwrap_or_default();
        let aside = self.forks.of_segment(segment);
        let aside = aside.map(|(index, _)| (index, u64::MAX));
        // What lies behind a chain's head is of one that is read anew.
        self.chains
            .iter()
            .map(|(_, chain)| (chain.index, chain.head))
            .chain(aside)
            .filter_map(|(index, head)| {
                let after = covered.get(&index).copied();
                let from = after.map_or(0, |covered| covered.saturating_add(1));
                (from <= head).then(|| Range {
                    kind: Kind::Envelope,
                    scope: self.id.0.to_vec(),
                    from: envelope_order(segment, index, from).to_vec(),
                    to: envelope_order(segment, index, head).to_vec(),
                })
            })
            .collect()
    }

    /// The snapshot is read; one that does not decode is done without.
    fn read_tail(&mut self, segment: u32, rows: &[Row], context: &mut Context<'_>) {
        let snapshot = rows.first().map(|row| record::decode(row.kind, &row.value));
        let snapshot: Option<SnapshotRecord> = snapshot.and_then(Result::ok);
        let ranges = self.tail_ranges(segment, snapshot.as_ref());
        let load = context.stage.load(ranges);
        self.segments.loading = Some(Loading::Tail(load, segment, snapshot));
    }

    /// The envelopes are read. A document that lacks what it held is rebuilt without its snapshot;
    /// if it lacks it still, part of it is gone from the store.
    fn rebuilt(
        &mut self,
        segment: u32,
        snapshot: Option<&SnapshotRecord>,
        rows: &[Row],
        context: &mut Context<'_>,
    ) -> Result<(), RecordError> {
        let document = self.rebuild(segment, snapshot, rows, context)?;
        let heads = self.segments.recorded(segment);
        let whole = document.filter(|document| {
            let mut heads = heads.iter();
            heads.all(|head| document.contains_change(head))
        });
        match whole {
            Some(document) => self.segments.insert(segment, document),
            None if snapshot.is_some() && !self.is_settled(segment) => {
                self.drop_snapshot(segment, context);
                let load = context.stage.load(self.tail_ranges(segment, None));
                self.segments.loading = Some(Loading::Tail(load, segment, None));
            }
            None => self.damage(segment, context),
        }
        self.run(context);
        Ok(())
    }

    /// Rebuilds a document from its snapshot, the envelopes after it and the changes that are not
    /// sealed yet; `None` if the snapshot does not load.
    fn rebuild(
        &self,
        segment: u32,
        snapshot: Option<&SnapshotRecord>,
        rows: &[Row],
        context: &mut Context<'_>,
    ) -> Result<Option<Segment>, RecordError> {
        let loaded = match snapshot {
            Some(snapshot) => Segment::load(&self.id.0, segment, &snapshot.document),
            None => Segment::genesis(&self.id.0, segment),
        };
        let Ok(mut document) = loaded else {
            return Ok(None);
        };
        let mut envelopes: BTreeMap<(u64, &[u8]), EnvelopeRecord> = BTreeMap::new();
        for row in rows {
            let envelope: EnvelopeRecord = record::decode(row.kind, &row.value)?;
            envelopes.insert((envelope.arrival, &row.order), envelope);
        }
        let batch: Vec<Incoming> = envelopes
            .values()
            .filter_map(|envelope| self.reopen(envelope))
            .collect();
        let mut outcomes = document.merge(&batch);
        outcomes.extend(document.merge(&self.unsealed(segment, context)));
        let refused = outcomes
            .iter()
            .find(|outcome| matches!(outcome, Outcome::Refused(_) | Outcome::Missing(_)));
        if let Some(outcome) = refused {
            let reason = format!("a stored change does not apply again: {outcome:?}");
            let act = Act::RefusedContent(reason);
            let suspect = Suspect::Device(context.account.device());
            context.stage.report(suspect, act, Some(self.id));
        }
        Ok(Some(document))
    }

    /// This device's changes of a segment that are not sealed yet.
    pub(super) fn unsealed(&self, segment: u32, context: &Context<'_>) -> Vec<Incoming> {
        let own = self.pending.iter().filter(|own| own.segment == segment);
        let own = own.map(|pending| {
            let device = context.account.device();
            Incoming {
                actor: sheaf_crypto::actor_bytes(&device, &self.id, segment, &pending.run),
                author_tag: super::author_tag(&device),
                changes: vec![pending.change.clone()],
            }
        });
        own.collect()
    }

    /// Opens a stored envelope again. It was verified when it was accepted, and the store's own
    /// encryption vouches for it since.
    pub(super) fn reopened(&self, envelope: &EnvelopeRecord) -> Option<sheaf_crypto::Inner> {
        let held = self.epochs.get(&envelope.epoch)?;
        let opened = sheaf_crypto::open(&held.keys, &envelope.wire).ok()?;
        let signing = self.control.signing_key(&opened.device())?;
        opened.verify(&signing).ok()
    }

    /// What a stored envelope brought to its document.
    pub(super) fn reopen(&self, envelope: &EnvelopeRecord) -> Option<Incoming> {
        if envelope.refused {
            return None;
        }
        let inner = self.reopened(envelope)?;
        let (segment, changes) = decode_content(&inner, &self.id).ok()?;
        Some(Incoming {
            actor: sheaf_crypto::actor_bytes(&inner.device, &self.id, segment, &inner.run),
            author_tag: super::author_tag(&inner.device),
            changes,
        })
    }

    /// Chains and how far a document that holds everything covers them.
    pub(super) fn covered(&self) -> Vec<(u32, u64)> {
        self.chains
            .iter()
            .map(|(_, chain)| (chain.index, chain.head))
            .chain(self.forks.all())
            .collect()
    }

    /// Saves and drops documents beyond what is kept in memory.
    pub(super) fn evict(&mut self, context: &mut Context<'_>) {
        let loaded = self.segments.loaded();
        let over = loaded
            .len()
            .saturating_sub(limits::DOCUMENTS_PER_CONVERSATION_MAX);
        for segment in loaded.into_iter().take(over) {
            self.shelve(segment, context);
        }
    }

    /// Saves every document where it is worth it and drops it from memory.
    pub(crate) fn shelve_all(&mut self, context: &mut Context<'_>) {
        if self.is_busy() {
            return;
        }
        for segment in self.segments.loaded() {
            self.shelve(segment, context);
        }
    }

    pub(crate) fn documents(&self) -> usize {
        self.segments.loaded().len()
    }

    fn shelve(&mut self, segment: u32, context: &mut Context<'_>) {
        // A change that is not sealed yet is in the document but in no envelope: a snapshot would
        // still be right, since loading merges it again as a duplicate.
        let tail = u64::try_from(limits::SNAPSHOT_TAIL_BYTES).unwrap_or(u64::MAX);
        self.segments
            .snapshot(segment, tail, self.covered(), self.id, context.stage);
        self.segments.drop_document(segment);
    }

    pub(crate) fn id(&self) -> ConversationId {
        self.id
    }
}
