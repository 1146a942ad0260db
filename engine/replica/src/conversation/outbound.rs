//! What is written here: into the document at once, into envelopes as the relay keeps up.
//!
//! Batching is that of a group commit: with nothing in flight a change leaves at once; while an
//! envelope is in flight what accumulates becomes the next one. No timer adds delay.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is not named here is not for this place, kinds to come included"
)]

use sheaf_crypto::{Inner, Kind as Purpose, Role, actor_bytes, item_of_record};
use sheaf_protocol::{Class, hash_record, limits::RECORD_BYTES_MAX};

use super::merge::message_record;
use super::{ContentBody, Conversation, Pending, Work, author_tag};
use crate::command::{Command, CommandError, CommandId, Draft, ImportDraft, Reply};
use crate::context::Context;
use crate::document::{
    Genesis, HybridTime, LocalChange, MessageId, MessageKind, NewMessage, encode_payload,
};
use crate::epoch::Choice;
use crate::limits;
use crate::misbehaviour::{Act, Suspect};
use crate::outbox::Outgoing;
use crate::record::{Kind, PendingRecord, TokenRecord, Write};

impl Conversation {
    /// Does a command that writes; gives it back when the document has to be read first.
    pub(super) fn write(
        &mut self,
        id: CommandId,
        command: Command,
        context: &mut Context<'_>,
    ) -> Option<Work> {
        if let Err(error) = self.mend_window(context) {
            context.stage.complete(id, Err(error));
            return None;
        }
        let window = self.control.current().window;
        let segment = self.segments.writing(window.first);
        if !self.segments.is_ready(segment) {
            self.load(segment, context);
            return Some(Work::Command(id, command));
        }
        if !self.has_room(segment, context) {
            self.segments.fill(segment);
            return Some(Work::Command(id, command));
        }
        let result = self.write_now(segment, command, context);
        context.stage.complete(id, result);
        None
    }

    fn write_now(
        &mut self,
        segment: u32,
        command: Command,
        context: &mut Context<'_>,
    ) -> Result<Reply, CommandError> {
        if !self.may_write(context) {
            return Err(CommandError::NotAllowed);
        }
        if *context.pending >= limits::PENDING_CHANGES_MAX {
            return Err(CommandError::QueueFull {
                what: "the queue of unsent changes",
            });
        }
        match command {
            Command::Send { draft, token, .. } => {
                let drafts = vec![ImportDraft {
                    draft,
                    reply_in_batch: None,
                }];
                let ids = self.write_messages(segment, drafts, context)?;
                if let (Some(token), Some(message)) = (token, ids.first()) {
                    let record = TokenRecord {
                        message: *message,
                        used: context.now,
                    };
                    let scope = token_scope(&self.id, &token);
                    context
                        .stage
                        .write(Write::put(Kind::Token, &scope, &[], &record));
                }
                Ok(Reply::Sent(ids))
            }
            Command::Import { drafts, .. } => {
                Ok(Reply::Sent(self.write_messages(segment, drafts, context)?))
            }
            Command::Change { change, .. } => {
                let actor = self.actor(segment, context);
                let document = self.segments.document(segment, &self.id);
                let document = document.map_err(|error| CommandError::Fault(error.to_string()))?;
                let document = document
                    .ok_or_else(|| CommandError::Fault("document is not loaded".to_owned()))?;
                let made = document
                    .change(actor, |transaction| change(transaction))
                    .map_err(|error| CommandError::ChangeFailed(error.to_string()))?;
                if let Some(local) = made {
                    self.queue(segment, local, context);
                }
                Ok(Reply::Done)
            }
            _ => Err(CommandError::Fault(
                "not a command of a conversation".to_owned(),
            )),
        }
    }

    /// What a frozen device writes waits with it; a detached one has nobody to write to.
    pub(super) fn may_write(&self, context: &Context<'_>) -> bool {
        let role = self.control.current().role(&context.account.user());
        self.has_device(&context.account.device()) && role >= Some(Role::Writer)
    }

