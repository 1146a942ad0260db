//! The connection to a relay.

mod manager;
mod quic;
mod reach;
mod session;
mod tls;
mod websocket;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sheaf_protocol::{ClientFrame, LogId, RelayAddress, RelayId, ServerFrame};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

pub(crate) use manager::{Control, manage};

/// Frames that wait to be sent. The replica bounds its appends; beyond this the connection is
/// dropped and built anew.
const FRAMES_OUT_MAX: usize = 65_536;

/// What carries a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// QUIC over UDP.
    Quic,
    /// WebSocket over TLS over TCP, where UDP is blocked.
    WebSocket,
}

impl Transport {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::WebSocket => "websocket",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Quic => Self::WebSocket,
            Self::WebSocket => Self::Quic,
        }
    }
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// How long the link waits for what. Durations of the engine; tests have shorter ones.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// No hello for so long: the other transport is tried beside the first.
    pub(crate) race_after: Duration,
    /// The transport that worked is tried first for so long.
    pub(crate) remember: Duration,
    /// Over WebSocket QUIC is tried again so often.
    pub(crate) probe: Duration,
    /// Silence after which a ping is sent while the app is in front.
    pub(crate) heartbeat: Duration,
    /// The same while it is idle or in the background. Relays cut a connection after 60 s of silence.
    pub(crate) heartbeat_slow: Duration,
    /// A ping without any answer for so long: the connection is dead.
    pub(crate) pong: Duration,
    /// The same after the network changed.
    pub(crate) pong_moved: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            race_after: Duration::from_millis(600),
            remember: Duration::from_secs(3_600),
            probe: Duration::from_secs(300),
            heartbeat: Duration::from_secs(15),
            heartbeat_slow: Duration::from_secs(45),
            pong: Duration::from_secs(10),
            pong_moved: Duration::from_secs(2),
        }
    }
}

/// Why a relay could not be reached.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The host name has no address.
    #[error("the relay's host name could not be resolved: {0}")]
    Resolve(String),
    /// Nothing answers at the address.
    #[error("the relay does not answer: {0}")]
    Unreachable(String),
    /// Whoever answers holds another key than the address names.
    #[error(
        "the relay's key is not the one in its address; check the address, or who answers there"
    )]
    WrongKey,
    /// The relay does not let this device in.
    #[error("the relay does not admit this device: {0}")]
    NotAdmitted(String),
    /// The relay speaks another version.
    #[error("the relay speaks no version that this program knows")]
    Version,
    /// The connection broke.
    #[error("the connection to the relay broke: {0}")]
    Broken(String),
}

/// Opens the UDP sockets through which an engine talks to relays: for an app whose sockets have to be
/// marked or bound (a VPN, one of several networks), or whose network is not the system's. WebSocket is
/// not fallen back to with it.
pub trait Sockets: Send + Sync {
    /// Opens a socket on any free port, to talk to `remote`.
    ///
    /// # Errors
    /// As the network says.
    fn open(&self, remote: SocketAddr) -> io::Result<Arc<dyn quinn::AsyncUdpSocket>>;
}

/// Where to connect, and as whom.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: RelayAddress,
    /// Seed of the Ed25519 key that this device has for this relay.
    pub(crate) seed: Zeroizing<[u8; 32]>,
    pub(crate) token: Option<String>,
    /// Where UDP sockets come from; `None` for the system, which has TCP as well.
    pub(crate) sockets: Option<Arc<dyn Sockets>>,
}

impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        self.address == other.address && self.seed == other.seed && self.token == other.token
    }
}

/// What the link tells the driver. Frames are tagged with their connection, so that what is left of
/// a broken one is not taken for the next one's.
pub(crate) enum LinkEvent {
    /// A connection is being built.
    Connecting,
    /// TLS is done over one transport; the relay has not said hello.
    Authenticating(Transport),
    /// The relay said hello.
    Up {
        connection: u64,
        relay: RelayId,
        exporter: [u8; 32],
        log: LogId,
        frames: mpsc::Sender<ClientFrame>,
        transport: Transport,
    },
    /// The relay said something.
    Frame(u64, ServerFrame),
    /// The connection is gone or did not come about.
    Down {
        error: LinkError,
        /// When it is tried again, in milliseconds from now.
        retry_ms: u64,
        /// The relay asked for this delay.
        asked: bool,
    },
}

/// Bytes that went over the link.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) sent: std::sync::atomic::AtomicU64,
    pub(crate) received: std::sync::atomic::AtomicU64,
    pub(crate) frames_sent: std::sync::atomic::AtomicU64,
    pub(crate) frames_received: std::sync::atomic::AtomicU64,
    /// The last ping's round trip in microseconds; zero before the first.
    pub(crate) round_trip_us: std::sync::atomic::AtomicU64,
}
