//! What a device is known to have seen. There is a second version for whoever takes in what names
//! items that are not here yet.

use serde::{Deserialize, Serialize};

use sheaf_crypto::{ConversationId, DeviceId, OperationId, RunId};

use super::{Key, Kind, RecordError, Write, decode_version, encode_version};

const FIRST: u8 = 1;
const SECOND: u8 = 2;

/// What one device is known to have seen.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FrontierRecord {
    pub(crate) conversation: ConversationId,
    pub(crate) device: DeviceId,
    /// Highest sequence that it names, by chain index.
    pub(crate) seen: Vec<(u32, u64)>,
    /// Of its own chains: the last item that is more than a checkpoint.
    pub(crate) substance: Vec<(u32, u64)>,
    /// Of its own chains: the first item that names each cut.
    pub(crate) begun: Vec<(u32, OperationId, u64)>,
    /// Segments in which its documents are other ones than here.
    pub(crate) differs: Vec<u32>,
    /// Highest sequence that it names of chains of which nothing is here.
    #[serde(skip)]
    pub(crate) ahead: Vec<(DeviceId, RunId, u64)>,
}

impl FrontierRecord {
    /// In the first version where that says all.
    pub(crate) fn write(&self) -> Write {
        let key = Key {
            kind: Kind::Frontier,
            scope: self.conversation.0.to_vec(),
            order: self.device.0.to_vec(),
        };
        let value = if self.ahead.is_empty() {
            encode_version(FIRST, self)
        } else {
            encode_version(SECOND, &(self, &self.ahead))
        };
        Write::of(key, Some(value))
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.first() != Some(&SECOND) {
            return decode_version(Kind::Frontier, FIRST, bytes);
        }
        let (mut record, ahead): (Self, Vec<_>) = decode_version(Kind::Frontier, SECOND, bytes)?;
        record.ahead = ahead;
        Ok(record)
    }
}

#[cfg(test)]
mod tests;
