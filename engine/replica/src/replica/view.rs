//! What a replica tells about itself.

use zeroize::Zeroizing;

use sheaf_crypto::{ConversationId, DeviceId, UserId, fingerprint};
use sheaf_protocol::{RelayAddress, RelayId};

use super::Replica;
use crate::account::addresses;
use crate::command::{ContactInfo, ConversationInfo, DeviceInfo, DeviceStanding};
use crate::linking::Linking;
use crate::time::Timestamp;
use crate::user::DeviceState;

/// The state of a device in one look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overview {
    /// Whose device it is; `None` without an account.
    pub user: Option<UserId>,
    /// The person's name.
    pub name: String,
    /// This device.
    pub device: Option<DeviceId>,
    /// Its name.
    pub device_name: String,
    /// Short digits of the user id, for people to compare.
    pub fingerprint: Option<String>,
    /// The card that invites this person.
    pub card: Option<String>,
    /// Relays of the account, the first one first.
    pub relays: Vec<RelayAddress>,
    /// Changes that are not sealed yet and sealed records without a receipt.
    pub pending: u64,
    /// Records that wait for what they depend on.
    pub parked: u64,
    /// A relay's hello was received.
    pub connected: bool,
    /// Every topic was read to its end on this connection.
    pub caught_up: bool,
    /// A device is being linked.
    pub linking: bool,
}

/// What is still to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settled {
    /// A relay's hello was received.
    pub connected: bool,
    /// Every topic was read to its end on this connection.
    pub caught_up: bool,
    /// Changes that are not sealed yet and sealed records without a receipt.
    pub pending: u64,
    /// Of these, changes that this device may not send now, however long one waits.
    pub barred: u64,
    /// Records that wait for what they depend on, and conversations that fetch a segment.
    pub parked: u64,
    /// Conversations in which this device has seen something that it has not acknowledged yet.
    pub unacknowledged: u64,
    /// Something that was taken in is not durable here yet.
    pub unwritten: bool,
}

impl Replica {
    /// Seed of the key that authenticates this device to one relay; `None` while there is neither
    /// an account nor a joining under way. Two relays cannot link a device by it.
    #[must_use]
    pub fn relay_identity_seed(&self, relay: &RelayId) -> Option<Zeroizing<[u8; 32]>> {
        if let (None, Some(recovering)) = (&self.account, &self.recovering) {
            return Some(recovering.seed(relay));
        }
        let joining = match &self.linking {
            Some((_, Linking::ExpectReply(joining))) => Some(&joining.secrets),
            Some((_, Linking::ExpectAccount(joined))) => Some(&joined.secrets),
            Some(_) | None => None,
        };
        let secrets = self
            .account
            .as_ref()
            .map(|account| &account.secrets)
            .or(joining)?;
        Some(secrets.relay_identity_seed(relay))
    }

    /// The relay that a link code names, while it is being followed.
    #[must_use]
    pub fn link_wanted(&self) -> Option<RelayAddress> {
        match &self.linking {
            Some((_, Linking::ExpectReply(joining))) => joining.join.relay(),
            Some((_, Linking::ExpectAccount(joined))) => joined.relay.clone(),
            Some(_) | None => None,
        }
    }

    /// The state in one look.
    #[must_use]
    pub fn overview(&self) -> Overview {
        let parked: usize = self
            .conversations
            .values()
            .map(|known| known.parked())
            .sum();
        let pending = self.pending.saturating_add(self.outbox.len());
        let account = self.account.as_ref();
        Overview {
            user: account.map(|account| account.user()),
            name: account
                .map(|account| account.name.clone())
                .unwrap_or_default(),
            device: account.map(|account| account.device()),
            device_name: account
                .map(|account| account.device_name.clone())
                .unwrap_or_default(),
            fingerprint: account.map(|account| fingerprint(&account.user())),
            card: account.and_then(|account| account.card().to_text().ok()),
            relays: addresses(account.and_then(|a| a.relay.as_deref()).unwrap_or_default()),
            pending: u64::try_from(pending).unwrap_or(u64::MAX),
            parked: u64::try_from(parked).unwrap_or(u64::MAX),
            connected: self.topics.is_connected(),
            caught_up: self.was_caught_up,
            linking: self.linking.is_some(),
        }
    }

