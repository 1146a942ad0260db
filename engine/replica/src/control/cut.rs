//! Cuts: from where on newcomers read (docs/decisions/0009-cuts.md).
//!
//! A cut opens a window of segments. Whoever knows the cut writes there, and whoever knows it knows
//! everything before it: so a window holds only changes that everybody can read who came before its
//! cut, and nobody needs what lies below to build its documents.

use std::collections::{BTreeMap, BTreeSet};

use sheaf_crypto::{Body, DeviceId, EpochId, Forward, History, Operation, OperationId, UserId};

use super::check::check_commitment;
use super::facts::Facts;
use super::forget::reads;
use super::resolve::Past;
use super::view::View;
use super::{ControlLog, OperationError};
use crate::limits::{CUT_WINDOWS_MAX, SEGMENTS_MAX, WINDOW_SEGMENTS};

/// Whoever reads: a user, with one of his devices.
pub(crate) type Reader = (UserId, DeviceId);

/// What the log says of a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// First segment of its window.
    pub(crate) segment: u32,
    /// Nothing voids it: an epoch from before it is no longer written under.
    pub(crate) stands: bool,
}

/// Where somebody who has some view writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Window {
    /// Its first segment: 0, or that of a cut.
    pub(crate) first: u32,
    /// Some member cannot read everything in it: cuts were made at once.
    pub(crate) divided: bool,
    /// Somebody was added whose cut has not come yet.
    pub(crate) unfinished: bool,
}

impl Window {
    /// The last segment of the window that begins with `first`.
    pub(crate) fn last(first: u32) -> u32 {
        if first < SEGMENTS_MAX {
            SEGMENTS_MAX.saturating_sub(1)
        } else {
            first.saturating_add(WINDOW_SEGMENTS.saturating_sub(1))
        }
    }
}

impl Past<'_> {
    /// Cuts, since when each member takes part, and the window that follows from both.
    pub(super) fn cuts(&self, view: &mut View) {
        for (id, entry) in self.entries {
            match &entry.operation.body {
                Body::Genesis(genesis) => {
                    view.founded = Some(**id);
                    view.since_join = genesis.history == History::SinceJoin;
                }
                Body::Cut { segment, .. } => {
                    let cut = Cut {
                        segment: *segment,
                        stands: self.stands(id, sheaf_membership::Part::Other),
                    };
                    view.cuts.insert(**id, cut);
                }
                _ => {}
            }
        }
        let origins: Vec<(UserId, BTreeSet<OperationId>)> = view
            .members
            .keys()
            .map(|user| (*user, self.origins(view, user)))
            .collect();
        for (user, origins) in origins {
            if let Some(member) = view.members.get_mut(&user) {
                member.origins = origins;
            }
        }
        view.window = self.window(view);
    }

    /// The additions that a member's live grants go back to: changes of role keep the beginning.
    fn origins(&self, view: &View, user: &UserId) -> BTreeSet<OperationId> {
        let mut origins = BTreeSet::new();
        let member = view.members.get(user);
        let mut open: Vec<OperationId> = member
            .map(|member| member.incarnations.keys().copied().collect())
            .unwrap_or_default();
        let mut seen = BTreeSet::new();
        while let Some(grant) = open.pop() {
            if !seen.insert(grant) {
                continue;
            }
            match self.all.get(&grant).map(|entry| &entry.operation.body) {
                Some(Body::Genesis(_) | Body::Add { .. }) => {
                    origins.insert(grant);
                }
                Some(Body::Regrant { incarnations, .. }) => {
                    open.extend(incarnations.iter().copied());
                }
                Some(_) => open.extend(self.grants_before(view, &grant, user)),
                None => {}
            }
        }
        origins
    }

    fn window(&self, view: &View) -> Window {
        let saw = |later: &OperationId, earlier: &OperationId| self.saw(later, earlier);
        let mut known: BTreeMap<u32, Vec<OperationId>> = BTreeMap::new();
        for (id, cut) in &view.cuts {
            known.entry(cut.segment).or_default().push(*id);
        }
        let unfinished = view.since_join
            && view.members.values().any(|member| {
                member.origins.iter().all(|origin| {
                    Some(*origin) != view.founded && !view.cuts.keys().any(|cut| saw(cut, origin))
                })
            });
        // Two cuts of one window divide whom they let in: neither is written to.
        let lone = known
            .iter()
            .rev()
            .filter_map(|(first, cuts)| match cuts.as_slice() {
                [cut] => Some((*first, Some(*cut))),
                _ => None,
            });
        let mut highest = None;
        for (first, cut) in lone.chain([(0, None)]) {
            highest.get_or_insert(first);
            if covers(view, cut.as_ref(), &saw) {
                return Window {
                    first,
                    divided: false,
                    unfinished,
                };
            }
        }
        Window {
            first: highest.unwrap_or(0),
            divided: true,
            unfinished,
        }
    }
}

