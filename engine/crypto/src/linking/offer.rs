//! The existing device's side.

use std::fmt;

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::{Kem, X25519HkdfSha256};
use hpke::{Deserializable, OpModeR, PskBundle};
use rand_core::CryptoRng;
use sheaf_protocol::RelayAddress;
use sheaf_protocol::limits::PART_BYTES_MAX;
use subtle::ConstantTimeEq;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::channel::Channel;
use super::code::Code;
use super::{HEADER_BYTES, LinkError, LinkStep, Reply, Request, Reveal, Transcript};
use crate::capability::CapabilityKey;
use crate::codec;
use crate::device::DeviceCertificate;
use crate::id::UserId;
use crate::limits;
use crate::padding::padded_len;
use crate::signature::Signature;

const TAG_BYTES: usize = 16;
const ENCAPSULATED_BYTES: usize = 32;

/// A code that waits for a new device.
pub struct Offer {
    code: Code,
    encoded: Zeroizing<Vec<u8>>,
    secret: StaticSecret,
}

impl Offer {
    /// Makes a one-time key pair and a code that lives [`limits::LINK_CODE_MS_MAX`].
    ///
    /// # Errors
    /// [`LinkError::Code`] when the relay's address is longer than [`limits::RELAY_BYTES_MAX`].
    pub fn new(
        rng: &mut (impl CryptoRng + ?Sized),
        now_ms: u64,
        relay: Option<&RelayAddress>,
    ) -> Result<Self, LinkError> {
        let mut secret = Zeroizing::new([0; 32]);
        rng.fill_bytes(secret.as_mut_slice());
        let secret = StaticSecret::from(*secret);
        let mut code = Code {
            rendezvous: [0; 16],
            relay: relay.map(ToString::to_string),
            public: PublicKey::from(&secret).to_bytes(),
            psk: [0; 32],
            expires_ms: now_ms.saturating_add(limits::LINK_CODE_MS_MAX),
        };
        if code
            .relay
            .as_ref()
            .is_some_and(|relay| relay.len() > limits::RELAY_BYTES_MAX)
        {
            return Err(LinkError::Code);
        }
        rng.fill_bytes(&mut code.rendezvous);
        rng.fill_bytes(&mut code.psk);
        let encoded = code.encode()?;
        Ok(Self {
            code,
            encoded,
            secret,
        })
    }

    /// The text to show, as it is or as a QR code.
    #[must_use]
    pub fn code(&self) -> String {
        Code::to_text(&self.encoded)
    }

    /// The capability of the rendezvous topic.
    #[must_use]
    pub fn capability(&self) -> CapabilityKey {
        self.code.capability()
    }

    /// When the code expires, in milliseconds of the same clock as `now_ms`.
    #[must_use]
    pub fn expires_ms(&self) -> u64 {
        self.code.expires_ms
    }

    /// Takes N's request and answers with the user, this device's certificate and a random value.
    ///
    /// # Errors
    /// [`LinkError::OtherStep`] when the message is not a request (filter by [`LinkStep::of`]
    /// first); otherwise the offer is spent.
    pub fn receive_request(
        self,
        request: &[u8],
        now_ms: u64,
        rng: &mut (impl CryptoRng + ?Sized),
        user: UserId,
        existing: &DeviceCertificate,
    ) -> Result<(OfferWaiting, Vec<u8>), LinkError> {
        if now_ms > self.code.expires_ms {
            return Err(LinkError::Expired);
        }
        let payload = LinkStep::Request.payload(request)?;
        let (encapsulated, ciphertext) = payload
            .split_at_checked(ENCAPSULATED_BYTES)
            .ok_or(LinkError::Invalid)?;
        let (channel, request_body) = self.open_request(encapsulated, ciphertext)?;
        let Request {
            certificate,
            commitment,
        } = codec::decode(&request_body).map_err(|_| LinkError::Invalid)?;
        certificate.verify_shape().map_err(|_| LinkError::Invalid)?;
        let mut random = [0; 32];
        rng.fill_bytes(&mut random);
        let body = Reply {
            user,
            certificate: existing.clone(),
            random,
        };
        let reply_body = codec::encode(&body).map_err(|_| LinkError::Invalid)?;
        let reply = channel.seal(LinkStep::Reply, &reply_body)?;
        let transcript = Transcript {
            code: &self.encoded,
            request,
            request_body: &request_body,
            reply: &reply,
            reply_body: &reply_body,
        }
        .digest();
        let waiting = OfferWaiting {
            channel,
            user,
            certificate,
            commitment,
            random,
            transcript,
        };
        Ok((waiting, reply))
    }

