//! How much of the history is on this device: what is kept, what is fetched, how much room it takes.

use std::time::Duration;

use sheaf_crypto::ConversationId;
use sheaf_replica::{Away, Command, Keep, Replica, Reply};

use crate::conversation::Conversation;
use crate::engine::{Engine, EngineError, unexpected};
use crate::store::Weight;

/// How often it is looked whether what was begun is done with.
const POLL: Duration = Duration::from_millis(10);
/// How long a change of what is kept waits for what goes by it.
const DROP_MAX: Duration = Duration::from_secs(10);

/// A segment that is here again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FetchedSegment {
    /// Which.
    pub segment: u32,
    /// Messages in it.
    pub messages: u64,
    /// There are older ones that are not here.
    pub older: bool,
}

/// What a repair has removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Repaired {
    /// Damaged records that were removed.
    pub records: u64,
    /// Segments that are to be fetched from other devices: the next connection does it.
    pub to_fetch: u64,
}

/// How much room a conversation takes on this device.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConversationStats {
    /// The conversation.
    pub conversation: ConversationId,
    /// Its name.
    pub name: String,
    /// Listed messages.
    pub messages: Weight,
    /// Segments that are here.
    pub segments_held: u64,
    /// Segments that were dropped here.
    pub segments_dropped: u64,
    /// Segments of which the store lost something.
    pub segments_damaged: u64,
    /// Accepted envelopes.
    pub envelopes: Weight,
    /// Saved documents.
    pub snapshots: Weight,
    /// Records that wait for what they depend on.
    pub parked: Weight,
    /// Accepted envelopes that are not applied.
    pub withheld: Weight,
    /// Bytes of envelopes and saved documents of all segments but the newest: what a drop can free at
    /// most. The files of the store do not shrink by it; what is written later takes the room.
    pub droppable_bytes: u64,
}

impl Conversation {
    /// Keeps so much of the conversation on this device from now on; `None` for what
    /// [`Policy::keep`](crate::Policy::keep) says. Whole old segments are dropped, only what every
    /// device that takes part has said to have. It returns once they are, or after ten seconds: the
    /// rest is dropped in the background, or after the next start.
    ///
    /// # Errors
    /// [`EngineError::Command`].
    pub async fn keep(&self, keep: Option<Keep>) -> Result<(), EngineError> {
        let conversation = self.id();
        let command = Command::SetKeep { conversation, keep };
        self.engine().command(command).await?;
        let dropped = async {
            while self.engine().query(Replica::is_busy).await? {
                tokio::time::sleep(POLL).await;
            }
            Ok(())
        };
        let dropped = tokio::time::timeout(DROP_MAX, dropped).await;
        dropped.unwrap_or(Ok(()))
    }

    /// Fetches the newest segment that is not here from another device, and proves that it is what
    /// it was; `None` if everything is here.
    ///
    /// # Errors
    /// [`EngineError::Command`] with [`CommandError::NotHere`](crate::CommandError::NotHere) if no
    /// device gave it yet: it names those that were asked or can be. What they answer later is still
    /// taken in while this engine runs. [`CommandError::Forgotten`](crate::CommandError::Forgotten) if
    /// nobody can give it any more.
    pub async fn fetch_older(&self) -> Result<Option<FetchedSegment>, EngineError> {
        self.fetch_segment(None).await
    }

    /// Fetches one segment that is not here, as [`fetch_older`](Self::fetch_older) does the newest;
    /// `None` if it is here. [`list`](Self::list) names those that a page lacks.
    ///
    /// # Errors
    /// Those of [`fetch_older`](Self::fetch_older).
    pub async fn fetch(&self, segment: u32) -> Result<Option<FetchedSegment>, EngineError> {
        self.fetch_segment(Some(segment)).await
    }

    async fn fetch_segment(
        &self,
        segment: Option<u32>,
    ) -> Result<Option<FetchedSegment>, EngineError> {
        let command = Command::Fetch(self.id(), segment);
        match self.engine().command(command).await? {
            Reply::NothingOlder => Ok(None),
            Reply::Fetched {
                segment,
                messages,
                older,
            } => Ok(Some(FetchedSegment {
                segment,
                messages,
                older,
            })),
            _ => Err(unexpected()),
        }
    }
}

impl Engine {
    /// Removes damaged records that can be derived again or fetched, derives what can be derived, and
    /// marks what is to be fetched.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read or written.
    pub async fn repair(&self) -> Result<Repaired, EngineError> {
        let store = self.store()?;
        let conversations = self.conversations().await?;
        let ids: Vec<_> = conversations.iter().map(|info| info.conversation).collect();
        let damaged = store.damaged(&ids)?;
        let records = u64::try_from(damaged.len()).unwrap_or(u64::MAX);
        self.command(Command::Repair(damaged)).await?;
        while self.query(Replica::is_busy).await? {
            tokio::time::sleep(POLL).await;
        }
        // The answer comes when everything before it is durable.
        self.command(Command::Repair(Vec::new())).await?;
        let conversations = self.conversations().await?;
        let away = conversations.iter().flat_map(|info| &info.away);
        let to_fetch = away.filter(|(_, why)| *why == Away::Damaged).count();
        Ok(Repaired {
            records,
            to_fetch: u64::try_from(to_fetch).unwrap_or(u64::MAX),
        })
    }

    /// How much room every conversation takes, and the whole store on the disk, in bytes.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub async fn stats(&self) -> Result<(Vec<ConversationStats>, u64), EngineError> {
        let store = self.store()?;
        let mut all = Vec::new();
        for info in self.conversations().await? {
            let weighed = store.weigh(&info.conversation)?;
            let held: Vec<u32> = info.heads.iter().map(|(segment, _)| *segment).collect();
            let droppable = held.split_last().map_or(&[][..], |(_, older)| older);
            let bytes = droppable.iter().filter_map(|s| weighed.segments.get(s));
            let away = |kind: Away| {
                let away = info.away.iter().filter(|(_, why)| *why == kind);
                u64::try_from(away.count()).unwrap_or(u64::MAX)
            };
            all.push(ConversationStats {
                conversation: info.conversation,
                segments_held: u64::try_from(held.len()).unwrap_or(u64::MAX),
                segments_dropped: away(Away::Dropped).saturating_add(away(Away::Forgotten)),
                segments_damaged: away(Away::Damaged),
                droppable_bytes: bytes.sum(),
                name: info.name,
                messages: weighed.messages,
                envelopes: weighed.envelopes,
                snapshots: weighed.snapshots,
                parked: weighed.parked,
                withheld: weighed.withheld,
            });
        }
        let disk = store.disk_bytes()?;
        Ok((all, disk))
    }
}

#[cfg(test)]
mod tests;
