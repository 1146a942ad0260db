//! Every bound of the replica, and what happens at it. Units are in the names.

/// Records that wait for what they depend on, per conversation. At the bound those of who is
/// out that would not count are let go of; then the topic is no longer read; its cursor stays, and
/// reading goes on when the gap closes.
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
/// Records that a relay has and another connected one has not yet, kept in memory. At the bound the
/// oldest is let go: the relay that lacks it gets it from the stored envelopes at its next hello.
pub const OWED_RECORDS_MAX: usize = 4_096;
/// Inbox messages that some relay of the account has not taken. At the bound the oldest is let go.
pub const OWED_INBOX_MAX: usize = 1_024;
/// Records that were delivered lately, told apart by where they came from, over all topics. At the
/// bound the oldest is forgotten.
pub const HEARD_RECORDS_MAX: usize = 16_384;
/// Relays that an account uses at once.
pub const RELAYS_MAX: usize = 3;
/// Relays that are remembered. At the bound the one that was silent for longest is forgotten.
pub const RELAYS_KNOWN_MAX: usize = 16;
/// Stored items that are offered to one relay at once.
pub const OFFER_ITEMS: usize = 64;
/// Appends in flight to one relay at once.
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
/// Quiet time after a change before a vault is written, in milliseconds.
pub const VAULT_QUIET_MS: u64 = 30 * 1000;
/// Longest that a change waits for quiet, in milliseconds.
pub const VAULT_DELAY_MS_MAX: u64 = 5 * 60 * 1000;
/// Age at which a vault in which nothing changed is written again, in milliseconds: 14 days, since
/// the relay keeps it for 90.
pub const VAULT_RENEW_MS: u64 = 14 * 24 * 3600 * 1000;
/// Keys of vault topics that a device remembers, one for each recovery phrase. Beyond it the oldest
/// is forgotten.
pub const VAULT_KEYS_MAX: usize = 4;
/// Records of one vault. One that says it has more is refused.
pub const VAULT_PARTS_MAX: usize = 96;
/// Vaults that are not whole and are kept while their topic is read. Beyond it the oldest is dropped.
pub const VAULT_PARTIAL_MAX: usize = 4;
/// Conversations of a device. A further invite or creation is refused.
pub const CONVERSATIONS_MAX: usize = 100_000;
/// Life of an epoch for a sender, in milliseconds: seven days.
pub const EPOCH_AGE_MS_MAX: u64 = 7 * 24 * 3600 * 1000;
/// Member devices that an epoch is forwarded to before a sender draws a new one instead.
pub const FORWARDS_BEFORE_REKEY_MAX: usize = 4;
/// Devices that a new epoch is sealed to in one record; the rest get it by as many to a `HandOver`.
pub const SEALS_PER_RECORD_MAX: usize = 32;
/// Items of removed, frozen or quarantined devices that are kept to be applied later, per
/// conversation, and half as many that are part of no document. What comes beyond stays in its chain
/// and needs a resync.
pub const WITHHELD_ITEMS_MAX: usize = 4_096;
/// Items of forked chains beside the branch that was seen first, per conversation. What comes beyond
/// is dropped: a device that was shown to fork is frozen long before.
pub const FORK_ITEMS_MAX: usize = 1_024;
/// Envelopes under one epoch before a sender draws a new one.
pub const EPOCH_ENVELOPES_MAX: u64 = 5_000;
/// Unfinished inbox messages of several parts. At the bound the oldest is dropped.
pub const INBOX_PARTIAL_MAX: usize = 64;
/// A client token is remembered for at least this long, in milliseconds: seven days.
pub const TOKEN_AGE_MS: u64 = 7 * 24 * 3600 * 1000;
/// Delays before a topic is subscribed again whose delivery did not fit; the last one from then on.
pub const RESUBSCRIBE_DELAYS_MS: [u64; 7] = [0, 1_000, 4_000, 16_000, 60_000, 300_000, 900_000];
/// After this time without such a delivery the delays begin anew.
pub const RESUBSCRIBE_FORGIVEN_MS: u64 = 10 * 60 * 1000;
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
/// Cuts of which it is remembered where one chain first named them. Of the oldest beyond it, what a
/// newcomer lacks is counted from the chain's beginning.
pub const CUTS_BEGUN_MAX: usize = 256;
/// Chains that somebody vouches for before their first item came, per conversation. Beyond it the
/// vouch counts only for who named it later.
pub const CHAINS_AHEAD_MAX: usize = 4_096;
/// Epochs that a device hands to another of the same user; the newest ones. Older ones are asked for.
pub const EPOCHS_HANDED_MAX: usize = 1_024;
/// Newest epochs that an unchained one follows; more stay open and are followed by the next.
pub const EPOCHS_FOLLOWED_MAX: usize = 64;
/// Times that a device asks for one epoch's secret while the answers do not open.
pub const KEY_ASKED_MAX: u32 = 4;
/// Times in [`INVITES_AGAIN_MS`] that a member device which cannot open its keys is sent the log.
pub const INVITES_AGAIN_MAX: u32 = 16;
/// See [`INVITES_AGAIN_MAX`]; in milliseconds: a day.
pub const INVITES_AGAIN_MS: u64 = 24 * 60 * 60 * 1_000;
/// Epochs that a device asks for at once after it was away.
pub const EPOCHS_ASKED_MAX: usize = 64;
/// Documents of one conversation held in memory.
pub const DOCUMENTS_PER_CONVERSATION_MAX: usize = 4;
/// A minute, in milliseconds.
pub const MINUTE_MS: u64 = 60 * 1000;
/// Messages just written that one user may send in a minute before what follows is delayed, unless
/// the app says otherwise. Each flood halves it for that user, down to an eighth.
pub const MESSAGES_PER_MINUTE: u32 = 100;
/// A message counts as just written if its own time is no older than this, in milliseconds.
pub const JUST_WRITTEN_MS: u64 = 2 * 60 * 1000;
/// Users whose messages are counted at once; beyond it those whose minute is over are forgotten.
pub const RATES_MAX: usize = 10_000;
/// Offences in an hour that are no quarantine yet, where one does not suffice.
pub const OFFENCES_TOLERATED: u32 = 8;
/// Offences further apart than this, in milliseconds, are not counted together.
pub const OFFENCES_COUNTED_MS: u64 = 60 * MINUTE_MS;
/// After this time without an offence all is forgiven, in milliseconds: seven days.
pub const OFFENCES_FORGIVEN_MS: u64 = 7 * 24 * 60 * MINUTE_MS;
/// How long content is kept back the first, second and third time: ten minutes, an hour, a day. The
/// fourth time it is kept until somebody lifts it.
pub const QUARANTINES_MS: [u64; 3] = [10 * MINUTE_MS, 60 * MINUTE_MS, 24 * 60 * MINUTE_MS];
/// How long what is over the limit of messages is delayed; the last one from then on.
pub const FLOOD_QUARANTINES_MS: [u64; 4] = [MINUTE_MS, MINUTE_MS, 10 * MINUTE_MS, 60 * MINUTE_MS];
/// Kept items of a conversation from which on quarantines end early there: nothing is lost for want
/// of room.
pub const QUARANTINED_ITEMS_MAX: usize = WITHHELD_ITEMS_MAX / 2;
/// Devices of which something is remembered beside their chains. Of more nothing is: they are
/// sealed to by their certificates, and offences are reported without a quarantine.
pub const PEERS_MAX: usize = 100_000;
/// Age at which a device draws its next sealing key, in milliseconds: seven days.
pub const KEM_AGE_MS_MAX: u64 = 7 * 24 * 60 * MINUTE_MS;
/// How long a replaced sealing key is kept, in milliseconds: thirty days.
pub const KEM_KEPT_MS: u64 = 30 * 24 * 60 * MINUTE_MS;
/// Sealing keys held beyond which the oldest go that a conversation was told of last: room for the next
/// ones comes first.
pub const KEM_SECRETS_NEEDED_MAX: usize = 12;
/// Time after which a primary device that was not heard of may be replaced, in milliseconds:
/// fourteen days. A device is heard of at least weekly, by its new sealing key.
pub const PRIMARY_ABSENT_MS: u64 = 14 * 24 * 60 * MINUTE_MS;
/// How often it is looked what is due after hours and days, in milliseconds: hourly.
pub const UPKEEP_MS: u64 = 60 * MINUTE_MS;
/// Entries of the audit log. With every one beyond it the oldest goes.
pub const AUDIT_ENTRIES_MAX: u64 = 100_000;
/// Entries of the history of syncs. With every one beyond it the oldest goes.
pub const SYNC_ENTRIES_MAX: usize = 256;
/// Relays that one entry of the history of syncs names.
pub const SYNC_RELAYS_MAX: usize = 16;
/// Shortest time between two writes of an entry of the history of syncs while it lasts, in milliseconds:
/// one minute.
pub const SYNC_WRITE_MS: u64 = MINUTE_MS;
/// Chains that one removal names as seen; of more the longest unseen ones are left out.
pub const FRONTIER_ENTRIES_MAX: usize = 1_024;
/// Chains that one item names as seen; the rest are named by the next.
pub const DEPENDENCIES_MAX: usize = 256;
/// Chains that an item names as seen which carries many sealed secrets and must fit into one record.
pub const DEPENDENCIES_BESIDE_SEALS_MAX: usize = 64;
/// A device acknowledges what it has seen this long after it came, in milliseconds, for each device
/// that takes part: many devices say so more seldom.
pub const ACKNOWLEDGE_MS_PER_DEVICE: u64 = 250;
/// The shortest such time.
pub const ACKNOWLEDGE_MS_MIN: u64 = 500;
/// The longest such time.
pub const ACKNOWLEDGE_MS_MAX: u64 = 60_000;
/// A device that has only something to acknowledge leaves it to others, for up to this long, to draw
/// an epoch that can be used.
pub const REKEY_PATIENCE_MS: u64 = 5_000;
/// Segments, the newest first, of which a checkpoint says what they come to.
pub const DIGESTS_PER_CHECKPOINT: usize = 8;
/// In place of a segment: where the store keeps envelopes that are not part of a document.
pub const ASIDE: u32 = u32::MAX;
/// Chains of which nothing is here and that a device is known to have seen, at most; of more it counts as
/// not having seen them.
pub const AHEAD_CHAINS_MAX: usize = 1_024;
/// Chains that a question or an answer names at most; of more the rest is left out.
pub const EXCHANGE_CHAINS_MAX: usize = 4_096;
/// Items that one answer is put together from; the rest is asked for again.
pub const EXCHANGE_ITEMS_MAX: usize = 1_024;
/// Bytes of envelopes, and of operations, in one answer; the rest is asked for again.
pub const EXCHANGE_BYTES_MAX: usize = 1024 * 1024;
/// Segments compared by one question; the rest is left out.
pub const EXCHANGE_SEGMENTS_MAX: usize = 256;
/// Records of a topic, at least, that relays are told to let go of at once, unless the app says
/// otherwise.
pub const RELEASED_RECORDS: u64 = 256;
/// Time between two words to a relay that nothing is to be let go of, in milliseconds.
pub const TAKE_BACK_MS: u64 = 24 * 60 * MINUTE_MS;
/// How long a device is waited for that was asked for a segment, in milliseconds; doubled with every
/// round in which no device gave it.
pub const FETCH_PATIENCE_MS: u64 = 10_000;
/// Bytes of envelopes that a segment may have which is fetched. What comes beyond is not taken in.
pub const FETCH_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Items beyond the last snapshot that are worth the next one.
pub const SNAPSHOT_ITEMS: u64 = 2_048;
/// Segments beyond the last snapshot that are worth the next one: one filled, and the one written to.
pub const SNAPSHOT_SEGMENTS: u32 = 2;
/// Bytes of what a snapshot states. A conversation that does not fit has none: newcomers read it from
/// its beginning.
pub const SNAPSHOT_STATEMENT_BYTES_MAX: usize = 40 * 1024;
/// Topics of one relay of which a snapshot says how far they were read; others are read from their
/// beginning.
pub const SNAPSHOT_TOPICS_MAX: usize = 128;
/// Snapshots of a conversation that are remembered. Beyond it the oldest is forgotten.
pub const SNAPSHOTS_KEPT_MAX: usize = 4;
/// Messages of a conversation that a new device is to have first.
pub const RECENT_MESSAGES: u64 = 50;
/// Places of topics still to read from which on a catch-up is reported.
pub const CATCH_UP_RECORDS: u64 = 64;
/// Least time between two reports of progress in the same stage, and between two looks at it where
/// nothing of note happened, in milliseconds.
pub const PROGRESS_MS: u64 = 250;
/// How long a device leaves a snapshot to the one before it in the order of ids, in milliseconds.
pub const SNAPSHOT_TURN_MS: u64 = 30_000;
/// After this long, in milliseconds, without anything new of what a snapshot states, a newcomer reads
/// the relays from the beginning.
pub const START_PATIENCE_MS: u64 = 10_000;
/// The same after a restart, in milliseconds: it waited before.
pub const START_AGAIN_PATIENCE_MS: u64 = 3_000;
/// A segment that somebody asked for stays this long before it is dropped again, in milliseconds.
pub const FETCHED_KEPT_MS: u64 = 24 * 60 * MINUTE_MS;
/// A month of the policy that drops old segments, in milliseconds: thirty days.
pub const MONTH_MS: u64 = 30 * 24 * 60 * MINUTE_MS;
/// Runs of a device in which the store is asked for what another run begins after.
pub const RUNS_COMPARED_MAX: usize = 16;
/// Questions of a conversation that wait for an answer; of more the oldest is forgotten.
pub const EXCHANGES_MAX: usize = 512;
/// After this long, in milliseconds, a device asks others for what it waits for; doubled each time.
pub const ASK_DELAY_MS: u64 = 2_000;
/// Questions in vain after which a device asks no longer by itself until something changes.
pub const ASK_ATTEMPTS_MAX: u32 = 16;
/// Time in which so much is done for one device that asks, in milliseconds.
pub const ANSWERS_WINDOW_MS: u64 = 10_000;
/// What is done for one device in that time: questions, the segments of a question beyond the first, and
/// pieces of what is given. Further questions in it stay without an answer.
pub const ANSWERS_PER_WINDOW_MAX: usize = 1_024;
/// Bytes of one such piece.
pub const ANSWER_PIECE_BYTES: usize = 64 * 1024;
/// Bytes of what is put together for one device and conversation in a file. Beyond it the export is
/// refused: the device is better linked, or connected, again.
pub const EXPORT_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Places of a topic at one relay of which the hash is remembered; of older ones the relay is asked.
pub const HISTORY_PLACES_MAX: usize = 1_024;
/// Records of a topic that may come before the relay has said what the ones before them come to. At
/// the bound counting begins anew behind them.
pub const AHEAD_RECORDS_MAX: usize = 4_096;
/// Topics that brought nothing new and of which a relay is asked all the same, on each connection.
pub const SPOT_CHECKS: usize = 8;
/// Questions to relays, about what they hold, without an answer. At the bound the next one waits.
pub const QUESTIONS_MAX: usize = 128;
/// Receipts that are remembered, to be compared with later ones. At the bound the oldest goes.
pub const RECEIPTS_KEPT_MAX: usize = 1_024;
/// Statements of relays that one checkpoint names; the rest is named by the next.
pub const STATEMENTS_PER_CHECKPOINT: usize = 4;
/// Pieces of evidence against relays that are kept. What comes beyond is reported and not kept.
pub const EVIDENCE_MAX: usize = 64;
/// A relay that leaves a question, an append or a peer's record unanswered for this long is named, in
/// milliseconds.
pub const ANSWER_MS_MAX: u64 = 30_000;
/// Longest time that a relay can keep a device from sending, in milliseconds: one hour.
pub const RETRY_AFTER_MS_MAX: u64 = 3_600 * 1000;
