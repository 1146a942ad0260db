//! QUIC towards a relay.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::{
    Connection, ConnectionError, Endpoint, EndpointConfig, IdleTimeout, TransportConfig, VarInt,
};
use sheaf_protocol::StreamKind;
use tokio::io::AsyncReadExt;

use super::wire::{Closed, Reader, Wire};
use super::{LinkError, Sockets, Target, tls};
use crate::link::wire::Side;

/// The protocol's name in the TLS handshake (docs/PROTOCOL.md).
const ALPN: &[u8] = b"sheaf/1";
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
const IDLE_MAX: Duration = Duration::from_secs(60);
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
const RECEIVE_WINDOW_BYTES: u32 = 6 * 1024 * 1024;

fn config(target: &Target) -> Result<quinn::ClientConfig, LinkError> {
    let broken = |error: &dyn std::fmt::Display| LinkError::Broken(error.to_string());
    let tls = tls::client(target, ALPN).map_err(|error| broken(&error))?;
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).map_err(|e| broken(&e))?;
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(4))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW_BYTES))
        .max_idle_timeout(IdleTimeout::try_from(IDLE_MAX).ok())
        .datagram_receive_buffer_size(None)
        .allow_spin(false);
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Connects to the first address that answers.
pub(super) async fn connect(target: &Target, addresses: &[SocketAddr]) -> Result<Wire, LinkError> {
    let config = config(target)?;
    let mut last = LinkError::Resolve("it has no address".to_owned());
    for address in addresses {
        match attempt(target, *address, config.clone()).await {
            Ok(wire) => return Ok(wire),
            Err(error @ LinkError::WrongKey) => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn any_local(address: SocketAddr) -> SocketAddr {
    if address.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    }
}

/// An endpoint on the target's network.
fn endpoint(sockets: Option<&dyn Sockets>, address: SocketAddr) -> io::Result<Endpoint> {
    let Some(sockets) = sockets else {
        return Endpoint::client(any_local(address));
    };
    let (config, runtime) = (EndpointConfig::default(), Arc::new(quinn::TokioRuntime));
    Endpoint::new_with_abstract_socket(config, None, sockets.open(address)?, runtime)
}

async fn attempt(
    target: &Target,
    address: SocketAddr,
    config: quinn::ClientConfig,
) -> Result<Wire, LinkError> {
    let unreachable = |error: &dyn std::fmt::Display| LinkError::Unreachable(error.to_string());
    let sockets = target.sockets.as_deref();
    let endpoint = endpoint(sockets, address).map_err(|error| unreachable(&error))?;
    let connecting = endpoint
        .connect_with(config, address, tls::SERVER_NAME)
        .map_err(|error| unreachable(&error))?;
    let connection = match tokio::time::timeout(HANDSHAKE_MAX, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Err(classify(&error)),
        Err(_) => return Err(LinkError::Unreachable("no answer in time".to_owned())),
    };
    let mut exporter = [0; 32];
    connection
        .export_keying_material(&mut exporter, tls::EXPORTER_LABEL, b"")
        .map_err(|_| LinkError::Broken("no TLS exporter".to_owned()))?;
    let (send, receive) = connection.open_bi().await.map_err(|e| unreachable(&e))?;
    Ok(Wire {
        exporter,
        send: Box::new(send),
        receive: Box::new(receive),
        side: Side::Quic(Quic {
            endpoint,
            connection,
            sockets: target.sockets.clone(),
        }),
    })
}

/// TLS alerts of RFC 8446 that say whose key was wrong, as QUIC carries them (RFC 9001, 4.8).
fn classify(error: &ConnectionError) -> LinkError {
    match error {
        ConnectionError::TransportError(transport)
            if transport.reason.contains("ApplicationVerificationFailure") =>
        {
            LinkError::WrongKey
        }
        ConnectionError::VersionMismatch => LinkError::Version,
        other => LinkError::Unreachable(other.to_string()),
    }
}

/// A QUIC connection; dropping it closes it.
pub(super) struct Quic {
    endpoint: Endpoint,
    connection: Connection,
    sockets: Option<Arc<dyn Sockets>>,
}

impl Drop for Quic {
    fn drop(&mut self) {
        self.connection.close(VarInt::from_u32(0), b"");
    }
}

impl Quic {
    /// The next stream that the relay opens.
    pub(super) async fn delivery(&self) -> Result<Reader, LinkError> {
        let broken = |error: &dyn std::fmt::Display| LinkError::Broken(error.to_string());
        let mut stream = self.connection.accept_uni().await.map_err(|e| broken(&e))?;
        let kind = stream.read_u8().await.map_err(|error| broken(&error))?;
        match StreamKind::of(kind) {
            Some(StreamKind::Live | StreamKind::History) => Ok(Box::new(stream)),
            Some(StreamKind::Control) | None => Err(LinkError::Version),
        }
    }

    /// Goes on over another local address: the relay follows the packets.
    pub(super) fn rebind(&self) -> io::Result<()> {
        let remote = self.connection.remote_address();
        match &self.sockets {
            Some(sockets) => self.endpoint.rebind_abstract(sockets.open(remote)?),
            None => self.endpoint.rebind(UdpSocket::bind(any_local(remote))?),
        }
    }

    pub(super) fn closed(&self) -> Option<Closed> {
        match self.connection.close_reason()? {
            ConnectionError::ApplicationClosed(close) => Some(Closed::ByRelay {
                code: close.error_code.into_inner(),
                reason: String::from_utf8_lossy(&close.reason).into_owned(),
            }),
            other => Some(Closed::Broken(other.to_string())),
        }
    }
}
