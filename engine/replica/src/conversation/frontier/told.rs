//! What is known of others' progress without their having said it to this device.

use std::collections::BTreeMap;

use sheaf_crypto::DeviceId;

use super::super::Conversation;
use super::Frontiers;
use crate::context::Context;
use crate::record::{Kind, UnreadRecord, Write};

impl Frontiers {
    pub(in crate::conversation) fn restore_unread(&mut self, devices: Vec<DeviceId>) {
        self.unread = devices.into_iter().collect();
    }
}

impl Conversation {
    /// A device has said that history is still on its way to it.
    pub(in crate::conversation) fn is_unread(&self, device: &DeviceId) -> bool {
        self.frontiers.unread.contains(device)
    }

    /// All is here, and the others have been told only that it is not.
    pub(super) fn is_whole_unsaid(&self, own: &DeviceId) -> bool {
        self.is_unread(own) && self.says_unread(own) == Some(false)
    }

    /// What this device says of its history in a checkpoint.
    pub(in crate::conversation) fn says_unread(&self, own: &DeviceId) -> Option<bool> {
        let unread = self.is_starting() || self.is_waiting();
        self.is_unread(own).then_some(unread)
    }

    /// Takes note of what a device says of its history.
    pub(in crate::conversation) fn note_unread(
        &mut self,
        device: DeviceId,
        unread: bool,
        context: &mut Context<'_>,
    ) {
        let write = match unread {
            true => {
                self.frontiers.unread.insert(device);
                let conversation = self.id;
                let record = UnreadRecord {
                    conversation,
                    device,
                };
                Write::put(Kind::Unread, &self.id.0, &device.0, &record)
            }
            false => {
                self.frontiers.unread.remove(&device);
                Write::delete(Kind::Unread, &self.id.0, &device.0)
            }
        };
        context.stage.write_last(write);
    }

    /// Every other device that takes part has said to have everything that is here, and there is one.
    pub(in crate::conversation) fn all_have_everything(&self, own: DeviceId) -> bool {
        let view = self.control.current();
        let mut others = view.live().filter(|(device, _)| **device != own).peekable();
        others.peek().is_some() && others.all(|(device, _)| self.lacks(*device, own) == 0)
    }

    /// Takes over that some devices have said to have chains up to given places.
    pub(in crate::conversation) fn suppose_seen(
        &mut self,
        devices: &[DeviceId],
        upto: &BTreeMap<u32, u64>,
        context: &mut Context<'_>,
    ) {
        for (chain, seq) in upto {
            self.frontiers.substance.insert(*chain, *seq);
        }
        for device in devices {
            let seen = self.frontiers.seen.entry(*device).or_default();
            for (chain, seq) in upto {
                let known = seen.entry(*chain).or_default();
                *known = (*known).max(*seq);
            }
        }
        self.write_frontiers(context);
    }

    /// Forgets how far everybody has come in all chains but some.
    pub(in crate::conversation) fn forget_seen(&mut self, kept: &[u32], context: &mut Context<'_>) {
        self.frontiers
            .substance
            .retain(|chain, _| kept.contains(chain));
        for seen in self.frontiers.seen.values_mut() {
            seen.retain(|chain, _| kept.contains(chain));
        }
        self.frontiers.differs.clear();
        self.write_frontiers(context);
    }

    fn write_frontiers(&self, context: &mut Context<'_>) {
        let authors = self.chains.iter().map(|((device, _), _)| *device);
        let mut devices: Vec<DeviceId> = authors.collect();
        devices.extend(self.frontiers.seen.keys());
        devices.sort_unstable();
        devices.dedup();
        for device in devices {
            self.write_frontier(device, context);
        }
    }
}
