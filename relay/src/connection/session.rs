//! What a device may do on its connection, and what it asks for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use sheaf_protocol::limits::{APPENDS_IN_FLIGHT_MAX, FOLLOWED_MAX, TOPICS_PER_CONNECTION_MAX};
use sheaf_protocol::{
    AccessProof, Class, ClientFrame, Cursor, ErrorCode, Followed, Refusal, RelayId, RequestId,
    ServerFrame, TopicId, hash_record, topic_of_capability,
};
use tokio::sync::{Semaphore, mpsc};

use super::{End, Shared};
use crate::hub::{Generation, Outbox};
use crate::misbehaviour::{CloseCode, Misbehaviour};
use crate::rate::RetryAfterMs;
use crate::store::NewRecord;
use crate::tls::DeviceKey;
use crate::writer::{
    Answer, AppendCommand, Change, Command, Deletion, FollowCommand, ReplyTo, SubscribeCommand,
    WitnessCommand,
};

/// Misbehaviours after which a connection is closed.
const STRIKES_MAX: u32 = 16;
/// Refusals for going too fast, with nothing taken between, after which it is a flood.
const IGNORED_REFUSALS_MAX: u32 = 4_096;
/// Bounds of the delay before connecting again, spread so that not everybody comes at once.
const RECONNECT_MS_MIN: u32 = 500;
const RECONNECT_MS_SPREAD: u32 = 4_500;

/// What a connection may do with one topic.
#[derive(Debug, Clone, Copy, Default)]
struct Proved {
    subscribed: bool,
    /// Whether the topic is known to exist, or its beginning was paid for.
    begun: bool,
}

/// The reader's side of a connection.
pub(super) struct Session {
    shared: Arc<Shared>,
    device: DeviceKey,
    exporter: [u8; 32],
    outbox: Arc<Outbox>,
    frames: mpsc::Sender<ServerFrame>,
    answers: mpsc::Sender<Answer>,
    in_flight: Arc<Semaphore>,
    topics: HashMap<TopicId, Proved>,
    generation: u64,
    strikes: u32,
    ignored_refusals: u32,
}

/// A refusal that is not the store's.
struct Refused {
    request: Option<RequestId>,
    topic: Option<TopicId>,
    code: ErrorCode,
    retry_after_ms: u32,
    message: &'static str,
}

impl Session {
    pub(super) fn new(
        shared: Arc<Shared>,
        device: DeviceKey,
        exporter: [u8; 32],
        outbox: Arc<Outbox>,
        frames: mpsc::Sender<ServerFrame>,
        answers: mpsc::Sender<Answer>,
    ) -> Self {
        Self {
            shared,
            device,
            exporter,
            outbox,
            frames,
            answers,
            in_flight: Arc::new(Semaphore::new(APPENDS_IN_FLIGHT_MAX)),
            topics: HashMap::new(),
            generation: 0,
            strikes: 0,
            ignored_refusals: 0,
        }
    }

    /// Does what a frame asks for.
    pub(super) async fn handle(&mut self, frame: ClientFrame) -> Result<(), End> {
        match frame {
            ClientFrame::Hello { .. } => self.blamed(Misbehaviour::HelloRepeated).await,
            ClientFrame::Prove(proof) => self.prove(&proof).await,
            ClientFrame::Subscribe {
                request,
                topic,
                after,
            } => self.subscribe(request, topic, after).await,
            ClientFrame::Unsubscribe { topic } => self.unsubscribe(topic).await,
            ClientFrame::Append {
                request,
                topic,
                class: Class::Ephemeral,
                record,
            } => self.ephemeral(request, topic, record).await,
            ClientFrame::Append {
                request,
                topic,
                class,
                record,
            } => self.append(request, topic, class, record).await,
            ClientFrame::Trim { topic, upto } => self.trim(topic, upto).await,
            ClientFrame::Release { topic, upto } => self.release(topic, upto).await,
            ClientFrame::Ping { token } => self.ping(token).await,
            ClientFrame::Follow { request, topics } => self.follow(request, topics).await,
            ClientFrame::Witness {
                request,
                topic,
                sequence,
            } => self.witness(request, topic, sequence).await,
        }
    }

    /// Counts a misbehaviour, says so, and ends the connection when there were too many or what
    /// follows cannot be read.
    pub(super) async fn blamed(&mut self, kind: Misbehaviour) -> Result<(), End> {
        self.blame(kind, None, None).await
    }

