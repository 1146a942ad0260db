//! Forgetting the secrets of before a cut (docs/decisions/0020-forgetting.md).
//!
//! Nothing is let go of that somebody may still need: every device that takes part has acknowledged
//! the statement, has everything that is here and gave everything that it has. Then each document
//! that was built from envelopes of before the cut is saved, and after that the secrets go, with
//! everything that only they open.

mod erase;
mod late;

use std::collections::{BTreeMap, BTreeSet};

use sheaf_crypto::{DeviceId, EpochId, Inner, OperationId};

use super::Conversation;
use super::segments::Loading;
use crate::command::{ForgettingInfo, PeerInfo};
use crate::context::Context;
use crate::control::{Forgetting, Standing};
use crate::limits;
use crate::record::{ForgottenRecord, Kind, Write};

/// What was forgotten, and what is about to be.
#[derive(Default)]
pub(super) struct Forgotten {
    /// Cuts before which no secret is held any more, or ever was to be.
    cuts: BTreeSet<OperationId>,
    /// Segments whose documents cannot be built from envelopes any more.
    segments: BTreeSet<u32>,
    /// By chain index: the last item whose envelope was erased.
    upto: BTreeMap<u32, u64>,
    /// That something came late was said.
    noticed: bool,
    underway: Option<Underway>,
    /// A document did not save: nothing is forgotten before the program starts again.
    failed: bool,
}

impl Forgotten {
    pub(super) fn cuts(&self) -> impl Iterator<Item = &OperationId> {
        self.cuts.iter()
    }

    /// A segment's document is here, or nowhere.
    pub(super) fn holds(&self, segment: u32) -> bool {
        self.segments.contains(&segment)
    }
}

/// Forgetting that is under way.
struct Underway {
    cut: OperationId,
    /// Envelopes that were taken in under what is to be forgotten: none comes in between.
    envelopes: u64,
    /// Segments that are still to be looked through.
    left: Vec<u32>,
    /// Envelopes to erase, as the store orders them.
    orders: Vec<Vec<u8>>,
    /// Segments that some of them are of.
    segments: BTreeSet<u32>,
}

impl Conversation {
    pub(super) fn restore_forgotten(&mut self, record: Option<ForgottenRecord>) {
        let Some(record) = record else {
            return;
        };
        self.forgotten = Forgotten {
            cuts: record.cuts.into_iter().collect(),
            segments: record.segments.into_iter().collect(),
            upto: record.upto.into_iter().collect(),
            noticed: record.noticed,
            ..Forgotten::default()
        };
        for segment in &self.forgotten.segments {
            self.segments.settle(*segment);
        }
    }

    fn write_forgotten(&self, context: &mut Context<'_>) {
        let known = &self.forgotten;
        let record = ForgottenRecord {
            conversation: self.id,
            cuts: known.cuts.iter().copied().collect(),
            segments: known.segments.iter().copied().collect(),
            upto: known
                .upto
                .iter()
                .map(|(chain, seq)| (*chain, *seq))
                .collect(),
            noticed: known.noticed,
        };
        let write = Write::put(Kind::Forgotten, &self.id.0, &[], &record);
        context.stage.write_last(write);
    }

    /// What is still to be forgotten here: statements and cuts.
    fn due_to_forget(&self) -> Vec<(OperationId, Forgetting)> {
        if self.control.current().forgets.is_empty() {
            return Vec::new();
        }
        let all = self.control.forgettings().into_iter();
        all.filter(|(_, known)| !self.has_forgotten_before(&known.cut))
            .collect()
    }

    /// What lies before a cut is forgotten here.
    fn has_forgotten_before(&self, cut: &OperationId) -> bool {
        let mut done = self.forgotten.cuts.iter();
        done.any(|done| self.control.saw(done, cut))
    }

    /// Goes on with what is to be forgotten, as soon as nobody needs it any more.
    pub(super) fn forget(&mut self, context: &mut Context<'_>) {
        if self.control.current().forgets.is_empty() || self.forgotten.failed || self.is_busy() {
            return;
        }
        self.never_had(context);
        let due = self.due_to_forget();
        let ready = due
            .iter()
            .find(|(id, known)| self.may_forget(id, known, context));
        let Some(cut) = ready.map(|(_, known)| known.cut) else {
            self.forgotten.underway = None;
            return;
        };
        let envelopes = self.envelopes_before(&cut);
        let same = |under: &Underway| under.cut == cut && under.envelopes == envelopes;
        if !self.forgotten.underway.as_ref().is_some_and(same) {
            self.forgotten.underway = Some(Underway {
                cut,
                envelopes,
                left: self.with_envelopes().into_iter().collect(),
                orders: Vec::new(),
                segments: BTreeSet::new(),
            });
        }
        self.look_through(context);
    }

    /// Segments that envelopes are kept under. Of one there may be nothing but what is kept back,
    /// and what was refused is kept with the first.
    fn with_envelopes(&self) -> BTreeSet<u32> {
        let kept_back = self.kept_back().map(|(_, record)| record.segment);
        let known = self.segments.indices().chain(kept_back);
        known.chain([0, limits::ASIDE]).collect()
    }

