//! The program sheaf: see everything, force a resync.
//!
//! It shows and never decides: every command opens the engine, asks, prints and closes.
//! `docs/CLI.md` lists commands, fields and exit codes.

mod arguments;
mod command;
mod demo;
mod exit;
mod home;
mod interchange;
mod keyring;
mod output;
mod program;
mod request;
mod resolve;
mod secret;
mod session;
mod time;

pub use program::run;
