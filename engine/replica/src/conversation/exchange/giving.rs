//! What an answer holds: what the other device lacks of that which it may have.

use std::collections::{BTreeMap, BTreeSet};

use sheaf_crypto::{DeviceId, OperationId, RunId, SignedOperation, actor_bytes};

use super::super::merge::{decode_content, envelope_order};
use super::super::segments::Loading;
use super::super::{Conversation, Work};
use super::{Answer, Answering, Question, Way};
use crate::context::Context;
use crate::inbox::InboxBody;
use crate::limits;
use crate::record::{self, EnvelopeRecord, Kind, Range, RecordError, Row};

impl Conversation {
    /// Begins an answer: documents are compared one after the other, then the envelopes are read.
    pub(in crate::conversation) fn answer(
        &mut self,
        mut question: Box<Question>,
        context: &mut Context<'_>,
    ) -> Option<Work> {
        while question.compared < limits::EXCHANGE_SEGMENTS_MAX
            && let Some((segment, _)) = question.ask.segments.get(question.compared)
        {
            let segment = *segment;
            if self.segments.knows(segment) && !self.segments.is_ready(segment) {
                self.load(segment, context);
                return Some(Work::Answer(question));
            }
            self.compare_document(&mut question);
            question.compared = question.compared.saturating_add(1);
            self.evict(context);
        }
        self.read_answer(*question, context);
        None
    }

    /// Reads the envelopes of what the other device lacks.
    fn read_answer(&mut self, mut question: Question, context: &mut Context<'_>) {
        let (to, ask) = (question.to, &question.ask);
        let theirs: BTreeMap<(DeviceId, RunId), u64> = ask
            .chains
            .iter()
            .map(|(d, r, head)| ((*d, *r), *head))
            .collect();
        let concerns = self.concerns(&to).into_iter().map(|of| {
            let there = theirs.get(&of.name).copied();
            let from = there.map_or(of.from, |head| of.from.max(head.saturating_add(1)));
            (of.name, (of.index, from, of.head))
        });
        let concerns: BTreeMap<(DeviceId, RunId), (u32, u64, u64)> = concerns.collect();
        let behind = concerns.values().filter(|(_, from, head)| from <= head);
        let behind: Vec<(u32, u64, u64)> = behind.copied().collect();
        let share = limits::EXCHANGE_ITEMS_MAX / behind.len().max(1);
        let share = u64::try_from(share.max(1)).unwrap_or(1);
        let mut more = behind.len() > limits::EXCHANGE_ITEMS_MAX;
        let mut ranges = std::mem::take(&mut question.ranges);
        let mut lacks = BTreeMap::new();
        for (index, from, head) in behind.into_iter().take(limits::EXCHANGE_ITEMS_MAX) {
            let upto = head.min(from.saturating_add(share).saturating_sub(1));
            more |= upto < head;
            lacks.insert(index, from);
            for segment in self.segments.indices().chain([limits::ASIDE]) {
                ranges.push(self.envelopes(segment, index, from, upto));
            }
        }
        // What is kept beside the branches that are followed here may be what is followed there.
        for (index, sibling) in self.forks.siblings() {
            let of = concerns.get(&(sibling.device, sibling.run));
            if of.is_some_and(|(_, from, _)| *from <= sibling.seq) {
                let (segment, seq) = (sibling.segment, sibling.seq);
                lacks.insert(index, seq);
                ranges.push(self.envelopes(segment, index, seq, seq));
            }
        }
        let load = context.stage.load(ranges);
        let answering = Answering {
            question,
            more,
            lacks,
        };
        self.segments.loading = Some(Loading::Answer(load, Box::new(answering)));
    }

    fn envelopes(&self, segment: u32, index: u32, from: u64, upto: u64) -> Range {
        Range {
            kind: Kind::Envelope,
            scope: self.id.0.to_vec(),
            from: envelope_order(segment, index, from).to_vec(),
            to: envelope_order(segment, index, upto).to_vec(),
        }
    }

    /// Changes that the other side's document of a segment lacks by the Automerge sync protocol, and
    /// the chains that hold their envelopes.
    fn compare_document(&mut self, question: &mut Question) {
        let Some((segment, message)) = question.ask.segments.get(question.compared) else {
            return;
        };
        if !self.segments.knows(*segment) {
            return;
        }
        let Ok(Some(document)) = self.segments.document(*segment, &self.id) else {
            return;
        };
        let Ok(lacking) = document.lacking(message) else {
            return;
        };
        let actors: BTreeSet<[u8; 16]> = lacking.iter().map(|(actor, _)| *actor).collect();
        for ((device, run), chain) in self.chains.iter() {
            if actors.contains(&actor_bytes(device, &self.id, *segment, run)) {
                let all = self.envelopes(*segment, chain.index, 0, u64::MAX);
                question.ranges.push(all);
            }
        }
        for (index, sibling) in self.forks.siblings() {
            let (device, run) = (&sibling.device, &sibling.run);
            if actors.contains(&actor_bytes(device, &self.id, *segment, run)) {
                let range = self.envelopes(*segment, index, sibling.seq, sibling.seq);
                question.ranges.push(range);
            }
        }
        let hashes = lacking.into_iter().map(|(_, hash)| hash);
        question.changes.extend(hashes);
    }

