//! Operations of the control log: taken in, and written here.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is not named here is not for this place, kinds to come included"
)]

use std::collections::BTreeSet;

use sheaf_crypto::{
    Body, DeviceId, EpochId, EpochSecret, Forward, Inner, ItemId, Kind as Purpose, Operation,
    RunId, SignedOperation, ThawByRecovery, open_chain, open_forward, open_rekey,
};
use sheaf_protocol::{Class, TopicId, hash_record};

use super::{Conversation, Work};
use crate::command::CommandError;
use crate::context::Context;
use crate::control::{OperationError, View};
use crate::limits;
use crate::misbehaviour::{Act, Suspect};
use crate::outbox::Outgoing;
use crate::record::{EpochRecord, Kind, OperationRecord, Write};
use crate::topic::{Capability, Owner};

impl Conversation {
    /// Takes an operation in, whoever wrote it.
    pub(super) fn accept_operation(
        &mut self,
        signed: &SignedOperation,
        context: &mut Context<'_>,
    ) -> Result<bool, OperationError> {
        let waits = self.parked.len() > 0;
        let began = waits.then(|| self.control.beginnings(&context.reader()));
        if !self.control.insert(signed)? {
            return Ok(false);
        }
        if began.is_some_and(|began| began != self.control.beginnings(&context.reader())) {
            // What was waited for may lie before where this device begins to read.
            self.parked.look_again();
            self.work.push_back(Work::Retry);
        }
        self.store_operation(signed, context);
        let Some(entry) = self.control.entry(&signed.id()) else {
            return Ok(true);
        };
        if let Some(log) = entry.log() {
            context.stage.learn(log.clone());
        }
        let operation = entry.operation.clone();
        self.note_operation(&signed.id(), &operation, context);
        self.learn_secrets(&operation, context);
        self.after_operation(&operation, context);
        self.note_left_behind(&signed.id(), context);
        Ok(true)
    }

    pub(super) fn store_operation(&mut self, signed: &SignedOperation, context: &mut Context<'_>) {
        let number = self.operations;
        self.operations = number.saturating_add(1);
        let record = OperationRecord {
            conversation: self.id,
            number,
            operation: signed.clone(),
        };
        let order = number.to_be_bytes();
        context
            .stage
            .write(Write::put(Kind::Operation, &self.id.0, &order, &record));
    }

    /// Learns every epoch secret that an operation holds for this device, and what the chains of
    /// the epochs learned hold in turn.
    fn learn_secrets(&mut self, operation: &Operation, context: &mut Context<'_>) {
        let me = context.account.device();
        match &operation.body {
            Body::Rekey(rekey) => {
                let (author, seq) = (operation.author, operation.seq);
                let drawn = sheaf_crypto::epoch_id(&self.id, author, seq, &rekey.commitment);
                let opened = open_rekey(
                    rekey,
                    &self.id,
                    operation.author,
                    operation.seq,
                    &operation.parents,
                    &context.account.secrets,
                );
                match opened {
                    Ok((epoch, secret)) => self.learn(epoch, secret, context),
                    // Who drew it did not know this device, which was added at the same time.
                    Err(sheaf_crypto::SealError::NotARecipient)
                        if self.is_part(context)
                            && rekey.recipients().count() < limits::SEALS_PER_RECORD_MAX =>
                    {
                        self.complain_later(drawn);
                    }
                    Err(sheaf_crypto::SealError::NotARecipient) => {}
                    // It was sealed to a key that was erased since: its author was away for long.
                    Err(sheaf_crypto::SealError::NoKemSecret) => self.complain_later(drawn),
                    Err(error) => {
                        self.complain_later(drawn);
                        let act = Act::RefusedOperation(error.to_string());
                        context
                            .stage
                            .report(Suspect::Device(operation.author), act, Some(self.id));
                    }
                }
            }
            Body::Add { forwards, .. }
            | Body::AttachDevice { forwards, .. }
            | Body::HandOver { forwards } => {
                for forward in forwards.iter().filter(|forward| forward.device == me) {
                    self.learn_forward(forward, operation, context);
                }
            }
            Body::Forward(forward) if forward.device == me => {
                self.learn_forward(forward, operation, context);
            }
            _ => {}
        }
    }

    fn complain_later(&mut self, epoch: EpochId) {
        let entries = self.control.current().epochs.get(&epoch);
        if let Some(id) = entries.map(|facts| facts.operation) {
            self.work.push_back(Work::Complain(epoch, id));
        }
    }

