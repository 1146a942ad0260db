//! One connection from the relay's hello to its end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sheaf_protocol::{
    ClientFrame, FRAME_PREFIX_BYTES, ServerFrame, decode_server_frame, encode_client_frame, limits,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::manager::Control;
use super::reach::{Greeted, Means, establish};
use super::wire::{Reader, Side, Writer};
use super::{FRAMES_OUT_MAX, LinkError, LinkEvent, Target, Traffic, Transport};
use crate::activity::Activity;

/// Bytes of frames that are written at once.
const COALESCE_BYTES: usize = 64 * 1024;

/// How a session ended.
pub(super) struct Ended {
    pub(super) error: LinkError,
    /// The relay asked for this delay before the next connection.
    pub(super) retry_after: Option<Duration>,
    /// The network is another one: the next attempt is made at once.
    pub(super) moved: bool,
    /// Another transport is up already.
    pub(super) successor: Option<Greeted>,
}

impl From<LinkError> for Ended {
    fn from(error: LinkError) -> Self {
        Self {
            error,
            retry_after: None,
            moved: false,
            successor: None,
        }
    }
}

/// Why reading or writing stopped.
pub(super) enum Stop {
    Error(LinkError),
    GoAway(u32),
}

fn broken(error: impl std::fmt::Display) -> Stop {
    Stop::Error(LinkError::Broken(error.to_string()))
}

/// What a session is about.
pub(super) struct Session<'a> {
    pub(super) number: u64,
    pub(super) target: &'a Target,
    pub(super) means: Means<'a>,
    pub(super) control: watch::Receiver<Control>,
}

/// The connection is of no use any more.
fn gone(why: &str, moved: bool) -> Ended {
    let mut ended = Ended::from(LinkError::Broken(why.to_owned()));
    ended.moved = moved;
    ended
}

/// When something was last heard, and the ping that is not answered.
struct Pulse {
    heard: watch::Sender<Instant>,
    pings: mpsc::Sender<ClientFrame>,
}

