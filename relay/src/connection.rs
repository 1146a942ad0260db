//! One connection: hello, then four tasks that end together.
//!
//! The reader owns what the device may do; the control writer answers it; the live and the history
//! writer deliver. Each has a bounded queue, so a device that does not read is not read from.

mod deliver;
mod frame;
mod session;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sheaf_protocol::limits::{APPENDS_IN_FLIGHT_MAX, FRAME_BYTES_MAX, TOKEN_BYTES_MAX};
use sheaf_protocol::{
    ClientFrame, ErrorCode, Refusal, ServerFrame, StreamKind, VERSION, encode_server_frame,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::frame::{ReadFault, read_frame};
use self::session::Session;
use crate::admission::{Admission, Credential};
use crate::config::LimitConfig;
use crate::hub::{Hub, Outbox};
use crate::key::RelayKey;
use crate::metrics::{Handshake, Metrics};
use crate::misbehaviour::{CloseCode, Misbehaviour};
use crate::rate::Rates;
use crate::registry::Registry;
use crate::store::Storage;
use crate::tls::DeviceKey;
use crate::wire::{Receiving, Sending, Wire};
use crate::writer::WriterQueue;

/// Longest hello: a token and a few bytes.
const HELLO_BYTES_MAX: usize = TOKEN_BYTES_MAX + 64;
/// Frames, answers apart, that wait for the control stream.
const CONTROL_FRAMES_MAX: usize = 64;
/// How long a device may take to acknowledge the last words of a connection.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) key: RelayKey,
    pub(crate) limits: LimitConfig,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) writer: WriterQueue,
    pub(crate) rates: Rates,
    pub(crate) admission: Admission,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) registry: Registry,
    pub(crate) draining: CancellationToken,
}

impl Shared {
    pub(crate) fn stall(&self) -> Duration {
        Duration::from_secs(u64::from(self.limits.stall_seconds))
    }

    fn handshake(&self) -> Duration {
        Duration::from_secs(u64::from(self.limits.handshake_seconds))
    }

    pub(crate) fn blame(&self, kind: Misbehaviour) {
        self.metrics.misbehaviour(kind);
        tracing::debug!(kind = kind.name(), "misbehaviour");
    }
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The device left, or the connection was closed elsewhere.
    Gone,
    /// The relay is about to shut down.
    Draining,
    /// The relay closes it for a reason.
    Close(CloseCode),
}

/// A connection whose device said hello and is admitted.
struct Greeted {
    wire: Wire,
    device: DeviceKey,
    exporter: [u8; 32],
    send: Sending,
    receive: Receiving,
    credential: Credential,
}

/// Serves a connection from the end of its TLS handshake to its own.
pub(crate) async fn serve(shared: Arc<Shared>, wire: Wire) {
    let greeting = timeout(shared.handshake(), greet(&shared, &wire)).await;
    let greeted = match greeting {
        Ok(Ok(greeted)) => greeted,
        Ok(Err(code)) => return wire.close(code),
        Err(_) => {
            shared.metrics.handshake(Handshake::TimedOut);
            return wire.close(CloseCode::HelloTimeout);
        }
    };
    let Some(_place) = shared
        .registry
        .enter(&wire, &greeted.credential, &greeted.device)
    else {
        shared.metrics.handshake(Handshake::TurnedAway);
        return wire.close(CloseCode::TooManyConnections);
    };
    wire.raise_limits();
    shared.metrics.handshake(Handshake::Up);
    shared.metrics.up(wire.transport());
    Box::pin(run(&shared, greeted)).await;
    shared.metrics.down(wire.transport());
}

/// Reads the hello and decides about it.
async fn greet(shared: &Shared, wire: &Wire) -> Result<Greeted, CloseCode> {
    let (device, exporter) = wire.identity().ok_or(CloseCode::Misbehaved)?;
    let Some((mut send, mut receive)) = wire.accept_control().await else {
        shared.metrics.handshake(Handshake::Failed);
        return Err(CloseCode::Misbehaved);
    };
    let hello = match read_frame(&mut receive, HELLO_BYTES_MAX).await {
        Ok(ClientFrame::Hello { version, token }) => (version, token),
        Ok(_) => return Err(wrong_hello(shared, Misbehaviour::NoHello)),
        Err(ReadFault::Blame(kind)) => return Err(wrong_hello(shared, kind)),
        Err(ReadFault::Ended | ReadFault::Lost) => {
            shared.metrics.handshake(Handshake::Failed);
            return Err(CloseCode::Misbehaved);
        }
    };
    let (version, token) = hello;
    if version < VERSION {
        let reason = (ErrorCode::Version, "this relay speaks version 1");
        return Err(turn_away(shared, &mut send, reason, CloseCode::Version).await);
    }
    let credential = Credential::new(device, token.as_deref());
    if !shared.admission.admits(&credential) {
        shared.metrics.handshake(Handshake::NotAdmitted);
        let reason = (
            ErrorCode::NotAdmitted,
            "this relay does not admit this device",
        );
        return Err(turn_away(shared, &mut send, reason, CloseCode::NotAdmitted).await);
    }
    Ok(Greeted {
        wire: wire.clone(),
        device,
        exporter,
        send,
        receive,
        credential,
    })
}

