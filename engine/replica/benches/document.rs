//! Segments beside raw Automerge, in one run and on the same changes.
//!
//! Run: `SHEAF_CORPUS=irc.jsonl.gz cargo bench -p sheaf-replica --bench document`. Medians of
//! seven; ratios above one mean that the segment is slower or larger. Raw Automerge parses each
//! change and applies the batch, with no check of any kind; the segment decodes the payload, passes
//! the gate, applies to a copy and keeps its index.
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a benchmark may stop at its first error"
)]

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use automerge::transaction::Transactable;
use automerge::{ActorId, Automerge, Change, ChangeHash, ObjType, ROOT, ReadDoc};
use sheaf_replica::document::{
    HybridTime, Incoming, MessageId, MessageKind, NewMessage, Outcome, Segment, encode_payload,
};

const CONVERSATION: [u8; 32] = [7; 32];
const AUTHORS: u8 = 5;
const REPEATS: usize = 7;

fn main() {
    let texts = texts();
    payloads(&texts);
    catch_up(&texts, 10_000, 1_000);
    catch_up(&texts, 10_000, 100);
    catch_up(&texts, 4_096, 1_000);
    catch_up(&texts, 4_096, 100);
    one_by_one(&texts, 1_000);
    one_by_one(&texts, 4_096);
    appends(&texts, 1_000);
    appends(&texts, 4_096);
    loads(&texts, 4_096);
}

/// Bytes of payloads against Automerge's bundles of the same changes.
fn payloads(texts: &[String]) {
    println!(
        "{:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9}",
        "changes", "text B", "raw B", "bundle", "payload", "ratio", "enc us/ch", "dec us/ch"
    );
    let mut segment = Segment::genesis(&CONVERSATION, 0).unwrap();
    let changes: Vec<_> = texts
        .iter()
        .take(1_000)
        .enumerate()
        .map(|(index, text)| {
            segment
                .append(actor(0), &[message(0, index, text)])
                .unwrap()
        })
        .collect();
    let mut doc = Automerge::new();
    doc.apply_changes(
        segment
            .changes_after(&[])
            .into_iter()
            .map(|raw| Change::from_bytes(raw).unwrap()),
    )
    .unwrap();
    for size in [1, 10, 100, 1_000] {
        let groups: Vec<_> = changes.chunks(size).collect();
        let count = (groups.len() * size) as f64;
        let text: usize = texts.iter().take(1_000).map(String::len).sum();
        let raw: usize = changes.iter().map(|change| change.bytes.len()).sum();
        let bundle: usize = groups
            .iter()
            .map(|group| {
                doc.bundle(group.iter().map(|change| ChangeHash(change.hash)))
                    .unwrap()
                    .bytes()
                    .len()
            })
            .sum();
        let started = Instant::now();
        let encoded: Vec<_> = groups
            .iter()
            .map(|group| {
                let raw: Vec<_> = group.iter().map(|change| &change.bytes).collect();
                encode_payload(segment.key(), &actor(0), &raw).unwrap()
            })
            .collect();
        let encoding = started.elapsed();
        let started = Instant::now();
        for payload in &encoded {
            segment.incoming(actor(0), tag(0), payload).unwrap();
        }
        let decoding = started.elapsed();
        let payload: usize = encoded.iter().map(Vec::len).sum();
        println!(
            "{size:>8} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>8.2} {:>9.1} {:>9.1}",
            text as f64 / count,
            raw as f64 / count,
            bundle as f64 / count,
            payload as f64 / count,
            payload as f64 / bundle as f64,
            us(encoding) / count,
            us(decoding) / count
        );
    }
}

struct Stream {
    raw: Vec<Vec<u8>>,
    incoming: Vec<(u8, Vec<u8>)>,
    segment: Segment,
}

