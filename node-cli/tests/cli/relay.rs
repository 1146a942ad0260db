//! A relay for the devices of a test.

use std::path::Path;

use sheaf_relay::Config;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A relay that runs until it is dropped.
pub struct Relay {
    runtime: Runtime,
    relay: Option<sheaf_relay::Relay>,
    address: String,
    _directory: TempDir,
}

fn config(directory: &Path) -> Config {
    let mut config = Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        data: directory.join("relay"),
        ..Config::default()
    };
    config.http.enabled = false;
    config.store.free_bytes_min = 0;
    config.store.cache_bytes = 8 * 1024 * 1024;
    config
}

impl Relay {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let relay = sheaf_relay::Relay::start(config(directory.path()));
        let relay = runtime.block_on(Box::pin(relay)).unwrap();
        Self {
            address: relay.address().to_string(),
            relay: Some(relay),
            runtime,
            _directory: directory,
        }
    }

    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(relay) = self.relay.take() {
            self.runtime.block_on(relay.shutdown());
        }
    }
}
