//! A device as the relay sees one, with every frame in plain view.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::{Signer, SigningKey};
use quinn::{Connection, Endpoint, RecvStream, SendStream, VarInt};
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use sheaf_protocol::*;
use tokio::sync::mpsc;

const SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
pub const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Pinned(RelayId, WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if end_entity.as_ref() == [&SPKI[..], &self.0.0].concat() {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::General("another relay".into()))
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("no TLS 1.2".into()))
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = SubjectPublicKeyInfoDer::from(cert.as_ref());
        verify_tls13_signature_with_raw_key(message, &spki, dss, &self.1)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// How a test device differs from a good one.
#[derive(Clone)]
pub struct Device {
    pub seed: [u8; 32],
    pub alpn: &'static [u8],
    pub with_key: bool,
    pub token: Option<String>,
    /// Bytes that the device lets the relay send before it reads.
    pub window: u32,
}

impl Device {
    pub fn new(number: u8) -> Self {
        Self {
            seed: [number; 32],
            alpn: sheaf_relay::ALPN,
            with_key: true,
            token: None,
            window: 1 << 20,
        }
    }

    pub fn id(&self) -> RelayId {
        RelayId(
            SigningKey::from_bytes(&self.seed)
                .verifying_key()
                .to_bytes(),
        )
    }

    fn quic(&self, relay: RelayId) -> quinn::ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned(relay, algorithms)));
        let mut tls = if self.with_key {
            let der = [&PKCS8[..], &self.seed].concat();
            let der = PrivatePkcs8KeyDer::from(der.as_slice());
            let key = rustls::crypto::ring::sign::any_eddsa_type(&der).unwrap();
            let spki = [&SPKI[..], &self.id().0].concat();
            let certified = CertifiedKey::new(vec![CertificateDer::from(spki)], key);
            let resolver = AlwaysResolvesClientRawPublicKeys::new(Arc::new(certified));
            builder.with_client_cert_resolver(Arc::new(resolver))
        } else {
            builder.with_no_client_auth()
        };
        tls.alpn_protocols = vec![self.alpn.to_vec()];
        tls.enable_sni = false;
        tls.resumption = rustls::client::Resumption::disabled();
        let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
        let mut config = quinn::ClientConfig::new(Arc::new(tls));
        let mut transport = quinn::TransportConfig::default();
        transport.stream_receive_window(VarInt::from_u32(self.window));
        transport.receive_window(VarInt::from_u32(self.window));
        config.transport_config(Arc::new(transport));
        config
    }

    /// A connection whose TLS is done; nothing was said on it yet.
    pub async fn dial(&self, address: &RelayAddress) -> Result<Dialled, String> {
        let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let target = SocketAddr::new(address.host.parse().unwrap(), address.port);
        let connecting = endpoint
            .connect_with(self.quic(address.relay), target, "relay.invalid")
            .map_err(|error| error.to_string())?;
        let connection = connecting.await.map_err(|error| error.to_string())?;
        Ok(Dialled {
            connection,
            endpoint,
        })
    }

    /// A connection that is up.
    pub async fn connect(&self, address: &RelayAddress) -> Result<Client, String> {
        tokio::time::timeout(PATIENCE, self.greet(address))
            .await
            .map_err(|_| "too slow".to_owned())?
    }

    async fn greet(&self, address: &RelayAddress) -> Result<Client, String> {
        let Dialled {
            connection,
            endpoint,
        } = self.dial(address).await?;
        let (mut send, receive) = connection.open_bi().await.map_err(|e| e.to_string())?;
        let hello = encode_client_frame(&ClientFrame::Hello {
            version: VERSION,
            token: self.token.clone(),
        });
        send.write_all(&hello).await.map_err(|e| e.to_string())?;
        let (frames, inbox) = mpsc::unbounded_channel();
        let mut client = Client {
            endpoint,
            send,
            inbox,
            frames,
            relay: address.relay,
            exporter: exporter(&connection),
            log: LogId(0),
            next_request: 0,
            connection,
            uni: Vec::new(),
        };
        tokio::spawn(pump(Source::Control, receive, client.frames.clone()));
        match client.next_or_closed().await? {
            (Source::Control, ServerFrame::Hello { log, .. }) => client.log = log,
            other => return Err(format!("{other:?}")),
        }
        for _ in 0..2 {
            let mut stream = client
                .connection
                .accept_uni()
                .await
                .map_err(|e| e.to_string())?;
            let mut kind = [0];
            stream
                .read_exact(&mut kind)
                .await
                .map_err(|e| e.to_string())?;
            client.uni.push((kind[0], stream));
        }
        Ok(client)
    }
}

