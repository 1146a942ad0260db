//! Two devices of one person meet: research/keys.md 2.2, over a rendezvous topic of the relay.

use serde::{Deserialize, Serialize};

use sheaf_crypto::{
    Card, DeviceSecrets, Join, JoinShown, LinkStep, Offer, OfferReady, OfferWaiting, UserLog,
};
use sheaf_protocol::RelayAddress;

/// What the existing device hands over: who the user is and whom the user knows. Conversations
/// follow as invites to the new device's inbox, and their history from the relay.
#[derive(Serialize, Deserialize)]
pub(crate) struct Handover {
    pub(crate) name: String,
    pub(crate) log: UserLog,
    pub(crate) relay: Option<String>,
    pub(crate) contacts: Vec<(Card, Option<String>)>,
}

impl Handover {
    /// Behind it stands in how many conversations the existing device takes part.
    pub(crate) fn encode(&self, conversations: u64) -> Result<Vec<u8>, postcard::Error> {
        let body = postcard::to_allocvec(self)?;
        postcard::to_extend(&conversations, body)
    }

    /// Builds before that number do not send it.
    pub(crate) fn decode(bytes: &[u8]) -> Option<(Self, Option<u64>)> {
        let (handover, rest) = postcard::take_from_bytes::<Self>(bytes).ok()?;
        if rest.is_empty() {
            return Some((handover, None));
        }
        match postcard::take_from_bytes(rest) {
            Ok((conversations, [])) => Some((handover, Some(conversations))),
            Ok(_) | Err(_) => None,
        }
    }
}

/// Where linking stands, named by what is waited for.
#[expect(
    clippy::enum_variant_names,
    reason = "states are named by what they expect"
)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub(crate) enum Linking {
    /// Existing device: a new device's request.
    ExpectRequest(Offer),
    /// Existing device: what the new device committed to.
    ExpectReveal(OfferWaiting),
    /// Existing device: the digits, typed by a person.
    ExpectDigits(Box<OfferReady>),
    /// New device: the existing device's answer.
    ExpectReply(Box<Joining>),
    /// New device: the account, once the digits were typed.
    ExpectAccount(Box<Joined>),
}

/// A new device that has asked.
pub(crate) struct Joining {
    pub(crate) join: Join,
    pub(crate) secrets: DeviceSecrets,
    pub(crate) name: String,
}

/// A new device that shows its digits.
pub(crate) struct Joined {
    pub(crate) shown: JoinShown,
    pub(crate) secrets: DeviceSecrets,
    pub(crate) name: String,
    pub(crate) relay: Option<RelayAddress>,
    /// Messages of the account that have come.
    pub(crate) messages: Vec<Vec<u8>>,
}

impl Linking {
    /// Whether a message of the rendezvous topic is for this side and step. Both sides read the
    /// same topic, their own messages included.
    pub(crate) fn expects(&self, message: &[u8]) -> bool {
        let step = LinkStep::of(message);
        match self {
            Self::ExpectRequest(_) => step == Some(LinkStep::Request),
            Self::ExpectReveal(_) => step == Some(LinkStep::Reveal),
            Self::ExpectDigits(_) => false,
            Self::ExpectReply(_) => step == Some(LinkStep::Reply),
            Self::ExpectAccount(_) => matches!(step, Some(LinkStep::Account { .. })),
        }
    }
}
