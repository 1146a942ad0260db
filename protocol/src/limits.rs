//! Every bound that both sides of the wire must agree on. Units are in the names.

/// Largest record (one sealed envelope) that a relay takes by default. Larger payloads are blobs.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;
/// Largest frame, checked against the length prefix before the body is read.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;
/// Bytes of records that one `Records` frame carries at most, a single larger record aside.
pub const DELIVERY_BYTES_MAX: usize = 128 * 1024;
/// Records that one `Records` frame carries at most.
pub const DELIVERY_RECORDS_MAX: usize = 512;
/// Topics that one connection may prove access to.
pub const TOPICS_PER_CONNECTION_MAX: usize = 20_000;
/// Longest admission token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 256;
/// Longest text that a refusal carries, in bytes.
pub const REFUSAL_BYTES_MAX: usize = 512;
/// Appends that one connection may have unanswered.
pub const APPENDS_IN_FLIGHT_MAX: usize = 256;
/// Retention of an inbox record, in seconds: 45 days.
pub const INBOX_SECONDS_MAX: u64 = 45 * 24 * 3600;
/// Retention of a log record, in seconds: 90 days (research/keys.md 2.13).
pub const LOG_SECONDS_MAX: u64 = 90 * 24 * 3600;
/// Time between the release of log records by their readers and their end, in seconds: 7 days.
pub const RELEASE_SECONDS: u64 = 7 * 24 * 3600;
/// Largest piece of a sealed message that may need several records (an invite, an account).
pub const PART_BYTES_MAX: usize = 48 * 1024;
/// Largest message of the WebSocket transport, in bytes: one byte that names the stream, then a piece
/// of it.
pub const SOCKET_MESSAGE_BYTES_MAX: usize = 64 * 1024 + 1;
/// Topics that one `Follow` frame names at most: such a frame stays well below the largest.
pub const FOLLOWED_MAX: usize = 1_024;
/// Largest piece of evidence against a relay, in bytes.
pub const EVIDENCE_BYTES_MAX: usize = 1_024;