    /// The envelopes are read: the answer is put together and sent.
    pub(in crate::conversation) fn answer_with(
        &mut self,
        mut answering: Answering,
        rows: &[Row],
        context: &mut Context<'_>,
    ) -> Result<(), RecordError> {
        let mut found: BTreeMap<(u64, &[u8]), (u32, u64, EnvelopeRecord)> = BTreeMap::new();
        let view = std::sync::Arc::clone(self.control.current());
        for row in rows {
            let envelope: EnvelopeRecord = record::decode(row.kind, &row.value)?;
            // What was written before somebody's beginning is not handed to him either.
            let to = &answering.question.to;
            if !self.control.device_is_entitled(&view, to, &envelope.epoch) {
                continue;
            }
            let (chain, seq) = place_of(&row.order).ok_or(RecordError(Kind::Envelope))?;
            let behind = answering.lacks.get(&chain).is_some_and(|from| seq >= *from);
            if behind || self.holds_any(&envelope, &answering.question.changes) {
                let place = (envelope.arrival, row.order.as_slice());
                found.insert(place, (chain, seq, envelope));
            }
        }
        let mut bytes = 0_usize;
        let mut records = Vec::new();
        let mut reached: BTreeMap<u32, u64> = BTreeMap::new();
        for (chain, seq, envelope) in found.into_values() {
            bytes = bytes.saturating_add(envelope.wire.len());
            if bytes > limits::EXCHANGE_BYTES_MAX && !records.is_empty() {
                answering.more = true;
                break;
            }
            records.push((envelope.epoch, envelope.wire));
            reached.insert(chain, seq);
        }
        let operations = {
            let heads = &answering.question.ask.heads;
            self.operations_beyond(heads, &mut answering.more)
        };
        let nothing = operations.is_empty() && records.is_empty();
        if answering.question.way == Way::Offer && nothing {
            return Ok(());
        }
        let answer = Answer {
            conversation: self.id,
            number: answering.question.ask.number,
            operations,
            records,
            heads: self.control.heads(),
            chains: self.held_for(&answering.question.to),
            more: answering.more,
            last: answering.question.way != Way::Reply,
        };
        if let Way::Export(command) = answering.question.way {
            self.export_answer(command, answering, answer, &reached, context);
            return Ok(());
        }
        self.count_given(&answering.question.to, &answer);
        let body = InboxBody::Answer(answer);
        if let Err(error) = self.send_to(answering.question.to, &body, context) {
            tracing::warn!(%error, "a question is not answered");
        }
        Ok(())
    }

    /// Whether an envelope holds one of some changes.
    fn holds_any(&self, envelope: &EnvelopeRecord, changes: &BTreeSet<[u8; 32]>) -> bool {
        if changes.is_empty() {
            return false;
        }
        let inner = self.reopened(envelope);
        let content = inner.and_then(|inner| decode_content(&inner, &self.id).ok());
        content.is_some_and(|(_, held)| {
            held.iter().any(|change| {
                crate::document::change_hash(change).is_some_and(|hash| changes.contains(&hash))
            })
        })
    }

    /// Operations that are not in the past of somebody's heads, in causal order.
    fn operations_beyond(&self, heads: &[OperationId], more: &mut bool) -> Vec<SignedOperation> {
        let mut bytes = 0_usize;
        let mut beyond = Vec::new();
        for (id, entry) in self.control.entries() {
            let known = |head: &OperationId| head == id || self.control.saw(head, id);
            if heads.iter().any(known) {
                continue;
            }
            bytes = bytes.saturating_add(entry.signed.size());
            if bytes > limits::EXCHANGE_BYTES_MAX && !beyond.is_empty() {
                *more = true;
                break;
            }
            beyond.push(entry.signed.clone());
        }
        beyond
    }
}

pub(in crate::conversation) fn place_of(order: &[u8]) -> Option<(u32, u64)> {
    let (_, rest) = order.split_first_chunk::<4>()?;
    let (chain, rest) = rest.split_first_chunk::<4>()?;
    let seq = rest.first_chunk::<8>()?;
    Some((u32::from_be_bytes(*chain), u64::from_be_bytes(*seq)))
}
