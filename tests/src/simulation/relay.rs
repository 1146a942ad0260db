//! A relay as the protocol describes it: topic logs in memory, durable at the receipt.

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::{Signer, SigningKey};
use sheaf_protocol::{
    AccessProof, Changed, Class, ClientFrame, Cursor, Delivery, ErrorCode, Followed, History,
    LogId, Receipt, RecordHash, Refusal, RelayId, RequestId, ServerFrame, Statement, TopicId,
    digest_topics, hash_record, receipt_message, statement_message, topic_of_capability,
};

/// One stored record.
#[derive(Clone)]
struct Stored {
    sequence: u64,
    record: Vec<u8>,
}

/// One connection's state.
#[derive(Default)]
pub(crate) struct Session {
    proved: BTreeSet<TopicId>,
    subscribed: BTreeMap<TopicId, u64>,
}

/// A relay without a network.
pub struct ModelRelay {
    key: SigningKey,
    pub(crate) log: LogId,
    topics: BTreeMap<TopicId, Vec<Stored>>,
    hashes: BTreeMap<(TopicId, RecordHash), u64>,
    heads: BTreeMap<TopicId, u64>,
    /// What everything up to each place comes to, from the place before the first record on.
    histories: BTreeMap<TopicId, Vec<History>>,
    pub(crate) sessions: BTreeMap<u64, Session>,
    /// It does not answer.
    pub(crate) dead: bool,
}

/// A frame for a connection, by stream: answers and live records and history may overtake each
/// other.
pub(crate) struct Answer {
    pub(crate) connection: u64,
    pub(crate) stream: u8,
    pub(crate) frame: ServerFrame,
}

impl std::fmt::Debug for ModelRelay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelRelay").finish_non_exhaustive()
    }
}

