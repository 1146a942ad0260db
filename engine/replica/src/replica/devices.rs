//! Commands about one's own devices, and about contacts' standing.

use std::collections::BTreeMap;

use sheaf_crypto::{ConversationId, DeviceId, UserId, safety_number};

use super::Replica;
use super::account::check_name;
use crate::command::{CommandError, DeviceChange, Reply};
use crate::io::Event;
use crate::user::{DeviceState, Devices, UserLogError};

impl Replica {
    /// Signs a change of one's own device list and makes every conversation follow it.
    pub(super) fn change_device(
        &mut self,
        device: DeviceId,
        change: &DeviceChange,
    ) -> Result<Reply, CommandError> {
        let thawed = *change == DeviceChange::Thaw && self.thaw_forked(&device);
        let account = self.account.as_ref().ok_or(CommandError::NoAccount)?;
        if thawed && !account.devices.is_frozen(&device) {
            return Ok(Reply::Done);
        }
        let what = self.sign_change(&device, change)?;
        let attached: Vec<ConversationId> = self
            .conversations
            .values()
            .filter(|known| known.has_device(&device))
            .map(|known| known.id())
            .collect();
        self.account_grew();
        self.tell_own_devices();
        if matches!(change, DeviceChange::Freeze | DeviceChange::Revoke) {
            self.tell_of_itself(&device);
        }
        self.audit(what, None);
        if *change != DeviceChange::Revoke {
            return Ok(Reply::Done);
        }
        let out = |id: &ConversationId| {
            let known = self.conversations.get(id);
            known.is_none_or(|known| !known.has_device(&device))
        };
        let (rotated, outstanding) = attached.iter().copied().partition(out);
        Ok(Reply::Revoked {
            device,
            rotated,
            outstanding,
        })
    }

    /// Signs a change of the device list; gives it in words.
    fn sign_change(
        &mut self,
        device: &DeviceId,
        change: &DeviceChange,
    ) -> Result<String, CommandError> {
        let account = self.account.as_mut().ok_or(CommandError::NoAccount)?;
        let name = account
            .devices
            .everything()
            .find(|(known, ..)| *known == device)
            .map(|(_, certificate, _)| certificate.label.clone())
            .ok_or(CommandError::UnknownDevice)?;
        let secrets = &account.secrets;
        Ok(match change {
            DeviceChange::Rename(name) => {
                check_name("the device's name", name)?;
                let signed = account.devices.rename(secrets, device, name);
                signed.map_err(|error| refused(&error))?;
                format!("device renamed to {name}")
            }
            DeviceChange::Freeze => {
                account
                    .devices
                    .freeze(secrets, device)
                    .map_err(|error| refused(&error))?;
                format!("device {name} frozen")
            }
            DeviceChange::Thaw => {
                account
                    .devices
                    .thaw(secrets, device)
                    .map_err(|error| refused(&error))?;
                format!("device {name} thawed")
            }
            DeviceChange::Revoke => {
                account
                    .devices
                    .revoke(secrets, device)
                    .map_err(|error| refused(&error))?;
                format!("device {name} revoked")
            }
            DeviceChange::Primary => {
                account
                    .devices
                    .hand_over(secrets, device)
                    .map_err(|error| refused(&error))?;
                format!("device {name} made primary")
            }
            DeviceChange::Decline => {
                if *device != account.device() {
                    let words = "only the device itself declines to be primary";
                    return Err(CommandError::Refused(words.to_owned()));
                }
                account
                    .devices
                    .decline(secrets)
                    .map_err(|error| refused(&error))?;
                format!("device {name} does not want to be primary")
            }
        })
    }

    /// Thaws a device in every conversation in which a proof froze it; `false` if there is none.
    fn thaw_forked(&mut self, device: &DeviceId) -> bool {
        let ids: Vec<ConversationId> = self.conversations.keys().copied().collect();
        let mut thawed = false;
        for id in ids {
            let done = self.on_conversation(&id, |known, c| known.thaw_forked(device, c));
            if done == Some(true) {
                self.audit(format!("device {device} thawed after a fork"), Some(id));
                thawed = true;
            }
        }
        thawed
    }

