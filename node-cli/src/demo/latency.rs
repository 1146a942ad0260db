//! From send to seen, measured one message at a time.

use std::time::{Duration, Instant};

use serde::Serialize;
use sheaf_engine::{ConversationId, Draft};
use tokio::time::timeout;

use super::Players;
use super::player::Player;
use crate::exit::Failure;

/// Messages measured.
const MESSAGES: u32 = 200;
/// Pause between two of them.
const PACE: Duration = Duration::from_millis(20);
/// Longest wait for one.
const SEEN_MAX: Duration = Duration::from_secs(10);

/// What was measured, in milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct Latency {
    messages: u64,
    durable_ms_median: f64,
    seen_ms_median: f64,
    seen_ms_p99: f64,
    seen_ms_max: f64,
}

impl Latency {
    /// Messages that were sent for it.
    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    pub(super) fn text(&self) -> String {
        format!(
            "durable here    median {:.2} ms\nseen over there median {:.2} ms, p99 {:.2} ms, \
             longest {:.2} ms ({} messages, one at a time)",
            self.durable_ms_median,
            self.seen_ms_median,
            self.seen_ms_p99,
            self.seen_ms_max,
            self.messages
        )
    }
}

/// Sends from the first device and looks when the other person's device has each message.
///
/// # Errors
/// A message that is not sent or not seen.
pub(super) async fn measure(players: &Players, id: ConversationId) -> Result<Latency, Failure> {
    let [sender, _, receiver] = players.as_ref();
    let mut durable = Vec::new();
    let mut seen = Vec::new();
    let conversation = sender.conversation(id).await?;
    for number in 0..MESSAGES {
        let text = format!("measured message {number}");
        let begun = Instant::now();
        let message = conversation.send(Draft::text(text)).await?;
        durable.push(begun.elapsed());
        let arrived = timeout(SEEN_MAX, receiver.tracker.message(message)).await;
        let Ok(Some(arrived)) = arrived else {
            return Err(not_seen(receiver));
        };
        seen.push(arrived.saturating_duration_since(begun));
        tokio::time::sleep(PACE).await;
    }
    durable.sort_unstable();
    seen.sort_unstable();
    Ok(Latency {
        messages: u64::from(MESSAGES),
        durable_ms_median: milliseconds(&durable, 50),
        seen_ms_median: milliseconds(&seen, 50),
        seen_ms_p99: milliseconds(&seen, 99),
        seen_ms_max: milliseconds(&seen, 100),
    })
}

fn not_seen(receiver: &Player) -> Failure {
    let name = receiver.seat.name();
    Failure::failed(format!(
        "a message did not reach {name} in {} s",
        SEEN_MAX.as_secs()
    ))
}

/// A percentile of sorted times, by nearest rank.
fn milliseconds(sorted: &[Duration], percent: usize) -> f64 {
    let rank = sorted.len().saturating_mul(percent).div_ceil(100);
    let time = sorted.get(rank.saturating_sub(1));
    time.map_or(f64::NAN, |time| time.as_secs_f64() * 1_000.0)
}

#[cfg(test)]
mod tests;