impl ModelRelay {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self {
            key: SigningKey::from_bytes(&seed),
            log: LogId(7),
            topics: BTreeMap::new(),
            hashes: BTreeMap::new(),
            heads: BTreeMap::new(),
            histories: BTreeMap::new(),
            sessions: BTreeMap::new(),
            dead: false,
        }
    }

    pub(crate) fn id(&self) -> RelayId {
        RelayId(self.key.verifying_key().to_bytes())
    }

    /// Its disk is lost: an empty store of another incarnation takes its place.
    pub(crate) fn wipe(&mut self, log: u64) {
        self.log = LogId(log);
        self.topics.clear();
        self.hashes.clear();
        self.heads.clear();
        self.histories.clear();
    }

    /// Its store is put back to a backup of some time ago: half of every topic is there.
    pub(crate) fn roll_back(&mut self) {
        for (topic, stored) in &mut self.topics {
            let head = self.heads.get(topic).copied().unwrap_or(0) / 2;
            stored.retain(|stored| stored.sequence <= head);
            self.heads.insert(*topic, head);
            if let Some(histories) = self.histories.get_mut(topic) {
                histories.truncate(head as usize + 1);
            }
        }
        let heads = &self.heads;
        let kept =
            |topic: &TopicId, sequence: u64| heads.get(topic).is_some_and(|h| sequence <= *h);
        self.hashes
            .retain(|(topic, _), sequence| kept(topic, *sequence));
    }

    /// Every byte that the relay holds.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        self.topics
            .values()
            .flatten()
            .map(|stored| stored.record.as_slice())
    }

    pub(crate) fn handle(&mut self, connection: u64, frame: ClientFrame) -> Vec<Answer> {
        let exporter = exporter(connection);
        let relay = self.id();
        let Some(session) = self.sessions.get_mut(&connection) else {
            return Vec::new();
        };
        let answer = |stream, frame| Answer {
            connection,
            stream,
            frame,
        };
        match frame {
            ClientFrame::Hello { .. } => Vec::new(),
            ClientFrame::Prove(proof) => {
                proof
                    .verify(&relay, &exporter)
                    .expect("an honest device proves access");
                session.proved.insert(proof.topic);
                Vec::new()
            }
            ClientFrame::Subscribe {
                request,
                topic,
                after,
            } => {
                assert!(session.proved.contains(&topic), "subscribed without proof");
                let head = self.heads.get(&topic).copied().unwrap_or(0);
                let restarted = after.is_some_and(|at| at.log != self.log || at.sequence > head);
                let at = after.filter(|_| !restarted).map_or(0, |at| at.sequence);
                let mut answers = vec![answer(
                    0,
                    ServerFrame::Subscribed {
                        request,
                        topic,
                        head,
                        restarted,
                    },
                )];
                session.subscribed.insert(topic, head);
                answers.extend(self.history(connection, topic, at, head));
                answers
            }
            ClientFrame::Unsubscribe { topic } => {
                session.subscribed.remove(&topic);
                Vec::new()
            }
            ClientFrame::Append {
                request,
                topic,
                class,
                record,
            } => {
                if !session.proved.contains(&topic) {
                    let refusal = Refusal {
                        request: Some(request),
                        topic: Some(topic),
                        code: ErrorCode::NoAccess,
                        retry_after_ms: 0,
                        message: String::new(),
                    };
                    return vec![answer(0, ServerFrame::Refused(refusal))];
                }
                let (sequence, mut answers) = self.append(topic, class, record.clone());
                let cursor = Cursor {
                    log: self.log,
                    sequence,
                };
                let hash = hash_record(&record);
                let signature = self
                    .key
                    .sign(&receipt_message(&topic, cursor, &hash))
                    .to_bytes()
                    .to_vec();
                let receipt = Receipt {
                    topic,
                    cursor,
                    record: hash,
                    signature,
                };
                answers.push(answer(0, ServerFrame::Receipt { request, receipt }));
                answers
            }
            ClientFrame::Ping { .. } => Vec::new(),
            ClientFrame::Witness {
                request,
                topic,
                sequence,
            } => {
                assert!(session.proved.contains(&topic), "asked without proof");
                vec![answer(0, self.witness(request, topic, sequence))]
            }
            ClientFrame::Follow { request, topics } => self.follow(connection, request, topics),
            // Without a grace period: what is released is gone.
            ClientFrame::Release { topic, upto } => {
                self.release(topic, upto);
                Vec::new()
            }
            ClientFrame::Trim { topic, upto } => {
                if let Some(stored) = self.topics.get_mut(&topic) {
                    stored.retain(|stored| stored.sequence > upto.sequence);
                }
                Vec::new()
            }
        }
    }

    fn release(&mut self, topic: TopicId, upto: Option<Cursor>) {
        let (Some(upto), Some(stored)) = (upto, self.topics.get_mut(&topic)) else {
            return;
        };
        if upto.log == self.log {
            // It still tells what is offered again within the grace period.
            stored.retain(|stored| stored.sequence > upto.sequence);
        }
    }

    fn witness(&self, request: RequestId, topic: TopicId, sequence: Option<u64>) -> ServerFrame {
        let head = self.heads.get(&topic).copied().unwrap_or(0);
        let sequence = sequence.unwrap_or(head);
        let known = self.histories.get(&topic);
        let known = known.and_then(|known| known.get(sequence as usize).copied());
        let known = known.or((sequence == 0 && head == 0).then(History::default));
        let Some(history) = known else {
            return ServerFrame::Refused(Refusal {
                request: Some(request),
                topic: Some(topic),
                code: ErrorCode::Gone,
                retry_after_ms: 0,
                message: String::new(),
            });
        };
        let cursor = Cursor {
            log: self.log,
            sequence,
        };
        let message = statement_message(&topic, cursor, &history);
        let statement = Statement {
            topic,
            cursor,
            history,
            signature: self.key.sign(&message).to_bytes().to_vec(),
        };
        ServerFrame::Statement { request, statement }
    }

    fn follow(
        &mut self,
        connection: u64,
        request: RequestId,
        topics: Vec<Followed>,
    ) -> Vec<Answer> {
        let (mut changed, mut unchanged, mut history) = (Vec::new(), Vec::new(), Vec::new());
        for (place, followed) in (0..).zip(topics) {
            let topic = topic_of_capability(&followed.capability);
            let proof = AccessProof {
                topic,
                capability: followed.capability,
                signature: followed.signature,
            };
            proof
                .verify(&self.id(), &exporter(connection))
                .expect("an honest device proves access");
            let head = self.heads.get(&topic).copied().unwrap_or(0);
            let after = followed.after;
            let restarted = after.is_some_and(|at| at.log != self.log || at.sequence > head);
            let at = after.filter(|_| !restarted).map_or(0, |at| at.sequence);
            if let Some(session) = self.sessions.get_mut(&connection) {
                session.proved.insert(topic);
                session.subscribed.insert(topic, head);
            }
            if at == head && !restarted {
                unchanged.push((topic, head));
                continue;
            }
            changed.push(Changed {
                place,
                head,
                restarted,
            });
            history.extend(self.history(connection, topic, at, head));
        }
        let frame = ServerFrame::Followed {
            request,
            digest: digest_topics(unchanged),
            changed,
        };
        let answer = Answer {
            connection,
            stream: 0,
            frame,
        };
        std::iter::once(answer).chain(history).collect()
    }

    /// What a topic holds after a place, and that this is all.
    fn history(&self, connection: u64, topic: TopicId, at: u64, head: u64) -> Vec<Answer> {
        let answer = |frame| Answer {
            connection,
            stream: 2,
            frame,
        };
        let stored = self.topics.get(&topic).into_iter().flatten();
        let rest: Vec<&Stored> = stored.filter(|stored| stored.sequence > at).collect();
        let mut previous = at;
        let mut answers = Vec::new();
        for chunk in rest.chunks(3) {
            answers.push(answer(ServerFrame::Records {
                topic,
                previous,
                records: chunk.iter().map(|stored| delivery(stored)).collect(),
            }));
            previous = chunk.last().map_or(previous, |stored| stored.sequence);
        }
        answers.push(answer(ServerFrame::CaughtUp {
            topic,
            sequence: head,
        }));
        answers
    }

    fn append(&mut self, topic: TopicId, _class: Class, record: Vec<u8>) -> (u64, Vec<Answer>) {
        let hash = hash_record(&record);
        if let Some(sequence) = self.hashes.get(&(topic, hash)) {
            return (*sequence, Vec::new());
        }
        let head = self.heads.entry(topic).or_default();
        let previous = *head;
        *head += 1;
        let sequence = *head;
        self.hashes.insert((topic, hash), sequence);
        let histories = self.histories.entry(topic);
        let histories = histories.or_insert_with(|| vec![History::default()]);
        let last = histories.last().copied().unwrap_or_default();
        histories.push(last.then(&topic, sequence, &hash));
        let stored = Stored { sequence, record };
        let mut answers = Vec::new();
        for (connection, session) in &mut self.sessions {
            if let Some(at) = session.subscribed.get_mut(&topic) {
                *at = sequence;
                let records = vec![delivery(&stored)];
                let frame = ServerFrame::Records {
                    topic,
                    previous,
                    records,
                };
                answers.push(Answer {
                    connection: *connection,
                    stream: 1,
                    frame,
                });
            }
        }
        self.topics.entry(topic).or_default().push(stored);
        (sequence, answers)
    }
}

fn delivery(stored: &Stored) -> Delivery {
    Delivery {
        sequence: stored.sequence,
        record: stored.record.clone(),
    }
}

/// The exporter that both ends of a connection see.
pub(crate) fn exporter(connection: u64) -> [u8; 32] {
    let mut exporter = [9; 32];
    exporter[..8].copy_from_slice(&connection.to_be_bytes());
    exporter
}
