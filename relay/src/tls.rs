//! TLS, over QUIC and over TCP: 1.3 only, raw public keys both ways (RFC 7250), no tickets, no early data.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{EndpointConfig, IdleTimeout, TransportConfig, VarInt};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    SignatureScheme,
};

use sheaf_protocol::SOCKET_ALPN;

use crate::key::{KeyError, RelayKey, load_or_create};
use crate::relay::StartError;

/// The protocol's name in the TLS handshake.
pub const ALPN: &[u8] = b"sheaf/1";
/// Label of the TLS exporter that proofs of access are bound to; 32 bytes, empty context.
pub const EXPORTER_LABEL: &[u8] = b"sheaf1/exporter";

/// What stands before a 32-byte Ed25519 key in its SubjectPublicKeyInfo form (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// Bytes that a connection may send us before the hello: enough for a hello and a token.
const WINDOW_BEFORE_HELLO_BYTES: u32 = 64 * 1024;
/// Bytes that a connection may have under way to us after the hello.
const WINDOW_AFTER_HELLO_BYTES: u32 = 2 * 1024 * 1024;
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// Bytes under way from us to a connection, before and after the hello.
const SEND_WINDOW_BEFORE_HELLO_BYTES: u64 = 64 * 1024;
const SEND_WINDOW_AFTER_HELLO_BYTES: u64 = 2 * 1024 * 1024;
/// Handshakes that may wait for the accept loop, and the bytes they may have sent meanwhile.
const INCOMING_MAX: usize = 1024;
const INCOMING_BYTES_MAX: u64 = 64 * 1024;
const INCOMING_TOTAL_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Socket buffers: with the system's small ones the last of a thousand receivers waits for resends.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// A device's public key, as proved in the handshake.
pub(crate) type DeviceKey = [u8; 32];

/// Takes any Ed25519 key: whether its owner may use the relay is decided at the hello.
#[derive(Debug)]
struct AnyDevice(WebPkiSupportedAlgorithms);

fn device_key(identity: &[u8]) -> Option<DeviceKey> {
    identity.strip_prefix(&SPKI_PREFIX)?.try_into().ok()
}

impl ClientCertVerifier for AnyDevice {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match device_key(end_entity) {
            Some(_) if intermediates.is_empty() => Ok(ClientCertVerified::assertion()),
            Some(_) | None => Err(Error::InvalidCertificate(CertificateError::BadEncoding)),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = SubjectPublicKeyInfoDer::from(cert.as_ref());
        verify_tls13_signature_with_raw_key(message, &spki, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// The device key of a finished handshake.
pub(crate) fn peer(connection: &quinn::Connection) -> Option<DeviceKey> {
    let identity = connection.peer_identity()?;
    let chain = identity.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    device_of_chain(&chain)
}

/// The device key of what the device showed.
pub(crate) fn device_of_chain(chain: &[CertificateDer<'_>]) -> Option<DeviceKey> {
    device_key(chain.first()?)
}

/// Takes TLS connections over TCP, with the keys and rules of those over QUIC.
pub(crate) fn acceptor(key: &RelayKey) -> Result<tokio_rustls::TlsAcceptor, Error> {
    Ok(Arc::new(server_tls(key, SOCKET_ALPN)?).into())
}

/// Raises the limits of a connection whose hello was taken.
pub(crate) fn raise_limits(connection: &quinn::Connection) {
    connection.set_receive_window(VarInt::from_u32(WINDOW_AFTER_HELLO_BYTES));
    connection.set_send_window(SEND_WINDOW_AFTER_HELLO_BYTES);
}

fn server_tls(key: &RelayKey, alpn: &[u8]) -> Result<rustls::ServerConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let der = key.pkcs8();
    let signer =
        rustls::crypto::ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(der.as_slice()))?;
    let spki = [&SPKI_PREFIX[..], &key.id().0].concat();
    let identity = CertifiedKey::new(vec![CertificateDer::from(spki)], signer);
    let resolver = AlwaysResolvesServerRawPublicKeys::new(Arc::new(identity));
    let mut tls = server_builder(provider)?
        .with_client_cert_verifier(Arc::new(AnyDevice(algorithms)))
        .with_cert_resolver(Arc::new(resolver));
    tls.alpn_protocols = vec![alpn.to_vec()];
    // A ticket would let in a device that is no longer admitted, without its key being looked at.
    tls.send_tls13_tickets = 0;
    tls.session_storage = Arc::new(NoServerSessionStorage {});
    tls.max_early_data_size = 0;
    Ok(tls)
}

fn server_builder(
    provider: Arc<CryptoProvider>,
) -> Result<rustls::ConfigBuilder<rustls::ServerConfig, rustls::WantsVerifier>, Error> {
    rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
}

fn transport(idle: Duration) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(WINDOW_BEFORE_HELLO_BYTES))
        .send_window(SEND_WINDOW_BEFORE_HELLO_BYTES)
        .max_idle_timeout(IdleTimeout::try_from(idle).ok())
        .datagram_receive_buffer_size(None)
        .allow_spin(false);
    transport
}

