//! What a device had of this conversation, and who knows that it is out.

use std::collections::BTreeSet;

use sheaf_crypto::{DeviceId, EpochId, OperationId};

use super::Conversation;
use crate::replica::ReportedConversation;

impl Conversation {
    /// A report on a device; nothing if it never was part of the conversation. `messages` are those
    /// that were here when it was taken out.
    pub(crate) fn report(
        &self,
        device: &DeviceId,
        own: &DeviceId,
        messages: Option<u64>,
    ) -> Option<ReportedConversation> {
        self.control.signing_key(device)?;
        let view = self.control.current();
        let out = view.device(device).is_none();
        let removals: BTreeSet<OperationId> = view.endings_of(device);
        let epochs: Vec<EpochId> = view
            .epochs
            .keys()
            .filter(|epoch| view.holders(epoch).contains(device))
            .copied()
            .collect();
        let chains = self.chains.of_device(device);
        let knows = |member: &DeviceId| {
            let mut removals = removals.iter();
            out && (member == own || removals.any(|removal| self.has_shown(member, removal)))
        };
        let members = view.live().map(|(member, _)| *member);
        let members = members.filter(|member| member != device);
        let (taken_in, outstanding) = members.partition(knows);
        Some(ReportedConversation {
            conversation: self.id,
            name: view.name.clone(),
            out,
            epochs,
            messages: messages
                .filter(|_| out)
                .unwrap_or_else(|| self.segments.messages()),
            positions: chains.map(|(run, chain)| (*run, chain.head)).collect(),
            kept: u64::try_from(self.kept_of(device)).unwrap_or(u64::MAX),
            taken_in,
            outstanding,
        })
    }
}
