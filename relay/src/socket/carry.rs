//! The task that moves messages between a WebSocket and the streams of its connection.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use sheaf_protocol::{SOCKET_CLOSE_BASE, StreamKind};
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding;

use super::{Item, Socket};
use crate::misbehaviour::CloseCode;

type Stream = WebSocketStream<TlsStream<TcpStream>>;

/// How long a device may take to receive the last words of a connection, and again to leave.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What waits to be written, in the order of its importance.
pub(super) struct Queues {
    pub(super) control: mpsc::Receiver<Item>,
    pub(super) live: mpsc::Receiver<Item>,
    pub(super) history: mpsc::Receiver<Item>,
}

impl Queues {
    async fn next(&mut self) -> Option<Item> {
        tokio::select! {
            biased;
            Some(item) = self.control.recv() => Some(item),
            Some(item) = self.live.recv() => Some(item),
            Some(item) = self.history.recv() => Some(item),
            else => None,
        }
    }
}

/// Why the device is not read any more.
enum ReadStop {
    /// It left, or the connection broke.
    Gone,
    /// The relay's own reader is gone: the connection is about to be closed.
    Unread,
}

/// Carries a connection to its end.
pub(super) async fn carry(
    socket: &Socket,
    stream: Stream,
    mut queues: Queues,
    pipe: DuplexStream,
    idle: Duration,
) {
    let (mut sink, mut source) = stream.split();
    let writing = give_out(socket, &mut sink, &mut queues);
    tokio::pin!(writing);
    tokio::select! {
        () = &mut writing => {}
        stop = take_in(socket, &mut source, pipe, idle) => match stop {
            ReadStop::Gone => return,
            ReadStop::Unread => writing.await,
        },
    }
    // Closing a socket that holds unread bytes makes the system drop what was written last.
    let leave = async { while let Some(Ok(_)) = source.next().await {} };
    let _late = timeout(LAST_WORDS, leave).await;
}

/// Hands the device's messages to its reader, until there are no more.
async fn take_in(
    socket: &Socket,
    source: &mut SplitStream<Stream>,
    pipe: DuplexStream,
    idle: Duration,
) -> ReadStop {
    let mut pipe = Some(pipe);
    loop {
        let bytes = match timeout(idle, source.next()).await {
            Ok(Some(Ok(Message::Binary(bytes)))) => bytes,
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => continue,
            Ok(Some(Ok(Message::Text(_) | Message::Frame(_)))) => {
                socket.close(CloseCode::Misbehaved);
                socket.lost.store(true, Ordering::Release);
                return ReadStop::Unread;
            }
            Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) | Err(_) => {
                socket.lost.store(true, Ordering::Release);
                return ReadStop::Gone;
            }
        };
        let piece = match bytes.split_first() {
            Some((kind, piece)) if StreamKind::of(*kind) == Some(StreamKind::Control) => piece,
            Some(_) | None => {
                socket.close(CloseCode::Misbehaved);
                socket.lost.store(true, Ordering::Release);
                return ReadStop::Unread;
            }
        };
        if piece.is_empty() {
            pipe = None;
        } else if let Some(open) = &mut pipe
            && open.write_all(piece).await.is_err()
        {
            return ReadStop::Unread;
        }
    }
}

/// Writes what there is until the connection is closed, then says why it closes.
async fn give_out(socket: &Socket, sink: &mut SplitSink<Stream, Message>, queues: &mut Queues) {
    loop {
        let item = tokio::select! {
            biased;
            () = socket.closing.cancelled() => break,
            Some(item) = queues.next() => item,
        };
        let message = match item {
            Item::Message(message) => message,
            Item::Flush(done) => {
                // Whoever waited may have given up.
                let _gone = done.send(());
                continue;
            }
        };
        let sent = tokio::select! {
            biased;
            () = socket.closing.cancelled() => break,
            sent = sink.send(Message::Binary(message)) => sent,
        };
        if sent.is_err() {
            break;
        }
    }
    socket.lost.store(true, Ordering::Release);
    let code = socket
        .code
        .get()
        .copied()
        .unwrap_or(CloseCode::ShuttingDown);
    let number = u16::try_from(code.code()).unwrap_or(0);
    let frame = CloseFrame {
        code: coding::CloseCode::from(SOCKET_CLOSE_BASE.saturating_add(number)),
        reason: format!("{code:?}").into(),
    };
    let _late = timeout(LAST_WORDS, sink.send(Message::Close(Some(frame)))).await;
}
