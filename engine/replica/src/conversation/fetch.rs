//! Segments that come back: asked of other devices, proved by their recorded heads.
//!
//! What a device answers with passes every check that its author has to pass, and goes into a
//! document of its own. Only when that has exactly the heads that were written down here is it whole
//! and unaltered, whoever sent it; then envelopes, figures and messages are written in one batch.

mod asking;
mod listed;

use std::collections::{BTreeMap, BTreeSet};

use sheaf_crypto::{DeviceId, EpochId, Inner, Kind as Purpose, Role, UserId, actor_bytes};

use super::exchange::giving::place_of;
use super::merge::{decode_body, decode_content};
use super::segments::Loading;
use super::vault::attaching;
use super::{Conversation, Work, author_tag};
use crate::command::{CommandError, CommandId, Reply};
use crate::context::Context;
use crate::document::{Incoming, Outcome, Segment};
use crate::epoch::is_safe;
use crate::io::Event;
use crate::limits;
use crate::record::{self, Away, EnvelopeRecord, Kind, RecordError, Row, Write};
use crate::time::Timestamp;

/// Segments that are to come back.
#[derive(Default)]
pub(super) struct Fetching {
    wanted: BTreeSet<u32>,
    current: Option<Fetch>,
    commands: Vec<(u32, CommandId)>,
    /// When the next device is asked, and how many were asked in vain.
    due: Option<Timestamp>,
    attempts: u32,
    /// The device that is asked first, and the one that gave something last.
    first: Option<DeviceId>,
    gave: Option<DeviceId>,
}

/// One segment on its way.
struct Fetch {
    segment: u32,
    document: Segment,
    /// Chain index and sequence of what is here and not part of the document.
    refused: BTreeSet<(u32, u64)>,
    got: Vec<Got>,
    bytes: usize,
    /// Questions under way.
    numbers: BTreeMap<u64, DeviceId>,
    /// The device that gave something last.
    giver: Option<DeviceId>,
}

/// One envelope that came.
struct Got {
    inner: Inner,
    order: [u8; 16],
    epoch: EpochId,
    wire: Vec<u8>,
}

/// An author as a document names it.
type Authors = BTreeMap<[u8; 16], (UserId, DeviceId)>;

impl Fetching {
    /// A segment is to come back.
    pub(super) fn want(&mut self, segment: u32) {
        self.wanted.insert(segment);
        self.attempts = 0;
    }

    /// A device that is known to be running.
    pub(super) fn ask_first(&mut self, device: DeviceId) {
        self.gave = Some(device);
    }

    /// A segment is not to come back.
    pub(super) fn leave(&mut self, segment: u32) {
        self.wanted.remove(&segment);
        self.current = self.current.take().filter(|fetch| fetch.segment != segment);
    }

    /// What came is thrown away, and everything tried again.
    pub(super) fn begin_anew(&mut self) {
        (self.current, self.due, self.attempts) = (None, None, 0);
    }

    /// What is here of the newest one was put together, and lacks something.
    pub(super) fn tried_newest(&self) -> bool {
        let newest = self.wanted.last();
        let current = self.current.as_ref().map(|fetch| &fetch.segment);
        newest.is_some() && (current == newest || self.attempts > 0)
    }
}

impl Conversation {
    /// Fetches a segment that is not here, or the newest one of them.
    pub(crate) fn fetch(
        &mut self,
        segment: Option<u32>,
        command: CommandId,
        context: &mut Context<'_>,
    ) {
        let away = self.segments.away().map(|(segment, _)| segment);
        let away = away.filter(|away| segment.is_none_or(|segment| segment == *away));
        let (gone, away): (Vec<u32>, Vec<u32>) = away.partition(|s| self.is_settled(*s));
        let Some(segment) = away.last().copied() else {
            let nothing = match gone.is_empty() {
                true => Ok(Reply::NothingOlder),
                false => Err(CommandError::Forgotten),
            };
            return context.stage.complete(command, nothing);
        };
        if !context.link_is_up() || self.holders(context).is_empty() {
            let refused = CommandError::NotHere(self.holders(context));
            return context.stage.complete(command, Err(refused));
        }
        self.fetching.want(segment);
        self.fetching.commands.push((segment, command));
        self.run(context);
    }

