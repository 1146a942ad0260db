//! Layouts of messages inside one Automerge document, side by side on real chat text.
//!
//! Run: `cargo bench -p sheaf-replica --bench layout`. Prints one line per layout and size. The
//! table in docs/decisions/0003-message-layout.md came from here.
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a benchmark may stop at its first error"
)]

use std::io::{BufRead, BufReader};
use std::time::Instant;

use automerge::transaction::Transactable;
use automerge::{ActorId, Automerge, Change, ObjType, ROOT, ReadDoc};

const AUTHORS: usize = 5;
const PAGE: usize = 512;

#[derive(Clone, Copy, PartialEq)]
enum Layout {
    Flat,
    Shards(usize),
    Lanes,
}

struct Message {
    author: usize,
    key: String,
    shard: usize,
    text: String,
}

fn main() {
    let texts = texts();
    println!(
        "{:<12} {:>5} {:>10} {:>10} {:>10} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "layout",
        "n",
        "one us",
        "p99 us",
        "100 us/ch",
        "append",
        "save B",
        "load ms",
        "raw B",
        "clone us",
        "get us"
    );
    for count in [1_000, 4_096] {
        for (name, layout) in [
            ("flat", Layout::Flat),
            ("shards 8", Layout::Shards(8)),
            ("shards 16", Layout::Shards(16)),
            ("shards 32", Layout::Shards(32)),
            ("shards 64", Layout::Shards(64)),
            ("lanes 512", Layout::Lanes),
        ] {
            measure(name, layout, &messages(&texts, count + 200));
        }
    }
}

/// `limit` measured messages follow a base of all but 200.
fn measure(name: &str, layout: Layout, messages: &[Message]) {
    let base = messages.len() - 200;
    let mut doc = skeleton(layout);
    let mut appends = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let started = Instant::now();
        append(&mut doc, layout, message, index);
        appends.push(started.elapsed());
    }
    let changes: Vec<Change> = doc.get_changes(&[]);
    let raw: usize = changes.iter().map(|change| change.raw_bytes().len()).sum();
    let before = changes.len() - 200;
    let mut single = Automerge::new();
    single.apply_changes(changes[..before].to_vec()).unwrap();
    let mut batch = single.clone();
    let mut ones = Vec::new();
    for change in &changes[before..] {
        let started = Instant::now();
        single.apply_changes([change.clone()]).unwrap();
        ones.push(started.elapsed());
    }
    let mut hundreds = Vec::new();
    for group in changes[before..].chunks(100) {
        let started = Instant::now();
        batch.apply_changes(group.to_vec()).unwrap();
        hundreds.push(started.elapsed() / group.len() as u32);
    }
    let saved = doc.save();
    let loads: Vec<_> = (0..5)
        .map(|_| {
            let started = Instant::now();
            let loaded = Automerge::load(&saved).unwrap();
            let took = started.elapsed();
            drop(loaded);
            took
        })
        .collect();
    let clones: Vec<_> = (0..20)
        .map(|_| {
            let started = Instant::now();
            drop(doc.clone());
            started.elapsed()
        })
        .collect();
    let gets = lookups(&doc, layout, messages);
    println!(
        "{name:<12} {base:>5} {:>10.0} {:>10.0} {:>10.1} {:>8.0} {:>8.1} {:>8.1} {:>8.0} {:>8.0} {:>8.1}",
        us(&ones, 50),
        us(&ones, 99),
        us(&hundreds, 50),
        us(&appends[base..], 50),
        saved.len() as f64 / messages.len() as f64,
        us(&loads, 50) / 1000.0,
        raw as f64 / changes.len() as f64,
        us(&clones, 50),
        gets
    );
}

fn skeleton(layout: Layout) -> Automerge {
    let mut doc = Automerge::new().with_actor(ActorId::from([0xEE; 16]));
    let mut tx = doc.transaction();
    let root = tx.put_object(ROOT, "messages", ObjType::Map).unwrap();
    if let Layout::Shards(shards) = layout {
        for shard in 0..shards {
            tx.put_object(&root, format!("{shard:x}"), ObjType::Map)
                .unwrap();
        }
    }
    tx.put_object(ROOT, "document", ObjType::Map).unwrap();
    tx.commit();
    doc
}