/// Opens the relay's UDP socket, unless one is given, and its QUIC endpoint.
pub(crate) fn endpoint(
    listen: SocketAddr,
    data: &Path,
    key: &RelayKey,
    idle: Duration,
    socket: Option<Arc<dyn quinn::AsyncUdpSocket>>,
) -> Result<quinn::Endpoint, StartError> {
    let tls = server_tls(key, ALPN).map_err(StartError::Tls)?;
    let tls = QuicServerConfig::try_from(tls).map_err(StartError::Cipher)?;
    let mut server = quinn::ServerConfig::new(Arc::new(tls), Arc::new(token_key(data)?));
    server
        .transport_config(Arc::new(transport(idle)))
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES_MAX)
        .incoming_buffer_size_total(INCOMING_TOTAL_BYTES_MAX);
    let reset = load_or_create(&data.join("reset.key"))?;
    let reset = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, reset.as_slice());
    let config = EndpointConfig::new(Arc::new(reset));
    let runtime = Arc::new(quinn::TokioRuntime);
    let opened = match socket {
        Some(socket) => {
            quinn::Endpoint::new_with_abstract_socket(config, Some(server), socket, runtime)
        }
        None => {
            let socket = bind(listen).map_err(|source| StartError::Bind { listen, source })?;
            quinn::Endpoint::new(config, Some(server), socket, runtime)
        }
    };
    opened.map_err(|source| StartError::Bind { listen, source })
}

/// Kept over restarts, so that an address that proved itself need not do so again.
fn token_key(data: &Path) -> Result<ring::hkdf::Prk, KeyError> {
    let seed = load_or_create(&data.join("token.key"))?;
    Ok(ring::hkdf::Salt::new(ring::hkdf::HKDF_SHA256, &[]).extract(seed.as_slice()))
}

fn bind(listen: SocketAddr) -> Result<std::net::UdpSocket, std::io::Error> {
    use socket2::{Domain, Protocol, Socket, Type};

    let socket = Socket::new(
        Domain::for_address(listen),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if listen.is_ipv6() && listen.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    // A system that grants less is worth a warning, not a failure.
    let asked = socket
        .set_recv_buffer_size(SOCKET_BUFFER_BYTES)
        .and_then(|()| socket.set_send_buffer_size(SOCKET_BUFFER_BYTES));
    let granted = socket
        .recv_buffer_size()
        .unwrap_or(0)
        .min(socket.send_buffer_size().unwrap_or(0));
    // Linux reports twice what it granted.
    let granted = if cfg!(target_os = "linux") {
        granted / 2
    } else {
        granted
    };
    if asked.is_err() || granted < SOCKET_BUFFER_BYTES {
        tracing::warn!(
            granted_bytes = granted,
            wanted_bytes = SOCKET_BUFFER_BYTES,
            "the system grants small socket buffers; raise net.core.rmem_max and net.core.wmem_max"
        );
    }
    socket.set_nonblocking(true)?;
    socket.bind(&listen.into())?;
    Ok(socket.into())
}
