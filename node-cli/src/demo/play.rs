//! Playing lines: authors are dealt to devices, every line is durable where it is written, and a
//! reply is written only where the line it answers has been seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sheaf_engine::{
    CommandError, Conversation, ConversationId, EngineError, ImportDraft, MessageId, UserId,
};
use tokio::task::JoinSet;

use super::Players;
use super::player::{COUNT, PHONE, holds};
use super::script::{Act, Chunk, Script};
use crate::exit::Failure;
use crate::interchange::{Batch, Line};

/// Conversations played at once.
const CONVERSATIONS_AT_ONCE: usize = 16;
/// Longest name that a conversation of the play gets.
const NAME_CHARACTERS: usize = 16;
/// Pause before a full queue is tried again.
const QUEUE_PAUSE: Duration = Duration::from_millis(50);

/// One conversation while it is played. It travels from task to task.
struct Part {
    id: ConversationId,
    lanes: Vec<Lane>,
    dealt: BTreeMap<String, usize>,
    sent: BTreeMap<u64, (MessageId, usize)>,
    unlinked: u64,
}

/// One device's share of a conversation.
struct Lane {
    conversation: Conversation,
    batch: Batch<u64>,
}

/// The play.
pub(super) struct Play<'a> {
    script: &'a Script,
    parts: BTreeMap<String, Part>,
    under_way: BTreeSet<String>,
}

impl<'a> Play<'a> {
    pub(super) fn new(script: &'a Script) -> Self {
        Self {
            script,
            parts: BTreeMap::new(),
            under_way: BTreeSet::new(),
        }
    }

    /// The first conversation.
    ///
    /// # Errors
    /// Nothing was played yet.
    pub(super) fn first(&self) -> Result<ConversationId, Failure> {
        let first = self.parts.get(self.script.first());
        first
            .map(|part| part.id)
            .ok_or_else(|| Failure::failed("no conversation was created"))
    }

    /// Messages written.
    pub(super) fn sent(&self) -> u64 {
        let sent = self.parts.values().map(|part| part.sent.len());
        u64::try_from(sent.sum::<usize>()).unwrap_or(u64::MAX)
    }

    /// Replies written without naming what they answer, because it was out of reach.
    pub(super) fn unlinked(&self) -> u64 {
        self.parts.values().map(|part| part.unlinked).sum()
    }

    /// Creates the conversations of an act and waits until every device has them.
    ///
    /// # Errors
    /// What creating fails with.
    pub(super) async fn prepare(&mut self, act: Act, players: &Players) -> Result<(), Failure> {
        for name in self.script.conversations(act) {
            let mut part = self.part(name, players).await?;
            // Handles keep a device's store open, and the phone is about to be closed.
            part.lanes.clear();
            self.parts.insert(name.to_owned(), part);
        }
        Ok(())
    }

    /// Plays one act, several conversations at once.
    ///
    /// # Errors
    /// The first failure of any device.
    pub(super) async fn act(&mut self, act: Act, players: &Players) -> Result<(), Failure> {
        let mut tasks = JoinSet::new();
        for chunk in self.script.chunks(act)? {
            let chunk = chunk?;
            while tasks.len() >= CONVERSATIONS_AT_ONCE
                || self.under_way.contains(&chunk.conversation)
            {
                self.take_back(&mut tasks).await?;
            }
            let part = self.part(&chunk.conversation, players).await?;
            self.under_way.insert(chunk.conversation.clone());
            tasks.spawn(perform(part, chunk, act, Arc::clone(players)));
        }
        while !tasks.is_empty() {
            self.take_back(&mut tasks).await?;
        }
        Ok(())
    }

    async fn take_back(&mut self, tasks: &mut JoinSet<Performed>) -> Result<(), Failure> {
        let Some(done) = tasks.join_next().await else {
            return Ok(());
        };
        let ended = |error| Failure::failed(format!("a task of the play ended: {error}"));
        let (name, part) = done.map_err(ended)??;
        self.under_way.remove(&name);
        self.parts.insert(name, part);
        Ok(())
    }

    /// The part of a conversation, with handles of the devices as they are now.
    async fn part(&mut self, name: &str, players: &Players) -> Result<Part, Failure> {
        let mut part = match self.parts.remove(name) {
            Some(part) => part,
            None => create(name, players).await?,
        };
        part.lanes.clear();
        for player in players.iter() {
            part.lanes.push(Lane {
                conversation: player.conversation(part.id).await?,
                batch: Batch::default(),
            });
        }
        Ok(part)
    }
}

