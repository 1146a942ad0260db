//! The control log of a conversation (research/keys.md 2.3): signed operations, resolved into who is
//! a member, with which devices, and which epochs there are.
//!
//! Every rule is a function of the set of operations: an operation is judged in the view of its own
//! past, and the view of a past follows from that past alone. `sheaf-membership` decides who holds
//! which role; here devices, epochs and names are read from the operations that hold.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is not named here is not for this place, kinds to come included"
)]

mod check;
mod cut;
mod facts;
mod forget;
mod fork;
mod resolve;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sheaf_crypto::{
    Body, ConversationId, DeviceId, EpochId, Genesis, Operation, OperationId, RunId,
    SignedOperation, StatementError, UserId,
};
use sheaf_membership::{Log, Refusal};

use crate::user::{Devices, UserLogError};

pub(crate) use check::author;
pub(crate) use cut::{Reader, Window};
use facts::Facts;
pub(crate) use forget::Forgetting;
pub(crate) use fork::{ForkPlace, content_of};
pub(crate) use view::{Standing, View};

/// Why an operation was refused. The verdict depends only on the operation and its past.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum OperationError {
    #[error(transparent)]
    Statement(#[from] StatementError),
    #[error("user log does not verify: {0}")]
    UserLog(#[from] UserLogError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("operation is of another conversation")]
    OtherConversation,
    #[error("the founding operation is not a genesis")]
    NotGenesis,
    #[error("author is not a member device in the view of the parents")]
    NotAMember,
    #[error("author's role does not allow it")]
    NotAllowed,
    #[error("the user log is of another user or lacks the device")]
    WrongUserLog,
    #[error("a secret is not forwarded for every newest epoch and device")]
    MissingForward,
    #[error("the recipients are not member devices, or the author is not among them")]
    WrongRecipients,
    #[error("the epoch is not known in the view of the parents")]
    UnknownEpoch,
    #[error("the conversation has as many devices as it may")]
    TooManyDevices,
    #[error("the device is not attached, or already is as the operation wants it")]
    WrongDevice,
    #[error("the proof does not show that the device was revoked")]
    BadProof,
    #[error("the proof does not show that the device signed two items for one place")]
    FalseProof,
    #[error("operation of a kind that this version does not take")]
    Unsupported,
    #[error("an epoch after a cut opens the ones before it")]
    Chained,
    #[error("a secret from before the recipient's beginning is given away")]
    NotEntitled,
    #[error("a cut opens a window of segments above every other, and holds nothing else")]
    BadCut,
    #[error("what is to be forgotten lies before no cut that stands alone")]
    BadForget,
    #[error("parents are not known")]
    UnknownParents,
}

/// An accepted operation.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) operation: Operation,
    pub(crate) signed: SignedOperation,
    facts: Arc<Facts>,
}

impl Entry {
    /// The user log that the operation carries.
    pub(crate) fn log(&self) -> Option<&Devices> {
        self.facts.log.as_ref()
    }
}

/// The accepted operations of one conversation.
pub(crate) struct ControlLog {
    conversation: ConversationId,
    genesis: OperationId,
    entries: BTreeMap<OperationId, Entry>,
    /// In the order of acceptance, which is causal.
    order: Vec<OperationId>,
    roles: Log<OperationId, UserId>,
    /// Signing keys of every device that was ever attached.
    signing: BTreeMap<DeviceId, [u8; 32]>,
    current: Arc<View>,
    /// Views of older heads, kept because envelopes name them again and again.
    views: BTreeMap<Vec<OperationId>, Arc<View>>,
}

const VIEWS_KEPT: usize = 64;

impl std::fmt::Debug for ControlLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControlLog")
            .field("conversation", &self.conversation)
            .field("operations", &self.order.len())
            .finish_non_exhaustive()
    }
}

