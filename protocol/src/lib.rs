//! What a relay and a device say to each other: ids, limits, frames, receipts and proofs of access.
//!
//! This crate encodes and decodes; it holds no secret and does no input or output. A relay depends
//! on nothing else of Sheaf, which is why it cannot read what it keeps.

mod access;
mod address;
mod evidence;
mod frame;
mod history;
mod id;
pub mod limits;
mod receipt;
mod socket;

pub use access::{AccessError, AccessProof, access_message, topic_of_capability};
pub use address::{AddressError, RelayAddress};
pub use evidence::{Contradiction, Evidence, EvidenceError, Verdict};
pub use frame::{
    Changed, Class, ClientFrame, DecodeError, Delivery, FRAME_PREFIX_BYTES, Followed, ServerFrame,
    VERSION, decode_client_frame, decode_server_frame, digest_topics, encode_client_frame,
    encode_server_frame,
};
pub use frame::{ErrorCode, Refusal};
pub use history::{History, Statement, StatementError, statement_message};
pub use id::{Cursor, IdError, LogId, RecordHash, RelayId, RequestId, TopicId, hash_record};
pub use receipt::{Receipt, ReceiptError, receipt_message};
pub use socket::{SOCKET_ALPN, SOCKET_CLOSE_BASE, SOCKET_PATH, StreamKind};
