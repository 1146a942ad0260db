//! What a device had, and who knows that it is out.

use sheaf_crypto::{ConversationId, DeviceId, EpochId, RunId};

use super::Replica;

/// What a device had, and who knows that it is out. Everything it tells is what this device knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceReport {
    /// The device.
    pub device: DeviceId,
    /// Conversations that it is or was part of.
    pub conversations: Vec<ReportedConversation>,
}

/// One conversation of a [`DeviceReport`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedConversation {
    /// The conversation.
    pub conversation: ConversationId,
    /// Its name.
    pub name: String,
    /// The device is out of it.
    pub out: bool,
    /// Epochs whose secret it can hold: what is sealed under these it can read for ever.
    pub epochs: Vec<EpochId>,
    /// Messages that it could read: all that were here when it was taken out, or are here now.
    pub messages: u64,
    /// The last item accepted of each of its runs.
    pub positions: Vec<(RunId, u64)>,
    /// Items of it that are kept and do not count.
    pub kept: u64,
    /// Member devices that have shown that they know of the removal.
    pub taken_in: Vec<DeviceId>,
    /// Member devices that have not: they may still seal to it, and take what it writes.
    pub outstanding: Vec<DeviceId>,
}

impl Replica {
    /// A report on a device that was revoked, or could be.
    #[must_use]
    pub fn device_report(&self, device: &DeviceId) -> Option<DeviceReport> {
        let account = self.account.as_ref()?;
        let mut everything = account.devices.everything();
        everything.find(|(known, ..)| *known == device)?;
        let own = account.device();
        let taken_out = self.peers.get(device).map(|peer| peer.taken_out.as_slice());
        let messages = |id: &ConversationId| {
            let taken_out = taken_out.unwrap_or_default().iter();
            let mut taken_out = taken_out.filter(|(known, _)| known == id);
            taken_out.next().map(|(_, messages)| *messages)
        };
        let conversations = self.conversations.values();
        let conversations = conversations
            .filter_map(|known| known.report(device, &own, messages(&known.id())))
            .collect();
        Some(DeviceReport {
            device: *device,
            conversations,
        })
    }
}
