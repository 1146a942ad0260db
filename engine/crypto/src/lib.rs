//! Seals and opens: keys, epochs, envelopes, statements, the vault.
//!
//! The construction is research/keys.md section 2; docs/CRYPTOGRAPHY.md writes down every label,
//! nonce, associated data and byte layout. This crate does no input or output and reads no clock and
//! no entropy: randomness and time are arguments. It does not decide who is a member or which device
//! is alive; it says what is well-formed, signed and sealed.
//!
//! Signed objects keep the bytes that were received. Their types have two states: what `decode` or
//! `open` gives is only good for finding the author's key, what `verify` gives is good for use.

pub mod account_vault;
pub mod capability;
pub mod card;
mod codec;
mod committing;
mod derive;
pub mod device;
pub mod envelope;
pub mod epoch;
pub mod evidence;
pub mod id;
pub mod inbox;
mod kem;
mod label;
pub mod limits;
pub mod linking;
pub mod operation;
mod padding;
mod parts;
pub mod recovery;
pub mod safety;
mod signature;
#[cfg(test)]
#[path = "../tests/standards/standards.rs"]
mod standards;
mod statement;
#[cfg(test)]
mod testing;
pub mod thaw;
pub mod user;
pub mod vault;

pub use account_vault::{
    AccountVault, AccountVaultError, AccountVaultPart, JoinedVault, VaultNumber,
    join_account_vault, open_account_vault_part, seal_account_vault,
};
pub use capability::{CapabilityKey, inbox_capability};
pub use card::Card;
pub use codec::CodecError;
pub use device::{DeviceCertificate, DeviceSecrets};
pub use envelope::{Dependency, EnvelopeError, Inner, Kind, Opened, open, seal};
pub use epoch::{
    EpochKeys, EpochSecret, Forward, Recipient, Rekey, Seal, SealError, epoch_id, forward,
    open_chain, open_forward, open_rekey, rekey,
};
pub use evidence::{Evidence, SignedInner};
pub use id::{
    ConversationId, DeviceId, EpochId, IdError, ItemId, OperationId, RunId, UserId, actor_bytes,
    document_digest, item_of_record,
};
pub use inbox::{
    InboxError, InboxMessage, InboxPart, JoinedInbox, join_inbox_parts, open_inbox_part, seal_inbox,
};
pub use kem::{KemRecord, Suite};
pub use linking::{
    Approved, Join, JoinShown, LinkError, LinkStep, Offer, OfferReady, OfferWaiting,
};
pub use operation::{Body, FrontierEntry, Genesis, History, Operation, Role, SignedOperation};
pub use recovery::{PhraseError, RecoveryPhrase};
pub use safety::{fingerprint, safety_number};
pub use signature::{Signature, SignatureError};
pub use statement::StatementError;
pub use thaw::ThawByRecovery;
pub use user::{
    Author, RecoveryKeys, SignedUserGenesis, SignedUserOperation, UserBody, UserGenesis, UserLog,
    UserOperation, prove_recovery_possession,
};
pub use vault::{
    Argon2Params, ErasableKey, LOCKED_KEY_BYTES, Replaced, Unlock, Vault, VaultError, VaultHeader,
};
