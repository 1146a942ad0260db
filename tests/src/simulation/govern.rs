//! What people do to each other's membership, at once and offline.

use sheaf_crypto::{Role, UserId};
use sheaf_replica::{Command, Draft};

use super::device::Asked;
use super::world::World;
use super::{below, one_in};

impl World {
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
            4 | 5 => Command::AddMember {
                conversation,
                user,
                role,
            },
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

    /// Whoever may write says something: that vouches for what he wrote while others could not know
    /// that he may.
    pub(super) fn last_words(&mut self, members: bool) {
        let rounds = if members {
            self.conversations.clone()
        } else {
            Vec::new()
        };
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
