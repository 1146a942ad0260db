//! What the demo shows at its end.

use std::time::Duration;

use serde::Serialize;

use super::latency::Latency;
use super::proof::Proof;
use super::sight::Sight;
use crate::output::table;

/// How long things took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// From the first line to the last one written.
    pub(super) played: Duration,
    /// From opening the phone again until all devices were equal.
    pub(super) rejoined: Duration,
    /// From the last line written until all devices were equal.
    pub(super) converged: Duration,
}

/// What the relay made durable up to some moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    pub(super) records: u64,
    pub(super) bytes: u64,
}

/// What went over the wire.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Traffic {
    /// Messages played.
    messages: u64,
    /// Records that the relay made durable, those of membership included.
    records: u64,
    /// Sealed bytes of them.
    bytes: u64,
    /// Sealed bytes for each message.
    bytes_per_message: f64,
}

impl Traffic {
    pub(super) fn between(before: Taken, after: Taken, messages: u64) -> Self {
        let bytes = after.bytes.saturating_sub(before.bytes);
        Self {
            messages,
            records: after.records.saturating_sub(before.records),
            bytes,
            bytes_per_message: per(bytes, messages),
        }
    }
}

/// The whole report.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    converged: bool,
    #[serde(flatten)]
    proof: Proof,
    left_out: u64,
    unlinked_replies: u64,
    played_ms: u128,
    messages_per_second: f64,
    rejoined_ms: u128,
    converged_ms: u128,
    latency: Latency,
    traffic: Traffic,
    relay_sees: Sight,
}

impl Report {
    pub(super) fn new(
        proof: Proof,
        times: Times,
        latency: Latency,
        traffic: Traffic,
        relay_sees: Sight,
        (left_out, unlinked_replies): (u64, u64),
    ) -> Self {
        Self {
            converged: proof.is_equal(),
            proof,
            left_out,
            unlinked_replies,
            played_ms: times.played.as_millis(),
            messages_per_second: rate(traffic.messages, times.played),
            rejoined_ms: times.rejoined.as_millis(),
            converged_ms: times.converged.as_millis(),
            latency,
            traffic,
            relay_sees,
        }
    }

    pub(super) fn is_equal(&self) -> bool {
        self.converged
    }

    pub(super) fn text(&self) -> String {
        let rows: Vec<_> = self
            .proof
            .devices
            .iter()
            .map(|device| {
                vec![
                    device.device.clone(),
                    device.conversations.to_string(),
                    device.messages.to_string(),
                    device.segments.to_string(),
                    device.pending.to_string(),
                    device.heads.clone(),
                ]
            })
            .collect();
        let head = [
            "device",
            "conversations",
            "messages",
            "segments",
            "pending",
            "heads",
        ];
        let verdict = if self.converged {
            "equal: every message in order, every document head, on every device".to_owned()
        } else {
            let (messages, heads) = (self.proof.different_messages, self.proof.different_heads);
            format!("NOT EQUAL: {messages} conversations differ in messages, {heads} in heads")
        };
        format!(
            "{}\n\n{verdict}\n{} messages written, {} compared on each device\n\n{}\n\n\
             latency\n{}\n\nthe relay sees\n{}",
            table(&head, &rows),
            self.proof.written,
            self.proof.compared,
            self.figures(),
            self.latency.text(),
            self.relay_sees.text()
        )
    }

    fn figures(&self) -> String {
        let traffic = &self.traffic;
        let noted = |count: u64, what: &str| match count {
            0 => String::new(),
            count => format!("\n{count} {what}"),
        };
        let unlinked = noted(
            self.unlinked_replies,
            "replies were written apart from what they answer",
        );
        let left_out = noted(self.left_out, "lines without text were left out");
        format!(
            "played in {} ms, {:.0} messages a second\n\
             phone back and equal after {} ms\nall equal {} ms after the last message\n\
             {} sealed records, {} bytes on the wire, {:.0} bytes a message{unlinked}{left_out}",
            self.played_ms,
            self.messages_per_second,
            self.rejoined_ms,
            self.converged_ms,
            traffic.records,
            traffic.bytes,
            traffic.bytes_per_message
        )
    }
}

/// How many a second.
fn rate(count: u64, time: Duration) -> f64 {
    per(count, 1) / time.as_secs_f64().max(f64::EPSILON)
}

/// A quotient for people; counts beyond 2^32 are cut.
fn per(count: u64, of: u64) -> f64 {
    let small = |number: u64| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    small(count) / small(of.max(1))
}
