//! Messages as they are listed.

use serde::{Deserialize, Serialize};

use sheaf_crypto::{DeviceId, UserId};

use super::{Kind, RecordError, decode};
use crate::document::MessageId;

/// One message as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRecord {
    /// Id; its first half is the time that orders messages.
    pub message: MessageId,
    /// Who wrote it.
    pub author: UserId,
    /// On which device.
    pub device: DeviceId,
    /// Which segment holds it.
    pub segment: u32,
    /// The text.
    pub text: String,
    /// The message it answers.
    pub reply_to: Option<MessageId>,
    /// It is a notice, not something said.
    pub system: bool,
    /// Where it was imported from: author and time in milliseconds.
    pub origin: Option<(String, i64)>,
}

impl MessageRecord {
    /// Decodes the value of a [`Kind::Message`] record.
    ///
    /// # Errors
    /// [`RecordError`] if the bytes are not such a value.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        decode(Kind::Message, bytes)
    }
}
