//! The coordinator: routes inputs to what they are about.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is not named here is not for this place, kinds to come included"
)]

mod account;
mod devices;
mod frame;
mod guard;
mod inbox;
mod keep;
mod link;
mod open;
mod primary;
mod progress;
mod recovery;
mod relay;
mod report;
mod rotation;
mod sync;
mod upkeep;
mod vault;
mod view;
mod witness;

use std::collections::BTreeMap;

use rand_core::CryptoRng;

use sheaf_crypto::{ConversationId, RunId, UserId};
use sheaf_protocol::TopicId;

use crate::account::{Account, Contacts};
use crate::agenda::Agenda;
use crate::command::{Command, CommandError, CommandId, Reply};
use crate::context::Context;
use crate::conversation::Conversation;
use crate::inbox::Inbox;
use crate::io::{Event, Input, LoadId, Output};
use crate::limits;
use crate::linking::Linking;
use crate::misbehaviour::Rate;
use crate::outbox::Outbox;
use crate::peer::Peers;
use crate::progress::Reporter;
use crate::record::Row;
use crate::stage::Stage;
use crate::sync_history::SyncHistory;
use crate::time::Timestamp;
use crate::topic::Topics;
use crate::vault::VaultKeeper;

pub use account::check_name;
pub use guard::QuarantineInfo;
pub use relay::RelayInfo;
pub use report::{DeviceReport, ReportedConversation};
pub use sync::Mark;
pub use upkeep::Policy;
pub use view::{Overview, Settled};
pub use witness::EvidenceInfo;

/// One device's mind.
pub struct Replica {
    rng: Box<dyn CryptoRng + Send>,
    stage: Stage,
    account: Option<Account>,
    contacts: Contacts,
    peers: Peers,
    rates: BTreeMap<UserId, Rate>,
    policy: Policy,
    conversations: BTreeMap<ConversationId, Conversation>,
    topics: Topics,
    agenda: Agenda,
    outbox: Outbox,
    relays: relay::Relays,
    exhibits: witness::Exhibits,
    inbox: Inbox,
    linking: Option<(TopicId, Linking)>,
    recovering: Option<Box<vault::Recovering>>,
    vault: VaultKeeper,
    named: Option<progress::Named>,
    reporter: Reporter,
    syncs: SyncHistory,
    /// A file is taken in by the present input.
    file: bool,
    vault_alarm: Option<Timestamp>,
    link_sent: link::LinkSent,
    run: RunId,
    fingerprint: [u8; 32],
    pending: usize,
    now: Timestamp,
    was_caught_up: bool,
    failed: Option<String>,
    /// When it is looked next what is due after hours and days.
    upkeep_due: Timestamp,
    /// The wait that was asked for last.
    waits_for: Option<Timestamp>,
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica")
            .field("conversations", &self.conversations.len())
            .finish_non_exhaustive()
    }
}

/// Splits a replica into one conversation's context and the rest.
macro_rules! context {
    ($replica:expr, $account:expr) => {
        $crate::context::Context {
            now: $replica.now,
            rng: &mut *$replica.rng,
            stage: &mut $replica.stage,
            account: $account,
            contacts: &$replica.contacts,
            peers: &mut $replica.peers,
            run: $replica.run,
            outbox: &mut $replica.outbox,
            topics: &mut $replica.topics,
            agenda: &mut $replica.agenda,
            pending: &mut $replica.pending,
        }
    };
}
pub(crate) use context;

impl Replica {
    /// Takes an input in. Never fails: bad bytes are an outcome.
    pub fn handle(&mut self, now: Timestamp, input: Input) {
        self.now = self.now.max(now);
        // What could not be kept is not taken in; a command learns why.
        let heard = matches!(input, Input::Command(..) | Input::LinkDown(_));
        if self.failed.is_some() && !heard {
            return;
        }
        self.stage.at(self.now);
        match input {
            Input::Command(id, command) => self.command(id, command),
            Input::Received(relay, frame) => self.receive(relay, frame),
            Input::Persisted(batch) => self.stage.persisted(batch),
            Input::PersistFailed(_, reason) => {
                self.stage.failed(&reason);
                self.failed = Some(reason);
            }
            Input::Loaded(load, rows) => self.loaded(load, &rows),
            Input::LoadFailed(_, reason) => {
                self.stage.failed(&reason);
                self.failed = Some(reason);
            }
            Input::LinkUp {
                relay,
                exporter,
                log,
            } => self.relay_up(relay, exporter, log),
            Input::LinkDown(relay) => self.relay_down(relay),
            Input::Reading(scope) => {
                self.was_caught_up = false;
                self.topics.read_only(scope, &mut self.stage);
            }
            Input::Elapsed => self.elapsed(),
        }
        self.watch_relays();
        self.weigh();
        self.pursue_offers();
        self.learn_devices();
        self.note_caught_up();
        self.tend_vault();
        self.upkeep();
        self.judge();
        self.note_progress();
        self.note_sync();
        self.ask_to_wait();
        self.stage.close();
    }

    /// Why the store could not be written or read; nothing is taken in since.
    #[must_use]
    pub fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// The next thing to do; drained after every [`Self::handle`].
    pub fn poll_output(&mut self) -> Option<Output> {
        self.stage.poll()
    }

