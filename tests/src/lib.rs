//! Harness that disturbs the product: simulation, crashes, privacy, command line.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::missing_panics_doc,
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    reason = "this crate is a test harness: a broken expectation must stop the test"
)]

pub mod home;
pub mod processes;
pub mod simulation;
