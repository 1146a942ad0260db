//! What the store knows at a place of a chain that memory does not reach.

use sheaf_crypto::{Inner, ItemId, Kind as Purpose, OperationId};

use super::super::Conversation;
use super::super::merge::{decode_content, envelope_order};
use super::super::segments::{Gone, Loading, Placing};
use crate::context::Context;
use crate::limits;
use crate::record::{self, EnvelopeRecord, Kind, Range, RecordError, Row};

impl Conversation {
    /// Whether an item is the one that is known at its place; `None` if the store has to be asked.
    pub(in crate::conversation) fn is_same(
        &mut self,
        inner: &Inner,
        item: &ItemId,
    ) -> Option<bool> {
        if inner.kind == Purpose::Control && self.control.contains(&OperationId(item.0)) {
            return Some(true);
        }
        self.forks.compared.remove(item)
    }

    /// Whether the item that a new run begins after is the one that is known at its place; `None` if the
    /// store has to be asked. A device that remembers it and one that was started anew decide alike.
    pub(in crate::conversation) fn follows_known(
        &mut self,
        inner: &Inner,
        item: &ItemId,
    ) -> Option<bool> {
        let previous = inner.previous.map(|previous| OperationId(previous.0));
        let entry = previous.and_then(|previous| self.control.entry(&previous));
        let own = entry.filter(|entry| entry.operation.author == inner.device);
        if own.is_some_and(|entry| entry.operation.seq.checked_add(1) == Some(inner.seq)) {
            return Some(true);
        }
        if self.forks.misplaced.contains(item) {
            return Some(false);
        }
        let same = self.forks.compared.remove(item)?;
        if !same {
            // It waits, and is looked at again and again; what is not kept in mind is read again.
            if self.forks.misplaced.len() >= limits::PARKED_RECORDS_MAX {
                self.forks.misplaced.clear();
            }
            self.forks.misplaced.insert(*item);
        }
        Some(same)
    }

    /// Asks the store for what is known at an item's place, or at that of the one that its run begins
    /// after.
    pub(in crate::conversation) fn compare_place(
        &mut self,
        inner: &Inner,
        item: ItemId,
        context: &mut Context<'_>,
    ) {
        let chain = self.chains.get(&inner.device, &inner.run);
        let chain = chain.filter(|chain| chain.head > 0);
        let (places, placing) = match chain.map(|chain| chain.index) {
            Some(index) => self.placing(index, inner.seq, item),
            None => self.placing_of_run(inner, item),
        };
        let segment = decode_content(inner, &self.id).map(|(segment, _)| segment);
        let mut segments = vec![segment.unwrap_or(limits::ASIDE), limits::ASIDE];
        if placing.rows > 0 {
            segments.extend(self.segments.indices());
        }
        segments.sort_unstable();
        segments.dedup();
        let ranges = places.into_iter().flat_map(|(index, seq)| {
            let of = |segment: &u32| envelope_order(*segment, index, seq).to_vec();
            let orders: Vec<Vec<u8>> = segments.iter().map(of).collect();
            orders.into_iter().map(|order| Range {
                kind: Kind::Envelope,
                scope: self.id.0.to_vec(),
                from: order.clone(),
                to: order,
            })
        });
        let load = context.stage.load(ranges.collect());
        self.segments.loading = Some(Loading::Place(load, placing));
    }

    /// An item's own place.
    fn placing(&self, index: u32, seq: u64, item: ItemId) -> (Vec<(u32, u64)>, Placing) {
        // What is away cannot be compared; then nothing that is here may speak against the item.
        let held = |gone: &Gone| gone.upto.get(&index) >= Some(&seq);
        let away = self.segments.away().any(|(_, gone)| held(gone));
        let gone = away || self.was_erased((index, seq)) || self.began_after(index, seq);
        let placing = Placing {
            item,
            expected: item,
            rows: usize::from(gone),
        };
        (vec![(index, seq)], placing)
    }

    /// The places of a device's chains after which a run may begin. Of many only some are looked at, and
    /// nothing speaks against the item then.
    fn placing_of_run(&self, inner: &Inner, item: ItemId) -> (Vec<(u32, u64)>, Placing) {
        let before = inner.seq.saturating_sub(1);
        let chains = self.chains.old_at(&inner.device, before);
        let placing = Placing {
            item,
            expected: inner.previous.unwrap_or_default(),
            rows: chains.len(),
        };
        let looked_at = chains.into_iter().take(limits::RUNS_COMPARED_MAX);
        (looked_at.map(|index| (index, before)).collect(), placing)
    }

    /// The store has answered.
    pub(in crate::conversation) fn compared(
        &mut self,
        placing: Placing,
        rows: &[Row],
    ) -> Result<(), RecordError> {
        let mut same = rows.len() < placing.rows;
        for row in rows {
            let envelope: EnvelopeRecord = record::decode(row.kind, &row.value)?;
            let known = self.open_kept(row.order.clone(), envelope);
            same |= known.is_some_and(|known| known.item == placing.expected);
        }
        // Each is asked for again at once; no more wait here than records do.
        self.forks.compared.insert(placing.item, same);
        Ok(())
    }
}
