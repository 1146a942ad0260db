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
        // What does not is kept in mind: it waits, and is looked at again and again.
        match self.forks.compared.get(item) {
            Some(true) => self.forks.compared.remove(item),
            known => known.copied(),
        }
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
        let (places, placing) = match chain.filter(|chain| chain.head > 0) {
            Some(chain) => {
                let place = (chain.index, inner.seq);
                // What is away cannot be compared; then nothing that is here may speak against the item.
                let held = |gone: &Gone| gone.upto.get(&place.0) >= Some(&place.1);
                let away = self.segments.away().any(|(_, gone)| held(gone));
                let gone = away || self.is_erased(inner) || self.began_after(place.0, place.1);
                let rows = usize::from(gone);
                let expected = item;
                (
                    vec![place],
                    Placing {
                        item,
                        expected,
                        rows,
                    },
                )
            }
            None => {
                let before = inner.seq.saturating_sub(1);
                let chains = self.chains.old_at(&inner.device, before).into_iter();
                let places: Vec<(u32, u64)> = chains.map(|index| (index, before)).collect();
                let expected = inner.previous.unwrap_or_default();
                let rows = places.len();
                (
                    places,
                    Placing {
                        item,
                        expected,
                        rows,
                    },
                )
            }
        };
        let segment = decode_content(inner, &self.id).map(|(segment, _)| segment);
        let mut segments = vec![segment.unwrap_or(limits::ASIDE), limits::ASIDE];
        if placing.rows > 0 {
            segments.extend(self.segments.indices());
        }
        segments.sort_unstable();
        segments.dedup();
        let ranges = places.into_iter().flat_map(|(index, seq)| {
            let orders = segments
                .iter()
                .map(move |s| envelope_order(*s, index, seq).to_vec());
            orders.map(|order| Range {
                kind: Kind::Envelope,
                scope: self.id.0.to_vec(),
                from: order.clone(),
                to: order,
            })
        });
        let load = context.stage.load(ranges.collect());
        self.segments.loading = Some(Loading::Place(load, placing));
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
        // Each is asked for again at once, or waits; what is not kept in mind is read again.
        if self.forks.compared.len() >= limits::PARKED_RECORDS_MAX {
            self.forks.compared.clear();
        }
        self.forks.compared.insert(placing.item, same);
        Ok(())
    }
}
