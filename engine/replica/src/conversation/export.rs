//! What a device lacks, for a file: the same answers that would go to its inbox.

use std::collections::BTreeMap;

use sheaf_crypto::{DeviceId, Recipient, seal_inbox};

use super::exchange::{Answer, Answering, Ask, Held, Question, Way};
use super::{Conversation, Work};
use crate::command::{CommandError, CommandId, Reply};
use crate::context::Context;
use crate::inbox::InboxBody;
use crate::limits;

/// Records for a file, while they are put together.
#[derive(Default)]
pub(super) struct Export {
    records: Vec<Vec<u8>>,
    bytes: usize,
}

impl Conversation {
    /// Puts together what a device has not said to have, sealed to it; answers the command.
    pub(crate) fn export(&mut self, to: DeviceId, command: CommandId, context: &mut Context<'_>) {
        let takes_part = self
            .control
            .current()
            .live()
            .any(|(device, _)| *device == to);
        if !takes_part || to == context.account.device() {
            let refused = Err(CommandError::UnknownDevice);
            return context.stage.complete(command, refused);
        }
        if self.lacks_what_is_away(&to) {
            return context
                .stage
                .complete(command, Err(CommandError::NotHere(self.holders(context))));
        }
        self.export = Export::default();
        if let Err(error) = self.seal_now(context) {
            return context.stage.complete(command, Err(error));
        }
        let chains = self.said_to_have(to);
        // It may not even know the conversation.
        let invited = if chains.is_empty() {
            self.seal_for(to, &self.invitation(&to, context), context)
        } else {
            Ok(())
        };
        if let Err(error) = invited {
            return context.stage.complete(command, Err(error));
        }
        let heads = Vec::new();
        let ask = Ask::supposed(self.id, heads, chains);
        let question = Question::new(to, ask, Way::Export(command));
        self.work.push_back(Work::Answer(Box::new(question)));
        self.run(context);
    }

    /// Chains as far as a device's own items name them, and its own as far as they are here.
    fn said_to_have(&self, device: DeviceId) -> Vec<Held> {
        let chains = self.chains.iter();
        let held = chains.filter_map(|((author, run), chain)| {
            let head = match *author == device {
                true => chain.head,
                false => self.has_seen(&device, chain.index),
            };
            (head > 0).then_some((*author, *run, head))
        });
        held.collect()
    }

    /// One answer is ready: sealed to the device; what is left comes next.
    pub(super) fn export_answer(
        &mut self,
        command: CommandId,
        answering: Answering,
        answer: Answer,
        reached: &BTreeMap<u32, u64>,
        context: &mut Context<'_>,
    ) {
        let Answering { question, more, .. } = answering;
        let Question { to, ask, .. } = question;
        let brought = !answer.records.is_empty() || !answer.operations.is_empty();
        let sealed = self.seal_for(to, &InboxBody::Answer(answer), context);
        if let Err(error) = sealed {
            self.export = Export::default();
            return context.stage.complete(command, Err(error));
        }
        if !(more && brought) {
            let records = std::mem::take(&mut self.export).records;
            return context
                .stage
                .complete(command, Ok(Reply::Exported(records)));
        }
        let mut chains: BTreeMap<_, u64> = ask
            .chains
            .iter()
            .map(|(d, r, head)| ((*d, *r), *head))
            .collect();
        for (name, chain) in self.chains.iter() {
            if let Some(head) = reached.get(&chain.index) {
                chains.insert(*name, *head);
            }
        }
        let chains = chains.into_iter().map(|((d, r), head)| (d, r, head));
        let next = Ask::supposed(self.id, self.control.heads(), chains.collect());
        let question = Question::new(to, next, Way::Export(command));
        self.work.push_back(Work::Answer(Box::new(question)));
    }

    fn seal_for(
        &mut self,
        to: DeviceId,
        body: &InboxBody,
        context: &mut Context<'_>,
    ) -> Result<(), CommandError> {
        let fault = |error: &dyn std::fmt::Display| CommandError::Fault(error.to_string());
        let view = self.control.current();
        let (_, attached) = view.device(&to).ok_or(CommandError::UnknownDevice)?;
        let recipient = Recipient {
            device: to,
            kem: attached.kem.clone(),
        };
        let bytes = zeroize::Zeroizing::new(body.encode().map_err(|error| fault(&error))?);
        let user = context.account.user();
        let secrets = &context.account.secrets;
        let parts = seal_inbox(&mut *context.rng, &recipient, secrets, user, &bytes)
            .map_err(|error| fault(&error))?;
        let size: usize = parts.iter().map(Vec::len).sum();
        self.export.bytes = self.export.bytes.saturating_add(size);
        if self.export.bytes > limits::EXPORT_BYTES_MAX {
            return Err(CommandError::TooMany);
        }
        self.export.records.extend(parts);
        Ok(())
    }
}
