//! One device's connection, whichever transport carries it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, ReadExactError, RecvStream, SendStream, VarInt};
use sheaf_protocol::StreamKind;
use tokio::time::timeout;

use crate::misbehaviour::CloseCode;
use crate::socket::{Socket, SocketReceiving, SocketSending};
use crate::tls::{self, DeviceKey, EXPORTER_LABEL};

/// What carries a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Quic,
    WebSocket,
}

/// A connection whose TLS handshake is done. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) enum Wire {
    Quic(Connection),
    Socket(Arc<Socket>),
}

/// A stream that took nothing for too long, or whose connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteFault {
    Stalled,
    Lost,
}

/// Why not everything asked for could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadEnd {
    /// The device ended the stream after so many bytes.
    Early(usize),
    /// The connection is gone.
    Lost,
}

impl Wire {
    pub(crate) fn transport(&self) -> Transport {
        match self {
            Self::Quic(_) => Transport::Quic,
            Self::Socket(_) => Transport::WebSocket,
        }
    }

    pub(crate) fn remote_address(&self) -> SocketAddr {
        match self {
            Self::Quic(connection) => connection.remote_address(),
            Self::Socket(socket) => socket.remote(),
        }
    }

    /// The device's proven key and the TLS exporter that proofs of access are bound to.
    pub(crate) fn identity(&self) -> Option<(DeviceKey, [u8; 32])> {
        match self {
            Self::Quic(connection) => {
                let mut exporter = [0; 32];
                connection
                    .export_keying_material(&mut exporter, EXPORTER_LABEL, b"")
                    .ok()?;
                Some((tls::peer(connection)?, exporter))
            }
            Self::Socket(socket) => Some(socket.identity()),
        }
    }

    /// Ends the connection and says why.
    pub(crate) fn close(&self, code: CloseCode) {
        match self {
            Self::Quic(connection) => {
                let reason = format!("{code:?}");
                connection.close(VarInt::from_u32(code.code()), reason.as_bytes());
            }
            Self::Socket(socket) => socket.close(code),
        }
    }

    /// Raises the limits of a connection whose hello was taken. Over WebSocket they are the same
    /// before and after: one message each way.
    pub(crate) fn raise_limits(&self) {
        if let Self::Quic(connection) = self {
            tls::raise_limits(connection);
        }
    }

    /// The control stream, once.
    pub(crate) async fn accept_control(&self) -> Option<(Sending, Receiving)> {
        match self {
            Self::Quic(connection) => {
                let (send, receive) = connection.accept_bi().await.ok()?;
                // The highest priority, since receipts and refusals are short and waited for.
                send.set_priority(2).ok()?;
                Some((Sending::Quic(send), Receiving::Quic(receive)))
            }
            Self::Socket(socket) => {
                let (send, receive) = socket.take_control()?;
                Some((Sending::Socket(send), Receiving::Socket(receive)))
            }
        }
    }

    /// Opens one of the relay's streams and says which it is; once for each.
    pub(crate) async fn open(&self, kind: StreamKind) -> Option<Sending> {
        match self {
            Self::Quic(connection) => {
                let mut stream = connection.open_uni().await.ok()?;
                let priority = i32::from(kind == StreamKind::Live);
                stream.set_priority(priority).ok()?;
                stream.write_all(&[kind.byte()]).await.ok()?;
                Some(Sending::Quic(stream))
            }
            Self::Socket(socket) => socket.take(kind).map(Sending::Socket),
        }
    }
}

/// The relay's end of a stream that it writes.
#[derive(Debug)]
pub(crate) enum Sending {
    Quic(SendStream),
    Socket(SocketSending),
}

impl Sending {
    /// Writes everything; the time is per piece taken, so a slow device is not a stalled one.
    pub(crate) async fn write(
        &mut self,
        mut pieces: &mut [Bytes],
        stall: Duration,
    ) -> Result<(), WriteFault> {
        let stream = match self {
            Self::Quic(stream) => stream,
            Self::Socket(stream) => return stream.write(pieces, stall).await,
        };
        while !pieces.is_empty() {
            let written = match timeout(stall, stream.write_chunks(pieces)).await {
                Ok(Ok(written)) => written,
                Ok(Err(_)) => return Err(WriteFault::Lost),
                Err(_) => return Err(WriteFault::Stalled),
            };
            pieces = pieces.get_mut(written.chunks..).unwrap_or_default();
        }
        Ok(())
    }

    /// Ends the stream, and waits for a while until the device has everything.
    pub(crate) async fn finish(&mut self, patience: Duration) {
        let done = async {
            match self {
                Self::Quic(stream) => {
                    if stream.finish().is_ok() {
                        // Gone or acknowledged: either way nothing more can be done.
                        let _told = stream.stopped().await;
                    }
                }
                Self::Socket(stream) => stream.flush().await,
            }
        };
        let _late = timeout(patience, done).await;
    }
}

/// The relay's end of a stream that it reads.
#[derive(Debug)]
pub(crate) enum Receiving {
    Quic(RecvStream),
    Socket(SocketReceiving),
}

impl Receiving {
    /// Fills a buffer.
    pub(crate) async fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), ReadEnd> {
        match self {
            Self::Quic(stream) => stream
                .read_exact(buffer)
                .await
                .map_err(|error| match error {
                    ReadExactError::FinishedEarly(count) => ReadEnd::Early(count),
                    ReadExactError::ReadError(_) => ReadEnd::Lost,
                }),
            Self::Socket(stream) => stream.read_exact(buffer).await,
        }
    }
}
