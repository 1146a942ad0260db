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

use super::parked::Need;
use super::{ContentBody, Conversation, Records, Work, author_tag};
use crate::chain::Place;
use crate::context::Context;
use crate::document::{Genesis, Incoming, NewMessage, Outcome, decode_payload};
use crate::io::Event;
use crate::limits;
use crate::misbehaviour::{Act, Suspect};
use crate::record::{EnvelopeRecord, Kind, MessageRecord, Write};

/// An accepted envelope whose content is not merged yet.
struct Staged {
    inner: Inner,
    item: ItemId,
    epoch: EpochId,
    wire: Vec<u8>,
    segment: u32,
    changes: Vec<Vec<u8>>,
    /// The author is in quarantine: kept, not applied.
    held: bool,
}

/// Where a record comes from.
#[derive(Clone, Copy)]
struct Source {
    epoch: EpochId,
    topic: TopicId,
    live: bool,
}

/// What became of one record.
enum Verdict {
    /// It is taken in, or known, or refused: done with.
    Done,
    /// Its content is to be merged.
    Content(Box<Staged>),
    /// It waits.
    Park(Need),
    /// A document has to be read first.
    Load(u32),
}

/// What envelopes brought, for one event.
#[derive(Default)]
struct News {
    messages: Vec<MessageRecord>,
    document: bool,
    progress: bool,
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
        self.tell(news, context);
        if was_full && !self.parked.is_full() {
            context.topics.resume(&self.id, context.stage);
        }
        self.segments.is_loading().then_some(Work::Retry)
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
        let missing = opened
            .control_heads()
            .iter()
            .find(|head| !self.control.contains(head));
        if let Some(missing) = missing {
            return Verdict::Park(Need::Operation(*missing));
        }
        let view = self.control.view(opened.control_heads());
        let member = view.as_ref().and_then(|view| {
            let member = view.members.get(&opened.user())?;
            Some((member, member.devices.get(&device)?))
        });
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
        if !member.incarnations.contains(&inner.incarnation) {
            return refuse(Act::NotAMember, context);
        }
        let role = member.role;
        let in_view = view
            .as_ref()
            .is_some_and(|view| view.epochs.contains_key(&source.epoch));
        match inner.kind {
            Purpose::Control => self.examine_control(source, &inner, context),
            Purpose::Content if role < Role::Writer => refuse(Act::NotAllowed, context),
            Purpose::Content if !in_view => refuse(Act::WrongEpoch, context),
            Purpose::Content => self.examine_content(source, wire, inner, context),
            other => {
                let reason = format!("this version takes no envelope of kind {other:?}");
                refuse(Act::RefusedContent(reason), context)
            }
        }
    }

    /// Puts an item in its place of its device's chain; `None` if it is not to be taken in.
    fn placed(
        &mut self,
        inner: &Inner,
        item: ItemId,
        source: Source,
        context: &mut Context<'_>,
    ) -> Result<(), Verdict> {
        let chain = (&inner.device, &inner.run);
        let place = self
            .chains
            .place(chain, inner.seq, inner.previous.as_ref(), &item);
        let sequence = inner.seq;
        let act = match place {
            Place::Next => {
                let unmet = inner
                    .dependencies
                    .iter()
                    .find(|d| !self.chains.satisfies(d));
                return unmet.map_or(Ok(()), |unmet| Err(Verdict::Park(Need::Dependency(*unmet))));
            }
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
        if let Err(verdict) = self.placed(inner, item, source, context) {
            return verdict;
        }
        self.accept_item(inner, item, context);
        self.epochs.count(&source.epoch);
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
        context: &mut Context<'_>,
    ) -> Verdict {
        let item = item_of_record(wire);
        if let Err(verdict) = self.placed(&inner, item, source, context) {
            return verdict;
        }
        let decoded = decode_content(&inner, &self.id);
        let held = self.chains.is_quarantined(&inner.device);
        let (segment, changes, refusal) = match decoded {
            Ok((segment, _)) if !self.segments.is_ready(segment) && !held => {
                return Verdict::Load(segment);
            }
            Ok((segment, changes)) => (segment, changes, None),
            Err(reason) => (0, Vec::new(), Some(reason)),
        };
        self.accept_item(&inner, item, context);
        self.epochs.count(&source.epoch);
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

    fn refuse_content(&mut self, inner: &Inner, reason: String, context: &mut Context<'_>) {
        self.chains.quarantine(&inner.device);
        self.write_chain(inner.device, inner.run, context);
        let act = Act::RefusedContent(reason);
        context
            .stage
            .report(Suspect::Device(inner.device), act, Some(self.id));
    }

    /// The item is part of its chain from here on.
    fn accept_item(&mut self, inner: &Inner, item: ItemId, context: &mut Context<'_>) {
        self.chains
            .accept(inner.device, inner.run, inner.seq, item, context.now);
        if inner.device == context.account.device() {
            if inner.run == context.run {
                context.stage.report(
                    Suspect::Device(inner.device),
                    Act::OwnRollback,
                    Some(self.id),
                );
            }
        } else {
            self.seen
                .insert((inner.device, inner.run), (inner.seq, item));
        }
        self.write_chain(inner.device, inner.run, context);
    }

    /// Merges staged envelopes of one segment, in one go.
    fn merge(&mut self, staged: Vec<Staged>, news: &mut News, context: &mut Context<'_>) {
        let Some(segment) = staged.first().map(|first| first.segment) else {
            return;
        };
        let mut batch = Vec::new();
        for item in staged.iter().filter(|item| !item.held) {
            let device = &item.inner.device;
            batch.push(Incoming {
                actor: sheaf_crypto::actor_bytes(device, &self.id, segment, &item.inner.run),
                author_tag: author_tag(device),
                changes: item.changes.clone(),
            });
        }
        let mut outcomes = self.merged(segment, &batch, context).into_iter();
        for item in staged {
            let outcome = if item.held { None } else { outcomes.next() };
            self.conclude(item, outcome, news, context);
        }
        self.segments.write(segment, self.id, context.stage);
    }

    /// Merges what came into one segment's document.
    fn merged(
        &mut self,
        segment: u32,
        batch: &[Incoming],
        context: &mut Context<'_>,
    ) -> Vec<Outcome> {
        match self.segments.merge(segment, &self.id, batch) {
            Ok(outcomes) => outcomes,
            Err(error) => {
                tracing::error!(segment, %error, "document could not be made");
                let own = Suspect::Device(context.account.device());
                context
                    .stage
                    .report(own, Act::RefusedContent(error.to_string()), Some(self.id));
                Vec::new()
            }
        }
    }

    fn conclude(
        &mut self,
        item: Staged,
        outcome: Option<Outcome>,
        news: &mut News,
        context: &mut Context<'_>,
    ) {
        let mut applied = false;
        match outcome {
            Some(Outcome::Applied {
                messages,
                changed_document,
            }) => {
                applied = true;
                news.document |= changed_document;
                for message in messages {
                    let record = self.message(&item.inner, item.segment, message);
                    self.list(&record, context);
                    news.messages.push(record);
                }
            }
            Some(Outcome::Duplicate) => applied = true,
            Some(Outcome::Refused(refusal)) => {
                self.refuse_content(&item.inner, refusal.to_string(), context);
            }
            // Everything that the author had seen is here, so what is missing was refused: not
            // this author's doing.
            Some(Outcome::Missing(missing)) => {
                let reason = format!("it builds on {} refused or unknown changes", missing.len());
                let act = Act::RefusedContent(reason);
                context
                    .stage
                    .report(Suspect::Device(item.inner.device), act, Some(self.id));
            }
            None => {}
        }
        self.keep(
            &item.inner,
            item.epoch,
            item.segment,
            item.wire,
            !applied,
            context,
        );
        tracing::trace!(item = ?item.item, applied, "envelope concluded");
    }

    /// Keeps an envelope: documents are rebuilt from these.
    pub(super) fn keep(
        &mut self,
        inner: &Inner,
        epoch: EpochId,
        segment: u32,
        wire: Vec<u8>,
        refused: bool,
        context: &mut Context<'_>,
    ) {
        let index = self
            .chains
            .get(&inner.device, &inner.run)
            .map_or(0, |chain| chain.index);
        self.arrivals = self.arrivals.saturating_add(1);
        self.segments.grew(segment, wire.len());
        let order = envelope_order(segment, index, inner.seq);
        let record = EnvelopeRecord {
            epoch,
            arrival: self.arrivals,
            refused,
            wire,
        };
        context
            .stage
            .write(Write::put(Kind::Envelope, &self.id.0, &order, &record));
    }

    pub(super) fn message(
        &self,
        inner: &Inner,
        segment: u32,
        message: NewMessage,
    ) -> MessageRecord {
        message_record(inner.user, inner.device, segment, message)
    }

    /// Lists a message and follows its time.
    pub(super) fn list(&mut self, record: &MessageRecord, context: &mut Context<'_>) {
        let time = record.message.time();
        if time.ms() <= context.now.0.saturating_add(limits::CLOCK_AHEAD_MS_MAX) {
            self.clock = self.clock.max(time);
        }
        let order = record.message.as_bytes();
        context
            .stage
            .write(Write::put(Kind::Message, &self.id.0, order, record));
    }

    fn tell(&mut self, news: News, context: &mut Context<'_>) {
        let conversation = self.id;
        if !news.messages.is_empty() {
            let messages = news.messages;
            context.stage.notify(Event::MessagesReceived {
                conversation,
                messages,
            });
        }
        if news.document {
            context
                .stage
                .notify(Event::DocumentChanged { conversation });
        }
    }
}

enum Blocked {
    Park(Need),
    Load(u32),
}

/// Where an envelope stands in the store: segment, chain, sequence.
pub(super) fn envelope_order(segment: u32, chain: u32, seq: u64) -> [u8; 16] {
    let mut order = [0; 16];
    let parts = segment.to_be_bytes().into_iter().chain(chain.to_be_bytes());
    for (place, byte) in order.iter_mut().zip(parts.chain(seq.to_be_bytes())) {
        *place = byte;
    }
    order
}

pub(super) fn decode_content(
    inner: &Inner,
    conversation: &sheaf_crypto::ConversationId,
) -> Result<(u32, Vec<Vec<u8>>), String> {
    let body: ContentBody = match postcard::take_from_bytes(&inner.body) {
        Ok((body, [])) => body,
        Ok(_) | Err(_) => return Err("content does not decode".to_owned()),
    };
    if body.segment >= limits::SEGMENTS_MAX {
        return Err("segment is out of range".to_owned());
    }
    let actor = sheaf_crypto::actor_bytes(&inner.device, conversation, body.segment, &inner.run);
    let genesis = Genesis::of(&conversation.0, body.segment);
    let changes =
        decode_payload(&genesis, &actor, &body.payload).map_err(|error| error.to_string())?;
    Ok((body.segment, changes))
}

pub(super) fn message_record(
    author: sheaf_crypto::UserId,
    device: sheaf_crypto::DeviceId,
    segment: u32,
    message: NewMessage,
) -> MessageRecord {
    MessageRecord {
        message: message.id,
        author,
        device,
        segment,
        system: message.kind == crate::document::MessageKind::System,
        text: message.text,
        reply_to: message.reply_to,
        origin: message.origin.map(|origin| (origin.author, origin.time_ms)),
    }
}
