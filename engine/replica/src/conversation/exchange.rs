//! Repair: two devices tell each other what they have, and each sends what the other lacks.
//!
//! A device that waits for something asks the devices that must have it, one after the other; a
//! person can have it ask all of them. Questions and answers go through inboxes, sealed to one
//! device. An answer holds signed operations and envelopes as their authors made them, and what it
//! brings passes every check that a record from a relay does: whoever answers vouches for nothing.

pub(super) mod giving;
mod other;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use sheaf_crypto::{
    ConversationId, DeviceId, EpochId, OperationId, Recipient, RunId, SignedOperation,
};
use sheaf_protocol::hash_record;

use super::found::send_inbox;
use super::parked::Need;
use super::{Conversation, Work};
use crate::command::{CommandError, CommandId};
use crate::context::Context;
use crate::inbox::InboxBody;
use crate::io::Event;
use crate::limits;
use crate::misbehaviour::{Act, Suspect};
use crate::record::Range;
use crate::time::Timestamp;

/// How far one chain is held.
pub(crate) type Held = (DeviceId, RunId, u64);

/// What a device has, and asks the other one to add to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ask {
    pub(crate) conversation: ConversationId,
    /// The asker's number for it; the answer repeats it.
    number: u64,
    pub(super) heads: Vec<OperationId>,
    pub(super) chains: Vec<Held>,
    /// Automerge sync messages by segment: what of the documents themselves is held.
    segments: Vec<(u32, Vec<u8>)>,
}

impl Ask {
    /// What a device would ask that has said to have these items and operations.
    pub(super) fn supposed(
        conversation: ConversationId,
        heads: Vec<OperationId>,
        chains: Vec<Held>,
    ) -> Self {
        Self {
            conversation,
            number: 0,
            heads,
            chains,
            segments: Vec::new(),
        }
    }
}

/// What the other one lacks, and what the answering device has.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) conversation: ConversationId,
    number: u64,
    pub(super) operations: Vec<SignedOperation>,
    pub(super) records: Vec<(EpochId, Vec<u8>)>,
    heads: Vec<OperationId>,
    chains: Vec<Held>,
    /// There is more than fits: ask again.
    more: bool,
    /// It answers an answer: nothing is to be sent in return.
    last: bool,
}

/// What is under way between this device and others.
#[derive(Default)]
pub(super) struct Exchange {
    /// Questions without an answer: number, and what was waited for when it was asked.
    asked: BTreeMap<u64, DeviceId>,
    /// When the next question is asked by itself, and how many were in vain.
    due: Option<Timestamp>,
    attempts: u32,
    /// What was waited for at the last question.
    waiting: usize,
    /// What was done for each device since a time.
    given: BTreeMap<DeviceId, (Timestamp, usize)>,
    /// Places of which somebody built on another item than the one that is known here.
    wanted: BTreeMap<(DeviceId, RunId), u64>,
    /// Segments of which devices were asked since the start because their documents differ.
    differing: BTreeMap<DeviceId, BTreeSet<u32>>,
}

/// Where an answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// To the inbox of the device that asked.
    Reply,
    /// To the inbox of a device that answered; nothing is to come back.
    Offer,
    /// Into a file, for a command.
    Export(CommandId),
}

/// A question that is being answered.
pub(super) struct Question {
    pub(super) to: DeviceId,
    pub(super) ask: Ask,
    way: Way,
    /// How many of its segments were compared: one document after the other is in memory.
    compared: usize,
    /// Changes that the other device's documents lack.
    changes: BTreeSet<[u8; 32]>,
    /// Where their envelopes are.
    ranges: Vec<Range>,
}

impl Question {
    pub(super) fn new(to: DeviceId, ask: Ask, way: Way) -> Self {
        Self {
            to,
            ask,
            way,
            compared: 0,
            changes: BTreeSet::new(),
            ranges: Vec::new(),
        }
    }
}

/// One answer being put together.
pub(super) struct Answering {
    pub(super) question: Question,
    pub(super) more: bool,
    /// Chain index and sequence from which the other device lacks what there is.
    lacks: BTreeMap<u32, u64>,
}

