//! Which content of devices that were removed, frozen or quarantined counts (research/keys.md 2.4).
//!
//! Content up to the frontier of a removal counts, and later content only where another member's
//! item names it as seen: that member vouches for it. What does not count is part of its chain and
//! kept, but not of the document; it is applied when somebody vouches, or when the freeze or the
//! quarantine is lifted. So nothing that an honest device has applied is ever taken back, and all
//! devices come to the same documents.

use std::collections::BTreeMap;

use sheaf_crypto::{
    Dependency, DeviceId, Inner, Kind as Purpose, OperationId, RunId, item_of_record,
};

use super::inbound::{News, Staged};
use super::merge::{decode_content, envelope_order};
use super::segments::Loading;
use super::{Conversation, Work};
use crate::command::CommandError;
use crate::context::Context;
use crate::control::Standing;
use crate::epoch::Choice;
use crate::limits;
use crate::record::{self, EnvelopeRecord, Kind, Range, RecordError, Row, WithheldRecord, Write};

/// Chain index and sequence of what is kept and not applied.
pub(super) type Withheld = BTreeMap<(u32, u64), WithheldRecord>;

impl Conversation {
    /// Whether an item is kept back: its author is out, frozen or quarantined.
    pub(super) fn is_withheld(&self, inner: &Inner) -> bool {
        self.keeps_back(&inner.device, &inner.run, inner.seq, &inner.incarnation)
    }

    fn keeps_back(
        &self,
        device: &DeviceId,
        run: &RunId,
        seq: u64,
        incarnation: &OperationId,
    ) -> bool {
        if self.chains.is_quarantined(device) {
            return true;
        }
        match self.control.current().standing(device, incarnation) {
            Standing::Live => false,
            Standing::Frozen => true,
            Standing::Ended(removals) => {
                let frontier = self.control.frontier(&removals, device, run);
                seq > frontier.max(self.chains.vouched(device, run))
            }
        }
    }

    /// Remembers what was kept back, so that it can be applied later.
    pub(super) fn withhold(&mut self, inner: &Inner, segment: u32, context: &mut Context<'_>) {
        let Some(chain) = self.chains.get(&inner.device, &inner.run) else {
            return;
        };
        // Beyond the bound it stays in its chain and in the store; a resync brings it back.
        if self.withheld.len() >= limits::WITHHELD_ITEMS_MAX {
            return;
        }
        let place = (chain.index, inner.seq);
        let record = WithheldRecord {
            conversation: self.id,
            device: inner.device,
            run: inner.run,
            seq: inner.seq,
            segment,
            incarnation: inner.incarnation,
        };
        let write = Write::put(Kind::Withheld, &self.id.0, &order(place), &record);
        context.stage.write(write);
        self.withheld.insert(place, record);
        self.seen.remove(&(inner.device, inner.run));
    }

    /// Whether something of a chain is kept back: its head is not named as seen then.
    pub(super) fn keeps_any(&self, device: &DeviceId, run: &RunId) -> bool {
        self.chains.get(device, run).is_some_and(|chain| {
            let places = (chain.index, 0)..=(chain.index, u64::MAX);
            self.withheld.range(places).next().is_some()
        })
    }

    pub(super) fn restore_withheld(&mut self, record: WithheldRecord) {
        if let Some(chain) = self.chains.get(&record.device, &record.run) {
            // What is not applied here is not named as seen.
            self.seen.remove(&(record.device, record.run));
            self.withheld.insert((chain.index, record.seq), record);
        }
    }

    /// An accepted item of another member names these as seen.
    pub(super) fn vouched(&mut self, inner: &Inner, context: &mut Context<'_>) {
        let mut raised = false;
        for Dependency {
            device, run, seq, ..
        } in &inner.dependencies
        {
            if *device != inner.device && self.chains.vouch(device, run, *seq) {
                self.write_chain(*device, *run, context);
                raised = true;
            }
        }
        if raised {
            self.release();
        }
    }

    /// Queues what need not be kept back any longer.
    pub(super) fn release(&mut self) {
        let free = self.withheld.iter().filter(|(_, record)| {
            !self.keeps_back(&record.device, &record.run, record.seq, &record.incarnation)
        });
        let free: Vec<(u32, u64)> = free.map(|(place, _)| *place).collect();
        for place in free {
            let queued = self
                .work
                .iter()
                .any(|work| matches!(work, Work::Release(known) if *known == place));
            if !queued {
                self.work.push_back(Work::Release(place));
            }
        }
    }

