//! Where newcomers begin: cuts made here, and what a newcomer does without (docs/decisions/0009).

use std::collections::BTreeSet;

use sheaf_crypto::{Body, Dependency, DeviceId, Inner, ItemId, OperationId, RunId, item_of_record};

use super::inbound::{Source, Verdict};
use super::merge::decode_body;
use super::parked::Need;
use super::{ContentBody, Conversation, Work};
use crate::command::CommandError;
use crate::context::Context;
use crate::control::{Standing, View};
use crate::limits;

impl Conversation {
    /// Cuts the history at the person's wish: what is written from here on opens nothing before it.
    pub(crate) fn cut(&mut self, context: &mut Context<'_>) -> Result<(), CommandError> {
        if !self.is_part(context) {
            return Err(CommandError::NotAllowed);
        }
        self.write_cut(context)?;
        self.rekey(context)?;
        Ok(())
    }

    /// Cuts the history and lets what lies before it be forgotten, in one batch.
    pub(crate) fn cut_and_forget(&mut self, context: &mut Context<'_>) -> Result<(), CommandError> {
        self.cut(context)?;
        let view = self.control.current();
        let segment = view.highest_cut();
        let Some(cut) = view.cut_of(segment) else {
            return Err(CommandError::NotAllowed);
        };
        self.write_operation(Body::Forget { cut }, context)
    }

    /// Opens a window of segments, by chance one of those above the last.
    pub(super) fn write_cut(&mut self, context: &mut Context<'_>) -> Result<(), CommandError> {
        let mut chance = [0; 4];
        context.rng.fill_bytes(&mut chance);
        let step = u32::from_be_bytes(chance)
            .checked_rem(limits::CUT_WINDOWS_MAX)
            .unwrap_or(0)
            .saturating_add(1);
        let above = step.saturating_mul(limits::WINDOW_SEGMENTS);
        let body = Body::Cut {
            snapshot: [0; 32],
            segment: self.control.current().highest_cut().saturating_add(above),
            heads: Vec::new(),
            frontier: Vec::new(),
        };
        self.write_operation(body, context)
    }

    /// Makes one more cut where several were made at once, so that what is written next is for
    /// everybody.
    pub(super) fn mend_window(&mut self, context: &mut Context<'_>) -> Result<(), CommandError> {
        let window = self.control.current().window;
        if !window.divided || window.unfinished || !self.is_part(context) {
            return Ok(());
        }
        self.write_cut(context)?;
        self.rekey(context)?;
        Ok(())
    }

    /// The cuts that this device learned of since its last content in a chain, as items that it has
    /// seen. Who begins at one of them begins that chain at the item that names it. An earlier run
    /// may go on beside a later one: what one of them names the other names as well.
    pub(super) fn new_cuts(&self, (device, run): (&DeviceId, &RunId)) -> Vec<Dependency> {
        let known = self.chains.cuts(device, run);
        let new = self.control.cuts_after(&known).into_iter().rev();
        let named = new
            .take(limits::CUTS_NAMED_MAX)
            .map(|(id, operation)| Dependency {
                device: operation.author,
                run: operation.run,
                seq: operation.seq,
                item: ItemId::from(id),
            });
        named.collect()
    }

    /// An item of this device is sealed under an epoch from after every cut that is known here.
    pub(super) fn knew_cuts(&mut self, inner: &Inner, context: &mut Context<'_>) {
        let view = std::sync::Arc::clone(self.control.current());
        if !view.cuts.is_empty() {
            let cuts = self.control.last_cuts(&view);
            self.chains.knew(&inner.device, &inner.run, cuts);
            self.write_chain(inner.device, inner.run, context);
        }
    }

    /// How many of the items seen were written by somebody who knew the cut of a segment's window:
    /// they come first.
    pub(super) fn sort_seen(&self, segment: u32, seen: &mut [Dependency]) -> u16 {
        let knew = |seen: &Dependency| {
            let chain = self.chains.get(&seen.device, &seen.run);
            chain.is_some_and(|chain| self.control.knew_window(&chain.cuts, segment))
        };
        seen.sort_by_key(|dependency| !knew(dependency));
        let count = seen.iter().filter(|dependency| knew(dependency)).count();
        u16::try_from(count).unwrap_or(u16::MAX)
    }

    /// Whether content is kept for the segment that it names, and its author could write there.
    pub(super) fn has_segment(&mut self, inner: &Inner, segment: u32) -> bool {
        let named = decode_body(inner).is_ok_and(|body| body.segment == segment);
        let view = self.control.view(&inner.control_heads);
        named && view.is_some_and(|view| view.has_segment(segment))
    }

    /// This device does not read from the first item on.
    pub(super) fn is_newcomer(&self, context: &Context<'_>) -> bool {
        self.control.is_newcomer(&context.reader())
    }

    /// Chains may begin here at a later item than their first.
    pub(super) fn begins_within(&self, context: &Context<'_>) -> bool {
        self.is_newcomer(context) || self.forgotten.cuts().next().is_some()
    }

