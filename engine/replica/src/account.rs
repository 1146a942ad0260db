//! Who this device is, and whom it knows.

use std::collections::BTreeMap;

use sheaf_crypto::{Card, DeviceId, DeviceSecrets, UserId, UserLog};

use crate::record::{AccountRecord, ContactRecord, Kind, RecordError, Write};
use crate::time::Timestamp;
use crate::user::Devices;
use crate::vault::VaultContact;

/// This device's account.
pub(crate) struct Account {
    pub(crate) secrets: DeviceSecrets,
    pub(crate) name: String,
    pub(crate) device_name: String,
    pub(crate) devices: Devices,
    pub(crate) relay: Option<String>,
}

impl Account {
    pub(crate) fn restore(record: &AccountRecord) -> Result<Self, RecordError> {
        let damaged = RecordError(Kind::Account);
        let secrets = DeviceSecrets::from_bytes(&record.secrets).map_err(|_| damaged)?;
        let log = UserLog {
            genesis: record.genesis.clone(),
            operations: record.operations.clone(),
        };
        Ok(Self {
            secrets,
            name: record.name.clone(),
            device_name: record.device_name.clone(),
            devices: Devices::verify(&log).map_err(|_| damaged)?,
            relay: record.relay_hint.clone(),
        })
    }

    pub(crate) fn user(&self) -> UserId {
        self.devices.user
    }

    pub(crate) fn device(&self) -> DeviceId {
        self.secrets.device()
    }

    pub(crate) fn card(&self) -> Card {
        Card {
            log: self.devices.log().clone(),
            relay: self.relay.clone(),
            name: self.name.clone(),
        }
    }

    pub(crate) fn write(&self) -> Write {
        let secrets = self
            .secrets
            .to_bytes()
            .map(|bytes| bytes.to_vec())
            .unwrap_or_default();
        let record = AccountRecord {
            secrets,
            name: self.name.clone(),
            device_name: self.device_name.clone(),
            genesis: self.devices.log().genesis.clone(),
            operations: self.devices.log().operations.clone(),
            relay_hint: self.relay.clone(),
        };
        Write::put(Kind::Account, &[], &[], &record)
    }
}

/// Another user.
pub(crate) struct Contact {
    pub(crate) name: String,
    pub(crate) alias: Option<String>,
    pub(crate) devices: Devices,
    pub(crate) relay: Option<String>,
    pub(crate) added: Timestamp,
    /// The devices there were when the person was verified.
    verified: Option<Vec<DeviceId>>,
    pub(crate) blocked: bool,
}

impl Contact {
    pub(crate) fn is_verified(&self) -> bool {
        self.verified.is_some()
    }

    /// The device list is another than when the person was verified.
    pub(crate) fn has_changed(&self) -> bool {
        self.verified
            .as_ref()
            .is_some_and(|then| *then != self.device_list())
    }

    fn device_list(&self) -> Vec<DeviceId> {
        self.devices.iter().map(|(device, _)| *device).collect()
    }

    pub(crate) fn shown(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.name)
    }

    fn write(&self) -> Write {
        let record = ContactRecord {
            user: self.devices.user,
            name: self.name.clone(),
            alias: self.alias.clone(),
            log: self.devices.encode(),
            relay: self.relay.clone(),
            added: self.added,
            verified: self.verified.clone(),
            blocked: self.blocked,
        };
        Write::put(Kind::Contact, &self.devices.user.0, &[], &record)
    }

    pub(crate) fn card(&self) -> Card {
        Card {
            log: self.devices.log().clone(),
            relay: self.relay.clone(),
            name: self.name.clone(),
        }
    }

    pub(crate) fn for_vault(&self) -> VaultContact {
        VaultContact {
            user: self.devices.user,
            name: self.name.clone(),
            alias: self.alias.clone(),
            log: self.devices.encode(),
            relay: self.relay.clone(),
            added: self.added,
            verified: self.verified.clone(),
            blocked: self.blocked,
        }
    }
}

/// What a card brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Learned {
    /// A person who was not known.
    New,
    /// Another device list.
    Changed,
    /// Nothing about devices.
    Same,
}

/// Everybody this device knows.
#[derive(Default)]
pub(crate) struct Contacts {
    known: BTreeMap<UserId, Contact>,
}

impl Contacts {
    pub(crate) fn restore(&mut self, record: ContactRecord) -> Result<(), RecordError> {
        let devices = Devices::decode(&record.log).map_err(|_| RecordError(Kind::Contact))?;
        let contact = Contact {
            name: record.name,
            alias: record.alias,
            devices,
            relay: record.relay,
            added: record.added,
            verified: record.verified,
            blocked: record.blocked,
        };
        self.known.insert(record.user, contact);
        Ok(())
    }

    pub(crate) fn get(&self, user: &UserId) -> Option<&Contact> {
        self.known.get(user)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&UserId, &Contact)> {
        self.known.iter()
    }

    /// Takes a later state of a known contact's log in; `None` if nothing is new.
    pub(crate) fn grow(&mut self, devices: &Devices) -> Option<Write> {
        let contact = self.known.get_mut(&devices.user)?;
        contact.devices.merge(devices).then(|| contact.write())
    }

    pub(crate) fn set_verified(&mut self, user: &UserId, verified: bool) -> Option<Write> {
        let contact = self.known.get_mut(user)?;
        contact.verified = verified.then(|| contact.device_list());
        Some(contact.write())
    }

    pub(crate) fn set_blocked(&mut self, user: &UserId, blocked: bool) -> Option<Write> {
        let contact = self.known.get_mut(user)?;
        contact.blocked = blocked;
        Some(contact.write())
    }

    /// Takes a contact over from a vault; what it says counts over what is known, but devices grow.
    pub(crate) fn take_over(&mut self, kept: &VaultContact) -> Result<Write, RecordError> {
        let damaged = RecordError(Kind::Contact);
        let mut devices = Devices::decode(&kept.log).map_err(|_| damaged)?;
        if devices.user != kept.user {
            return Err(damaged);
        }
        if let Some(known) = self.known.get(&kept.user) {
            devices.merge(&known.devices);
        }
        let contact = Contact {
            name: kept.name.clone(),
            alias: kept.alias.clone(),
            devices,
            relay: kept.relay.clone(),
            added: kept.added,
            verified: kept.verified.clone(),
            blocked: kept.blocked,
        };
        let write = contact.write();
        self.known.insert(kept.user, contact);
        Ok(write)
    }

    /// Takes a verified card in: a known contact's devices grow, names are replaced. Gives the
    /// write, and whether the person is new.
    pub(crate) fn learn(
        &mut self,
        devices: &Devices,
        name: &str,
        alias: Option<String>,
        relay: Option<String>,
        now: Timestamp,
    ) -> (Write, Learned) {
        let user = devices.user;
        let new = !self.known.contains_key(&user);
        let contact = self.known.entry(user).or_insert_with(|| Contact {
            name: name.to_owned(),
            alias: None,
            devices: devices.clone(),
            relay: None,
            added: now,
            verified: None,
            blocked: false,
        });
        let grown = contact.devices.merge(devices);
        name.clone_into(&mut contact.name);
        contact.alias = alias.or_else(|| contact.alias.take());
        contact.relay = relay.or_else(|| contact.relay.take());
        let learned = match (new, grown) {
            (true, _) => Learned::New,
            (false, true) => Learned::Changed,
            (false, false) => Learned::Same,
        };
        (contact.write(), learned)
    }
}