    /// What is still to be done, cheaply.
    #[must_use]
    pub fn settled(&self) -> Settled {
        let parked: usize = self
            .conversations
            .values()
            .map(|known| known.parked())
            .sum();
        let pending = self.pending.saturating_add(self.outbox.len());
        let owing = self.conversations.values();
        let owing = owing.filter(|known| known.owes_acknowledgement());
        let fetching = self.conversations.values();
        let fetching = fetching.filter(|known| known.is_fetching()).count();
        let parked = parked.saturating_add(fetching);
        let barred = self.account.iter().flat_map(|account| {
            let own = (account.user(), account.device());
            let known = self.conversations.values();
            known.map(move |known| known.barred(&own.0, &own.1))
        });
        let barred: usize = barred.sum();
        Settled {
            connected: self.topics.is_connected(),
            caught_up: self.was_caught_up && !self.topics.is_asking(),
            pending: u64::try_from(pending).unwrap_or(u64::MAX),
            barred: u64::try_from(barred).unwrap_or(u64::MAX),
            parked: u64::try_from(parked).unwrap_or(u64::MAX),
            unacknowledged: u64::try_from(owing.count()).unwrap_or(u64::MAX),
            unwritten: self.stage.is_writing(),
        }
    }

    /// The devices of this user.
    #[must_use]
    pub fn devices(&self) -> Vec<DeviceInfo> {
        let Some(account) = &self.account else {
            return Vec::new();
        };
        let devices = account.devices.everything();
        let devices = devices.map(|(device, certificate, state)| {
            let live = account.devices.device(device);
            DeviceInfo {
                device: *device,
                name: live
                    .map_or(&certificate.label, |known| &known.label)
                    .clone(),
                this: *device == account.device(),
                state: match state {
                    DeviceState::Active => DeviceStanding::Active,
                    DeviceState::Frozen => DeviceStanding::Frozen,
                    DeviceState::Revoked | DeviceState::Refused(_) => DeviceStanding::Revoked,
                },
                refused: match state {
                    DeviceState::Refused(reason) => Some(reason.to_string()),
                    DeviceState::Active | DeviceState::Frozen | DeviceState::Revoked => None,
                },
                primary: live.is_some_and(|known| known.primary),
                last_seen: self.last_heard(device),
                frozen_by: account.devices.frozen_by(device).map(|by| {
                    let by = by.and_then(|by| account.devices.device(&by));
                    by.map_or_else(|| "the recovery phrase".to_owned(), |by| by.label.clone())
                }),
                declined: account.devices.has_declined(device),
            }
        });
        devices.collect()
    }

    /// Everybody this device knows.
    #[must_use]
    pub fn contacts(&self) -> Vec<ContactInfo> {
        let contacts = self.contacts.iter().map(|(user, contact)| ContactInfo {
            user: *user,
            name: contact.shown().to_owned(),
            devices: contact.devices.len(),
            added: contact.added,
            verified: contact.is_verified(),
            changed: contact.has_changed(),
            blocked: contact.blocked,
        });
        contacts.collect()
    }

    /// The name by which a user is shown here: one's own, a contact's, or the id's first digits.
    #[must_use]
    pub fn name_of(&self, user: &UserId) -> String {
        match (&self.account, self.contacts.get(user)) {
            (Some(account), _) if account.user() == *user => account.name.clone(),
            (_, Some(contact)) => contact.shown().to_owned(),
            _ => user.to_string().chars().take(8).collect(),
        }
    }

    /// All conversations, the oldest first.
    #[must_use]
    pub fn conversations(&self) -> Vec<ConversationInfo> {
        let mut ids: Vec<(Timestamp, ConversationId)> = self
            .conversations
            .values()
            .map(|known| (known.created(), known.id()))
            .collect();
        ids.sort_unstable();
        ids.iter()
            .filter_map(|(_, id)| self.conversation(id))
            .collect()
    }

    /// One conversation.
    #[must_use]
    pub fn conversation(&self, id: &ConversationId) -> Option<ConversationInfo> {
        let known = self.conversations.get(id)?;
        let outbox = self.outbox.of_conversation(id);
        let live = self.topics.conversation_live(id);
        let account = self.account.as_ref()?;
        let own = (account.user(), account.device());
        let mut info = known.info(|user| self.name_of(user), own, self.now, outbox, live);
        for peer in &mut info.peers {
            peer.name = self.device_name(&peer.user, &peer.device);
        }
        Some(info)
    }

    fn device_name(&self, user: &UserId, device: &DeviceId) -> String {
        let own = self.account.as_ref().filter(|own| own.user() == *user);
        let contact = self.contacts.get(user).map(|contact| &contact.devices);
        let devices = own.map(|own| &own.devices).or(contact);
        let known = devices.and_then(|devices| devices.device(device));
        known.map_or_else(
            || device.to_string().chars().take(8).collect(),
            |known| known.label.clone(),
        )
    }
}
