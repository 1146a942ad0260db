//! Documents made anew from the envelopes that count.

use std::collections::{BTreeMap, BTreeSet};

use super::{ASIDE, Conversation, Kept};
use crate::context::Context;
use crate::conversation::author_tag;
use crate::conversation::merge::decode_content;
use crate::document::{Incoming, MessageId, Outcome, Segment};
use crate::io::Event;
use crate::limits;
use crate::record::{self, Kind, MessageRecord, RecordError, Row, SnapshotRecord, Write};
use sheaf_crypto::Kind as Purpose;

/// What became other by making documents anew.
#[derive(Default)]
pub(super) struct Changed {
    /// Messages that show now.
    pub(super) shown: Vec<MessageRecord>,
    /// Messages that do not show any more.
    pub(super) gone: Vec<MessageRecord>,
    /// Changes of this device that are set aside and hold no message.
    pub(super) own_changes: u32,
    /// Something that this device wrote is set aside.
    pub(super) own: bool,
}

impl Conversation {
    /// Makes the documents anew in which something else stands than before; `false` if there are none.
    pub(super) fn make_anew(
        &mut self,
        kept: &mut [Kept],
        rows: &[Row],
        context: &mut Context<'_>,
    ) -> Result<bool, RecordError> {
        let mut listed: BTreeMap<MessageId, MessageRecord> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.kind == Kind::Message) {
            let record = MessageRecord::decode(&row.value)?;
            listed.insert(record.message, record);
        }
        let bases = self.bases(rows);
        let mut counts = Vec::with_capacity(kept.len());
        for envelope in kept.iter() {
            counts.push(self.counts(envelope));
        }
        let mut segments = BTreeSet::new();
        for (envelope, counts) in kept.iter().zip(&counts) {
            // What was refused may have waited for what stands now.
            let other = *counts == envelope.record.refused;
            if other && envelope.segment() != limits::ASIDE {
                segments.insert(envelope.segment());
            }
        }
        let mut changed = Changed::default();
        // What is away is judged when it is here again.
        segments.retain(|segment| !self.segments.is_away(*segment));
        // Of what was forgotten only what came later can be made anew.
        segments.retain(|segment| !self.is_settled(*segment) || bases.contains_key(segment));
        let other = !segments.is_empty();
        for segment in segments {
            let mut here: Vec<&mut Kept> = Vec::new();
            for (envelope, counts) in kept.iter_mut().zip(&counts) {
                if *counts && envelope.segment() == segment {
                    here.push(envelope);
                } else if envelope.segment() == segment && !envelope.record.refused {
                    self.note_own(envelope, &mut changed, context);
                    self.mark(envelope, true, context);
                }
            }
            here.sort_by_key(|envelope| envelope.record.arrival);
            let base = bases.get(&segment).map(Vec::as_slice);
            self.make_segment((segment, base), here, &mut listed, &mut changed, context)?;
        }
        self.conclude_forks(&listed, changed, context);
        Ok(other)
    }

    /// Whether an envelope's content is to be part of its document.
    fn counts(&mut self, envelope: &Kept) -> bool {
        let inner = &envelope.inner;
        if inner.kind != Purpose::Content || self.forks.aside.contains(&envelope.item) {
            return false;
        }
        // What its author could not write there was refused when it came, and is again.
        if !self.has_segment(inner, envelope.segment()) {
            return false;
        }
        if envelope.index() & ASIDE == 0 {
            let place = (envelope.index(), inner.seq);
            return !self.withheld.contains_key(&place);
        }
        !self.stands_back(&inner.device, &inner.run, inner.seq, &inner.incarnation)
    }

    /// Saved documents of segments whose envelopes were erased.
    fn bases(&self, rows: &[Row]) -> BTreeMap<u32, Vec<u8>> {
        let saved = rows.iter().filter(|row| row.kind == Kind::Snapshot);
        let saved = saved.filter_map(|row| {
            let segment = u32::from_be_bytes(*row.order.first_chunk()?);
            let record: SnapshotRecord = record::decode(row.kind, &row.value).ok()?;
            Some((segment, record.document))
        });
        saved
            .filter(|(segment, _)| self.is_settled(*segment))
            .collect()
    }

    fn make_segment(
        &mut self,
        (segment, base): (u32, Option<&[u8]>),
        mut here: Vec<&mut Kept>,
        listed: &mut BTreeMap<MessageId, MessageRecord>,
        changed: &mut Changed,
        context: &mut Context<'_>,
    ) -> Result<(), RecordError> {
        let damaged = RecordError(Kind::Envelope);
        let made = match base {
            Some(base) => Segment::load(&self.id.0, segment, base),
            None => Segment::genesis(&self.id.0, segment),
        };
        let mut document = made.map_err(|_| damaged)?;
        let before: BTreeSet<MessageId> = document.messages().map(|m| m.message.id).collect();
        let mut batch = Vec::new();
        for envelope in &here {
            let inner = &envelope.inner;
            // What does not decode was refused when it came, and is again.
            let changes = decode_content(inner, &self.id).map_or(Vec::new(), |(_, c)| c);
            batch.push(Incoming {
                actor: sheaf_crypto::actor_bytes(&inner.device, &self.id, segment, &inner.run),
                author_tag: author_tag(&inner.device),
                changes,
            });
        }
        let outcomes = document.merge(&batch);
        let stay = listed.iter().filter(|(id, _)| before.contains(*id));
        let mut shown: BTreeMap<MessageId, MessageRecord> =
            stay.map(|(id, record)| (*id, record.clone())).collect();
        let mut bytes = 0_usize;
        for (envelope, outcome) in here.iter_mut().zip(outcomes) {
            bytes = bytes.saturating_add(envelope.record.wire.len());
            let applied = matches!(outcome, Outcome::Applied { .. } | Outcome::Duplicate);
            if let Outcome::Applied { messages, .. } = outcome {
                for message in messages {
                    let record = self.message(&envelope.inner, segment, message);
                    shown.insert(record.message, record);
                }
            }
            if !applied && !envelope.record.refused {
                self.note_own(envelope, changed, context);
            }
            if applied == envelope.record.refused {
                self.mark(envelope, !applied, context);
            }
        }
        self.keep_pending(segment, &mut document, &mut shown, listed, changed, context);
        self.relist(segment, shown, listed, changed, context);
        if base.is_none() {
            self.drop_snapshot(segment, context);
        }
        self.segments.renew(segment, document, bytes);
        self.segments.write(segment, self.id, context.stage);
        Ok(())
    }

    /// Something of this device is about to be set aside.
    fn note_own(&self, envelope: &Kept, changed: &mut Changed, context: &Context<'_>) {
        if envelope.inner.device == context.account.device() {
            changed.own = true;
            let parts = decode_content(&envelope.inner, &self.id);
            let count = parts.map_or(0, |(_, changes)| changes.len());
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            changed.own_changes = changed.own_changes.saturating_add(count);
        }
    }

    fn mark(&self, envelope: &mut Kept, refused: bool, context: &mut Context<'_>) {
        envelope.record.refused = refused;
        let (order, record) = (&envelope.order, &envelope.record);
        let write = Write::put(Kind::Envelope, &self.id.0, order, record);
        context.stage.write(write);
    }

    /// Changes that are not sealed yet stay where they still fit.
    fn keep_pending(
        &mut self,
        segment: u32,
        document: &mut Segment,
        shown: &mut BTreeMap<MessageId, MessageRecord>,
        listed: &BTreeMap<MessageId, MessageRecord>,
        changed: &mut Changed,
        context: &mut Context<'_>,
    ) {
        let device = context.account.device();
        let mut rest = std::collections::VecDeque::new();
        for pending in std::mem::take(&mut self.pending) {
            let incoming = Incoming {
                actor: sheaf_crypto::actor_bytes(&device, &self.id, segment, &pending.run),
                author_tag: author_tag(&device),
                changes: vec![pending.change.clone()],
            };
            let fits = pending.segment != segment
                || matches!(
                    document.merge(&[incoming]).first(),
                    Some(Outcome::Applied { .. } | Outcome::Duplicate)
                );
            if fits {
                if pending.segment == segment {
                    let own = pending.messages.iter().filter_map(|id| listed.get(id));
                    shown.extend(own.map(|record| (record.message, record.clone())));
                }
                rest.push_back(pending);
                continue;
            }
            changed.own = true;
            changed.own_changes = changed.own_changes.saturating_add(1);
            *context.pending = context.pending.saturating_sub(1);
            let order = pending.number.to_be_bytes();
            context
                .stage
                .write(Write::delete(Kind::Pending, &self.id.0, &order));
        }
        self.pending = rest;
    }

    /// Lists what shows in a segment, and nothing else.
    fn relist(
        &mut self,
        segment: u32,
        shown: BTreeMap<MessageId, MessageRecord>,
        listed: &mut BTreeMap<MessageId, MessageRecord>,
        changed: &mut Changed,
        context: &mut Context<'_>,
    ) {
        let gone = listed
            .iter()
            .filter(|(id, record)| record.segment == segment && !shown.contains_key(*id));
        let gone: Vec<MessageRecord> = gone.map(|(_, record)| record.clone()).collect();
        for record in gone {
            let order = record.message.as_bytes();
            context
                .stage
                .write(Write::delete(Kind::Message, &self.id.0, order));
            listed.remove(&record.message);
            changed.gone.push(record);
        }
        for (id, record) in shown {
            if listed.get(&id) != Some(&record) {
                self.list(&record, context);
                listed.insert(id, record.clone());
                changed.shown.push(record);
            }
        }
    }

    /// Says what changed, and has this device write again what it lost.
    fn conclude_forks(
        &mut self,
        listed: &BTreeMap<MessageId, MessageRecord>,
        changed: Changed,
        context: &mut Context<'_>,
    ) {
        let conversation = self.id;
        let (own, run) = (context.account.device(), self.own_run(context));
        let chain = self.chains.get(&own, &run);
        let fell = chain.is_some_and(|chain| self.forks.is_broken(&own, &run, chain.head));
        if changed.own || fell {
            // The old actor's chain of changes has a hole here, and none elsewhere.
            let mut run = sheaf_crypto::RunId([0; 16]);
            context.rng.fill_bytes(&mut run.0);
            self.forks.run = Some(run);
        }
        let gone = changed.gone.iter().filter(|record| record.device == own);
        let messages: Vec<MessageRecord> = gone.cloned().collect();
        let changes = changed
            .own_changes
            .saturating_sub(u32::try_from(messages.len()).unwrap_or(u32::MAX));
        self.lose(&messages, listed, context);
        if changed.own {
            let what = format!(
                "{} messages written here were built on a side of a fork that does not stand and are \
                 written again; up to {changes} other changes of the document have to be made again",
                messages.len()
            );
            context
                .stage
                .audit(what, "this device".to_owned(), Some(conversation));
            let messages = messages.iter().map(|record| record.message).collect();
            context.stage.notify(Event::EditsSetAside {
                conversation,
                messages,
                changes,
            });
        }
        if !changed.shown.is_empty() {
            let messages = changed.shown;
            context.stage.notify(Event::MessagesReceived {
                conversation,
                messages,
            });
        }
        if !changed.gone.is_empty() {
            let gone = changed.gone.iter().map(|record| record.message).collect();
            context.stage.notify(Event::MessagesSetAside {
                conversation,
                messages: gone,
            });
            context
                .stage
                .notify(Event::DocumentChanged { conversation });
        }
    }
}
