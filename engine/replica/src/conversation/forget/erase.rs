//! What is erased, and what is done without it.

use sheaf_crypto::{EpochId, OperationId};
use sheaf_protocol::TopicId;

use super::super::Conversation;
use super::super::exchange::giving::place_of;
use super::Underway;
use crate::context::Context;
use crate::io::Event;
use crate::limits;
use crate::record::{self, Away, EnvelopeRecord, Kind, RecordError, Row, Write};

impl Conversation {
    /// A segment is read: noted is what is to be erased of it, and its document is saved if it was
    /// built from that.
    pub(in crate::conversation) fn forget_with(
        &mut self,
        segment: u32,
        rows: &[Row],
        context: &mut Context<'_>,
    ) -> Result<(), RecordError> {
        let underway = self.forgotten.underway.take();
        let Some(mut underway) = underway.filter(|u| u.left.last() == Some(&segment)) else {
            return Ok(());
        };
        if segment != limits::ASIDE && !self.segments.is_ready(segment) {
            // The document was let go of meanwhile: it is read once more.
            self.forgotten.underway = Some(underway);
            return Ok(());
        }
        let mut orders = Vec::new();
        for row in rows {
            let envelope: EnvelopeRecord = record::decode(row.kind, &row.value)?;
            if self.control.is_before(&envelope.epoch, &underway.cut) {
                orders.push(row.order.clone());
            }
        }
        let of_document = self.segments.knows(segment) && !self.segments.is_away(segment);
        if of_document && !orders.is_empty() {
            let (covered, stage) = (self.covered(), &mut *context.stage);
            if !self.segments.save(segment, covered, self.id, stage) {
                self.forgotten.failed = true;
                let what = format!("segment {segment} does not save: nothing is forgotten");
                stage.audit(what, "this device".to_owned(), Some(self.id));
                return Ok(());
            }
            underway.segments.insert(segment);
        }
        underway.orders.append(&mut orders);
        underway.left.pop();
        self.forgotten.underway = Some(underway);
        Ok(())
    }

    /// Everything that was built from it is saved: the secrets go, with all that only they open.
    pub(super) fn erase(&mut self, context: &mut Context<'_>) {
        let Some(underway) = self.forgotten.underway.take() else {
            return;
        };
        let cut = underway.cut;
        let held = self.epochs.iter();
        let held = held.map(|(epoch, held)| (*epoch, held.keys.topic()));
        let gone = held.filter(|(epoch, _)| self.control.is_before(epoch, &cut));
        let gone: Vec<(EpochId, TopicId)> = gone.collect();
        let kept_back = self.erase_envelopes(&underway, context);
        for (epoch, topic) in &gone {
            let write = Write::delete(Kind::Epoch, &self.id.0, &epoch.0);
            context.stage.write(write.erasing());
            context.outbox.withdraw(topic, context.stage);
            context.topics.erase(topic, context.stage);
            self.epochs.forget(epoch);
        }
        for segment in &underway.segments {
            self.segments.settle(*segment);
        }
        self.forgotten.segments.extend(&underway.segments);
        self.forgotten.cuts.insert(cut);
        self.leave_forgotten(&cut, context);
        self.write_forgotten(context);
        let epochs = u64::try_from(gone.len()).unwrap_or(u64::MAX);
        let also = match kept_back {
            0 => String::new(),
            count => format!(", and {count} items that were kept back of the removed"),
        };
        let what = format!("secrets of {epochs} epochs from before a cut erased{also}");
        let own = "this device".to_owned();
        context.stage.note(what, own, Some(self.id));
        context.stage.notify(Event::SecretsForgotten {
            conversation: self.id,
            epochs,
        });
    }

    /// Erases envelopes; gives how many of them were kept back and never counted. The first place of
    /// these in a chain stays noted: nobody names what comes after it as seen.
    fn erase_envelopes(&mut self, underway: &Underway, context: &mut Context<'_>) -> u64 {
        let (scope, stage) = (&self.id.0, &mut *context.stage);
        let mut kept_back = 0_u64;
        for order in &underway.orders {
            stage.write(Write::delete(Kind::Envelope, scope, order));
            let Some(place) = place_of(order) else {
                continue;
            };
            let upto = self.forgotten.upto.entry(place.0).or_default();
            *upto = place.1.max(*upto);
            let kept = self.withheld.get(&place);
            if kept.is_some_and(|kept| kept.segment != limits::ASIDE) {
                kept_back = kept_back.saturating_add(1);
            }
        }
        let erased = self
            .withheld
            .keys()
            .filter(|place| self.was_erased(**place));
        let erased: Vec<(u32, u64)> = erased.copied().collect();
        for pair in erased.windows(2) {
            if let [first, later] = pair
                && first.0 == later.0
            {
                self.let_go(*later, context);
            }
        }
        kept_back
    }

    /// What is away and lies before the cut cannot be fetched any more.
    fn leave_forgotten(&mut self, cut: &OperationId, context: &mut Context<'_>) {
        let away = self.segments.away();
        let away = away.map(|(segment, gone)| (segment, gone.why));
        let before = away.filter(|(segment, _)| self.control.lies_before(*segment, cut));
        for (segment, why) in before.collect::<Vec<_>>() {
            self.fetching.leave(segment);
            self.forgotten.segments.insert(segment);
            if why == Away::Dropped {
                self.put_away_as(segment, Away::Forgotten, context);
            }
        }
    }

    /// Whether a segment's document cannot be had from others any more: it is here, or nowhere.
    pub(in crate::conversation) fn is_settled(&self, segment: u32) -> bool {
        self.forgotten.holds(segment)
    }
}
