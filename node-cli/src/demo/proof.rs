//! Whether all devices hold the same: every message in order, every document head.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::Serialize;
use sha2::{Digest, Sha256};
use sheaf_engine::{ConversationId, ConversationInfo, MessageId, MessageRecord, Page};

use super::Players;
use super::player::Player;
use crate::exit::Failure;

/// Pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Messages compared at a time.
const PAGE: usize = 1_000;

/// What one device holds.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(super) struct Holding {
    pub(super) device: String,
    pub(super) conversations: usize,
    pub(super) messages: u64,
    pub(super) segments: usize,
    pub(super) pending: u64,
    /// Digest over the heads of every segment of every conversation.
    pub(super) heads: String,
}

/// The comparison.
#[derive(Debug, Serialize)]
pub(super) struct Proof {
    pub(super) devices: Vec<Holding>,
    /// Messages written in all.
    pub(super) written: u64,
    /// Messages compared, on every device.
    pub(super) compared: u64,
    /// Conversations in which ids or texts differ between two devices.
    pub(super) different_messages: usize,
    /// Conversations in which document heads differ.
    pub(super) different_heads: usize,
    /// The devices agreed within the time given, every time they were asked to.
    pub(super) agreed_in_time: bool,
}

impl Proof {
    /// Everything is everywhere, and the same.
    pub(super) fn is_equal(&self) -> bool {
        self.agreed_in_time
            && self.different_messages == 0
            && self.different_heads == 0
            && self.compared == self.written
            && self
                .devices
                .iter()
                .all(|device| device.messages == self.written)
    }
}

/// What is compared of a conversation before its messages.
#[derive(PartialEq, Eq)]
struct Heads {
    messages: u64,
    heads: Vec<(u32, Vec<[u8; 32]>)>,
}

type State = BTreeMap<ConversationId, Heads>;

fn state(known: Vec<ConversationInfo>) -> State {
    let heads = |info: ConversationInfo| {
        let mut heads = info.heads;
        heads
            .iter_mut()
            .for_each(|(_, heads)| heads.sort_unstable());
        heads.sort_unstable();
        let messages = info.messages;
        (info.conversation, Heads { messages, heads })
    };
    known.into_iter().map(heads).collect()
}

/// Waits until all devices are connected, have nothing left to send and have the same heads; false
/// when that takes too long.
///
/// # Errors
/// A device that cannot be asked.
pub(super) async fn wait_equal(players: &Players, max: Duration) -> Result<bool, Failure> {
    let begun = Instant::now();
    while begun.elapsed() < max {
        if idle(players).await? && same(players).await? {
            return Ok(true);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(false)
}

async fn idle(players: &Players) -> Result<bool, Failure> {
    for player in players.iter() {
        let overview = player.engine.overview().await?;
        let left = overview.pending + overview.parked;
        if left > 0 || !overview.connected || !overview.caught_up {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn same(players: &Players) -> Result<bool, Failure> {
    let [first, rest @ ..] = players.as_ref();
    let reference = state(first.engine.conversations().await?);
    for player in rest {
        if state(player.engine.conversations().await?) != reference {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Compares everything.
///
/// # Errors
/// A device that cannot be asked.
pub(super) async fn compare(
    players: &Players,
    written: u64,
    agreed_in_time: bool,
) -> Result<Proof, Failure> {
    let mut states = Vec::new();
    let mut devices = Vec::new();
    for player in players.iter() {
        let state = state(player.engine.conversations().await?);
        devices.push(holding(player, &state).await?);
        states.push(state);
    }
    let mut proof = Proof {
        devices,
        written,
        compared: 0,
        different_messages: 0,
        different_heads: 0,
        agreed_in_time,
    };
    let ids: Vec<ConversationId> = states
        .iter()
        .flat_map(|state| state.keys())
        .copied()
        .collect();
    let ids: BTreeSet<ConversationId> = ids.into_iter().collect();
    for id in ids {
        let mut known = states.iter().map(|state| state.get(&id));
        let reference = known.next().flatten();
        if reference.is_none() || known.any(|other| other != reference) {
            proof.different_heads += 1;
        }
        match compare_messages(players, id).await? {
            Some(count) => proof.compared += count,
            None => proof.different_messages += 1,
        }
    }
    Ok(proof)
}

async fn holding(player: &Player, state: &State) -> Result<Holding, Failure> {
    let mut digest = Sha256::new();
    for (id, known) in state {
        digest.update(id.0);
        for (segment, heads) in &known.heads {
            digest.update(segment.to_be_bytes());
            heads.iter().for_each(|head| digest.update(head));
        }
    }
    let digest = data_encoding::HEXLOWER.encode(&digest.finalize());
    Ok(Holding {
        device: player.seat.name(),
        conversations: state.len(),
        messages: state.values().map(|known| known.messages).sum(),
        segments: state.values().map(|known| known.heads.len()).sum(),
        pending: player.engine.overview().await?.pending,
        heads: digest.chars().take(16).collect(),
    })
}

/// Number of messages if every device lists the same ones, in the same order.
async fn compare_messages(players: &Players, id: ConversationId) -> Result<Option<u64>, Failure> {
    let [first, rest @ ..] = players.as_ref();
    let (mut after, mut count) = (None, 0_u64);
    loop {
        let reference = page(first, id, after).await?;
        for player in rest {
            if page(player, id, after).await? != reference {
                return Ok(None);
            }
        }
        count += u64::try_from(reference.len()).unwrap_or(u64::MAX);
        match reference.last() {
            Some(last) => after = Some(last.message),
            None => return Ok(Some(count)),
        }
    }
}

async fn page(
    player: &Player,
    id: ConversationId,
    after: Option<MessageId>,
) -> Result<Vec<MessageRecord>, Failure> {
    let Ok(conversation) = player.engine.conversation(id).await else {
        return Ok(Vec::new());
    };
    let page = Page {
        limit: PAGE,
        before: None,
        after,
    };
    // From the beginning when there is no cursor: the newest would be listed otherwise.
    let page = Page {
        after: page.after.or_else(|| MessageId::from_bytes([0; 16]).ok()),
        ..page
    };
    Ok(conversation.messages(page)?)
}
