//! The task that owns the replica and does what it asks for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sheaf_protocol::{RelayAddress, RelayId, ServerFrame};
use sheaf_replica::record::{Kind, decode_token};
use sheaf_replica::{
    Command, CommandError, CommandId, Event, Input, MessageId, Output, Replica, Reply, Timestamp,
};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::activity::{Activity, Life, LinkStatus};
use crate::engine::Reading;
use crate::link::{LinkError, LinkEvent, Sockets, Target, Transport};
use crate::links::{Links, Standing, Told};
use crate::store::{Store, Writer, Written, full};

/// Where the answer to a command goes.
type Answer = oneshot::Sender<Result<Reply, CommandError>>;

/// Longest time without an input. What is due after days needs no alarm of its own.
const UPKEEP: Duration = Duration::from_secs(3_600);

/// Asked of the replica by a handle.
pub(crate) enum Request {
    /// Something to do.
    Command(Command, Answer),
    /// Something to look at.
    Query(Box<dyn FnOnce(&Replica) + Send>),
    /// Try to connect at once.
    Connect,
    /// The network is another one.
    Network,
    /// What the app is doing.
    Activity(Activity),
    /// Use these relays.
    Relays(Vec<RelayAddress>),
    /// How the links stand.
    Links(oneshot::Sender<Vec<Standing>>),
    /// Stop in order.
    Close(oneshot::Sender<Result<(), String>>),
}

/// How the connection stands.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum LinkState {
    /// There is none, and none is tried.
    #[default]
    Offline,
    /// One is being built.
    Connecting,
    /// The relay said hello; topics are being read.
    Synchronizing,
    /// Every topic was read to its end.
    Active,
    /// It broke or did not come about; it is tried again.
    Disconnected(LinkError),
}

/// What a waiting caller looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Unsettled {
    pub(crate) connected: bool,
    pub(crate) caught_up: bool,
    pub(crate) pending: u64,
    /// Of these, what this device may not send now.
    pub(crate) barred: u64,
    pub(crate) parked: u64,
    pub(crate) unwritten: bool,
    /// The store could not be written or read.
    pub(crate) failed: bool,
}

/// Everything that the driver owns.
pub(crate) struct Driver {
    pub(crate) replica: Replica,
    pub(crate) store: Store,
    /// What handles read through; emptied at the end.
    pub(crate) reading: Reading,
    pub(crate) writer: Option<Writer>,
    /// Relays to connect to.
    pub(crate) relays: Vec<RelayAddress>,
    pub(crate) token: Option<String>,
    pub(crate) sockets: Option<Arc<dyn Sockets>>,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) written: mpsc::UnboundedReceiver<Written>,
    pub(crate) link: mpsc::Receiver<Told>,
    pub(crate) links: Links,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) state: watch::Sender<LinkState>,
    pub(crate) unsettled: watch::Sender<Unsettled>,
    pub(crate) status: watch::Sender<LinkStatus>,
    pub(crate) life: Life,
    pub(crate) own: Own,
}