    /// A segment is on its way, and not every device was asked for it yet.
    pub(crate) fn is_fetching(&self) -> bool {
        let asked = usize::try_from(self.fetching.attempts).unwrap_or(usize::MAX);
        let others = self.control.current().live().count().saturating_sub(1);
        !self.fetching.wanted.is_empty() && asked <= others && others > 0 || self.is_beginning()
    }

    /// Goes on with what is to come back, the newest first.
    pub(super) fn pursue(&mut self, context: &mut Context<'_>) {
        let segments = &self.segments;
        self.fetching.wanted.retain(|s| segments.is_away(*s));
        let Some(newest) = self.fetching.wanted.last().copied() else {
            return;
        };
        if !context.link_is_up() {
            let devices = self.holders(context);
            return self.give_up_commands(&devices, context);
        }
        if self.is_busy() {
            return;
        }
        match self.fetching.due {
            Some(due) if due > context.now => {}
            Some(_) if self.fetching.current.is_some() => self.ask_for_segment(context),
            Some(_) | None if self.fetching.attempts < limits::ASK_ATTEMPTS_MAX => {
                self.fetching.current = None;
                self.fetching.due = Some(context.now);
                let unread = self.read_rest(newest, context);
                self.work.extend(unread);
            }
            Some(_) | None => {}
        }
    }

    /// Reads what is left of a segment in the store: to fetch the rest, or to list its messages.
    pub(super) fn read_rest(&mut self, segment: u32, context: &mut Context<'_>) -> Option<Work> {
        if !self.segments.is_ready(segment) {
            self.load(segment, context);
            return Some(Work::Rest(segment));
        }
        let load = context.stage.load(vec![self.all_of(segment)]);
        self.segments.loading = Some(Loading::Rest(load, segment));
        None
    }

    /// What is left of a segment is read.
    pub(super) fn rest_with(
        &mut self,
        segment: u32,
        rows: &[Row],
        context: &mut Context<'_>,
    ) -> Result<(), RecordError> {
        if !self.segments.is_away(segment) {
            let authors = self.authors_of(segment, rows, context);
            self.list_again(segment, &authors, context);
            return Ok(());
        }
        let current = self.fetching.current.take();
        let whole = current.filter(|fetch| {
            fetch.segment == segment && fetch.document.heads() == self.segments.recorded(segment)
        });
        match whole {
            Some(fetch) => self.take_back_segment(fetch, rows, context),
            None => self.begin_fetch(segment, rows, context),
        }
    }

    /// Begins with what is left here of what the recorded heads hold.
    fn begin_fetch(
        &mut self,
        segment: u32,
        rows: &[Row],
        context: &mut Context<'_>,
    ) -> Result<(), RecordError> {
        let damaged = RecordError(Kind::Segment);
        let mut document = Segment::genesis(&self.id.0, segment).map_err(|_| damaged)?;
        let upto = self.segments.gone(segment).map(|gone| gone.upto.clone());
        let upto = upto.unwrap_or_default();
        let mut refused = BTreeSet::new();
        let mut left = BTreeMap::new();
        for row in rows {
            let envelope: EnvelopeRecord = record::decode(row.kind, &row.value)?;
            let place = place_of(&row.order).ok_or(RecordError(Kind::Envelope))?;
            if envelope.refused {
                refused.insert(place);
            } else if upto.get(&place.0) >= Some(&place.1) {
                left.insert((envelope.arrival, place), envelope);
            }
        }
        let batch = left.values().filter_map(|envelope| self.reopen(envelope));
        document.merge(&batch.collect::<Vec<_>>());
        document.merge(&self.unsealed(segment, context));
        let whole = document.heads() == self.segments.recorded(segment);
        self.fetching.current = Some(Fetch {
            segment,
            document,
            refused,
            got: Vec::new(),
            bytes: 0,
            numbers: BTreeMap::new(),
            giver: None,
        });
        if whole {
            self.work.push_back(Work::Rest(segment));
        }
        Ok(())
    }