impl Conversation {
    /// What is held here, as far as nobody is known to have something else there.
    fn held(&self) -> Vec<Held> {
        let agreed = self.agreed();
        let chains = self.chains.iter();
        let held = chains.map(|(name, chain)| {
            let upto = agreed.get(name).copied().unwrap_or(u64::MAX);
            (name.0, name.1, chain.head.min(upto))
        });
        held.take(limits::EXCHANGE_CHAINS_MAX).collect()
    }

    /// Of what is held here, what concerns another device.
    fn held_for(&self, device: &DeviceId) -> Vec<Held> {
        let chains = self.concerns(device).into_iter();
        let held = chains.map(|of| (of.name.0, of.name.1, of.head));
        held.take(limits::EXCHANGE_CHAINS_MAX).collect()
    }

    /// The key by which a device of the conversation signs.
    pub(crate) fn signing_key(&self, device: &DeviceId) -> Option<[u8; 32]> {
        self.control.signing_key(device)
    }

    /// Asks one device for what is lacking here, and says what is not.
    pub(crate) fn ask(
        &mut self,
        of: DeviceId,
        segments: Vec<(u32, Vec<u8>)>,
        context: &mut Context<'_>,
    ) -> Result<u64, CommandError> {
        if self.exchange.asked.len() >= limits::EXCHANGES_MAX {
            self.exchange.asked.pop_first();
        }
        let number = context.rng.next_u64();
        let ask = Ask {
            conversation: self.id,
            number,
            heads: self.control.heads(),
            chains: self.held(),
            segments,
        };
        self.send_to(of, &InboxBody::Ask(ask), context)?;
        self.exchange.asked.insert(number, of);
        Ok(number)
    }

    /// Asks devices that take part, all of them if none is named; gives those that are asked.
    pub(crate) fn resync(
        &mut self,
        named: &[DeviceId],
        full: bool,
        context: &mut Context<'_>,
    ) -> Vec<DeviceId> {
        let own = context.account.device();
        let view = std::sync::Arc::clone(self.control.current());
        let others = view.live().map(|(device, _)| *device);
        let others = others.filter(|d| *d != own && (named.is_empty() || named.contains(d)));
        let others: Vec<DeviceId> = others.take(limits::EXCHANGES_MAX).collect();
        let segments = match full {
            true => self.segments.newest(limits::EXCHANGE_SEGMENTS_MAX),
            false => Vec::new(),
        };
        self.work
            .push_back(Work::Resync(others.clone(), segments, Vec::new()));
        self.run(context);
        others
    }

    /// Reads what the documents have to say, segment by segment, then asks.
    pub(super) fn resync_with(
        &mut self,
        of: Vec<DeviceId>,
        mut segments: Vec<u32>,
        mut messages: Vec<(u32, Vec<u8>)>,
        context: &mut Context<'_>,
    ) -> Option<Work> {
        while let Some(segment) = segments.last().copied() {
            if !self.segments.is_ready(segment) {
                self.load(segment, context);
                return Some(Work::Resync(of, segments, messages));
            }
            segments.pop();
            let Ok(Some(document)) = self.segments.document(segment, &self.id) else {
                continue;
            };
            let message = document.compare_message();
            messages.extend(message.map(|message| (segment, message)));
            self.evict(context);
        }
        for device in of {
            if let Err(error) = self.ask(device, messages.clone(), context) {
                tracing::warn!(%error, "a device is not asked");
            }
        }
        None
    }

    fn send_to(
        &self,
        to: DeviceId,
        body: &InboxBody,
        context: &mut Context<'_>,
    ) -> Result<(), CommandError> {
        let view = self.control.current();
        let (_, attached) = view.device(&to).ok_or(CommandError::UnknownDevice)?;
        let certified = Recipient {
            device: to,
            kem: attached.kem.clone(),
        };
        // Who asks may have heard of no newer key for so long that the one known is erased. A
        // question holds no content.
        let recipient = if matches!(body, InboxBody::Ask(_)) {
            certified
        } else {
            context.peers.newest(certified)
        };
        send_inbox(&recipient, attached.inbox_seed, body, context)
    }

