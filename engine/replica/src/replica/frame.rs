//! What the relay says.

use sheaf_protocol::{Changed, Delivery, Receipt, RequestId, ServerFrame, TopicId};

use super::Replica;
use crate::context::Context;
use crate::conversation::{Conversation, Records};
use crate::io::Event;
use crate::misbehaviour::{Act, Suspect};
use crate::topic::{BadDelivery, Batch, Owner};

impl Replica {
    pub(super) fn receive(&mut self, frame: ServerFrame) {
        match frame {
            // The link has read the hello already; another one means nothing.
            ServerFrame::Hello { .. } | ServerFrame::GoAway { .. } | ServerFrame::Pong { .. } => {}
            ServerFrame::Followed {
                request,
                digest,
                changed,
            } => self.followed(request, digest, &changed),
            ServerFrame::Subscribed {
                topic, restarted, ..
            } => {
                if self.topics.subscribed(&topic, restarted) {
                    self.report_relay(Act::StoreReplaced);
                }
            }
            ServerFrame::Records {
                topic,
                previous,
                records,
            } => {
                self.deliver(&topic, previous, records);
            }
            ServerFrame::CaughtUp { topic, .. } => {
                self.topics.caught_up(&topic, &mut self.stage);
                self.take_early(&topic);
                self.vault_caught_up(&topic);
            }
            ServerFrame::Receipt { request, receipt } => self.settle(request, &receipt),
            ServerFrame::Refused(refusal) => {
                self.outbox.refused(&refusal, self.now);
                self.stage.notify(Event::RelayRefused {
                    message: refusal.message,
                    retry_after_ms: refusal.retry_after_ms,
                });
                self.outbox
                    .pump(&mut self.topics, self.now, &mut self.stage);
            }
        }
    }

    fn followed(&mut self, request: RequestId, digest: [u8; 32], changed: &[Changed]) {
        match self
            .topics
            .followed(request, digest, changed, &mut self.stage)
        {
            Ok(followed) => {
                if followed.restarted {
                    self.report_relay(Act::StoreReplaced);
                }
                for topic in followed.unchanged {
                    self.topics.caught_up(&topic, &mut self.stage);
                    self.take_early(&topic);
                }
            }
            Err(()) => self.report_relay(Act::BadDelivery),
        }
    }

    fn report_relay(&mut self, act: Act) {
        if let Some(connection) = &self.topics.connection {
            let relay = connection.relay;
            self.stage.report(Suspect::Relay(relay), act, None);
        }
    }

    fn deliver(&mut self, topic: &TopicId, previous: u64, records: Vec<Delivery>) {
        match self
            .topics
            .deliver(topic, previous, records, &mut self.stage)
        {
            Ok(Some(batch)) => {
                self.take(batch);
                self.take_early(topic);
            }
            Ok(None) => {}
            Err(BadDelivery) => {
                self.report_relay(Act::BadDelivery);
                self.topics.repair(topic, self.now, &mut self.stage);
            }
        }
    }

    fn take_early(&mut self, topic: &TopicId) {
        while let Some(batch) = self.topics.early(topic) {
            self.take(batch);
        }
    }

    fn take(&mut self, batch: Batch) {
        match batch.owner {
            Owner::Epoch(conversation, epoch) => {
                let records = Records {
                    epoch,
                    topic: batch.topic,
                    records: batch.records.into(),
                    before: batch.before,
                    cursor: batch.cursor,
                    live: batch.live,
                };
                self.on_conversation(&conversation, |known, context| {
                    known.receive(records, context);
                });
                self.bound_documents();
            }
            Owner::Inbox => self.take_inbox(&batch),
            Owner::Rendezvous => self.take_rendezvous(&batch),
            Owner::Vault => self.take_vault(&batch),
        }
    }

    /// A receipt counts only if the pinned key signed it for this very record.
    fn settle(&mut self, request: RequestId, receipt: &Receipt) {
        let Some(connection) = &self.topics.connection else {
            return;
        };
        let relay = connection.relay;
        let Some((topic, hash)) = self.outbox.awaited(request) else {
            return self.link_receipt(request);
        };
        let right = receipt.topic == topic && receipt.record == hash;
        if !right || receipt.verify(&relay).is_err() {
            self.report_relay(Act::BadReceipt);
            return;
        }
        let Some(settled) = self.outbox.settle(request, &mut self.stage) else {
            return;
        };
        if let Some(conversation) = settled.conversation {
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
