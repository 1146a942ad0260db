//! Forks as others are told of them: proofs in the control log, words in the audit log.

use sheaf_crypto::{Body, DeviceId, Evidence, ItemId, OperationId, RecoveryPhrase, ThawByRecovery};

use super::{Conversation, Fork, Kept};
use crate::command::CommandError;
use crate::context::Context;
use crate::control::ForkPlace;
use crate::io::Event;
use crate::misbehaviour::{Act, Suspect};

impl Conversation {
    /// Shows forks of which no proof is known yet.
    pub(super) fn show_forks(&mut self, kept: &[Kept], context: &mut Context<'_>) {
        let mut shown = false;
        for (device, fork) in self.forks.places.clone() {
            let place = ForkPlace {
                device,
                run: fork.run,
                seq: fork.seq,
            };
            let view = std::sync::Arc::clone(self.control.current());
            let known = view.proved.contains(&place) || view.device(&device).is_none();
            if known || device == context.account.device() || !self.is_part(context) {
                continue;
            }
            let loser = fork.losers.first().copied().unwrap_or_default();
            let evidence = |item| self.evidence(item, kept);
            let (Some(first), Some(second)) = (evidence(fork.winner), evidence(loser)) else {
                let act = Act::RefusedContent(
                    "it signed two items for one place, too large to show".to_owned(),
                );
                let by = Suspect::Device(device);
                context.stage.report(by, act, Some(self.id));
                continue;
            };
            let body = Body::Equivocation { first, second };
            match self.write_operation(body, context) {
                Ok(()) => shown = true,
                Err(error) => tracing::warn!(%error, "fork not shown"),
            }
        }
        // The frozen device is to read nothing from here on, and others are to be able to vouch.
        if shown && let Err(error) = self.rekey(context) {
            tracing::warn!(%error, "no new epoch after a fork was shown");
        }
    }

    fn evidence(&self, item: ItemId, kept: &[Kept]) -> Option<Evidence> {
        if self.control.contains(&OperationId(item.0)) {
            return Some(Evidence::Named(item));
        }
        let envelope = kept.iter().find(|envelope| envelope.item == item)?;
        let held = self.epochs.get(&envelope.record.epoch)?;
        let opened = sheaf_crypto::open(&held.keys, &envelope.record.wire).ok()?;
        match opened.evidence(item) {
            shown @ Evidence::Shown(_) => Some(shown),
            Evidence::Named(_) => None,
        }
    }

    /// What was decided, in words, for the audit log and the person.
    pub(super) fn tell_forks(&self, shown: &[(DeviceId, Fork)], context: &mut Context<'_>) {
        for (device, fork) in self.forks.places.iter().filter(|f| !shown.contains(f)) {
            let what = format!(
                "chain forked at item {}: item {} stands, {} set aside",
                fork.seq,
                fork.winner,
                fork.losers.len()
            );
            context
                .stage
                .audit(what, format!("device {device}"), Some(self.id));
            context.stage.notify(Event::ForkJudged {
                conversation: self.id,
                device: *device,
                sequence: fork.seq,
            });
        }
    }

    /// Takes back, in this conversation, that a proof froze a device; `false` if none did, or if this
    /// device is not strictly senior to it.
    pub(crate) fn thaw_forked(&mut self, device: &DeviceId, context: &mut Context<'_>) -> bool {
        let forked = self.control.current().forked.contains_key(device);
        if !forked || !self.is_part(context) {
            return false;
        }
        let thaw = Body::Thaw { device: *device };
        let done = self.write_operation(thaw, context);
        let done = done.and_then(|()| self.rekey(context));
        if let Err(error) = &done {
            tracing::warn!(%error, "device not thawed");
        }
        self.run(context);
        done.is_ok()
    }

    /// The same by the recovery phrase, which is senior to every device: this one may be frozen itself,
    /// or the one that forked. `false` if no proof froze the device here.
    ///
    /// # Errors
    /// [`CommandError::Fault`] when the word cannot be written.
    pub(crate) fn thaw_forked_by(
        &mut self,
        phrase: &RecoveryPhrase,
        device: &DeviceId,
        context: &mut Context<'_>,
    ) -> Result<bool, CommandError> {
        let own = context.account.user();
        let view = std::sync::Arc::clone(self.control.current());
        let known = view.device(device).is_some_and(|(user, _)| *user == own);
        let attached = view.device(&context.account.device()).is_some();
        let Some(forked) = view.forked.get(device).filter(|_| known && attached) else {
            return Ok(false);
        };
        let proofs: Vec<OperationId> = forked.proofs.iter().copied().collect();
        for proofs in proofs.chunks(sheaf_crypto::limits::PROOFS_THAWED_MAX) {
            let log = context.account.devices.encode();
            let thaw = ThawByRecovery::sign(phrase, &self.id, *device, proofs.to_vec(), log);
            self.write_operation(Body::ThawByRecovery(thaw), context)?;
        }
        // Who was frozen itself holds no newest secret: it asks for it.
        let view = self.control.current();
        if view.newest.iter().all(|epoch| self.epochs.holds(epoch)) {
            self.rekey(context)?;
        }
        self.run(context);
        self.ask_for_keys(context);
        Ok(true)
    }
}