    /// Devices that can be asked: those whose records wait here first.
    pub(super) fn askable(&self, own: DeviceId) -> Vec<DeviceId> {
        let view = self.control.current();
        let is_other = |device: &DeviceId| *device != own && view.device(device).is_some();
        let authors = self.parked.authors().into_iter().filter(is_other);
        let mut devices: Vec<DeviceId> = authors.collect();
        for (device, _) in view.live() {
            if *device != own && !devices.contains(device) {
                devices.push(*device);
            }
        }
        devices
    }

    /// Asks by itself for what is waited for, after everything that the relay has was read.
    pub(super) fn seek(&mut self, context: &mut Context<'_>) {
        let waiting = self.is_waiting() || self.lacking_key(&context.reader()).is_some();
        let quiet = !waiting
            || self.is_busy()
            || !context.link_is_up()
            || !context.topics.conversation_live(&self.id);
        if quiet {
            self.exchange.due = None;
            if !waiting || !context.link_is_up() {
                self.exchange.attempts = 0;
            }
            return;
        }
        // What was in vain so far need not be now: somebody heard of this device, or it of others.
        let parked = self.parked.len();
        if parked != self.exchange.waiting {
            self.exchange.attempts = 0;
        }
        self.exchange.waiting = parked;
        match self.exchange.due {
            Some(due) if due <= context.now => {
                self.seek_now(context);
                self.seek_in(context);
            }
            None if self.exchange.attempts < limits::ASK_ATTEMPTS_MAX => self.seek_in(context),
            Some(_) | None => {}
        }
    }

    /// Devices that did not answer may do so now.
    pub(super) fn seek_again(&mut self) {
        self.exchange.attempts = 0;
    }

    fn seek_in(&mut self, context: &mut Context<'_>) {
        if self.exchange.attempts >= limits::ASK_ATTEMPTS_MAX {
            self.exchange.due = None;
            return;
        }
        let doubled = limits::ASK_DELAY_MS << self.exchange.attempts.min(8);
        let jitter = context.rng.next_u64() % doubled.max(1);
        let due = context.now.after_ms(doubled.saturating_add(jitter));
        self.exchange.due = Some(due);
        context.agenda.at(due, self.id);
    }

    fn seek_now(&mut self, context: &mut Context<'_>) {
        let devices = self.askable(context.account.device());
        let attempt = self.exchange.attempts;
        self.exchange.attempts = attempt.saturating_add(1);
        let place = usize::try_from(attempt).unwrap_or(0) % devices.len().max(1);
        if let Some(device) = devices.get(place)
            && let Err(error) = self.ask(*device, Vec::new(), context)
        {
            tracing::warn!(%error, "not asked for what is missing");
        }
    }

    /// A device of this conversation asks. Only who takes part is answered, and not too often.
    pub(crate) fn asked(&mut self, from: DeviceId, ask: Ask, context: &mut Context<'_>) {
        let takes_part = self.control.current().live().any(|(d, _)| *d == from);
        let segments = ask.segments.len().max(1);
        if !takes_part || !self.may_answer(from, segments, context.now) {
            return;
        }
        let question = Question::new(from, ask, Way::Reply);
        self.work.push_back(Work::Answer(Box::new(question)));
        self.run(context);
    }

    fn may_answer(&mut self, to: DeviceId, segments: usize, now: Timestamp) -> bool {
        let given = self.exchange.given.entry(to).or_insert((now, 0));
        if now.since_ms(given.0) > limits::ANSWERS_WINDOW_MS {
            *given = (now, 0);
        }
        let may = given.1 < limits::ANSWERS_PER_WINDOW_MAX;
        if may {
            given.1 = given.1.saturating_add(segments);
        }
        may
    }

    /// Counts what an answer holds against what its device is given.
    fn count_given(&mut self, to: &DeviceId, answer: &Answer) {
        let operations = answer.operations.iter().map(SignedOperation::size);
        let records = answer.records.iter().map(|(_, wire)| wire.len());
        let held = answer.chains.len().saturating_mul(size_of::<Held>());
        let bytes = operations.chain(records).fold(held, usize::saturating_add);
        if let Some(given) = self.exchange.given.get_mut(to) {
            given.1 = given.1.saturating_add(bytes / limits::ANSWER_PIECE_BYTES);
        }
    }

