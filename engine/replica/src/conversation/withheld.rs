//! Which content of devices that were removed, frozen or quarantined counts (research/keys.md 2.4).
//!
//! Content up to the frontier of a removal counts, and later content only where somebody vouches for
//! it: another member whose item names it as seen, or its author, once he may write again. What does
//! not count is part of its chain and kept, but not of the document; it is applied when somebody
//! vouches, or when the freeze or the quarantine is lifted. So nothing that an honest device has
//! applied is ever taken back, and all devices come to the same documents. An item that is part of no
//! document is kept back like content: its author's chain is not named as seen beyond what counts.

mod release;

use std::collections::BTreeMap;

use sheaf_crypto::{DeviceId, Inner, ItemId, Kind as Purpose, OperationId, RunId, item_of_record};
use sheaf_protocol::{Class, hash_record};

use super::Conversation;
use super::parked::{Author, Waiting};
use crate::command::CommandError;
use crate::context::Context;
use crate::control::Standing;
use crate::epoch::Choice;
use crate::limits;
use crate::outbox::Outgoing;
use crate::record::{Kind, WithheldRecord, Write};

/// Chain index and sequence of what is kept and not applied.
pub(super) type Withheld = BTreeMap<(u32, u64), WithheldRecord>;

impl Conversation {
    /// Whether an item is kept back: its author is out, frozen or quarantined.
    pub(super) fn is_withheld(&self, inner: &Inner) -> bool {
        self.keeps_back(&inner.device, &inner.run, inner.seq, &inner.incarnation)
    }

    fn keeps_back(
        &self,
        device: &DeviceId,
        run: &RunId,
        seq: u64,
        incarnation: &OperationId,
    ) -> bool {
        if self.forks.is_broken(device, run, seq) {
            return true;
        }
        self.stands_back(device, run, seq, incarnation)
    }

    /// The same for an item that is not on a losing side of a fork.
    pub(super) fn stands_back(
        &self,
        device: &DeviceId,
        run: &RunId,
        seq: u64,
        incarnation: &OperationId,
    ) -> bool {
        // What somebody builds on who is heard cannot wait: what he writes would be lost.
        let vouched = self.vouched_to(device, run);
        let standing = self.control.current().standing(device, incarnation);
        // Of a device that is shown to fork all devices take in the same, quarantine or not.
        let proved = matches!(standing, Standing::Forked(_));
        if self.chains.is_quarantined(device) && !proved && seq > vouched {
            return true;
        }
        match standing {
            Standing::Live => false,
            Standing::Frozen => seq > vouched,
            Standing::Forked(place) => seq > place.max(vouched),
            Standing::Ended(removals) => {
                let frontier = self.control.frontier(&removals, device, run);
                seq > frontier.max(vouched)
            }
        }
    }

    fn vouched_to(&self, device: &DeviceId, run: &RunId) -> u64 {
        let vouched = self.chains.vouched(device, run);
        vouched.max(self.forks.vouched(device, run))
    }

    /// The last item to be named of a run that ends with what its author wrote while he did not know
    /// that he was out. He may write again, and where the log holds a statement that lets keys be
    /// forgotten he names the rest no longer: who has forgotten could never read it, and would wait for it
    /// for ever. Nor does any device that was brought in after the statement, whoever vouches for it,
    /// unless the author knew the cut: there a chain can begin.
    pub(super) fn fell_out(
        &self,
        own: &DeviceId,
        (device, run): (&DeviceId, &RunId),
    ) -> Option<u64> {
        let view = self.control.current();
        if view.forgets.is_empty() {
            return None;
        }
        let chain = self.chains.get(device, run)?;
        let Standing::Ended(removals) = view.standing(device, &chain.incarnation) else {
            return None;
        };
        let frontier = self.control.frontier(&removals, device, run);
        let last = match self.control.begins_after(own, &chain.cuts) {
            true => frontier,
            false if device == own => frontier.max(self.vouched_to(device, run)),
            false => return None,
        };
        (chain.head > last).then_some(last)
    }

