//! The relays of a device, as an app sees them.

use std::time::Duration;

use sheaf_protocol::RelayAddress;
use sheaf_replica::{Command, EvidenceInfo, Replica, Timestamp, limits};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::driver::{LinkState, Request};
use crate::engine::{Engine, EngineError};
use crate::link::Transport;

/// How often it is looked whether a relay has everything.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How one relay stands.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RelayStatus {
    /// Where it is.
    pub address: RelayAddress,
    /// How the connection to it stands.
    pub state: LinkState,
    /// What carries the connection, while there is one.
    pub transport: Option<Transport>,
    /// When it last said hello to this device; `None` if it never did.
    pub hello: Option<Timestamp>,
    /// Records on their way to it.
    pub pending: u64,
    /// Conversations of which it is not known to have all that this device wrote.
    pub behind: u64,
    /// Records that it has left without a receipt for half a minute or longer, and since when.
    pub unconfirmed: Option<(u64, Timestamp)>,
    /// Pieces of evidence against it: [`Engine::evidence`].
    pub evidence: u64,
}

impl RelayStatus {
    /// Whether it said hello and holds all that this device has to offer.
    #[must_use]
    pub fn has_everything(&self) -> bool {
        let connected = matches!(self.state, LinkState::Synchronizing | LinkState::Active);
        connected && self.pending == 0 && self.behind == 0
    }
}

impl Engine {
    /// Connects to these relays from now on, and to no others. A change is offered to all of them,
    /// and counts as sent with the first receipt; a relay that is new gets what this device wrote.
    ///
    /// # Errors
    /// [`EngineError::Closed`].
    pub async fn use_relays(&self, relays: Vec<RelayAddress>) -> Result<(), EngineError> {
        self.ask(Request::Relays(relays)).await
    }

    /// Remembers the relays that the card names.
    ///
    /// # Errors
    /// [`EngineError::Command`] without an account, or for more relays than
    /// [`limits::RELAYS_MAX`].
    pub async fn set_card_relays(&self, relays: &[RelayAddress]) -> Result<(), EngineError> {
        let list: Vec<String> = relays.iter().map(ToString::to_string).collect();
        let list = (!list.is_empty()).then(|| list.join(" "));
        self.command(Command::SetRelays(list)).await.map(|_| ())
    }

    /// How the relays stand that this device connects to.
    ///
    /// # Errors
    /// [`EngineError::Closed`].
    pub async fn relays(&self) -> Result<Vec<RelayStatus>, EngineError> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Links(answer)).await?;
        let links = answered.await.map_err(|_| EngineError::Closed)?;
        let known = self.query(Replica::relays).await?;
        let statuses = links.into_iter().map(|link| {
            let known = known.iter().find(|known| known.relay == link.address.relay);
            RelayStatus {
                state: link.state,
                transport: link.transport,
                hello: known.and_then(|known| known.hello),
                pending: known.map_or(0, |known| known.pending),
                behind: known.map_or(0, |known| known.behind),
                unconfirmed: known.and_then(|known| known.unconfirmed),
                evidence: known.map_or(0, |known| known.evidence),
                address: link.address,
            }
        });
        Ok(statuses
            .take(limits::RELAYS_MAX.saturating_add(1))
            .collect())
    }

    /// Proof that relays contradicted themselves, the oldest first; anybody can check a piece.
    ///
    /// # Errors
    /// [`EngineError::Closed`].
    pub async fn evidence(&self) -> Result<Vec<EvidenceInfo>, EngineError> {
        self.query(Replica::evidence).await
    }

    /// Waits until every one of these relays has all that this device has to offer. Comes back with
    /// those that have not when the time is over.
    ///
    /// # Errors
    /// [`EngineError::Closed`].
    pub async fn wait_offered(
        &self,
        relays: &[RelayAddress],
        timeout: Duration,
    ) -> Result<Vec<RelayStatus>, EngineError> {
        let deadline = Instant::now() + timeout;
        loop {
            let lacking: Vec<RelayStatus> = self
                .relays()
                .await?
                .into_iter()
                .filter(|status| relays.contains(&status.address) && !status.has_everything())
                .collect();
            if lacking.is_empty() || Instant::now() >= deadline {
                return Ok(lacking);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
