//! WebSocket over TLS towards a relay, for networks that let no UDP through.
//!
//! One task carries the messages of a connection. Three pipes of bounded size stand between it and
//! the streams' readers and writer, which are those of QUIC.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::ServerName;
use sheaf_protocol::limits::SOCKET_MESSAGE_BYTES_MAX;
use sheaf_protocol::{SOCKET_ALPN, SOCKET_PATH, StreamKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::wire::{Closed, Reader, Side, Wire, code_of_socket};
use super::{LinkError, Target, tls};

/// Bytes of one stream that wait for their reader.
const PIPE_BYTES: usize = 256 * 1024;
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long the relay may take to receive the close.
const LAST_WORDS: Duration = Duration::from_secs(1);

type Stream = WebSocketStream<TlsStream<TcpStream>>;

/// A WebSocket connection; dropping it closes it.
pub(super) struct Socket {
    deliveries: Mutex<Vec<DuplexStream>>,
    closed: Arc<OnceLock<(Option<u64>, String)>>,
    /// Its end tells the carrying task.
    _open: oneshot::Sender<()>,
}

impl Socket {
    pub(super) fn delivery(&self) -> Option<Reader> {
        let mut deliveries = self
            .deliveries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        deliveries.pop().map(|pipe| Box::new(pipe) as Reader)
    }

    pub(super) fn closed(&self) -> Option<Closed> {
        let (code, reason) = self.closed.get()?.clone();
        Some(match code {
            Some(code) => Closed::ByRelay { code, reason },
            None => Closed::Broken(reason),
        })
    }
}

/// Connects to the first address that answers.
pub(super) async fn connect(target: &Target, addresses: &[SocketAddr]) -> Result<Wire, LinkError> {
    let mut last = LinkError::Resolve("it has no address".to_owned());
    for address in addresses {
        match tokio::time::timeout(HANDSHAKE_MAX, attempt(*address, target)).await {
            Ok(Ok(wire)) => return Ok(wire),
            Ok(Err(error @ LinkError::WrongKey)) => return Err(error),
            Ok(Err(error)) => last = error,
            Err(_) => last = LinkError::Unreachable("no answer in time".to_owned()),
        }
    }
    Err(last)
}

async fn attempt(address: SocketAddr, target: &Target) -> Result<Wire, LinkError> {
    let unreachable = |error: &dyn std::fmt::Display| LinkError::Unreachable(error.to_string());
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| unreachable(&error))?;
    // Small frames must not wait for acknowledgements; a system that refuses is only slower.
    let _kept = stream.set_nodelay(true);
    let config = tls::client(target, SOCKET_ALPN).map_err(|error| unreachable(&error))?;
    let name = ServerName::try_from(tls::SERVER_NAME).map_err(|error| unreachable(&error))?;
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(|error| classify(&error))?;
    let exporter = stream
        .get_ref()
        .1
        .export_keying_material([0; 32], tls::EXPORTER_LABEL, Some(b""))
        .map_err(|_| LinkError::Broken("no TLS exporter".to_owned()))?;
    let limits = WebSocketConfig::default()
        .write_buffer_size(0)
        .max_write_buffer_size(4 * SOCKET_MESSAGE_BYTES_MAX)
        .max_message_size(Some(SOCKET_MESSAGE_BYTES_MAX))
        .max_frame_size(Some(SOCKET_MESSAGE_BYTES_MAX));
    let request = format!("ws://{}{SOCKET_PATH}", tls::SERVER_NAME);
    let (stream, _) = client_async_with_config(request, stream, Some(limits))
        .await
        .map_err(|error| unreachable(&error))?;
    Ok(wire(stream, exporter))
}

fn classify(error: &std::io::Error) -> LinkError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(rustls::Error::InvalidCertificate(_)) => LinkError::WrongKey,
        Some(_) | None => LinkError::Unreachable(error.to_string()),
    }
}