pub struct Dialled {
    pub connection: Connection,
    pub endpoint: Endpoint,
}

pub fn exporter(connection: &Connection) -> [u8; 32] {
    let mut bytes = [0; 32];
    connection
        .export_keying_material(&mut bytes, sheaf_relay::EXPORTER_LABEL, b"")
        .unwrap();
    bytes
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Control,
    Live,
    History,
}

async fn pump(
    source: Source,
    mut stream: RecvStream,
    frames: mpsc::UnboundedSender<(Source, ServerFrame)>,
) {
    while let Some(frame) = read_frame(&mut stream).await {
        if frames.send((source, frame)).is_err() {
            break;
        }
    }
}

pub async fn read_frame(stream: &mut RecvStream) -> Option<ServerFrame> {
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).await.ok()?;
    let mut body = vec![0; u32::from_le_bytes(prefix) as usize];
    stream.read_exact(&mut body).await.ok()?;
    Some(decode_server_frame(&body).expect("the relay's frames decode"))
}

pub struct Capability(SigningKey);

impl Capability {
    pub fn new(number: u8) -> Self {
        Self(SigningKey::from_bytes(&[number ^ 0xa5; 32]))
    }

    pub fn numbered(number: u32) -> Self {
        let mut seed = [0x5a; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        Self(SigningKey::from_bytes(&seed))
    }

    pub fn topic(&self) -> TopicId {
        topic_of_capability(&self.0.verifying_key().to_bytes())
    }

    pub fn proof(&self, relay: RelayId, exporter: &[u8; 32]) -> AccessProof {
        let topic = self.topic();
        let signature = self.0.sign(&access_message(&relay, exporter, &topic));
        AccessProof {
            topic,
            capability: self.0.verifying_key().to_bytes(),
            signature: signature.to_bytes().to_vec(),
        }
    }
}

pub struct Client {
    pub connection: Connection,
    #[allow(dead_code, reason = "keeps the socket open")]
    pub endpoint: Endpoint,
    pub send: SendStream,
    pub relay: RelayId,
    pub exporter: [u8; 32],
    pub log: LogId,
    inbox: mpsc::UnboundedReceiver<(Source, ServerFrame)>,
    frames: mpsc::UnboundedSender<(Source, ServerFrame)>,
    uni: Vec<(u8, RecvStream)>,
    next_request: u64,
}

impl Client {
    /// Begins to read the relay's streams.
    pub fn listen(&mut self) {
        for (kind, stream) in self.uni.drain(..) {
            let source = match kind {
                1 => Source::Live,
                2 => Source::History,
                other => panic!("stream kind {other}"),
            };
            tokio::spawn(pump(source, stream, self.frames.clone()));
        }
    }

    async fn next_or_closed(&mut self) -> Result<(Source, ServerFrame), String> {
        let closed = self.connection.closed();
        tokio::select! {
            biased;
            frame = self.inbox.recv() => Ok(frame.unwrap()),
            reason = closed => match self.inbox.try_recv() {
                Ok(frame) => Ok(frame),
                Err(_) => Err(reason.to_string()),
            },
        }
    }

    pub async fn next(&mut self) -> (Source, ServerFrame) {
        tokio::time::timeout(PATIENCE, self.next_or_closed())
            .await
            .expect("a frame in time")
            .expect("an open connection")
    }

    pub async fn write(&mut self, frame: &ClientFrame) {
        self.send
            .write_all(&encode_client_frame(frame))
            .await
            .unwrap();
    }

