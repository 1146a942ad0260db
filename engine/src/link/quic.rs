//! QUIC towards a relay: TLS 1.3, raw public keys both ways, the relay's key pinned.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, ConnectionError, Endpoint, IdleTimeout, TransportConfig, VarInt};
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerIncompatible, SignatureScheme};
use sheaf_protocol::{RelayAddress, RelayId};
use zeroize::Zeroizing;

use super::{LinkError, Target};

/// The protocol's name in the TLS handshake (docs/PROTOCOL.md).
const ALPN: &[u8] = b"sheaf/1";
/// Label of the TLS exporter that proofs of access are bound to.
const EXPORTER_LABEL: &[u8] = b"sheaf1/exporter";
/// What stands before an Ed25519 public key in its SubjectPublicKeyInfo form (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// What stands before an Ed25519 seed in its PKCS #8 form (RFC 8410).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
const IDLE_MAX: Duration = Duration::from_secs(60);
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
const RECEIVE_WINDOW_BYTES: u32 = 6 * 1024 * 1024;

/// Takes one key and no other.
#[derive(Debug)]
struct Pinned {
    relay: RelayId,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if end_entity.as_ref().strip_prefix(&SPKI_PREFIX) == Some(self.relay.0.as_slice()) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::InvalidCertificate(
            CertificateError::ApplicationVerificationFailure,
        ))
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
        verify_tls13_signature_with_raw_key(message, &spki, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

fn tls(target: &Target) -> Result<rustls::ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let verifier = Pinned {
        relay: target.address.relay,
        algorithms,
    };
    let der = Zeroizing::new([PKCS8_PREFIX.as_slice(), target.seed.as_slice()].concat());
    let signer =
        rustls::crypto::ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(der.as_slice()))?;
    let spki = signer
        .public_key()
        .ok_or(Error::General("key has no public half".to_owned()))?;
    let spki = CertificateDer::from(spki.as_ref().to_vec());
    let identity = Arc::new(CertifiedKey::new(vec![spki], signer));
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(identity)));
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.enable_sni = false;
    tls.resumption = rustls::client::Resumption::disabled();
    Ok(tls)
}

fn config(target: &Target) -> Result<quinn::ClientConfig, LinkError> {
    let broken = |error: &dyn std::fmt::Display| LinkError::Broken(error.to_string());
    let tls = tls(target).map_err(|error| broken(&error))?;
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).map_err(|e| broken(&e))?;
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(4))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW_BYTES))
        .max_idle_timeout(IdleTimeout::try_from(IDLE_MAX).ok())
        .keep_alive_interval(Some(KEEP_ALIVE))
        .datagram_receive_buffer_size(None)
        .allow_spin(false);
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Connects to the first address that answers.
pub(super) async fn connect(target: &Target) -> Result<(Endpoint, Connection), LinkError> {
    let RelayAddress { host, port, .. } = &target.address;
    let resolved = tokio::net::lookup_host((host.as_str(), *port)).await;
    let addresses: Vec<SocketAddr> = resolved
        .map_err(|error| LinkError::Resolve(error.to_string()))?
        .collect();
    let config = config(target)?;
    let mut last = LinkError::Resolve("it has no address".to_owned());
    for address in addresses {
        match attempt(address, config.clone()).await {
            Ok(connected) => return Ok(connected),
            Err(error @ LinkError::WrongKey) => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn attempt(
    address: SocketAddr,
    config: quinn::ClientConfig,
) -> Result<(Endpoint, Connection), LinkError> {
    let unreachable = |error: &dyn std::fmt::Display| LinkError::Unreachable(error.to_string());
    let local: SocketAddr = if address.is_ipv4() {
        (std::net::Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let endpoint = Endpoint::client(local).map_err(|error| unreachable(&error))?;
    let connecting = endpoint
        .connect_with(config, address, "relay.invalid")
        .map_err(|error| unreachable(&error))?;
    match tokio::time::timeout(HANDSHAKE_MAX, connecting).await {
        Ok(Ok(connection)) => Ok((endpoint, connection)),
        Ok(Err(error)) => Err(classify(&error)),
        Err(_) => Err(LinkError::Unreachable("no answer in time".to_owned())),
    }
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

/// The TLS exporter of a connection.
pub(super) fn exporter(connection: &Connection) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    connection
        .export_keying_material(&mut bytes, EXPORTER_LABEL, b"")
        .ok()?;
    Some(bytes)
}
