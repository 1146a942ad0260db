//! What the other devices have shown to know: how much of the control log, and this device's newest
//! sealing key, which every conversation is told once.

use std::collections::BTreeMap;

use sheaf_crypto::limits::CONTROL_HEADS_MAX;
use sheaf_crypto::{DeviceId, EpochId, Inner, KemRecord, Kind as Purpose, OperationId};

use super::Conversation;
use super::checkpoint::CheckpointBody;
use crate::command::CommandError;
use crate::context::Context;
use crate::record::{Kind, Sealed, ShownRecord, Write};

/// What each device has shown to know.
pub(super) type Shown = BTreeMap<DeviceId, ShownRecord>;

impl Conversation {
    pub(super) fn restore_shown(&mut self, record: ShownRecord) {
        self.shown.insert(record.device, record);
    }

    /// Notes how much of the control log the author of an item had. An earlier run may come after a later
    /// one: what was shown before stays shown.
    pub(super) fn note_shown(&mut self, inner: &Inner, context: &mut Context<'_>) {
        let known = self.shown.get(&inner.device);
        let known = known.map_or(&[][..], |known| &known.heads);
        let control = &self.control;
        let saw = |heads: &[OperationId], one| heads.iter().any(|head| control.saw(head, one));
        let new = inner.control_heads.iter().filter(|head| !saw(known, head));
        let new: Vec<OperationId> = new.copied().collect();
        if new.is_empty() {
            return;
        }
        let still = known.iter().filter(|head| !saw(&new, head)).copied();
        let mut heads: Vec<OperationId> = still.chain(new.iter().copied()).collect();
        if heads.len() > CONTROL_HEADS_MAX {
            heads.clone_from(&inner.control_heads);
        }
        self.edit_shown(&inner.device, |shown| shown.heads = heads, context);
    }

    fn edit_shown(
        &mut self,
        device: &DeviceId,
        change: impl FnOnce(&mut ShownRecord),
        context: &mut Context<'_>,
    ) {
        let entry = self.shown.entry(*device);
        let record = entry.or_insert_with(|| ShownRecord {
            conversation: self.id,
            device: *device,
            heads: Vec::new(),
            kem: 0,
        });
        change(record);
        let write = Write::put(Kind::Shown, &self.id.0, &device.0, record);
        context.stage.write(write);
    }

    /// Whether a device has shown that it knows an operation.
    pub(super) fn has_shown(&self, device: &DeviceId, operation: &OperationId) -> bool {
        let heads = self.shown.get(device).map(|shown| &shown.heads);
        let mut heads = heads.into_iter().flatten();
        heads.any(|head| self.control.saw(head, operation))
    }

    /// The counter of the sealing key of this device that the conversation was told of last.
    pub(crate) fn announced(&self, own: &DeviceId) -> u64 {
        self.shown.get(own).map_or(0, |shown| shown.kem)
    }

    /// What is to be announced here: the newest sealing key, until it was.
    pub(super) fn announcement<'a>(&self, context: &'a Context<'_>) -> Option<&'a KemRecord> {
        let own = context.account.device();
        let newest = context.peers.get(&own).and_then(|peer| peer.kem.as_ref());
        newest.filter(|newest| newest.counter > self.announced(&own))
    }

    /// Sends a checkpoint, with what is to be announced.
    pub(super) fn send_checkpoint_under(
        &mut self,
        epoch: EpochId,
        context: &mut Context<'_>,
    ) -> Result<(), CommandError> {
        let mut body = self.checkpoint_body(context);
        body.kem = self.announcement(context).cloned();
        if body.kem.is_none() {
            body.statements = context.topics.statements(&self.id);
        }
        let own = context.account.device();
        body.verified = self.stated.to_tell();
        body.unread = self.says_unread(&own);
        let bytes = body.encode();
        let bytes = bytes.map_err(|error| CommandError::Fault(error.to_string()))?;
        let wire = self.send_item(Purpose::Checkpoint, bytes, epoch, context)?;
        context.topics.named(&body.statements);
        if let Some(unread) = body.unread {
            self.note_unread(own, unread, context);
        }
        if let Some(item) = body.verified {
            self.edit_stated(&item, |known| known.told = true, context);
            let by = Sealed {
                device: own,
                epoch,
                wire,
            };
            self.verified_by(&item, by, context);
        }
        if let Some(counter) = body.kem.map(|kem| kem.counter) {
            self.edit_shown(&own, |shown| shown.kem = counter, context);
        }
        Ok(())
    }

    /// Takes what a checkpoint announces. What does not decode or verify is left alone: a later
    /// version may announce more.
    pub(super) fn take_announcement(&mut self, inner: &Inner, context: &mut Context<'_>) {
        let body = CheckpointBody::decode(&inner.body);
        let Some(record) = body.and_then(|body| body.kem) else {
            return;
        };
        let signing = self.control.signing_key(&inner.device);
        let Some(signing) = signing.filter(|_| record.device == inner.device) else {
            return;
        };
        if let Some(write) = context.peers.learn_kem(&record, &signing) {
            context.stage.write(write);
        }
        let counter = record.counter;
        if self.announced(&inner.device) < counter {
            self.edit_shown(&inner.device, |shown| shown.kem = counter, context);
        }
    }
}