/// A conversation by turns; an envelope holds the changes that one author writes in a row.
fn stream(texts: &[String], count: usize) -> Stream {
    let mut segment = Segment::genesis(&CONVERSATION, 0).unwrap();
    let mut raw = Vec::new();
    let mut incoming = Vec::new();
    let mut run: Vec<Vec<u8>> = Vec::new();
    for index in 0..count {
        let author = author(index);
        let text = &texts[index % texts.len()];
        let change = segment
            .append(actor(author), &[message(author, index, text)])
            .unwrap();
        raw.push(change.bytes.clone());
        run.push(change.bytes);
        if index + 1 == count || self::author(index + 1) != author {
            incoming.push((
                author,
                encode_payload(segment.key(), &actor(author), &run).unwrap(),
            ));
            run.clear();
        }
    }
    Stream {
        raw,
        incoming,
        segment,
    }
}

/// Authors write about ten messages before another does.
fn author(index: usize) -> u8 {
    ((index / 10 * 7) % usize::from(AUTHORS)) as u8
}

fn catch_up(texts: &[String], count: usize, batch: usize) {
    let stream = stream(texts, count);
    let raw = median(|| {
        let mut doc = raw_genesis();
        let started = Instant::now();
        for group in stream.raw.chunks(batch) {
            let changes: Vec<_> = group
                .iter()
                .map(|raw| Change::from_bytes(raw.clone()).unwrap())
                .collect();
            doc.apply_changes(changes).unwrap();
        }
        started.elapsed()
    });
    let mut heads = Vec::new();
    let ours = median(|| {
        let mut segment = Segment::genesis(&CONVERSATION, 0).unwrap();
        let started = Instant::now();
        for group in stream.incoming.chunks(batch / 10) {
            let incoming: Vec<Incoming> = group
                .iter()
                .map(|(author, payload)| {
                    segment
                        .incoming(actor(*author), tag(*author), payload)
                        .unwrap()
                })
                .collect();
            let outcomes = segment.merge(&incoming);
            assert!(
                outcomes
                    .iter()
                    .all(|outcome| matches!(outcome, Outcome::Applied { .. }))
            );
        }
        let took = started.elapsed();
        heads = segment.heads();
        took
    });
    assert_eq!(heads, stream.segment.heads());
    report(
        &format!("catch-up of {count}, batches of {batch}"),
        raw,
        ours,
        count,
    );
}

fn one_by_one(texts: &[String], count: usize) {
    let stream = stream(texts, count + 200);
    let mut doc = raw_genesis();
    doc.apply_changes(
        stream.raw[..count]
            .iter()
            .map(|raw| Change::from_bytes(raw.clone()).unwrap()),
    )
    .unwrap();
    let mut segment = Segment::genesis(&CONVERSATION, 0).unwrap();
    let one = |index: usize| Incoming {
        actor: actor(author(index)),
        author_tag: tag(author(index)),
        changes: vec![stream.raw[index].clone()],
    };
    segment.merge(&(0..count).map(one).collect::<Vec<_>>());
    let (mut raw, mut ours) = (Vec::new(), Vec::new());
    for index in count..count + 200 {
        let started = Instant::now();
        doc.apply_changes([Change::from_bytes(stream.raw[index].clone()).unwrap()])
            .unwrap();
        raw.push(started.elapsed());
        let incoming = one(index);
        let started = Instant::now();
        segment.merge(std::slice::from_ref(&incoming));
        ours.push(started.elapsed());
    }
    assert_eq!(segment.heads(), stream.segment.heads());
    report(
        &format!("merge one into {count}"),
        middle(raw),
        middle(ours),
        1,
    );
}