    async fn blame(
        &mut self,
        kind: Misbehaviour,
        request: Option<RequestId>,
        topic: Option<TopicId>,
    ) -> Result<(), End> {
        self.shared.blame(kind);
        self.strikes += 1;
        let (code, message) = match kind {
            Misbehaviour::FrameTooLarge
            | Misbehaviour::FrameTruncated
            | Misbehaviour::Flood
            | Misbehaviour::Stalled => return Err(End::Close(CloseCode::Misbehaved)),
            Misbehaviour::FrameVersion => (ErrorCode::Version, "unknown frame version"),
            Misbehaviour::FrameMalformed => (ErrorCode::BadFrame, "the frame does not decode"),
            Misbehaviour::NoHello | Misbehaviour::HelloRepeated => {
                (ErrorCode::BadFrame, "the frame does not fit its place")
            }
            Misbehaviour::ProofWrong => (ErrorCode::NoAccess, "the proof is wrong"),
            Misbehaviour::NotProved => (ErrorCode::NoAccess, "the topic was not proved"),
            Misbehaviour::TopicsTooMany => (ErrorCode::Full, "too many topics on a connection"),
            Misbehaviour::RecordTooLarge => (ErrorCode::RecordTooLarge, "the record is too large"),
        };
        if self.strikes >= STRIKES_MAX {
            return Err(End::Close(CloseCode::Misbehaved));
        }
        self.refuse(Refused {
            request,
            topic,
            code,
            retry_after_ms: 0,
            message,
        })
        .await
    }

    async fn refuse(&self, refused: Refused) -> Result<(), End> {
        self.shared.metrics.refusal(refused.code);
        let frame = ServerFrame::Refused(Refusal {
            request: refused.request,
            topic: refused.topic,
            code: refused.code,
            retry_after_ms: refused.retry_after_ms,
            message: refused.message.to_owned(),
        });
        self.frames.send(frame).await.map_err(|_| End::Gone)
    }

    async fn too_fast(
        &mut self,
        request: Option<RequestId>,
        topic: TopicId,
        retry_after_ms: RetryAfterMs,
        message: &'static str,
    ) -> Result<(), End> {
        self.ignored_refusals += 1;
        if self.ignored_refusals > IGNORED_REFUSALS_MAX {
            return self.blamed(Misbehaviour::Flood).await;
        }
        self.refuse(Refused {
            request,
            topic: Some(topic),
            code: ErrorCode::RateLimited,
            retry_after_ms,
            message,
        })
        .await
    }

    async fn prove(&mut self, proof: &AccessProof) -> Result<(), End> {
        if self.topics.contains_key(&proof.topic) {
            return Ok(());
        }
        if self.topics.len() >= TOPICS_PER_CONNECTION_MAX {
            let kind = Misbehaviour::TopicsTooMany;
            return self.blame(kind, None, Some(proof.topic)).await;
        }
        if proof.verify(&self.shared.key.id(), &self.exporter).is_err() {
            let kind = Misbehaviour::ProofWrong;
            return self.blame(kind, None, Some(proof.topic)).await;
        }
        self.topics.insert(proof.topic, Proved::default());
        Ok(())
    }

    async fn subscribe(
        &mut self,
        request: RequestId,
        topic: TopicId,
        after: Option<Cursor>,
    ) -> Result<(), End> {
        let Some(proved) = self.topics.get_mut(&topic) else {
            let kind = Misbehaviour::NotProved;
            return self.blame(kind, Some(request), Some(topic)).await;
        };
        // The first subscription of each topic is free; going over it again is paid like an append.
        let again = std::mem::replace(&mut proved.subscribed, true);
        if again && let Err(wait) = self.shared.rates.append(&self.device, 1) {
            let message = "too many requests";
            return self.too_fast(Some(request), topic, wait, message).await;
        }
        self.generation += 1;
        let command = SubscribeCommand {
            topic,
            after,
            generation: Generation(self.generation),
            outbox: Arc::clone(&self.outbox),
            reply: self.reply(request).await?,
        };
        self.send(Command::Change(Change::Subscribe(command))).await
    }

    /// Answers at once; pings in a hurry are paid like appends, and those over the rate get nothing.
    async fn ping(&mut self, token: u64) -> Result<(), End> {
        if self.shared.rates.append(&self.device, 1).is_err() {
            return Ok(());
        }
        let pong = ServerFrame::Pong { token };
        self.frames.send(pong).await.map_err(|_| End::Gone)
    }

