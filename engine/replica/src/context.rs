//! What a conversation is lent while it works: everything of the replica that is not its own.

use rand_core::CryptoRng;

use sheaf_crypto::RunId;

use crate::account::{Account, Contacts};
use crate::agenda::Agenda;
use crate::control::Reader;
use crate::outbox::Outbox;
use crate::peer::Peers;
use crate::stage::Stage;
use crate::time::Timestamp;
use crate::topic::Topics;

/// Lent for the length of one input.
pub(crate) struct Context<'a> {
    pub(crate) now: Timestamp,
    pub(crate) rng: &'a mut (dyn CryptoRng + Send),
    pub(crate) stage: &'a mut Stage,
    pub(crate) account: &'a Account,
    pub(crate) contacts: &'a Contacts,
    pub(crate) peers: &'a mut Peers,
    /// The run that this process writes under.
    pub(crate) run: RunId,
    pub(crate) outbox: &'a mut Outbox,
    pub(crate) topics: &'a mut Topics,
    /// When conversations are woken.
    pub(crate) agenda: &'a mut Agenda,
    /// Changes that are not yet sealed, over all conversations.
    pub(crate) pending: &'a mut usize,
}

impl Context<'_> {
    /// This device, as one that reads.
    pub(crate) fn reader(&self) -> Reader {
        (self.account.user(), self.account.device())
    }

    /// There is a relay to seal for, and nothing has to be read from it before.
    pub(crate) fn link_is_up(&self) -> bool {
        self.topics.is_connected() && !self.outbox.is_held()
    }
}
