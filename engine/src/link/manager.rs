//! Keeps one connection up, and builds it anew when it breaks.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quinn::{Connection, RecvStream, SendStream, VarInt};
use rand_core::Rng;
use sheaf_protocol::{
    ClientFrame, ErrorCode, FRAME_PREFIX_BYTES, ServerFrame, VERSION, decode_server_frame,
    encode_client_frame, limits,
};
use tokio::sync::{mpsc, watch};

use super::{FRAMES_OUT_MAX, LinkError, LinkEvent, Target, Traffic, quic};
use crate::entropy::OsEntropy;

/// Delays between attempts, in milliseconds; each is drawn from half to the whole of it.
const DELAYS_MS: [u64; 5] = [1_000, 2_000, 4_000, 8_000, 16_000];
const HELLO_MAX: Duration = Duration::from_secs(10);
/// Bytes of frames that are written at once.
const COALESCE_BYTES: usize = 64 * 1024;

/// What the driver asks of the link.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Control {
    /// Where to be connected to; nothing means nowhere.
    pub(crate) target: Option<Target>,
    /// Raised to try at once.
    pub(crate) urgency: u64,
}

/// Runs until the driver is gone.
pub(crate) async fn manage(
    mut control: watch::Receiver<Control>,
    events: mpsc::Sender<LinkEvent>,
    traffic: Arc<Traffic>,
) {
    let mut attempts = 0_usize;
    let mut number = 0_u64;
    loop {
        let target = control.borrow_and_update().target.clone();
        let Some(target) = target else {
            if control.changed().await.is_err() {
                return;
            }
            continue;
        };
        if events.send(LinkEvent::Connecting).await.is_err() {
            return;
        }
        number = number.saturating_add(1);
        let session = session(&target, number, &events, &traffic);
        let ended = tokio::select! {
            ended = session => ended,
            () = retargeted(&mut control, &target) => Ended::retargeted(),
        };
        if ended.was_up {
            attempts = 0;
        }
        if events.send(LinkEvent::Down(ended.error)).await.is_err() {
            return;
        }
        let delay = match ended.reconnect_ms {
            Some(delay) => u64::from(delay),
            None => backoff(attempts),
        };
        attempts = attempts.saturating_add(1);
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(delay)) => {}
            changed = control.changed() => match changed {
                Ok(()) => attempts = 0,
                Err(_) => return,
            },
        }
    }
}

fn backoff(attempts: usize) -> u64 {
    let place = attempts.min(DELAYS_MS.len().saturating_sub(1));
    let whole = DELAYS_MS.get(place).copied().unwrap_or(16_000);
    let half = whole / 2;
    half.saturating_add(OsEntropy.next_u64() % half.max(1))
}

async fn retargeted(control: &mut watch::Receiver<Control>, target: &Target) {
    loop {
        if control.changed().await.is_err() {
            return;
        }
        if control.borrow_and_update().target.as_ref() != Some(target) {
            return;
        }
    }
}

struct Ended {
    error: LinkError,
    was_up: bool,
    reconnect_ms: Option<u32>,
}

impl Ended {
    fn early(error: LinkError) -> Self {
        Self {
            error,
            was_up: false,
            reconnect_ms: None,
        }
    }

    fn retargeted() -> Self {
        let error = LinkError::Broken("closed here".to_owned());
        Self {
            error,
            was_up: true,
            reconnect_ms: Some(0),
        }
    }
}

/// One connection from its handshake to its end.
async fn session(
    target: &Target,
    number: u64,
    events: &mpsc::Sender<LinkEvent>,
    traffic: &Arc<Traffic>,
) -> Ended {
    let (endpoint, connection) = match quic::connect(target).await {
        Ok(connected) => connected,
        Err(error) => return Ended::early(error),
    };
    // Ends the connection however this function ends.
    let guard = Closer(connection.clone());
    let greeted = tokio::time::timeout(HELLO_MAX, greet(target, &connection, traffic)).await;
    let greeted = match greeted {
        Ok(Ok(greeted)) => greeted,
        Ok(Err(error)) => return Ended::early(error),
        Err(_) => {
            return Ended::early(LinkError::Unreachable("no hello in time".to_owned()));
        }
    };
    let Greeted {
        send,
        receive,
        hello,
    } = greeted;
    let ServerFrame::Hello { log, .. } = hello else {
        return Ended::early(LinkError::Version);
    };
    let Some(exporter) = quic::exporter(&connection) else {
        return Ended::early(LinkError::Broken("no TLS exporter".to_owned()));
    };
    let (frames, outgoing) = mpsc::channel(FRAMES_OUT_MAX);
    let relay = target.address.relay;
    let up = LinkEvent::Up {
        connection: number,
        relay,
        exporter,
        log,
        frames,
    };
    if events.send(up).await.is_err() {
        return Ended::early(LinkError::Broken("closed here".to_owned()));
    }
    let result = tokio::select! {
        result = read(receive, number, events, traffic) => result,
        result = write(send, outgoing, traffic) => result,
        result = deliveries(&connection, number, events, traffic) => result,
    };
    drop(guard);
    endpoint.wait_idle().await;
    match result {
        Err(Stop::GoAway(delay)) => Ended {
            error: LinkError::Broken("the relay is closing".to_owned()),
            was_up: true,
            reconnect_ms: Some(delay),
        },
        Err(Stop::Error(error)) => Ended {
            error,
            was_up: true,
            reconnect_ms: None,
        },
        Ok(()) => Ended {
            error: LinkError::Broken("the relay closed it".to_owned()),
            was_up: true,
            reconnect_ms: None,
        },
    }
}

