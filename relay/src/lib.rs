//! Keeps ciphertext by topic until it expires.
//!
//! A relay holds topic logs, hands records to the devices that prove they may read them, and signs
//! a receipt once a record is durable. It decides nothing and can read nothing: this crate depends
//! on `sheaf-protocol` alone of Sheaf. `docs/PROTOCOL.md` says what travels, `docs/OPERATIONS.md`
//! how to run one.

mod admission;
mod cli;
mod config;
mod connection;
mod http;
mod hub;
mod key;
mod listen;
mod metrics;
mod misbehaviour;
mod rate;
mod registry;
mod relay;
mod socket;
pub mod store;
mod tls;
mod wire;
mod writer;

pub use admission::AdmissionError;
pub use cli::run_cli;
pub use config::{
    AdmissionConfig, AdmissionMode, Config, ConfigError, HttpConfig, LimitConfig, StoreConfig,
    WebSocketConfig,
};
pub use key::KeyError;
pub use misbehaviour::CloseCode;
pub use relay::{Peeked, Relay, StartError};
pub use tls::{ALPN, EXPORTER_LABEL};