    /// Whether this device may still put a change of any size into a segment.
    fn has_room(&mut self, segment: u32, context: &Context<'_>) -> bool {
        let actor = self.actor(segment, context);
        let document = self.segments.loaded_document(segment);
        document.is_none_or(|document| document.has_room(&actor))
    }

    fn actor(&self, segment: u32, context: &Context<'_>) -> [u8; 16] {
        actor_bytes(
            &context.account.device(),
            &self.id,
            segment,
            &self.own_run(context),
        )
    }

    pub(super) fn write_messages(
        &mut self,
        segment: u32,
        drafts: Vec<ImportDraft>,
        context: &mut Context<'_>,
    ) -> Result<Vec<MessageId>, CommandError> {
        if drafts.is_empty() || drafts.len() > limits::BULK_MESSAGES_MAX {
            return Err(CommandError::TooMany);
        }
        let tag = author_tag(&context.account.device());
        let mut clock = self.clock;
        let mut messages: Vec<NewMessage> = Vec::with_capacity(drafts.len());
        for ImportDraft {
            draft,
            reply_in_batch,
        } in drafts
        {
            let reply_to = match reply_in_batch {
                Some(place) => Some(
                    messages
                        .get(place)
                        .map(|message| message.id)
                        .ok_or(CommandError::BadReply)?,
                ),
                None => draft.reply_to,
            };
            let message = new_message(draft, reply_to, tag, &mut clock, context)?;
            messages.push(message);
        }
        let actor = self.actor(segment, context);
        let document = self
            .segments
            .document(segment, &self.id)
            .map_err(|error| CommandError::Fault(error.to_string()))?
            .ok_or_else(|| CommandError::Fault("document is not loaded".to_owned()))?;
        let local = document
            .append(actor, &messages)
            .map_err(|error| CommandError::Fault(error.to_string()))?;
        self.clock = clock;
        let ids = messages.iter().map(|message| message.id).collect();
        let (user, device) = (context.account.user(), context.account.device());
        for message in messages {
            let record = message_record(user, device, segment, message);
            self.list(&record, context);
        }
        self.queue(segment, local, context);
        Ok(ids)
    }

    /// Queues a change for sealing. It becomes durable with this input, sealed or not.
    fn queue(&mut self, segment: u32, local: LocalChange, context: &mut Context<'_>) {
        let number = self.pending_next;
        self.pending_next = number.saturating_add(1);
        *context.pending = context.pending.saturating_add(1);
        let run = self.own_run(context);
        self.pending.push_back(Pending {
            number,
            segment,
            run,
            messages: local.messages.iter().map(|message| message.id).collect(),
            change: local.bytes,
            stored: false,
        });
        self.segments.write(segment, self.id, context.stage);
    }

    /// Seals what may leave, and makes durable what may not yet.
    pub(super) fn flush(&mut self, context: &mut Context<'_>) {
        while self.may_seal(context) {
            if let Err(error) = self.seal_batch(context) {
                let act = Act::RefusedContent(format!("own changes could not be sealed: {error}"));
                let own = Suspect::Device(context.account.device());
                context.stage.report(own, act, Some(self.id));
                break;
            }
        }
        if let Err(error) = self.send_vouch(context) {
            tracing::warn!(%error, "vouch not sent");
        }
        for pending in self.pending.iter_mut().filter(|pending| !pending.stored) {
            pending.stored = true;
            let record = PendingRecord {
                conversation: self.id,
                number: pending.number,
                segment: pending.segment,
                run: pending.run,
                messages: pending.messages.clone(),
                change: pending.change.clone(),
            };
            let order = pending.number.to_be_bytes();
            context
                .stage
                .write(Write::put(Kind::Pending, &self.id.0, &order, &record));
        }
    }

    fn may_seal(&self, context: &Context<'_>) -> bool {
        if !context.link_is_up() || !self.can_seal(context) {
            return false;
        }
        // Of who was just added it is not known yet where he begins.
        if self.control.current().window.unfinished {
            return false;
        }
        match context.outbox.of_conversation(&self.id) {
            0 => true,
            flying if flying < limits::ENVELOPES_IN_FLIGHT_MAX => {
                let waiting: usize = self
                    .pending
                    .iter()
                    .map(|pending| pending.change.len())
                    .sum();
                waiting >= limits::BATCH_BYTES
            }
            _ => false,
        }
    }