    /// A device that came in after a statement was never to have what lies before the cut.
    fn never_had(&mut self, context: &mut Context<'_>) {
        let (view, own) = (self.control.current(), context.reader());
        let may = |cut: &OperationId| {
            let mut before = view
                .epochs
                .keys()
                .filter(|e| self.control.is_before(e, cut));
            before.any(|e| self.epochs.holds(e) || self.control.is_entitled(view, &own, e))
        };
        let due = self.due_to_forget().into_iter().map(|(_, known)| known.cut);
        let never: Vec<OperationId> = due.filter(|cut| !may(cut)).collect();
        if !never.is_empty() && self.is_part(context) {
            self.forgotten.cuts.extend(never);
            self.write_forgotten(context);
        }
    }

    /// Reads the next segment of which something may have to go.
    fn look_through(&mut self, context: &mut Context<'_>) {
        let next = self
            .forgotten
            .underway
            .as_ref()
            .map(|u| u.left.last().copied());
        match next {
            None => {}
            Some(None) => self.erase(context),
            Some(Some(segment)) if segment != limits::ASIDE && !self.segments.is_ready(segment) => {
                self.load(segment, context);
            }
            Some(Some(segment)) => {
                let load = context.stage.load(vec![self.all_of(segment)]);
                self.segments.loading = Some(Loading::Forget(load, segment));
            }
        }
    }

    /// Whether nobody needs what lies before a cut any more.
    fn may_forget(
        &self,
        statement: &OperationId,
        known: &Forgetting,
        context: &Context<'_>,
    ) -> bool {
        let before = self.epochs.iter();
        let before = before.filter(|(epoch, _)| self.control.is_before(epoch, &known.cut));
        let mut topics = before.map(|(_, held)| held.keys.topic());
        self.is_part(context)
            && self.pending.is_empty()
            && !self.is_waiting()
            && !self.disputed()
            && !self.holds_back()
            && !self.is_starting()
            && !self.is_fetching()
            && context.topics.conversation_live(&self.id)
            && !topics.any(|topic| context.outbox.is_unsettled(&topic))
            && self.awaited(statement, context.account.device()).is_empty()
    }

    /// A fork is known: judging it takes every envelope.
    fn disputed(&self) -> bool {
        self.chains.forked().next().is_some() || !self.control.current().proved.is_empty()
    }

    /// Something is kept back that may count one day. What the removed wrote and nobody who takes
    /// part vouches for will not, once all of them have acknowledged everything; but who was brought
    /// back vouches for it with the next that he writes.
    fn holds_back(&self) -> bool {
        let view = self.control.current();
        self.kept_back().any(|(_, record)| {
            let standing = view.standing(&record.device, &record.incarnation);
            !matches!(standing, Standing::Ended(_)) || view.device(&record.device).is_some()
        })
    }

    /// Devices that are waited for: they have not shown to know the statement and who is out, or lack
    /// something, or have other documents.
    fn awaited(&self, statement: &OperationId, own: DeviceId) -> Vec<DeviceId> {
        let view = self.control.current();
        let others = view.devices().map(|(device, _)| *device);
        let others = others.filter(|device| *device != own);
        // What somebody took in of who is out before he knew it, he names where he shows to know it.
        let knows = |d: &DeviceId, id: &OperationId| {
            let entry = self.control.entry(id);
            entry.is_some_and(|entry| entry.operation.author == *d) || self.has_shown(d, id)
        };
        let ended = &view.removals;
        let shown = |d: &DeviceId| knows(d, statement) && ended.iter().all(|id| knows(d, id));
        let mut awaited: Vec<DeviceId> = others.filter(|device| !shown(device)).collect();
        let behind = self.peers(own).into_iter();
        let behind = behind.filter(|peer| !peer.has_everything());
        awaited.extend(behind.map(|peer: PeerInfo| peer.device));
        awaited.sort_unstable();
        awaited.dedup();
        awaited
    }

    /// What is still to be forgotten here, and what that waits for.
    pub(super) fn forgetting(&self, own: DeviceId) -> Option<ForgettingInfo> {
        let due = self.due_to_forget();
        let vain = self.control.forgotten_in_vain();
        let shared = vain.iter().any(|cut| !self.has_forgotten_before(cut));
        if due.is_empty() && !shared {
            return None;
        }
        let devices = due.iter();
        let devices = devices.flat_map(|(statement, _)| self.awaited(statement, own));
        let devices: BTreeSet<DeviceId> = devices.collect();
        Some(ForgettingInfo {
            devices: devices.into_iter().collect(),
            disputed: self.disputed(),
            kept_back: self.holds_back(),
            shared,
        })
    }

    fn envelopes_before(&self, cut: &OperationId) -> u64 {
        let held = self.epochs.iter();
        let held = held.filter(|(epoch, _)| self.control.is_before(epoch, cut));
        held.fold(0, |sum, (_, held)| held.envelopes.saturating_add(sum))
    }

    /// An epoch's secret is not held any more, and never will be again.
    pub(super) fn has_forgotten(&self, epoch: &EpochId) -> bool {
        let mut cuts = self.forgotten.cuts.iter();
        cuts.any(|cut| self.control.is_before(epoch, cut))
    }

    /// Whether what was kept at an item's place may have been erased.
    pub(super) fn is_erased(&self, inner: &Inner) -> bool {
        let chain = self.chains.get(&inner.device, &inner.run);
        chain.is_some_and(|chain| self.was_erased((chain.index, inner.seq)))
    }

    /// The same of a place in a chain.
    pub(super) fn was_erased(&self, (chain, seq): (u32, u64)) -> bool {
        self.forgotten.upto.get(&chain) >= Some(&seq)
    }
}
