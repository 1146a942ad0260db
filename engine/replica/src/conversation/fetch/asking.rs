//! Whom a segment is asked of.

use sheaf_crypto::DeviceId;

use super::Conversation;
use crate::context::Context;
use crate::document::Segment;
use crate::limits;
use crate::record::Away;
use crate::time::Timestamp;

impl Conversation {
    /// A device answers: after a restart it is asked first.
    pub(in crate::conversation) fn note_heard(
        &mut self,
        device: DeviceId,
        at: Timestamp,
        context: &mut Context<'_>,
    ) {
        if let Some(run) = self.chains.heard(&device, at) {
            self.write_chain(device, run, context);
        }
    }

    /// The devices in the order in which they are asked: the one that gave something last comes first,
    /// else the one whose items came last. It is likely to be running.
    fn asked_in_order(&mut self, attempts: u32, context: &Context<'_>) -> Vec<DeviceId> {
        let mut devices = self.askable(context.account.device());
        if attempts > 0 && self.fetching.gave == self.fetching.first {
            // It does not answer any more.
            self.fetching.gave = None;
        }
        if attempts == 0 {
            let heard = self
                .last_seen()
                .filter(|(device, _)| devices.contains(device));
            let heard = heard
                .max_by_key(|(_, seen)| *seen)
                .map(|(device, _)| device);
            self.fetching.first = self.fetching.gave.or(heard);
        }
        let first = devices.iter().position(|d| Some(*d) == self.fetching.first);
        devices.rotate_left(first.unwrap_or(0));
        devices
    }

    /// Asks the next device for what a segment lacks, or again the one that gave something.
    pub(super) fn ask_for_segment(&mut self, context: &mut Context<'_>) {
        let attempts = self.fetching.attempts;
        let devices = self.asked_in_order(attempts, context);
        let rounds = usize::try_from(attempts).unwrap_or(usize::MAX) / devices.len().max(1);
        if rounds > 0 {
            self.give_up_commands(&devices, context);
        }
        if attempts >= limits::ASK_ATTEMPTS_MAX {
            // What was asked for by somebody is asked for again by somebody.
            let segment = self.fetching.current.take().map(|fetch| fetch.segment);
            let dropped = |s: &u32| {
                let gone = self.segments.gone(*s);
                gone.is_some_and(|gone| gone.why == Away::Dropped)
            };
            if let Some(segment) = segment.filter(dropped) {
                self.fetching.wanted.remove(&segment);
                self.fetching.attempts = 0;
            }
            self.fetching.due = None;
            return;
        }
        let place = usize::try_from(attempts).unwrap_or(0) % devices.len().max(1);
        let Some(fetch) = self.fetching.current.as_mut() else {
            return;
        };
        let giver = fetch.giver.take();
        // Only the one that gave something is known to have what is here.
        let message = match giver {
            Some(_) => fetch.document.continue_message(),
            None => Segment::genesis(&self.id.0, fetch.segment)
                .ok()
                .and_then(|empty| empty.continue_message()),
        };
        if giver.is_none() {
            self.fetching.attempts = attempts.saturating_add(1);
        }
        let Some(device) = giver.or_else(|| devices.get(place).copied()) else {
            self.fetching.due = None;
            return;
        };
        let segment = fetch.segment;
        let doubled = limits::FETCH_PATIENCE_MS << rounds.min(8);
        let due = context.now.after_ms(doubled);
        self.fetching.due = Some(due);
        context.agenda.at(due, self.id);
        let message = message.map(|message| (segment, message));
        match self.ask(device, message.into_iter().collect(), context) {
            Ok(number) => {
                if let Some(fetch) = self.fetching.current.as_mut() {
                    fetch.numbers.insert(number, device);
                }
            }
            Err(error) => tracing::warn!(%error, "a device is not asked for a segment"),
        }
    }
}