    /// Seals what waits for a relay, for a way that needs none.
    pub(super) fn seal_now(&mut self, context: &mut Context<'_>) -> Result<(), CommandError> {
        while self.can_seal(context) {
            self.seal_batch(context)?;
        }
        Ok(())
    }

    fn can_seal(&self, context: &Context<'_>) -> bool {
        // While a document is being read, its envelopes and pending changes stay as they were asked
        // for: one that moved from the one to the other in between would be in neither.
        if self.segments.is_loading() {
            return false;
        }
        if self.pending.is_empty() || context.outbox.is_held() || context.outbox.is_full() {
            return false;
        }
        // What was written by a device that may not write any more stays here, unsent.
        let account = context.account;
        self.barred(&account.user(), &account.device()) == 0
    }

    /// An epoch to write under, made usable first where that is needed.
    pub(super) fn writing_epoch(
        &mut self,
        context: &mut Context<'_>,
    ) -> Result<sheaf_crypto::EpochId, CommandError> {
        match self.epochs.choose(&self.control, context.now) {
            Choice::Use(epoch) => Ok(epoch),
            Choice::Forward(epoch, devices) => {
                let mut recipients = self.control.current().recipients();
                recipients.retain(|to| devices.contains(&to.device));
                let recipients = context.peers.newest_of(recipients);
                self.hand_over(epoch, &recipients, context)?;
                Ok(epoch)
            }
            Choice::Rekey => self.rekey(context),
        }
    }

    fn seal_batch(&mut self, context: &mut Context<'_>) -> Result<(), CommandError> {
        let epoch = self.writing_epoch(context)?;
        let mut room = limits::BATCH_BYTES_MAX;
        loop {
            let count = self.batch(room);
            match self.seal_pending(epoch, count, context)? {
                true => return Ok(()),
                // The record came out too large: fewer changes.
                false if count > 1 => room /= 2,
                false => {
                    return Err(CommandError::Fault(
                        "a change is larger than a record".to_owned(),
                    ));
                }
            }
        }
    }

    /// How many of the first pending changes fit in one envelope: same segment, same run.
    fn batch(&self, bytes_max: usize) -> usize {
        let Some(first) = self.pending.front() else {
            return 0;
        };
        let mut bytes = 0_usize;
        let fits = |pending: &&Pending| {
            bytes = bytes.saturating_add(pending.change.len());
            let same = pending.segment == first.segment && pending.run == first.run;
            same && (bytes <= bytes_max || pending.number == first.number)
        };
        self.pending.iter().take_while(fits).count()
    }

    /// Seals the first pending changes into one envelope; `false` if it came out too large.
    fn seal_pending(
        &mut self,
        epoch: sheaf_crypto::EpochId,
        count: usize,
        context: &mut Context<'_>,
    ) -> Result<bool, CommandError> {
        let fault = |error: &dyn std::fmt::Display| CommandError::Fault(error.to_string());
        let Some((segment, run)) = self.pending.front().map(|first| (first.segment, first.run))
        else {
            return Ok(true);
        };
        let (user, device) = (context.account.user(), context.account.device());
        let actor = actor_bytes(&device, &self.id, segment, &run);
        let changes: Vec<&[u8]> = self
            .pending
            .iter()
            .take(count)
            .map(|pending| pending.change.as_slice())
            .collect();
        let genesis = Genesis::of(&self.id.0, segment);
        let payload = encode_payload(&genesis, &actor, &changes).map_err(|error| fault(&error))?;
        let incarnation = self.acting(&user).ok_or(CommandError::NotAllowed)?;
        let (seq, previous) = self.place_in(run, context);
        let mut dependencies = self.take_dependencies((device, run));
        let built_on = self.sort_seen(segment, &mut dependencies);
        let content = ContentBody {
            segment,
            built_on,
            payload,
        };
        let body = postcard::to_allocvec(&content).map_err(|error| fault(&error))?;
        let inner = Inner {
            kind: Purpose::Content,
            user,
            device,
            run,
            incarnation,
            seq,
            previous,
            control_heads: self.control.heads(),
            dependencies: dependencies.clone(),
            body,
        };
        let held = self
            .epochs
            .get(&epoch)
            .ok_or_else(|| fault(&"the epoch is not held"))?;
        let sealed = sheaf_crypto::seal(
            &held.keys,
            &inner,
            &context.account.secrets,
            &mut *context.rng,
        );
        let wire = match sealed {
            Ok(wire) if wire.len() <= RECORD_BYTES_MAX => wire,
            Ok(_) | Err(sheaf_crypto::EnvelopeError::TooLarge { .. }) => {
                // A cut that is only named need not have been read.
                let read = dependencies
                    .iter()
                    .filter(|seen| self.chains.satisfies(seen));
                for dependency in read {
                    let place = (dependency.seq, dependency.item);
                    let chain = (dependency.device, dependency.run);
                    let seen = self.seen.entry(chain).or_insert(place);
                    *seen = place.max(*seen);
                }
                return Ok(false);
            }
            Err(error) => return Err(fault(&error)),
        };
        let topic = held.keys.topic();
        self.commit(&inner, epoch, topic, segment, count, wire, context);
        Ok(true)
    }

