//! What comes in: opened, verified, put in its place, merged.
//!
//! The order of checks is that of research/keys.md 2.6: commitment and ciphertext, the author's
//! membership in the view that the envelope names, the signature, the place in the author's chain,
//! the epoch, and only then the content.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is not named here is not for this place, kinds to come included"
)]

use std::collections::VecDeque;

use sheaf_crypto::{
    EpochId, Inner, ItemId, Kind as Purpose, Role, SignedOperation, item_of_record,
};
use sheaf_protocol::{TopicId, hash_record};

use super::merge::{decode_body, decode_content};
use super::parked::Need;
use super::{ContentBody, Conversation, Records, Work};
use crate::chain::Place;
use crate::context::Context;
use crate::control::View;
use crate::epoch::is_safe;
use crate::misbehaviour::{Act, Suspect};
use crate::record::MessageRecord;

/// An accepted envelope whose content is not merged yet.
pub(super) struct Staged {
    pub(super) inner: Inner,
    pub(super) item: ItemId,
    pub(super) epoch: EpochId,
    pub(super) wire: Vec<u8>,
    pub(super) segment: u32,
    pub(super) changes: Vec<Vec<u8>>,
    /// The author is in quarantine: kept, not applied.
    pub(super) held: bool,
}

/// Where a record comes from.
#[derive(Clone, Copy)]
pub(super) struct Source {
    pub(super) epoch: EpochId,
    topic: TopicId,
    live: bool,
}

