//! Lives of Bob's replica: every input is a list of steps, each one byte of choice and its arguments.
//!
//! Whatever happens nothing panics and a disk that told the truth opens again. While only members
//! lied, and neither relay nor disk did, Bob and Alice end with the same documents and messages.

mod seeds;

use automerge::ObjType;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sheaf_crypto::seal_inbox;
use sheaf_crypto::{Dependency, Inner, ItemId, Kind, OperationId, RunId, item_of_record, seal};
use sheaf_protocol::{ServerFrame, TopicId, decode_server_frame};
use sheaf_replica::document::ObjectId;
use sheaf_replica::record::{Kind as RecordKind, Row};
use sheaf_replica::{Command, Draft, ImportDraft, Input, MessageId, Timestamp};

use super::cast::{Cast, NOW, cast};
use super::peer::{Log, Peer};
use super::reader::Reader;

pub(super) use seeds::replica_input_seeds;

/// Steps of one life at most: longer inputs only cost time.
const STEPS_MAX: usize = 48;

/// A life. Takes any bytes; `true` if Bob's replica came to rest among members who lie at most.
pub(super) fn replica_inputs(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    let mut life = Life::new(cast());
    for _ in 0..STEPS_MAX {
        if reader.is_empty() {
            break;
        }
        life.step(&mut reader);
    }
    life.end()
}

struct Life {
    cast: &'static Cast,
    alice: Peer,
    bob: Peer,
    log: Log,
    now: Timestamp,
    /// Mallory's last envelope.
    last: (Inner, ItemId),
    /// How many of those that Mallory held back have been used.
    used: usize,
    rng: ChaCha20Rng,
    /// The relay or a disk has said what is not so.
    lied: bool,
}

impl Life {
    fn new(cast: &'static Cast) -> Self {
        let open = |number, disk: &super::peer::Disk| {
            Peer::open(number, 1, NOW, disk.clone()).expect("an honest disk opens")
        };
        Self {
            cast,
            alice: open(1, &cast.alice),
            bob: open(2, &cast.bob),
            log: cast.log.clone(),
            now: NOW,
            last: cast.last.clone(),
            used: 0,
            rng: ChaCha20Rng::from_seed([1; 32]),
            lied: false,
        }
    }

    fn step(&mut self, reader: &mut Reader<'_>) {
        self.now = self.now.after_ms(7);
        match reader.byte() % 20 {
            0 => self.bob.link_up(self.now),
            1 => self.bob.link_down(self.now),
            2 => {
                self.now = self.now.after_ms(u64::from(reader.short()) * 50);
                self.bob.handle(self.now, Input::Elapsed);
            }
            3 => self.rest(),
            4 => {
                self.bob.flush_one(self.now);
            }
            5 => {
                self.bob.load_one(self.now);
            }
            6 => {
                self.bob.serve_one(&mut self.log, self.now);
            }
            7 => self.twist_frame(reader),
            8 => self.server_frame(reader),
            9 => self.records(reader),
            10 | 11 => self.forge(Kind::Content, reader),
            12 => {
                let kind = Kind::try_from(reader.byte() % 8).unwrap_or(Kind::Control);
                self.forge(kind, reader);
            }
            13 => self.inbox(reader),
            14 => self.garbage(reader),
            15 => self.write(reader),
            16 => self.ask(reader),
            17 => self.crash(reader),
            18 => self.disk_lies(reader),
            _ => self.alice_writes(),
        }
    }

    fn rest(&mut self) {
        let rests = self.bob.settle(&mut self.log, self.now);
        assert!(rests || self.lied, "Bob's replica does not come to rest");
    }

    /// The oldest frame is lost, or answered twice, or answered late.
    fn twist_frame(&mut self, reader: &mut Reader<'_>) {
        let Some(frame) = self.bob.frames.pop_front() else {
            return;
        };
        match reader.byte() % 3 {
            0 => self.lied = true,
            1 => {
                self.bob.serve(&mut self.log, frame.clone(), self.now);
                self.bob.serve(&mut self.log, frame, self.now);
            }
            _ => self.bob.frames.push_back(frame),
        }
    }

    fn server_frame(&mut self, reader: &mut Reader<'_>) {
        self.lied = true;
        if let Ok(frame) = decode_server_frame(reader.bytes()) {
            self.bob.handle(self.now, Input::Received(Log::id(), frame));
        }
    }

    /// Real records of a real topic from another place, altered or not.
    fn records(&mut self, reader: &mut Reader<'_>) {
        self.lied = true;
        let topic = self.topic(reader);
        let previous = u64::from(reader.byte() % 16);
        let shift = u64::from(reader.byte() % 4);
        let ServerFrame::Records { mut records, .. } = self.log.after(topic, previous + shift)
        else {
            return;
        };
        records.truncate(1 + reader.below(4));
        let (target, place, flip) = (reader.below(8), usize::from(reader.short()), reader.byte());
        if let Some(delivery) = records.get_mut(target) {
            let place = place % delivery.record.len().max(1);
            match flip {
                0 => delivery.record.truncate(place),
                1 => delivery.sequence = delivery.sequence.wrapping_sub(place as u64),
                2 => delivery.record.extend_from_slice(&[0; 3]),
                flip => {
                    if let Some(byte) = delivery.record.get_mut(place) {
                        *byte ^= flip;
                    }
                }
            }
        }
        let frame = ServerFrame::Records {
            topic,
            previous,
            records,
        };
        self.bob.handle(self.now, Input::Received(Log::id(), frame));
    }

