//! A relay's address: `sheaf://host:port/#fingerprint`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::RelayId;

/// Where a relay is reached and which key it must prove. The fingerprint is the relay's public
/// key itself, in unpadded base64url, so nothing but the address is needed to trust the relay.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RelayAddress {
    /// Host name or IP literal, without brackets.
    pub host: String,
    /// UDP port.
    pub port: u16,
    /// The key that the relay must prove in the TLS handshake.
    pub relay: RelayId,
}

/// Text that is not a relay address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The text is not a URL.
    #[error("not a relay address; expected sheaf://host:port/#fingerprint")]
    Syntax(#[source] url::ParseError),
    /// The scheme, host or port is missing or wrong.
    #[error("relay address lacks its {0}; expected sheaf://host:port/#fingerprint")]
    Missing(&'static str),
    /// The part after `#` is not a relay key.
    #[error("relay address has no valid fingerprint after '#'")]
    Fingerprint(#[source] crate::id::IdError),
}

impl FromStr for RelayAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let url = url::Url::parse(text.trim()).map_err(AddressError::Syntax)?;
        if url.scheme() != "sheaf" {
            return Err(AddressError::Missing("scheme"));
        }
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or(AddressError::Missing("host"))?;
        let port = url.port().ok_or(AddressError::Missing("port"))?;
        let fingerprint = url.fragment().ok_or(AddressError::Missing("fingerprint"))?;
        let relay = fingerprint.parse().map_err(AddressError::Fingerprint)?;
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        Ok(Self { host, port, relay })
    }
}

impl fmt::Display for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, relay } = self;
        if host.contains(':') {
            write!(f, "sheaf://[{host}]:{port}/#{relay}")
        } else {
            write!(f, "sheaf://{host}:{port}/#{relay}")
        }
    }
}