fn appends(texts: &[String], count: usize) {
    let stream = stream(texts, count);
    let mut segment = stream.segment;
    let mut doc = Automerge::load(&segment.save().unwrap()).unwrap();
    let (mut raw, mut ours) = (Vec::new(), Vec::new());
    for index in count..count + 200 {
        let message = message(0, index, &texts[index % texts.len()]);
        let started = Instant::now();
        segment
            .append(actor(0), std::slice::from_ref(&message))
            .unwrap();
        ours.push(started.elapsed());
        let started = Instant::now();
        doc.set_actor(ActorId::from(actor(0)));
        let mut tx = doc.transaction();
        let messages = tx.get(ROOT, "messages").unwrap().unwrap().1;
        let shard = tx.get(&messages, "0").unwrap().unwrap().1;
        let object = tx
            .put_object(&shard, message.id.to_string(), ObjType::Map)
            .unwrap();
        tx.put(&object, "text", message.text.as_str()).unwrap();
        tx.commit();
        drop(doc.get_last_local_change());
        raw.push(started.elapsed());
    }
    report(&format!("append to {count}"), middle(raw), middle(ours), 1);
}

fn loads(texts: &[String], count: usize) {
    let stream = stream(texts, count);
    let saved = stream.segment.save().unwrap();
    let raw = median(|| {
        let started = Instant::now();
        drop(Automerge::load(&saved).unwrap());
        started.elapsed()
    });
    let ours = median(|| {
        let started = Instant::now();
        drop(Segment::load(&CONVERSATION, 0, &saved).unwrap());
        started.elapsed()
    });
    report(&format!("load of {count}"), raw, ours, 1);
    let raw = median(|| {
        let doc = Automerge::load(&saved).unwrap();
        let started = Instant::now();
        drop(doc.save());
        started.elapsed()
    });
    let ours = median(|| {
        let started = Instant::now();
        drop(stream.segment.save().unwrap());
        started.elapsed()
    });
    report(&format!("save of {count}"), raw, ours, 1);
    println!(
        "saved: {:.1} bytes a message",
        saved.len() as f64 / count as f64
    );
    let started = Instant::now();
    let read = stream.segment.messages().count();
    println!(
        "messages(): {:.2} us a message",
        us(started.elapsed()) / read as f64
    );
}

fn raw_genesis() -> Automerge {
    let segment = Segment::genesis(&CONVERSATION, 0).unwrap();
    Automerge::load(&segment.save().unwrap()).unwrap()
}

fn message(author: u8, index: usize, text: &str) -> NewMessage {
    let ms = 1_700_000_000_000 + index as u64 * 20_000 + (index as u64 * 7_919) % 13_007;
    NewMessage {
        id: MessageId::new(HybridTime::new(ms, 0).unwrap(), tag(author)),
        text: text.to_owned(),
        reply_to: None,
        kind: MessageKind::Text,
        origin: None,
    }
}

fn actor(author: u8) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = (index as u8)
            .wrapping_mul(31)
            .wrapping_add(author.wrapping_mul(97))
            ^ 0x5a;
    }
    bytes
}

fn tag(author: u8) -> [u8; 8] {
    actor(author ^ 0x80)[..8].try_into().unwrap()
}

/// Real text where the corpus is at hand, else words that repeat.
fn texts() -> Vec<String> {
    let path = std::env::var("SHEAF_CORPUS").unwrap_or_default();
    let Ok(file) = std::fs::File::open(path) else {
        return (0..5_000_u32)
            .map(|index| format!("word{} and some other {} words", index % 997, index % 13))
            .collect();
    };
    BufReader::new(flate2::read::GzDecoder::new(file))
        .lines()
        .take(12_000)
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            value["text"].as_str().unwrap_or_default().to_owned()
        })
        .collect()
}

fn report(what: &str, raw: Duration, ours: Duration, count: usize) {
    println!(
        "{what:<36} raw {:>9.1} us, segment {:>9.1} us, ratio {:.2}",
        us(raw) / count as f64,
        us(ours) / count as f64,
        us(ours) / us(raw)
    );
}

fn median(mut measure: impl FnMut() -> Duration) -> Duration {
    middle((0..REPEATS).map(|_| measure()).collect())
}

fn middle(mut samples: Vec<Duration>) -> Duration {
    samples.sort_unstable();
    samples[samples.len() / 2]
}

fn us(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
