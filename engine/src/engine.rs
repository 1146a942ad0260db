//! The handle that an app holds.

mod connection;

use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use sheaf_crypto::{ConversationId, DeviceId, History, UserId, fingerprint};
use sheaf_protocol::RelayAddress;
use sheaf_replica::{
    BrokenAudit, Command, CommandError, ContactInfo, ConversationInfo, DeviceInfo, Event, Overview,
    Progress, RecoveryWords, Replica, Reply,
};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::activity::LinkStatus;
use crate::builder::EngineBuilder;
use crate::conversation::Conversation;
use crate::driver::{LinkState, Request, Unsettled};
use crate::link::{LinkError, Traffic};
use crate::store::{ReadError, Store};

/// Why something asked of an engine was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The command was refused; it changed nothing.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The audit log was changed or is not whole.
    #[error(transparent)]
    Audit(#[from] BrokenAudit),
    /// The engine is closed.
    #[error("the engine is closed")]
    Closed,
    /// The engine could not be closed in order. Nothing durable is lost.
    #[error("the engine did not close in order: {0}")]
    Close(String),
    /// The relay could not be reached in time.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// What was waited for did not come about in time.
    #[error("not settled in time: {pending} pending, {parked} waiting for what they depend on")]
    NotSettled {
        /// Changes and records that are not yet durable at the relay.
        pending: u64,
        /// Records that wait for what they depend on.
        parked: u64,
    },
}

/// A new account.
#[derive(Debug, Clone)]
pub struct AccountCreated {
    /// The person.
    pub user: UserId,
    /// This device.
    pub device: DeviceId,
    /// The recovery phrase: shown once, kept nowhere.
    pub phrase: RecoveryWords,
    /// The card that others add the person by.
    pub card: String,
    /// Digits to compare.
    pub fingerprint: String,
}

/// What went over the link since the engine was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Bytes of frames sent, without QUIC's own.
    pub sent_bytes: u64,
    /// Bytes of frames received, without QUIC's own.
    pub received_bytes: u64,
    /// Frames sent.
    pub sent_frames: u64,
    /// Frames received.
    pub received_frames: u64,
}

/// A running engine. Cheap to clone; when the last clone is dropped it stops, and nothing durable is
/// lost. [`Engine::close`] stops it in order.
#[derive(Clone)]
pub struct Engine {
    requests: mpsc::Sender<Request>,
    store: Reading,
    events: broadcast::Sender<Event>,
    state: watch::Receiver<LinkState>,
    unsettled: watch::Receiver<Unsettled>,
    status: watch::Receiver<LinkStatus>,
    traffic: Arc<Traffic>,
}

/// The store as handles read it, let go when the engine closes although handles live on. A std lock
/// and not a tokio one, because nothing awaits while it is held.
pub(crate) type Reading = Arc<RwLock<Option<Store>>>;

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

/// Events, in order. A reader that is too slow gets [`Event::EventsLost`] and starts again from
/// views.
#[derive(Debug)]
pub struct EventStream(broadcast::Receiver<Event>);