    pub(super) fn give_up_commands(&mut self, devices: &[DeviceId], context: &mut Context<'_>) {
        for (_, command) in std::mem::take(&mut self.fetching.commands) {
            let refused = CommandError::NotHere(devices.to_vec());
            context.stage.complete(command, Err(refused));
        }
    }

    /// A device answered. What belongs to a segment on its way is taken; gives the rest.
    pub(super) fn fetched(
        &mut self,
        (from, number): (DeviceId, u64),
        records: Vec<(EpochId, Vec<u8>)>,
        context: &mut Context<'_>,
    ) -> Vec<(EpochId, Vec<u8>)> {
        let Some(mut fetch) = self.fetching.current.take() else {
            return records;
        };
        if fetch.numbers.get(&number) != Some(&from) {
            self.fetching.current = Some(fetch);
            return records;
        }
        fetch.numbers.remove(&number);
        let (mut rest, mut batch, mut taken) = (Vec::new(), Vec::new(), Vec::new());
        for (epoch, wire) in records {
            match self.judge_fetched(&fetch, epoch, &wire) {
                Fetched::Part(inner, order, changes) => {
                    fetch.bytes = fetch.bytes.saturating_add(wire.len());
                    if fetch.bytes > limits::FETCH_BYTES_MAX {
                        break;
                    }
                    let run = &inner.run;
                    batch.push(Incoming {
                        actor: actor_bytes(&inner.device, &self.id, fetch.segment, run),
                        author_tag: author_tag(&inner.device),
                        changes,
                    });
                    taken.push(Got {
                        inner: *inner,
                        order,
                        epoch,
                        wire,
                    });
                }
                Fetched::Here => {}
                Fetched::Other => rest.push((epoch, wire)),
            }
        }
        let outcomes = fetch.document.merge(&batch);
        let before = fetch.got.len();
        let good = taken.into_iter().zip(outcomes);
        let good = good.filter(|(_, outcome)| matches!(outcome, Outcome::Applied { .. }));
        fetch.got.extend(good.map(|(got, _)| got));
        fetch.document.merge(&self.unsealed(fetch.segment, context));
        let segment = fetch.segment;
        let whole = fetch.document.heads() == self.segments.recorded(segment);
        let gained = fetch.got.len() > before;
        if gained {
            self.start_advanced(context.now);
            fetch.giver = Some(from);
            self.fetching.gave = Some(from);
            self.fetching.current = Some(fetch);
            self.note_heard(from, context.now, context);
        } else if !fetch.got.is_empty() {
            // What came together does not lead to the recorded heads: begun anew with another device.
            self.fetching.current = None;
        } else {
            self.fetching.current = Some(fetch);
        }
        // A second round is not begun at once.
        let asked = usize::try_from(self.fetching.attempts).unwrap_or(usize::MAX);
        if gained || asked <= self.holders(context).len() {
            self.fetching.due = Some(context.now);
        }
        if whole {
            self.work.push_back(Work::Rest(segment));
        }
        rest
    }

    /// Checks an envelope as one that comes for the first time, its place aside.
    fn judge_fetched(&mut self, fetch: &Fetch, epoch: EpochId, wire: &[u8]) -> Fetched {
        let Some((inner, changes)) = self.authentic(fetch.segment, epoch, wire) else {
            return Fetched::Other;
        };
        let Some(order) = self.kept_at(&inner, fetch.segment) else {
            return Fetched::Other;
        };
        let gone = self.segments.gone(fetch.segment);
        let place = place_of(&order);
        let within = place.is_some_and(|(chain, seq)| {
            gone.is_some_and(|gone| gone.upto.get(&chain) >= Some(&seq))
        });
        if !within || place.is_some_and(|place| fetch.refused.contains(&place)) {
            return Fetched::Here;
        }
        Fetched::Part(Box::new(inner), order, changes)
    }

