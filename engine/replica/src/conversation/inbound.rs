//! What comes in: opened, verified, put in its place, merged.
//!
//! The order of checks is that of research/keys.md 2.6: commitment and ciphertext, the author's
//! membership in the view that the envelope names, the signature, the place in the author's chain,
//! the epoch, and only then the content.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is not named here is not for this place, kinds to come included"
)]

mod operation;

use std::collections::VecDeque;

use sheaf_crypto::{EpochId, Inner, ItemId, Kind as Purpose, Role, item_of_record};
use sheaf_protocol::{TopicId, hash_record};

use super::merge::{decode_body, decode_content};
use super::parked::{Author, Need};
use super::stated::NewStatement;
use super::vault::attaching;
use super::{Conversation, Records, Work};
use crate::context::Context;
use crate::control::View;
use crate::epoch::is_safe;
use crate::misbehaviour::{Act, Suspect};
use crate::record::MessageRecord;
use crate::topic::{Heard, Origin};

/// An accepted envelope whose content is not merged yet.
pub(super) struct Staged {
    pub(super) inner: Inner,
    pub(super) item: ItemId,
    pub(super) epoch: EpochId,
    pub(super) wire: Vec<u8>,
    pub(super) segment: u32,
    pub(super) changes: Vec<Vec<u8>>,
    /// Its place in the order of acceptance, which is causal.
    pub(super) arrival: u64,
    /// The author is in quarantine: kept, not applied.
    pub(super) held: bool,
    /// It was sent just now, and is not read from history.
    pub(super) live: bool,
    /// Only one relay delivers it, and that once.
    pub(super) once: bool,
}

/// Where a record comes from.
#[derive(Clone, Copy)]
pub(super) struct Source {
    pub(super) epoch: EpochId,
    pub(super) topic: TopicId,
    /// It was sent just now, as far as the relay tells.
    pub(super) live: bool,
    /// Only one relay delivers it, and that once: if it is known already, it was replayed.
    pub(super) once: bool,
}

/// What became of one record.
pub(super) enum Verdict {
    /// It is taken in, or known, or refused: done with.
    Done,
    /// Its content is to be merged.
    Content(Box<Staged>),
    /// It says what its author's documents come to, once what came before it is merged.
    Compare(Box<Inner>),
    /// It states what the conversation comes to, once what came before it is merged.
    Stated(Box<NewStatement>),
    /// It waits.
    Park(Need),
    /// A document has to be read first.
    Load(u32),
    /// What it builds on was kept back, and is applied first.
    Release,
    /// It is kept beside the branch of its chain that is followed here.
    Aside,
    /// The store has to be asked what is known at its place.
    Place(Box<Inner>, ItemId),
}

/// What envelopes brought, for one event.
#[derive(Default)]
pub(super) struct News {
    pub(super) messages: Vec<MessageRecord>,
    pub(super) document: bool,
    pub(super) progress: bool,
}

impl Conversation {
    /// Takes records of a topic in. Gives back what is left when a document has to be read first.
    pub(super) fn take(&mut self, mut batch: Records, context: &mut Context<'_>) -> Option<Work> {
        let mut news = News::default();
        let mut staged = Vec::new();
        while let Some(wire) = batch.records.pop_front() {
            let hash = hash_record(&wire);
            let once = match context.topics.heard(&batch.origin, hash) {
                Heard::New => batch.alone,
                Heard::Again => true,
                Heard::Given => false,
                Heard::Elsewhere => {
                    context.topics.note(&batch.origin, hash);
                    continue;
                }
            };
            if self.is_full(context) {
                batch.records.clear();
                self.merge(std::mem::take(&mut staged), &mut news, context);
                context
                    .topics
                    .pause(&batch.origin, batch.before, context.stage);
                self.tell(news, context);
                return None;
            }
            let source = Source {
                epoch: batch.epoch,
                topic: batch.origin.topic,
                live: batch.live,
                once: batch.live && once,
            };
            let verdict = self.examine(source, &wire, context);
            match self.settle(verdict, &mut staged, &mut news, context) {
                None => context.topics.note(&batch.origin, hash),
                Some(need) => match need {
                    Blocked::Park(need) => {
                        context.topics.note(&batch.origin, hash);
                        let author = self.author_of(&batch.epoch, &wire);
                        self.parked
                            .park(self.id, batch.epoch, wire, author, need, context.stage);
                    }
                    Blocked::Release => {
                        batch.records.push_front(wire);
                        self.merge(staged, &mut news, context);
                        self.tell(news, context);
                        self.work.push_front(Work::Records(batch));
                        self.release();
                        return None;
                    }
                    Blocked::Read(read) => {
                        batch.records.push_front(wire);
                        self.merge(staged, &mut news, context);
                        self.tell(news, context);
                        self.read(read, context);
                        return Some(Work::Records(batch));
                    }
                },
            }
        }
        self.merge(staged, &mut news, context);
        if let Some(write) = context.topics.cursor_write(&batch.origin, batch.cursor) {
            context.stage.write(write);
            let Origin { relay, topic, .. } = batch.origin;
            self.read_at(relay, &topic, context);
        }
        let progress = news.progress;
        self.tell(news, context);
        (progress && self.parked.len() > 0).then_some(Work::Retry)
    }