    /// All proofs must be right, or nothing of the request is done.
    async fn follow(&mut self, request: RequestId, topics: Vec<Followed>) -> Result<(), End> {
        let room = TOPICS_PER_CONNECTION_MAX.saturating_sub(self.topics.len());
        if topics.len() > FOLLOWED_MAX.min(room) {
            let kind = Misbehaviour::TopicsTooMany;
            return self.blame(kind, Some(request), None).await;
        }
        let (relay, exporter) = (self.shared.key.id(), self.exporter);
        // A thousand signatures take tens of milliseconds: not on a thread that others wait for.
        let checked = tokio::task::spawn_blocking(move || check_all(topics, relay, &exporter));
        let Ok(Some(proved)) = checked.await else {
            let kind = Misbehaviour::ProofWrong;
            return self.blame(kind, Some(request), None).await;
        };
        let mut topics = Vec::with_capacity(proved.len());
        for (topic, after) in proved {
            let known = self.topics.entry(topic).or_default();
            let again = std::mem::replace(&mut known.subscribed, true);
            if again && let Err(wait) = self.shared.rates.append(&self.device, 1) {
                let message = "too many requests";
                return self.too_fast(Some(request), topic, wait, message).await;
            }
            self.generation += 1;
            topics.push((topic, after, Generation(self.generation)));
        }
        let command = FollowCommand {
            topics,
            outbox: Arc::clone(&self.outbox),
            reply: self.reply(request).await?,
        };
        self.send(Command::Change(Change::Follow(command))).await
    }

    /// A signature is paid for like an append.
    async fn witness(
        &mut self,
        request: RequestId,
        topic: TopicId,
        sequence: Option<u64>,
    ) -> Result<(), End> {
        if !self.topics.contains_key(&topic) {
            let kind = Misbehaviour::NotProved;
            return self.blame(kind, Some(request), Some(topic)).await;
        }
        if let Err(wait) = self.shared.rates.append(&self.device, 1) {
            let message = "too many requests";
            return self.too_fast(Some(request), topic, wait, message).await;
        }
        let command = WitnessCommand {
            topic,
            sequence,
            reply: self.reply(request).await?,
        };
        self.send(Command::Change(Change::Witness(command))).await
    }

    async fn unsubscribe(&mut self, topic: TopicId) -> Result<(), End> {
        let Some(proved) = self.topics.get_mut(&topic) else {
            return self.blame(Misbehaviour::NotProved, None, Some(topic)).await;
        };
        proved.subscribed = false;
        let outbox = Arc::clone(&self.outbox);
        self.send(Command::Change(Change::Unsubscribe { topic, outbox }))
            .await
    }

    /// The checks that every append passes; `Ok(false)` when it was refused.
    async fn admit_append(
        &mut self,
        request: RequestId,
        topic: TopicId,
        bytes: usize,
    ) -> Result<bool, End> {
        let refused = if !self.topics.contains_key(&topic) {
            Some(Misbehaviour::NotProved)
        } else if bytes > self.shared.limits.record_bytes_max as usize {
            Some(Misbehaviour::RecordTooLarge)
        } else {
            None
        };
        if let Some(kind) = refused {
            self.blame(kind, Some(request), Some(topic)).await?;
            return Ok(false);
        }
        if let Err(wait) = self.shared.rates.append(&self.device, bytes) {
            let message = "too many appends or bytes";
            self.too_fast(Some(request), topic, wait, message).await?;
            return Ok(false);
        }
        self.ignored_refusals = 0;
        Ok(true)
    }

    async fn ephemeral(
        &mut self,
        request: RequestId,
        topic: TopicId,
        record: Vec<u8>,
    ) -> Result<(), End> {
        if self.admit_append(request, topic, record.len()).await? {
            self.shared.metrics.ephemeral.increment(1);
            self.shared.hub.publish_ephemeral(topic, record);
        }
        Ok(())
    }

    async fn append(
        &mut self,
        request: RequestId,
        topic: TopicId,
        class: Class,
        record: Vec<u8>,
    ) -> Result<(), End> {
        let received = Instant::now();
        if !self.admit_append(request, topic, record.len()).await?
            || !self.begin_topic(request, topic).await?
        {
            return Ok(());
        }
        let record = NewRecord {
            topic,
            class,
            hash: hash_record(&record),
            received_ms: now_ms(),
            bytes: record,
        };
        let reply = self.reply(request).await?;
        self.send(Command::Append(AppendCommand {
            record,
            reply,
            received,
        }))
        .await
    }

