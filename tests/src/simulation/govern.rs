//! What people do to each other's membership, at once and offline.

use std::collections::BTreeSet;

use sheaf_crypto::{ConversationId, EpochId, History, Role, UserId};
use sheaf_replica::{Command, Draft, MessageId};

use super::device::{Asked, Device};
use super::world::World;
use super::{below, one_in};

/// What was there when somebody was added who may not read it.
pub(super) struct Before {
    pub(super) conversation: ConversationId,
    pub(super) user: UserId,
    pub(super) messages: BTreeSet<MessageId>,
    pub(super) epochs: BTreeSet<EpochId>,
}

impl World {
    /// What newcomers of a conversation may read.
    pub(super) fn history(&mut self, name: &str) -> History {
        if self.faults.since_join && (name == "field" || one_in(&mut self.rng, 2)) {
            History::SinceJoin
        } else {
            History::Full
        }
    }

    /// Notes what there is that somebody who is added for the first time must never come to see.
    fn note_before(&mut self, by: usize, conversation: ConversationId, user: UserId) {
        let Some(info) = self.devices[by].replica.conversation(&conversation) else {
            return;
        };
        let knows = |device: &Device| {
            device.user() == Some(user) && device.replica.conversation(&conversation).is_some()
        };
        let member = info.members.iter().any(|(member, ..)| *member == user);
        let mut noted = self.before.iter();
        let again = noted.any(|before| (before.conversation, before.user) == (conversation, user));
        if info.history == History::Full || member || again || self.devices.iter().any(knows) {
            return;
        }
        let listed = self.devices[by].messages(&conversation);
        let held = info.epochs.iter().filter(|(_, held)| *held);
        self.before.push(Before {
            conversation,
            user,
            messages: listed.iter().map(|m| m.message).collect(),
            epochs: held.map(|(epoch, _)| *epoch).collect(),
        });
    }

    /// Everybody comes to have everything, somebody joins, and the faults go on.
    pub(super) fn welcome(&mut self) {
        let Some(user) = self.latecomer else { return };
        self.settle();
        for conversation in self.conversations.clone() {
            let add = Command::AddMember {
                conversation,
                user,
                role: Role::Writer,
            };
            self.ask(0, add);
        }
    }

    /// Everybody says what he has seen, and does what is done once an hour.
    pub(super) fn let_hours_pass(&mut self) {
        for _ in 0..2_000 {
            self.step();
        }
        self.now = self.now.after_ms(sheaf_replica::limits::UPKEEP_MS + 1);
        for device in 0..self.devices.len() {
            self.command(device, Command::Acknowledge, Asked::Other);
        }
    }

    /// A week goes by: what is due weekly is done by every device, whether it is connected or not.
    pub(super) fn let_weeks_pass(&mut self) {
        for _ in 0..below(&mut self.rng, 2_000) {
            self.step();
        }
        self.now = self.now.after_ms(sheaf_replica::limits::KEM_AGE_MS_MAX + 1);
        for device in 0..self.devices.len() {
            self.command(device, Command::Acknowledge, Asked::Other);
        }
    }

    /// One act on a conversation's membership. Whether it is allowed is for the replica to say.
    pub(super) fn govern(&mut self, device: usize) {
        let Some(conversation) = self.pick() else {
            return;
        };
        let people: Vec<UserId> = self.devices.iter().filter_map(|d| d.user()).collect();
        let place = below(&mut self.rng, people.len() as u64) as usize;
        let user = people[place];
        let own = self.devices[device].user() == Some(user);
        let role = match below(&mut self.rng, 3) {
            0 => Role::Reader,
            1 => Role::Writer,
            _ => Role::Admin,
        };
        let command = match below(&mut self.rng, 8) {
            0 => Command::Rotate(conversation),
            1 => Command::RenameConversation {
                conversation,
                name: self.text(),
            },
            2 | 3 if !own || one_in(&mut self.rng, 8) => {
                self.touched.insert((conversation, user));
                Command::RemoveMember { conversation, user }
            }
            4 | 5 => {
                self.note_before(device, conversation, user);
                Command::AddMember {
                    conversation,
                    user,
                    role,
                }
            }
            6 if one_in(&mut self.rng, 3) => Command::CutHistory(conversation),
            _ => {
                self.touched.insert((conversation, user));
                Command::SetRole {
                    conversation,
                    user,
                    role,
                }
            }
        };
        self.command(device, command, Asked::Other);
    }

    /// Somebody lets go of what came before; what he knows of it is noted.
    pub(super) fn forget(&mut self, device: usize) {
        let Some(conversation) = self.pick() else {
            return;
        };
        let info = self.devices[device].replica.conversation(&conversation);
        let Some(info) = info else {
            return;
        };
        let known = info.epochs.into_iter().map(|(epoch, _)| epoch).collect();
        let command = Command::ForgetHistory(conversation);
        self.command(device, command, Asked::Forget(conversation, known));
    }

    /// Whoever may write says something: that vouches for what he wrote while others could not know
    /// that he may.
    pub(super) fn last_words(&mut self, members: bool) {
        let rounds = if members {
            self.conversations.clone()
        } else {
            Vec::new()
        };
        self.words = self.devices.iter().map(|d| d.acknowledged.len()).collect();
        for conversation in rounds {
            for device in 0..self.devices.len() {
                let text = self.text();
                let command = Command::Send {
                    conversation,
                    draft: Draft::text(text.clone()),
                    token: None,
                };
                self.command(device, command, Asked::Send(conversation, vec![text]));
                self.settle();
            }
        }
    }
}