    /// Reads what was kept back, and before it the document that it belongs to.
    pub(super) fn read_withheld(
        &mut self,
        place: (u32, u64),
        context: &mut Context<'_>,
    ) -> Option<Work> {
        let record = self.withheld.get(&place)?;
        let segment = record.segment;
        if !self.segments.is_ready(segment) {
            self.load(segment, context);
            return Some(Work::Release(place));
        }
        let order = envelope_order(segment, place.0, place.1).to_vec();
        let range = Range {
            kind: Kind::Envelope,
            scope: self.id.0.to_vec(),
            from: order.clone(),
            to: order,
        };
        let load = context.stage.load(vec![range]);
        self.segments.loading = Some(Loading::Withheld(load, place));
        None
    }

    /// Applies what was kept back and has been read.
    pub(super) fn apply_withheld(
        &mut self,
        place: (u32, u64),
        rows: &[Row],
        context: &mut Context<'_>,
    ) -> Result<(), RecordError> {
        let Some(record) = self.withheld.remove(&place) else {
            return Ok(());
        };
        context
            .stage
            .write(Write::delete(Kind::Withheld, &self.id.0, &order(place)));
        let Some(row) = rows.first() else {
            return Ok(());
        };
        let envelope: EnvelopeRecord = record::decode(row.kind, &row.value)?;
        let damaged = RecordError(Kind::Envelope);
        let keys = self.epochs.get(&envelope.epoch).ok_or(damaged)?;
        let opened = sheaf_crypto::open(&keys.keys, &envelope.wire).map_err(|_| damaged)?;
        let signing = self.control.signing_key(&record.device).ok_or(damaged)?;
        let inner = opened.verify(&signing).map_err(|_| damaged)?;
        // What does not decode was refused when it came, and stays so.
        let Ok((segment, changes)) = decode_content(&inner, &self.id) else {
            return Ok(());
        };
        let staged = Staged {
            item: item_of_record(&envelope.wire),
            epoch: envelope.epoch,
            wire: envelope.wire,
            segment,
            changes,
            held: false,
            inner,
        };
        let mut news = News::default();
        self.merge(vec![staged], &mut news, context);
        // The last snapshot may claim to cover this item: it is replaced in the same batch.
        let covered = self.covered();
        self.segments
            .snapshot(segment, 0, covered, self.id, context.stage);
        self.tell(news, context);
        Ok(())
    }

    /// After a removal: content of the removed that is applied here, and that the remover had not
    /// seen, is vouched for by this device's next item.
    pub(super) fn vouch_for_removed(&mut self) {
        let view = std::sync::Arc::clone(self.control.current());
        for ((device, run), chain) in self.chains.iter() {
            let Standing::Ended(removals) = view.standing(device, &chain.incarnation) else {
                continue;
            };
            let frontier = self.control.frontier(&removals, device, run);
            let known = frontier.max(chain.vouched);
            if chain.head > known && !self.keeps_any(device, run) {
                self.seen.insert((*device, *run), (chain.head, chain.item));
                self.vouch_due = true;
            }
        }
    }

    /// Sends an item that only names what was seen, where nothing else is about to be sent.
    pub(super) fn send_vouch(&mut self, context: &mut Context<'_>) -> Result<(), CommandError> {
        if !self.vouch_due || !self.pending.is_empty() || !context.link_is_up() {
            return Ok(());
        }
        let Choice::Use(epoch) = self.epochs.choose(&self.control, context.now) else {
            return Ok(());
        };
        if self
            .control
            .current()
            .role(&context.account.user())
            .is_none()
        {
            self.vouch_due = false;
            return Ok(());
        }
        self.send_item(Purpose::Checkpoint, Vec::new(), epoch, context)
    }
}

fn order((chain, seq): (u32, u64)) -> [u8; 12] {
    let mut order = [0; 12];
    let parts = chain.to_be_bytes().into_iter().chain(seq.to_be_bytes());
    for (place, byte) in order.iter_mut().zip(parts) {
        *place = byte;
    }
    order
}
