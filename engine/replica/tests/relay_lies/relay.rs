//! A relay that can lie: what it holds, what it shows to whom, and what it answers.

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::{Signer, SigningKey};
use sheaf_protocol::{
    AccessProof, Changed, Class, ClientFrame, Cursor, Delivery, ErrorCode, Followed, History,
    LogId, Receipt, Refusal, RelayId, RequestId, ServerFrame, Statement, TopicId, digest_topics,
    hash_record, receipt_message, statement_message, topic_of_capability,
};

/// One store: by topic the records in the order of their sequences, from one.
#[derive(Clone, Default)]
pub(super) struct Store(pub(super) BTreeMap<TopicId, Vec<Vec<u8>>>);

impl Store {
    fn of(&self, topic: &TopicId) -> &[Vec<u8>] {
        self.0.get(topic).map_or(&[], Vec::as_slice)
    }

    pub(super) fn head(&self, topic: &TopicId) -> u64 {
        self.of(topic).len() as u64
    }

    fn history(&self, topic: &TopicId, sequence: u64) -> Option<History> {
        let records = (1..).zip(self.of(topic));
        let upto = records.take_while(|(place, _)| *place <= sequence);
        let history = upto.fold(History::default(), |before, (place, record)| {
            before.then(topic, place, &hash_record(record))
        });
        (sequence <= self.head(topic)).then_some(history)
    }

    fn append(&mut self, topic: TopicId, record: Vec<u8>) -> u64 {
        let records = self.0.entry(topic).or_default();
        if let Some(place) = records.iter().position(|known| *known == record) {
            return place as u64 + 1;
        }
        records.push(record);
        records.len() as u64
    }
}

/// A relay, and how it lies.
pub(super) struct Relay {
    key: SigningKey,
    pub(super) log: LogId,
    /// Several, where it shows devices different histories.
    pub(super) stores: Vec<Store>,
    /// By device and topic: which store it is shown.
    pub(super) shown: BTreeMap<(usize, TopicId), usize>,
    /// Records that a device is not shown, while the store says that they are there.
    pub(super) dropped: BTreeSet<(usize, TopicId, u64)>,
    /// Devices that get nothing of a topic beyond a place.
    pub(super) tail: BTreeMap<(usize, TopicId), u64>,
    /// It speaks of records as delivered that were not.
    pub(super) pretends: bool,
    /// Appends are left without an answer.
    pub(super) mute: bool,
    /// Subscriptions are refused so many times.
    pub(super) refuses: usize,
    subscribed: BTreeMap<(usize, TopicId), u64>,
    /// Which device released what, or took that back.
    pub(super) released: Vec<(usize, Option<u64>)>,
}

impl Relay {
    pub(super) fn new(number: u8) -> Self {
        Self {
            key: SigningKey::from_bytes(&[number; 32]),
            log: LogId(u64::from(number)),
            stores: vec![Store::default()],
            shown: BTreeMap::new(),
            dropped: BTreeSet::new(),
            tail: BTreeMap::new(),
            pretends: false,
            mute: false,
            refuses: 0,
            subscribed: BTreeMap::new(),
            released: Vec::new(),
        }
    }

    pub(super) fn id(&self) -> RelayId {
        RelayId(self.key.verifying_key().to_bytes())
    }

    fn place(&self, device: usize, topic: &TopicId) -> usize {
        self.shown.get(&(device, *topic)).copied().unwrap_or(0)
    }

    fn store(&mut self, device: usize, topic: &TopicId) -> &mut Store {
        let place = self.place(device, topic);
        &mut self.stores[place]
    }

    pub(super) fn hang_up(&mut self, device: usize) {
        self.subscribed.retain(|(of, _), _| *of != device);
    }

    fn head(&self, device: usize, topic: &TopicId) -> u64 {
        let head = self.stores[self.place(device, topic)].head(topic);
        let tail = self.tail.get(&(device, *topic)).copied();
        head.min(tail.unwrap_or(u64::MAX))
    }

    fn records(&self, device: usize, topic: TopicId, after: u64) -> Option<ServerFrame> {
        let head = self.head(device, &topic);
        let store = &self.stores[self.place(device, &topic)];
        let records = (1..).zip(store.of(&topic)).filter(|(sequence, _)| {
            let dropped = self.dropped.contains(&(device, topic, *sequence));
            *sequence > after && *sequence <= head && !dropped
        });
        let records = records.map(|(sequence, record)| Delivery {
            sequence,
            record: record.clone(),
        });
        let records: Vec<Delivery> = records.collect();
        let first = records.first()?.sequence;
        let previous = if self.pretends { first - 1 } else { after };
        Some(ServerFrame::Records {
            topic,
            previous,
            records,
        })
    }

    /// What is new for a device.
    pub(super) fn news(&mut self, device: usize) -> Vec<ServerFrame> {
        let mut frames = Vec::new();
        let topics: Vec<(TopicId, u64)> = (self.subscribed.iter())
            .filter(|((of, _), _)| *of == device)
            .map(|((_, topic), at)| (*topic, *at))
            .collect();
        for (topic, at) in topics {
            let Some(frame) = self.records(device, topic, at) else {
                continue;
            };
            let mut last = at;
            if let ServerFrame::Records { records, .. } = &frame {
                last = records.last().map_or(at, |delivery| delivery.sequence);
            }
            frames.push(frame);
            self.subscribed.insert((device, topic), last);
        }
        frames
    }

