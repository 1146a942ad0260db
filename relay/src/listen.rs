//! Takes connections in, over UDP and TCP: cheap checks first, and nothing here waits for one device.

mod tcp;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use quinn::{Endpoint, Incoming};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use self::tcp::Sockets;
use crate::config::Config;
use crate::connection::{Shared, serve};
use crate::key::RelayKey;
use crate::metrics::Handshake;
use crate::rate::Prefix;
use crate::relay::StartError;
use crate::tls;
use crate::wire::Wire;

/// How often a free port is looked for that both transports can have.
const PORTS_TRIED_MAX: usize = 16;

/// What devices come in by.
pub(crate) struct Doors {
    pub(crate) endpoint: Endpoint,
    pub(crate) sockets: Option<Sockets>,
}

/// Listens on UDP and, unless it is turned off, on the same port of TCP; on a given socket alone.
pub(crate) fn bind(
    config: &Config,
    key: &RelayKey,
    idle: Duration,
    socket: Option<Arc<dyn quinn::AsyncUdpSocket>>,
) -> Result<Doors, StartError> {
    if socket.is_some() {
        let endpoint = tls::endpoint(config.listen, &config.data, key, idle, socket)?;
        let sockets = None;
        return Ok(Doors { endpoint, sockets });
    }
    let mut tries = 0;
    loop {
        tries += 1;
        let endpoint = tls::endpoint(config.listen, &config.data, key, idle, None)?;
        if !config.websocket.enabled {
            let sockets = None;
            return Ok(Doors { endpoint, sockets });
        }
        let mut listen = config.listen;
        if let Ok(local) = endpoint.local_addr() {
            listen.set_port(local.port());
        }
        let listen = config.websocket.listen.unwrap_or(listen);
        match Sockets::bind(listen, key, idle) {
            Ok(sockets) => {
                let sockets = Some(sockets);
                return Ok(Doors { endpoint, sockets });
            }
            // The free UDP port may be somebody's TCP port.
            Err(StartError::Bind { .. })
                if config.listen.port() == 0 && tries < PORTS_TRIED_MAX => {}
            Err(error) => return Err(error),
        }
    }
}

/// Takes connections until the relay drains or its socket is gone.
pub(crate) async fn accept_all(shared: Arc<Shared>, endpoint: Endpoint, tasks: TaskTracker) {
    let shaking = Arc::new(AtomicU32::new(0));
    loop {
        let incoming = tokio::select! {
            () = shared.draining.cancelled() => break,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else {
            break;
        };
        if let Some(incoming) = admit(&shared, &shaking, incoming) {
            let shaking = Handshaking::begin(&shaking);
            tasks.spawn(greet(Arc::clone(&shared), incoming, shaking));
        }
    }
    // New ones are refused from here on; those that are up go on until they are done.
    endpoint.set_server_config(None);
}

/// Turns away, or asks to come back, before any cryptography is done.
fn admit(shared: &Shared, shaking: &AtomicU32, incoming: Incoming) -> Option<Incoming> {
    let prefix = Prefix::of(incoming.remote_address().ip());
    let fast = !shared.rates.handshake(prefix);
    let busy = shaking.load(Ordering::Relaxed) >= shared.limits.handshakes_before_retry;
    if !fast && !busy {
        return Some(incoming);
    }
    if !incoming.remote_address_validated() && incoming.may_retry() {
        shared.metrics.handshake(Handshake::Retried);
        // It cannot fail after `may_retry`, and the device tries again anyway.
        let _refused = incoming.retry();
        return None;
    }
    if fast {
        shared.metrics.handshake(Handshake::TurnedAway);
        incoming.refuse();
        return None;
    }
    Some(incoming)
}

async fn greet(shared: Arc<Shared>, incoming: Incoming, shaking: Handshaking) {
    let limit = Duration::from_secs(u64::from(shared.limits.handshake_seconds));
    let Ok(connecting) = incoming.accept() else {
        return shared.metrics.handshake(Handshake::Failed);
    };
    let connection = match timeout(limit, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            tracing::debug!(%error, "handshake failed");
            return shared.metrics.handshake(Handshake::Failed);
        }
        Err(_) => return shared.metrics.handshake(Handshake::TimedOut),
    };
    drop(shaking);
    serve(shared, Wire::Quic(connection)).await;
}

/// One handshake under way.
struct Handshaking(Arc<AtomicU32>);

impl Handshaking {
    fn begin(count: &Arc<AtomicU32>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Handshaking {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
