//! Commands about one's own devices, and about contacts' standing.

use sheaf_crypto::{ConversationId, DeviceId, UserId, safety_number};

use super::Replica;
use super::account::check_name;
use crate::command::{CommandError, DeviceChange, Reply};
use crate::io::Event;
use crate::user::UserLogError;

impl Replica {
    /// Signs a change of one's own device list and makes every conversation follow it.
    pub(super) fn change_device(
        &mut self,
        device: DeviceId,
        change: &DeviceChange,
    ) -> Result<Reply, CommandError> {
        let thawed = *change == DeviceChange::Thaw && self.thaw_forked(&device);
        let account = self.account.as_mut().ok_or(CommandError::NoAccount)?;
        if thawed && !account.devices.is_frozen(&device) {
            return Ok(Reply::Done);
        }
        let name = account
            .devices
            .everything()
            .find(|(known, ..)| **known == device)
            .map(|(_, certificate, _)| certificate.label.clone())
            .ok_or(CommandError::UnknownDevice)?;
        let secrets = &account.secrets;
        let what = match change {
            DeviceChange::Rename(name) => {
                check_name("the device's name", name)?;
                let signed = account.devices.rename(secrets, &device, name);
                signed.map_err(|error| refused(&error))?;
                format!("device renamed to {name}")
            }
            DeviceChange::Freeze => {
                account
                    .devices
                    .freeze(secrets, &device)
                    .map_err(|error| refused(&error))?;
                format!("device {name} frozen")
            }
            DeviceChange::Thaw => {
                account
                    .devices
                    .thaw(secrets, &device)
                    .map_err(|error| refused(&error))?;
                format!("device {name} thawed")
            }
            DeviceChange::Revoke => {
                account
                    .devices
                    .revoke(secrets, &device)
                    .map_err(|error| refused(&error))?;
                format!("device {name} revoked")
            }
            DeviceChange::Primary => {
                account
                    .devices
                    .hand_over(secrets, &device)
                    .map_err(|error| refused(&error))?;
                format!("device {name} made primary")
            }
        };
        let attached: Vec<ConversationId> = self
            .conversations
            .values()
            .filter(|known| known.has_device(&device))
            .map(|known| known.id())
            .collect();
        self.account_grew();
        self.tell_own_devices();
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

    /// Lets content of a device count again that was held back as misbehaviour.
    pub(super) fn lift_quarantine(&mut self, device: DeviceId) -> Result<Reply, CommandError> {
        let ids: Vec<ConversationId> = self.conversations.keys().copied().collect();
        let mut lifted = false;
        for id in ids {
            let done = self.on_conversation(&id, |known, context| known.lift(&device, context));
            lifted |= done == Some(true);
        }
        if !lifted {
            return Err(CommandError::NotQuarantined);
        }
        self.audit(format!("quarantine of device {device} lifted"), None);
        Ok(Reply::Done)
    }

    /// Notes something that this person did.
    pub(super) fn audit(&mut self, what: String, conversation: Option<ConversationId>) {
        self.stage
            .audit(what, "this device".to_owned(), conversation);
    }
}

fn refused(error: &UserLogError) -> CommandError {
    CommandError::Refused(error.to_string())
}
