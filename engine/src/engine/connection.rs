//! The handle's part about the connection.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sheaf_replica::{CommandError, Overview, Replica};

use super::{Counters, Engine, EngineError};
use crate::activity::{Activity, LinkStatus};
use crate::driver::{LinkState, Request, Unsettled};
use crate::link::LinkError;

impl Engine {
    /// How the connection stands.
    #[must_use]
    pub fn link_state(&self) -> LinkState {
        self.state.borrow().clone()
    }

    /// Bytes that went over the link.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            sent_bytes: self.traffic.sent.load(Ordering::Relaxed),
            received_bytes: self.traffic.received.load(Ordering::Relaxed),
            sent_frames: self.traffic.frames_sent.load(Ordering::Relaxed),
            received_frames: self.traffic.frames_received.load(Ordering::Relaxed),
        }
    }

    /// Tries to connect at once instead of waiting for the next attempt.
    ///
    /// # Errors
    /// [`EngineError::Closed`].
    pub async fn connect_now(&self) -> Result<(), EngineError> {
        self.requests
            .send(Request::Connect)
            .await
            .map_err(|_| EngineError::Closed)
    }

    /// How the connection stands, in more words: transport, round trip, when it is tried again.
    #[must_use]
    pub fn link_status(&self) -> LinkStatus {
        let mut status = self.status.borrow().clone();
        let round_trip = self.traffic.round_trip_us.load(Ordering::Relaxed);
        let known = round_trip > 0 && status.transport.is_some();
        status.round_trip = known.then(|| Duration::from_micros(round_trip));
        status
    }

    /// The system says that the network is another one: a connection goes on over the new one, or is
    /// built anew at once, and what was learned about the old network is forgotten.
    ///
    /// # Errors
    /// [`EngineError::Closed`].
    pub async fn network_changed(&self) -> Result<(), EngineError> {
        self.requests
            .send(Request::Network)
            .await
            .map_err(|_| EngineError::Closed)
    }

    /// Says what the app is doing, so that no more is read and sent than is of use.
    ///
    /// # Errors
    /// [`EngineError::Closed`].
    pub async fn set_activity(&self, activity: Activity) -> Result<(), EngineError> {
        self.requests
            .send(Request::Activity(activity))
            .await
            .map_err(|_| EngineError::Closed)
    }

    /// Waits for the relay's hello.
    ///
    /// # Errors
    /// The last [`LinkError`] once the time is over; at once if the relay's key or version is wrong
    /// or it does not admit this device, or if the store failed.
    pub async fn wait_connected(&self, timeout: Duration) -> Result<(), EngineError> {
        self.expect_store().await?;
        let mut state = self.state.clone();
        let up = state.wait_for(|state| match state {
            LinkState::Synchronizing | LinkState::Active => true,
            LinkState::Disconnected(error) => is_final(error),
            LinkState::Offline | LinkState::Connecting => false,
        });
        let reached = tokio::time::timeout(timeout, up).await.is_ok();
        match self.link_state() {
            LinkState::Synchronizing | LinkState::Active if reached => Ok(()),
            LinkState::Disconnected(error) => Err(error.into()),
            _ => Err(LinkError::Unreachable("no answer in time".to_owned()).into()),
        }
    }

    /// Waits until everything here is durable at the relay, and everything at the relay is durable
    /// here.
    ///
    /// # Errors
    /// [`EngineError::Link`] without a connection, [`EngineError::NotSettled`] once the time is
    /// over, or nothing is left but changes that this device may not send now;
    /// [`CommandError::StoreFailed`] at once.
    pub async fn wait_settled(&self, timeout: Duration) -> Result<Overview, EngineError> {
        let started = tokio::time::Instant::now();
        self.wait_connected(timeout).await?;
        let left = timeout.saturating_sub(started.elapsed());
        let mut unsettled = self.unsettled.clone();
        let settled = unsettled.wait_for(|now| {
            let written = !now.unwritten && now.pending == now.barred;
            now.failed || now.connected && now.caught_up && written && now.parked == 0
        });
        let settled = tokio::time::timeout(left, settled)
            .await
            .is_ok_and(|seen| seen.is_ok());
        self.expect_store().await?;
        let Unsettled {
            pending,
            parked,
            barred,
            ..
        } = *self.unsettled.borrow();
        if settled && barred == 0 {
            return self.overview().await;
        }
        Err(EngineError::NotSettled { pending, parked })
    }
}

impl Engine {
    /// Why the store could not be written or read, if it was so ([`Event::StoreFailed`](crate::Event::StoreFailed)).
    ///
    /// # Errors
    /// [`EngineError::Closed`].
    pub async fn store_failure(&self) -> Result<Option<String>, EngineError> {
        let failed = |replica: &Replica| replica.failed().map(ToOwned::to_owned);
        self.query(failed).await
    }

    /// # Errors
    /// [`CommandError::StoreFailed`].
    pub(crate) async fn expect_store(&self) -> Result<(), EngineError> {
        match self.store_failure().await? {
            Some(reason) => Err(CommandError::StoreFailed(reason).into()),
            None => Ok(()),
        }
    }
}

fn is_final(error: &LinkError) -> bool {
    match error {
        LinkError::WrongKey | LinkError::Version | LinkError::NotAdmitted(_) => true,
        LinkError::Resolve(_) | LinkError::Unreachable(_) | LinkError::Broken(_) => false,
    }
}
