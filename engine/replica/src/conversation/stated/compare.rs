//! Comparing what somebody stated with what is here.

use std::collections::{BTreeMap, BTreeSet};

use sheaf_crypto::{DeviceId, Inner, ItemId};

use super::super::merge::{decode_content, envelope_order};
use super::super::segments::Loading;
use super::super::{Conversation, Work};
use super::{NewStatement, Statement};
use crate::context::Context;
use crate::document::change_hash;
use crate::misbehaviour::{Act, Suspect};
use crate::record::{self, Compared, EnvelopeRecord, Kind, Range, RecordError, Row, Sealed};

/// A statement on its way through the documents.
pub(in crate::conversation) struct Comparing {
    item: ItemId,
    by: DeviceId,
    /// By chain index: the last item of the frontier.
    frontier: BTreeMap<u32, u64>,
    /// Heads of the documents that are still to be compared.
    documents: BTreeMap<u32, Vec<[u8; 32]>>,
    /// Changes of the one whose envelopes are asked for that do not follow from the stated heads.
    beyond: BTreeSet<[u8; 32]>,
}

/// What a comparison came to.
#[derive(Clone, Copy)]
enum Found {
    Same,
    Different(&'static str),
    /// What is here does not tell.
    Untold,
}

impl Conversation {
    /// A snapshot of another device came.
    pub(in crate::conversation) fn stated(&mut self, new: NewStatement, context: &mut Context<'_>) {
        let by = new.inner.device;
        if self.stated.get(&new.item).is_some() {
            return;
        }
        let Some(statement) = Statement::decode(&new.inner.body) else {
            return self.is_false(by, "it does not decode", context);
        };
        let made = Sealed {
            device: by,
            epoch: new.epoch,
            wire: new.wire,
        };
        let compared = match self.compare_frontier(&new.inner, &statement) {
            Found::Same => Compared::Frontier,
            Found::Untold => Compared::Never,
            Found::Different(why) => {
                self.is_false(by, why, context);
                Compared::False
            }
        };
        self.remember_statement(&statement, made, compared, context);
        if compared == Compared::Frontier {
            self.compare_statement(new.item);
        }
    }

    /// Goes on with the newest one that was being compared.
    pub(in crate::conversation) fn compare_again(&mut self) {
        let newest = self.stated.known.iter().next_back();
        let newest = newest.filter(|newest| newest.compared == Compared::Frontier);
        if let Some(item) = newest.map(|newest| newest.item) {
            self.compare_statement(item);
        }
    }

    fn compare_statement(&mut self, item: ItemId) {
        let opened = self
            .stated
            .get(&item)
            .and_then(|known| self.stated_by(known));
        let Some((inner, statement)) = opened else {
            return;
        };
        let chains = statement.chains.iter();
        let frontier = chains.filter_map(|stated| {
            let chain = self.chains.get(&stated.device, &stated.run)?;
            Some((chain.index, stated.seq))
        });
        let stated = statement.segments.iter();
        let mut documents: BTreeMap<u32, Vec<[u8; 32]>> =
            stated.map(|s| (s.segment, s.heads.clone())).collect();
        for segment in self.segments.indices() {
            documents.entry(segment).or_default();
        }
        let comparing = Comparing {
            item,
            by: inner.device,
            frontier: frontier.collect(),
            documents,
            beyond: BTreeSet::new(),
        };
        self.work.push_back(Work::Compare(Box::new(comparing)));
    }

    fn is_false(&mut self, by: DeviceId, why: &str, context: &mut Context<'_>) {
        let act = Act::FalseSnapshot(why.to_owned());
        context
            .stage
            .report(Suspect::Device(by), act, Some(self.id));
    }

    /// A frontier is what its maker has named as seen, and its own items before it.
    fn compare_frontier(&self, inner: &Inner, statement: &Statement) -> Found {
        if !self.is_plain() || !self.holds_what_it_has() {
            return Found::Untold;
        }
        let mut untold = false;
        for stated in &statement.chains {
            let Some(chain) = self.chains.get(&stated.device, &stated.run) else {
                return Found::Different("it names a chain that its maker has not seen");
            };
            let own = (stated.device, stated.run) == (inner.device, inner.run);
            let (upto, item) = match (own, inner.seq.checked_sub(1)) {
                (true, Some(before)) => (before, inner.previous),
                (true, None) => return Found::Different("it is the first item of its chain"),
                (false, _) => (
                    self.has_seen(&inner.device, chain.index),
                    self.chains.item(&stated.device, &stated.run, stated.seq),
                ),
            };
            if stated.seq > upto || stated.seq > chain.head {
                return Found::Different("it names items that its maker has not seen");
            }
            if stated.first > chain.first {
                return Found::Different("it begins a chain later than that begins");
            }
            untold |= stated.seq < upto || item.is_none();
            if !untold && item != Some(stated.item) {
                return Found::Different("it names another item than stands there");
            }
        }
        // A chain that is left out makes a gap at a newcomer, which is asked for.
        let named = |(device, run): &(DeviceId, sheaf_crypto::RunId)| {
            let mut chains = statement.chains.iter();
            chains.any(|stated| (stated.device, stated.run) == (*device, *run))
        };
        let mut chains = self.chains.iter();
        untold |= chains
            .any(|(name, chain)| !named(name) && self.has_seen(&inner.device, chain.index) > 0);
        if untold { Found::Untold } else { Found::Same }
    }

