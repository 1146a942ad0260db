//! A relay's settings: a TOML file, then the environment, then flags; later ones win.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sheaf_protocol::limits;

/// Prefix of the environment's settings: `SHEAF_RELAY__LIMITS__APPENDS_PER_SECOND`.
const ENVIRONMENT_PREFIX: &str = "SHEAF_RELAY";

/// Settings of a relay. Unknown ones are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// UDP address to listen on; port zero takes a free one.
    pub listen: SocketAddr,
    /// Directory of keys and store.
    pub data: PathBuf,
    /// File of the relay's 32-byte key; `relay.key` in the data directory by default.
    pub key: Option<PathBuf>,
    /// Host that the printed address names; by default the address listened on.
    pub public_host: Option<String>,
    /// The same frames over WebSocket, where UDP is blocked.
    pub websocket: WebSocketConfig,
    /// Health and metrics over HTTP.
    pub http: HttpConfig,
    /// Who may use the relay.
    pub admission: AdmissionConfig,
    /// Limits of connections and requests.
    pub limits: LimitConfig,
    /// The store.
    pub store: StoreConfig,
}

/// The WebSocket transport.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebSocketConfig {
    /// Whether to serve it.
    pub enabled: bool,
    /// TCP address; by default address and port of `listen`, which is where devices look for it.
    pub listen: Option<SocketAddr>,
}

/// Health and metrics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Whether to serve them.
    pub enabled: bool,
    /// TCP address; port zero takes a free one.
    pub listen: SocketAddr,
}

/// How devices are admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdmissionMode {
    /// Everybody.
    Open,
    /// Whoever shows a token of the tokens file.
    Token,
    /// The devices of the allow file.
    Allow,
}

/// Who may use the relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdmissionConfig {
    /// How devices are admitted.
    pub mode: AdmissionMode,
    /// One token a line; `#` begins a comment.
    pub tokens_file: Option<PathBuf>,
    /// One device key a line, in unpadded base64url; `#` begins a comment.
    pub allow_file: Option<PathBuf>,
}

/// Limits of connections and requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitConfig {
    /// Largest record, in bytes; at most 65,536.
    pub record_bytes_max: u32,
    /// Appends a second and device that can be kept up.
    pub appends_per_second: u32,
    /// Appends that a device may make at once after a pause.
    pub appends_burst: u32,
    /// Bytes of records a second and device.
    pub bytes_per_second: u32,
    /// Topics that a device may begin a day.
    pub topics_per_day: u32,
    /// Connections of one device; one more closes the oldest.
    pub connections_per_device: u32,
    /// Connections from one IPv4 /24 or IPv6 /64; loopback is not counted.
    pub connections_per_prefix: u32,
    /// Connections in all.
    pub connections_max: u32,
    /// Handshakes a second from one IPv4 /24 or IPv6 /64; loopback is not counted.
    pub handshakes_per_second: u32,
    /// Handshakes under way beyond which an address must prove itself first.
    pub handshakes_before_retry: u32,
    /// Seconds until TLS is done, and again until the hello is there.
    pub handshake_seconds: u32,
    /// Seconds without a packet after which a connection is over.
    pub idle_seconds: u32,
    /// Seconds that a device may take nothing from a stream that has something for it.
    pub stall_seconds: u32,
}

/// The store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// Memory for the store's pages, in bytes.
    pub cache_bytes: u64,
    /// Bytes of records in all.
    pub bytes_max: u64,
    /// Bytes of records of one topic.
    pub topic_bytes_max: u64,
    /// Bytes that stay free on the disk; below it appends are refused.
    pub free_bytes_min: u64,
    /// Days that a log record is kept.
    pub retention_days: u32,
    /// Days that an inbox record is kept at most.
    pub inbox_days: u32,
    /// Days between the release of log records by their readers and their end.
    pub grace_days: u32,
    /// Seconds between two sweeps for what is over its time.
    pub sweep_seconds: u32,
    /// Whether every record is counted at start.
    pub check: bool,
}

/// Days of a retention given in seconds.
fn days(seconds: u64) -> u32 {
    u32::try_from(seconds / (24 * 3600)).unwrap_or(u32::MAX)
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 4433)),
            data: PathBuf::from("sheaf-relay-data"),
            key: None,
            public_host: None,
            websocket: WebSocketConfig::default(),
            http: HttpConfig::default(),
            admission: AdmissionConfig::default(),
            limits: LimitConfig::default(),
            store: StoreConfig::default(),
        }
    }
}

impl Default for WebSocketConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: None,
        }
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9464)),
        }
    }
}

