//! Proof of synchronisation, and repair.

use std::collections::BTreeSet;
use std::time::Duration;

use sheaf_crypto::{ConversationId, DeviceId};
use sheaf_replica::{Command, Event, Replica, Reply, SyncEntry};
use tokio::time::{Instant, timeout_at};

use crate::engine::{Engine, EngineError, unexpected};

/// How often it is looked whether devices have acknowledged.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How far a barrier came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Barrier {
    /// Everything written here before is durable at the relay.
    pub durable: bool,
    /// Devices that have not said yet that they have it all, by conversation.
    pub behind: Vec<(ConversationId, DeviceId)>,
}

/// What became of a question to one device.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resynced {
    /// The conversation.
    pub conversation: ConversationId,
    /// The device that was asked.
    pub device: DeviceId,
    /// It answered in time.
    pub answered: bool,
    /// Items and operations that it has and this device had not.
    pub missing_here: u64,
    /// Items and operations that it lacked and was sent.
    pub missing_there: u64,
    /// Records that it sent.
    pub brought: u64,
}

impl Engine {
    /// Says to the other devices at once what was seen here, instead of a while later.
    ///
    /// # Errors
    /// [`EngineError::Closed`].
    pub async fn acknowledge(&self) -> Result<(), EngineError> {
        self.command(Command::Acknowledge).await.map(|_| ())
    }

    /// The newest syncs of this device, in order: what each connection to the relays, and each file,
    /// brought and took. At most 256 are kept; the last one may still go on.
    ///
    /// # Errors
    /// [`EngineError::Closed`].
    pub async fn sync_history(&self) -> Result<Vec<SyncEntry>, EngineError> {
        self.query(Replica::syncs).await
    }

    /// Waits until everything that was written here before is durable at the relay and, with
    /// `everywhere`, until every device that takes part has said that it has it. Comes back with
    /// what is missing when the time is over.
    ///
    /// # Errors
    /// [`CommandError::StoreFailed`](sheaf_replica::CommandError::StoreFailed) at once.
    pub async fn barrier(
        &self,
        everywhere: bool,
        timeout: Duration,
    ) -> Result<Barrier, EngineError> {
        let deadline = Instant::now() + timeout;
        let mark = self.query(Replica::mark).await?;
        let mut unsettled = self.unsettled();
        let durable = timeout_at(
            deadline,
            unsettled.wait_for(|now| now.failed || now.pending == 0),
        )
        .await
        .is_ok_and(|seen| seen.is_ok());
        self.expect_store().await?;
        let mut behind = Vec::new();
        if !everywhere {
            return Ok(Barrier { durable, behind });
        }
        loop {
            let upto = mark.clone();
            behind = self.query(move |replica| replica.behind(&upto)).await?;
            self.expect_store().await?;
            if behind.is_empty() || Instant::now() >= deadline {
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(Barrier { durable, behind })
    }

    /// Asks other devices what they have, takes what is missing here and sends them what they lack.
    /// Empty lists mean all conversations and all devices that take part; `full` compares the
    /// documents too, by the Automerge sync protocol. Waits for the answers until the time is over.
    ///
    /// # Errors
    /// [`EngineError::Command`] for a conversation that is not known.
    pub async fn resync(
        &self,
        conversations: Vec<ConversationId>,
        devices: Vec<DeviceId>,
        full: bool,
        timeout: Duration,
    ) -> Result<Vec<Resynced>, EngineError> {
        let deadline = Instant::now() + timeout;
        let mut events = self.events();
        let command = Command::Resync {
            conversations,
            devices,
            full,
        };
        let Reply::Resyncing(asked) = self.command(command).await? else {
            return Err(unexpected());
        };
        let mut results: Vec<Resynced> = asked
            .iter()
            .map(|(conversation, device)| Resynced {
                conversation: *conversation,
                device: *device,
                answered: false,
                missing_here: 0,
                missing_there: 0,
                brought: 0,
            })
            .collect();
        let mut open: BTreeSet<(ConversationId, DeviceId)> = asked.into_iter().collect();
        while !open.is_empty() {
            let Ok(Some(event)) = timeout_at(deadline, events.next()).await else {
                break;
            };
            if let Event::Exchanged {
                conversation,
                device,
                missing_here,
                missing_there,
                brought,
                more,
            } = event
            {
                let same = |r: &&mut Resynced| (r.conversation, r.device) == (conversation, device);
                if let Some(result) = results.iter_mut().find(same) {
                    result.answered = true;
                    result.missing_here = result.missing_here.max(missing_here);
                    result.missing_there = result.missing_there.max(missing_there);
                    result.brought = result.brought.saturating_add(brought);
                }
                if !more {
                    open.remove(&(conversation, device));
                }
            }
        }
        Ok(results)
    }
}
