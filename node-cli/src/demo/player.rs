//! One device on the stage.

use std::path::PathBuf;
use std::time::Duration;

use indicatif::ProgressBar;
use sheaf_engine::{Conversation, ConversationId, Engine, MessageId, Page, Policy};
use sheaf_protocol::RelayAddress;
use tokio::time::{Instant, timeout};
use zeroize::Zeroizing;

use super::tracker::Tracker;
use crate::exit::Failure;
use crate::session::connect;

/// Devices of the demo.
pub(super) const COUNT: usize = 3;
/// Place of the phone among them: the one that goes offline.
pub(super) const PHONE: usize = 1;

/// How long a device waits for what another one wrote.
const ARRIVE_MAX: Duration = Duration::from_secs(300);
/// After this long without an event the store is asked.
const ASK_STORE: Duration = Duration::from_millis(500);
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// What a device keeps while it is closed.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    pub(super) user: &'static str,
    pub(super) device: &'static str,
    pub(super) directory: PathBuf,
    pub(super) key: Zeroizing<[u8; 32]>,
    pub(super) relay: RelayAddress,
}

/// A device that is open.
#[derive(Debug, Clone)]
pub(super) struct Player {
    pub(super) seat: Seat,
    pub(super) engine: Engine,
    pub(super) tracker: Tracker,
    pub(super) bar: ProgressBar,
}

impl Seat {
    /// Whose device it is, and which.
    pub(super) fn name(&self) -> String {
        format!("{}'s {}", self.user, self.device)
    }

    /// Opens the device.
    ///
    /// # Errors
    /// What opening fails with.
    pub(super) async fn open(self, online: bool, bar: ProgressBar) -> Result<Player, Failure> {
        // The demo plays years of talk in seconds: that is no flood.
        let policy = Policy::without_message_limit();
        let mut builder = Engine::builder(&self.directory)
            .key(*self.key)
            .policy(policy);
        if online {
            builder = builder.relay(self.relay.clone());
        }
        let engine = builder.open().await?;
        let tracker = Tracker::start(engine.events(), bar.clone());
        Ok(Player {
            seat: self,
            engine,
            tracker,
            bar,
        })
    }
}

impl Player {
    /// Waits for the relay's hello.
    ///
    /// # Errors
    /// The relay cannot be reached.
    pub(super) async fn connect(&self) -> Result<(), Failure> {
        connect(&self.engine, CONNECT_MAX).await
    }

    /// Waits until a conversation is here.
    ///
    /// # Errors
    /// It does not come.
    pub(super) async fn conversation(&self, id: ConversationId) -> Result<Conversation, Failure> {
        let deadline = Instant::now() + ARRIVE_MAX;
        while Instant::now() < deadline {
            if let Ok(conversation) = self.engine.conversation(id).await {
                return Ok(conversation);
            }
            // Answered at once when it comes, and asked again when the event was lost.
            let _came = timeout(ASK_STORE, self.tracker.conversation(id)).await;
        }
        Err(self.missing(&format!("conversation {id}")))
    }

    /// Waits until a message of another device is here.
    ///
    /// # Errors
    /// It does not come.
    pub(super) async fn arrival(
        &self,
        conversation: &Conversation,
        message: MessageId,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + ARRIVE_MAX;
        while Instant::now() < deadline {
            if let Ok(Some(_)) = timeout(ASK_STORE, self.tracker.message(message)).await {
                return Ok(());
            }
            if holds(conversation, message)? {
                return Ok(());
            }
        }
        Err(self.missing(&format!("message {message}")))
    }

    fn missing(&self, what: &str) -> Failure {
        Failure::failed(format!("{what} did not reach {} in time", self.seat.name()))
    }
}

/// Looks a message up in the store.
pub(super) fn holds(conversation: &Conversation, message: MessageId) -> Result<bool, Failure> {
    let place = u128::from_be_bytes(*message.as_bytes()).saturating_sub(1);
    let page = Page {
        limit: 1,
        before: None,
        after: MessageId::from_bytes(place.to_be_bytes()).ok(),
    };
    let next = conversation.messages(page)?;
    Ok(next.first().is_some_and(|record| record.message == message))
}
