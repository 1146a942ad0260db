//! Reaching a relay: QUIC first, WebSocket beside it when no hello comes, the first hello wins.

use std::net::SocketAddr;
use std::time::Duration;

use sheaf_protocol::{ClientFrame, ErrorCode, LogId, ServerFrame, VERSION, encode_client_frame};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::session::{Stop, read_frame};
use super::wire::{Reader, Side, Wire, Writer};
use super::{LinkError, LinkEvent, Pace, Target, Traffic, Transport, quic, websocket};

const HELLO_MAX: Duration = Duration::from_secs(10);

/// A connection whose relay said hello.
pub(super) struct Greeted {
    pub(super) exporter: [u8; 32],
    pub(super) log: LogId,
    pub(super) send: Writer,
    pub(super) receive: Reader,
    pub(super) side: Side,
}

/// Why a relay was not reached, and how long it asked to be left alone.
pub(super) struct Failure {
    pub(super) error: LinkError,
    pub(super) retry_after: Option<Duration>,
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        Self {
            error,
            retry_after: None,
        }
    }
}

impl Failure {
    /// The relay itself said no, so another transport is of no use.
    fn is_an_answer(&self) -> bool {
        self.retry_after.is_some()
            || matches!(
                self.error,
                LinkError::WrongKey
                    | LinkError::Version
                    | LinkError::NotAdmitted(_)
                    | LinkError::Resolve(_)
            )
    }
}

/// What reaching needs to know besides the target.
#[derive(Clone, Copy)]
pub(super) struct Means<'a> {
    pub(super) pace: &'a Pace,
    pub(super) events: &'a mpsc::Sender<LinkEvent>,
    pub(super) traffic: &'a Traffic,
}

/// Reaches the relay by one transport, and by the other if that takes too long or fails.
pub(super) async fn reach(
    target: &Target,
    first: Transport,
    means: Means<'_>,
) -> Result<Greeted, Failure> {
    if target.sockets.is_some() {
        return establish(target, Transport::Quic, means).await;
    }
    let lead = establish(target, first, means);
    tokio::pin!(lead);
    let early = tokio::select! {
        result = &mut lead => Some(result),
        () = sleep(means.pace.race_after) => None,
    };
    match early {
        Some(Ok(greeted)) => return Ok(greeted),
        Some(Err(failure)) if failure.is_an_answer() => return Err(failure),
        Some(Err(failure)) => {
            let second = establish(target, first.other(), means).await;
            return second.map_err(|other| worse(failure, other));
        }
        None => {}
    }
    let second = establish(target, first.other(), means);
    tokio::pin!(second);
    tokio::select! {
        result = &mut lead => match result {
            Err(failure) if !failure.is_an_answer() => {
                second.await.map_err(|other| worse(failure, other))
            }
            settled => settled,
        },
        result = &mut second => match result {
            Err(failure) if !failure.is_an_answer() => {
                lead.await.map_err(|other| worse(other, failure))
            }
            settled => settled,
        },
    }
}

/// Of two failures the one that says more: an answer, else the first transport's.
fn worse(first: Failure, second: Failure) -> Failure {
    if second.is_an_answer() { second } else { first }
}

/// Connects by one transport and waits for the hello.
pub(super) async fn establish(
    target: &Target,
    transport: Transport,
    means: Means<'_>,
) -> Result<Greeted, Failure> {
    let address = &target.address;
    let resolved = tokio::net::lookup_host((address.host.as_str(), address.port)).await;
    let addresses: Vec<SocketAddr> = resolved
        .map_err(|error| LinkError::Resolve(error.to_string()))?
        .collect();
    let wire = match transport {
        Transport::Quic => quic::connect(target, &addresses).await?,
        Transport::WebSocket => websocket::connect(target, &addresses).await?,
    };
    let event = LinkEvent::Authenticating(transport);
    if means.events.send(event).await.is_err() {
        return Err(LinkError::Broken("closed here".to_owned()).into());
    }
    match timeout(HELLO_MAX, greet(target, wire, means.traffic)).await {
        Ok(greeted) => greeted,
        Err(_) => Err(LinkError::Unreachable("no hello in time".to_owned()).into()),
    }
}

async fn greet(target: &Target, wire: Wire, traffic: &Traffic) -> Result<Greeted, Failure> {
    let Wire {
        exporter,
        mut send,
        mut receive,
        side,
    } = wire;
    let hello = encode_client_frame(&ClientFrame::Hello {
        version: VERSION,
        token: target.token.clone(),
    });
    let said = async {
        send.write_all(&hello).await?;
        send.flush().await
    };
    if said.await.is_err() {
        return Err(side.why_closed().into());
    }
    match read_frame(&mut receive, traffic).await {
        Ok(Some(ServerFrame::Hello {
            version: VERSION,
            log,
            ..
        })) => Ok(Greeted {
            exporter,
            log,
            send,
            receive,
            side,
        }),
        Ok(Some(ServerFrame::Refused(refusal))) => Err(Failure {
            retry_after: (refusal.retry_after_ms > 0)
                .then(|| Duration::from_millis(u64::from(refusal.retry_after_ms))),
            error: match refusal.code {
                ErrorCode::Version => LinkError::Version,
                ErrorCode::NotAdmitted => LinkError::NotAdmitted(refusal.message),
                _ => LinkError::Broken(refusal.message),
            },
        }),
        Ok(Some(ServerFrame::GoAway { reconnect_ms })) => Err(Failure {
            retry_after: Some(Duration::from_millis(u64::from(reconnect_ms))),
            error: LinkError::Broken("the relay is closing".to_owned()),
        }),
        Ok(Some(_)) => Err(LinkError::Version.into()),
        Ok(None) | Err(Stop::Error(_) | Stop::GoAway(_)) => Err(side.why_closed().into()),
    }
}
