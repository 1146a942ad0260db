//! What came in and passed: merged into documents, listed, kept.

use sheaf_crypto::{EpochId, Inner};

use super::inbound::{News, Staged};
use super::{ContentBody, Conversation, author_tag};
use crate::context::Context;
use crate::document::{Genesis, Incoming, NewMessage, Outcome, decode_payload};
use crate::io::Event;
use crate::limits;
use crate::misbehaviour::{Act, Suspect};
use crate::record::{EnvelopeRecord, Kind, MessageRecord, Write};

impl Conversation {
    /// Merges staged envelopes of one segment, in one go.
    pub(super) fn merge(
        &mut self,
        staged: Vec<Staged>,
        news: &mut News,
        context: &mut Context<'_>,
    ) {
        let Some(segment) = staged.first().map(|first| first.segment) else {
            return;
        };
        if self.segments.is_away(segment) {
            // Kept, and applied when the segment is here again.
            for item in staged {
                let taken = (item.arrival, item.held);
                self.keep(&item.inner, item.epoch, segment, item.wire, taken, context);
            }
            return;
        }
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
                if item.live {
                    self.hear(&item, &messages, context);
                }
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
            // With a side of a fork that is not here yet it is made up for once that comes.
            Some(Outcome::Missing(_)) if self.chains.saw_another(&item.inner.dependencies) => {
                self.want_others(&item.inner.dependencies);
                self.judge_forks();
            }
            // What was kept back of who was out went when this was forgotten; he is in again. And who
            // is out himself may have passed over what it builds on, when he was in after a cut.
            Some(Outcome::Missing(_))
                if self.is_settled(item.segment) || !self.is_part(context) => {}
            Some(Outcome::Missing(missing)) => {
                let reason = format!("it builds on {} refused or unknown changes", missing.len());
                let act = Act::RefusedContent(reason);
                context
                    .stage
                    .report_only(Suspect::Device(item.inner.device), act, Some(self.id));
            }
            None => {}
        }
        self.keep(
            &item.inner,
            item.epoch,
            item.segment,
            item.wire,
            (item.arrival, !applied),
            context,
        );
        tracing::trace!(item = ?item.item, applied, "envelope concluded");
    }

    /// Keeps the envelope of an item that is not part of a document: others may need it.
    pub(super) fn keep_aside(
        &mut self,
        inner: &Inner,
        epoch: EpochId,
        wire: Vec<u8>,
        context: &mut Context<'_>,
    ) {
        let arrival = self.arrivals;
        self.keep(inner, epoch, limits::ASIDE, wire, (arrival, false), context);
    }

    /// Keeps an envelope: documents are rebuilt from these. What it was taken in as: its place in
    /// the order of acceptance, and whether its content was refused.
    pub(super) fn keep(
        &mut self,
        inner: &Inner,
        epoch: EpochId,
        segment: u32,
        wire: Vec<u8>,
        (arrival, refused): (u64, bool),
        context: &mut Context<'_>,
    ) {
        let index = self
            .chains
            .get(&inner.device, &inner.run)
            .map_or(0, |chain| chain.index);
        self.segments.grew(segment, wire.len());
        let order = envelope_order(segment, index, inner.seq);
        let record = EnvelopeRecord {
            epoch,
            arrival,
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

    pub(super) fn tell(&mut self, news: News, context: &mut Context<'_>) {
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

/// Where an envelope stands in the store: segment, chain, sequence.
pub(super) fn envelope_order(segment: u32, chain: u32, seq: u64) -> [u8; 16] {
    let mut order = [0; 16];
    let parts = segment.to_be_bytes().into_iter().chain(chain.to_be_bytes());
    for (place, byte) in order.iter_mut().zip(parts.chain(seq.to_be_bytes())) {
        *place = byte;
    }
    order
}

pub(super) fn decode_body(inner: &Inner) -> Result<ContentBody, String> {
    match postcard::take_from_bytes(&inner.body) {
        Ok((body, [])) => Ok(body),
        Ok(_) | Err(_) => Err("content does not decode".to_owned()),
    }
}

pub(super) fn decode_content(
    inner: &Inner,
    conversation: &sheaf_crypto::ConversationId,
) -> Result<(u32, Vec<Vec<u8>>), String> {
    let body = decode_body(inner)?;
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
