//! Linking a device: the two sides of research/keys.md 2.2.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sheaf_crypto::{
    CapabilityKey, DeviceSecrets, Join, LinkError, Offer, OfferReady, Suite, fingerprint,
};
use sheaf_protocol::{Class, ClientFrame, RelayId, RequestId, TopicId};

use super::Replica;
use super::account::check_name;
use crate::account::{Account, addresses};
use crate::command::{CommandError, CommandId, Reply};
use crate::io::Event;
use crate::linking::{Handover, Joined, Joining, Linking};
use crate::topic::{Batch, Capability, Owner};
use crate::user::Devices;

/// Messages of the present step: sent again on a new connection, where the relay knows them by
/// their hash, and waited for by the approval.
#[derive(Default)]
pub(crate) struct LinkSent {
    pub(crate) topic: Option<TopicId>,
    pub(crate) messages: Vec<Vec<u8>>,
    /// By relay: messages that it has not confirmed.
    pub(crate) unreceipted: BTreeMap<RelayId, BTreeSet<RequestId>>,
    /// The approval that is answered when the relay holds everything, and its answer.
    /// The relay that the code names, where it is connected: the new device reads there.
    pub(crate) at: Option<RelayId>,
    pub(crate) approval: Option<(CommandId, Reply)>,
}

impl Replica {
    fn meet(&mut self, key: CapabilityKey, linking: Linking) {
        let topic = key.topic();
        self.linking = Some((topic, linking));
        self.link_sent = LinkSent {
            topic: Some(topic),
            ..LinkSent::default()
        };
        let capability = Capability::Key(Arc::new(key));
        self.topics.follow(
            topic,
            Owner::Rendezvous,
            capability,
            BTreeSet::new(),
            &mut self.stage,
        );
    }

    pub(super) fn start_link(&mut self) -> Result<Reply, CommandError> {
        let account = self.account.as_ref().ok_or(CommandError::NoAccount)?;
        if account.devices.is_full() {
            return Err(CommandError::TooManyDevices);
        }
        if !self.topics.is_connected() {
            return Err(CommandError::RelayUnreachable);
        }
        // A code has room for one relay: one that answers.
        let relays = addresses(account.relay.as_deref().unwrap_or_default());
        let mut connected = relays.iter();
        let connected = connected.find(|known| self.topics.is_connected_to(&known.relay));
        let relay = connected.or(relays.first()).cloned();
        self.end_link();
        let offer = Offer::new(&mut *self.rng, self.now.0, relay.as_ref()).map_err(failed)?;
        let code = offer.code();
        self.meet(offer.capability(), Linking::ExpectRequest(offer));
        let read_at = relay.map(|relay| relay.relay);
        self.link_sent.at = read_at.filter(|relay| self.topics.is_connected_to(relay));
        Ok(Reply::LinkStarted { code })
    }

    pub(super) fn start_join(&mut self, code: &str, name: String) -> Result<Reply, CommandError> {
        if self.account.is_some() {
            return Err(CommandError::AccountExists);
        }
        check_name("the device's name", &name)?;
        self.end_link();
        let secrets = DeviceSecrets::generate(&mut *self.rng, Suite::default());
        let (join, request) =
            Join::start(&mut *self.rng, code, self.now.0, &secrets, &name).map_err(failed)?;
        let key = join.capability();
        let joining = Joining {
            join,
            secrets,
            name,
        };
        self.meet(key, Linking::ExpectReply(Box::new(joining)));
        self.say(vec![request]);
        Ok(Reply::Done)
    }

    pub(super) fn cancel_link(&mut self) -> Result<Reply, CommandError> {
        if self.linking.is_some() {
            self.end_link();
            self.stage.notify(Event::LinkFailed {
                reason: "cancelled here".to_owned(),
            });
        }
        Ok(Reply::Done)
    }

