//! A card: what one user hands to another so that he can be invited. `sheaf:` and base64url.

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use crate::codec;
use crate::id::UserId;
use crate::limits;
use crate::statement::StatementError;
use crate::user::UserLog;

const PREFIX: &str = "sheaf:";

/// A user's log with a name and a relay hint. The log proves itself; name and hint do not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// The user's log.
    pub log: UserLog,
    /// A relay on which the user's inboxes are read, as text.
    #[serde(deserialize_with = "codec::optional_text::<_, { limits::RELAY_BYTES_MAX }>")]
    pub relay: Option<String>,
    /// The name that the user gives himself.
    #[serde(deserialize_with = "codec::text::<_, { limits::NAME_BYTES_MAX }>")]
    pub name: String,
}

impl Card {
    /// `"sheaf:" || base64url(version(1) || postcard(card))`.
    ///
    /// # Errors
    /// [`StatementError::TooLarge`] when log, name or relay are beyond their limits.
    pub fn to_text(&self) -> Result<String, StatementError> {
        let log = self.log.to_bytes()?;
        let relay_bytes = self.relay.as_ref().map_or(0, String::len);
        if log.len() > limits::USER_LOG_BYTES_MAX
            || relay_bytes > limits::RELAY_BYTES_MAX
            || self.name.len() > limits::NAME_BYTES_MAX
        {
            return Err(StatementError::TooLarge);
        }
        let bytes = codec::encode_statement(self)?;
        Ok(format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&bytes)))
    }

    /// Reads a card, strictly. Verifies the genesis only; the operations are for the resolver.
    ///
    /// # Errors
    /// [`StatementError::Malformed`] for text that is no card, and those of the genesis.
    pub fn parse(text: &str) -> Result<Self, StatementError> {
        let encoded = text
            .trim()
            .strip_prefix(PREFIX)
            .ok_or(StatementError::Malformed)?;
        if encoded.len() > limits::USER_LOG_BYTES_MAX * 2 {
            return Err(StatementError::TooLarge);
        }
        let bytes = BASE64URL_NOPAD
            .decode(encoded.as_bytes())
            .map_err(|_| StatementError::Malformed)?;
        let card: Self = codec::decode_statement(&bytes)?;
        card.log.genesis.verify()?;
        Ok(card)
    }

    /// Whose card it is.
    #[must_use]
    pub fn user(&self) -> UserId {
        self.log.user()
    }
}

#[cfg(test)]
mod tests;