impl EventStream {
    /// The next event; nothing once the engine is closed.
    pub async fn next(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(count)) => Some(Event::EventsLost { count }),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl Engine {
    /// Begins to open the engine over a directory.
    #[must_use]
    pub fn builder(directory: impl Into<PathBuf>) -> EngineBuilder {
        EngineBuilder::new(directory.into())
    }

    pub(crate) fn new(
        requests: mpsc::Sender<Request>,
        store: Reading,
        events: broadcast::Sender<Event>,
        state: watch::Receiver<LinkState>,
        unsettled: watch::Receiver<Unsettled>,
        status: watch::Receiver<LinkStatus>,
        traffic: Arc<Traffic>,
    ) -> Self {
        Self {
            requests,
            store,
            events,
            state,
            unsettled,
            status,
            traffic,
        }
    }

    pub(crate) fn store(&self) -> Result<Store, EngineError> {
        let store = self.store.read().map_err(|_| EngineError::Closed)?;
        store.clone().ok_or(EngineError::Closed)
    }

    pub(crate) async fn command(&self, command: Command) -> Result<Reply, EngineError> {
        let (answer, answered) = oneshot::channel();
        let request = Request::Command(command, answer);
        self.requests
            .send(request)
            .await
            .map_err(|_| EngineError::Closed)?;
        Ok(answered.await.map_err(|_| EngineError::Closed)??)
    }

    pub(crate) async fn ask(&self, request: Request) -> Result<(), EngineError> {
        let asked = self.requests.send(request).await;
        asked.map_err(|_| EngineError::Closed)
    }

    pub(crate) fn unsettled(&self) -> watch::Receiver<Unsettled> {
        self.unsettled.clone()
    }

    pub(crate) async fn query<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Replica) -> T + Send + 'static,
    ) -> Result<T, EngineError> {
        let (answer, answered) = oneshot::channel();
        let request = Request::Query(Box::new(move |replica| {
            if answer.send(look(replica)).is_err() {
                tracing::trace!("nobody waits for the view");
            }
        }));
        self.requests
            .send(request)
            .await
            .map_err(|_| EngineError::Closed)?;
        answered.await.map_err(|_| EngineError::Closed)
    }

    /// Creates an account with this device as its first. Its card names the relays.
    ///
    /// # Errors
    /// [`EngineError::Command`] if there is one already or a name does not fit.
    pub async fn create_account(
        &self,
        name: &str,
        device: &str,
        relays: &[RelayAddress],
    ) -> Result<AccountCreated, EngineError> {
        let relays: Vec<String> = relays.iter().map(ToString::to_string).collect();
        let command = Command::CreateAccount {
            name: name.to_owned(),
            device: device.to_owned(),
            relay: (!relays.is_empty()).then(|| relays.join(" ")),
        };
        match self.command(command).await? {
            Reply::AccountCreated {
                user,
                device,
                phrase,
            } => {
                let card = self.card().await?;
                Ok(AccountCreated {
                    user,
                    device,
                    phrase,
                    card,
                    fingerprint: fingerprint(&user),
                })
            }
            _ => Err(unexpected()),
        }
    }

    /// Joins an account by a link code. Digits, completion and failure come as events.
    ///
    /// # Errors
    /// [`EngineError::Command`] if there is an account already or the code is not valid.
    pub async fn join_account(&self, code: &str, device: &str) -> Result<(), EngineError> {
        let command = Command::JoinAccount {
            code: code.to_owned(),
            device: device.to_owned(),
        };
        self.command(command).await.map(|_| ())
    }

    /// Shows a link code; the request of a new device comes as an event.
    ///
    /// # Errors
    /// [`EngineError::Command`], among others without a relay.
    pub async fn start_link(&self) -> Result<String, EngineError> {
        match self.command(Command::StartLink).await? {
            Reply::LinkStarted { code } => Ok(code),
            _ => Err(unexpected()),
        }
    }

    /// Approves the new device by the digits that it shows. One try; on return the relay holds what
    /// the new device needs.
    ///
    /// # Errors
    /// [`EngineError::Command`] if the digits are wrong or no device waits.
    pub async fn approve_link(&self, digits: &str) -> Result<DeviceId, EngineError> {
        match self
            .command(Command::ApproveLink {
                digits: digits.to_owned(),
            })
            .await?
        {
            Reply::LinkApproved { device } => Ok(device),
            _ => Err(unexpected()),
        }
    }

    /// Gives up linking.
    ///
    /// # Errors
    /// [`EngineError::Closed`].
    pub async fn cancel_link(&self) -> Result<(), EngineError> {
        self.command(Command::CancelLink).await.map(|_| ())
    }

    /// Adds a contact by card.
    ///
    /// # Errors
    /// [`EngineError::Command`] if the card does not verify.
    pub async fn add_contact(
        &self,
        card: &str,
        alias: Option<&str>,
    ) -> Result<UserId, EngineError> {
        let command = Command::AddContact {
            card: card.to_owned(),
            alias: alias.map(ToOwned::to_owned),
        };
        match self.command(command).await? {
            Reply::ContactAdded(user) => Ok(user),
            _ => Err(unexpected()),
        }
    }

    /// Creates a conversation and invites contacts to it.
    ///
    /// # Errors
    /// [`EngineError::Command`].
    pub async fn create_conversation(
        &self,
        name: &str,
        members: &[UserId],
        segment_messages: Option<u32>,
    ) -> Result<Conversation, EngineError> {
        self.found_conversation(name, members, segment_messages, History::Full)
            .await
    }

    /// A handle to a conversation.
    ///
    /// # Errors
    /// [`EngineError::Command`] if it is not on this device.
    pub async fn conversation(&self, id: ConversationId) -> Result<Conversation, EngineError> {
        match self.query(move |replica| replica.conversation(&id)).await? {
            Some(_) => Ok(Conversation::new(id, self.clone())),
            None => Err(CommandError::UnknownConversation(id).into()),
        }
    }

    /// All conversations.
    ///
    /// # Errors
    /// [`EngineError::Closed`].
    pub async fn conversations(&self) -> Result<Vec<ConversationInfo>, EngineError> {
        self.query(Replica::conversations).await
    }

    /// One conversation, as shown to people.
    ///
    /// # Errors
    /// [`EngineError::Closed`].
    pub async fn conversation_info(
        &self,
        id: ConversationId,
    ) -> Result<Option<ConversationInfo>, EngineError> {
        self.query(move |replica| replica.conversation(&id)).await
    }

    /// This user's devices.
    ///
    /// # Errors
    /// [`EngineError::Closed`].
    pub async fn devices(&self) -> Result<Vec<DeviceInfo>, EngineError> {
        self.query(Replica::devices).await
    }

    /// Everybody this device knows.
    ///
    /// # Errors
    /// [`EngineError::Closed`].
    pub async fn contacts(&self) -> Result<Vec<ContactInfo>, EngineError> {
        self.query(Replica::contacts).await
    }

    /// The name by which a user is shown here.
    ///
    /// # Errors
    /// [`EngineError::Closed`].
    pub async fn name_of(&self, user: UserId) -> Result<String, EngineError> {
        self.query(move |replica| replica.name_of(&user)).await
    }

    /// The state in one look.
    ///
    /// # Errors
    /// [`EngineError::Closed`].
    pub async fn overview(&self) -> Result<Overview, EngineError> {
        self.query(Replica::overview).await
    }

    /// How far this device has come with what it is to have. Each change comes as
    /// [`Event::Progress`] as well.
    ///
    /// # Errors
    /// [`EngineError::Closed`].
    pub async fn progress(&self) -> Result<Progress, EngineError> {
        self.query(Replica::progress).await
    }

    /// The card that others add this person by.
    ///
    /// # Errors
    /// [`EngineError::Command`] without an account.
    pub async fn card(&self) -> Result<String, EngineError> {
        let overview = self.overview().await?;
        overview.card.ok_or_else(|| CommandError::NoAccount.into())
    }

    /// What happens from now on.
    #[must_use]
    pub fn events(&self) -> EventStream {
        EventStream(self.events.subscribe())
    }

    /// Stops in order: what is asked for is done, the store is flushed, the run is ended so that the
    /// next start goes on with it.
    ///
    /// # Errors
    /// [`EngineError::Close`] if the store could not be written.
    pub async fn close(self) -> Result<(), EngineError> {
        let (answer, answered) = oneshot::channel();
        let request = Request::Close(answer);
        self.requests
            .send(request)
            .await
            .map_err(|_| EngineError::Closed)?;
        let closed = answered.await.map_err(|_| EngineError::Closed)?;
        // The driver ends by itself; when it does, this channel closes, and the store is let go.
        self.requests.closed().await;
        closed.map_err(EngineError::Close)
    }
}

pub(crate) fn unexpected() -> EngineError {
    CommandError::Fault("the answer is of another kind".to_owned()).into()
}
