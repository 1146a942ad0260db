//! The recovery phrase: 24 BIP-39 words that outrank every device of a user.

use std::fmt;

use bip39::{Language, Mnemonic};
use ed25519_dalek::SigningKey;
use rand_core::CryptoRng;
use zeroize::{Zeroize, Zeroizing};

use crate::capability::CapabilityKey;
use crate::derive::kdf;
use crate::kem::{self, Suite};
use crate::label;
use crate::signature::Signature;
use crate::statement::StatementError;

const WORDS: usize = 24;
const ENTROPY_BYTES: usize = 32;

/// Text that is not a recovery phrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PhraseError {
    /// Not 24 words.
    #[error("a recovery phrase has 24 words, not {0}")]
    WordCount(usize),
    /// A word that is not in the BIP-39 English list; words count from one.
    #[error("word {0} is not in the list of recovery words")]
    UnknownWord(usize),
    /// The words are known but the checksum does not fit.
    #[error("the words do not belong together; check their spelling and order")]
    Checksum,
}

/// The root of a user's identity. Wiped on drop; neither printed nor copied.
pub struct RecoveryPhrase {
    entropy: Zeroizing<[u8; ENTROPY_BYTES]>,
}

impl RecoveryPhrase {
    /// Draws a new phrase: 256 bits.
    #[must_use]
    pub fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut entropy = Zeroizing::new([0; ENTROPY_BYTES]);
        rng.fill_bytes(entropy.as_mut_slice());
        Self { entropy }
    }

    /// Reads 24 English BIP-39 words; case and the amount of white space do not matter.
    ///
    /// # Errors
    /// Says what is wrong, without repeating a word.
    pub fn parse(text: &str) -> Result<Self, PhraseError> {
        let mut words = Zeroizing::new(String::with_capacity(text.len()));
        let mut count = 0;
        for word in text.split_whitespace() {
            if count > 0 {
                words.push(' ');
            }
            words.extend(word.chars().map(|letter| letter.to_ascii_lowercase()));
            count += 1;
        }
        if count != WORDS {
            return Err(PhraseError::WordCount(count));
        }
        let mut mnemonic = Mnemonic::parse_in_normalized(Language::English, &words).map_err(
            |error| match error {
                bip39::Error::UnknownWord(index) => PhraseError::UnknownWord(index + 1),
                bip39::Error::BadWordCount(count) => PhraseError::WordCount(count),
                bip39::Error::BadEntropyBitCount(_)
                | bip39::Error::InvalidChecksum
                | bip39::Error::AmbiguousLanguages(_) => PhraseError::Checksum,
            },
        )?;
        let (mut bytes, _) = mnemonic.to_entropy_array();
        mnemonic.zeroize();
        let entropy = bytes.first_chunk::<ENTROPY_BYTES>().copied();
        bytes.zeroize();
        entropy
            .map(|entropy| Self {
                entropy: Zeroizing::new(entropy),
            })
            .ok_or(PhraseError::Checksum)
    }

    /// The 24 words, with single spaces.
    #[must_use]
    pub fn words(&self) -> Zeroizing<String> {
        // 256 bits are always a valid entropy, so the empty text cannot come out.
        let mnemonic = Mnemonic::from_entropy(self.entropy.as_slice());
        let mut words = Zeroizing::new(String::with_capacity(WORDS * 9));
        if let Ok(mut mnemonic) = mnemonic {
            for word in mnemonic.words() {
                if !words.is_empty() {
                    words.push(' ');
                }
                words.push_str(word);
            }
            mnemonic.zeroize();
        }
        words
    }

    /// The recovery signing key's public half.
    #[must_use]
    pub fn signing_public(&self) -> [u8; 32] {
        self.signing_key().verifying_key().to_bytes()
    }

    /// The recovery sealing key's public half, in the default suite.
    ///
    /// # Errors
    /// [`StatementError::Certificate`] when the key cannot be derived.
    pub fn kem_public(&self) -> Result<(Suite, Vec<u8>), StatementError> {
        let (suite, secret) = self.kem_secret();
        kem::public_of(suite, &secret)
            .map(|public| (suite, public))
            .map_err(|_| StatementError::Certificate)
    }

    /// The capability of the topic where devices keep what a restored device needs.
    #[must_use]
    pub fn vault_capability(&self) -> CapabilityKey {
        CapabilityKey::from_seed(&self.vault_seed())
    }

    /// The seed of [`Self::vault_capability`]. Devices keep it: it opens the topic, and reads
    /// nothing in it.
    #[must_use]
    pub fn vault_seed(&self) -> Zeroizing<[u8; 32]> {
        kdf(self.entropy.as_slice(), &[], label::key::RECOVERY_VAULT)
    }

    pub(crate) fn kem_secret(&self) -> (Suite, Zeroizing<[u8; 32]>) {
        let secret = kdf(self.entropy.as_slice(), &[], label::key::RECOVERY_KEM);
        (Suite::default(), secret)
    }

    pub(crate) fn sign(&self, label: &[u8], parts: &[&[u8]]) -> Signature {
        Signature::create(&self.signing_key(), label, parts)
    }

    fn signing_key(&self) -> SigningKey {
        SigningKey::from_bytes(&kdf(
            self.entropy.as_slice(),
            &[],
            label::key::RECOVERY_SIGNING,
        ))
    }
}

impl fmt::Debug for RecoveryPhrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecoveryPhrase").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