/// Whether every member can read everything in a cut's window.
fn covers(
    view: &View,
    cut: Option<&OperationId>,
    saw: &impl Fn(&OperationId, &OperationId) -> bool,
) -> bool {
    let mut members = view.members.values();
    members.all(|member| {
        let reads = |device| reads(view, view.attachments.get(device), cut, saw);
        sees(view, &member.origins, cut, saw) && member.devices.keys().all(reads)
    })
}

/// Whether who begins with one of some additions can read everything in a cut's window.
fn sees(
    view: &View,
    origins: &BTreeSet<OperationId>,
    cut: Option<&OperationId>,
    saw: &impl Fn(&OperationId, &OperationId) -> bool,
) -> bool {
    let after = |needed: &OperationId| cut.is_some_and(|cut| saw(cut, needed));
    origins.iter().any(|origin| {
        if Some(*origin) == view.founded {
            return true;
        }
        if view.since_join {
            return after(origin);
        }
        let mut before = view.cuts.keys().filter(|known| saw(origin, known));
        before.all(after)
    })
}

impl ControlLog {
    /// Rule (c) of research/keys.md 2.5, and its counterpart for newcomers who may not read the
    /// past: the epoch came after every cut, and after every member was added.
    pub(crate) fn is_open(&self, view: &View, operation: &OperationId) -> bool {
        let mut cuts = view.cuts.keys();
        let after_cuts = cuts.all(|cut| self.saw(operation, cut));
        after_cuts
            && (!view.since_join
                || view.members.values().all(|member| {
                    let mut origins = member.origins.iter();
                    origins.any(|origin| self.saw(operation, origin))
                }))
    }

    /// Whether a member's device may have an epoch's secret: it was drawn after he was added, and
    /// after what was cut off before that, and after what was forgotten before the device came.
    pub(crate) fn is_entitled(
        &self,
        view: &View,
        (user, device): &Reader,
        epoch: &EpochId,
    ) -> bool {
        let (Some(member), Some(facts)) = (view.members.get(user), view.epochs.get(epoch)) else {
            return false;
        };
        let saw = |later: &OperationId, earlier: &OperationId| self.saw(later, earlier);
        let drawn = Some(&facts.operation);
        sees(view, &member.origins, drawn, &saw)
            && reads(view, view.attachments.get(device), drawn, &saw)
    }

    /// Whether whoever is added next may have an epoch's secret: it came after every cut. Where
    /// newcomers may not read the past he gets the epoch that is drawn for him and no other.
    pub(crate) fn is_for_newcomers(&self, view: &View, epoch: &EpochId) -> bool {
        let facts = view.epochs.get(epoch).filter(|_| !view.since_join);
        facts.is_some_and(|facts| {
            let mut cuts = view.cuts.keys();
            cuts.all(|cut| self.saw(&facts.operation, cut))
        })
    }

    /// The same as [`Self::is_entitled`] for a device, whoever's it is.
    pub(crate) fn device_is_entitled(
        &self,
        view: &View,
        device: &DeviceId,
        epoch: &EpochId,
    ) -> bool {
        let user = view.device(device).map(|(user, _)| *user);
        user.is_some_and(|user| self.is_entitled(view, &(user, *device), epoch))
    }

    /// The additions that a user's reading begins with; of one who is out, all there were.
    fn origins(&self, user: &UserId) -> BTreeSet<OperationId> {
        if let Some(member) = self.current.members.get(user) {
            return member.origins.clone();
        }
        let additions = self
            .entries
            .iter()
            .filter(|(_, entry)| match &entry.operation.body {
                Body::Genesis(genesis) => genesis.creator == *user,
                Body::Add { user: added, .. } => added == user,
                _ => false,
            });
        additions.map(|(id, _)| *id).collect()
    }