    fn topic(&self, reader: &mut Reader<'_>) -> TopicId {
        let mut topics: Vec<TopicId> = self.bob.listens_to().into_iter().collect();
        topics.extend([self.cast.keys.topic(), self.cast.bob_inbox.0]);
        topics[reader.below(topics.len())]
    }

    /// Mallory writes what she likes, sealed and signed as it should be.
    fn forge(&mut self, kind: Kind, reader: &mut Reader<'_>) {
        let tweak = reader.byte();
        let mut inner = self.last.0.clone();
        inner.kind = kind;
        inner.body = self.body(reader);
        inner.seq += 1;
        inner.previous = Some(self.last.1);
        if tweak & 1 != 0 {
            inner.seq = inner
                .seq
                .wrapping_add(u64::from(reader.byte()))
                .wrapping_sub(2);
        }
        if tweak & 2 != 0 {
            inner.previous = None;
        }
        if tweak & 4 != 0 {
            inner.control_heads.push(OperationId([reader.byte(); 32]));
        }
        if tweak & 8 != 0 {
            inner.dependencies.push(Dependency {
                device: inner.device,
                run: inner.run,
                seq: u64::from(reader.byte()),
                item: self.last.1,
            });
        }
        if tweak & 16 != 0 {
            inner.run = RunId([reader.byte(); 16]);
        }
        if tweak & 32 != 0 {
            inner.incarnation = OperationId([reader.byte(); 32]);
        }
        if tweak & 64 != 0 {
            inner.control_heads.clear();
        }
        let keys = &self.cast.keys;
        let Ok(record) = seal(keys, &inner, &self.cast.mallory, &mut self.rng) else {
            return;
        };
        if tweak & 128 == 0 {
            self.last = (inner, item_of_record(&record));
        }
        self.log.append(keys.topic(), record);
    }

    /// Bytes of the input, or what Mallory held back with a few bytes changed.
    fn body(&mut self, reader: &mut Reader<'_>) -> Vec<u8> {
        let form = reader.byte();
        if form.is_multiple_of(4) {
            return reader.bytes().to_vec();
        }
        let place = self.used + usize::from(form >> 6);
        self.used += 1;
        let held = &self.cast.held[place % self.cast.held.len()];
        let mut body = held.body.clone();
        for _ in 0..form % 4 - 1 {
            let (place, value) = (usize::from(reader.short()), reader.byte());
            let place = place % body.len().max(1);
            match value % 4 {
                0 if !body.is_empty() => drop(body.remove(place)),
                1 => body.insert(place, value),
                _ => body[place] = value,
            }
        }
        body
    }

    /// A message to Bob's inbox, by Mallory.
    fn inbox(&mut self, reader: &mut Reader<'_>) {
        let (topic, recipient) = &self.cast.bob_inbox;
        let (mallory, user) = (&self.cast.mallory, self.cast.mallory_user);
        let body = reader.bytes();
        let parts = seal_inbox(&mut self.rng, recipient, mallory, user, body).unwrap();
        for part in parts {
            self.log.append(*topic, part);
        }
    }

    /// A record that nobody sealed, or one of another place.
    fn garbage(&mut self, reader: &mut Reader<'_>) {
        let topic = self.topic(reader);
        let record = match reader.byte() % 3 {
            0 => reader.bytes().to_vec(),
            form => {
                let all: Vec<&Vec<u8>> = self.log.topics.values().flatten().collect();
                let mut record = all[reader.below(all.len())].clone();
                let (place, flip) = (usize::from(reader.short()), reader.byte());
                let place = place % record.len().max(1);
                if form == 1 && !record.is_empty() {
                    record[place] ^= flip;
                }
                record
            }
        };
        self.log.append(topic, record);
    }

    /// Bob writes.
    fn write(&mut self, reader: &mut Reader<'_>) {
        let conversation = self.cast.conversation;
        let form = reader.byte();
        let mut draft = Draft::text("x".repeat(reader.below(80)));
        if form & 8 != 0 {
            let mut bytes = [form; 16];
            bytes[0] = 0;
            draft.reply_to = MessageId::from_bytes(bytes).ok();
        }
        let command = match form % 4 {
            0 | 1 => Command::Send {
                conversation,
                draft,
                token: (form & 16 != 0).then(|| "token".to_owned()),
            },
            2 => Command::Import {
                conversation,
                drafts: (0..form >> 5)
                    .map(|place| ImportDraft {
                        draft: draft.clone(),
                        reply_in_batch: (form & 4 != 0).then(|| usize::from(place)),
                    })
                    .collect(),
            },
            _ => Command::Change {
                conversation,
                change: Box::new(move |tx| {
                    let list = tx.object(&ObjectId::ROOT, "list").ok().flatten();
                    match list {
                        Some(list) if form & 16 != 0 => tx.delete(&list, usize::from(form >> 5)),
                        Some(list) => tx.insert(&list, usize::from(form >> 5), "word"),
                        None => tx
                            .put_object(&ObjectId::ROOT, "list", ObjType::List)
                            .map(drop),
                    }
                }),
            },
        };
        self.bob.command(self.now, command);
    }

