//! The store's one writer: a thread that drains its queue, makes what it took durable in one batch,
//! and only then answers and hands the records to the hub.
//!
//! Group commit without a timer: while one batch is on its way to the disk, the next one gathers.

mod change;

use std::sync::Arc;
use std::time::Instant;

use sheaf_protocol::{
    Changed, Class, Cursor, Delivery, ErrorCode, History, RecordHash, RequestId, TopicId,
};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::hub::{Generation, Hub, Outbox};
use crate::metrics::Metrics;
use crate::store::{Appended, NewRecord, Storage, StorageError};

/// Commands that wait for the writer; beyond it connections stop being read.
const QUEUE_COMMANDS_MAX: usize = 4096;
/// Commands taken into one batch.
const BATCH_COMMANDS_MAX: usize = 512;
/// Bytes of records after which a batch takes no more.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Records deleted in one batch, so that appends do not wait long behind a deletion.
const DELETE_RECORDS_MAX: usize = 512;
/// When a device may come back after a failure of the store.
const RETRY_AFTER_MS: u32 = 2_000;

/// Where an answer goes. The permit travels with it: a connection has a bounded number of requests
/// under way, so sending an answer never waits.
#[derive(Debug)]
pub(crate) struct ReplyTo {
    pub(crate) request: RequestId,
    pub(crate) answers: mpsc::Sender<Answer>,
    pub(crate) permit: OwnedSemaphorePermit,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) request: RequestId,
    pub(crate) outcome: Outcome,
    /// Freed when the answer has been written.
    pub(crate) _permit: OwnedSemaphorePermit,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    Durable {
        topic: TopicId,
        cursor: Cursor,
        hash: RecordHash,
    },
    Subscribed {
        topic: TopicId,
        head: u64,
        restarted: bool,
    },
    Followed {
        digest: [u8; 32],
        changed: Vec<Changed>,
    },
    Witnessed {
        topic: TopicId,
        cursor: Cursor,
        history: History,
    },
    Refused {
        /// Nothing for a request about many topics.
        topic: Option<TopicId>,
        code: ErrorCode,
        retry_after_ms: u32,
        message: &'static str,
    },
}

/// A record to append.
#[derive(Debug)]
pub(crate) struct AppendCommand {
    pub(crate) record: NewRecord,
    pub(crate) reply: ReplyTo,
    pub(crate) received: Instant,
}

/// A subscription to begin.
#[derive(Debug)]
pub(crate) struct SubscribeCommand {
    pub(crate) topic: TopicId,
    pub(crate) after: Option<Cursor>,
    pub(crate) generation: Generation,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) reply: ReplyTo,
}

/// Many subscriptions to begin at once.
#[derive(Debug)]
pub(crate) struct FollowCommand {
    /// Topic, cursor and generation of each, in the order of the request.
    pub(crate) topics: Vec<(TopicId, Option<Cursor>, Generation)>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) reply: ReplyTo,
}

/// A question about what a topic holds, answered between batches: what is signed is durable.
#[derive(Debug)]
pub(crate) struct WitnessCommand {
    pub(crate) topic: TopicId,
    pub(crate) sequence: Option<u64>,
    pub(crate) reply: ReplyTo,
}

/// Work for the writer.
#[derive(Debug)]
pub(crate) enum Command {
    Append(AppendCommand),
    Delete(Deletion),
    Change(Change),
    /// Ends the thread after what was queued before it.
    Stop,
}

/// Records to delete.
#[derive(Debug)]
pub(crate) enum Deletion {
    Trim {
        topic: TopicId,
        upto: u64,
    },
    /// Notes that log records up to a place may go, or takes that back.
    Release {
        topic: TopicId,
        upto: Option<u64>,
        now_ms: u64,
    },
    /// Deletes what was released before a time; answers how many records went.
    Reap {
        before_ms: u64,
        done: oneshot::Sender<usize>,
    },
    /// Deletes what was received before a time; answers how many records went.
    Expire {
        class: Class,
        before_ms: u64,
        done: oneshot::Sender<usize>,
    },
}

/// A change of who is subscribed, or a question that has its place among them.
#[derive(Debug)]
pub(crate) enum Change {
    Subscribe(SubscribeCommand),
    Follow(FollowCommand),
    Witness(WitnessCommand),
    Unsubscribe { topic: TopicId, outbox: Arc<Outbox> },
}

