//! The chain of bounded documents of a conversation: which are in memory, which have to be read.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use sheaf_crypto::{ConversationId, ItemId};

use super::exchange::Answering;
use super::offered::Offering;
use super::stated::Comparing;
use crate::control::Window;
use crate::document::{DocumentError, HybridTime, Incoming, MessageId, Outcome, Segment};
use crate::io::LoadId;
use crate::record::{Away, Kind, SegmentRecord, SnapshotRecord, Write};
use crate::stage::Stage;

/// One segment.
pub(super) struct State {
    pub(super) messages: u32,
    heads: Vec<[u8; 32]>,
    pub(super) tail_bytes: u64,
    pub(super) snapshot_bytes: u64,
    document: Option<Segment>,
    /// The document is not here, and cannot be read from the store.
    away: Option<Gone>,
    /// When its messages were written, in order, where that was looked at.
    pub(super) times: Option<Vec<HybridTime>>,
    /// Its snapshot is all that its document can be made from: it stays as it is.
    settled: bool,
    /// This device has used up what one author may put into it.
    full: bool,
    used: u64,
}

/// An item that waits for the store to say what is known at some places.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placing {
    pub(super) item: ItemId,
    /// What has to be known at one of them.
    pub(super) expected: ItemId,
    /// With fewer rows, what was there may be gone, and nothing speaks against the item.
    pub(super) rows: usize,
}

/// Why a document is not here, and what its recorded heads may hold by chain index.
#[derive(Debug, Clone)]
pub(super) struct Gone {
    pub(super) why: Away,
    pub(super) upto: BTreeMap<u32, u64>,
    /// Its oldest and its newest message, where they were here.
    pub(super) span: Option<(MessageId, MessageId)>,
}

/// How far the reading of a segment has come.
pub(super) enum Loading {
    /// Its snapshot is asked for.
    Snapshot(LoadId, u32),
    /// The envelopes after the snapshot are asked for.
    Tail(LoadId, u32, Option<SnapshotRecord>),
    /// An envelope that was kept back is asked for.
    Withheld(LoadId, (u32, u64)),
    /// Envelopes that another device lacks are asked for.
    Answer(LoadId, Box<Answering>),
    /// Envelopes that a relay lacks are asked for.
    Offer(LoadId, Offering),
    /// What is known at an item's place is asked for.
    Place(LoadId, Placing),
    /// All envelopes are asked for, to judge forks.
    Forks(LoadId),
    /// All envelopes of a segment are asked for, to drop it.
    Drop(LoadId, u32),
    /// What is left here of a segment that is away is asked for, to fetch the rest.
    Rest(LoadId, u32),
    /// All envelopes of a segment are asked for, to erase some of them.
    Forget(LoadId, u32),
    /// Envelopes are asked for, to compare a document with what somebody stated.
    Compare(LoadId, Box<Comparing>),
}

impl Loading {
    /// The read that is waited for.
    pub(super) fn id(&self) -> LoadId {
        match self {
            Self::Snapshot(id, _)
            | Self::Tail(id, ..)
            | Self::Withheld(id, _)
            | Self::Answer(id, _)
            | Self::Offer(id, _)
            | Self::Place(id, ..)
            | Self::Forks(id)
            | Self::Drop(id, _)
            | Self::Rest(id, _)
            | Self::Forget(id, _)
            | Self::Compare(id, _) => *id,
        }
    }
}

/// All segments.
pub(super) struct Segments {
    /// Messages after which the next segment is opened.
    pub(super) segment_messages: u32,
    states: BTreeMap<u32, State>,
    /// The window written to, and the segment of it before which all are full.
    writing: (u32, u32),
    pub(super) loading: Option<Loading>,
    uses: u64,
}

impl State {
    fn empty(document: Option<Segment>) -> Self {
        Self {
            messages: 0,
            heads: Vec::new(),
            tail_bytes: 0,
            snapshot_bytes: 0,
            document,
            away: None,
            times: None,
            settled: false,
            full: false,
            used: 0,
        }
    }

    /// When its newest message was written, if it has any; nothing where that was not looked at.
    pub(super) fn newest(&self) -> Option<Option<HybridTime>> {
        let times = self.times.as_ref()?;
        Some(times.last().copied())
    }
}

impl Segments {
    pub(super) fn new(segment_messages: u32) -> Self {
        let states = BTreeMap::new();
        Self {
            segment_messages,
            states,
            writing: (0, 0),
            loading: None,
            uses: 0,
        }
    }

    pub(super) fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    pub(super) fn restore(&mut self, record: SegmentRecord) {
        let state = State {
            messages: record.messages,
            heads: record.heads,
            tail_bytes: record.tail_bytes,
            snapshot_bytes: record.snapshot_bytes,
            ..State::empty(None)
        };
        self.states.insert(record.segment, state);
    }

