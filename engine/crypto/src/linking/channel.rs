//! The channel after the request: one key for each direction, exported from HPKE.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use super::{LinkError, LinkStep};
use crate::label;

/// The two keys. Each (key, counter) is used once: a state is consumed by the step that seals.
pub(super) struct Channel {
    pub(super) to_new: Zeroizing<[u8; 32]>,
    pub(super) to_existing: Zeroizing<[u8; 32]>,
    pub(super) rendezvous: [u8; 16],
}

impl Channel {
    pub(super) fn derive(
        rendezvous: [u8; 16],
        export: impl Fn(&[u8], &mut [u8]) -> Result<(), hpke::HpkeError>,
    ) -> Result<Self, LinkError> {
        let mut to_new = Zeroizing::new([0; 32]);
        let mut to_existing = Zeroizing::new([0; 32]);
        export(label::export::LINK_TO_NEW, to_new.as_mut_slice())
            .and_then(|()| export(label::export::LINK_TO_EXISTING, to_existing.as_mut_slice()))
            .map_err(|_| LinkError::Unreadable)?;
        Ok(Self {
            to_new,
            to_existing,
            rendezvous,
        })
    }

    /// Seals one step; the counter is the step's own.
    pub(super) fn seal(&self, step: LinkStep, plaintext: &[u8]) -> Result<Vec<u8>, LinkError> {
        let payload = Payload {
            msg: plaintext,
            aad: &self.aad(step),
        };
        let ciphertext = XChaCha20Poly1305::new(self.key(step).into())
            .encrypt(&nonce(step), payload)
            .map_err(|_| LinkError::TooLarge)?;
        Ok([step.header().as_slice(), &ciphertext].concat())
    }

    pub(super) fn open(
        &self,
        step: LinkStep,
        message: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, LinkError> {
        let payload = Payload {
            msg: step.payload(message)?,
            aad: &self.aad(step),
        };
        XChaCha20Poly1305::new(self.key(step).into())
            .decrypt(&nonce(step), payload)
            .map(Zeroizing::new)
            .map_err(|_| LinkError::Unreadable)
    }

    fn key(&self, step: LinkStep) -> &[u8; 32] {
        match step {
            LinkStep::Request | LinkStep::Reveal => &self.to_existing,
            LinkStep::Reply | LinkStep::Account { .. } => &self.to_new,
        }
    }

    /// `"sheaf1/link-channel" || rendezvous || ver || step || index || count`.
    fn aad(&self, step: LinkStep) -> Vec<u8> {
        [
            label::associated::LINK,
            self.rendezvous.as_slice(),
            &step.header(),
        ]
        .concat()
    }
}

/// 16 zero bytes and the counter (u64, big endian): 0 for reply and reveal, 1 + index for the
/// account's parts, which share a direction with the reply.
fn nonce(step: LinkStep) -> XNonce {
    let counter = match step {
        LinkStep::Request | LinkStep::Reply | LinkStep::Reveal => 0,
        LinkStep::Account { index, .. } => 1 + u64::from(index),
    };
    let mut nonce = [0; 24];
    for (to, from) in nonce.iter_mut().skip(16).zip(counter.to_be_bytes()) {
        *to = from;
    }
    XNonce::from(nonce)
}
