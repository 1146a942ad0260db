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
    directory: TempDir,
}

fn config(directory: &Path, free_bytes_min: u64) -> Config {
    let mut config = Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        data: directory.join("relay"),
        ..Config::default()
    };
    config.http.enabled = false;
    config.store.free_bytes_min = free_bytes_min;
    config.store.cache_bytes = 8 * 1024 * 1024;
    config
}

impl Relay {
    pub fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), 0)
    }

    /// One whose disk has no room for a record.
    pub fn full() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), u64::MAX)
    }

    /// Ends it; gives what it leaves behind.
    pub fn stop(mut self) -> TempDir {
        self.shut();
        std::mem::replace(&mut self.directory, tempfile::tempdir().unwrap())
    }

    /// Ends it, and starts it again twice: with its store, and with a copy of it under the same key.
    pub fn fork(self) -> (Self, Self) {
        let directory = self.stop();
        let copy = tempfile::tempdir().unwrap();
        copy_all(directory.path(), copy.path());
        (Self::start_in(directory, 0), Self::start_in(copy, 0))
    }

    fn shut(&mut self) {
        if let Some(relay) = self.relay.take() {
            self.runtime.block_on(relay.shutdown());
        }
    }

    fn start_in(directory: TempDir, free_bytes_min: u64) -> Self {
        let runtime = Runtime::new().unwrap();
        let relay = sheaf_relay::Relay::start(config(directory.path(), free_bytes_min));
        let relay = runtime.block_on(Box::pin(relay)).unwrap();
        Self {
            address: relay.address().to_string(),
            relay: Some(relay),
            runtime,
            directory,
        }
    }

    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shut();
    }
}

fn copy_all(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy_all(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}
