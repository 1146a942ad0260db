//! What people write.

use sheaf_replica::{Command, Draft, ImportDraft};

use super::device::Asked;
use super::world::World;
use super::{below, one_in};

impl World {
    pub(super) fn text(&mut self) -> String {
        self.texts += 1;
        format!(
            "message {} {}",
            self.texts,
            "x".repeat(below(&mut self.rng, 60) as usize)
        )
    }

    pub(super) fn write(&mut self, device: usize) {
        let Some(conversation) = self.pick() else {
            return;
        };
        let text = self.text();
        let known = self.devices[device].messages(&conversation);
        let mut draft = Draft::text(text.clone());
        if !known.is_empty() && one_in(&mut self.rng, 3) {
            let place = below(&mut self.rng, known.len() as u64) as usize;
            draft.reply_to = Some(known[place].message);
        }
        let command = Command::Send {
            conversation,
            draft,
            token: None,
        };
        self.command(device, command, Asked::Send(conversation, vec![text]));
    }

    pub(super) fn write_many(&mut self, device: usize) {
        let Some(conversation) = self.pick() else {
            return;
        };
        let texts: Vec<String> = (0..1 + below(&mut self.rng, 6))
            .map(|_| self.text())
            .collect();
        let drafts = texts
            .iter()
            .map(|text| ImportDraft {
                draft: Draft::text(text.clone()),
                reply_in_batch: None,
            })
            .collect();
        let command = Command::Import {
            conversation,
            drafts,
        };
        self.command(device, command, Asked::Send(conversation, texts));
    }
}
