//! The three writers of a connection.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sheaf_protocol::{
    Delivery, Refusal, ServerFrame, encode_server_frame,
    limits::{DELIVERY_BYTES_MAX, DELIVERY_RECORDS_MAX},
};
use tokio::sync::mpsc;

use super::{LAST_WORDS, Shared};
use crate::hub::{Advance, Behind, Outbox};
use crate::misbehaviour::{CloseCode, Misbehaviour};
use crate::store::{RangeLimit, StorageError};
use crate::wire::{Sending, Wire, WriteFault};
use crate::writer::{Answer, Outcome};

/// Live frames handed to the transport at once.
const LIVE_FRAMES_AT_ONCE: usize = 64;
/// Answers written at once.
const ANSWERS_AT_ONCE: usize = 64;
/// Pause after the store could not be read.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Ends the connection after a fault; its reader then ends too.
fn give_up(shared: &Shared, wire: &Wire, fault: WriteFault) {
    if fault == WriteFault::Stalled {
        shared.blame(Misbehaviour::Stalled);
        wire.close(CloseCode::Stalled);
    }
}

/// Writes live frames as they come.
pub(super) async fn live(
    shared: Arc<Shared>,
    wire: Wire,
    mut stream: Sending,
    outbox: Arc<Outbox>,
    mut frames: mpsc::Receiver<Bytes>,
) {
    let mut pieces = Vec::with_capacity(LIVE_FRAMES_AT_ONCE);
    while frames.recv_many(&mut pieces, LIVE_FRAMES_AT_ONCE).await > 0 {
        let bytes = pieces.iter().map(Bytes::len).sum();
        if let Err(fault) = stream.write(&mut pieces, shared.stall()).await {
            return give_up(&shared, &wire, fault);
        }
        pieces.clear();
        outbox.written(bytes);
        shared.metrics.delivered_live_bytes.increment(bytes as u64);
    }
}

/// Reads the store for subscriptions that are behind, one chunk of each in turn.
pub(super) async fn history(
    shared: Arc<Shared>,
    wire: Wire,
    mut stream: Sending,
    outbox: Arc<Outbox>,
) {
    let mut turns: VecDeque<Behind> = VecDeque::new();
    loop {
        turns.append(&mut outbox.take_behind());
        let Some(behind) = turns.pop_front() else {
            outbox.some_behind().await;
            continue;
        };
        let (frame, next) = match shared.hub.advance(&outbox, &behind) {
            Advance::Gone => continue,
            Advance::Live => {
                let frame = ServerFrame::CaughtUp {
                    topic: behind.topic,
                    sequence: behind.after,
                };
                (Some(frame), None)
            }
            Advance::Behind(head) => match read_chunk(&shared, behind, head).await {
                Ok((frame, next)) => (frame, Some(next)),
                Err(error) => {
                    tracing::warn!(%error, "history could not be read");
                    shared.metrics.store_errors.increment(1);
                    tokio::time::sleep(STORE_PAUSE).await;
                    (None, Some(behind))
                }
            },
        };
        if let Some(frame) = frame {
            let frame = Bytes::from(encode_server_frame(&frame));
            let bytes = frame.len() as u64;
            if let Err(fault) = stream.write(&mut [frame], shared.stall()).await {
                return give_up(&shared, &wire, fault);
            }
            shared.metrics.delivered_history_bytes.increment(bytes);
        }
        turns.extend(next);
    }
}

/// One chunk of a topic, and where to go on. No records at all means that what is between was
/// trimmed or has expired.
async fn read_chunk(
    shared: &Shared,
    behind: Behind,
    head: u64,
) -> Result<(Option<ServerFrame>, Behind), StorageError> {
    let storage = Arc::clone(&shared.storage);
    let limit = RangeLimit {
        records_max: DELIVERY_RECORDS_MAX,
        bytes_max: DELIVERY_BYTES_MAX,
    };
    let read = move || storage.range(&behind.topic, behind.after, head, limit);
    let records = tokio::task::spawn_blocking(read)
        .await
        .map_err(|_| StorageError::Closed)??;
    let after = records.last().map_or(head, |record| record.sequence);
    let records: Vec<_> = records
        .into_iter()
        .map(|record| Delivery {
            sequence: record.sequence,
            record: record.bytes,
        })
        .collect();
    let frame = (!records.is_empty()).then_some(ServerFrame::Records {
        topic: behind.topic,
        previous: behind.after,
        records,
    });
    Ok((frame, Behind { after, ..behind }))
}

/// Writes answers and other frames of the control stream, and ends it when nobody can add more.
pub(super) async fn control(
    shared: Arc<Shared>,
    wire: Wire,
    mut stream: Sending,
    mut frames: mpsc::Receiver<ServerFrame>,
    mut answers: mpsc::Receiver<Answer>,
) {
    let mut taken = Vec::with_capacity(ANSWERS_AT_ONCE);
    loop {
        let bytes = tokio::select! {
            biased;
            count = answers.recv_many(&mut taken, ANSWERS_AT_ONCE), if !answers.is_closed() || !answers.is_empty() => {
                if count == 0 {
                    continue;
                }
                encode_answers(&shared, &taken)
            }
            frame = frames.recv(), if !frames.is_closed() || !frames.is_empty() => match frame {
                Some(frame) => encode_server_frame(&frame),
                None => continue,
            },
            else => break,
        };
        if let Err(fault) = stream
            .write(&mut [Bytes::from(bytes)], shared.stall())
            .await
        {
            return give_up(&shared, &wire, fault);
        }
        // The permits go with the answers: only what has been written makes room.
        taken.clear();
    }
    stream.finish(LAST_WORDS).await;
}

fn encode_answers(shared: &Shared, answers: &[Answer]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for answer in answers {
        bytes.extend_from_slice(&encode_server_frame(&answer_frame(shared, answer)));
    }
    bytes
}

fn answer_frame(shared: &Shared, answer: &Answer) -> ServerFrame {
    let request = answer.request;
    match answer.outcome {
        Outcome::Durable {
            topic,
            cursor,
            hash,
        } => ServerFrame::Receipt {
            request,
            receipt: shared.key.receipt(topic, cursor, hash),
        },
        Outcome::Subscribed {
            topic,
            head,
            restarted,
        } => ServerFrame::Subscribed {
            request,
            topic,
            head,
            restarted,
        },
        Outcome::Followed {
            digest,
            ref changed,
        } => ServerFrame::Followed {
            request,
            digest,
            changed: changed.clone(),
        },
        Outcome::Witnessed {
            topic,
            cursor,
            history,
        } => ServerFrame::Statement {
            request,
            statement: shared.key.statement(topic, cursor, history),
        },
        Outcome::Refused {
            topic,
            code,
            retry_after_ms,
            message,
        } => {
            shared.metrics.refusal(code);
            ServerFrame::Refused(Refusal {
                request: Some(request),
                topic,
                code,
                retry_after_ms,
                message: message.to_owned(),
            })
        }
    }
}