/// Commands taken together. Deletions go first, since they name what was durable before; then the
/// appends in one sync; then the subscriptions, which see a head that is durable.
#[derive(Debug, Default)]
struct Batch {
    deletions: Vec<Deletion>,
    appends: Vec<AppendCommand>,
    changes: Vec<Change>,
    bytes: usize,
}

impl Batch {
    /// Takes a command; `false` when it is the last one.
    fn take(&mut self, command: Command) -> bool {
        match command {
            Command::Append(append) => {
                self.bytes = self.bytes.saturating_add(append.record.bytes.len());
                self.appends.push(append);
            }
            Command::Delete(deletion) => self.deletions.push(deletion),
            Command::Change(change) => self.changes.push(change),
            Command::Stop => return false,
        }
        true
    }

    fn is_full(&self) -> bool {
        let commands = self.deletions.len() + self.appends.len() + self.changes.len();
        commands >= BATCH_COMMANDS_MAX || self.bytes >= BATCH_BYTES_MAX
    }
}

/// The connections' end of the writer's queue.
pub(crate) type WriterQueue = mpsc::Sender<Command>;

/// Starts the writer. The receiver resolves when it has ended and the store is flushed.
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn start(
    storage: Arc<dyn Storage>,
    hub: Arc<Hub>,
    metrics: Arc<Metrics>,
) -> Result<(WriterQueue, oneshot::Receiver<()>), std::io::Error> {
    let (queue, commands) = mpsc::channel(QUEUE_COMMANDS_MAX);
    let (ended, end) = oneshot::channel();
    let writer = Writer {
        storage,
        hub,
        metrics,
    };
    std::thread::Builder::new()
        .name("store-writer".to_owned())
        .spawn(move || {
            writer.run(commands);
            drop(writer);
            // Nobody may be waiting any more.
            let _closed = ended.send(());
        })?;
    Ok((queue, end))
}

struct Writer {
    storage: Arc<dyn Storage>,
    hub: Arc<Hub>,
    metrics: Arc<Metrics>,
}

impl Writer {
    fn run(&self, mut commands: mpsc::Receiver<Command>) {
        self.gauge();
        let mut going = true;
        while going && let Some(first) = commands.blocking_recv() {
            let mut batch = Batch::default();
            going = batch.take(first);
            while going
                && !batch.is_full()
                && let Ok(next) = commands.try_recv()
            {
                going = batch.take(next);
            }
            for deletion in batch.deletions {
                self.delete(deletion);
            }
            if !batch.appends.is_empty() {
                self.append(batch.appends);
            }
            for change in batch.changes {
                self.change(change);
            }
        }
        if let Err(error) = self.storage.close() {
            tracing::error!(%error, "the store did not close well");
        }
    }

    fn append(&self, appends: Vec<AppendCommand>) {
        let (records, replies): (Vec<_>, Vec<_>) = appends
            .into_iter()
            .map(|append| (append.record, (append.reply, append.received)))
            .unzip();
        self.metrics.batch_records.record(count(records.len()));
        match self.storage.append(&records) {
            Ok(results) => {
                let receipts: Vec<_> = records
                    .iter()
                    .map(|record| (record.topic, record.hash, record.bytes.len()))
                    .collect();
                self.publish(records, &results);
                for (((reply, received), result), receipt) in
                    replies.into_iter().zip(results).zip(receipts)
                {
                    self.metrics.append_seconds.record(received.elapsed());
                    let outcome = self.outcome(receipt, result);
                    answer(reply, outcome);
                }
            }
            Err(error) => self.refuse_all(&records, replies, &error),
        }
        self.gauge();
    }

    /// Groups the new records of one topic that stand together, and hands them over.
    fn publish(&self, records: Vec<NewRecord>, results: &[Appended]) {
        let mut runs: Vec<(TopicId, u64, Vec<Delivery>)> = Vec::new();
        for (record, result) in records.into_iter().zip(results) {
            let Appended::New(sequence) = *result else {
                continue;
            };
            let delivery = Delivery {
                sequence,
                record: record.bytes,
            };
            match runs.last_mut() {
                Some((topic, _, run)) if *topic == record.topic => run.push(delivery),
                Some(_) | None => {
                    runs.push((record.topic, sequence.saturating_sub(1), vec![delivery]));
                }
            }
        }
        for (topic, previous, run) in runs {
            self.hub.publish(topic, previous, run);
        }
    }