    fn subscribe(
        &mut self,
        device: usize,
        topic: TopicId,
        after: Option<Cursor>,
    ) -> (u64, bool, Vec<ServerFrame>) {
        let head = self.head(device, &topic);
        let known = after.is_none_or(|at| at.log == self.log && at.sequence <= head);
        let at = after.filter(|_| known).map_or(0, |at| at.sequence);
        let mut frames: Vec<ServerFrame> = self.records(device, topic, at).into_iter().collect();
        let sequence = head;
        frames.push(ServerFrame::CaughtUp { topic, sequence });
        self.subscribed.insert((device, topic), head);
        (head, !known, frames)
    }

    fn follow(
        &mut self,
        device: usize,
        request: RequestId,
        topics: Vec<Followed>,
    ) -> Vec<ServerFrame> {
        let (mut changed, mut rest, mut unchanged) = (Vec::new(), Vec::new(), Vec::new());
        for (place, followed) in (0..).zip(topics) {
            let topic = topic_of_capability(&followed.capability);
            let (head, restarted, frames) = self.subscribe(device, topic, followed.after);
            let at = followed.after.map_or(0, |cursor| cursor.sequence);
            if at == head && !restarted {
                unchanged.push((topic, head));
                continue;
            }
            changed.push(Changed {
                place,
                head,
                restarted,
            });
            rest.extend(frames);
        }
        let digest = digest_topics(unchanged);
        let mut frames = vec![ServerFrame::Followed {
            request,
            digest,
            changed,
        }];
        frames.extend(rest);
        frames
    }

    fn append(&mut self, device: usize, topic: TopicId, record: Vec<u8>) -> Receipt {
        let hash = hash_record(&record);
        let sequence = self.store(device, &topic).append(topic, record);
        let cursor = Cursor {
            log: self.log,
            sequence,
        };
        let message = receipt_message(&topic, cursor, &hash);
        Receipt {
            topic,
            cursor,
            record: hash,
            signature: self.key.sign(&message).to_bytes().to_vec(),
        }
    }

    fn witness(&mut self, device: usize, topic: TopicId, sequence: u64) -> Option<Statement> {
        let history = self.store(device, &topic).history(&topic, sequence)?;
        let cursor = Cursor {
            log: self.log,
            sequence,
        };
        let message = statement_message(&topic, cursor, &history);
        Some(Statement {
            topic,
            cursor,
            history,
            signature: self.key.sign(&message).to_bytes().to_vec(),
        })
    }

    pub(super) fn handle(&mut self, device: usize, frame: ClientFrame) -> Vec<ServerFrame> {
        match frame {
            ClientFrame::Subscribe { request, .. } | ClientFrame::Follow { request, .. }
                if self.refuses > 0 =>
            {
                self.refuses -= 1;
                vec![refused(request, None, ErrorCode::Unavailable, 2_000)]
            }
            ClientFrame::Subscribe {
                request,
                topic,
                after,
            } => {
                let (head, restarted, rest) = self.subscribe(device, topic, after);
                let mut frames = vec![ServerFrame::Subscribed {
                    request,
                    topic,
                    head,
                    restarted,
                }];
                frames.extend(rest);
                frames
            }
            ClientFrame::Unsubscribe { topic } => {
                self.subscribed.remove(&(device, topic));
                Vec::new()
            }
            ClientFrame::Append {
                class: Class::Log, ..
            } if self.mute => Vec::new(),
            ClientFrame::Append {
                request,
                topic,
                record,
                ..
            } => {
                let receipt = self.append(device, topic, record);
                vec![ServerFrame::Receipt { request, receipt }]
            }
            ClientFrame::Follow { request, topics } => self.follow(device, request, topics),
            ClientFrame::Witness {
                request,
                topic,
                sequence,
            } => {
                let sequence = sequence.unwrap_or_else(|| self.head(device, &topic));
                match self.witness(device, topic, sequence) {
                    Some(statement) => vec![ServerFrame::Statement { request, statement }],
                    None => vec![refused(request, Some(topic), ErrorCode::Gone, 0)],
                }
            }
            ClientFrame::Release { upto, .. } => {
                self.released.push((device, upto.map(|upto| upto.sequence)));
                Vec::new()
            }
            ClientFrame::Prove(AccessProof { .. })
            | ClientFrame::Hello { .. }
            | ClientFrame::Trim { .. }
            | ClientFrame::Ping { .. } => Vec::new(),
        }
    }
}

fn refused(
    request: RequestId,
    topic: Option<TopicId>,
    code: ErrorCode,
    retry_after_ms: u32,
) -> ServerFrame {
    ServerFrame::Refused(Refusal {
        request: Some(request),
        topic,
        code,
        retry_after_ms,
        message: String::new(),
    })
}
