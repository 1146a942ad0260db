//! The real program `sheaf`, asked and answered in JSON, against a real relay on loopback.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test fails by panicking and says what it counted, helpers included"
)]

mod account;
mod demo;
mod device;
mod disk;
mod evidence;
mod exchange;
mod forget;
mod guard;
mod history;
mod home;
mod keyring;
mod members;
mod message;
mod people;
mod progress;
mod relay;
mod relays;
mod revoke;
mod skew;
mod store;
mod sync;
mod vault;
mod verify;