    /// Where a device's reading begins: at a chain's first item whose author knew all cuts of one of
    /// these sets. None if it reads from the beginning.
    pub(crate) fn beginnings(&self, (user, device): &Reader) -> Vec<BTreeSet<OperationId>> {
        let mut all = self.beginnings_of(user);
        if self.current.forgets.is_empty() {
            return all;
        }
        if all.is_empty() {
            all.push(BTreeSet::new());
        }
        let times = self.forgotten_before(device);
        let both = all.iter().flat_map(|cuts| {
            let united =
                |forgotten: &BTreeSet<OperationId>| cuts.union(forgotten).copied().collect();
            times.iter().map(united).collect::<Vec<BTreeSet<_>>>()
        });
        let both: BTreeSet<_> = both.map(|cuts| self.last_of(&cuts)).collect();
        if both.iter().any(BTreeSet::is_empty) {
            return Vec::new();
        }
        both.into_iter().collect()
    }

    /// Those of some cuts that no other of them follows.
    fn last_of(&self, cuts: &BTreeSet<OperationId>) -> BTreeSet<OperationId> {
        let followed = |cut: &OperationId| {
            let mut others = cuts.iter();
            others.any(|other| other != cut && self.saw(other, cut))
        };
        cuts.iter().filter(|cut| !followed(cut)).copied().collect()
    }

    /// The sets of cuts that a user's reading begins at: of what was cut off before one of his
    /// additions all, where newcomers may not read the past any one after that.
    fn beginnings_of(&self, user: &UserId) -> Vec<BTreeSet<OperationId>> {
        let view = &self.current;
        let origins = self.origins(user);
        let saw = |later: &OperationId, earlier: &OperationId| self.saw(later, earlier);
        if view.cuts.is_empty() && !view.since_join || sees(view, &origins, None, &saw) {
            return Vec::new();
        }
        let mut found = Vec::new();
        for origin in &origins {
            if view.since_join {
                let near: Vec<&OperationId> =
                    view.cuts.keys().filter(|cut| saw(cut, origin)).collect();
                let first = near.iter().filter(|cut| {
                    let mut others = near.iter();
                    !others.any(|other| other != *cut && saw(cut, other))
                });
                found.extend(first.map(|cut| BTreeSet::from([**cut])));
            } else {
                let before = view.cuts.keys().filter(|cut| saw(origin, cut));
                found.push(self.last_of(&before.copied().collect()));
            }
        }
        found
    }

    /// The first segment that a device's reading can begin with; none if that is the first of all. Of
    /// cuts made at once nobody who was added after them can read a window: he can read the next.
    pub(crate) fn since(&self, reader: &Reader) -> Option<u32> {
        let beginnings = self.beginnings(reader);
        let highest = beginnings.iter().filter_map(|cuts| {
            let known = cuts.iter().filter_map(|cut| self.current.cuts.get(cut));
            let highest = known.map(|cut| cut.segment).max()?;
            let next = highest.saturating_add(WINDOW_SEGMENTS);
            Some(if cuts.len() > 1 { next } else { highest })
        });
        highest.min()
    }

    /// Whether a device's reading begins somewhere after the start.
    pub(crate) fn is_newcomer(&self, reader: &Reader) -> bool {
        let view = &self.current;
        if view.cuts.is_empty() && !view.since_join {
            return false;
        }
        !self.can_read(reader, None)
    }

    /// Whether a device can read everything in a cut's window.
    fn can_read(&self, (user, device): &Reader, cut: Option<&OperationId>) -> bool {
        let view = &self.current;
        let saw = |later: &OperationId, earlier: &OperationId| self.saw(later, earlier);
        sees(view, &self.origins(user), cut, &saw)
            && (view.forgets.is_empty() || reads(view, Some(&self.attachments(device)), cut, &saw))
    }

    /// Whether a device can read everything in the window of some segment, as a view has windows.
    pub(crate) fn is_visible(&self, view: &View, reader: &Reader, segment: u32) -> bool {
        let mut cuts = view.cuts_of(segment).peekable();
        !self.is_newcomer(reader)
            || cuts.peek().is_some() && cuts.all(|cut| self.can_read(reader, Some(&cut)))
    }

    /// Whether the author of an item that knew these cuts knew the one of a segment's window.
    pub(crate) fn knew_window(&self, cuts: &BTreeSet<OperationId>, segment: u32) -> bool {
        let knew = |cut: OperationId| cuts.iter().any(|known| self.saw(known, &cut));
        let mut of = self.current.cuts_of(segment).peekable();
        of.peek().is_none() || of.any(knew)
    }

