//! The TCP side: WebSocket connections, with the checks that QUIC's have.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::Handshaking;
use crate::connection::{Shared, serve};
use crate::key::RelayKey;
use crate::metrics::Handshake;
use crate::rate::Prefix;
use crate::relay::StartError;
use crate::wire::Wire;
use crate::{socket, tls};

/// Connections that the system may hold before they are looked at.
const BACKLOG: i32 = 1024;
/// Handshakes under way; one more is turned away. Over QUIC a device is asked to come back instead.
const HANDSHAKES_MAX: u32 = 1024;
/// Pause after the system refused to hand a connection over: it may be out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The listening socket of the WebSocket transport.
pub(crate) struct Sockets {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    idle: Duration,
}

impl Sockets {
    pub(super) fn bind(
        listen: SocketAddr,
        key: &RelayKey,
        idle: Duration,
    ) -> Result<Self, StartError> {
        let acceptor = tls::acceptor(key).map_err(StartError::Tls)?;
        let listener = open(listen).map_err(|source| StartError::Bind { listen, source })?;
        Ok(Self {
            listener,
            acceptor,
            idle,
        })
    }

    /// Takes connections until the relay drains.
    pub(crate) async fn accept_all(self, shared: Arc<Shared>, tasks: TaskTracker) {
        let shaking = Arc::new(AtomicU32::new(0));
        loop {
            let accepted = tokio::select! {
                () = shared.draining.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            let (stream, remote) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!(%error, "no connection was handed over");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let fast = !shared.rates.handshake(Prefix::of(remote.ip()));
            if fast || shaking.load(Ordering::Relaxed) >= HANDSHAKES_MAX {
                shared.metrics.handshake(Handshake::TurnedAway);
                continue;
            }
            let newcomer = Newcomer {
                stream,
                remote,
                acceptor: self.acceptor.clone(),
                idle: self.idle,
            };
            let shaking = Handshaking::begin(&shaking);
            tasks.spawn(newcomer.greet(Arc::clone(&shared), tasks.clone(), shaking));
        }
    }
}

/// A connection before its handshakes.
struct Newcomer {
    stream: TcpStream,
    remote: SocketAddr,
    acceptor: TlsAcceptor,
    idle: Duration,
}

impl Newcomer {
    async fn greet(self, shared: Arc<Shared>, tasks: TaskTracker, shaking: Handshaking) {
        let limit = Duration::from_secs(u64::from(shared.limits.handshake_seconds));
        let accepting = socket::accept(self.stream, self.remote, &self.acceptor, self.idle);
        let (socket, carried) = match timeout(limit, accepting).await {
            Ok(Some(accepted)) => accepted,
            Ok(None) => return shared.metrics.handshake(Handshake::Failed),
            Err(_) => return shared.metrics.handshake(Handshake::TimedOut),
        };
        drop(shaking);
        tasks.spawn(carried);
        serve(shared, Wire::Socket(socket)).await;
    }
}

fn open(listen: SocketAddr) -> Result<TcpListener, std::io::Error> {
    use socket2::{Domain, Protocol, Socket, Type};

    let socket = Socket::new(
        Domain::for_address(listen),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if listen.is_ipv6() && listen.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    // A relay that starts again must not wait for connections of its predecessor to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&listen.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
