//! Who is in a conversation: changes made here, and what follows from changes made elsewhere.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is not named here is not for this place, kinds to come included"
)]

use std::sync::Arc;

use sheaf_crypto::{
    Body, DeviceId, EpochId, FrontierEntry, Operation, OperationId, Recipient, Role, UserId,
};

use super::{Conversation, Work};
use crate::command::CommandError;
use crate::context::Context;
use crate::io::Event;
use crate::limits;
use crate::user::Devices;

impl Conversation {
    /// The grant that a member acts under: one that gives the highest role.
    pub(super) fn acting(&self, user: &UserId) -> Option<OperationId> {
        let member = self.control.current().members.get(user)?;
        let grants = member.incarnations.iter();
        grants.max_by_key(|(_, role)| **role).map(|(id, _)| *id)
    }

    /// The grant to act under for an operation: to end an admin's role it must be above every grant
    /// of his.
    pub(super) fn acting_for(&self, user: &UserId, body: &Body) -> Option<OperationId> {
        let (Body::Remove { incarnations, .. } | Body::Regrant { incarnations, .. }) = body else {
            return self.acting(user);
        };
        let member = self.control.current().members.get(user)?;
        let above = |grant: &OperationId| {
            incarnations
                .iter()
                .all(|other| self.control.is_above(grant, other))
        };
        let senior = member.incarnations.keys().find(|grant| above(grant));
        senior.copied().or_else(|| self.acting(user))
    }

    /// This device is attached and not frozen.
    pub(super) fn is_part(&self, context: &Context<'_>) -> bool {
        self.has_live(&context.account.device())
    }

    /// A device takes part.
    pub(crate) fn has_live(&self, device: &DeviceId) -> bool {
        let view = self.control.current();
        view.live().any(|(known, _)| known == device)
    }

    /// Whose device it is, if it is attached.
    pub(crate) fn user_of(&self, device: &DeviceId) -> Option<UserId> {
        let view = self.control.current();
        view.device(device).map(|(user, _)| *user)
    }

    /// A device is attached.
    pub(crate) fn has_device(&self, device: &DeviceId) -> bool {
        self.control.current().device(device).is_some()
    }

    /// The last item of each chain of a user's devices that is applied here.
    fn frontier_of(&self, devices: &[DeviceId]) -> Vec<FrontierEntry> {
        let chains = self.chains.iter();
        let chains = chains.filter(|((device, _), _)| devices.contains(device));
        let mut chains: Vec<_> = chains.collect();
        chains.sort_by_key(|(_, chain)| std::cmp::Reverse(chain.last_seen));
        let entries = chains.into_iter().filter_map(|((device, run), _)| {
            let (seq, item) = self.counted(device, run)?;
            Some(FrontierEntry {
                device: *device,
                run: *run,
                seq,
                item,
            })
        });
        entries.take(limits::FRONTIER_ENTRIES_MAX).collect()
    }

    /// Removes a member: he loses the next epoch and its topic at once.
    pub(crate) fn remove_member(
        &mut self,
        user: UserId,
        context: &mut Context<'_>,
    ) -> Result<(), CommandError> {
        if user == context.account.user() {
            return self.leave(context);
        }
        let view = Arc::clone(self.control.current());
        let member = view
            .members
            .get(&user)
            .ok_or(CommandError::NotAMember(user))?;
        let devices: Vec<DeviceId> = member.devices.keys().copied().collect();
        let body = Body::Remove {
            user,
            incarnations: member.incarnations.keys().copied().collect(),
            frontier: self.frontier_of(&devices),
        };
        self.write_operation(body, context)?;
        self.rekey(context)?;
        Ok(())
    }

    /// Leaves. What was written stays; the next writer draws a new epoch.
    pub(crate) fn leave(&mut self, context: &mut Context<'_>) -> Result<(), CommandError> {
        self.write_operation(Body::Leave, context)
    }

    /// Gives a member another role.
    pub(crate) fn set_role(
        &mut self,
        user: UserId,
        role: Role,
        context: &mut Context<'_>,
    ) -> Result<(), CommandError> {
        let view = Arc::clone(self.control.current());
        let member = view
            .members
            .get(&user)
            .ok_or(CommandError::NotAMember(user))?;
        if member.role == role {
            return Ok(());
        }
        if role == Role::Owner {
            return self.write_operation(Body::TransferOwner { to: user }, context);
        }
        if role > member.role {
            return self.write_operation(Body::Promote { user, role }, context);
        }
        let devices: Vec<DeviceId> = member.devices.keys().copied().collect();
        let body = Body::Regrant {
            user,
            incarnations: member.incarnations.keys().copied().collect(),
            frontier: self.frontier_of(&devices),
            role,
        };
        self.write_operation(body, context)?;
        self.rekey(context)?;
        Ok(())
    }

    /// Gives the conversation another name.
    pub(crate) fn rename(
        &mut self,
        name: String,
        context: &mut Context<'_>,
    ) -> Result<(), CommandError> {
        self.write_operation(Body::Rename { name }, context)
    }

    /// Draws a new epoch at the person's wish.
    pub(crate) fn rotate(&mut self, context: &mut Context<'_>) -> Result<EpochId, CommandError> {
        if !self.is_part(context) {
            return Err(CommandError::NotAllowed);
        }
        self.rekey(context)
    }