    fn outcome(
        &self,
        (topic, hash, bytes): (TopicId, RecordHash, usize),
        result: Appended,
    ) -> Outcome {
        let full = |message| Outcome::Refused {
            topic: Some(topic),
            code: ErrorCode::Full,
            retry_after_ms: 0,
            message,
        };
        let sequence = match result {
            Appended::TopicFull => return full("the topic is full"),
            Appended::StoreFull => return full("the relay is full"),
            Appended::New(sequence) => {
                self.metrics.appended.increment(1);
                self.metrics.appended_bytes.increment(bytes as u64);
                sequence
            }
            Appended::Duplicate(sequence) => {
                self.metrics.duplicates.increment(1);
                self.hub.reach(topic, sequence);
                sequence
            }
        };
        let log = self.storage.log();
        Outcome::Durable {
            topic,
            cursor: Cursor { log, sequence },
            hash,
        }
    }

    fn refuse_all(
        &self,
        records: &[NewRecord],
        replies: Vec<(ReplyTo, Instant)>,
        error: &StorageError,
    ) {
        tracing::warn!(%error, records = records.len(), "appends refused: the store is not writable");
        self.metrics.store_errors.increment(1);
        for (record, (reply, _)) in records.iter().zip(replies) {
            answer(reply, unavailable(Some(record.topic)));
        }
    }

    fn change(&self, change: Change) {
        match change {
            Change::Subscribe(command) => self.subscribe(command),
            Change::Follow(command) => self.follow(command),
            Change::Witness(command) => self.witness(command),
            Change::Unsubscribe { topic, outbox } => self.hub.unsubscribe(&outbox, &topic),
        }
    }

    fn delete(&self, deletion: Deletion) {
        match deletion {
            Deletion::Trim { topic, upto } => self.trim(&topic, upto),
            Deletion::Release {
                topic,
                upto,
                now_ms,
            } => self.release(&topic, upto, now_ms),
            Deletion::Reap { before_ms, done } => {
                let reaped = self.storage.reap(before_ms, DELETE_RECORDS_MAX);
                let reaped = self.counted(reaped);
                self.metrics.released.increment(reaped as u64);
                self.gauge();
                // The sweeper may have been stopped meanwhile.
                let _gone = done.send(reaped);
            }
            Deletion::Expire {
                class,
                before_ms,
                done,
            } => {
                let expired = self.storage.expire(class, before_ms, DELETE_RECORDS_MAX);
                let expired = self.counted(expired);
                self.metrics.expired.increment(expired as u64);
                self.gauge();
                // The sweeper may have been stopped meanwhile.
                let _gone = done.send(expired);
            }
        }
    }

    fn trim(&self, topic: &TopicId, upto: u64) {
        loop {
            let trimmed = self.storage.trim(topic, upto, DELETE_RECORDS_MAX);
            let trimmed = self.counted(trimmed);
            self.metrics.trimmed.increment(trimmed as u64);
            if trimmed < DELETE_RECORDS_MAX {
                return self.gauge();
            }
        }
    }

    fn release(&self, topic: &TopicId, upto: Option<u64>, now_ms: u64) {
        let done = match upto {
            Some(upto) => self.storage.release(topic, upto, now_ms).map(|_| 0),
            None => self.storage.take_back(topic).map(|()| 0),
        };
        self.counted(done);
    }

    fn counted(&self, result: Result<usize, StorageError>) -> usize {
        result.unwrap_or_else(|error| {
            tracing::warn!(%error, "records could not be deleted");
            self.metrics.store_errors.increment(1);
            0
        })
    }

    fn gauge(&self) {
        let totals = self.storage.totals();
        self.metrics.store_records.set(totals.records as f64);
        self.metrics.store_bytes.set(totals.bytes as f64);
    }
}

fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::MAX, f64::from)
}

fn unavailable(topic: Option<TopicId>) -> Outcome {
    Outcome::Refused {
        topic,
        code: ErrorCode::Unavailable,
        retry_after_ms: RETRY_AFTER_MS,
        message: "the relay's store does not take records now",
    }
}

fn answer(reply: ReplyTo, outcome: Outcome) {
    let answer = Answer {
        request: reply.request,
        outcome,
        _permit: reply.permit,
    };
    // The queue holds as many answers as there are permits, so a failure means a closed connection.
    let _closed = reply.answers.try_send(answer);
}
