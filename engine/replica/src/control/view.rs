//! What a control log says at some place of its history.

use std::collections::{BTreeMap, BTreeSet};

use sheaf_crypto::{DeviceId, EpochId, OperationId, Recipient, Role, UserId};

use super::cut::{Cut, Window};
pub(crate) use super::facts::Attached;
use super::forget::Forgetting;
use super::fork::ForkPlace;
use crate::limits::{SEGMENTS_MAX, WINDOW_SEGMENTS};

/// A user who takes part.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) role: Role,
    /// The grants that made the user a member: more than one if admins added the user at once.
    pub(crate) incarnations: BTreeMap<OperationId, Role>,
    pub(crate) devices: BTreeMap<DeviceId, Attached>,
    /// The additions that the membership goes back to.
    pub(crate) origins: BTreeSet<OperationId>,
}

/// What the log says of an epoch, whether or not its secret is held here.
#[derive(Debug, Clone)]
pub(crate) struct EpochFacts {
    pub(crate) operation: OperationId,
    pub(crate) commitment: [u8; 32],
    pub(crate) parents: Vec<EpochId>,
    /// Its secret opens those of its parents.
    pub(crate) chained: bool,
    /// Length of the longest chain below it.
    pub(crate) depth: u32,
    /// Devices that were given the secret directly.
    pub(crate) holders: BTreeSet<DeviceId>,
}

/// Members, devices and epochs.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub(crate) name: String,
    pub(crate) members: BTreeMap<UserId, Member>,
    /// Devices that receive no new epoch and whose new content waits.
    pub(crate) frozen: BTreeSet<DeviceId>,
    pub(crate) epochs: BTreeMap<EpochId, EpochFacts>,
    /// Epochs that no other epoch follows.
    pub(crate) newest: BTreeSet<EpochId>,
    /// Effective removals, detachments and freezes: what an epoch must have seen to be used.
    pub(crate) removals: BTreeSet<OperationId>,
    /// The founding operation.
    pub(super) founded: Option<OperationId>,
    /// Newcomers read from their own beginning on.
    pub(crate) since_join: bool,
    /// Every cut, whether or not it stands.
    pub(crate) cuts: BTreeMap<OperationId, Cut>,
    /// What lets secrets be forgotten, whether or not it stands.
    pub(crate) forgets: BTreeMap<OperationId, Forgetting>,
    /// What brought each device in that takes part.
    pub(super) attachments: BTreeMap<DeviceId, BTreeSet<OperationId>>,
    /// Where new messages go.
    pub(crate) window: Window,
    /// What ended each grant that is no longer live.
    pub(super) ended: BTreeMap<OperationId, BTreeSet<OperationId>>,
    /// Devices that proofs freeze.
    pub(crate) forked: BTreeMap<DeviceId, Forked>,
    /// Every place of which there is a proof, thawed since or not.
    pub(crate) proved: BTreeSet<ForkPlace>,
    /// Grants that are void because the device that gave them forked.
    pub(crate) void: BTreeMap<UserId, Vec<OperationId>>,
    /// What took each device out.
    pub(super) detached: BTreeMap<DeviceId, BTreeSet<OperationId>>,
}

/// What is proved of a device, and not taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Forked {
    /// The lowest place at which it forked.
    pub(crate) seq: u64,
    /// The operations that show it.
    pub(crate) proofs: BTreeSet<OperationId>,
}

/// How what a device wrote under some grant stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It counts.
    Live,
    /// It waits until the device is thawed or revoked, or somebody vouches for it.
    Frozen,
    /// The device forked: it counts up to this place, and later where somebody vouches for it.
    Forked(u64),
    /// It counts up to the frontier of these removals, and where somebody vouches for it.
    Ended(BTreeSet<OperationId>),
}

impl View {
    /// A member device that acts under a live grant.
    pub(crate) fn attached(
        &self,
        user: &UserId,
        device: &DeviceId,
        incarnation: &OperationId,
    ) -> Option<&Attached> {
        let member = self.members.get(user)?;
        member
            .incarnations
            .contains_key(incarnation)
            .then(|| member.devices.get(device))
            .flatten()
    }

    /// A member device and its user.
    pub(crate) fn device(&self, device: &DeviceId) -> Option<(&UserId, &Attached)> {
        self.members
            .iter()
            .find_map(|(user, member)| member.devices.get(device).map(|attached| (user, attached)))
    }