    /// Bob asks for something else.
    fn ask(&mut self, reader: &mut Reader<'_>) {
        let form = reader.byte() % 9;
        let text = String::from_utf8_lossy(reader.bytes()).into_owned();
        let command = match form {
            0 => Command::AddContact {
                card: self.cast.card.clone(),
                alias: Some(text),
            },
            1 => Command::AddContact {
                card: text,
                alias: None,
            },
            2 => Command::StartLink,
            3 => Command::ApproveLink { digits: text },
            4 => Command::CancelLink,
            5 => Command::JoinAccount {
                code: text,
                device: "other".to_owned(),
            },
            6 => Command::CreateConversation {
                name: text,
                members: vec![self.cast.mallory_user],
                segment_messages: Some(u32::from(reader.byte())),
                history: sheaf_crypto::History::Full,
            },
            7 => Command::SetRelays(Some(text)),
            _ => Command::Close,
        };
        self.bob.command(self.now, command);
    }

    fn crash(&mut self, reader: &mut Reader<'_>) {
        let disk = std::mem::take(&mut self.bob.disk);
        let spare = Peer::open(9, 0, self.now, super::peer::Disk::new()).unwrap();
        let mut bob = std::mem::replace(&mut self.bob, spare);
        bob.disk = disk;
        self.bob = bob
            .crash(reader.below(4), self.now)
            .expect("what a replica wrote opens");
    }

    /// The disk fails, or answers with rows that are not there.
    fn disk_lies(&mut self, reader: &mut Reader<'_>) {
        self.lied = true;
        let form = reader.byte();
        if form.is_multiple_of(4) {
            return self.bob.fail_one(self.now);
        }
        let Some((load, ranges)) = self.bob.loads.pop_front() else {
            return;
        };
        let input = match form % 4 {
            1 => Input::LoadFailed(load, "damaged".to_owned()),
            2 => Input::Loaded(load, Vec::new()),
            _ => {
                let kind = ranges
                    .first()
                    .map_or(RecordKind::Envelope, |range| range.kind);
                let order = ranges.first().map(|range| range.from.clone());
                let row = Row {
                    kind,
                    order: order.unwrap_or_default(),
                    value: reader.bytes().to_vec(),
                };
                Input::Loaded(load, vec![row])
            }
        };
        self.bob.handle(self.now, input);
    }

    fn alice_writes(&mut self) {
        self.alice.link_up(self.now);
        let command = Command::Send {
            conversation: self.cast.conversation,
            draft: Draft::text("from Alice"),
            token: None,
        };
        self.alice.command(self.now, command);
        let rests = self.alice.settle(&mut self.log, self.now);
        assert!(rests, "Alice's replica does not come to rest");
        self.alice.link_down(self.now);
    }

    /// The faults stop.
    fn end(mut self) -> bool {
        self.bob.link_down(self.now);
        let bob = self.bob.crash(0, self.now);
        if self.lied {
            // The disk may hold what a lie led to; it opens, or says that it is damaged.
            return false;
        }
        self.bob = bob.expect("what a replica wrote opens");
        for _ in 0..3 {
            for peer in [&mut self.bob, &mut self.alice] {
                if let Some(at) = peer.wait.take() {
                    self.now = self.now.max(at);
                    peer.handle(self.now, Input::Elapsed);
                }
                peer.link_up(self.now);
                let rests = peer.settle(&mut self.log, self.now);
                assert!(rests, "a replica does not come to rest");
                peer.link_down(self.now);
            }
        }
        let conversation = &self.cast.conversation;
        let (bob, alice) = (
            self.bob.messages(conversation),
            self.alice.messages(conversation),
        );
        let texts = |list: &[sheaf_replica::MessageRecord]| -> Vec<String> {
            list.iter().map(|record| record.text.clone()).collect()
        };
        assert_eq!(
            texts(&bob),
            texts(&alice),
            "Bob and Alice list other messages"
        );
        assert_eq!(bob, alice, "Bob and Alice list other messages");
        let heads = |peer: &Peer| {
            let known = peer.replica.conversations();
            let known = known
                .into_iter()
                .find(|known| known.conversation == *conversation);
            known.map(|known| known.heads)
        };
        assert_eq!(
            heads(&self.bob),
            heads(&self.alice),
            "Bob and Alice hold other documents"
        );
        true
    }
}