/// What the driver remembers by itself.
#[derive(Default)]
pub(crate) struct Own {
    commands: u64,
    waiting: BTreeMap<CommandId, Answer>,
    /// Tokens of sends that are under way.
    tokens: BTreeMap<CommandId, (Vec<u8>, Vec<Answer>)>,
    alarm: Option<Timestamp>,
    closing: Option<(CommandId, oneshot::Sender<Result<(), String>>)>,
    finished: bool,
    /// Why the last write failed.
    failed: Option<String>,
    /// The app knows that the store failed.
    told: bool,
}

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl Driver {
    /// Runs until it is closed or every handle is gone.
    pub(crate) async fn run(mut self) {
        self.life.used(now());
        self.drain();
        loop {
            let delay = |at: Timestamp| Duration::from_millis(at.since_ms(now()));
            let doze = self.life.idle_at().map(delay);
            let alarm = self.own.alarm.map_or(UPKEEP, delay).min(UPKEEP);
            tokio::select! {
                biased;
                Some((batch, result)) = self.written.recv() => {
                    let input = match result {
                        Ok(()) => Input::Persisted(batch),
                        Err(reason) => {
                            self.own.failed = Some(reason.clone());
                            Input::PersistFailed(batch, reason)
                        }
                    };
                    self.input(input);
                }
                request = self.requests.recv() => match request {
                    Some(request) => self.request(request),
                    None => break,
                },
                Some((relay, event)) = self.link.recv() => self.link_event(relay, event),
                () = tokio::time::sleep(alarm) => {
                    self.own.alarm = None;
                    self.input(Input::Elapsed);
                }
                () = sleep(doze), if doze.is_some() => self.life.doze(),
            }
            self.drain();
            self.show_failure();
            self.show_life();
            if self.own.closing.is_none() && self.own.closed() {
                break;
            }
        }
        self.end();
    }

    fn input(&mut self, input: Input) {
        self.replica.handle(now(), input);
    }

    fn request(&mut self, request: Request) {
        match request {
            Request::Command(command, answer) => {
                self.life.used(now());
                self.command(command, answer);
            }
            Request::Query(look) => look(&self.replica),
            Request::Connect => self.links.urge(),
            Request::Network => self.links.network_changed(),
            Request::Activity(activity) => {
                let before = self.life.scope();
                self.life.set_activity(activity, now());
                let scope = self.life.scope();
                if scope != before {
                    self.life.reading_anew();
                    self.input(Input::Reading(scope));
                }
            }
            Request::Relays(relays) => self.relays = relays,
            Request::Links(answer) => {
                if answer.send(self.links.all()).is_err() {
                    tracing::trace!("nobody waits for the links");
                }
            }
            Request::Close(answer) => {
                let id = self.own.number();
                self.life.close();
                self.own.closing = Some((id, answer));
                self.input(Input::Command(id, Command::Close));
            }
        }
    }

    fn command(&mut self, command: Command, answer: Answer) {
        let id = self.own.number();
        if let Command::Send {
            conversation,
            token: Some(token),
            ..
        } = &command
        {
            let scope = [conversation.0.as_slice(), token.as_bytes()].concat();
            let same = self
                .own
                .tokens
                .values_mut()
                .find(|(known, _)| *known == scope);
            if let Some((_, waiting)) = same {
                return waiting.push(answer);
            }
            match self.sent_with(&scope) {
                Ok(Some(message)) => return reply(answer, Ok(Reply::Sent(vec![message]))),
                Ok(None) => {}
                Err(reason) => return reply(answer, Err(CommandError::Damaged(reason))),
            }
            self.own.tokens.insert(id, (scope, Vec::new()));
        }
        self.own.waiting.insert(id, answer);
        self.input(Input::Command(id, command));
    }

    fn sent_with(&self, scope: &[u8]) -> Result<Option<MessageId>, String> {
        let row = self
            .store
            .point(Kind::Token, scope)
            .map_err(|error| error.to_string())?;
        let Some(row) = row else { return Ok(None) };
        let (message, _) = decode_token(&row.value).map_err(|error| error.to_string())?;
        Ok(Some(message))
    }

    fn link_event(&mut self, relay: RelayId, event: LinkEvent) {
        if !self.links.knows(&relay) {
            return;
        }
        // While one relay is there, that another one is not changes nothing for the app.
        if matches!(event, LinkEvent::Up { .. }) || !self.links.is_up_beside(&relay) {
            self.life.link(&event, now());
            self.show_life();
        }
        match event {
            LinkEvent::Authenticating(_) => {}
            LinkEvent::Connecting => self.links.set_state(&relay, LinkState::Connecting),
            LinkEvent::Up {
                connection,
                relay,
                exporter,
                log,
                frames,
                transport,
            } => {
                self.links.up(&relay, connection, frames, transport);
                self.input(Input::LinkUp {
                    relay,
                    exporter,
                    log,
                });
            }
            LinkEvent::Frame(connection, frame) => {
                if self.links.is_current(&relay, connection) {
                    if let ServerFrame::Refused(refusal) = &frame {
                        self.life.refused(refusal, now());
                    }
                    self.input(Input::Received(relay, frame));
                }
            }
            LinkEvent::Down { error, .. } => {
                self.links.set_state(&relay, LinkState::Disconnected(error));
                self.input(Input::LinkDown(relay));
            }
        }
    }

    /// Does everything that the replica asks for.
    fn drain(&mut self) {
        while let Some(output) = self.replica.poll_output() {
            match output {
                Output::Persist(batch, writes) => {
                    let taken = self.writer.as_ref().is_some_and(|w| w.write(batch, writes));
                    if !taken {
                        let reason = self.why_closed();
                        self.input(Input::PersistFailed(batch, reason));
                    }
                }
                Output::Load(load, ranges) => {
                    let mut rows = Vec::new();
                    let mut damaged = None;
                    for range in &ranges {
                        match self.store.range(range) {
                            Ok(found) => rows.extend(found),
                            Err(error) => damaged = Some(error),
                        }
                    }
                    match damaged {
                        None => self.input(Input::Loaded(load, rows)),
                        Some(error) => self.input(Input::LoadFailed(load, error.to_string())),
                    }
                }
                Output::Transmit(relay, frame) => self.links.transmit(&relay, frame),
                Output::Notify(event) => self.notify(event),
                Output::Complete(id, result) => self.complete(id, result),
                Output::Wait(at) => {
                    self.own.alarm = Some(self.own.alarm.map_or(at, |known| known.min(at)));
                }
                _ => {}
            }
        }
        self.follow_targets();
        let settled = self.replica.settled();
        let state = self.links.state(settled.caught_up);
        self.state.send_if_modified(|known| {
            let same = std::mem::discriminant(known) == std::mem::discriminant(&state);
            let changed = !same || matches!(state, LinkState::Disconnected(_));
            *known = state;
            changed
        });
        let unsettled = Unsettled {
            connected: settled.connected,
            caught_up: settled.caught_up,
            pending: settled.pending,
            barred: settled.barred,
            parked: settled.parked,
            unwritten: settled.unwritten,
            failed: self.replica.failed().is_some(),
        };
        self.unsettled.send_if_modified(|known| {
            let changed = *known != unsettled;
            *known = unsettled;
            changed
        });
    }

    /// Says once that the store failed, and ends the connections: what came could not be kept.
    fn show_failure(&mut self) {
        let Some(reason) = self.replica.failed().filter(|_| !self.own.told) else {
            return;
        };
        let reason = reason.to_owned();
        let full = reason == full();
        tracing::warn!(%reason, "the store failed");
        self.own.told = true;
        self.notify(Event::StoreFailed { reason, full });
        self.follow_targets();
    }

    /// Why the writing thread takes no more: what it said about the batch that it failed at, which
    /// may not have been heard yet.
    fn why_closed(&mut self) -> String {
        while let Ok((batch, result)) = self.written.try_recv() {
            match result {
                Ok(()) => self.input(Input::Persisted(batch)),
                Err(reason) => self.own.failed = Some(reason),
            }
        }
        let known = self.own.failed.clone();
        known.unwrap_or_else(|| "the store is closed".to_owned())
    }

    fn notify(&mut self, event: Event) {
        if matches!(event, Event::CaughtUp) {
            self.life.caught_up();
        }
        // Nobody listens: nothing is lost, views have everything.
        if self.events.send(event).is_err() {
            tracing::trace!("event without a listener");
        }
    }

    /// Tells the link what the app is doing, and the app how the connection stands.
    fn show_life(&mut self) {
        self.links.set_activity(self.life.activity());
        let state = self.life.state();
        let mut status = self.life.status.clone();
        status.state = state;
        let (before, transport) = {
            let known = self.status.borrow();
            (known.state, known.transport)
        };
        let moved = before != state || transport != status.transport;
        let transport = status.transport.map(Transport::name);
        self.status.send_replace(status);
        if moved {
            self.notify(Event::LifeCycleChanged { state, transport });
        }
    }

    fn complete(&mut self, id: CommandId, result: Result<Reply, CommandError>) {
        if let Some((_, others)) = self.own.tokens.remove(&id) {
            for other in others {
                reply(other, result.clone());
            }
        }
        if let Some(answer) = self.own.waiting.remove(&id) {
            reply(answer, result);
        } else if self
            .own
            .closing
            .as_ref()
            .is_some_and(|(closing, _)| *closing == id)
            && let Some((_, answer)) = self.own.closing.take()
        {
            self.own.finished = true;
            if let Some(writer) = self.writer.take() {
                writer.stop();
            }
            let closed = result.map(|_| ()).map_err(|error| error.to_string());
            if answer.send(closed).is_err() {
                tracing::trace!("nobody waits for the close");
            }
        }
    }

    /// Connects to the configured relays, and to the one of a link code while that is followed.
    fn follow_targets(&mut self) {
        let wanted = self.replica.link_wanted();
        let mut targets: Vec<Target> = Vec::new();
        let all = wanted.iter().chain(&self.relays);
        for address in all.filter(|_| !self.own.told) {
            let known = targets.iter().any(|t| t.address.relay == address.relay);
            if let Some(seed) = self.replica.relay_identity_seed(&address.relay)
                && !known
            {
                targets.push(Target {
                    address: address.clone(),
                    seed,
                    token: self.token.clone(),
                    sockets: self.sockets.clone(),
                });
            }
        }
        let gone = self.links.follow(targets);
        if gone.is_empty() {
            return;
        }
        for relay in gone {
            self.input(Input::LinkDown(relay));
        }
        self.drain();
    }

    fn end(self) {
        if let Ok(mut reading) = self.reading.write() {
            *reading = None;
        }
        if let Some(writer) = self.writer {
            writer.stop();
        }
    }
}

impl Own {
    fn number(&mut self) -> CommandId {
        self.commands = self.commands.saturating_add(1);
        CommandId(self.commands)
    }

    fn closed(&self) -> bool {
        self.finished
    }
}

fn reply(answer: Answer, result: Result<Reply, CommandError>) {
    if answer.send(result).is_err() {
        tracing::trace!("nobody waits for the answer");
    }
}

async fn sleep(delay: Option<Duration>) {
    if let Some(delay) = delay {
        tokio::time::sleep(delay).await;
    }
}