    /// An answer came: everything in it is taken in as if a relay had brought it.
    pub(crate) fn answered(&mut self, from: DeviceId, answer: Answer, context: &mut Context<'_>) {
        let expected = self.exchange.asked.remove(&answer.number) == Some(from);
        let takes_part = self.control.current().live().any(|(d, _)| *d == from);
        // An offer, or what was asked for before this device was started anew.
        if !(expected || takes_part) {
            return;
        }
        let missing_here = self.missing_here(&answer, context);
        for operation in &answer.operations {
            if self.control.contains(&operation.id()) {
                continue;
            }
            if let Err(error) = self.accept_operation(operation, context) {
                let act = Act::RefusedOperation(error.to_string());
                context
                    .stage
                    .report(Suspect::Device(from), act, Some(self.id));
                break;
            }
        }
        let (number, records) = (answer.number, answer.records);
        let records = self.fetched((from, number), records, context);
        let brought = records.len();
        for (epoch, wire) in records {
            if self.is_full(context) {
                break;
            }
            if self.has_forgotten(&epoch) {
                self.too_late(context);
                continue;
            }
            if let Some(held) = self.epochs.get(&epoch) {
                let topic = held.keys.topic();
                context.topics.note_given(topic, hash_record(&wire));
            }
            self.parked
                .park(self.id, epoch, wire, None, Need::Unknown, context.stage);
        }
        self.work.push_back(Work::Retry);
        self.ask_again();
        if !answer.last {
            let missing_there = self.missing_there(from, &answer.heads, &answer.chains);
            if expected {
                context.stage.notify(Event::Exchanged {
                    conversation: self.id,
                    device: from,
                    missing_here,
                    missing_there,
                    brought: u64::try_from(brought).unwrap_or(u64::MAX),
                    more: answer.more,
                });
            }
            if missing_there > 0 {
                let ask = Ask {
                    conversation: self.id,
                    number: answer.number,
                    heads: answer.heads,
                    chains: answer.chains,
                    segments: Vec::new(),
                };
                let question = Question::new(from, ask, Way::Offer);
                self.work.push_back(Work::Answer(Box::new(question)));
            }
            // Answers that bring nothing do not go on for ever.
            if answer.more && (brought > 0 || !answer.operations.is_empty()) {
                self.work.push_back(Work::Ask(from));
            }
        }
        self.run(context);
    }

    /// Items and operations that the other device has and this one has not. Who does not read from
    /// the first item on cannot count what he was not given.
    fn missing_here(&self, answer: &Answer, context: &Context<'_>) -> u64 {
        let beyond = answer.chains.iter().map(|(device, run, head)| {
            let here = self.chains.get(device, run).map_or(0, |chain| chain.head);
            head.saturating_sub(here)
        });
        let unknown = answer.heads.iter().filter(|id| !self.control.contains(id));
        let unknown = u64::try_from(unknown.count()).unwrap_or(u64::MAX);
        if self.is_newcomer(context) {
            let given = u64::try_from(answer.records.len()).unwrap_or(u64::MAX);
            return unknown.saturating_add(given);
        }
        beyond.fold(unknown, u64::saturating_add)
    }

    /// Items and operations that the other device lacks.
    fn missing_there(&self, other: DeviceId, heads: &[OperationId], chains: &[Held]) -> u64 {
        let theirs: BTreeMap<(DeviceId, RunId), u64> = chains
            .iter()
            .map(|(d, r, head)| ((*d, *r), *head))
            .collect();
        let items = self.concerns(&other).into_iter().map(|of| {
            let before = of.from.saturating_sub(1);
            let there = theirs.get(&of.name).copied();
            of.head
                .saturating_sub(there.map_or(before, |there| there.max(before)))
        });
        let own = self.control.heads();
        let unknown = own.iter().filter(|id| {
            let knows = |head: &OperationId| head == *id || self.control.saw(head, id);
            !heads.iter().any(knows)
        });
        let unknown = u64::try_from(unknown.count()).unwrap_or(u64::MAX);
        items.fold(unknown, u64::saturating_add)
    }
}
