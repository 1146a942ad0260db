//! What was kept back is taken in once it counts.

use sheaf_crypto::{Kind as Purpose, item_of_record};

use super::super::inbound::{News, Staged};
use super::super::merge::{decode_content, envelope_order};
use super::super::segments::Loading;
use super::super::{Conversation, Work};
use super::order;
use crate::context::Context;
use crate::limits;
use crate::record::{self, EnvelopeRecord, Kind, Range, RecordError, Row, WithheldRecord, Write};

impl Conversation {
    /// Whether something that was kept back is about to be applied.
    pub(in crate::conversation) fn releases(&self) -> bool {
        let mut work = self.work.iter();
        work.any(|work| matches!(work, Work::Release(_)))
    }

    /// Queues, before everything else, what need not be kept back any longer: what comes next may
    /// build on it. `true` if there is something.
    pub(in crate::conversation) fn release(&mut self) -> bool {
        let free = self.withheld.iter().filter(|(_, record)| {
            !self.keeps_back(&record.device, &record.run, record.seq, &record.incarnation)
        });
        let mut free: Vec<(u64, (u32, u64))> = free
            .map(|(place, record)| (record.arrival, *place))
            .collect();
        free.sort_unstable_by_key(|(arrival, _)| std::cmp::Reverse(*arrival));
        self.work.retain(|work| !matches!(work, Work::Release(_)));
        for (_, place) in &free {
            self.work.push_front(Work::Release(*place));
        }
        !free.is_empty()
    }

    /// Reads what was kept back, and before it the document that it belongs to.
    pub(in crate::conversation) fn read_withheld(
        &mut self,
        place: (u32, u64),
        context: &mut Context<'_>,
    ) -> Option<Work> {
        let record = self.withheld.get(&place)?;
        let segment = record.segment;
        if segment != limits::ASIDE {
            if !self.segments.is_ready(segment) {
                self.load(segment, context);
                return Some(Work::Release(place));
            }
            // Used now, so that it is not the one that makes room while the record is read.
            if let Err(error) = self.segments.document(segment, &self.id) {
                tracing::warn!(segment, %error, "document could not be made");
            }
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
    pub(in crate::conversation) fn apply_withheld(
        &mut self,
        place: (u32, u64),
        rows: &[Row],
        context: &mut Context<'_>,
    ) -> Result<(), RecordError> {
        let Some(record) = self.withheld.get(&place).cloned() else {
            return Ok(());
        };
        if record.segment == limits::ASIDE {
            return self.count_aside(&record, place, rows, context);
        }
        if !self.segments.is_ready(record.segment) {
            self.work.push_front(Work::Release(place));
            return Ok(());
        }
        let Some(row) = rows.first() else {
            if self.was_erased(place) {
                self.let_go(place, context);
            }
            return Ok(());
        };
        let envelope: EnvelopeRecord = record::decode(row.kind, &row.value)?;
        let damaged = RecordError(Kind::Envelope);
        let keys = self.epochs.get(&envelope.epoch).ok_or(damaged)?;
        let opened = sheaf_crypto::open(&keys.keys, &envelope.wire).map_err(|_| damaged)?;
        let signing = self.control.signing_key(&record.device).ok_or(damaged)?;
        let inner = opened.verify(&signing).map_err(|_| damaged)?;
        // It counts from here on, and so does what it names: that may be kept back too, and is
        // applied first.
        if self.vouched(&inner, context) {
            return Ok(());
        }
        self.let_go(place, context);
        // What does not decode was refused when it came, and stays so.
        let Ok((segment, changes)) = decode_content(&inner, &self.id) else {
            return Ok(());
        };
        let staged = Staged {
            item: item_of_record(&envelope.wire),
            epoch: envelope.epoch,
            wire: envelope.wire,
            arrival: envelope.arrival,
            segment,
            changes,
            held: false,
            live: false,
            once: false,
            inner,
        };
        self.see_released(&record, context);
        let mut news = News::default();
        self.merge(vec![staged], &mut news, context);
        // The last snapshot may claim to cover this item: it is replaced in the same batch,
        // however small the tail is.
        let covered = self.covered();
        self.segments.save(segment, covered, self.id, context.stage);
        self.tell(news, context);
        // What was refused while a fork was judged may have been built on it.
        self.judge_forks();
        Ok(())
    }

    /// What is part of no document counts from here on: what it vouches for and says does.
    fn count_aside(
        &mut self,
        record: &WithheldRecord,
        place: (u32, u64),
        rows: &[Row],
        context: &mut Context<'_>,
    ) -> Result<(), RecordError> {
        if let Some(row) = rows.first() {
            let envelope: EnvelopeRecord = record::decode(row.kind, &row.value)?;
            if let Some(inner) = self.reopened(&envelope) {
                if self.vouched(&inner, context) {
                    return Ok(());
                }
                if inner.kind == Purpose::Checkpoint {
                    self.note_told(&inner, envelope.epoch, &envelope.wire, context);
                }
            }
        }
        self.let_go(place, context);
        self.see_released(record, context);
        Ok(())
    }

    /// This device counts an item now, and says so with its next content: others may not have heard
    /// what made it count, and what is written here builds on it.
    fn see_released(&mut self, record: &WithheldRecord, context: &Context<'_>) {
        let counted = self.counted(&record.device, &record.run);
        if record.device != context.account.device()
            && let Some(last) = counted.filter(|(seq, _)| *seq >= record.seq)
        {
            self.seen.insert((record.device, record.run), last);
            self.vouch_due = true;
        }
    }

    /// Something is no longer kept back.
    pub(in crate::conversation) fn let_go(&mut self, place: (u32, u64), context: &mut Context<'_>) {
        self.withheld.remove(&place);
        let write = Write::delete(Kind::Withheld, &self.id.0, &order(place));
        context.stage.write(write);
    }
}
