//! Every bound of the replica, and what happens at it. Units are in the names.

/// Records that wait for what they depend on, per conversation. At the bound the topic is no longer
/// read; its cursor stays, and reading goes on when the gap closes.
pub const PARKED_RECORDS_MAX: usize = 8_192;
/// Bytes of such records, per conversation; same behaviour at the bound.
pub const PARKED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Records that arrived live before the history in front of them, per topic. At the bound they are
/// dropped and the topic is subscribed again from its cursor.
pub const EARLY_RECORDS_MAX: usize = 4_096;
/// Changes written here and not yet sealed, over all conversations. At the bound a write is refused
/// with an error; nothing queued is dropped.
pub const PENDING_CHANGES_MAX: usize = 1_000_000;
/// Sealed records that no receipt confirms yet. At the bound no further envelope is sealed.
pub const OUTBOX_RECORDS_MAX: usize = 100_000;
/// Appends in flight to the relay at once.
pub const APPENDS_IN_FLIGHT_MAX: usize = 128;
/// Envelopes of one conversation in flight at once. While the first is under way what is written
/// accumulates into the next; more than one only flies when a batch is full.
pub const ENVELOPES_IN_FLIGHT_MAX: usize = 8;
/// A batch that has reached this many bytes of changes does not wait for the receipt of the last.
pub const BATCH_BYTES: usize = 16 * 1024;
/// Most bytes of changes that one envelope carries, a single larger change aside.
pub const BATCH_BYTES_MAX: usize = 48 * 1024;
/// Longest text of a message, in bytes. A longer one is refused.
pub const TEXT_BYTES_MAX: usize = 32 * 1024;
/// Messages that one bulk change holds at most.
pub const BULK_MESSAGES_MAX: usize = 128;
/// Longest name of a person, device or conversation, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Longest client token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 256;
/// Messages of a segment unless the conversation says otherwise.
pub const SEGMENT_MESSAGES: u32 = 4_096;
/// Largest segment size that a conversation may ask for.
pub const SEGMENT_MESSAGES_MAX: u32 = 65_536;
/// Segments held as documents in memory; the least recently used one is saved and dropped.
pub const DOCUMENTS_LOADED_MAX: usize = 16;
/// Bytes of envelopes after a snapshot that make a new one worth its cost.
pub const SNAPSHOT_TAIL_BYTES: usize = 256 * 1024;
/// Live devices of a user.
pub const DEVICES_PER_USER_MAX: usize = 10;
/// Operations of a user log that are kept free for the recovery phrase. Whoever steals a device and
/// fills the log does not keep the phrase from ending that device.
pub const USER_LOG_OPERATIONS_FOR_PHRASE: usize = 100;
/// Bytes of a user log that are kept free for the recovery phrase.
pub const USER_LOG_BYTES_FOR_PHRASE: usize = 64 * 1024;
/// Live devices of a conversation.
pub const DEVICES_PER_CONVERSATION_MAX: usize = 256;
/// Operations of a conversation's control log. Further ones are refused.
pub const CONTROL_OPERATIONS_MAX: usize = 10_000;
/// Conversations of a device. A further invite or creation is refused.
pub const CONVERSATIONS_MAX: usize = 100_000;
/// Life of an epoch for a sender, in milliseconds: seven days.
pub const EPOCH_AGE_MS_MAX: u64 = 7 * 24 * 3600 * 1000;
/// Member devices that an epoch is forwarded to before a sender draws a new one instead.
pub const FORWARDS_BEFORE_REKEY_MAX: usize = 4;
/// Devices that a new epoch is sealed to in one record; the rest get it by a `Forward` each.
pub const SEALS_PER_RECORD_MAX: usize = 32;
/// Items of removed, frozen or quarantined devices that are kept to be applied later, per
/// conversation. What comes beyond stays in its chain and needs a resync.
pub const WITHHELD_ITEMS_MAX: usize = 4_096;
/// Envelopes under one epoch before a sender draws a new one.
pub const EPOCH_ENVELOPES_MAX: u64 = 5_000;
/// Unfinished inbox messages of several parts. At the bound the oldest is dropped.
pub const INBOX_PARTIAL_MAX: usize = 64;
/// A client token is remembered for at least this long, in milliseconds: seven days.
pub const TOKEN_AGE_MS: u64 = 7 * 24 * 3600 * 1000;
/// How far ahead of this device's clock another device's time is followed, in milliseconds.
pub const CLOCK_AHEAD_MS_MAX: u64 = 5 * 60 * 1000;
/// Delays before an append that the relay refused is tried again, in milliseconds.
pub const RETRY_DELAYS_MS: [u64; 5] = [1_000, 2_000, 4_000, 8_000, 16_000];
/// Runs that one device may open in a conversation.
pub const RUNS_PER_DEVICE_MAX: usize = 65_536;
/// Segments of a conversation before its first cut. The last one is never full.
pub const SEGMENTS_MAX: u32 = 1 << 20;
/// Segments that one cut opens. The last one is never full.
pub const WINDOW_SEGMENTS: u32 = 256;
/// Windows that a cut may lie above the one before it. Its author picks one of them by chance, so
/// that two cuts made at once rarely open the same.
pub const CUT_WINDOWS_MAX: u32 = 4_096;
/// Cuts that one item names as newly seen. Who missed more at once names the newest; whoever began at
/// an older one of them has to be added again to read that device.
pub const CUTS_NAMED_MAX: usize = 128;
/// Operations that a newcomer asks others for, per conversation and start of the process. Beyond it he
/// waits for somebody's next invite.
pub const OPERATIONS_ASKED_MAX: usize = 4_096;
/// Chains that somebody vouches for before their first item came, per conversation. Beyond it the
/// vouch counts only for who named it later.
pub const CHAINS_AHEAD_MAX: usize = 4_096;
/// Epochs that a device hands to another of the same user; the newest ones. Older ones are asked for.
pub const EPOCHS_HANDED_MAX: usize = 1_024;
/// Newest epochs that an unchained one follows; more stay open and are followed by the next.
pub const EPOCHS_FOLLOWED_MAX: usize = 64;
/// Epochs that a device asks for at once after it was away.
pub const EPOCHS_ASKED_MAX: usize = 64;
/// Documents of one conversation held in memory.
pub const DOCUMENTS_PER_CONVERSATION_MAX: usize = 4;
/// Chains that one removal names as seen; of more the longest unseen ones are left out.
pub const FRONTIER_ENTRIES_MAX: usize = 1_024;
/// Chains that one item names as seen; the rest are named by the next.
pub const DEPENDENCIES_MAX: usize = 256;
