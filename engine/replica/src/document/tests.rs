//! Tests that reach inside; `tests/gate.rs` looks at the gate from outside.
#![allow(
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    let_underscore_drop,
    reason = "a test may stop at its first error"
)]

mod codec;
mod convergence;
mod genesis;
mod hostile;
mod id;
mod segment;
mod shape;
mod state;
mod sync;

use super::*;

pub(super) const CONVERSATION: [u8; 32] = [7; 32];

pub(super) fn tag(device: u8) -> [u8; 8] {
    [device; 8]
}

pub(super) fn actor(device: u8) -> [u8; 16] {
    [device.wrapping_mul(37) ^ 0x5a; 16]
}

pub(super) fn id(device: u8, ms: u64) -> MessageId {
    MessageId::new(HybridTime::new(ms, 0).unwrap(), tag(device))
}

pub(super) fn text(device: u8, ms: u64, text: &str) -> NewMessage {
    NewMessage {
        id: id(device, ms),
        text: text.to_owned(),
        reply_to: None,
        kind: MessageKind::Text,
        origin: None,
    }
}

pub(super) fn fresh() -> Segment {
    Segment::genesis(&CONVERSATION, 0).unwrap()
}

/// The changes as one envelope of a device.
pub(super) fn from(device: u8, changes: &[&LocalChange]) -> Incoming {
    Incoming {
        actor: actor(device),
        author_tag: tag(device),
        changes: changes.iter().map(|change| change.bytes.clone()).collect(),
    }
}

pub(super) fn applied(outcomes: &[Outcome]) -> bool {
    outcomes
        .iter()
        .all(|outcome| matches!(outcome, Outcome::Applied { .. }))
}

/// Keeps expected panics of Automerge out of the test's output.
pub(super) fn hush() {
    std::panic::set_hook(Box::new(|info| {
        let inside = info.location().is_some_and(|at| {
            at.file().contains("automerge-0.")
                || at.file().contains("hexane-")
                || at.file().contains("/rustc/")
        });
        if !inside {
            #[allow(clippy::print_stderr, reason = "a test's own panic must show")]
            {
                eprintln!("{info}");
            }
        }
    }));
}
