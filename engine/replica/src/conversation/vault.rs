//! A conversation into the account vault, and out of it again on a new device.

use std::sync::Arc;

use sheaf_crypto::{Body, EpochSecret, Forward, Kind, Opened, Recipient, SignedOperation};

use super::Conversation;
use crate::command::CommandError;
use crate::context::Context;
use crate::control::{OperationError, View, author};
use crate::io::Event;
use crate::vault::{VaultConversation, VaultEpoch};

/// The key of a device that is not attached yet and attaches itself with this very envelope, by a
/// user log that shows it.
pub(super) fn attaching(view: &View, opened: &Opened) -> Option<[u8; 32]> {
    if opened.kind() != Kind::Control {
        return None;
    }
    let signed = SignedOperation::from_bytes(opened.unverified_body()).ok()?;
    let claimed = signed.decode().ok()?;
    let same = claimed.author == opened.device() && claimed.user == opened.user();
    same.then(|| author(view, &claimed).ok())?
}

impl Conversation {
    /// What a new device needs to find the topics and to read them.
    pub(crate) fn for_vault(&self) -> VaultConversation {
        let operations = self.control.entries();
        let epochs = self.epochs.iter().filter_map(|(epoch, held)| {
            let bytes = held.secret.to_bytes();
            let secret = bytes.first_chunk::<32>().copied()?;
            Some(VaultEpoch {
                epoch: *epoch,
                secret,
            })
        });
        VaultConversation {
            epochs: epochs.collect(),
            operations: operations.map(|(_, entry)| entry.signed.clone()).collect(),
        }
    }

    /// Goes on with a conversation of a vault. Its operations are verified like those of an invite;
    /// this device is not part of it before [`Self::come_back`].
    pub(crate) fn from_vault(
        kept: &VaultConversation,
        context: &mut Context<'_>,
    ) -> Result<Self, OperationError> {
        let founding = kept.operations.first().ok_or(OperationError::NotGenesis)?;
        let mut conversation = Self::found(founding, context)?;
        conversation.extend_from_vault(kept, context);
        if !conversation.has_member(context) {
            return Err(OperationError::NotAMember);
        }
        context.stage.notify(Event::ConversationAdded {
            conversation: conversation.id,
            by: None,
        });
        Ok(conversation)
    }

    /// Takes what another vault knows of it. What does not verify is left out; a secret counts only
    /// if it fits the commitment in the operation that drew it.
    pub(crate) fn extend_from_vault(
        &mut self,
        kept: &VaultConversation,
        context: &mut Context<'_>,
    ) {
        for operation in kept.operations.iter().skip(1) {
            if let Err(error) = self.accept_operation(operation, context) {
                tracing::warn!(%error, "operation of a vault left out");
            }
        }
        let own = context.reader();
        for known in &kept.epochs {
            // This device comes in after what its view lets be forgotten.
            if self.control.is_forgotten_for(&own.1, &known.epoch) {
                continue;
            }
            if let Ok(secret) = EpochSecret::from_bytes(&known.secret) {
                self.learn(known.epoch, secret, context);
            }
        }
    }

    fn has_member(&self, context: &Context<'_>) -> bool {
        let members = &self.control.current().members;
        members.contains_key(&context.account.user())
    }

    /// Attaches this device, by its own user log, and takes the lost ones out. It is done when the
    /// history was read: what a lost device wrote counts as far as it is known then.
    pub(crate) fn come_back(&mut self, context: &mut Context<'_>) -> Result<(), CommandError> {
        let own = context.account.device();
        let view = Arc::clone(self.control.current());
        if view.device(&own).is_none() && self.has_member(context) {
            let log = context.account.devices.encode();
            let forwards = self.forwards_to_self(context)?;
            let body = Body::AttachDevice {
                device: own,
                log,
                forwards,
            };
            self.write_operation(body, context)?;
        }
        self.follow_account(context)
    }

    /// The newest secrets that came with the vault, forwarded to this device by itself, so that the
    /// control log says who holds them.
    fn forwards_to_self(&self, context: &mut Context<'_>) -> Result<Vec<Forward>, CommandError> {
        let fault = |error: &dyn std::fmt::Display| CommandError::Fault(error.to_string());
        let to = Recipient {
            device: context.account.device(),
            kem: context
                .account
                .secrets
                .kem_record()
                .map_err(|error| fault(&error))?,
        };
        let parents = self.control.heads();
        let mut forwards = Vec::new();
        let (view, own) = (self.control.current(), context.reader());
        let newest = view.newest.iter();
        for epoch in newest.filter(|epoch| self.control.is_entitled(view, &own, epoch)) {
            let Some(held) = self.epochs.get(epoch) else {
                continue;
            };
            let forward = sheaf_crypto::forward(
                &mut *context.rng,
                &self.id,
                *epoch,
                held.keys.commitment(),
                &held.secret,
                &parents,
                &to,
            )
            .map_err(|error| fault(&error))?;
            forwards.push(forward);
        }
        Ok(forwards)
    }
}