fn append(doc: &mut Automerge, layout: Layout, message: &Message, index: usize) {
    doc.set_actor(actor(message.author));
    let mut tx = doc.transaction();
    let root = tx.get(ROOT, "messages").unwrap().unwrap().1;
    let object = match layout {
        Layout::Flat => tx
            .put_object(&root, message.key.as_str(), ObjType::Map)
            .unwrap(),
        Layout::Shards(shards) => {
            let shard = tx
                .get(&root, format!("{:x}", message.shard % shards))
                .unwrap()
                .unwrap()
                .1;
            tx.put_object(&shard, message.key.as_str(), ObjType::Map)
                .unwrap()
        }
        Layout::Lanes => {
            let lane = format!("{}", message.author);
            let lane = match tx.get(&root, lane.as_str()).unwrap() {
                Some((_, lane)) => lane,
                None => tx.put_object(&root, lane.as_str(), ObjType::Map).unwrap(),
            };
            let page = format!("{}", index / AUTHORS / PAGE);
            let page = match tx.get(&lane, page.as_str()).unwrap() {
                Some((_, page)) => page,
                None => tx.put_object(&lane, page.as_str(), ObjType::List).unwrap(),
            };
            let end = tx.length(&page);
            let object = tx.insert_object(&page, end, ObjType::Map).unwrap();
            tx.put(&object, "id", message.key.as_str()).unwrap();
            object
        }
    };
    tx.put(&object, "text", message.text.as_str()).unwrap();
    tx.commit();
}

fn lookups(doc: &Automerge, layout: Layout, messages: &[Message]) -> f64 {
    let Layout::Shards(_) = layout else {
        return f64::NAN;
    };
    let Layout::Shards(shards) = layout else {
        return f64::NAN;
    };
    let root = doc.get(ROOT, "messages").unwrap().unwrap().1;
    let started = Instant::now();
    let mut found = 0;
    for message in messages.iter().step_by(7) {
        let shard = doc
            .get(&root, format!("{:x}", message.shard % shards))
            .unwrap()
            .unwrap()
            .1;
        found += usize::from(doc.get(&shard, message.key.as_str()).unwrap().is_some());
    }
    started.elapsed().as_secs_f64() * 1e6 / found as f64
}

fn messages(texts: &[(String, String)], count: usize) -> Vec<Message> {
    let mut ms: u64 = 1_700_000_000_000;
    texts
        .iter()
        .take(count)
        .enumerate()
        .map(|(index, (author, text))| {
            let author = author.bytes().map(usize::from).sum::<usize>() % AUTHORS;
            ms += 1_000 + (index as u64 * 7_919) % 30_011;
            Message {
                author,
                key: format!(
                    "{:016x}{:016x}",
                    ms << 16,
                    0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(author as u64 + 1)
                ),
                shard: (ms % 64) as usize,
                text: text.clone(),
            }
        })
        .collect()
}

fn actor(author: usize) -> ActorId {
    ActorId::from([(author as u8).wrapping_mul(37) ^ 0x5a; 16])
}

/// Real text where the corpus is at hand, else words that repeat.
fn texts() -> Vec<(String, String)> {
    let path = std::env::var("SHEAF_CORPUS").unwrap_or_default();
    let Ok(file) = std::fs::File::open(path) else {
        return (0..5_000_u32)
            .map(|index| {
                (
                    format!("{}", index % 11),
                    format!(
                        "word{} and some other {} words of chat",
                        index % 997,
                        index % 13
                    ),
                )
            })
            .collect();
    };
    BufReader::new(flate2::read::GzDecoder::new(file))
        .lines()
        .take(6_000)
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            (
                value["author"].as_str().unwrap_or_default().to_owned(),
                value["text"].as_str().unwrap_or_default().to_owned(),
            )
        })
        .collect()
}

fn us(samples: &[std::time::Duration], percentile: usize) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() - 1) * percentile / 100].as_secs_f64() * 1e6
}