    /// What waits here and would count. Of who is out, a part of his chain may never come: it is sealed
    /// under an epoch that he drew after he had been removed, say. Nobody waits for what he wrote after
    /// it and what would be kept back; once somebody vouches for it, he can give what is before it.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        let parked = self.parked.iter().map(|(_, waiting)| waiting);
        parked.filter(|waiting| self.would_count(waiting))
    }

    /// Whether there is any. It is asked often: of what lies beyond a chain's head all counts or nothing.
    pub(super) fn is_waiting(&self) -> bool {
        let mut claims = self.parked.claims();
        self.parked.has_unclaimed()
            || self.wanted().next().is_some()
            || claims.any(|((device, run, incarnation), places)| {
                let next = self.next_of(device);
                let counts = |seq: u64| !self.stands_back(device, run, seq, incarnation);
                let mut taken = places.range(..next).map(|(seq, _)| *seq);
                taken.any(counts) || (places.range(next..).next().is_some() && counts(next))
            })
    }

    /// The place after the last one of a device.
    fn next_of(&self, device: &DeviceId) -> u64 {
        let newest = self.chains.newest_of(device);
        newest.map_or(1, |(seq, _)| seq.saturating_add(1))
    }

    fn would_count(&self, waiting: &Waiting) -> bool {
        waiting.author.as_ref().is_none_or(|author| {
            let Author { device, run, .. } = author;
            let missing = self.next_of(device).min(author.seq);
            !self.stands_back(device, run, missing, &author.incarnation)
        })
    }

    /// Whether nothing more can wait. What would not count makes room; it is asked for again where
    /// somebody vouches for it.
    pub(super) fn is_full(&mut self, context: &mut Context<'_>) -> bool {
        if self.parked.is_full() {
            let parked = self.parked.iter();
            let aside = parked.filter(|(_, waiting)| !self.would_count(waiting));
            let aside: Vec<u64> = aside.map(|(number, _)| number).collect();
            for number in aside {
                self.parked.take(number, self.id, context.stage);
            }
        }
        self.parked.is_full()
    }

    /// Remembers what was kept back, so that it can be applied later: content of a segment, or an item
    /// that is part of no document here.
    pub(super) fn withhold(&mut self, inner: &Inner, segment: u32, context: &mut Context<'_>) {
        let Some(chain) = self.chains.get(&inner.device, &inner.run) else {
            return;
        };
        // Beyond the bound it stays in its chain and in the store; a resync brings it back. There is
        // room for content, whatever else is kept back.
        let aside = segment == limits::ASIDE;
        let kept = self.withheld.values();
        let kept = kept.filter(|kept| (kept.segment == limits::ASIDE) == aside);
        let room = match aside {
            true => limits::WITHHELD_ITEMS_MAX - limits::QUARANTINED_ITEMS_MAX,
            false => limits::WITHHELD_ITEMS_MAX,
        };
        if kept.count() >= room {
            return;
        }
        let place = (chain.index, inner.seq);
        let record = WithheldRecord {
            conversation: self.id,
            device: inner.device,
            run: inner.run,
            seq: inner.seq,
            previous: inner.previous,
            segment,
            incarnation: inner.incarnation,
            arrival: self
                .withheld
                .values()
                .map(|r| r.arrival)
                .max()
                .map_or(0, |last| last.saturating_add(1)),
        };
        let write = Write::put(Kind::Withheld, &self.id.0, &order(place), &record);
        context.stage.write(write);
        self.withheld.insert(place, record);
    }

    /// Content that is kept back and still here.
    pub(super) fn kept_back(&self) -> impl Iterator<Item = (&(u32, u64), &WithheldRecord)> {
        let withheld = self.withheld.iter();
        withheld.filter(|(place, kept)| kept.segment != limits::ASIDE && !self.was_erased(**place))
    }

    /// What of a chain is kept back, or was.
    pub(super) fn kept_of_chain(
        &self,
        index: u32,
    ) -> impl Iterator<Item = (&(u32, u64), &WithheldRecord)> {
        self.withheld.range((index, 0)..=(index, u64::MAX))
    }

    /// Whether something of a chain is kept back, or was: its head is not named as seen then.
    pub(super) fn keeps_any(&self, device: &DeviceId, run: &RunId) -> bool {
        let chain = self.chains.get(device, run);
        chain.is_some_and(|chain| self.kept_of_chain(chain.index).next().is_some())
    }

    /// How far a chain counts here: up to its head, or to the last item before the first that is kept
    /// back. What comes after it is not named as seen: others may have passed it over for good.
    pub(super) fn counted(&self, device: &DeviceId, run: &RunId) -> Option<(u64, ItemId)> {
        let chain = self.chains.get(device, run).filter(|c| c.head > 0)?;
        let Some((_, kept)) = self.kept_of_chain(chain.index).next() else {
            return Some((chain.head, chain.item));
        };
        let before = kept.seq.saturating_sub(1);
        let item = kept.previous.filter(|_| chain.first <= before);
        item.map(|item| (before, item))
    }

    /// An item counts: what is kept back before it and is part of no document means nothing any more.
    pub(super) fn pass_kept(&mut self, inner: &Inner, context: &mut Context<'_>) {
        let Some(chain) = self.chains.get(&inner.device, &inner.run) else {
            return;
        };
        let idle = |kept: &WithheldRecord| {
            kept.segment == limits::ASIDE
                && self.keeps_back(&kept.device, &kept.run, kept.seq, &kept.incarnation)
        };
        if self.kept_of_chain(chain.index).all(|(_, kept)| idle(kept)) {
            let passed = self.kept_of_chain(chain.index).map(|(place, _)| *place);
            for place in passed.collect::<Vec<_>>() {
                self.let_go(place, context);
            }
        }
    }

    pub(super) fn restore_withheld(&mut self, record: WithheldRecord) {
        if let Some(chain) = self.chains.get(&record.device, &record.run) {
            // What is not applied here is not named as seen; what is before it is.
            let key = (record.device, record.run);
            let before = record.seq.saturating_sub(1);
            let seen = self.seen.get(&key).map(|(seq, _)| *seq);
            if seen.is_some_and(|seen| seen > before) {
                self.seen.remove(&key);
                if let Some(item) = record.previous.filter(|_| chain.first <= before) {
                    self.seen.insert(key, (before, item));
                }
            }
            self.withheld.insert((chain.index, record.seq), record);
        }
    }

    /// An item that counts vouches for what it names as seen, other runs of its own device included, and
    /// content for what its author wrote before: who may write now could write all of it again. What a
    /// forked device vouches for of its own is judged. `true` if something that was kept back is to be
    /// applied first.
    pub(super) fn vouched(&mut self, inner: &Inner, context: &mut Context<'_>) -> bool {
        let forked = self.chains.has_forked(&inner.device);
        let other = |(device, run)| device != inner.device || (run != inner.run && !forked);
        let mut seen: Vec<(DeviceId, RunId, u64)> = self
            .read_by(inner)
            .filter(|seen| other((seen.device, seen.run)))
            .map(|dependency| (dependency.device, dependency.run, dependency.seq))
            .collect();
        if inner.kind == Purpose::Content && !forked {
            let before = inner.seq.saturating_sub(1);
            let own = self.chains.of_device(&inner.device);
            let own = own.filter(|(_, chain)| chain.first <= before);
            seen.extend(own.map(|(run, chain)| (inner.device, *run, before.min(chain.head))));
        }
        let mut raised = false;
        for (device, run, seq) in seen {
            if !self.chains.vouch(&device, &run, seq) {
                continue;
            }
            // What is applied here stays so: only for what is kept back does it matter later.
            let kept = self.keeps_any(&device, &run);
            if kept || self.vouch_forked(&device) {
                self.write_chain(device, run, context);
                raised |= kept;
            }
        }
        raised && self.release()
    }

    /// After a removal: content of the removed that is applied here, and that the remover had not
    /// seen, is vouched for by this device's next item.
    pub(super) fn vouch_for_removed(&mut self) {
        let view = std::sync::Arc::clone(self.control.current());
        for ((device, run), chain) in self.chains.iter() {
            let frontier = match view.standing(device, &chain.incarnation) {
                Standing::Ended(removals) => self.control.frontier(&removals, device, run),
                Standing::Forked(place) => place,
                Standing::Live | Standing::Frozen => continue,
            };
            let known = frontier.max(chain.vouched);
            if let Some((seq, item)) = self.counted(device, run)
                && seq > known
                && !self.forks.is_broken(device, run, seq)
            {
                self.seen.insert((*device, *run), (seq, item));
                self.vouch_due = true;
            }
        }
    }

    /// Sends an item of this device that is not part of a document.
    pub(super) fn send_item(
        &mut self,
        kind: Purpose,
        body: Vec<u8>,
        epoch: sheaf_crypto::EpochId,
        context: &mut Context<'_>,
    ) -> Result<Vec<u8>, CommandError> {
        let fault = |error: &dyn std::fmt::Display| CommandError::Fault(error.to_string());
        let (user, device) = (context.account.user(), context.account.device());
        let run = self.own_run(context);
        let (seq, previous) = self.place_in(run, context);
        let inner = Inner {
            kind,
            user,
            device,
            run,
            incarnation: self.acting(&user).ok_or(CommandError::NotAllowed)?,
            seq,
            previous,
            control_heads: self.control.heads(),
            dependencies: self.unacknowledged(context),
            body,
        };
        self.vouch_due = false;
        let held = self
            .epochs
            .get(&epoch)
            .ok_or_else(|| fault(&"the epoch is not held"))?;
        let keys = std::sync::Arc::clone(&held.keys);
        let secrets = &context.account.secrets;
        let record = sheaf_crypto::seal(&keys, &inner, secrets, &mut *context.rng)
            .map_err(|error| fault(&error))?;
        let item = item_of_record(&record);
        self.accept_own(&inner, item, context);
        self.knew_cuts(&inner, context);
        self.keep_aside(&inner, epoch, record.clone(), context);
        self.epochs.count(&epoch);
        self.echoes.insert(hash_record(&record));
        let outgoing = Outgoing {
            topic: keys.topic(),
            inbox_seed: None,
            place: self.place_in_chain(&inner),
            relays: Vec::new(),
            class: Class::Log,
            conversation: Some(self.id),
            messages: Vec::new(),
            record: record.clone(),
        };
        context.outbox.push(outgoing, context.stage);
        context
            .outbox
            .pump(context.topics, context.now, context.stage);
        Ok(record)
    }

    /// Sends an item that only names what was seen, or announces this device's newest sealing key,
    /// where nothing else is about to be sent.
    pub(super) fn send_vouch(&mut self, context: &mut Context<'_>) -> Result<(), CommandError> {
        if !self.pending.is_empty() || !context.link_is_up() {
            return Ok(());
        }
        let announces = self.announcement(context).is_some();
        if !self.vouch_due && !announces {
            return Ok(());
        }
        let epoch = match (self.epochs.choose(&self.control, context.now), announces) {
            (Choice::Use(epoch), _) => epoch,
            // A key may be announced under an epoch that is too old for content.
            (_, true) => match self.epochs.safe(&self.control) {
                Some(epoch) => epoch,
                None => return Ok(()),
            },
            (_, false) => return Ok(()),
        };
        let role = self.control.current().role(&context.account.user());
        if role.is_none() || !self.is_part(context) {
            self.vouch_due = false;
            return Ok(());
        }
        self.send_checkpoint_under(epoch, context)
    }
}

fn order((chain, seq): (u32, u64)) -> [u8; 12] {
    let mut order = [0; 12];
    let parts = chain.to_be_bytes().into_iter().chain(seq.to_be_bytes());
    for (place, byte) in order.iter_mut().zip(parts) {
        *place = byte;
    }
    order
}
