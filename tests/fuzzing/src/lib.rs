//! Bodies of the fuzz targets: one function for every decoder that reads bytes from outside, and
//! one for whole lives of a replica among liars.
//!
//! `fuzz/` runs them under libFuzzer; `tests/corpus.rs` replays the committed corpus through the
//! same functions. A body panics, or breaks an assertion, when something is wrong. It returns
//! whether the input was *taken*, that is, got past the decoder: the seeds are checked to be taken
//! still, so that a corpus does not go stale when a format changes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    clippy::needless_pass_by_value,
    reason = "this crate is a test harness: a broken expectation must stop the test"
)]

mod cast;
mod document;
mod life;
mod peer;
mod reader;
mod sealed;
mod statement;
mod store;
mod wire;

/// One fuzz target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, also that of its folder in the corpus.
    pub name: &'static str,
    /// Feeds one input in; `true` if it got past the decoder.
    pub run: fn(&[u8]) -> bool,
    /// Inputs to begin with, all of them taken.
    pub seeds: fn() -> Vec<Seed>,
}

/// A well-formed input.
#[derive(Debug, Clone)]
pub struct Seed {
    /// What it is.
    pub name: String,
    /// The input.
    pub bytes: Vec<u8>,
}

impl Seed {
    fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            bytes: bytes.into(),
        }
    }
}

/// Every target.
pub const TARGETS: [Target; 15] = [
    Target {
        name: "client_frame",
        run: wire::client_frame,
        seeds: wire::client_frame_seeds,
    },
    Target {
        name: "server_frame",
        run: wire::server_frame,
        seeds: wire::server_frame_seeds,
    },
    Target {
        name: "relay_address",
        run: wire::relay_address,
        seeds: wire::relay_address_seeds,
    },
    Target {
        name: "evidence",
        run: wire::evidence,
        seeds: wire::evidence_seeds,
    },
    Target {
        name: "operation",
        run: statement::operation,
        seeds: statement::operation_seeds,
    },
    Target {
        name: "user_log",
        run: statement::user_log,
        seeds: statement::user_log_seeds,
    },
    Target {
        name: "card",
        run: statement::card,
        seeds: statement::card_seeds,
    },
    Target {
        name: "envelope",
        run: sealed::envelope,
        seeds: sealed::envelope_seeds,
    },
    Target {
        name: "inbox",
        run: sealed::inbox,
        seeds: sealed::inbox_seeds,
    },
    Target {
        name: "link",
        run: sealed::link,
        seeds: sealed::link_seeds,
    },
    Target {
        name: "vault",
        run: sealed::vault,
        seeds: sealed::vault_seeds,
    },
    Target {
        name: "payload",
        run: document::payload,
        seeds: document::payload_seeds,
    },
    Target {
        name: "change",
        run: document::change,
        seeds: document::change_seeds,
    },
    Target {
        name: "sync_message",
        run: document::sync_message,
        seeds: document::sync_message_seeds,
    },
    Target {
        name: "store_rows",
        run: store::rows,
        seeds: store::row_seeds,
    },
];

/// Lives of a replica among liars.
pub const REPLICA_INPUTS: Target = Target {
    name: "replica_inputs",
    run: life::replica_inputs,
    seeds: life::replica_input_seeds,
};

/// Finds a target by its name.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn named(name: &str) -> &'static Target {
    TARGETS
        .iter()
        .chain([&REPLICA_INPUTS])
        .find(|target| target.name == name)
        .expect("a target of this name")
}

/// Whether a panic came from code of this repository. The gate catches what Automerge panics with
/// on hostile changes, and that is no finding; a panic of our own is one even where it is caught.
#[must_use]
pub fn is_own(info: &std::panic::PanicHookInfo<'_>) -> bool {
    info.location().is_none_or(|at| {
        let file = at.file();
        !file.contains("/registry/src/") && !file.contains("/rustc/")
    })
}

/// Ends the process at a panic of our own code, caught or not. A panic of somebody else's that
/// nobody catches ends it too, in libFuzzer.
pub fn abort_at_own_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if is_own(info) || std::env::var_os("SHEAF_PANICS").is_some() {
            before(info);
        }
        if is_own(info) {
            std::process::abort();
        }
    }));
}
