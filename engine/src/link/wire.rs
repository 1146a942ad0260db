//! A connection to a relay, whichever transport carries it.

use sheaf_protocol::SOCKET_CLOSE_BASE;
use tokio::io::{AsyncRead, AsyncWrite};

use super::quic::Quic;
use super::websocket::Socket;
use super::{LinkError, Transport};

pub(super) type Reader = Box<dyn AsyncRead + Send + Unpin>;
pub(super) type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// A connection whose TLS handshake is done, with its control stream. Nothing says yet that the relay
/// lets this device in.
pub(super) struct Wire {
    /// TLS exporter, for proofs of access.
    pub(super) exporter: [u8; 32],
    pub(super) send: Writer,
    pub(super) receive: Reader,
    pub(super) side: Side,
}

/// What keeps a connection open; dropping it closes the connection.
pub(super) enum Side {
    Quic(Quic),
    Socket(Socket),
}

/// Why a connection is closed.
pub(super) enum Closed {
    ByRelay { code: u64, reason: String },
    Broken(String),
}

/// Codes with which a relay closes (docs/PROTOCOL.md).
const NOT_ADMITTED: u64 = 2;
const VERSION: u64 = 7;

impl Side {
    pub(super) fn transport(&self) -> Transport {
        match self {
            Self::Quic(_) => Transport::Quic,
            Self::Socket(_) => Transport::WebSocket,
        }
    }

    /// One of the two streams that the relay delivers on.
    pub(super) async fn delivery(&self) -> Result<Reader, LinkError> {
        match self {
            Self::Quic(quic) => quic.delivery().await,
            Self::Socket(socket) => socket
                .delivery()
                .ok_or_else(|| LinkError::Broken("closed here".to_owned())),
        }
    }

    /// Goes on over another local address, where the transport can; `false` where it cannot.
    pub(super) fn rebind(&self) -> bool {
        match self {
            Self::Quic(quic) => quic.rebind().is_ok(),
            Self::Socket(_) => false,
        }
    }

    /// What the close of a connection means for this device.
    pub(super) fn why_closed(&self) -> LinkError {
        let closed = match self {
            Self::Quic(quic) => quic.closed(),
            Self::Socket(socket) => socket.closed(),
        };
        match closed {
            Some(Closed::ByRelay {
                code: NOT_ADMITTED,
                reason,
            }) => LinkError::NotAdmitted(reason),
            Some(Closed::ByRelay { code: VERSION, .. }) => LinkError::Version,
            Some(Closed::ByRelay { reason, .. }) => {
                LinkError::Broken(format!("the relay closed it: {reason}"))
            }
            Some(Closed::Broken(reason)) => LinkError::Broken(reason),
            None => LinkError::Broken("it ended".to_owned()),
        }
    }
}

/// The code over QUIC of a WebSocket close code.
pub(super) fn code_of_socket(code: u16) -> Option<u64> {
    code.checked_sub(SOCKET_CLOSE_BASE).map(u64::from)
}
