//! From what a person types to the one thing that is meant.

use sheaf_engine::{
    ContactInfo, Conversation, ConversationInfo, DeviceInfo, DeviceStanding, Engine, PeerInfo,
    Role, UserId,
};

use crate::exit::Failure;

/// Shortest beginning of an id that is taken for one.
const PREFIX_MIN: usize = 4;

/// Something that a person can name.
pub(crate) trait Named {
    /// Its whole id.
    fn id(&self) -> String;
    /// Its name.
    fn name(&self) -> &str;
}

impl Named for ConversationInfo {
    fn id(&self) -> String {
        self.conversation.to_string()
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for ContactInfo {
    fn id(&self) -> String {
        self.user.to_string()
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for DeviceInfo {
    fn id(&self) -> String {
        self.device.to_string()
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for PeerInfo {
    fn id(&self) -> String {
        self.device.to_string()
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// A member as a conversation lists it: person, name used here, role, number of devices.
impl Named for (UserId, String, Role, usize) {
    fn id(&self) -> String {
        self.0.to_string()
    }

    fn name(&self) -> &str {
        &self.1
    }
}

/// The one thing that `typed` names: by whole id, by name, or by the beginning of an id.
///
/// # Errors
/// A failure when nothing or more than one thing fits.
pub(crate) fn find<T: Named>(known: Vec<T>, typed: &str, what: &str) -> Result<T, Failure> {
    let fits: [fn(&T, &str) -> bool; 3] = [
        |thing, typed| thing.id() == typed,
        |thing, typed| thing.name() == typed,
        |thing, typed| typed.len() >= PREFIX_MIN && thing.id().starts_with(typed),
    ];
    for fit in fits {
        let count = known.iter().filter(|thing| fit(thing, typed)).count();
        if count > 1 {
            let failure = Failure::failed(format!("\"{typed}\" names {count} {what}s"));
            return Err(failure.advise(format!("use the id: `sheaf {what} list`")));
        }
        if count == 1 {
            let found = known.into_iter().find(|thing| fit(thing, typed));
            return found.ok_or_else(|| unknown(typed, what));
        }
    }
    Err(unknown(typed, what))
}

fn unknown(typed: &str, what: &str) -> Failure {
    Failure::failed(format!("there is no {what} \"{typed}\" on this device"))
        .advise(format!("`sheaf {what} list` shows what there is"))
}

/// The conversation that `typed` names.
///
/// # Errors
/// As [`find`].
pub(crate) async fn conversation(
    engine: &Engine,
    typed: &str,
) -> Result<(Conversation, ConversationInfo), Failure> {
    let info = find(engine.conversations().await?, typed, "conversation")?;
    let conversation = engine.conversation(info.conversation).await?;
    Ok((conversation, info))
}

/// The contact that `typed` names.
///
/// # Errors
/// As [`find`].
pub(crate) async fn user(engine: &Engine, typed: &str) -> Result<UserId, Failure> {
    Ok(find(engine.contacts().await?, typed, "contact")?.user)
}

/// The own device that `typed` names. A revoked one is meant only if no other fits.
///
/// # Errors
/// As [`find`].
pub(crate) async fn device(engine: &Engine, typed: &str) -> Result<DeviceInfo, Failure> {
    let devices = engine.devices().await?;
    let live = devices.iter().cloned();
    let live = live.filter(|device| device.state != DeviceStanding::Revoked);
    match find(live.collect(), typed, "device") {
        Ok(device) => Ok(device),
        Err(_) => find(devices, typed, "device"),
    }
}

/// The member that `typed` names, who need not be a contact.
///
/// # Errors
/// As [`find`].
pub(crate) fn member(info: &ConversationInfo, typed: &str) -> Result<UserId, Failure> {
    let members = info.members.clone();
    Ok(find(members, typed, "conversation member")?.0)
}

#[cfg(test)]
mod tests;