    /// Tells people of changes of their own device list, and conversations of revoked devices.
    pub(super) fn learn_devices(&mut self) {
        for devices in self.stage.take_learned() {
            let user = devices.user;
            if self.account.as_ref().is_some_and(|own| own.user() == user) {
                self.grow_account(&devices);
                continue;
            }
            let Some(write) = self.contacts.grow(&devices) else {
                continue;
            };
            self.stage.write(write);
            self.devices_changed(&user);
        }
    }

    /// A contact's device list is another than before.
    pub(super) fn devices_changed(&mut self, user: &UserId) {
        let verified = self.contacts.get(user).is_some_and(|c| c.is_verified());
        let name = self.name_of(user);
        self.audit(format!("device list of {name} changed"), None);
        self.stage.notify(Event::ContactDevicesChanged {
            user: *user,
            verified,
        });
        self.follow_contact(user);
    }

    pub(super) fn set_verified(
        &mut self,
        user: UserId,
        verified: bool,
    ) -> Result<Reply, CommandError> {
        let write = self
            .contacts
            .set_verified(&user, verified)
            .ok_or(CommandError::UnknownContact(user))?;
        self.stage.write(write);
        let name = self.name_of(&user);
        let word = if verified { "verified" } else { "unverified" };
        self.audit(format!("contact {name} marked {word}"), None);
        Ok(Reply::Done)
    }

    pub(super) fn set_blocked(
        &mut self,
        user: UserId,
        blocked: bool,
    ) -> Result<Reply, CommandError> {
        let write = self
            .contacts
            .set_blocked(&user, blocked)
            .ok_or(CommandError::UnknownContact(user))?;
        self.stage.write(write);
        let name = self.name_of(&user);
        let word = if blocked { "blocked" } else { "unblocked" };
        self.audit(format!("contact {name} {word}"), None);
        Ok(Reply::Done)
    }

    /// The sixty digits that two people compare (research/keys.md 2.9).
    #[must_use]
    pub fn safety_number(&self, user: &UserId) -> Option<String> {
        let account = self.account.as_ref()?;
        Some(safety_number(&account.user(), user))
    }

    /// Notes what other devices of this person did to the device list.
    pub(super) fn note_devices(&mut self, before: &Standings, after: &Standings) {
        for (device, (name, state, primary)) in after {
            let then = before.get(device);
            let word = match (then.map(|(_, state, _)| *state), *state) {
                (Some(then), now) if then == now => None,
                (_, DeviceState::Active) if then.is_some() => Some("thawed"),
                (_, DeviceState::Active) => Some("added"),
                (_, DeviceState::Frozen) => Some("frozen"),
                (_, DeviceState::Revoked) => Some("revoked"),
                (_, DeviceState::Refused(_)) => Some("refused"),
            };
            let mut whats: Vec<String> = word
                .map(|word| format!("device {name} {word}"))
                .into_iter()
                .collect();
            if let Some((then, ..)) = then.filter(|(then, ..)| then != name) {
                whats.push(format!("device {then} renamed to {name}"));
            }
            if *primary && then.is_none_or(|(_, _, primary)| !primary) {
                whats.push(format!("device {name} made primary"));
            }
            for what in whats {
                let who = "another device of the account".to_owned();
                self.stage.note(what, who, None);
            }
        }
    }

    /// Notes something that this person did.
    pub(super) fn audit(&mut self, what: String, conversation: Option<ConversationId>) {
        self.stage
            .audit(what, "this device".to_owned(), conversation);
    }
}

/// Every device of an account that was ever granted: its name, its state, whether it is primary.
pub(super) type Standings = BTreeMap<DeviceId, (String, DeviceState, bool)>;

pub(super) fn standings(devices: &Devices) -> Standings {
    let everything = devices.everything().map(|(device, certificate, state)| {
        let live = devices.device(device);
        let name = live.map_or(&certificate.label, |live| &live.label);
        let primary = live.is_some_and(|live| live.primary);
        (*device, (name.clone(), state, primary))
    });
    everything.collect()
}

fn refused(error: &UserLogError) -> CommandError {
    CommandError::Refused(error.to_string())
}