    /// Examines parked records again whose needs are met.
    pub(super) fn retry(&mut self, context: &mut Context<'_>) -> Option<Work> {
        self.place_late(context);
        let was_full = self.parked.is_full();
        let mut news = News::default();
        let mut staged = Vec::new();
        let mut again = VecDeque::new();
        while let Some(record) = self.parked.take_ready(
            self.id,
            &self.control,
            &self.chains,
            &self.epochs,
            context.stage,
        ) {
            let epoch = record.epoch;
            if self.has_forgotten(&epoch) {
                self.too_late(context);
                continue;
            }
            let Some(topic) = self.epochs.get(&epoch).map(|held| held.keys.topic()) else {
                if let Some(facts) = self.control.current().epochs.get(&epoch) {
                    let operation = facts.operation;
                    self.work.push_back(Work::Complain(epoch, operation));
                }
                again.push_back((record, Need::Epoch(epoch)));
                continue;
            };
            // What waited has been delivered before: it is not new.
            let source = Source {
                epoch,
                topic,
                live: false,
                once: false,
            };
            let verdict = self.examine(source, &record.wire, context);
            match self.settle(verdict, &mut staged, &mut news, context) {
                None => {}
                Some(Blocked::Park(need)) => again.push_back((record, need)),
                Some(Blocked::Release) => {
                    again.push_back((record, Need::Unknown));
                    self.work.push_front(Work::Retry);
                    self.release();
                    break;
                }
                Some(Blocked::Read(read)) => {
                    self.merge(std::mem::take(&mut staged), &mut news, context);
                    again.push_back((record, Need::Unknown));
                    self.read(read, context);
                    break;
                }
            }
        }
        for (record, need) in again {
            let author = self.author_of(&record.epoch, &record.wire);
            self.parked.put_back(record, author, need, context.stage);
        }
        self.merge(staged, &mut news, context);
        // What was put back may wait for something that came after it.
        let more = news.progress
            && self
                .parked
                .has_ready(&self.control, &self.chains, &self.epochs);
        self.tell(news, context);
        if was_full && !self.is_full(context) {
            context.topics.resume(&self.id, context.stage);
        }
        (more || self.segments.is_loading()).then_some(Work::Retry)
    }

    /// Where a record says that it stands.
    fn author_of(&self, epoch: &EpochId, wire: &[u8]) -> Option<Author> {
        let held = self.epochs.get(epoch)?;
        let opened = sheaf_crypto::open(&held.keys, wire).ok()?;
        Some(Author::from(&opened))
    }

    fn read(&mut self, read: Read, context: &mut Context<'_>) {
        match read {
            Read::Segment(segment) => self.load(segment, context),
            Read::Place(inner, item) => self.compare_place(&inner, item, context),
        }
    }

    fn settle(
        &mut self,
        verdict: Verdict,
        staged: &mut Vec<Staged>,
        news: &mut News,
        context: &mut Context<'_>,
    ) -> Option<Blocked> {
        match verdict {
            Verdict::Done | Verdict::Aside => None,
            Verdict::Content(content) => {
                news.progress = true;
                if staged
                    .last()
                    .is_some_and(|last| last.segment != content.segment)
                {
                    self.merge(std::mem::take(staged), news, context);
                }
                staged.push(*content);
                None
            }
            Verdict::Compare(inner) => {
                self.merge(std::mem::take(staged), news, context);
                self.compare(&inner, context);
                None
            }
            Verdict::Stated(new) => {
                self.merge(std::mem::take(staged), news, context);
                self.stated(*new, context);
                None
            }
            Verdict::Park(need) => Some(Blocked::Park(need)),
            Verdict::Load(segment) => Some(Blocked::Read(Read::Segment(segment))),
            Verdict::Place(inner, item) => Some(Blocked::Read(Read::Place(inner, item))),
            Verdict::Release => Some(Blocked::Release),
        }
    }