    fn learn_forward(
        &mut self,
        forward: &Forward,
        operation: &Operation,
        context: &mut Context<'_>,
    ) {
        let secrets = &context.account.secrets;
        match open_forward(forward, &self.id, &operation.parents, secrets) {
            Ok(secret) => self.learn(forward.epoch, secret, context),
            // It was sealed to a key that was erased since: its author was away for long.
            Err(sheaf_crypto::SealError::NoKemSecret) => {
                if !self.not_opened(forward.epoch) {
                    self.complain_later(forward.epoch);
                }
            }
            Err(error) => {
                let act = Act::RefusedOperation(error.to_string());
                context
                    .stage
                    .report(Suspect::Device(operation.author), act, Some(self.id));
            }
        }
    }

    /// Learns an epoch, and those that its chain holds, down to the first.
    pub(super) fn learn(&mut self, epoch: EpochId, secret: EpochSecret, context: &mut Context<'_>) {
        let mut open = vec![(epoch, secret)];
        while let Some((epoch, secret)) = open.pop() {
            let view = self.control.current();
            let Some(facts) = view
                .epochs
                .get(&epoch)
                .filter(|_| !self.epochs.holds(&epoch) && !self.has_forgotten(&epoch))
            else {
                continue;
            };
            if facts.commitment != secret.commitment(&self.id) {
                continue;
            }
            let rekey = self
                .control
                .entry(&facts.operation)
                .map(|entry| &entry.operation.body);
            if let Some(Body::Rekey(rekey)) = rekey
                && let Some(chain) = &rekey.chain
            {
                open.extend(open_chain(&secret, epoch, &self.id, chain).unwrap_or_default());
            }
            let record = EpochRecord {
                conversation: self.id,
                epoch,
                secret: secret.to_bytes().to_vec(),
                learned: context.now,
            };
            context
                .stage
                .write(Write::put(Kind::Epoch, &self.id.0, &epoch.0, &record));
            self.epochs.learn(&self.id, epoch, secret, context.now);
        }
        self.follow_all(context);
    }

    /// Follows the topic of every epoch whose secret is held; each is read after those that it is
    /// chained to.
    pub(super) fn follow_all(&mut self, context: &mut Context<'_>) {
        if self.beginning {
            return;
        }
        let view = self.control.current();
        for (epoch, held) in self.epochs.iter() {
            let parents = view.epochs.get(epoch).map(|facts| facts.parents.as_slice());
            let after: BTreeSet<TopicId> = parents
                .unwrap_or_default()
                .iter()
                .filter_map(|parent| self.epochs.get(parent).map(|held| held.keys.topic()))
                .collect();
            let keys = std::sync::Arc::clone(&held.keys);
            let owner = Owner::Epoch(self.id, *epoch);
            let topic = keys.topic();
            context
                .topics
                .follow(topic, owner, Capability::Epoch(keys), after, context.stage);
        }
    }

    /// Sequence and predecessor of this device's next item.
    pub(super) fn next_place(&self, context: &Context<'_>) -> (u64, Option<ItemId>) {
        self.place_in(self.own_run(context), context)
    }

    /// Place of this device's next item in a given run: an earlier run's own chain goes on for the
    /// changes that were written, and not yet sealed, under it.
    pub(super) fn place_in(&self, run: RunId, context: &Context<'_>) -> (u64, Option<ItemId>) {
        let device = context.account.device();
        let last = match self.chains.get(&device, &run) {
            Some(chain) => Some((chain.head, chain.item)),
            None => self.newest_standing(&device),
        };
        last.map_or((1, None), |(seq, item)| (seq.saturating_add(1), Some(item)))
    }

