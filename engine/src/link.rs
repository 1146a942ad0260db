//! The connection to a relay.

mod manager;
mod quic;

use sheaf_protocol::{ClientFrame, LogId, RelayAddress, RelayId, ServerFrame};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

pub(crate) use manager::{Control, manage};

/// Frames that wait to be sent. The replica bounds its appends; beyond this the connection is
/// dropped and built anew.
const FRAMES_OUT_MAX: usize = 65_536;

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

/// Where to connect, and as whom.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: RelayAddress,
    /// Seed of the Ed25519 key that this device has for this relay.
    pub(crate) seed: Zeroizing<[u8; 32]>,
    pub(crate) token: Option<String>,
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
    /// The relay said hello.
    Up {
        connection: u64,
        relay: RelayId,
        exporter: [u8; 32],
        log: LogId,
        frames: mpsc::Sender<ClientFrame>,
    },
    /// The relay said something.
    Frame(u64, ServerFrame),
    /// The connection is gone or did not come about.
    Down(LinkError),
}

/// Bytes that went over the link.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) sent: std::sync::atomic::AtomicU64,
    pub(crate) received: std::sync::atomic::AtomicU64,
}