    /// The segment that a new message goes to: the first of the window that is not full.
    pub(super) fn writing(&mut self, window: u32) -> u32 {
        let (known, segment) = self.writing;
        let mut segment = if known == window { segment } else { window };
        while segment < Window::last(window)
            && self.states.get(&segment).is_some_and(|state| {
                state.away.is_some() || state.full || state.messages >= self.segment_messages
            })
        {
            segment = segment.saturating_add(1);
        }
        self.writing = (window, segment);
        segment
    }

    /// This device writes no more to a segment.
    pub(super) fn fill(&mut self, segment: u32) {
        if let Some(state) = self.states.get_mut(&segment) {
            state.full = true;
        }
    }

    /// The document is in memory, or there is nothing of it to read.
    pub(super) fn is_ready(&self, segment: u32) -> bool {
        self.states
            .get(&segment)
            .is_none_or(|state| state.document.is_some() || state.away.is_some())
    }

    /// The document, made if the segment is new; `None` if it has to be read first.
    pub(super) fn document(
        &mut self,
        segment: u32,
        conversation: &ConversationId,
    ) -> Result<Option<&mut Segment>, DocumentError> {
        self.uses = self.uses.saturating_add(1);
        let state = match self.states.entry(segment) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(State::empty(Some(Segment::genesis(
                &conversation.0,
                segment,
            )?))),
        };
        (state.used, state.times) = (self.uses, None);
        Ok(state.document.as_mut())
    }

    /// Puts a document that was read in its place.
    pub(super) fn insert(&mut self, segment: u32, document: Segment) {
        self.uses = self.uses.saturating_add(1);
        let uses = self.uses;
        let state = self
            .states
            .entry(segment)
            .or_insert_with(|| State::empty(None));
        state.used = uses;
        state.messages = document.message_count();
        state.heads = document.heads();
        state.times = None;
        state.document = Some(document);
        state.away = None;
    }

    /// The document is not here any more, and not in the store.
    pub(super) fn send_away(&mut self, segment: u32, gone: Gone) {
        if let Some(state) = self.states.get_mut(&segment) {
            state.document = None;
            state.tail_bytes = 0;
            state.snapshot_bytes = 0;
            state.away = Some(gone);
        }
    }

    pub(super) fn is_away(&self, segment: u32) -> bool {
        self.gone(segment).is_some()
    }

    pub(super) fn gone(&self, segment: u32) -> Option<&Gone> {
        self.states
            .get(&segment)
            .and_then(|state| state.away.as_ref())
    }

    /// Segments that are away, the oldest first.
    pub(super) fn away(&self) -> impl Iterator<Item = (u32, &Gone)> {
        let states = self.states.iter();
        states.filter_map(|(segment, state)| Some((*segment, state.away.as_ref()?)))
    }

    /// The oldest and the newest message of those of them that were here.
    pub(super) fn spans(&self) -> impl Iterator<Item = (u32, MessageId, MessageId)> {
        let away = self.away();
        away.filter_map(|(segment, gone)| gone.span.map(|(old, new)| (segment, old, new)))
    }

    /// Segments that are here with their figures, the newest first.
    pub(super) fn here(&self) -> impl Iterator<Item = (u32, &State)> {
        let states = self.states.iter().rev();
        let here = states.filter(|(_, state)| state.away.is_none());
        here.map(|(segment, state)| (*segment, state))
    }

    /// The heads as they were written down last.
    pub(super) fn recorded(&self, segment: u32) -> Vec<[u8; 32]> {
        let state = self.states.get(&segment);
        state.map(|state| state.heads.clone()).unwrap_or_default()
    }

    /// The document, if it is in memory.
    pub(super) fn loaded_document(&self, segment: u32) -> Option<&Segment> {
        self.states
            .get(&segment)
            .and_then(|state| state.document.as_ref())
    }

    /// Notes when the messages of a segment were written.
    pub(super) fn date(&mut self, segment: u32) {
        if let Some(state) = self.states.get_mut(&segment)
            && let Some(document) = &state.document
        {
            let times = document.messages().map(|m| m.message.id.time());
            let mut times: Vec<HybridTime> = times.collect();
            times.sort_unstable();
            state.times = Some(times);
        }
    }

    /// Puts a document in the place of another that is not true any more, nor is its snapshot.
    pub(super) fn renew(&mut self, segment: u32, document: Segment, tail_bytes: usize) {
        self.insert(segment, document);
        if let Some(state) = self.states.get_mut(&segment) {
            state.tail_bytes = u64::try_from(tail_bytes).unwrap_or(u64::MAX);
            state.snapshot_bytes = 0;
        }
        self.writing.1 = self.writing.0;
    }

    /// Merges a batch into one document.
    pub(super) fn merge(
        &mut self,
        segment: u32,
        conversation: &ConversationId,
        batch: &[Incoming],
    ) -> Result<Vec<Outcome>, DocumentError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        match self.document(segment, conversation)? {
            Some(document) => Ok(document.merge(batch)),
            None => Ok(Vec::new()),
        }
    }

    pub(super) fn grew(&mut self, segment: u32, bytes: usize) {
        if let Some(state) = self.states.get_mut(&segment) {
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            state.tail_bytes = state.tail_bytes.saturating_add(bytes);
        }
    }

    /// Writes a segment's figures.
    pub(super) fn write(&mut self, segment: u32, conversation: ConversationId, stage: &mut Stage) {
        let Some(state) = self.states.get_mut(&segment) else {
            return;
        };
        if let Some(document) = &state.document {
            state.messages = document.message_count();
            state.heads = document.heads();
        }
        let record = SegmentRecord {
            conversation,
            segment,
            messages: state.messages,
            heads: state.heads.clone(),
            tail_bytes: state.tail_bytes,
            snapshot_bytes: state.snapshot_bytes,
        };
        stage.write(Write::put(
            Kind::Segment,
            &conversation.0,
            &segment.to_be_bytes(),
            &record,
        ));
    }

    /// Nothing is known of a segment any more.
    pub(super) fn forget(&mut self, segment: u32) {
        self.states.remove(&segment);
        self.writing.1 = self.writing.0;
    }

    /// Every segment with its messages and its heads as they were written down last.
    pub(super) fn all(&self) -> impl Iterator<Item = (u32, u32, &[[u8; 32]])> {
        let states = self.states.iter();
        states.map(|(segment, state)| (*segment, state.messages, state.heads.as_slice()))
    }

    /// There is such a segment here.
    pub(super) fn knows(&self, segment: u32) -> bool {
        self.states.contains_key(&segment)
    }

    /// The newest segments, the oldest of them first.
    pub(super) fn newest(&self, count: usize) -> Vec<u32> {
        let newest = self.states.keys().rev().take(count).copied();
        let mut newest: Vec<u32> = newest.collect();
        newest.reverse();
        newest
    }

    pub(super) fn indices(&self) -> impl Iterator<Item = u32> {
        self.states.keys().copied()
    }

    /// Messages that are listed here.
    pub(super) fn messages(&self) -> u64 {
        let listed = |state: &&State| {
            let gone = state.away.as_ref();
            gone.is_none_or(|gone| gone.why == Away::Damaged)
        };
        self.states
            .values()
            .filter(listed)
            .map(|state| u64::from(state.messages))
            .sum()
    }

    pub(super) fn heads(&self) -> Vec<(u32, Vec<[u8; 32]>)> {
        self.states
            .iter()
            .filter(|(_, state)| state.away.is_none())
            .map(|(segment, state)| (*segment, state.heads.clone()))
            .collect()
    }

    /// Documents in memory, the least recently used first.
    pub(super) fn loaded(&self) -> Vec<u32> {
        let mut loaded: Vec<(u64, u32)> = self
            .states
            .iter()
            .filter(|(_, state)| state.document.is_some())
            .map(|(segment, state)| (state.used, *segment))
            .collect();
        loaded.sort_unstable();
        loaded.into_iter().map(|(_, segment)| segment).collect()
    }

    /// Saves a document where a new snapshot is worth it; a save that does not load again is never
    /// kept, and the envelopes stay in any case.
    pub(super) fn snapshot(
        &mut self,
        segment: u32,
        tail_bytes_min: u64,
        covered: Vec<(u32, u64)>,
        conversation: ConversationId,
        stage: &mut Stage,
    ) {
        let Some(state) = self.states.get_mut(&segment) else {
            return;
        };
        let worth = state.tail_bytes > tail_bytes_min.max(state.snapshot_bytes / 2);
        if worth && !state.settled {
            self.save(segment, covered, conversation, stage);
        }
    }

    /// A segment's snapshot stays as it is from now on: what it was made from is gone.
    pub(super) fn settle(&mut self, segment: u32) {
        if let Some(state) = self.states.get_mut(&segment) {
            state.settled = true;
        }
    }

    /// Saves a document, unless its save would not load again; whether it is saved.
    pub(super) fn save(
        &mut self,
        segment: u32,
        covered: Vec<(u32, u64)>,
        conversation: ConversationId,
        stage: &mut Stage,
    ) -> bool {
        let Some(state) = self.states.get_mut(&segment) else {
            return false;
        };
        let Some(document) = state.document.as_ref() else {
            return false;
        };
        match document.save() {
            Ok(saved) => {
                state.tail_bytes = 0;
                state.snapshot_bytes = u64::try_from(saved.len()).unwrap_or(u64::MAX);
                let record = SnapshotRecord {
                    covered,
                    document: saved,
                };
                let order = segment.to_be_bytes();
                stage.write(Write::put(Kind::Snapshot, &conversation.0, &order, &record));
                self.write(segment, conversation, stage);
                true
            }
            Err(error) => {
                tracing::warn!(segment, %error, "snapshot does not load again; keeping the envelopes");
                false
            }
        }
    }

    /// Drops a document from memory.
    pub(super) fn drop_document(&mut self, segment: u32) {
        if let Some(state) = self.states.get_mut(&segment) {
            state.document = None;
        }
    }
}
