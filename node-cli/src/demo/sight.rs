//! What the relay can see.

use serde::Serialize;
use sheaf_engine::TopicId;
use sheaf_relay::Relay;

use crate::exit::Failure;
use crate::time::rfc3339;

/// Bytes of a record that are shown.
const SHOWN_BYTES: usize = 32;

/// What the relay holds of one conversation.
#[derive(Debug, Serialize)]
pub(super) struct Sight {
    topics: usize,
    records: usize,
    bytes: usize,
    last: Option<Record>,
}

/// One record, as the relay has it.
#[derive(Debug, Serialize)]
struct Record {
    topic: String,
    sequence: u64,
    received: String,
    bytes: usize,
    begins: String,
}

impl Sight {
    /// Reads the relay's store.
    ///
    /// # Errors
    /// What reading fails with.
    pub(super) async fn look(relay: &Relay, topics: &[TopicId]) -> Result<Self, Failure> {
        let mut sight = Self {
            topics: 0,
            records: 0,
            bytes: 0,
            last: None,
        };
        for topic in topics {
            let records = relay.peek(*topic).await;
            let records = records
                .map_err(|error| Failure::failed(format!("the relay cannot be read: {error}")))?;
            sight.topics += 1;
            sight.records += records.len();
            sight.bytes += records
                .iter()
                .map(|record| record.bytes.len())
                .sum::<usize>();
            if let Some(last) = records.last() {
                let begins = last.bytes.get(..SHOWN_BYTES).unwrap_or(&last.bytes);
                sight.last = Some(Record {
                    topic: topic.to_string(),
                    sequence: last.sequence,
                    received: rfc3339(last.received_ms),
                    bytes: last.bytes.len(),
                    begins: data_encoding::HEXLOWER.encode(begins),
                });
            }
        }
        Ok(sight)
    }

    pub(super) fn text(&self) -> String {
        let Self {
            topics,
            records,
            bytes,
            last,
        } = self;
        let head = format!(
            "of the first conversation: {records} records, {bytes} bytes in {topics} topics"
        );
        match last {
            None => head,
            Some(last) => format!(
                "{head}\nof its last message: topic {}, number {}, {}, {} bytes that begin\n  {}…",
                last.topic.chars().take(16).collect::<String>(),
                last.sequence,
                last.received,
                last.bytes,
                last.begins
            ),
        }
    }
}