    pub async fn prove(&mut self, capability: &Capability) {
        let proof = capability.proof(self.relay, &self.exporter);
        self.write(&ClientFrame::Prove(proof)).await;
    }

    pub async fn append(&mut self, topic: TopicId, class: Class, record: &[u8]) -> RequestId {
        self.next_request += 1;
        let request = RequestId(self.next_request);
        self.write(&ClientFrame::Append {
            request,
            topic,
            class,
            record: record.to_vec(),
        })
        .await;
        request
    }

    /// Appends and waits for the receipt, checked.
    pub async fn keep(&mut self, topic: TopicId, class: Class, record: &[u8]) -> Cursor {
        let request = self.append(topic, class, record).await;
        loop {
            match self.next().await.1 {
                ServerFrame::Receipt {
                    request: answered,
                    receipt,
                } if answered == request => {
                    receipt.verify(&self.relay).expect("the relay's signature");
                    assert_eq!(receipt.record, hash_record(record));
                    assert_eq!((receipt.topic, receipt.cursor.log), (topic, self.log));
                    return receipt.cursor;
                }
                ServerFrame::Refused(refusal) => panic!("refused: {refusal:?}"),
                _ => {}
            }
        }
    }

    /// Subscribes and waits for the answer; says the head and whether delivery starts over.
    pub async fn subscribe(&mut self, topic: TopicId, after: Option<Cursor>) -> (u64, bool) {
        self.next_request += 1;
        let request = RequestId(self.next_request);
        self.write(&ClientFrame::Subscribe {
            request,
            topic,
            after,
        })
        .await;
        loop {
            match self.next().await {
                (
                    Source::Control,
                    ServerFrame::Subscribed {
                        request: answered,
                        head,
                        restarted,
                        ..
                    },
                ) if answered == request => {
                    self.listen();
                    return (head, restarted);
                }
                (_, ServerFrame::Refused(refusal)) => panic!("refused: {refusal:?}"),
                _ => {}
            }
        }
    }

    pub async fn refusal(&mut self) -> Refusal {
        loop {
            if let ServerFrame::Refused(refusal) = self.next().await.1 {
                return refusal;
            }
        }
    }

    /// The application error code with which the relay closes.
    pub async fn close_code(&self) -> u64 {
        let reason = tokio::time::timeout(PATIENCE, self.connection.closed());
        match reason.await.expect("a close in time") {
            quinn::ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
            other => panic!("closed by {other}"),
        }
    }
}

/// Puts a topic's records in order, whichever stream they come on, as a device does.
#[derive(Default)]
pub struct Reassembly {
    pub records: Vec<Delivery>,
    pub caught_up: Vec<u64>,
    pub live_frames: u64,
    /// Where the device was before.
    pub after: u64,
    waiting: BTreeMap<u64, Vec<Delivery>>,
}

impl Reassembly {
    pub fn sequence(&self) -> u64 {
        let last = self.records.last();
        last.map_or(self.after, |record| record.sequence)
    }

    pub fn take(&mut self, id: TopicId, source: Source, frame: ServerFrame) {
        match frame {
            ServerFrame::Records {
                topic,
                previous,
                records,
            } if topic == id && records[0].sequence > 0 => {
                self.live_frames += u64::from(source == Source::Live);
                assert!(previous >= self.sequence(), "no record comes twice");
                assert!(self.waiting.insert(previous, records).is_none());
                while let Some(records) = self.waiting.remove(&self.sequence()) {
                    self.records.extend(records);
                }
            }
            ServerFrame::CaughtUp { topic, sequence } if topic == id => {
                assert_eq!(source, Source::History);
                self.caught_up.push(sequence);
            }
            _ => {}
        }
    }

    pub async fn until(&mut self, client: &mut Client, topic: TopicId, count: usize) {
        while self.records.len() < count {
            let (source, frame) = client.next().await;
            self.take(topic, source, frame);
        }
    }

    pub async fn until_caught_up(&mut self, client: &mut Client, topic: TopicId) -> u64 {
        loop {
            let (source, frame) = client.next().await;
            self.take(topic, source, frame);
            if let Some(sequence) = self.caught_up.last() {
                return *sequence;
            }
        }
    }
}