    fn command(&mut self, id: CommandId, command: Command) {
        if let Some(reason) = &self.failed {
            self.stage
                .complete(id, Err(CommandError::StoreFailed(reason.clone())));
            return;
        }
        let conversation = match &command {
            Command::Send { conversation, .. }
            | Command::Import { conversation, .. }
            | Command::Change { conversation, .. } => *conversation,
            Command::Export {
                conversation,
                device,
            } => {
                let (conversation, device) = (*conversation, *device);
                let known = self.on_conversation(&conversation, |known, context| {
                    known.export(device, id, context);
                });
                if known.is_none() {
                    let error = CommandError::UnknownConversation(conversation);
                    self.stage.complete(id, Err(error));
                }
                return;
            }
            Command::Fetch(conversation, segment) => {
                let (conversation, segment) = (*conversation, *segment);
                let fetch = |known: &mut Conversation, context: &mut Context<'_>| {
                    known.fetch(segment, id, context);
                };
                if self.on_conversation(&conversation, fetch).is_none() {
                    let error = CommandError::UnknownConversation(conversation);
                    self.stage.complete(id, Err(error));
                }
                return;
            }
            Command::ApproveLink { digits } => {
                self.approve_link(id, digits);
                return;
            }
            Command::RecoverFromVault { phrase, device } => {
                self.recover_from_vault(id, phrase, device.clone());
                return;
            }
            _ => {
                let result = self.account_command(command);
                self.stage.complete(id, result);
                return;
            }
        };
        let checked = check_write(&command);
        let Some(account) = &self.account else {
            self.stage.complete(id, Err(CommandError::NoAccount));
            return;
        };
        match (checked, self.conversations.get_mut(&conversation)) {
            (Err(error), _) => self.stage.complete(id, Err(error)),
            (Ok(()), None) => {
                let error = CommandError::UnknownConversation(conversation);
                self.stage.complete(id, Err(error));
            }
            (Ok(()), Some(known)) => known.command(id, command, &mut context!(self, account)),
        }
        self.bound_documents();
    }

    /// Runs something on one conversation, with everything else lent to it.
    fn on_conversation<T>(
        &mut self,
        id: &ConversationId,
        work: impl FnOnce(&mut Conversation, &mut Context<'_>) -> T,
    ) -> Option<T> {
        let account = self.account.as_ref()?;
        let conversation = self.conversations.get_mut(id)?;
        Some(work(conversation, &mut context!(self, account)))
    }

    fn loaded(&mut self, load: LoadId, rows: &[Row]) {
        let ids: Vec<ConversationId> = self.conversations.keys().copied().collect();
        for id in ids {
            let taken =
                self.on_conversation(&id, |known, context| known.loaded(load, rows, context));
            match taken {
                Some(Ok(true)) => break,
                Some(Ok(false)) | None => {}
                Some(Err(error)) => {
                    // The store is damaged: nothing more is read or written on top of it.
                    self.failed = Some(error.to_string());
                    self.stage.failed(&error.to_string());
                    break;
                }
            }
        }
        self.bound_documents();
    }

    /// Keeps the number of documents in memory within its bound.
    fn bound_documents(&mut self) {
        let count: usize = self
            .conversations
            .values()
            .map(Conversation::documents)
            .sum();
        if count <= limits::DOCUMENTS_LOADED_MAX {
            return;
        }
        let mut idle: Vec<(Timestamp, ConversationId)> = self
            .conversations
            .values()
            .filter(|known| known.documents() > 0 && !known.is_busy())
            .map(|known| (known.last_used(), known.id()))
            .collect();
        idle.sort_unstable();
        let over = count.saturating_sub(limits::DOCUMENTS_LOADED_MAX);
        for (_, id) in idle.into_iter().take(over) {
            self.on_conversation(&id, |known, context| known.shelve_all(context));
        }
    }

    fn note_caught_up(&mut self) {
        let caught_up =
            self.topics.all_live() && self.conversations.values().all(|known| !known.is_busy());
        if caught_up && !self.was_caught_up {
            self.stage.notify(Event::CaughtUp);
            self.come_back();
            let ids: Vec<ConversationId> = self.conversations.keys().copied().collect();
            for id in ids {
                self.on_conversation(&id, Conversation::ask_for_keys);
            }
            self.release();
        }
        self.was_caught_up = caught_up;
    }

    /// What earlier runs sent is known: what they left unsealed may leave.
    fn release(&mut self) {
        if !self.outbox.release() {
            return;
        }
        let ids: Vec<ConversationId> = self.conversations.keys().copied().collect();
        for id in ids {
            self.on_conversation(&id, Conversation::run);
        }
    }

    fn close(&mut self) -> Result<Reply, CommandError> {
        let ids: Vec<ConversationId> = self.conversations.keys().copied().collect();
        for id in ids {
            self.on_conversation(&id, |known, context| known.shelve_all(context));
        }
        self.note_sync();
        self.stage.writes(self.syncs.end(self.now));
        self.write_run(true);
        Ok(Reply::Done)
    }
}

fn check_write(command: &Command) -> Result<(), CommandError> {
    match command {
        Command::Send {
            token: Some(token), ..
        } if token.is_empty() || token.len() > limits::TOKEN_BYTES_MAX => {
            Err(CommandError::BadToken)
        }
        Command::Import { drafts, .. } if drafts.len() > limits::BULK_MESSAGES_MAX => {
            Err(CommandError::TooMany)
        }
        _ => Ok(()),
    }
}