    fn end_link(&mut self) {
        self.linking = None;
        if let Some(topic) = self.link_sent.topic.take() {
            self.topics.forget(&topic, &mut self.stage);
        }
        self.link_sent = LinkSent::default();
    }

    fn fail_link(&mut self, error: &LinkError) {
        self.end_link();
        self.stage.notify(Event::LinkFailed {
            reason: error.to_string(),
        });
    }

    /// Puts messages on the rendezvous topic, now or at the next connection.
    fn say(&mut self, messages: Vec<Vec<u8>>) {
        self.link_sent.messages = messages;
        self.link_sent.unreceipted.clear();
        let relays: Vec<RelayId> = self.topics.connected().collect();
        for relay in relays {
            self.resume_linking(relay);
        }
    }

    pub(super) fn resume_linking(&mut self, relay: RelayId) {
        let Some(topic) = self.link_sent.topic else {
            return;
        };
        let Some(capability) = self.topics.capability(&topic) else {
            return;
        };
        self.topics
            .prove(relay, topic, &capability, &mut self.stage);
        let mut unreceipted = BTreeSet::new();
        for record in self.link_sent.messages.clone() {
            let request = self.topics.request();
            unreceipted.insert(request);
            let class = Class::Inbox;
            let frame = ClientFrame::Append {
                request,
                topic,
                class,
                record,
            };
            self.stage.transmit(relay, frame);
        }
        self.link_sent.unreceipted.insert(relay, unreceipted);
    }

    pub(super) fn linking_down(&mut self, relay: &RelayId) {
        self.link_sent.unreceipted.remove(relay);
    }

    /// A receipt for a rendezvous message: the approval is answered when one relay has all of them.
    pub(super) fn link_receipt(&mut self, relay: RelayId, request: RequestId) {
        if let Some(unreceipted) = self.link_sent.unreceipted.get_mut(&relay)
            && unreceipted.remove(&request)
            && unreceipted.is_empty()
            && self.link_sent.at.is_none_or(|at| at == relay)
            && let Some((command, reply)) = self.link_sent.approval.take()
        {
            self.stage.complete(command, Ok(reply));
            self.end_link();
        }
    }

    pub(super) fn take_rendezvous(&mut self, batch: &Batch) {
        for message in &batch.records {
            let Some((topic, linking)) = self.linking.take() else {
                return;
            };
            if topic != batch.origin.topic || !linking.expects(message) {
                self.linking = Some((topic, linking));
                continue;
            }
            match self.step(linking, message) {
                Ok(next) => self.linking = next.map(|next| (topic, next)),
                Err(error) => return self.fail_link(&error),
            }
        }
    }

    fn step(&mut self, linking: Linking, message: &[u8]) -> Result<Option<Linking>, LinkError> {
        match linking {
            Linking::ExpectRequest(offer) => {
                let account = self.account.as_ref().ok_or(LinkError::Invalid)?;
                let own = account
                    .devices
                    .device(&account.device())
                    .ok_or(LinkError::Invalid)?;
                let (waiting, reply) = offer.receive_request(
                    message,
                    self.now.0,
                    &mut *self.rng,
                    account.user(),
                    &own.certificate,
                )?;
                self.say(vec![reply]);
                Ok(Some(Linking::ExpectReveal(waiting)))
            }
            Linking::ExpectReveal(waiting) => {
                let ready = waiting.receive_reveal(message)?;
                let name = ready.certificate().label.clone();
                self.stage.notify(Event::LinkRequested { name });
                Ok(Some(Linking::ExpectDigits(Box::new(ready))))
            }
            Linking::ExpectDigits(ready) => Ok(Some(Linking::ExpectDigits(ready))),
            Linking::ExpectReply(joining) => {
                let Joining {
                    join,
                    secrets,
                    name,
                } = *joining;
                let relay = join.relay();
                let (shown, reveal) = join.receive_reply(message, &secrets)?;
                self.stage.notify(Event::LinkDigits {
                    digits: shown.digits.clone(),
                    fingerprint: fingerprint(&shown.user),
                });
                self.say(vec![reveal]);
                let joined = Joined {
                    shown,
                    secrets,
                    name,
                    relay,
                    messages: Vec::new(),
                };
                Ok(Some(Linking::ExpectAccount(Box::new(joined))))
            }
            Linking::ExpectAccount(mut joined) => {
                joined.messages.push(message.to_vec());
                match joined.shown.open_account(&joined.messages) {
                    Err(LinkError::Parts) if joined.messages.len() < 512 => {
                        Ok(Some(Linking::ExpectAccount(joined)))
                    }
                    Err(error) => Err(error),
                    Ok(body) => self.receive_account(*joined, &body).map(|()| None),
                }
            }
        }
    }