    /// An item begins its device's chain here: it is the first of those that this device may read. Its
    /// author knew all cuts of a beginning, and did not before the ones that the item names as new.
    pub(super) fn begins_chain(&self, inner: &Inner, view: &View, context: &Context<'_>) -> bool {
        let beginnings = self.control.beginnings(&context.reader());
        let knows = |cut: &OperationId| view.cuts.contains_key(cut);
        let named = |cut: &OperationId| {
            let mut named = inner.dependencies.iter();
            named.any(|seen| seen.item.0 == cut.0)
        };
        let mut begun = beginnings
            .iter()
            .filter(|cuts| cuts.iter().all(knows))
            .peekable();
        let knew = |cuts: &BTreeSet<OperationId>| !cuts.iter().any(named);
        // Of what somebody wrote who was taken out then, or was taken in again after a cut that was
        // forgotten, what came before that cut and is not here never will.
        let out = self.wrote_before_ending(inner);
        let chain = self.chains.get(&inner.device, &inner.run);
        let anew = chain.is_none_or(|chain| chain.incarnation != inner.incarnation);
        let after = |cut: &OperationId| out || anew && self.control.saw(&inner.incarnation, cut);
        let forgot = |cut: &OperationId| after(cut) && knows(cut) && named(cut);
        self.forgotten.cuts().any(forgot) || begun.peek().is_some() && !begun.any(knew)
    }

    /// The grant that an item was written under has ended, whether or not its author is back.
    fn wrote_before_ending(&self, inner: &Inner) -> bool {
        let view = self.control.current();
        let standing = view.standing(&inner.device, &inner.incarnation);
        matches!(standing, Standing::Ended(_))
    }

    /// An item's author did not know that this device's user begins: what comes before it never will.
    pub(super) fn is_before_beginning(&self, view: &View, context: &Context<'_>) -> bool {
        let beginnings = self.control.beginnings(&context.reader());
        let knows = |cut: &OperationId| view.cuts.contains_key(cut);
        let mut begun = beginnings.iter().filter(|cuts| cuts.iter().all(knows));
        !beginnings.is_empty() && begun.next().is_none()
    }

    /// Something that has to come before an item. A newcomer waits for what documents are built on
    /// that he can read in full; of the rest he cannot tell whether it will ever come.
    pub(super) fn unmet(
        &self,
        inner: &Inner,
        body: Option<&ContentBody>,
        view: &View,
        context: &Context<'_>,
    ) -> Option<Dependency> {
        let missing = |seen: &&Dependency| !self.chains.satisfies(seen);
        inner.dependencies.iter().find(missing)?;
        let mut unmet = self.read_by(inner).filter(missing).peekable();
        unmet.peek()?;
        // Nor can it be told of what somebody wrote before he was taken out, where something was forgotten
        // since: he may name what only a secret opens that is gone.
        let forgot = self.forgotten.cuts().next().is_some();
        let begins = self.is_newcomer(context) || forgot && self.wrote_before_ending(inner);
        if !begins {
            return unmet.next().copied();
        }
        let own = context.reader();
        let body = body.filter(|body| self.control.is_visible(view, &own, body.segment))?;
        let built_on = inner.dependencies.iter().take(usize::from(body.built_on));
        let mut missing = built_on.filter(|seen| {
            !self.chains.satisfies(seen) && !self.control.contains(&OperationId(seen.item.0))
        });
        missing.next().copied()
    }

    /// Nothing that has to come before an item is missing.
    pub(super) fn ready(
        &self,
        inner: &Inner,
        body: Option<&ContentBody>,
        view: &View,
        context: &Context<'_>,
    ) -> Result<(), Verdict> {
        match self.unmet(inner, body, view, context) {
            Some(unmet) => Err(Verdict::Park(Need::Dependency(unmet))),
            None => Ok(()),
        }
    }

    /// Content of a time that this device's user does not read: its place is taken, and what comes
    /// after it goes on.
    pub(super) fn pass_over(
        &mut self,
        source: Source,
        wire: &[u8],
        (inner, item): (&Inner, ItemId),
        view: &View,
        context: &mut Context<'_>,
    ) -> Verdict {
        self.accept_written(inner, item, view, context);
        self.epochs.count(&source.epoch);
        self.keep_aside(inner, source.epoch, wire.to_vec(), context);
        if self.is_withheld(inner) {
            self.withhold(inner, limits::ASIDE, context);
        } else {
            self.vouched(inner, context);
        }
        self.work.push_back(Work::Retry);
        Verdict::Done
    }

    /// An item that only names what its author has seen.
    pub(super) fn examine_checkpoint(
        &mut self,
        source: Source,
        wire: &[u8],
        inner: Inner,
        view: &View,
        context: &mut Context<'_>,
    ) -> Verdict {
        let item = item_of_record(wire);
        if let Err(verdict) = self.placed(&inner, item, wire, source, (None, view), context) {
            return verdict;
        }
        self.accept_written(&inner, item, view, context);
        self.epochs.count(&source.epoch);
        self.keep_aside(&inner, source.epoch, wire.to_vec(), context);
        self.take_announcement(&inner, context);
        self.heed_statements(&inner, context);
        if self.is_withheld(&inner) {
            self.withhold(&inner, limits::ASIDE, context);
        } else {
            self.note_told(&inner, source.epoch, wire, context);
            self.vouched(&inner, context);
        }
        self.work.push_back(Work::Retry);
        Verdict::Compare(Box::new(inner))
    }

    /// An item is part of its chain, sealed under an epoch from after every cut that its author knew.
    pub(super) fn accept_written(
        &mut self,
        inner: &Inner,
        item: ItemId,
        view: &View,
        context: &mut Context<'_>,
    ) {
        self.accept_item(inner, item, context);
        if !view.cuts.is_empty() {
            let cuts = self.control.last_cuts(view);
            self.chains.knew(&inner.device, &inner.run, cuts);
            self.write_chain(inner.device, inner.run, context);
        }
    }
}