    /// Every document was held here in full at some time.
    fn holds_what_it_has(&self) -> bool {
        let mut away = self.segments.away();
        away.all(|(_, gone)| gone.why == record::Away::Dropped)
    }

    /// Compares documents until one has to be read first, or all are done.
    pub(in crate::conversation) fn compare_documents(
        &mut self,
        mut comparing: Box<Comparing>,
        context: &mut Context<'_>,
    ) -> Option<Work> {
        while let Some((segment, heads)) = comparing.documents.first_key_value() {
            let (segment, heads) = (*segment, heads.clone());
            if self.segments.recorded(segment) == heads {
                comparing.documents.pop_first();
                continue;
            }
            if self.segments.is_away(segment) {
                self.conclude_comparing(&comparing, Found::Untold, context);
                return None;
            }
            if !self.segments.knows(segment) {
                let why = "it states a document that there is not";
                self.conclude_comparing(&comparing, Found::Different(why), context);
                return None;
            }
            if !self.segments.is_ready(segment) {
                self.load(segment, context);
                return Some(Work::Compare(comparing));
            }
            match self.beyond(segment, &heads) {
                Ok(beyond) => comparing.beyond = beyond,
                Err(found) => {
                    self.conclude_comparing(&comparing, found, context);
                    return None;
                }
            }
            let ranges = comparing.frontier.iter().map(|(chain, seq)| Range {
                kind: Kind::Envelope,
                scope: self.id.0.to_vec(),
                from: envelope_order(segment, *chain, 0).to_vec(),
                to: envelope_order(segment, *chain, *seq).to_vec(),
            });
            let load = context.stage.load(ranges.collect());
            self.segments.loading = Some(Loading::Compare(load, comparing));
            return None;
        }
        self.conclude_comparing(&comparing, Found::Same, context);
        None
    }

    /// Changes of a document that do not follow from some heads.
    fn beyond(&mut self, segment: u32, heads: &[[u8; 32]]) -> Result<BTreeSet<[u8; 32]>, Found> {
        let Some(document) = self.segments.loaded_document(segment) else {
            return Err(Found::Untold);
        };
        if !heads.iter().all(|head| document.contains_change(head)) {
            return Err(Found::Different("it states heads that there are not"));
        }
        let hashes = |heads: &[[u8; 32]]| -> BTreeSet<[u8; 32]> {
            let changes = document.changes_after(heads);
            changes.iter().filter_map(|c| change_hash(c)).collect()
        };
        for head in heads.iter().filter(|_| heads.len() > 1) {
            let others = heads.iter().filter(|other| *other != head).copied();
            if !hashes(&others.collect::<Vec<_>>()).contains(head) {
                return Err(Found::Different(
                    "it states heads that follow from each other",
                ));
            }
        }
        let mut beyond = hashes(heads);
        if heads.is_empty() {
            // The first change of a document is in no envelope.
            let first = crate::document::Segment::genesis(&self.id.0, segment);
            for head in first.map(|first| first.heads()).unwrap_or_default() {
                beyond.remove(&head);
            }
        }
        if beyond.is_empty() && !heads.is_empty() {
            return Err(Found::Different("it states other heads than there are"));
        }
        Ok(beyond)
    }

    /// The envelopes of a document that has moved on are read: none of the frontier may hold what
    /// does not follow from the stated heads.
    pub(in crate::conversation) fn compared_with(
        &mut self,
        mut comparing: Comparing,
        rows: &[Row],
        context: &mut Context<'_>,
    ) -> Result<(), RecordError> {
        for row in rows {
            let envelope: EnvelopeRecord = record::decode(row.kind, &row.value)?;
            let inner = self.reopened(&envelope).filter(|_| !envelope.refused);
            let content = inner.and_then(|inner| decode_content(&inner, &self.id).ok());
            let mut held = content.iter().flat_map(|(_, changes)| changes);
            let lacking = held.any(|change| {
                change_hash(change).is_some_and(|hash| comparing.beyond.contains(&hash))
            });
            if lacking {
                let why = "its heads lack what its frontier holds";
                self.conclude_comparing(&comparing, Found::Different(why), context);
                return Ok(());
            }
        }
        comparing.documents.pop_first();
        comparing.beyond.clear();
        self.work.push_front(Work::Compare(Box::new(comparing)));
        Ok(())
    }

    fn conclude_comparing(
        &mut self,
        comparing: &Comparing,
        found: Found,
        context: &mut Context<'_>,
    ) {
        let compared = match found {
            // What came or was taken out meanwhile may be why.
            _ if !self.is_plain() || !self.holds_what_it_has() => Compared::Never,
            Found::Same => Compared::Right,
            Found::Untold => Compared::Never,
            Found::Different(why) => {
                self.is_false(comparing.by, why, context);
                Compared::False
            }
        };
        let change = |known: &mut record::StatedRecord| known.compared = compared;
        self.edit_stated(&comparing.item, change, context);
    }
}