impl Session<'_> {
    /// Runs until the connection is gone or another one takes its place.
    pub(super) async fn run(self, greeted: Greeted) -> Ended {
        let Greeted {
            exporter,
            log,
            send,
            receive,
            side,
        } = greeted;
        let (frames, outgoing) = mpsc::channel(FRAMES_OUT_MAX);
        let up = LinkEvent::Up {
            connection: self.number,
            relay: self.target.address.relay,
            exporter,
            log,
            frames,
            transport: side.transport(),
        };
        if self.means.events.send(up).await.is_err() {
            return LinkError::Broken("closed here".to_owned()).into();
        }
        let (heard, _) = watch::channel(Instant::now());
        let (pings, pinging) = mpsc::channel(1);
        let pulse = Pulse { heard, pings };
        let traffic = self.means.traffic;
        let stop = tokio::select! {
            // The control stream first: the relay's last words are there.
            biased;
            result = self.read(receive, &pulse) => result.err(),
            result = write(send, outgoing, pinging, traffic) => result.err(),
            result = self.deliveries(&side, &pulse) => result.err(),
            ended = self.beat(&side, &pulse) => return ended,
            greeted = self.probe(&side) => {
                let error = LinkError::Broken("QUIC works again".to_owned());
                let mut ended = Ended::from(error);
                ended.successor = Some(greeted);
                return ended;
            }
        };
        match stop {
            Some(Stop::GoAway(delay)) => Ended {
                retry_after: Some(Duration::from_millis(u64::from(delay))),
                ..Ended::from(LinkError::Broken("the relay is closing".to_owned()))
            },
            Some(Stop::Error(error)) => match side.why_closed() {
                LinkError::Broken(_) => error.into(),
                said => said.into(),
            },
            None => side.why_closed().into(),
        }
    }

    async fn read(&self, mut stream: Reader, pulse: &Pulse) -> Result<(), Stop> {
        while let Some(frame) = read_frame(&mut stream, self.means.traffic).await? {
            pulse.heard.send_replace(Instant::now());
            match frame {
                ServerFrame::GoAway { reconnect_ms } => return Err(Stop::GoAway(reconnect_ms)),
                ServerFrame::Pong { token } => self.note_round_trip(token),
                frame => {
                    let event = LinkEvent::Frame(self.number, frame);
                    if self.means.events.send(event).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads the live and the history stream side by side, so that neither waits for the other.
    async fn deliveries(&self, side: &Side, pulse: &Pulse) -> Result<(), Stop> {
        let one = async || {
            let stream = side.delivery().await.map_err(Stop::Error)?;
            self.read(stream, pulse).await
        };
        tokio::try_join!(one(), one())?;
        // The control stream says why the connection ends.
        std::future::pending().await
    }

    /// Pings after silence; returns when the relay does not answer any more.
    async fn beat(&self, side: &Side, pulse: &Pulse) -> Ended {
        let mut control = self.control.clone();
        let pace = self.means.pace;
        let mut network = control.borrow_and_update().network;
        let mut heard = pulse.heard.subscribe();
        loop {
            let activity = control.borrow().activity;
            let every = match activity {
                Activity::Foreground => pace.heartbeat,
                Activity::Idle | Activity::Background => pace.heartbeat_slow,
            };
            let quiet_until = *heard.borrow_and_update() + every;
            let mut patience = pace.pong;
            tokio::select! {
                () = sleep_until(quiet_until) => {}
                changed = heard.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return std::future::pending().await,
                },
                changed = control.changed() => {
                    let now = control.borrow_and_update().network;
                    if changed.is_err() || now == network {
                        continue;
                    }
                    network = now;
                    patience = pace.pong_moved;
                    if !side.rebind() {
                        return gone("the network changed", true);
                    }
                }
            }
            let token = micros_now();
            let asked = Instant::now();
            if pulse.pings.send(ClientFrame::Ping { token }).await.is_err() {
                return std::future::pending().await;
            }
            let answered = heard.wait_for(|at| *at >= asked);
            if timeout(patience, answered).await.is_err() {
                return gone(
                    "the relay does not answer any more",
                    patience == pace.pong_moved,
                );
            }
        }
    }

    fn note_round_trip(&self, token: u64) {
        let round_trip = micros_now().saturating_sub(token).max(1);
        let cell = &self.means.traffic.round_trip_us;
        cell.store(round_trip, Ordering::Relaxed);
    }

    /// Over WebSocket: returns a QUIC connection once one comes about.
    async fn probe(&self, side: &Side) -> Greeted {
        if side.transport() == Transport::Quic {
            return std::future::pending().await;
        }
        let (unseen, mut ignored) = mpsc::channel(4);
        let means = Means {
            events: &unseen,
            ..self.means
        };
        loop {
            sleep(self.means.pace.probe).await;
            let trying = establish(self.target, Transport::Quic, means);
            if let Ok(Ok(greeted)) = timeout(self.means.pace.pong, trying).await {
                return greeted;
            }
            while ignored.try_recv().is_ok() {}
        }
    }
}

/// Microseconds since this program began to look.
fn micros_now() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let start = START.get_or_init(Instant::now);
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// Reads one frame; nothing at the end of the stream. The length is checked before the body.
pub(super) async fn read_frame(
    stream: &mut Reader,
    traffic: &Traffic,
) -> Result<Option<ServerFrame>, Stop> {
    let mut prefix = [0; FRAME_PREFIX_BYTES];
    match stream.read_exact(&mut prefix).await {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
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
    traffic.frames_received.fetch_add(1, Ordering::Relaxed);
    decode_server_frame(&body).map(Some).map_err(broken)
}

async fn write(
    mut stream: Writer,
    mut frames: mpsc::Receiver<ClientFrame>,
    mut pings: mpsc::Receiver<ClientFrame>,
    traffic: &Traffic,
) -> Result<(), Stop> {
    loop {
        let frame = tokio::select! {
            frame = frames.recv() => frame,
            Some(ping) = pings.recv() => Some(ping),
        };
        let Some(frame) = frame else {
            return Ok(());
        };
        let mut bytes = encode_client_frame(&frame);
        let mut count = 1;
        while bytes.len() < COALESCE_BYTES
            && let Ok(frame) = frames.try_recv()
        {
            bytes.extend_from_slice(&encode_client_frame(&frame));
            count += 1;
        }
        stream.write_all(&bytes).await.map_err(broken)?;
        traffic
            .sent
            .fetch_add(u64::try_from(bytes.len()).unwrap_or(0), Ordering::Relaxed);
        traffic.frames_sent.fetch_add(count, Ordering::Relaxed);
    }
}