/// What became of one record.
pub(super) enum Verdict {
    /// It is taken in, or known, or refused: done with.
    Done,
    /// Its content is to be merged.
    Content(Box<Staged>),
    /// It waits.
    Park(Need),
    /// A document has to be read first.
    Load(u32),
    /// What it builds on was kept back, and is applied first.
    Release,
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
            if self.parked.is_full() {
                batch.records.clear();
                self.merge(std::mem::take(&mut staged), &mut news, context);
                context
                    .topics
                    .pause(&batch.topic, batch.before, context.stage);
                self.tell(news, context);
                return None;
            }
            let source = Source {
                epoch: batch.epoch,
                topic: batch.topic,
                live: batch.live,
            };
            let verdict = self.examine(source, &wire, context);
            if let Some(need) = self.settle(verdict, &mut staged, &mut news, context) {
                match need {
                    Blocked::Park(need) => {
                        self.parked
                            .park(self.id, batch.epoch, wire, need, context.stage);
                    }
                    Blocked::Release => {
                        batch.records.push_front(wire);
                        self.merge(staged, &mut news, context);
                        self.tell(news, context);
                        self.work.push_front(Work::Records(batch));
                        self.release();
                        return None;
                    }
                    Blocked::Load(segment) => {
                        batch.records.push_front(wire);
                        self.merge(staged, &mut news, context);
                        self.tell(news, context);
                        self.load(segment, context);
                        return Some(Work::Records(batch));
                    }
                }
            }
        }
        self.merge(staged, &mut news, context);
        let write = context.topics.cursor_write(&batch.topic, batch.cursor);
        context.stage.write(write);
        let progress = news.progress;
        self.tell(news, context);
        (progress && self.parked.len() > 0).then_some(Work::Retry)
    }

    /// Examines parked records again whose needs are met.
    pub(super) fn retry(&mut self, context: &mut Context<'_>) -> Option<Work> {
        let was_full = self.parked.is_full();
        let mut news = News::default();
        let mut staged = Vec::new();
        let mut again = VecDeque::new();
        while let Some((epoch, wire)) =
            self.parked
                .take_ready(self.id, &self.control, &self.chains, context.stage)
        {
            let Some(topic) = self.epochs.get(&epoch).map(|held| held.keys.topic()) else {
                continue;
            };
            // What waited has been delivered before: it is not new.
            let source = Source {
                epoch,
                topic,
                live: false,
            };
            let verdict = self.examine(source, &wire, context);
            match self.settle(verdict, &mut staged, &mut news, context) {
                None => {}
                Some(Blocked::Park(need)) => again.push_back((epoch, wire, need)),
                Some(Blocked::Release) => {
                    again.push_back((epoch, wire, Need::Unknown));
                    self.work.push_front(Work::Retry);
                    self.release();
                    break;
                }
                Some(Blocked::Load(segment)) => {
                    self.merge(std::mem::take(&mut staged), &mut news, context);
                    again.push_back((epoch, wire, Need::Unknown));
                    self.load(segment, context);
                    break;
                }
            }
        }
        for (epoch, wire, need) in again {
            self.parked.park(self.id, epoch, wire, need, context.stage);
        }
        self.merge(staged, &mut news, context);
        // What was put back may wait for something that came after it.
        let more = news.progress && self.parked.has_ready(&self.control, &self.chains);
        self.tell(news, context);
        if was_full && !self.parked.is_full() {
            context.topics.resume(&self.id, context.stage);
        }
        (more || self.segments.is_loading()).then_some(Work::Retry)
    }

    fn settle(
        &mut self,
        verdict: Verdict,
        staged: &mut Vec<Staged>,
        news: &mut News,
        context: &mut Context<'_>,
    ) -> Option<Blocked> {
        match verdict {
            Verdict::Done => None,
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
            Verdict::Park(need) => Some(Blocked::Park(need)),
            Verdict::Load(segment) => Some(Blocked::Load(segment)),
            Verdict::Release => Some(Blocked::Release),
        }
    }

    fn examine(&mut self, source: Source, wire: &[u8], context: &mut Context<'_>) -> Verdict {
        if self.echoes.remove(&hash_record(wire)) {
            return Verdict::Done;
        }
        let Some(held) = self.epochs.get(&source.epoch) else {
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
            self.ask_for_operations(device, missing, context);
            return Verdict::Park(Need::Operation(missing));
        }
        let view = self.control.view(opened.control_heads());
        let Some(view) = view else {
            return Verdict::Done;
        };
        let member = view.members.get(&opened.user());
        let member = member.and_then(|member| Some((member, member.devices.get(&device)?)));
        let Some((member, attached)) = member else {
            context
                .stage
                .report(Suspect::Topic(source.topic), Act::NotAMember, Some(self.id));
            return Verdict::Done;
        };
        let Ok(inner) = opened.verify(&attached.signing) else {
            context.stage.report(
                Suspect::Topic(source.topic),
                Act::BadSignature,
                Some(self.id),
            );
            return Verdict::Done;
        };
        let refuse = |act: Act, context: &mut Context<'_>| {
            context
                .stage
                .report(Suspect::Device(device), act, Some(self.id));
            Verdict::Done
        };
        if !member.incarnations.contains_key(&inner.incarnation) {
            return refuse(Act::NotAMember, context);
        }
        let role = member.role;
        let is_safe = is_safe(&self.control, &view, &source.epoch);
        match inner.kind {
            Purpose::Control => self.examine_control(source, &inner, &view, context),
            Purpose::Content if role < Role::Writer => refuse(Act::NotAllowed, context),
            Purpose::Content | Purpose::Checkpoint if !is_safe => refuse(Act::WrongEpoch, context),
            Purpose::Checkpoint => self.examine_checkpoint(source, wire, &inner, &view, context),
            Purpose::Content => self.examine_content(source, wire, inner, &view, context),
            other => {
                let reason = format!("this version takes no envelope of kind {other:?}");
                refuse(Act::RefusedContent(reason), context)
            }
        }
    }

    /// Puts an item in its place of its device's chain; `None` if it is not to be taken in.
    pub(super) fn placed(
        &mut self,
        inner: &Inner,
        item: ItemId,
        source: Source,
        (body, view): (Option<&ContentBody>, &View),
        context: &mut Context<'_>,
    ) -> Result<(), Verdict> {
        let chain = (&inner.device, &inner.run);
        let place = self
            .chains
            .place(chain, inner.seq, inner.previous.as_ref(), &item);
        let sequence = inner.seq;
        let act = match place {
            Place::Next => return self.ready(inner, body, view, context),
            Place::Gap if self.begins_chain(inner, context) => {
                return self.ready(inner, body, view, context);
            }
            Place::Gap if self.is_before_beginning(view, context) => return Err(Verdict::Done),
            Place::Gap => return Err(Verdict::Park(Need::Chain(inner.device, inner.seq))),
            // Control items are published under every newest epoch and so come several times; what
            // this device wrote itself comes back after a restart.
            Place::Known if inner.kind == Purpose::Control => return Err(Verdict::Done),
            Place::Known if inner.device == context.account.device() => return Err(Verdict::Done),
            // A relay whose store was replaced delivers from the beginning.
            Place::Known if !source.live => return Err(Verdict::Done),
            Place::Known => Act::Replayed,
            Place::Conflict => Act::Equivocation { sequence },
            Place::Broken => Act::BrokenChain { sequence },
        };
        let suspect = match act {
            // Anybody who holds the topic can append a copy of an honest device's envelope.
            Act::Replayed => Suspect::Topic(source.topic),
            _ => Suspect::Device(inner.device),
        };
        context.stage.report(suspect, act, Some(self.id));
        Err(Verdict::Done)
    }

    fn examine_control(
        &mut self,
        source: Source,
        inner: &Inner,
        view: &View,
        context: &mut Context<'_>,
    ) -> Verdict {
        let (conversation, device) = (self.id, inner.device);
        let refused = |reason: String, context: &mut Context<'_>| {
            let act = Act::RefusedOperation(reason);
            context
                .stage
                .report(Suspect::Device(device), act, Some(conversation));
            Verdict::Done
        };
        let Ok(signed) = SignedOperation::from_bytes(&inner.body) else {
            return refused("it does not decode".to_owned(), context);
        };
        let Ok(claimed) = signed.decode() else {
            return refused("it does not decode".to_owned(), context);
        };
        let same = claimed.author == inner.device
            && claimed.user == inner.user
            && claimed.run == inner.run
            && claimed.seq == inner.seq
            && claimed.previous == inner.previous
            && claimed.parents == inner.control_heads;
        if !same {
            return refused(
                "it is not the operation that its envelope names".to_owned(),
                context,
            );
        }
        let item = ItemId::from(signed.id());
        let known = self.control.contains(&signed.id());
        if let Err(verdict) = self.placed(inner, item, source, (None, view), context) {
            // An operation is judged by its parents alone, and it may hold the very secret that
            // opens the items before it: it does not wait for its place. A newcomer's part of a
            // chain may begin after it.
            let early = matches!(verdict, Verdict::Park(_)) || self.is_newcomer(context);
            if early && !known {
                match self.accept_operation(&signed, context) {
                    Ok(_) => self.work.push_back(Work::Retry),
                    Err(error) => return refused(error.to_string(), context),
                }
            }
            return verdict;
        }
        self.accept_item(inner, item, context);
        self.epochs.count(&source.epoch);
        if !self.is_withheld(inner) {
            self.vouched(inner, context);
        }
        if let Err(error) = self.accept_operation(&signed, context) {
            return refused(error.to_string(), context);
        }
        // A document is not needed for it, but what waited for it may go on.
        self.work.push_back(Work::Retry);
        Verdict::Done
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
        if let Err(verdict) = self.placed(&inner, item, source, at, context) {
            return verdict;
        }
        if let Some(body) = at.0
            && !self
                .control
                .is_visible(view, &context.account.user(), body.segment)
        {
            return self.pass_over(source, &inner, item, view, context);
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
            held: held || refused,
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

    /// The item is part of its chain from here on.
    pub(super) fn accept_item(&mut self, inner: &Inner, item: ItemId, context: &mut Context<'_>) {
        self.chains.accept(
            inner.device,
            inner.run,
            inner.seq,
            item,
            inner.incarnation,
            context.now,
        );
        if inner.device == context.account.device() {
            if inner.run == context.run {
                context.stage.report(
                    Suspect::Device(inner.device),
                    Act::OwnRollback,
                    Some(self.id),
                );
            }
        } else if !self.keeps_any(&inner.device, &inner.run) && !self.is_withheld(inner) {
            self.seen
                .insert((inner.device, inner.run), (inner.seq, item));
        }
        self.write_chain(inner.device, inner.run, context);
    }
}

enum Blocked {
    Park(Need),
    Load(u32),
    Release,
}