fn wrong_hello(shared: &Shared, kind: Misbehaviour) -> CloseCode {
    shared.blame(kind);
    shared.metrics.handshake(Handshake::Failed);
    CloseCode::Misbehaved
}

/// Says why before closing; a close alone would leave the device guessing.
async fn turn_away(
    shared: &Shared,
    send: &mut Sending,
    (code, message): (ErrorCode, &str),
    close: CloseCode,
) -> CloseCode {
    shared.metrics.refusal(code);
    let frame = encode_server_frame(&ServerFrame::Refused(Refusal {
        request: None,
        topic: None,
        code,
        retry_after_ms: 0,
        message: message.to_owned(),
    }));
    // The device may be gone already: the close that follows says it all the same.
    if send
        .write(&mut [Bytes::from(frame)], shared.handshake())
        .await
        .is_ok()
    {
        send.finish(LAST_WORDS).await;
    }
    close
}

/// Runs a greeted connection to its end.
async fn run(shared: &Arc<Shared>, greeted: Greeted) {
    let Greeted {
        wire,
        device,
        exporter,
        mut send,
        receive,
        credential: _,
    } = greeted;
    let hello = encode_server_frame(&ServerFrame::Hello {
        version: VERSION,
        log: shared.storage.log(),
        record_bytes_max: shared.limits.record_bytes_max,
    });
    let streams = async {
        let hello = &mut [Bytes::from(hello)];
        send.write(hello, shared.handshake()).await.ok()?;
        let live = wire.open(StreamKind::Live).await?;
        let history = wire.open(StreamKind::History).await?;
        Some((live, history))
    };
    let Ok(Some((live, history))) = timeout(shared.handshake(), streams).await else {
        return wire.close(CloseCode::Stalled);
    };

    let (outbox, live_frames) = Outbox::new();
    let (frames, frames_out) = mpsc::channel(CONTROL_FRAMES_MAX);
    let (answers, answers_out) = mpsc::channel(APPENDS_IN_FLIGHT_MAX);
    let mut writers = JoinSet::new();
    writers.spawn(deliver::live(
        Arc::clone(shared),
        wire.clone(),
        live,
        Arc::clone(&outbox),
        live_frames,
    ));
    writers.spawn(deliver::history(
        Arc::clone(shared),
        wire.clone(),
        history,
        Arc::clone(&outbox),
    ));
    let control = tokio::spawn(deliver::control(
        Arc::clone(shared),
        wire.clone(),
        send,
        frames_out,
        answers_out,
    ));
    let mut session = Session::new(
        Arc::clone(shared),
        device,
        exporter,
        Arc::clone(&outbox),
        frames,
        answers,
    );
    let end = read_all(shared, receive, &mut session).await;
    session.leave(end == End::Draining).await;
    match end {
        // Every append that was read is answered before the connection closes.
        End::Gone | End::Draining => {
            let _ended = control.await;
            wire.close(CloseCode::ShuttingDown);
        }
        End::Close(code) => {
            wire.close(code);
            control.abort();
        }
    }
    writers.shutdown().await;
}

/// Takes frames off the control stream until something ends it.
async fn read_all(shared: &Shared, mut receive: Receiving, session: &mut Session) -> End {
    loop {
        let frame = tokio::select! {
            biased;
            () = shared.draining.cancelled() => return End::Draining,
            frame = read_frame(&mut receive, FRAME_BYTES_MAX) => frame,
        };
        let result = match frame {
            Ok(frame) => session.handle(frame).await,
            Err(ReadFault::Blame(kind)) => session.blamed(kind).await,
            Err(ReadFault::Ended | ReadFault::Lost) => Err(End::Gone),
        };
        if let Err(end) = result {
            return end;
        }
    }
}
