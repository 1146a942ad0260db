//! The control log of a conversation: who is a member, with which devices and which epochs.
//!
//! Operations form a hash-linked graph (research/keys.md 2.3). What an operation may do is judged in
//! the view of its parents and never again. This version adds: `Genesis`, `Add`, `AttachDevice`,
//! `Rekey`, `Forward`. Every other body decodes and is refused by name.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is not named here is not for this place, kinds to come included"
)]

mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sheaf_crypto::{
    Body, ConversationId, DeviceId, Genesis, Operation, OperationId, Role, SignedOperation,
    StatementError,
};

use crate::limits;
use crate::user::{Devices, UserLogError};

pub(crate) use view::View;

/// Why an operation was refused. The verdict depends only on the operation and its past.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum OperationError {
    #[error(transparent)]
    Statement(#[from] StatementError),
    #[error("user log does not verify: {0}")]
    UserLog(#[from] UserLogError),
    #[error("operation is of another conversation")]
    OtherConversation,
    #[error("the founding operation is not a genesis")]
    NotGenesis,
    #[error("author is not a member device in the view of the parents")]
    NotAMember,
    #[error("author's role does not allow it")]
    NotAllowed,
    #[error("the user is a member already")]
    AlreadyMember,
    #[error("the user log is of another user or lacks the device")]
    WrongUserLog,
    #[error("a secret is not forwarded for every newest epoch and device")]
    MissingForward,
    #[error("the recipients are not the member devices")]
    WrongRecipients,
    #[error("the epoch is not known in the view of the parents")]
    UnknownEpoch,
    #[error("the conversation has as many devices as it may")]
    TooManyDevices,
    #[error("the control log has as many operations as it may")]
    TooManyOperations,
    #[error("operation of a kind that this version does not take")]
    Unsupported,
    #[error("parents are not known")]
    UnknownParents,
}

/// An accepted operation.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) operation: Operation,
    pub(crate) signed: SignedOperation,
}

/// The accepted operations of one conversation.
#[derive(Debug, Clone)]
pub(crate) struct ControlLog {
    conversation: ConversationId,
    genesis: OperationId,
    entries: BTreeMap<OperationId, Entry>,
    /// In the order of acceptance.
    order: Vec<OperationId>,
    heads: BTreeSet<OperationId>,
    /// The view after each operation and its past, where that is the whole log at the time.
    current: Arc<View>,
    /// Views of older heads, kept because envelopes name them again and again.
    views: BTreeMap<Vec<OperationId>, Arc<View>>,
}

const VIEWS_KEPT: usize = 64;

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
        let mut view = View::new(genesis.name.clone());
        view.admit(&devices, Role::Owner, id);
        let entry = Entry {
            operation,
            signed: signed.clone(),
        };
        Ok(Self {
            conversation: signed.founded(),
            genesis: id,
            entries: BTreeMap::from([(id, entry)]),
            order: vec![id],
            heads: BTreeSet::from([id]),
            current: Arc::new(view),
            views: BTreeMap::new(),
        })
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
        self.heads.iter().copied().collect()
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

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The view over everything accepted.
    pub(crate) fn current(&self) -> &Arc<View> {
        &self.current
    }

    /// The view over the past of some heads; `None` if one of them is not known.
    pub(crate) fn view(&mut self, heads: &[OperationId]) -> Option<Arc<View>> {
        if heads.len() == self.heads.len() && heads.iter().all(|head| self.heads.contains(head)) {
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

    fn resolve(&self, heads: &[OperationId]) -> Option<View> {
        let mut past = BTreeSet::new();
        let mut open: Vec<OperationId> = heads.to_vec();
        while let Some(id) = open.pop() {
            if past.insert(id) {
                open.extend(self.entries.get(&id)?.operation.parents.iter().copied());
            }
        }
        let mut view = View::default();
        for id in self.order.iter().filter(|id| past.contains(*id)) {
            let entry = self.entries.get(id)?;
            view.apply(*id, &entry.operation).ok()?;
        }
        Some(view)
    }

    /// Verifies an operation in the view of its parents and adds it; `false` if it is known.
    pub(crate) fn insert(&mut self, signed: &SignedOperation) -> Result<bool, OperationError> {
        let id = signed.id();
        if self.contains(&id) {
            return Ok(false);
        }
        if self.len() >= limits::CONTROL_OPERATIONS_MAX {
            return Err(OperationError::TooManyOperations);
        }
        let claimed = signed.decode()?;
        if claimed.conversation != self.conversation {
            return Err(OperationError::OtherConversation);
        }
        let view = self
            .view(&claimed.parents)
            .ok_or(OperationError::UnknownParents)?;
        let author = view
            .attached(&claimed.user, &claimed.author, &claimed.incarnation)
            .ok_or(OperationError::NotAMember)?;
        let operation = signed.verify(&author.signing)?;
        view.check(&operation)?;
        let mut current = View::clone(&self.current);
        current.apply(id, &operation)?;
        self.current = Arc::new(current);
        for parent in &operation.parents {
            self.heads.remove(parent);
        }
        self.heads.insert(id);
        self.order.push(id);
        self.entries.insert(
            id,
            Entry {
                operation,
                signed: signed.clone(),
            },
        );
        Ok(true)
    }

    /// The signing key of a device in the view of some heads, if it is a member device there.
    pub(crate) fn signing_key(&self, device: &DeviceId) -> Option<[u8; 32]> {
        self.current
            .device(device)
            .map(|(_, attached)| attached.signing)
    }
}