    /// Signs, takes in and publishes an operation of this device, under every newest epoch that is
    /// held: before the operation, so that everybody who does not know it yet can read it, and
    /// after it, so that a newcomer finds it.
    pub(super) fn write_operation(
        &mut self,
        body: Body,
        context: &mut Context<'_>,
    ) -> Result<(), CommandError> {
        let fault = |error: &dyn std::fmt::Display| CommandError::Fault(error.to_string());
        let device = context.account.device();
        let user = context.account.user();
        let ((seq, previous), run) = (self.next_place(context), self.own_run(context));
        let view = std::sync::Arc::clone(self.control.current());
        let incarnation = self
            .acting_for(&user, &body)
            .ok_or(CommandError::NotAllowed)?;
        let operation = Operation {
            conversation: self.id,
            author: device,
            user,
            incarnation,
            run,
            seq,
            previous,
            parents: self.control.heads(),
            body,
        };
        let signed = SignedOperation::sign(&operation, &context.account.secrets)
            .map_err(|error| fault(&error))?;
        let item = ItemId::from(signed.id());
        let dependencies = self.dependencies_beside(&operation.body, (device, run));
        let inner = Inner {
            kind: Purpose::Control,
            user,
            device,
            run,
            incarnation,
            seq,
            previous,
            control_heads: operation.parents,
            dependencies,
            body: signed.to_bytes().map_err(|error| fault(&error))?,
        };
        let (mut epochs, untold) = self.published_under(&view, &operation.body);
        self.accept_operation(&signed, context)
            .map_err(|error| CommandError::Refused(error.to_string()))?;
        epochs.extend(self.control.current().newest.iter().copied());
        if !epochs.iter().any(|epoch| self.epochs.holds(epoch)) {
            // The newest secrets have not come: others read on in the older topics too.
            epochs.extend(self.epochs.iter().map(|(epoch, _)| *epoch));
        }
        self.accept_own(&inner, item, context);
        for epoch in epochs {
            self.publish(&inner, epoch, context)?;
        }
        for device in untold {
            let recipients = self.control.current().recipients();
            if let Some(to) = recipients.iter().find(|to| to.device == device) {
                self.invite(to, context)?;
            }
        }
        context
            .outbox
            .pump(context.topics, context.now, context.stage);
        Ok(())
    }

    /// The epochs under which an operation that is written here can be read by those who do not
    /// know it, and the member devices that read under none of them: they get it in their inboxes.
    /// Such a device was added by somebody whose first epoch for it has not come here.
    fn published_under(&self, view: &View, body: &Body) -> (BTreeSet<EpochId>, Vec<DeviceId>) {
        let mut epochs = view.newest.clone();
        let mut untold = Vec::new();
        let all = view.since_join || !view.cuts.is_empty();
        let everybody = view.live().map(|(device, _)| *device).filter(|_| all);
        for device in concerned(body).into_iter().chain(everybody) {
            // Who lacks the newest reads where he can.
            let reads = |epoch: &EpochId| view.holders(epoch).contains(&device);
            if view.newest.iter().any(reads) {
                continue;
            }
            match self.epochs.newest_held_by(view, &device) {
                Some(epoch) => _ = epochs.insert(epoch),
                None if all && !untold.contains(&device) => untold.push(device),
                None => {}
            }
        }
        // Both are followed by an epoch of their author's.
        if matches!(body, Body::Add { .. } | Body::Cut { .. }) {
            untold.clear();
        }
        (epochs, untold)
    }

    /// Seals a control item under one epoch and queues it.
    fn publish(
        &mut self,
        inner: &Inner,
        epoch: EpochId,
        context: &mut Context<'_>,
    ) -> Result<(), CommandError> {
        let Some(held) = self.epochs.get(&epoch) else {
            return Ok(());
        };
        let record = sheaf_crypto::seal(
            &held.keys,
            inner,
            &context.account.secrets,
            &mut *context.rng,
        )
        .map_err(|error| CommandError::Fault(error.to_string()))?;
        let topic = held.keys.topic();
        self.keep_aside(inner, epoch, record.clone(), context);
        self.echoes.insert(hash_record(&record));
        self.epochs.count(&epoch);
        let outgoing = Outgoing {
            topic,
            inbox_seed: None,
            place: self.place_in_chain(inner),
            relays: Vec::new(),
            class: Class::Log,
            conversation: None,
            messages: Vec::new(),
            record,
        };
        context.outbox.push(outgoing, context.stage);
        Ok(())
    }
}

/// Devices that must be able to read an operation, whatever they were not given before.
fn concerned(body: &Body) -> Vec<DeviceId> {
    match body {
        Body::Forward(forward) => vec![forward.device],
        Body::HandOver { forwards } => forwards.iter().map(|forward| forward.device).collect(),
        Body::Thaw { device } | Body::ThawByRecovery(ThawByRecovery { device, .. }) => {
            vec![*device]
        }
        Body::Rekey(rekey) => rekey.recipients().collect(),
        _ => Vec::new(),
    }
}