struct Closer(Connection);

impl Drop for Closer {
    fn drop(&mut self) {
        self.0.close(VarInt::from_u32(0), b"");
    }
}

struct Greeted {
    send: SendStream,
    receive: RecvStream,
    hello: ServerFrame,
}

async fn greet(
    target: &Target,
    connection: &Connection,
    traffic: &Traffic,
) -> Result<Greeted, LinkError> {
    let broken = |error: &dyn std::fmt::Display| LinkError::Broken(error.to_string());
    let (mut send, mut receive) = connection.open_bi().await.map_err(|error| broken(&error))?;
    let hello = ClientFrame::Hello {
        version: VERSION,
        token: target.token.clone(),
    };
    let bytes = encode_client_frame(&hello);
    send.write_all(&bytes)
        .await
        .map_err(|error| broken(&error))?;
    match read_frame(&mut receive, traffic).await {
        Ok(Some(hello @ ServerFrame::Hello { .. })) => Ok(Greeted {
            send,
            receive,
            hello,
        }),
        Ok(Some(ServerFrame::Refused(refusal))) => Err(match refusal.code {
            ErrorCode::Version => LinkError::Version,
            _ => LinkError::NotAdmitted(refusal.message),
        }),
        Ok(Some(_)) => Err(LinkError::Version),
        Ok(None) => Err(closed(connection)),
        Err(Stop::Error(_) | Stop::GoAway(_)) => Err(closed(connection)),
    }
}

fn closed(connection: &Connection) -> LinkError {
    match connection.close_reason() {
        Some(quinn::ConnectionError::ApplicationClosed(close)) => {
            LinkError::NotAdmitted(String::from_utf8_lossy(&close.reason).into_owned())
        }
        Some(other) => LinkError::Unreachable(other.to_string()),
        None => LinkError::Broken("no hello".to_owned()),
    }
}

enum Stop {
    Error(LinkError),
    GoAway(u32),
}

fn broken(error: impl std::fmt::Display) -> Stop {
    Stop::Error(LinkError::Broken(error.to_string()))
}

/// Reads one frame; nothing at the end of the stream. The length is checked before the body.
async fn read_frame(
    stream: &mut RecvStream,
    traffic: &Traffic,
) -> Result<Option<ServerFrame>, Stop> {
    let mut prefix = [0; FRAME_PREFIX_BYTES];
    match stream.read_exact(&mut prefix).await {
        Ok(()) => {}
        Err(quinn::ReadExactError::FinishedEarly(_)) => return Ok(None),
        Err(error) => return Err(broken(error)),
    }
    let length = usize::try_from(u32::from_le_bytes(prefix)).unwrap_or(usize::MAX);
    if length > limits::FRAME_BYTES_MAX {
        return Err(broken("the relay sent a frame over the limit"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.map_err(broken)?;
    let total = u64::try_from(length.saturating_add(FRAME_PREFIX_BYTES)).unwrap_or(0);
    traffic.received.fetch_add(total, Ordering::Relaxed);
    decode_server_frame(&body).map(Some).map_err(broken)
}

async fn read(
    mut stream: RecvStream,
    connection: u64,
    events: &mpsc::Sender<LinkEvent>,
    traffic: &Traffic,
) -> Result<(), Stop> {
    while let Some(frame) = read_frame(&mut stream, traffic).await? {
        if let ServerFrame::GoAway { reconnect_ms } = frame {
            return Err(Stop::GoAway(reconnect_ms));
        }
        if events
            .send(LinkEvent::Frame(connection, frame))
            .await
            .is_err()
        {
            return Ok(());
        }
    }
    Ok(())
}

/// Reads the live and the history stream side by side, so that neither waits for the other.
async fn deliveries(
    connection: &Connection,
    number: u64,
    events: &mpsc::Sender<LinkEvent>,
    traffic: &Traffic,
) -> Result<(), Stop> {
    let first = delivery(connection, number, events, traffic);
    let second = delivery(connection, number, events, traffic);
    tokio::try_join!(first, second)?;
    Ok(())
}

async fn delivery(
    connection: &Connection,
    number: u64,
    events: &mpsc::Sender<LinkEvent>,
    traffic: &Traffic,
) -> Result<(), Stop> {
    let mut stream = connection.accept_uni().await.map_err(broken)?;
    let mut kind = [0];
    stream.read_exact(&mut kind).await.map_err(broken)?;
    read(stream, number, events, traffic).await
}

async fn write(
    mut stream: SendStream,
    mut frames: mpsc::Receiver<ClientFrame>,
    traffic: &Traffic,
) -> Result<(), Stop> {
    while let Some(frame) = frames.recv().await {
        let mut bytes = encode_client_frame(&frame);
        while bytes.len() < COALESCE_BYTES
            && let Ok(frame) = frames.try_recv()
        {
            bytes.extend_from_slice(&encode_client_frame(&frame));
        }
        stream.write_all(&bytes).await.map_err(broken)?;
        traffic
            .sent
            .fetch_add(u64::try_from(bytes.len()).unwrap_or(0), Ordering::Relaxed);
    }
    Ok(())
}
