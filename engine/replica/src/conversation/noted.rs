//! What the audit log says of a conversation: who is in it, with which devices, under which keys.
//!
//! An operation is noted when it is taken in, once, in the batch that holds it. That a valid
//! operation has no effect can come out later, and change again: each time is noted.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is not named here is of no matter for the audit log"
)]

use std::collections::BTreeMap;

use sheaf_crypto::{Body, DeviceId, Operation, OperationId, Rekey, Role, UserId, epoch_id};

use super::Conversation;
use crate::context::Context;

/// Digits of an id by which people tell devices, keys and operations apart.
const DIGITS: usize = 8;

fn short(id: impl std::fmt::Display) -> String {
    id.to_string().chars().take(DIGITS).collect()
}

fn word(role: Role) -> &'static str {
    match role {
        Role::Reader => "reader",
        Role::Writer => "writer",
        Role::Admin => "admin",
        Role::Owner => "owner",
    }
}

fn name(user: &UserId, context: &Context<'_>) -> String {
    if *user == context.account.user() {
        return context.account.name.clone();
    }
    let contact = context.contacts.get(user);
    contact.map_or_else(|| short(user), |contact| contact.shown().to_owned())
}

fn author(operation: &Operation, context: &Context<'_>) -> String {
    let (user, device) = (name(&operation.user, context), short(operation.author));
    format!("{user}, device {device}")
}

impl Conversation {
    /// Notes an operation that was taken in, and what it takes its effect from others.
    pub(super) fn note_operation(
        &mut self,
        id: &OperationId,
        operation: &Operation,
        context: &mut Context<'_>,
    ) {
        if let Some(what) = self.words(id, operation, context) {
            let who = author(operation, context);
            context.stage.note(what, who, Some(self.id));
        }
        self.note_void(context);
    }

    fn words(
        &self,
        id: &OperationId,
        operation: &Operation,
        context: &Context<'_>,
    ) -> Option<String> {
        let device = |device: &DeviceId| {
            let user = self.control.current().device(device).map(|(user, _)| *user);
            let user = user.unwrap_or(operation.user);
            format!("device {} of {}", short(device), name(&user, context))
        };
        Some(match &operation.body {
            Body::Genesis(genesis) => format!("conversation {} founded", genesis.name),
            Body::Add { user, role, .. } => {
                format!("{} added as {}", name(user, context), word(*role))
            }
            Body::Remove { user, .. } => format!("{} removed", name(user, context)),
            Body::Leave => format!("{} left", name(&operation.user, context)),
            Body::Promote { user, role } | Body::Regrant { user, role, .. } => {
                format!("{} made {}", name(user, context), word(*role))
            }
            Body::TransferOwner { to } => {
                format!("{} made {}", name(to, context), word(Role::Owner))
            }
            Body::AttachDevice { device, .. } => {
                let user = name(&operation.user, context);
                format!("device {} of {user} attached", short(device))
            }
            Body::DetachDevice { device: out, .. } => format!("{} detached", device(out)),
            Body::Freeze { device: frozen } => format!("{} frozen", device(frozen)),
            Body::Thaw { device: thawed } => format!("{} thawed", device(thawed)),
            Body::ThawByRecovery(thaw) => {
                format!("{} thawed by the recovery phrase", device(&thaw.device))
            }
            Body::Equivocation { .. } => {
                "a device shown to have forked its chain, and frozen".to_owned()
            }
            Body::Rename { name } => format!("conversation renamed to {name}"),
            Body::Rekey(rekey) => self.words_of_rekey(id, operation, rekey),
            Body::BadSeal { epoch, .. } => format!("asked for the key of epoch {}", short(epoch)),
            _ => return None,
        })
    }

    /// A new epoch, and why there had to be one as far as the log tells.
    fn words_of_rekey(&self, id: &OperationId, operation: &Operation, rekey: &Rekey) -> String {
        let epoch = epoch_id(&self.id, operation.author, operation.seq, &rekey.commitment);
        let view = self.control.current();
        let mut before = rekey.parents_epochs.iter();
        let covered = |removal: &OperationId| {
            let mut before = rekey.parents_epochs.iter();
            before.any(|epoch| {
                let facts = view.epochs.get(epoch);
                facts.is_some_and(|facts| self.control.saw(&facts.operation, removal))
            })
        };
        let mut removals = view.removals.iter();
        let after_removal =
            removals.any(|removal| self.control.saw(id, removal) && !covered(removal));
        let why = match rekey.parents_epochs.len() {
            0 => "the first one",
            _ if after_removal => "somebody or some device was taken out or frozen",
            1 => "by its age or use, or asked for",
            _ => "epochs drawn side by side",
        };
        let before = before.next().map_or_else(String::new, |epoch| {
            format!(" after epoch {}", short(epoch))
        });
        format!("epoch {} drawn{before}: {why}", short(epoch))
    }

    /// Notes valid operations that have lost their effect, or got it back.
    fn note_void(&mut self, context: &mut Context<'_>) {
        let void: BTreeMap<_, _> = self.control.void().into_iter().collect();
        if void == self.void {
            return;
        }
        let before = std::mem::replace(&mut self.void, void.clone());
        let lost = void.iter().filter(|(id, _)| !before.contains_key(*id));
        let back = before.iter().filter(|(id, _)| !void.contains_key(*id));
        let changed = lost.map(|(id, by)| (id, by, "has no effect, because of"));
        let changed = changed.chain(back.map(|(id, by)| (id, by, "has effect again in spite of")));
        for (id, by, end) in changed {
            let Some(operation) = self.control.entry(id).map(|entry| &entry.operation) else {
                continue;
            };
            let words = self.words(id, operation, context);
            let words = words.unwrap_or_else(|| format!("operation {}", short(id)));
            let what = format!("\"{words}\" {end} operation {}", short(by));
            let who = author(operation, context);
            context.stage.note(what, who, Some(self.id));
        }
    }

    /// What is void already was noted when it came out.
    pub(super) fn restore_void(&mut self) {
        self.void = self.control.void().into_iter().collect();
    }
}
