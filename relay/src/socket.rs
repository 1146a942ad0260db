//! The WebSocket transport, for networks that let no UDP through: TLS 1.3 over TCP with the same raw
//! keys, and the three streams of a connection as messages (`sheaf_protocol::StreamKind`).
//!
//! One task carries a connection: it writes control before live before history, one message at a
//! time, and hands the device's control stream to its reader through a pipe. So no more than one
//! message each way is held here beside the system's buffers, and a device that does not read is not
//! read from.

mod carry;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sheaf_protocol::limits::SOCKET_MESSAGE_BYTES_MAX;
use sheaf_protocol::{SOCKET_PATH, StreamKind};
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};
use tokio_util::sync::CancellationToken;

use self::carry::{Queues, carry};
use crate::misbehaviour::CloseCode;
use crate::tls::{DeviceKey, EXPORTER_LABEL, device_of_chain};
use crate::wire::{ReadEnd, WriteFault};

/// Bytes of the device's control stream that wait for their reader.
const PIPE_BYTES: usize = 64 * 1024;
/// Bytes that are read from the system at once.
const READ_BUFFER_BYTES: usize = 16 * 1024;
/// Bytes that the system may hold for a device that does not read.
const SEND_BUFFER_BYTES: usize = 1024 * 1024;

/// A WebSocket connection.
#[derive(Debug)]
pub(crate) struct Socket {
    remote: SocketAddr,
    device: DeviceKey,
    exporter: [u8; 32],
    code: OnceLock<CloseCode>,
    closing: CancellationToken,
    /// The device did not end its stream: the connection broke, or it broke the framing.
    lost: AtomicBool,
    // A std mutex: it is never held across an await.
    streams: Mutex<Streams>,
}

/// The streams that nobody has taken yet.
#[derive(Debug)]
struct Streams {
    control: Option<(SocketSending, DuplexStream)>,
    live: Option<SocketSending>,
    history: Option<SocketSending>,
}

/// Something for the carrying task.
#[derive(Debug)]
enum Item {
    Message(Bytes),
    /// Answered when everything before it has been given to the system.
    Flush(oneshot::Sender<()>),
}

/// Makes a TCP connection into one whose handshakes are done, and the future that carries it. `None`
/// if the device's end is not what it should be.
pub(crate) async fn accept(
    stream: TcpStream,
    remote: SocketAddr,
    acceptor: &TlsAcceptor,
    idle: Duration,
) -> Option<(Arc<Socket>, impl Future<Output = ()> + Send + use<>)> {
    // Both are for speed and memory; a system that refuses works all the same.
    let _kept = stream.set_nodelay(true);
    let _kept = socket2::SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER_BYTES);
    let stream = acceptor.accept(stream).await.ok()?;
    let (device, exporter) = identity(&stream)?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(4 * SOCKET_MESSAGE_BYTES_MAX)
        .max_message_size(Some(SOCKET_MESSAGE_BYTES_MAX))
        .max_frame_size(Some(SOCKET_MESSAGE_BYTES_MAX));
    let stream = accept_hdr_async_with_config(stream, right_path, Some(config))
        .await
        .ok()?;
    let (socket, queues, pipe) = Socket::new(remote, device, exporter);
    let carried = carry_one(Arc::clone(&socket), stream, queues, pipe, idle);
    Some((socket, carried))
}

async fn carry_one(
    socket: Arc<Socket>,
    stream: WebSocketStream<TlsStream<TcpStream>>,
    queues: Queues,
    pipe: DuplexStream,
    idle: Duration,
) {
    carry(&socket, stream, queues, pipe, idle).await;
    socket.closing.cancel();
}

fn identity(stream: &TlsStream<TcpStream>) -> Option<(DeviceKey, [u8; 32])> {
    let (_, connection) = stream.get_ref();
    let device = device_of_chain(connection.peer_certificates()?)?;
    let exporter = connection
        .export_keying_material([0; 32], EXPORTER_LABEL, Some(b""))
        .ok()?;
    Some((device, exporter))
}

#[allow(
    clippy::result_large_err,
    reason = "the library's callback has this type"
)]
fn right_path(request: &Request, response: Response) -> Result<Response, ErrorResponse> {
    if request.uri().path() == SOCKET_PATH {
        return Ok(response);
    }
    let mut refusal = ErrorResponse::new(None);
    *refusal.status_mut() = StatusCode::NOT_FOUND;
    Err(refusal)
}