    /// Gives an epoch to member devices that lack it, sealed to the keys given.
    pub(super) fn hand_over(
        &mut self,
        epoch: EpochId,
        recipients: &[Recipient],
        context: &mut Context<'_>,
    ) -> Result<(), CommandError> {
        for some in recipients.chunks(limits::SEALS_PER_RECORD_MAX) {
            let mut forwards = self.forwards(&[epoch], some, context)?;
            let body = match (forwards.pop(), forwards.is_empty()) {
                (None, _) => continue,
                (Some(only), true) => Body::Forward(only),
                (Some(last), false) => {
                    forwards.push(last);
                    Body::HandOver { forwards }
                }
            };
            self.write_operation(body, context)?;
        }
        Ok(())
    }

    /// Brings the conversation up to one's own user log: devices that were added come in, revoked
    /// ones go out, frozen ones are frozen.
    pub(crate) fn follow_account(&mut self, context: &mut Context<'_>) -> Result<(), CommandError> {
        if !self.is_part(context) {
            return Ok(());
        }
        let account = context.account;
        let mut changed = self.detach_revoked(&account.devices, context)?;
        let view = Arc::clone(self.control.current());
        let member = view.members.get(&account.user());
        let attached: Vec<DeviceId> = member
            .map(|member| member.devices.keys().copied().collect())
            .unwrap_or_default();
        for device in attached.into_iter().filter(|d| *d != account.device()) {
            let wanted = account.devices.is_frozen(&device);
            // A proof of a fork is no freeze of the user log: only a person takes it back.
            if view.forked.contains_key(&device) {
                continue;
            }
            if wanted != view.frozen.contains(&device) {
                let body = if wanted {
                    Body::Freeze { device }
                } else {
                    Body::Thaw { device }
                };
                self.write_operation(body, context)?;
                changed = true;
            }
        }
        if changed {
            self.rekey(context)?;
        }
        self.attach_own_devices(context)
    }

    /// Takes a member's devices out that his user log revokes; whoever holds the log may do it.
    pub(crate) fn follow_contact(
        &mut self,
        devices: &Devices,
        context: &mut Context<'_>,
    ) -> Result<(), CommandError> {
        if self.is_part(context) && self.detach_revoked(devices, context)? {
            self.rekey(context)?;
        }
        Ok(())
    }

    fn detach_revoked(
        &mut self,
        devices: &Devices,
        context: &mut Context<'_>,
    ) -> Result<bool, CommandError> {
        let view = Arc::clone(self.control.current());
        let Some(member) = view.members.get(&devices.user) else {
            return Ok(false);
        };
        let revoked = member.devices.keys().filter(|d| devices.was_revoked(d));
        let revoked: Vec<DeviceId> = revoked.copied().collect();
        for device in &revoked {
            let body = Body::DetachDevice {
                device: *device,
                proof: devices.encode(),
                frontier: self.frontier_of(&[*device]),
            };
            self.write_operation(body, context)?;
        }
        Ok(!revoked.is_empty())
    }

    /// What follows from an operation that was taken in: told, and content released or vouched for.
    pub(super) fn after_operation(&mut self, operation: &Operation, context: &mut Context<'_>) {
        let conversation = self.id;
        let event = match &operation.body {
            Body::Add { user, .. } => Event::MemberAdded {
                conversation,
                user: *user,
            },
            Body::Remove { user, .. } => Event::MemberRemoved {
                conversation,
                user: *user,
            },
            Body::Leave => Event::MemberRemoved {
                conversation,
                user: operation.user,
            },
            Body::Promote { user, role } | Body::Regrant { user, role, .. } => Event::RoleChanged {
                conversation,
                user: *user,
                role: *role,
            },
            Body::TransferOwner { to } => Event::RoleChanged {
                conversation,
                user: *to,
                role: Role::Owner,
            },
            Body::AttachDevice { device, .. } => Event::DeviceAttached {
                conversation,
                user: operation.user,
                device: *device,
            },
            Body::DetachDevice { device, .. } => {
                let messages = self.segments.messages();
                context.stage.take_out(*device, conversation, messages);
                Event::DeviceDetached {
                    conversation,
                    device: *device,
                }
            }
            Body::Rename { name } => Event::ConversationRenamed {
                conversation,
                name: name.clone(),
            },
            Body::BadSeal { epoch, .. } => {
                self.answer_bad_seal(*epoch, operation.author, context);
                return;
            }
            Body::Freeze { .. }
            | Body::Thaw { .. }
            | Body::ThawByRecovery(_)
            | Body::Equivocation { .. }
            | Body::Forget { .. } => {
                self.standing_changed();
                return;
            }
            _ => return,
        };
        context.stage.notify(event);
        self.standing_changed();
    }

    fn standing_changed(&mut self) {
        self.seek_again();
        self.vouch_for_removed();
        self.judge_forks();
        self.release();
        self.work.push_back(Work::Retry);
    }
}

/// Every device of a user log as a recipient.
pub(crate) fn recipients_of(devices: &Devices) -> Vec<Recipient> {
    let live = devices.iter().filter(|(_, known)| !known.frozen);
    live.map(|(device, known)| Recipient {
        device: *device,
        kem: known.certificate.kem.clone(),
    })
    .collect()
}
