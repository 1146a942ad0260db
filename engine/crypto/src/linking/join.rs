//! The new device's side.

use std::collections::BTreeMap;
use std::fmt;

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::{Kem, X25519HkdfSha256};
use hpke::{Deserializable, OpModeS, PskBundle, Serializable};
use rand_core::CryptoRng;
use sheaf_protocol::RelayAddress;
use zeroize::Zeroizing;

use super::channel::Channel;
use super::code::Code;
use super::{LinkError, LinkStep, Reply, Request, Reveal, Transcript};
use crate::capability::CapabilityKey;
use crate::codec;
use crate::device::{DeviceCertificate, DeviceSecrets};
use crate::id::UserId;
use crate::limits;
use crate::padding::padded_len;

/// A code was consumed and the request made; the reply is awaited.
pub struct Join {
    code: Code,
    encoded: Zeroizing<Vec<u8>>,
    channel: Channel,
    certificate: DeviceCertificate,
    random: Zeroizing<[u8; 32]>,
    request: Vec<u8>,
    request_body: Vec<u8>,
}

impl Join {
    /// Reads a code and makes the request to publish on the rendezvous topic.
    ///
    /// # Errors
    /// [`LinkError::Code`], [`LinkError::Expired`], [`LinkError::TooLarge`] for a label that is too
    /// long.
    pub fn start(
        rng: &mut (impl CryptoRng + ?Sized),
        code: &str,
        now_ms: u64,
        device: &DeviceSecrets,
        label: &str,
    ) -> Result<(Self, Vec<u8>), LinkError> {
        let (code, encoded) = Code::parse(code)?;
        if now_ms > code.expires_ms {
            return Err(LinkError::Expired);
        }
        let certificate = device.certificate(label).map_err(|_| LinkError::TooLarge)?;
        let mut random = Zeroizing::new([0; 32]);
        rng.fill_bytes(random.as_mut_slice());
        let body = Request {
            commitment: super::commitment(&random, &certificate)?,
            certificate,
        };
        let request_body = codec::encode(&body).map_err(|_| LinkError::Invalid)?;
        let (channel, request) = seal_request(rng, &code, &request_body)?;
        let join = Self {
            code,
            encoded,
            channel,
            certificate: body.certificate,
            random,
            request: request.clone(),
            request_body,
        };
        Ok((join, request))
    }

    /// The capability of the rendezvous topic.
    #[must_use]
    pub fn capability(&self) -> CapabilityKey {
        self.code.capability()
    }

    /// The relay that the code names.
    #[must_use]
    pub fn relay(&self) -> Option<RelayAddress> {
        self.code.relay.as_deref()?.parse().ok()
    }

    /// Takes E's reply; gives the digits to show and the message that reveals the random value.
    ///
    /// # Errors
    /// [`LinkError::OtherStep`] when the message is not a reply (filter by [`LinkStep::of`] first);
    /// [`LinkError::Unreadable`], [`LinkError::Invalid`].
    pub fn receive_reply(
        self,
        reply: &[u8],
        device: &DeviceSecrets,
    ) -> Result<(JoinShown, Vec<u8>), LinkError> {
        let reply_body = self.channel.open(LinkStep::Reply, reply)?;
        let Reply {
            user,
            certificate,
            random,
        } = codec::decode(&reply_body).map_err(|_| LinkError::Invalid)?;
        certificate.verify_shape().map_err(|_| LinkError::Invalid)?;
        let transcript = Transcript {
            code: &self.encoded,
            request: &self.request,
            request_body: &self.request_body,
            reply,
            reply_body: &reply_body,
        }
        .digest();
        let reveal = Reveal {
            random: *self.random,
            possession: device
                .prove_possession(&user, &self.certificate)
                .map_err(|_| LinkError::Invalid)?,
        };
        let body = codec::encode(&reveal).map_err(|_| LinkError::Invalid)?;
        let message = self.channel.seal(LinkStep::Reveal, &body)?;
        let shown = JoinShown {
            digits: super::digits(&self.random, &random, &transcript),
            user,
            existing: certificate,
            certificate: self.certificate,
            channel: self.channel,
        };
        Ok((shown, message))
    }
}

#[cfg(test)]
impl Join {
    /// A cheater's state: another random value than the one committed to.
    pub(super) fn with_random(self, random: [u8; 32]) -> Self {
        Self {
            random: Zeroizing::new(random),
            ..self
        }
    }
}

fn seal_request<R: CryptoRng + ?Sized>(
    mut rng: &mut R,
    code: &Code,
    body: &[u8],
) -> Result<(Channel, Vec<u8>), LinkError> {
    type K = X25519HkdfSha256;
    let public = <K as Kem>::PublicKey::from_bytes(&code.public).map_err(|_| LinkError::Code)?;
    let psk = PskBundle::new(&code.psk, &code.rendezvous).map_err(|_| LinkError::Code)?;
    let (encapsulated, mut context) =
        hpke::setup_sender_with_rng::<ChaCha20Poly1305, HkdfSha256, K>(
            &OpModeS::Psk(psk),
            &public,
            &code.info(),
            &mut rng,
        )
        .map_err(|_| LinkError::Code)?;
    let header = LinkStep::Request.header();
    let ciphertext = context
        .seal(body, &header)
        .map_err(|_| LinkError::TooLarge)?;
    let channel = Channel::derive(code.rendezvous, |label, out| context.export(label, out))?;
    let message = [header.as_slice(), &encapsulated.to_bytes(), &ciphertext].concat();
    Ok((channel, message))
}

/// The digits are shown; the account comes once the user typed them into E.
pub struct JoinShown {
    /// Six digits, for the user to type into the existing device.
    pub digits: String,
    /// The user that this device is about to belong to: show its fingerprint.
    pub user: UserId,
    /// The existing device.
    pub existing: DeviceCertificate,
    /// This device's certificate, as the existing device will sign it.
    pub certificate: DeviceCertificate,
    channel: Channel,
}

impl JoinShown {
    /// Opens the account from its messages, in any order. Whatever else is on the topic is ignored:
    /// messages of other steps, repetitions, parts that E did not seal.
    ///
    /// # Errors
    /// [`LinkError::Parts`] until every part is there; [`LinkError::Invalid`].
    pub fn open_account(&self, messages: &[Vec<u8>]) -> Result<Zeroizing<Vec<u8>>, LinkError> {
        let mut parts = BTreeMap::new();
        let mut expected = None;
        for message in messages {
            if let Some(step @ LinkStep::Account { index, count }) = LinkStep::of(message)
                && let Ok(part) = self.channel.open(step, message)
            {
                expected = Some(count);
                parts.insert(index, part);
            }
        }
        if expected.map(usize::from) != Some(parts.len()) {
            return Err(LinkError::Parts);
        }
        let bytes = parts.values().map(|part| part.len()).sum();
        let mut whole = Zeroizing::new(Vec::with_capacity(bytes));
        for part in parts.values() {
            whole.extend_from_slice(part);
        }
        let (length, rest) = whole.split_first_chunk::<4>().ok_or(LinkError::Invalid)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let (body, pad) = rest.split_at_checked(length).ok_or(LinkError::Invalid)?;
        let canonical = length <= limits::MESSAGE_BYTES_MAX
            && padded_len(whole.len() - pad.len()) == whole.len();
        if !canonical || pad.iter().any(|byte| *byte != 0) {
            return Err(LinkError::Invalid);
        }
        Ok(Zeroizing::new(body.to_vec()))
    }
}

impl fmt::Debug for Join {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Join").finish_non_exhaustive()
    }
}

impl fmt::Debug for JoinShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinShown")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}