impl Socket {
    fn new(
        remote: SocketAddr,
        device: DeviceKey,
        exporter: [u8; 32],
    ) -> (Arc<Self>, Queues, DuplexStream) {
        let (pipe, control_in) = tokio::io::duplex(PIPE_BYTES);
        let (control, control_out) = SocketSending::new(StreamKind::Control);
        let (live, live_out) = SocketSending::new(StreamKind::Live);
        let (history, history_out) = SocketSending::new(StreamKind::History);
        let streams = Streams {
            control: Some((control, control_in)),
            live: Some(live),
            history: Some(history),
        };
        let socket = Self {
            remote,
            device,
            exporter,
            code: OnceLock::new(),
            closing: CancellationToken::new(),
            lost: AtomicBool::new(false),
            streams: Mutex::new(streams),
        };
        let queues = Queues {
            control: control_out,
            live: live_out,
            history: history_out,
        };
        (Arc::new(socket), queues, pipe)
    }

    pub(crate) fn remote(&self) -> SocketAddr {
        self.remote
    }

    pub(crate) fn identity(&self) -> (DeviceKey, [u8; 32]) {
        (self.device, self.exporter)
    }

    /// Closes it; the first reason counts.
    pub(crate) fn close(&self, code: CloseCode) {
        let _first = self.code.set(code);
        self.closing.cancel();
    }

    pub(crate) fn take_control(self: &Arc<Self>) -> Option<(SocketSending, SocketReceiving)> {
        let (send, pipe) = self.streams().control.take()?;
        let receive = SocketReceiving {
            pipe,
            socket: Arc::clone(self),
        };
        Some((send, receive))
    }

    pub(crate) fn take(&self, kind: StreamKind) -> Option<SocketSending> {
        let mut streams = self.streams();
        match kind {
            StreamKind::Control => None,
            StreamKind::Live => streams.live.take(),
            StreamKind::History => streams.history.take(),
        }
    }

    fn streams(&self) -> std::sync::MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that the relay writes.
#[derive(Debug)]
pub(crate) struct SocketSending {
    kind: StreamKind,
    items: mpsc::Sender<Item>,
}

impl SocketSending {
    fn new(kind: StreamKind) -> (Self, mpsc::Receiver<Item>) {
        let (items, queue) = mpsc::channel(1);
        (Self { kind, items }, queue)
    }

    pub(crate) async fn write(
        &mut self,
        pieces: &mut [Bytes],
        stall: Duration,
    ) -> Result<(), WriteFault> {
        let mut message = vec![self.kind.byte()];
        for piece in pieces {
            while !piece.is_empty() {
                let room = SOCKET_MESSAGE_BYTES_MAX.saturating_sub(message.len());
                let part = piece.split_to(room.min(piece.len()));
                message.extend_from_slice(&part);
                if message.len() >= SOCKET_MESSAGE_BYTES_MAX {
                    let full = std::mem::replace(&mut message, vec![self.kind.byte()]);
                    self.send(full, stall).await?;
                }
            }
        }
        if message.len() > 1 {
            self.send(message, stall).await?;
        }
        Ok(())
    }

    async fn send(&self, message: Vec<u8>, stall: Duration) -> Result<(), WriteFault> {
        let item = Item::Message(Bytes::from(message));
        match timeout(stall, self.items.send(item)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(WriteFault::Lost),
            Err(_) => Err(WriteFault::Stalled),
        }
    }

    pub(crate) async fn flush(&mut self) {
        let (done, flushed) = oneshot::channel();
        if self.items.send(Item::Flush(done)).await.is_ok() {
            // An error means that the connection is gone.
            let _gone = flushed.await;
        }
    }
}

/// The device's control stream.
#[derive(Debug)]
pub(crate) struct SocketReceiving {
    pipe: DuplexStream,
    socket: Arc<Socket>,
}

impl SocketReceiving {
    pub(crate) async fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), ReadEnd> {
        let mut filled = 0_usize;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.pipe.read(rest).await {
                Ok(0) | Err(_) if self.socket.lost.load(Ordering::Acquire) => {
                    return Err(ReadEnd::Lost);
                }
                Ok(0) | Err(_) => return Err(ReadEnd::Early(filled)),
                Ok(count) => filled = filled.saturating_add(count),
            }
        }
        Ok(())
    }
}