    /// Content of a segment, if its author could write it; as records from a relay are examined.
    fn authentic(
        &mut self,
        segment: u32,
        epoch: EpochId,
        wire: &[u8],
    ) -> Option<(Inner, Vec<Vec<u8>>)> {
        let held = self.epochs.get(&epoch)?;
        let opened = sheaf_crypto::open(&held.keys, wire).ok()?;
        let mut heads = opened.control_heads().iter();
        if heads.any(|head| !self.control.contains(head)) {
            return None;
        }
        let view = self.control.view(opened.control_heads())?;
        let member = view.members.get(&opened.user())?;
        let attached = member.devices.get(&opened.device());
        let attached = attached.map(|known| known.signing);
        let signing = attached.or_else(|| attaching(&view, &opened))?;
        let inner = opened.verify(&signing).ok()?;
        let may = inner.kind == Purpose::Content
            && member.role >= Role::Writer
            && member.incarnations.contains_key(&inner.incarnation)
            && is_safe(&self.control, &view, &epoch);
        let body = decode_body(&inner).ok()?;
        if !may || body.segment != segment || !view.has_segment(segment) {
            return None;
        }
        let (_, changes) = decode_content(&inner, &self.id).ok()?;
        Some((inner, changes))
    }

    /// The document has the recorded heads: it is here again, and what came meanwhile is applied.
    fn take_back_segment(
        &mut self,
        fetch: Fetch,
        rows: &[Row],
        context: &mut Context<'_>,
    ) -> Result<(), RecordError> {
        let Fetch {
            segment,
            mut document,
            got,
            ..
        } = fetch;
        let why = self.segments.gone(segment).map(|gone| gone.why);
        let mut authors = self.authors_of(segment, rows, context);
        let (mut left, mut bytes) = (BTreeMap::new(), 0_usize);
        for row in rows {
            let envelope: EnvelopeRecord = record::decode(row.kind, &row.value)?;
            bytes = bytes.saturating_add(envelope.wire.len());
            if !envelope.refused {
                left.insert((envelope.arrival, row.order.clone()), envelope);
            }
        }
        // In the order of their authors' arrival at the giver, which is causal.
        for (arrival, got) in (0..).zip(got) {
            let actor = actor_bytes(&got.inner.device, &self.id, segment, &got.inner.run);
            authors.insert(actor, (got.inner.user, got.inner.device));
            bytes = bytes.saturating_add(got.wire.len());
            let envelope = EnvelopeRecord {
                epoch: got.epoch,
                arrival,
                refused: false,
                wire: got.wire,
            };
            let write = Write::put(Kind::Envelope, &self.id.0, &got.order, &envelope);
            context.stage.write(write);
        }
        let batch = left.values().filter_map(|envelope| self.reopen(envelope));
        document.merge(&batch.collect::<Vec<_>>());
        document.merge(&self.unsealed(segment, context));
        let messages = u64::from(document.message_count());
        self.segments.renew(segment, document, bytes);
        self.segments.write(segment, self.id, context.stage);
        self.list_again(segment, &authors, context);
        let order = segment.to_be_bytes();
        let write = Write::delete(Kind::Away, &self.id.0, &order);
        context.stage.write(write);
        self.fetching.wanted.remove(&segment);
        (self.fetching.due, self.fetching.attempts) = (None, 0);
        self.start_advanced(context.now);
        if why == Some(Away::Dropped) {
            self.keep_fetched(segment, context);
        }
        let conversation = self.id;
        context.stage.notify(Event::SegmentFetched {
            conversation,
            segment,
            messages,
        });
        self.answer_commands(segment, messages, context);
        self.judge_forks();
        self.release();
        Ok(())
    }

    fn answer_commands(&mut self, segment: u32, messages: u64, context: &mut Context<'_>) {
        let older = self.segments.away().next().is_some();
        let (done, rest) = std::mem::take(&mut self.fetching.commands)
            .into_iter()
            .partition(|(of, _)| *of == segment);
        self.fetching.commands = rest;
        let done: Vec<(u32, CommandId)> = done;
        for (_, command) in done {
            let fetched = Reply::Fetched {
                segment,
                messages,
                older,
            };
            context.stage.complete(command, Ok(fetched));
        }
    }
}

/// What one envelope of an answer is to a segment on its way.
enum Fetched {
    /// Part of it: where it is kept, and its changes.
    Part(Box<Inner>, [u8; 16], Vec<Vec<u8>>),
    /// Here already.
    Here,
    /// Something else.
    Other,
}