fn wire(stream: Stream, exporter: [u8; 32]) -> Wire {
    let (send, outgoing) = tokio::io::duplex(PIPE_BYTES);
    let (receive, control) = tokio::io::duplex(PIPE_BYTES);
    let (live_end, live) = tokio::io::duplex(PIPE_BYTES);
    let (history_end, history) = tokio::io::duplex(PIPE_BYTES);
    let (open, ended) = oneshot::channel();
    let closed = Arc::new(OnceLock::new());
    let (sink, source) = stream.split();
    let pipes = Pipes {
        control,
        live,
        history,
    };
    let told = Arc::clone(&closed);
    drop(tokio::spawn(async move {
        carry(sink, source, outgoing, pipes, ended, &told).await;
    }));
    let socket = Socket {
        deliveries: Mutex::new(vec![live_end, history_end]),
        closed,
        _open: open,
    };
    Wire {
        exporter,
        send: Box::new(send),
        receive: Box::new(receive),
        side: Side::Socket(socket),
    }
}

/// Where the relay's streams go.
struct Pipes {
    control: DuplexStream,
    live: DuplexStream,
    history: DuplexStream,
}

async fn carry(
    mut sink: SplitSink<Stream, Message>,
    source: SplitStream<Stream>,
    outgoing: DuplexStream,
    pipes: Pipes,
    ended: oneshot::Receiver<()>,
    closed: &OnceLock<(Option<u64>, String)>,
) {
    tokio::select! {
        () = take_in(source, pipes, closed) => return,
        () = give_out(&mut sink, outgoing) => {}
        _ = ended => {}
    }
    let close = async {
        let _gone = sink.send(Message::Close(None)).await;
    };
    let _late = tokio::time::timeout(LAST_WORDS, close).await;
}

/// Hands the relay's messages to their readers. Why there are no more is known before the readers
/// see the end.
async fn take_in(
    mut source: SplitStream<Stream>,
    mut pipes: Pipes,
    closed: &OnceLock<(Option<u64>, String)>,
) {
    let why = hand_over(&mut source, &mut pipes).await;
    let _first = closed.set(why);
}

async fn hand_over(source: &mut SplitStream<Stream>, pipes: &mut Pipes) -> (Option<u64>, String) {
    let broken = |reason: &str| (None, reason.to_owned());
    loop {
        let bytes = match source.next().await {
            Some(Ok(Message::Binary(bytes))) => bytes,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            Some(Ok(Message::Close(Some(frame)))) => {
                let code = code_of_socket(frame.code.into());
                return (code, frame.reason.as_str().to_owned());
            }
            Some(Ok(Message::Close(None))) => return broken("the relay closed it"),
            Some(Ok(Message::Text(_) | Message::Frame(_))) => {
                return broken("the relay sent what is no frame");
            }
            Some(Err(error)) => return (None, error.to_string()),
            None => return broken("the relay is gone"),
        };
        let Some((kind, piece)) = bytes.split_first() else {
            return broken("the relay sent an empty message");
        };
        let pipe = match StreamKind::of(*kind) {
            Some(StreamKind::Control) => &mut pipes.control,
            Some(StreamKind::Live) => &mut pipes.live,
            Some(StreamKind::History) => &mut pipes.history,
            None => return broken("the relay sent an unknown stream"),
        };
        if pipe.write_all(piece).await.is_err() {
            return broken("closed here");
        }
    }
}

/// Writes what the control stream's writer hands over, in messages of bounded size.
async fn give_out(sink: &mut SplitSink<Stream, Message>, mut outgoing: DuplexStream) {
    loop {
        let mut message = Vec::with_capacity(4 * 1024);
        message.push(StreamKind::Control.byte());
        let room = SOCKET_MESSAGE_BYTES_MAX.saturating_sub(1);
        let room = u64::try_from(room).unwrap_or(0);
        let read = (&mut outgoing).take(room).read_buf(&mut message).await;
        // The writer's end goes with the connection.
        if !matches!(read, Ok(1..)) {
            return std::future::pending().await;
        }
        // What broke the connection is found out by reading it.
        if sink.send(Message::Binary(message.into())).await.is_err() {
            return std::future::pending().await;
        }
    }
}