    /// An envelope of this device is made: into the chain, the store and the outbox, in one batch.
    #[allow(clippy::too_many_arguments, reason = "one envelope's parts, used once")]
    fn commit(
        &mut self,
        inner: &Inner,
        epoch: sheaf_crypto::EpochId,
        topic: sheaf_protocol::TopicId,
        segment: u32,
        count: usize,
        wire: Vec<u8>,
        context: &mut Context<'_>,
    ) {
        let item = item_of_record(&wire);
        self.accept_own(inner, item, context);
        self.knew_cuts(inner, context);
        self.epochs.count(&epoch);
        self.echoes.insert(hash_record(&wire));
        let mut messages = Vec::new();
        for pending in self.pending.drain(..count) {
            if pending.stored {
                let order = pending.number.to_be_bytes();
                context
                    .stage
                    .write(Write::delete(Kind::Pending, &self.id.0, &order));
            }
            *context.pending = context.pending.saturating_sub(1);
            messages.extend(pending.messages);
        }
        let arrival = self.arrivals;
        self.keep(
            inner,
            epoch,
            segment,
            wire.clone(),
            (arrival, false),
            context,
        );
        self.segments.write(segment, self.id, context.stage);
        let outgoing = Outgoing {
            topic,
            inbox_seed: None,
            place: self.place_in_chain(inner),
            relays: Vec::new(),
            class: Class::Log,
            conversation: Some(self.id),
            messages,
            record: wire,
        };
        context.outbox.push(outgoing, context.stage);
        context
            .outbox
            .pump(context.topics, context.now, context.stage);
    }
}

fn new_message(
    draft: Draft,
    reply_to: Option<MessageId>,
    tag: [u8; 8],
    clock: &mut HybridTime,
    context: &mut Context<'_>,
) -> Result<NewMessage, CommandError> {
    if draft.text.is_empty() || draft.text.len() > limits::TEXT_BYTES_MAX {
        return Err(CommandError::BadText);
    }
    // A reply sorts after what it answers, whatever the clocks say.
    let after = reply_to.map_or(*clock, |target| target.time().max(*clock));
    let mut chance = [0; 2];
    context.rng.fill_bytes(&mut chance);
    *clock = HybridTime::next_after(context.now.0, after, u16::from_be_bytes(chance));
    let id = MessageId::new(*clock, tag);
    let kind = if draft.system {
        MessageKind::System
    } else {
        MessageKind::Text
    };
    Ok(NewMessage {
        id,
        text: draft.text,
        reply_to,
        kind,
        origin: draft.origin,
    })
}

/// A token belongs to one conversation.
pub(crate) fn token_scope(conversation: &sheaf_crypto::ConversationId, token: &str) -> Vec<u8> {
    [conversation.0.as_slice(), token.as_bytes()].concat()
}