    /// Every member device.
    pub(crate) fn devices(&self) -> impl Iterator<Item = (&DeviceId, &Attached)> {
        self.members
            .values()
            .flat_map(|member| member.devices.iter())
    }

    /// Every member device that may hold the newest secrets.
    pub(crate) fn live(&self) -> impl Iterator<Item = (&DeviceId, &Attached)> {
        self.devices()
            .filter(|(device, _)| !self.frozen.contains(*device))
    }

    /// Every device that may hold the newest secrets, as a recipient of seals.
    pub(crate) fn recipients(&self) -> Vec<Recipient> {
        let recipients = self.live().map(|(device, attached)| Recipient {
            device: *device,
            kem: attached.kem.clone(),
        });
        let mut recipients: Vec<Recipient> = recipients.collect();
        recipients.sort_by_key(|recipient| recipient.device);
        recipients
    }

    pub(crate) fn role(&self, user: &UserId) -> Option<Role> {
        self.members.get(user).map(|member| member.role)
    }

    /// First segment of the highest window of a cut; the window before the first possible one if
    /// there is none.
    pub(crate) fn highest_cut(&self) -> u32 {
        let highest = self.cuts.values().map(|cut| cut.segment).max();
        highest.unwrap_or(SEGMENTS_MAX.saturating_sub(WINDOW_SEGMENTS))
    }

    /// The cut whose window holds a segment; none for the first window, or if two claim it.
    pub(crate) fn cut_of(&self, segment: u32) -> Option<OperationId> {
        let mut of = self.cuts_of(segment);
        let found = of.next();
        found.filter(|_| of.next().is_none())
    }

    /// The cuts that claim the window of a segment: one or, made at once, several; none for the first
    /// window. Whoever writes there knows one of them.
    pub(crate) fn cuts_of(&self, segment: u32) -> impl Iterator<Item = OperationId> {
        let of = self.cuts.iter();
        of.filter(move |(_, cut)| cut.segment <= segment && segment <= Window::last(cut.segment))
            .map(|(id, _)| *id)
    }

    /// Whether a segment belongs to a window of this view.
    pub(crate) fn has_segment(&self, segment: u32) -> bool {
        let mut cuts = self.cuts.values();
        segment < SEGMENTS_MAX
            || cuts.any(|cut| cut.segment <= segment && segment <= Window::last(cut.segment))
    }

    /// How something written by a device under a grant stands in this view.
    pub(crate) fn standing(&self, device: &DeviceId, incarnation: &OperationId) -> Standing {
        let mut by = self.ended.get(incarnation).cloned().unwrap_or_default();
        by.extend(self.detached.get(device).into_iter().flatten().copied());
        if !by.is_empty() {
            return Standing::Ended(by);
        }
        if let Some(forked) = self.forked.get(device) {
            return Standing::Forked(forked.seq);
        }
        if self.frozen.contains(device) {
            return Standing::Frozen;
        }
        Standing::Live
    }

    /// What took a device out: its detachments, and what ended its user's grants. Nothing while it
    /// is part of the conversation.
    pub(crate) fn endings_of(&self, device: &DeviceId) -> BTreeSet<OperationId> {
        let detached = self.detached.get(device).into_iter().flatten();
        detached.copied().collect()
    }

    /// Devices that can hold an epoch's secret as far as this view tells: those it was given to,
    /// and those that were given an epoch whose chain reaches it.
    pub(crate) fn holders(&self, epoch: &EpochId) -> BTreeSet<DeviceId> {
        self.epochs
            .iter()
            .filter(|(candidate, _)| self.reaches(candidate, epoch))
            .flat_map(|(_, facts)| facts.holders.iter().copied())
            .collect()
    }

    fn reaches(&self, from: &EpochId, to: &EpochId) -> bool {
        let mut open = vec![*from];
        let mut seen = BTreeSet::new();
        while let Some(epoch) = open.pop() {
            if epoch == *to {
                return true;
            }
            if seen.insert(epoch)
                && let Some(facts) = self.epochs.get(&epoch).filter(|facts| facts.chained)
            {
                open.extend(facts.parents.iter().copied());
            }
        }
        false
    }
}
