//! Every bound on what this crate decodes. Units are in the names.

/// Longest device label, in bytes of UTF-8.
pub const LABEL_BYTES_MAX: usize = 64;
/// Longest name of a conversation or of a card's owner, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 256;
/// Longest text of a relay address inside a card or a link code, in bytes.
pub const RELAY_BYTES_MAX: usize = 320;
/// Devices that one user may have alive (research/keys.md 2.13).
pub const DEVICES_PER_USER_MAX: usize = 10;
/// Devices that one conversation may have (research/keys.md 2.13).
pub const DEVICES_PER_CONVERSATION_MAX: usize = 256;
/// Operations that one user log may hold.
pub const USER_LOG_OPERATIONS_MAX: usize = 1_000;
/// Largest encoded user log, in bytes: what an `Add` carries as its proof.
pub const USER_LOG_BYTES_MAX: usize = 512 * 1024;
/// Parents that one operation may name: the widest bubble (research/keys.md 2.13) with some room.
pub const PARENTS_MAX: usize = 256;
/// Incarnations that one removal may name.
pub const INCARNATIONS_MAX: usize = 256;
/// Proofs of forks that one word of the recovery key takes back.
pub const PROOFS_THAWED_MAX: usize = 256;
/// Entries of a frontier: one per device and run.
pub const FRONTIER_ENTRIES_MAX: usize = 1_024;
/// Forwards that one operation may carry: devices of one user by head epochs.
pub const FORWARDS_MAX: usize = 256;
/// Forwards of one `HandOver`: 1.3 KB each, all in one record of 64 KiB.
pub const HANDED_MAX: usize = 32;
/// Seals of one `Rekey`, dummies included.
pub const SEALS_MAX: usize = DEVICES_PER_CONVERSATION_MAX;
/// Largest HPKE seal of an epoch secret, in bytes: 1,120 of encapsulation, 64 of secret, 16 of tag.
pub const SEALED_BYTES_MAX: usize = 1_200;
/// Epochs that one `Rekey` may chain to.
pub const CHAINED_EPOCHS_MAX: usize = 64;
/// Largest encoded chain, in bytes.
pub const CHAIN_BYTES_MAX: usize = 8 * 1024;
/// Largest KEM public key, in bytes: X-Wing's.
pub const KEM_PUBLIC_BYTES_MAX: usize = 1_216;
/// KEM secrets that a device keeps at once: weekly rotation, erased after 30 days, with room.
pub const KEM_SECRETS_MAX: usize = 16;
/// Control heads that one envelope may name.
pub const CONTROL_HEADS_MAX: usize = 256;
/// Dependencies that one envelope may name.
pub const DEPENDENCIES_MAX: usize = 512;
/// Heads of an Automerge document that a `Cut` may name.
pub const CUT_HEADS_MAX: usize = 256;
/// Largest encoded statement, in bytes.
pub const STATEMENT_BYTES_MAX: usize = 1024 * 1024;
/// Largest signed inner part that an `Equivocation` carries itself, in bytes; a larger one is named.
pub const EVIDENCE_BYTES_MAX: usize = 24 * 1024;
/// Smallest sealed envelope, in bytes (research/keys.md 2.6).
pub const PADDED_BYTES_MIN: usize = 256;
/// Largest body of an inbox message or of a linked account, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Parts that one inbox message or linked account may have.
pub const PARTS_MAX: usize = 255;
/// Smallest padded account vault, in bytes; larger ones are this times a power of two.
pub const VAULT_BYTES_MIN: usize = 32 * 1024;
/// Largest body of an account vault, in bytes: with what goes around it, it fits a padded vault of
/// 4 MiB.
pub const VAULT_BODY_BYTES_MAX: usize = 4 * 1024 * 1024 - 256;
/// Life of a link code, in milliseconds (research/keys.md 2.13).
pub const LINK_CODE_MS_MAX: u64 = 5 * 60 * 1000;
/// Slots of one vault.
pub const VAULT_SLOTS_MAX: usize = 16;
/// Most memory that an Argon2id slot may ask for, in KiB.
pub const ARGON2_MEMORY_KIB_MAX: u32 = 1024 * 1024;
/// Most passes that an Argon2id slot may ask for.
pub const ARGON2_PASSES_MAX: u32 = 16;
/// Most lanes that an Argon2id slot may ask for.
pub const ARGON2_LANES_MAX: u32 = 16;
