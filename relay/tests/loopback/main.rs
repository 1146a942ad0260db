//! The relay over real QUIC on loopback.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "a test fails by panicking, helpers included"
)]

mod client;
mod disk;
mod expire;
mod figures;
mod follow;
mod keep;
mod process;
mod refuse;
mod signals;
mod witness;

use sheaf_relay::{Config, HttpConfig, LimitConfig, Relay, StoreConfig};

/// Settings for a test: free ports, no reserve on the disk, a small cache.
fn config(data: &std::path::Path) -> Config {
    Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        data: data.to_owned(),
        http: HttpConfig {
            enabled: true,
            listen: "127.0.0.1:0".parse().unwrap(),
        },
        limits: LimitConfig {
            appends_per_second: 1_000_000,
            appends_burst: 1_000_000,
            bytes_per_second: u32::MAX,
            ..LimitConfig::default()
        },
        store: StoreConfig {
            cache_bytes: 16 << 20,
            free_bytes_min: 0,
            ..StoreConfig::default()
        },
        ..Config::default()
    }
}

async fn start(data: &std::path::Path) -> Relay {
    Relay::start(config(data)).await.unwrap()
}