    /// New device: the account is here. It counts only if it vouches for this very device.
    fn receive_account(&mut self, joined: Joined, body: &[u8]) -> Result<(), LinkError> {
        let (handover, conversations) = Handover::decode(body).ok_or(LinkError::Invalid)?;
        let devices = Devices::verify(&handover.log).map_err(|_| LinkError::Invalid)?;
        let known = devices.device(&joined.secrets.device());
        let vouched = known.is_some_and(|device| device.certificate == joined.shown.certificate);
        if devices.user != joined.shown.user || !vouched {
            return Err(LinkError::Invalid);
        }
        let account = Account {
            secrets: joined.secrets,
            name: handover.name,
            device_name: joined.name,
            devices,
            relay: handover.relay,
        };
        self.stage.write(account.write());
        let (user, device) = (account.user(), account.device());
        self.account = Some(account);
        self.follow_relays();
        for (card, alias) in handover.contacts {
            if let Err(error) = self.learn_card(&card, alias) {
                tracing::warn!(%error, "contact not taken over");
            }
        }
        self.end_link();
        self.follow_inbox();
        self.begin_progress(conversations);
        self.stage.notify(Event::LinkCompleted { user, device });
        Ok(())
    }

    /// Existing device: the person typed the digits. One try.
    pub(super) fn approve_link(&mut self, command: CommandId, digits: &str) {
        let ready = match self.linking.take() {
            Some((_, Linking::ExpectDigits(ready))) => ready,
            other => {
                self.linking = other;
                let error = CommandError::Link("no device waits for approval".to_owned());
                return self.stage.complete(command, Err(error));
            }
        };
        if let Err(error) = self.approve(command, *ready, digits) {
            self.end_link();
            self.stage.complete(command, Err(error));
        }
    }

    fn approve(
        &mut self,
        command: CommandId,
        ready: OfferReady,
        digits: &str,
    ) -> Result<(), CommandError> {
        let approved = ready.approve(digits).map_err(failed)?;
        let contacts = self.cards_of_contacts();
        let own = self.account.as_ref().map(Account::device);
        let known = self.conversations.values();
        let conversations = known.filter(|known| own.is_some_and(|own| known.has_live(&own)));
        let conversations = conversations.count();
        let account = self.account.as_mut().ok_or(CommandError::NoAccount)?;
        let (certificate, possession) = approved.device();
        let device = certificate.device;
        account
            .devices
            .add_device(&account.secrets, certificate, possession)
            .map_err(|error| CommandError::Link(error.to_string()))?;
        let handover = Handover {
            name: account.name.clone(),
            log: account.devices.log().clone(),
            relay: account.relay.clone(),
            contacts,
        };
        let body = handover
            .encode(u64::try_from(conversations).unwrap_or(u64::MAX))
            .map_err(|error| CommandError::Fault(error.to_string()))?;
        let messages = approved.seal_account(&body).map_err(failed)?;
        self.link_sent.approval = Some((command, Reply::LinkApproved { device }));
        self.say(messages);
        self.account_grew();
        self.tell_own_devices();
        self.tell_vault();
        Ok(())
    }
}

fn failed(error: LinkError) -> CommandError {
    CommandError::Link(error.to_string())
}