    /// A topic that was never written is paid for by whoever begins it; `Ok(false)` when refused.
    async fn begin_topic(&mut self, request: RequestId, topic: TopicId) -> Result<bool, End> {
        if self.topics.get(&topic).is_some_and(|proved| proved.begun) {
            return Ok(true);
        }
        let storage = Arc::clone(&self.shared.storage);
        let stat = tokio::task::spawn_blocking(move || storage.stat(&topic)).await;
        // A store that cannot be read answers the append itself.
        let known = stat.is_ok_and(|stat| stat.is_ok_and(|stat| stat.head > 0));
        if !known && let Err(wait) = self.shared.rates.begin_topic(&self.device) {
            let message = "too many new topics today";
            self.too_fast(Some(request), topic, wait, message).await?;
            return Ok(false);
        }
        if let Some(proved) = self.topics.get_mut(&topic) {
            proved.begun = true;
        }
        Ok(true)
    }

    async fn trim(&mut self, topic: TopicId, upto: Cursor) -> Result<(), End> {
        if !self.topics.contains_key(&topic) {
            return self.blame(Misbehaviour::NotProved, None, Some(topic)).await;
        }
        if let Err(wait) = self.shared.rates.append(&self.device, 1) {
            return self.too_fast(None, topic, wait, "too many requests").await;
        }
        // A cursor of another incarnation of the store names nothing here.
        if upto.log != self.shared.storage.log() {
            return Ok(());
        }
        let upto = upto.sequence;
        self.send(Command::Delete(Deletion::Trim { topic, upto }))
            .await
    }

    async fn release(&mut self, topic: TopicId, upto: Option<Cursor>) -> Result<(), End> {
        if !self.topics.contains_key(&topic) {
            return self.blame(Misbehaviour::NotProved, None, Some(topic)).await;
        }
        if let Err(wait) = self.shared.rates.append(&self.device, 1) {
            return self.too_fast(None, topic, wait, "too many requests").await;
        }
        if upto.is_some_and(|upto| upto.log != self.shared.storage.log()) {
            return Ok(());
        }
        let upto = upto.map(|upto| upto.sequence);
        let now_ms = now_ms();
        self.send(Command::Delete(Deletion::Release {
            topic,
            upto,
            now_ms,
        }))
        .await
    }

    /// Takes a place among the requests under way; until there is one, the device is not read.
    async fn reply(&self, request: RequestId) -> Result<ReplyTo, End> {
        let permit = Arc::clone(&self.in_flight).acquire_owned().await;
        Ok(ReplyTo {
            request,
            answers: self.answers.clone(),
            permit: permit.map_err(|_| End::Gone)?,
        })
    }

    async fn send(&self, command: Command) -> Result<(), End> {
        self.shared
            .writer
            .send(command)
            .await
            .map_err(|_| End::Gone)
    }

    /// Ends the subscriptions and, where the relay is draining, says good-bye. Requests under way
    /// are still answered.
    pub(super) async fn leave(self, draining: bool) {
        let subscribed = self
            .topics
            .into_iter()
            .filter(|(_, proved)| proved.subscribed);
        let hub = &self.shared.hub;
        hub.disconnect(&self.outbox, subscribed.map(|(topic, _)| topic));
        if draining {
            let spread = crate::key::random::<4>().map_or(0, u32::from_be_bytes);
            let reconnect_ms = RECONNECT_MS_MIN + spread % RECONNECT_MS_SPREAD;
            // The device may be gone already.
            let _gone = self.frames.send(ServerFrame::GoAway { reconnect_ms }).await;
        }
    }
}

/// The topics of a request whose proofs are all right.
fn check_all(
    topics: Vec<Followed>,
    relay: RelayId,
    exporter: &[u8; 32],
) -> Option<Vec<(TopicId, Option<Cursor>)>> {
    let check = |followed: Followed| {
        let proof = AccessProof {
            topic: topic_of_capability(&followed.capability),
            capability: followed.capability,
            signature: followed.signature,
        };
        proof.verify(&relay, exporter).ok()?;
        Some((proof.topic, followed.after))
    };
    topics.into_iter().map(check).collect()
}

fn now_ms() -> u64 {
    let age = SystemTime::now().duration_since(UNIX_EPOCH);
    age.map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
}