impl Default for AdmissionConfig {
    fn default() -> Self {
        Self {
            mode: AdmissionMode::Open,
            tokens_file: None,
            allow_file: None,
        }
    }
}

impl Default for LimitConfig {
    fn default() -> Self {
        Self {
            record_bytes_max: u32::try_from(limits::RECORD_BYTES_MAX).unwrap_or(u32::MAX),
            appends_per_second: 500,
            appends_burst: 2_000,
            bytes_per_second: 16 * 1024 * 1024,
            topics_per_day: 10_000,
            connections_per_device: 4,
            connections_per_prefix: 64,
            connections_max: 10_000,
            handshakes_per_second: 32,
            handshakes_before_retry: 256,
            handshake_seconds: 10,
            idle_seconds: 60,
            stall_seconds: 30,
        }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            cache_bytes: 256 * 1024 * 1024,
            bytes_max: 64 * 1024 * 1024 * 1024,
            topic_bytes_max: 1024 * 1024 * 1024,
            free_bytes_min: 128 * 1024 * 1024,
            retention_days: days(limits::LOG_SECONDS_MAX),
            inbox_days: days(limits::INBOX_SECONDS_MAX),
            grace_days: days(limits::RELEASE_SECONDS),
            sweep_seconds: 600,
            check: true,
        }
    }
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file or a variable does not read, or names an unknown setting.
    #[error("settings cannot be read: {0}")]
    Read(#[source] Box<config::ConfigError>),
    /// A value that makes no sense.
    #[error("setting {name}: {reason}")]
    Value {
        /// The setting.
        name: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Config {
    /// Reads the settings of a file, if one is given, and of the environment over it.
    ///
    /// # Errors
    /// [`ConfigError`] for what does not read or is unknown.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let environment = config::Environment::with_prefix(ENVIRONMENT_PREFIX)
            .prefix_separator("__")
            .separator("__")
            .try_parsing(true);
        Self::from_sources(file, environment)
    }

    fn from_sources(
        file: Option<&Path>,
        environment: config::Environment,
    ) -> Result<Self, ConfigError> {
        let mut builder = config::Config::builder();
        if let Some(file) = file {
            builder = builder.add_source(config::File::from(file).format(config::FileFormat::Toml));
        }
        builder
            .add_source(environment)
            .build()
            .and_then(config::Config::try_deserialize)
            .map_err(|error| ConfigError::Read(Box::new(error)))
    }

    /// Checks what each setting alone cannot say.
    ///
    /// # Errors
    /// [`ConfigError::Value`] names the first setting that makes no sense.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let limits = &self.limits;
        let above_zero = [
            ("limits.appends_per_second", limits.appends_per_second),
            ("limits.appends_burst", limits.appends_burst),
            ("limits.topics_per_day", limits.topics_per_day),
            (
                "limits.connections_per_device",
                limits.connections_per_device,
            ),
            (
                "limits.connections_per_prefix",
                limits.connections_per_prefix,
            ),
            ("limits.connections_max", limits.connections_max),
            ("limits.handshakes_per_second", limits.handshakes_per_second),
            ("limits.handshake_seconds", limits.handshake_seconds),
            ("limits.idle_seconds", limits.idle_seconds),
            ("limits.stall_seconds", limits.stall_seconds),
            ("limits.record_bytes_max", limits.record_bytes_max),
            ("store.retention_days", self.store.retention_days),
            ("store.inbox_days", self.store.inbox_days),
            ("store.grace_days", self.store.grace_days),
            ("store.sweep_seconds", self.store.sweep_seconds),
        ];
        for (name, value) in above_zero {
            if value == 0 {
                let reason = "must be above zero";
                return Err(ConfigError::Value { name, reason });
            }
        }
        let wrong = |name, reason| Err(ConfigError::Value { name, reason });
        if limits.record_bytes_max as usize > limits::RECORD_BYTES_MAX {
            return wrong("limits.record_bytes_max", "must be at most 65536");
        }
        if limits.bytes_per_second < limits.record_bytes_max {
            return wrong(
                "limits.bytes_per_second",
                "must be at least limits.record_bytes_max",
            );
        }
        let AdmissionConfig {
            mode,
            tokens_file,
            allow_file,
        } = &self.admission;
        match mode {
            AdmissionMode::Token if tokens_file.is_none() => {
                wrong("admission.tokens_file", "is needed in the mode \"token\"")
            }
            AdmissionMode::Allow if allow_file.is_none() => {
                wrong("admission.allow_file", "is needed in the mode \"allow\"")
            }
            AdmissionMode::Open | AdmissionMode::Token | AdmissionMode::Allow => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