impl ControlLog {
    /// Verifies a founding operation.
    pub(crate) fn found(signed: &SignedOperation) -> Result<Self, OperationError> {
        let claimed = signed.decode()?;
        let Body::Genesis(genesis) = &claimed.body else {
            return Err(OperationError::NotGenesis);
        };
        let devices = Devices::decode(&genesis.creator_log)?;
        if devices.user != genesis.creator || claimed.user != genesis.creator {
            return Err(OperationError::WrongUserLog);
        }
        let author = devices
            .device(&claimed.author)
            .ok_or(OperationError::NotAMember)?;
        let operation = signed.verify(&author.certificate.signing)?;
        let id = signed.id();
        let mut log = Self {
            conversation: signed.founded(),
            genesis: id,
            entries: BTreeMap::new(),
            order: Vec::new(),
            roles: Log::found(id, claimed.user),
            signing: BTreeMap::new(),
            current: Arc::new(View::default()),
            views: BTreeMap::new(),
        };
        let facts = Facts::of(&operation)?;
        log.keep(id, signed, operation, facts);
        Ok(log)
    }

    pub(crate) fn conversation(&self) -> ConversationId {
        self.conversation
    }

    pub(crate) fn genesis(&self) -> Option<&Genesis> {
        match &self.entries.get(&self.genesis)?.operation.body {
            Body::Genesis(genesis) => Some(genesis),
            _ => None,
        }
    }

    pub(crate) fn heads(&self) -> Vec<OperationId> {
        self.roles.heads()
    }

    pub(crate) fn contains(&self, id: &OperationId) -> bool {
        self.entries.contains_key(id)
    }

    pub(crate) fn entry(&self, id: &OperationId) -> Option<&Entry> {
        self.entries.get(id)
    }