    fn examine(&mut self, source: Source, wire: &[u8], context: &mut Context<'_>) -> Verdict {
        if self.echoes.remove(&hash_record(wire)) {
            return Verdict::Done;
        }
        let Some(held) = self.epochs.get(&source.epoch) else {
            if self.has_forgotten(&source.epoch) {
                self.too_late(context);
            }
            return Verdict::Done;
        };
        let opened = match sheaf_crypto::open(&held.keys, wire) {
            Ok(opened) => opened,
            Err(error) => {
                let act = Act::Unopenable(error.to_string());
                context
                    .stage
                    .report(Suspect::Topic(source.topic), act, Some(self.id));
                return Verdict::Done;
            }
        };
        let device = opened.device();
        let mut heads = opened.control_heads().iter();
        if let Some(missing) = heads.find(|head| !self.control.contains(head)).copied() {
            return Verdict::Park(Need::Operation(missing));
        }
        let view = self.control.view(opened.control_heads());
        let Some(view) = view else {
            return Verdict::Done;
        };
        let member = view.members.get(&opened.user());
        let member = member.and_then(|member| {
            let attached = member.devices.get(&device).map(|known| known.signing);
            Some((member, attached.or_else(|| attaching(&view, &opened))?))
        });
        let Some((member, signing)) = member else {
            context
                .stage
                .report(Suspect::Topic(source.topic), Act::NotAMember, Some(self.id));
            return Verdict::Done;
        };
        let Ok(inner) = opened.verify(&signing) else {
            context.stage.report(
                Suspect::Topic(source.topic),
                Act::BadSignature,
                Some(self.id),
            );
            return Verdict::Done;
        };
        let conversation = self.id;
        let refuse = |act: Act, context: &mut Context<'_>| {
            context
                .stage
                .report(Suspect::Device(device), act, Some(conversation));
            Verdict::Done
        };
        if !member.incarnations.contains_key(&inner.incarnation) {
            return refuse(Act::NotAMember, context);
        }
        let role = member.role;
        self.examine_kind(source, wire, inner, (&view, role), context)
    }

    fn examine_kind(
        &mut self,
        source: Source,
        wire: &[u8],
        inner: Inner,
        (view, role): (&View, Role),
        context: &mut Context<'_>,
    ) -> Verdict {
        let (conversation, device) = (self.id, inner.device);
        let refuse = |act: Act, context: &mut Context<'_>| {
            context
                .stage
                .report(Suspect::Device(device), act, Some(conversation));
            Verdict::Done
        };
        if self.comes_too_late(&inner, &source.epoch) {
            self.too_late(context);
            return Verdict::Done;
        }
        let is_safe = is_safe(&self.control, view, &source.epoch);
        let content = inner.kind == Purpose::Content;
        if (is_safe && role >= Role::Writer || !content)
            && let Some(verdict) = self.reread(&inner, (source.epoch, wire), view, context)
        {
            return verdict;
        }
        match inner.kind {
            Purpose::Control => self.examine_control(source, wire, &inner, view, context),
            Purpose::Content if role < Role::Writer => refuse(Act::NotAllowed, context),
            Purpose::Content | Purpose::Checkpoint | Purpose::Snapshot if !is_safe => {
                refuse(Act::WrongEpoch, context)
            }
            Purpose::Checkpoint => self.examine_checkpoint(source, wire, inner, view, context),
            Purpose::Snapshot => self.examine_statement(source, wire, inner, view, context),
            Purpose::Content => self.examine_content(source, wire, inner, view, context),
            other => {
                let reason = format!("this version takes no envelope of kind {other:?}");
                refuse(Act::RefusedContent(reason), context)
            }
        }
    }

    fn examine_content(
        &mut self,
        source: Source,
        wire: &[u8],
        inner: Inner,
        view: &View,
        context: &mut Context<'_>,
    ) -> Verdict {
        let item = item_of_record(wire);
        let body = decode_body(&inner);
        let at = (body.as_ref().ok(), view);
        if let Err(verdict) = self.placed(&inner, item, wire, source, at, context) {
            return verdict;
        }
        if let Some(body) = at.0
            && !self
                .control
                .is_visible(view, &context.reader(), body.segment)
        {
            return self.pass_over(source, wire, (&inner, item), view, context);
        }
        let decoded = match &body {
            Ok(body) if !view.has_segment(body.segment) => {
                Err("segment is of no window".to_owned())
            }
            Ok(_) | Err(_) => decode_content(&inner, &self.id),
        };
        let held = self.is_withheld(&inner);
        if !held && (self.vouched(&inner, context) || self.releases()) {
            return Verdict::Release;
        }
        let (segment, changes, refusal) = match decoded {
            Ok((segment, _)) if !self.segments.is_ready(segment) && !held => {
                return Verdict::Load(segment);
            }
            Ok((segment, changes)) => (segment, changes, None),
            Err(reason) => (0, Vec::new(), Some(reason)),
        };
        self.accept_written(&inner, item, view, context);
        self.epochs.count(&source.epoch);
        if held && refusal.is_none() {
            self.withhold(&inner, segment, context);
        }
        let refused = refusal.is_some();
        if let Some(reason) = refusal {
            self.refuse_content(&inner, reason, context);
        }
        let wire = wire.to_vec();
        Verdict::Content(Box::new(Staged {
            inner,
            item,
            epoch: source.epoch,
            wire,
            segment,
            changes,
            arrival: self.arrivals,
            held: held || refused,
            live: source.live,
            once: source.once,
        }))
    }

    pub(super) fn refuse_content(
        &mut self,
        inner: &Inner,
        reason: String,
        context: &mut Context<'_>,
    ) {
        self.chains.quarantine(&inner.device);
        self.write_chain(inner.device, inner.run, context);
        let act = Act::RefusedContent(reason);
        context
            .stage
            .report(Suspect::Device(inner.device), act, Some(self.id));
    }
}

enum Blocked {
    Park(Need),
    Read(Read),
    Release,
}

/// What has to be read before a record can be examined to the end.
enum Read {
    Segment(u32),
    Place(Box<Inner>, ItemId),
}
