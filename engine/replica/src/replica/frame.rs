//! What the relay says.

use sheaf_protocol::{
    Changed, Delivery, Receipt, RelayId, RequestId, ServerFrame, TopicId, hash_record,
};

use super::Replica;
use crate::context::Context;
use crate::conversation::{Conversation, Records};
use crate::io::Event;
use crate::misbehaviour::{Act, Suspect};
use crate::topic::{BadDelivery, Batch, Finding, Heard, Origin, Owner};

impl Replica {
    pub(super) fn receive(&mut self, relay: RelayId, frame: ServerFrame) {
        if !self.topics.is_connected_to(&relay) {
            return;
        }
        match frame {
            // The link has read the hello already; another one means nothing.
            ServerFrame::Hello { .. } | ServerFrame::GoAway { .. } | ServerFrame::Pong { .. } => {}
            ServerFrame::Followed {
                request,
                digest,
                changed,
            } => self.followed(relay, request, digest, &changed),
            ServerFrame::Subscribed {
                topic,
                head,
                restarted,
                ..
            } => {
                let answer = (head, restarted);
                let stage = &mut self.stage;
                if let Some(owner) = self.topics.subscribed(relay, &topic, answer, stage) {
                    self.rolled_back(relay, owner);
                }
            }
            ServerFrame::Records {
                topic,
                previous,
                records,
            } => {
                self.deliver(relay, &topic, previous, records);
            }
            ServerFrame::CaughtUp { topic, sequence } => {
                let stage = &mut self.stage;
                self.topics.caught_up(relay, &topic, sequence, stage);
                self.take_early(relay, &topic);
                self.vault_caught_up(&topic);
            }
            ServerFrame::Receipt { request, receipt } => self.settle(relay, request, &receipt),
            ServerFrame::Statement { request, statement } => {
                self.stated(relay, request, &statement);
            }
            ServerFrame::Refused(refusal) => {
                if self.refused_statement(relay, &refusal) {
                    return;
                }
                if let Some(request) = refusal.request {
                    let asked = (request, u64::from(refusal.retry_after_ms));
                    self.topics.refused(relay, asked, self.now, &mut self.stage);
                }
                self.outbox.refused(&relay, &refusal, self.now);
                self.stage.notify(Event::RelayRefused {
                    relay,
                    message: refusal.message,
                    retry_after_ms: refusal.retry_after_ms,
                });
                self.outbox
                    .pump(&mut self.topics, self.now, &mut self.stage);
            }
        }
    }

    fn report_relay(&mut self, relay: RelayId, act: Act) {
        self.stage.report(Suspect::Relay(relay), act, None);
    }

    fn deliver(&mut self, relay: RelayId, topic: &TopicId, previous: u64, records: Vec<Delivery>) {
        let stage = &mut self.stage;
        match self.topics.deliver(relay, topic, previous, records, stage) {
            Ok(Some(batch)) => {
                self.take(batch);
                self.take_early(relay, topic);
            }
            Ok(None) => {}
            Err(BadDelivery) => {
                self.report_relay(relay, Act::BadDelivery);
                self.topics.repair(relay, topic, self.now, &mut self.stage);
            }
        }
    }

    fn followed(
        &mut self,
        relay: RelayId,
        request: RequestId,
        digest: [u8; 32],
        changed: &[Changed],
    ) {
        let stage = &mut self.stage;
        match self.topics.followed(relay, request, digest, changed, stage) {
            Ok(answered) => {
                for owner in answered.rolled_back {
                    self.rolled_back(relay, owner);
                }
                for topic in answered.unchanged {
                    self.topics.spot_check(relay, &topic);
                    self.topics.caught_up(relay, &topic, 0, &mut self.stage);
                    self.take_early(relay, &topic);
                }
            }
            Err(()) => self.report_relay(relay, Act::BadDelivery),
        }
    }

    pub(super) fn take_early(&mut self, relay: RelayId, topic: &TopicId) {
        while let Some(batch) = self.topics.early(relay, topic, &mut self.stage) {
            self.take(batch);
        }
    }

    fn take(&mut self, mut batch: Batch) {
        let Origin { relay, topic, .. } = batch.origin;
        if let Some(gap) = batch.gap {
            self.left_out(relay, &topic, gap);
        }
        if batch.otherwise {
            let finding = Finding::OtherHistory(relay, topic);
            self.stage.find(Some(finding));
        }
        match batch.owner {
            Owner::Epoch(conversation, epoch) => {
                let records = Records {
                    epoch,
                    origin: batch.origin,
                    records: batch.records.into(),
                    before: batch.before,
                    cursor: batch.cursor,
                    live: batch.live,
                    alone: batch.alone,
                };
                self.on_conversation(&conversation, |known, context| {
                    known.receive(records, context);
                });
                self.bound_documents();
            }
            Owner::Inbox | Owner::Rendezvous | Owner::Vault => {
                let (topics, origin) = (&mut self.topics, batch.origin);
                batch.records.retain(|record| {
                    let hash = hash_record(record);
                    let heard = topics.heard(&origin, hash);
                    topics.note(&origin, hash);
                    heard == Heard::New
                });
                match batch.owner {
                    Owner::Inbox => self.take_inbox(&batch),
                    Owner::Vault => self.take_vault(&batch),
                    Owner::Rendezvous | Owner::Epoch(..) => self.take_rendezvous(&batch),
                }
            }
        }
    }

    /// A receipt counts only if the pinned key signed it for this very record.
    fn settle(&mut self, relay: RelayId, request: RequestId, receipt: &Receipt) {
        let Some((topic, hash)) = self.outbox.awaited(&relay, request) else {
            return self.link_receipt(relay, request);
        };
        let right = receipt.topic == topic && receipt.record == hash;
        if !right || receipt.verify(&relay).is_err() {
            self.report_relay(relay, Act::BadReceipt);
            return;
        }
        self.promised(relay, receipt);
        let Some(settled) = self.outbox.settle(request, &mut self.stage) else {
            return;
        };
        if let Some(place) = settled.place {
            self.on_conversation(&place.conversation, |known, context| {
                let at = (receipt.topic, receipt.cursor);
                known.confirmed(relay, (place, Some(at)), context);
            });
        }
        if let Some(conversation) = settled.conversation.filter(|_| settled.first) {
            self.stage.figures().item_sent();
            if !settled.messages.is_empty() {
                let messages = settled.messages;
                self.stage.notify(Event::MessagesSent {
                    conversation,
                    messages,
                });
            }
            self.on_conversation(
                &conversation,
                |known: &mut Conversation, c: &mut Context<'_>| {
                    known.run(c);
                },
            );
        }
        self.outbox
            .pump(&mut self.topics, self.now, &mut self.stage);
    }
}