    /// Operations in the order of acceptance, which is causal.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&OperationId, &Entry)> {
        self.order
            .iter()
            .filter_map(|id| self.entries.get_key_value(id))
    }

    /// Devices that ever said that they could not open an epoch's secret.
    pub(crate) fn askers_of(&self, epoch: &EpochId) -> BTreeSet<DeviceId> {
        let operations = self.entries.values().map(|entry| &entry.operation);
        let asking = operations.filter(
            |operation| matches!(&operation.body, Body::BadSeal { epoch: of, .. } if of == epoch),
        );
        asking.map(|operation| operation.author).collect()
    }

    /// The view over everything accepted.
    pub(crate) fn current(&self) -> &Arc<View> {
        &self.current
    }

    /// The view over the past of some heads; `None` if one of them is not known.
    pub(crate) fn view(&mut self, heads: &[OperationId]) -> Option<Arc<View>> {
        let current = self.heads();
        if heads.len() == current.len() && heads.iter().all(|head| current.contains(head)) {
            return Some(Arc::clone(&self.current));
        }
        if let Some(view) = self.views.get(heads) {
            return Some(Arc::clone(view));
        }
        let view = Arc::new(self.resolve(heads)?);
        if self.views.len() >= VIEWS_KEPT {
            self.views.pop_first();
        }
        self.views.insert(heads.to_vec(), Arc::clone(&view));
        Some(view)
    }

    /// Verifies an operation in the view of its parents and adds it; `false` if it is known.
    pub(crate) fn insert(&mut self, signed: &SignedOperation) -> Result<bool, OperationError> {
        let id = signed.id();
        if self.contains(&id) {
            return Ok(false);
        }
        let claimed = signed.decode()?;
        if claimed.conversation != self.conversation {
            return Err(OperationError::OtherConversation);
        }
        let view = self
            .view(&claimed.parents)
            .ok_or(OperationError::UnknownParents)?;
        let signing = author(&view, &claimed)?;
        let operation = signed.verify(&signing)?;
        let facts = Facts::of(&operation)?;
        let act = check::act(&view, &operation, &facts)?;
        self.check_past(&view, &operation, &facts)?;
        if let Body::Equivocation { first, second } = &operation.body {
            let find = |id: &OperationId| self.find_below(id, &operation.parents);
            fork::check(&view, [first, second], find)?;
        }
        self.roles.insert(&sheaf_membership::Operation {
            id,
            parents: operation.parents.clone(),
            author: operation.user,
            incarnation: operation.incarnation,
            act,
        })?;
        self.keep(id, signed, operation, facts);
        Ok(true)
    }

    /// An operation at or below some others.
    fn find_below(&self, id: &OperationId, heads: &[OperationId]) -> Option<&Operation> {
        let below = heads.iter().any(|head| self.saw(head, id));
        self.entries
            .get(id)
            .filter(|_| below)
            .map(|entry| &entry.operation)
    }

    fn keep(
        &mut self,
        id: OperationId,
        signed: &SignedOperation,
        operation: Operation,
        facts: Facts,
    ) {
        for (device, attached) in &facts.devices {
            self.signing.insert(*device, attached.signing);
        }
        let entry = Entry {
            operation,
            signed: signed.clone(),
            facts: Arc::new(facts),
        };
        self.entries.insert(id, entry);
        self.order.push(id);
        if let Some(view) = self.resolve(&self.heads()) {
            self.current = Arc::new(view);
        }
    }

    fn resolve(&mut self, heads: &[OperationId]) -> Option<View> {
        let roles = self.roles.view(heads)?;
        let mut past = BTreeSet::new();
        let mut open: Vec<OperationId> = heads.to_vec();
        while let Some(id) = open.pop() {
            if past.insert(id) {
                open.extend(self.entries.get(&id)?.operation.parents.iter().copied());
            }
        }
        let operations = self.order.iter().filter(|id| past.contains(*id));
        let entries = operations.filter_map(|id| self.entries.get_key_value(id));
        let entries: Vec<_> = entries.collect();
        Some(resolve::view(&self.roles, &roles, &entries, &self.entries))
    }

    /// The signing key of a device that was attached at any time.
    pub(crate) fn signing_key(&self, device: &DeviceId) -> Option<[u8; 32]> {
        self.signing.get(device).copied()
    }

    /// Whose a device is that was attached at any time.
    pub(crate) fn owner(&self, device: &DeviceId) -> Option<UserId> {
        let entries = self.entries.values();
        let mut brought = entries.filter(|entry| entry.facts.devices.contains_key(device));
        match &brought.next()?.operation {
            Operation {
                body: Body::Add { user, .. },
                ..
            } => Some(*user),
            operation => Some(operation.user),
        }
    }

    /// Whether one operation is below another, which has therefore seen it.
    pub(crate) fn saw(&self, later: &OperationId, earlier: &OperationId) -> bool {
        later == earlier || self.roles.past_contains(later, earlier)
    }

    /// The last item of a device's run that the authors of some removals had seen: the highest,
    /// if several ended the membership at once (research/keys.md 2.4). A member who left by himself
    /// ends nothing of what he wrote before, unless something is to be forgotten: who forgets cannot
    /// read what comes of his other devices later, and nobody must take it in then.
    pub(crate) fn frontier(
        &self,
        removals: &BTreeSet<OperationId>,
        device: &DeviceId,
        run: &RunId,
    ) -> u64 {
        let of = |id: &OperationId| match &self.entries.get(id)?.operation.body {
            Body::Remove { frontier, .. }
            | Body::Regrant { frontier, .. }
            | Body::DetachDevice { frontier, .. } => frontier
                .iter()
                .filter(|entry| entry.device == *device && entry.run == *run)
                .map(|entry| entry.seq)
                .max(),
            Body::Leave | Body::TransferOwner { .. } => {
                self.current.forgets.is_empty().then_some(u64::MAX)
            }
            _ => None,
        };
        removals.iter().filter_map(of).max().unwrap_or(0)
    }

    /// Whether one grant is above another in the tree of grants.
    pub(crate) fn is_above(&self, senior: &OperationId, junior: &OperationId) -> bool {
        self.roles.is_above(senior, junior)
    }

    /// Valid operations that have no effect, each with the removal that voids it.
    pub(crate) fn void(&self) -> Vec<(OperationId, OperationId)> {
        let view = self.roles.current();
        let void = view.void().iter();
        void.map(|void| (void.operation, void.by)).collect()
    }
}

#[cfg(test)]
mod tests;
