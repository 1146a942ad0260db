//! The link code: `sheaf-link:` and base64url.

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use sheaf_protocol::RelayAddress;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::LinkError;
use crate::capability::CapabilityKey;
use crate::codec;
use crate::derive::kdf;
use crate::label;
use crate::limits;

const PREFIX: &str = "sheaf-link:";
const CODE_BYTES_MAX: usize = 1 + 16 + limits::RELAY_BYTES_MAX + 3 + 64 + 10;

/// What the code says, in the order of its encoding.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(super) struct Code {
    pub(super) rendezvous: [u8; 16],
    #[serde(deserialize_with = "codec::optional_text::<_, { limits::RELAY_BYTES_MAX }>")]
    pub(super) relay: Option<String>,
    pub(super) public: [u8; 32],
    pub(super) psk: [u8; 32],
    pub(super) expires_ms: u64,
}

impl Code {
    pub(super) fn encode(&self) -> Result<Zeroizing<Vec<u8>>, LinkError> {
        codec::encode_secret(&(codec::STATEMENT_VERSION, self), CODE_BYTES_MAX)
            .map_err(|_| LinkError::Code)
    }

    pub(super) fn to_text(bytes: &[u8]) -> String {
        format!("{PREFIX}{}", BASE64URL_NOPAD.encode(bytes))
    }

    /// Reads a code, strictly, and gives its bytes too: they are part of the transcript.
    pub(super) fn parse(text: &str) -> Result<(Self, Zeroizing<Vec<u8>>), LinkError> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(LinkError::Code)?;
        if encoded.len() > CODE_BYTES_MAX * 2 {
            return Err(LinkError::Code);
        }
        let bytes = BASE64URL_NOPAD
            .decode(encoded.as_bytes())
            .map(Zeroizing::new)
            .map_err(|_| LinkError::Code)?;
        let code: Self = codec::decode_statement(&bytes).map_err(|_| LinkError::Code)?;
        if let Some(relay) = &code.relay
            && relay.parse::<RelayAddress>().is_err()
        {
            return Err(LinkError::Code);
        }
        Ok((code, bytes))
    }

    /// `KDF(psk, rendezvous, "sheaf1/link-cap")`.
    pub(super) fn capability(&self) -> CapabilityKey {
        CapabilityKey::from_seed(&kdf(
            &self.psk,
            &self.rendezvous,
            label::key::LINK_CAPABILITY,
        ))
    }

    /// `"sheaf1/link" || rendezvous`.
    pub(super) fn info(&self) -> Vec<u8> {
        [label::hpke::LINK, &self.rendezvous].concat()
    }
}