    fn open_request(
        &self,
        encapsulated: &[u8],
        ciphertext: &[u8],
    ) -> Result<(Channel, Zeroizing<Vec<u8>>), LinkError> {
        type K = X25519HkdfSha256;
        let secret = <K as Kem>::PrivateKey::from_bytes(self.secret.as_bytes())
            .map_err(|_| LinkError::Unreadable)?;
        let encapsulated =
            <K as Kem>::EncappedKey::from_bytes(encapsulated).map_err(|_| LinkError::Unreadable)?;
        let psk = PskBundle::new(&self.code.psk, &self.code.rendezvous)
            .map_err(|_| LinkError::Unreadable)?;
        let mut context = hpke::setup_receiver::<ChaCha20Poly1305, HkdfSha256, K>(
            &OpModeR::Psk(psk),
            &secret,
            &encapsulated,
            &self.code.info(),
        )
        .map_err(|_| LinkError::Unreadable)?;
        let body = context
            .open(ciphertext, &LinkStep::Request.header())
            .map(Zeroizing::new)
            .map_err(|_| LinkError::Unreadable)?;
        let channel = Channel::derive(self.code.rendezvous, |label, out| {
            context.export(label, out)
        })?;
        Ok((channel, body))
    }
}

/// The request is answered; N must now reveal what it committed to.
pub struct OfferWaiting {
    channel: Channel,
    user: UserId,
    certificate: DeviceCertificate,
    commitment: [u8; 32],
    random: [u8; 32],
    transcript: [u8; 32],
}

impl OfferWaiting {
    /// Takes N's random value and its proof of possession.
    ///
    /// # Errors
    /// [`LinkError::Commitment`] when either does not fit; [`LinkError::OtherStep`],
    /// [`LinkError::Unreadable`] for messages that are not N's.
    pub fn receive_reveal(self, reveal: &[u8]) -> Result<OfferReady, LinkError> {
        let body = self.channel.open(LinkStep::Reveal, reveal)?;
        let Reveal { random, possession } = codec::decode(&body).map_err(|_| LinkError::Invalid)?;
        if super::commitment(&random, &self.certificate)? != self.commitment {
            return Err(LinkError::Commitment);
        }
        self.certificate
            .verify_possession(&self.user, &possession)
            .map_err(|_| LinkError::Commitment)?;
        let digits = Zeroizing::new(super::digits(&random, &self.random, &self.transcript));
        Ok(OfferReady {
            channel: self.channel,
            certificate: self.certificate,
            possession,
            digits,
        })
    }
}

/// Everything is known but whether the device that speaks is the one in the user's hand.
pub struct OfferReady {
    channel: Channel,
    certificate: DeviceCertificate,
    possession: Signature,
    digits: Zeroizing<String>,
}

impl OfferReady {
    /// The certificate of the device that asks, to show its label before digits are typed.
    #[must_use]
    pub fn certificate(&self) -> &DeviceCertificate {
        &self.certificate
    }

    /// Compares the digits that the user reads on N and types here; blanks and dashes between them
    /// do not matter. One try: the offer is spent either way.
    ///
    /// # Errors
    /// [`LinkError::Digits`].
    pub fn approve(self, typed: &str) -> Result<Approved, LinkError> {
        let typed: Zeroizing<String> = Zeroizing::new(
            typed
                .chars()
                .filter(|character| !character.is_whitespace() && *character != '-')
                .collect(),
        );
        if !bool::from(self.digits.as_bytes().ct_eq(typed.as_bytes())) {
            return Err(LinkError::Digits);
        }
        Ok(Approved {
            channel: self.channel,
            certificate: self.certificate,
            possession: self.possession,
        })
    }
}

/// The user vouched for the new device.
pub struct Approved {
    channel: Channel,
    certificate: DeviceCertificate,
    possession: Signature,
}

impl Approved {
    /// What `AddDevice` carries: the certificate and its proof of possession.
    #[must_use]
    pub fn device(&self) -> (&DeviceCertificate, &Signature) {
        (&self.certificate, &self.possession)
    }

    /// Seals what the new device needs, padded, in messages of at most [`PART_BYTES_MAX`]. Consumes
    /// the channel: its counters are used once.
    ///
    /// # Errors
    /// [`LinkError::TooLarge`] beyond [`limits::MESSAGE_BYTES_MAX`].
    pub fn seal_account(self, body: &[u8]) -> Result<Vec<Vec<u8>>, LinkError> {
        if body.len() > limits::MESSAGE_BYTES_MAX {
            return Err(LinkError::TooLarge);
        }
        let length = u32::try_from(body.len()).map_err(|_| LinkError::TooLarge)?;
        let padded = padded_len(4 + body.len());
        let mut whole = Zeroizing::new(Vec::with_capacity(padded));
        whole.extend_from_slice(&length.to_be_bytes());
        whole.extend_from_slice(body);
        whole.resize(padded, 0);
        let chunks = whole.chunks(PART_BYTES_MAX - HEADER_BYTES - TAG_BYTES);
        let count = u8::try_from(chunks.len()).map_err(|_| LinkError::TooLarge)?;
        (0..count)
            .zip(chunks)
            .map(|(index, chunk)| self.channel.seal(LinkStep::Account { index, count }, chunk))
            .collect()
    }
}

macro_rules! opaque_debug {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}

opaque_debug!(Offer, OfferWaiting, OfferReady, Approved);
