//! The WebSocket transport: the streams of a QUIC connection as messages of one TCP connection.
//!
//! A binary message is one byte that names the stream, then a piece of that stream. The byte alone
//! ends the stream. Whatever else is sent breaks the protocol.

/// What a device asks for, and a relay answers to.
pub const SOCKET_PATH: &str = "/sheaf/1";
/// The protocol's name in the TLS handshake over TCP.
pub const SOCKET_ALPN: &[u8] = b"http/1.1";
/// WebSocket close codes of this protocol begin here: the code over QUIC is added.
pub const SOCKET_CLOSE_BASE: u16 = 4000;

/// A stream of a connection, by the first byte that is written on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// Requests one way, answers the other. Over QUIC it is the bidirectional stream and bears no byte.
    Control,
    /// Records as they become durable.
    Live,
    /// Records read from the store.
    History,
}

impl StreamKind {
    /// The byte that stands for it.
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::Control => 0,
            Self::Live => 1,
            Self::History => 2,
        }
    }

    /// The stream of a byte.
    #[must_use]
    pub fn of(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Control),
            1 => Some(Self::Live),
            2 => Some(Self::History),
            _ => None,
        }
    }
}