    /// Cuts of a view that no other cut of it follows.
    pub(crate) fn last_cuts(&self, view: &View) -> BTreeSet<OperationId> {
        let cuts = view.cuts.keys();
        let followed = |cut: &OperationId| {
            let mut others = view.cuts.keys();
            others.any(|other| other != cut && self.saw(other, cut))
        };
        cuts.filter(|cut| !followed(cut)).copied().collect()
    }

    /// Cuts that whoever knew these did not know, in the order of acceptance.
    pub(crate) fn cuts_after(
        &self,
        known: &BTreeSet<OperationId>,
    ) -> Vec<(OperationId, &Operation)> {
        if self.current.cuts.is_empty() {
            return Vec::new();
        }
        let entries = self
            .order
            .iter()
            .filter(|id| self.current.cuts.contains_key(*id));
        let new = entries.filter(|id| !known.iter().any(|cut| self.saw(cut, id)));
        new.filter_map(|id| Some((*id, &self.entries.get(id)?.operation)))
            .collect()
    }

    /// What a cut and a new epoch must keep to beyond what their view alone tells.
    pub(super) fn check_past(
        &self,
        view: &View,
        operation: &Operation,
        facts: &Facts,
    ) -> Result<(), OperationError> {
        match &operation.body {
            Body::Rekey(rekey) if rekey.chain.is_some() => {
                let mut parents = rekey.parents_epochs.iter();
                let open = parents.all(|epoch| self.is_for_newcomers(view, epoch));
                open.then_some(()).ok_or(OperationError::Chained)
            }
            Body::Add { forwards, .. } => {
                let may = |epoch: &EpochId| self.is_for_newcomers(view, epoch);
                check_forwards(view, facts, forwards, may)
            }
            Body::AttachDevice {
                device, forwards, ..
            } => {
                let reader = (operation.user, *device);
                let may = |epoch: &EpochId| self.is_entitled(view, &reader, epoch);
                check_forwards(view, facts, forwards, may)
            }
            Body::Forward(forward) => self.check_entitled(view, std::slice::from_ref(forward)),
            Body::HandOver { forwards } => self.check_entitled(view, forwards),
            _ => Ok(()),
        }
    }

    fn check_entitled(&self, view: &View, forwards: &[Forward]) -> Result<(), OperationError> {
        let mut forwards = forwards.iter();
        let fits = forwards.all(|to| self.device_is_entitled(view, &to.device, &to.epoch));
        fits.then_some(()).ok_or(OperationError::NotEntitled)
    }
}

/// A newcomer's device must be able to read from the moment it is added, and nothing before that.
fn check_forwards(
    view: &View,
    facts: &Facts,
    forwards: &[Forward],
    may: impl Fn(&EpochId) -> bool,
) -> Result<(), OperationError> {
    let given: BTreeSet<_> = forwards.iter().map(|f| (f.device, f.epoch)).collect();
    let newest: Vec<EpochId> = view.newest.iter().copied().filter(&may).collect();
    let added = facts.devices.keys();
    let mut wanted = added.flat_map(|d| newest.iter().map(move |e| (*d, *e)));
    if !wanted.all(|pair| given.contains(&pair)) {
        return Err(OperationError::MissingForward);
    }
    if forwards
        .iter()
        .any(|f| !facts.devices.contains_key(&f.device))
    {
        return Err(OperationError::WrongRecipients);
    }
    if !forwards.iter().all(|f| may(&f.epoch)) {
        return Err(OperationError::NotEntitled);
    }
    forwards
        .iter()
        .try_for_each(|forward| check_commitment(view, forward))
}

/// Whether a cut opens a window of its own above every other, and no more than that.
pub(super) fn check(view: &View, body: &Body) -> Result<(), OperationError> {
    let Body::Cut {
        snapshot,
        segment,
        heads,
        frontier,
    } = body
    else {
        return Ok(());
    };
    let empty = *snapshot == [0; 32] && heads.is_empty() && frontier.is_empty();
    let highest = view.highest_cut();
    let room = CUT_WINDOWS_MAX.saturating_mul(WINDOW_SEGMENTS);
    let above = *segment > highest
        && segment.saturating_sub(highest) <= room
        && segment.checked_rem(WINDOW_SEGMENTS) == Some(0)
        && Window::last(*segment) < u32::MAX;
    (empty && above).then_some(()).ok_or(OperationError::BadCut)
}