type Performed = Result<(String, Part), Failure>;

async fn create(name: &str, players: &Players) -> Result<Part, Failure> {
    let [laptop, _, other] = players.as_ref();
    let overview = other.engine.overview().await?;
    let members: Vec<UserId> = overview.user.into_iter().collect();
    let short: String = name.chars().take(NAME_CHARACTERS).collect();
    let title = if short.is_empty() {
        "demo".to_owned()
    } else {
        short
    };
    let created = laptop
        .engine
        .create_conversation(&title, &members, None)
        .await?;
    Ok(Part {
        id: created.id(),
        lanes: Vec::new(),
        dealt: BTreeMap::new(),
        sent: BTreeMap::new(),
        unlinked: 0,
    })
}

async fn perform(mut part: Part, chunk: Chunk, act: Act, players: Players) -> Performed {
    for line in &chunk.lines {
        part.take(line, act, &players).await?;
    }
    for device in 0..COUNT {
        part.fly(device, &players).await?;
    }
    part.lanes.clear();
    Ok((chunk.conversation, part))
}

fn no_device() -> Failure {
    Failure::failed("the play names a device that is not there")
}

impl Part {
    fn lane(&mut self, device: usize) -> Result<&mut Lane, Failure> {
        self.lanes.get_mut(device).ok_or_else(no_device)
    }

    /// The device of an author: in turn, as they first speak.
    fn deal(&mut self, author: &str) -> usize {
        let next = self.dealt.len() % COUNT;
        *self.dealt.entry(author.to_owned()).or_insert(next)
    }

    async fn take(&mut self, line: &Line, act: Act, players: &Players) -> Result<(), Failure> {
        let device = self.deal(line.author());
        if !self.lane(device)?.batch.has_room(line) {
            self.fly(device, players).await?;
        }
        let mut reply_to = None;
        if let Some(seq) = line.reply_to
            && !self.lane(device)?.batch.holds(&seq)
        {
            reply_to = self.answered(seq, device, act, players).await?;
        }
        let lane = self.lane(device)?;
        lane.batch.push(line.seq, line, reply_to, line.reply_to);
        Ok(())
    }

    /// The message that a line of `device` answers, once it is there. `None` if it is not part of
    /// the play, or out of reach.
    async fn answered(
        &mut self,
        seq: u64,
        device: usize,
        act: Act,
        players: &Players,
    ) -> Result<Option<MessageId>, Failure> {
        let waiting = self.lanes.iter().position(|lane| lane.batch.holds(&seq));
        if let Some(writer) = waiting {
            self.fly(writer, players).await?;
        }
        let Some((message, writer)) = self.sent.get(&seq).copied() else {
            return Ok(None);
        };
        if writer == device {
            return Ok(Some(message));
        }
        let player = players.get(device).ok_or_else(no_device)?;
        let apart = act == Act::Offline && (writer == PHONE) != (device == PHONE);
        let conversation = self.lane(device)?.conversation.clone();
        if !apart {
            player.arrival(&conversation, message).await?;
            return Ok(Some(message));
        }
        if holds(&conversation, message)? {
            return Ok(Some(message));
        }
        self.unlinked += 1;
        Ok(None)
    }

    /// Writes what one device has gathered; durable there when this returns.
    async fn fly(&mut self, device: usize, players: &Players) -> Result<(), Failure> {
        let lane = self.lane(device)?;
        if lane.batch.is_empty() {
            return Ok(());
        }
        let (places, drafts) = lane.batch.take();
        let ids = import(&lane.conversation, drafts).await?;
        let player = players.get(device).ok_or_else(no_device)?;
        player.bar.inc(u64::try_from(ids.len()).unwrap_or(0));
        let sent = places.into_iter().zip(ids);
        self.sent
            .extend(sent.map(|(place, id)| (place, (id, device))));
        Ok(())
    }
}

/// Imports; a full queue is waited for, since the relay empties it.
async fn import(
    conversation: &Conversation,
    drafts: Vec<ImportDraft>,
) -> Result<Vec<MessageId>, Failure> {
    loop {
        match conversation.import(drafts.clone()).await {
            Err(EngineError::Command(CommandError::QueueFull { .. })) => {
                tokio::time::sleep(QUEUE_PAUSE).await;
            }
            other => return Ok(other?),
        }
    }
}
