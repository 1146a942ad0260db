//! The account vault: what this device keeps on the relay for a new device that has nothing but the
//! recovery phrase (docs/decisions/0012-vault.md).

mod body;
mod reader;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use sheaf_crypto::{CapabilityKey, ConversationId, DeviceId, RecoveryPhrase, UserId};

use crate::limits;
use crate::record::{Kind, RecordError, Row, Write, decode};
use crate::time::Timestamp;

pub(crate) use body::{VaultBody, VaultContact, VaultConversation, VaultEpoch};
pub(crate) use reader::{Chosen, VaultReader, rotations};

/// Opens the vault topic of one recovery phrase. It reads nothing in it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VaultKey {
    /// The phrase's signing key, which names the phrase.
    pub(crate) recovery: [u8; 32],
    seed: [u8; 32],
}

impl Drop for VaultKey {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.seed);
    }
}

impl VaultKey {
    pub(crate) fn of(phrase: &RecoveryPhrase) -> Self {
        Self {
            recovery: phrase.signing_public(),
            seed: *phrase.vault_seed(),
        }
    }

    pub(crate) fn capability(&self) -> CapabilityKey {
        CapabilityKey::from_seed(&Zeroizing::new(self.seed))
    }
}

/// Whether devices keep a vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum VaultSetting {
    /// They do.
    On,
    /// They do not; an empty vault stands in the place of the last one.
    Off,
}

/// What a person is told about the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct VaultStatus {
    /// Whether a vault is kept.
    pub setting: VaultSetting,
    /// This device can write to the topic of the phrase in force.
    pub has_key: bool,
    /// When this device last put one on the relay's way.
    pub published: Option<Timestamp>,
    /// Something has changed since.
    pub stale: bool,
    /// Conversations that found no room in it.
    pub left_out: u64,
}

/// An account that came out of the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct VaultRecovery {
    /// The person.
    pub user: UserId,
    /// This device.
    pub device: DeviceId,
    /// Conversations that came out of the vault.
    pub conversations: u64,
    /// Contacts that came out of it.
    pub contacts: u64,
    /// When the newest vault was written, by the clock of the device that did.
    pub written: Timestamp,
    /// Records of the topic that did not count: damaged, forged, or by a device that is no more.
    pub refused: u64,
    /// Conversations that had found no room in it.
    pub left_out: u64,
}

/// What is stored of it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct VaultRecord {
    /// The newest last.
    keys: Vec<VaultKey>,
    setting: VaultSetting,
    decided: Timestamp,
    counter: u64,
    digest: [u8; 32],
    /// Which phrase the last vault was sealed to.
    sealed_to: [u8; 32],
    published: Timestamp,
    stale: bool,
    left_out: u64,
    /// Conversations that came out of a vault and that this device is not attached to yet.
    returning: BTreeSet<ConversationId>,
}

/// This device's side of the vault.
pub(crate) struct VaultKeeper {
    record: VaultRecord,
    /// First and last change since the last vault.
    changed: Option<(Timestamp, Timestamp)>,
}

impl Default for VaultKeeper {
    fn default() -> Self {
        let record = VaultRecord {
            keys: Vec::new(),
            setting: VaultSetting::On,
            decided: Timestamp(0),
            counter: 0,
            digest: [0; 32],
            sealed_to: [0; 32],
            published: Timestamp(0),
            stale: false,
            left_out: 0,
            returning: BTreeSet::new(),
        };
        Self {
            record,
            changed: None,
        }
    }
}

impl VaultKeeper {
    /// What holds as long as nobody decided.
    pub(crate) fn suppose(&mut self, setting: VaultSetting) {
        if self.record.decided == Timestamp(0) {
            self.record.setting = setting;
        }
    }

    pub(crate) fn restore(row: &Row) -> Result<Self, RecordError> {
        let record: VaultRecord = decode(row.kind, &row.value)?;
        // What changed in an earlier run waits no longer.
        let changed = record.stale.then_some((Timestamp(0), Timestamp(0)));
        Ok(Self { record, changed })
    }

    pub(crate) fn write(&self) -> Write {
        Write::put(Kind::Vault, &[], &[], &self.record)
    }

    pub(crate) fn keys(&self) -> &[VaultKey] {
        &self.record.keys
    }

    pub(crate) fn setting(&self) -> (VaultSetting, Timestamp) {
        (self.record.setting, self.record.decided)
    }

    pub(crate) fn returning(&self) -> Vec<ConversationId> {
        self.record.returning.iter().copied().collect()
    }

    pub(crate) fn await_return(&mut self, conversation: ConversationId) {
        self.record.returning.insert(conversation);
    }

    pub(crate) fn returned(&mut self, conversation: &ConversationId) {
        self.record.returning.remove(conversation);
    }

    /// Learns a key; `false` if it is known. Beyond the bound the oldest goes.
    pub(crate) fn add_key(&mut self, key: &VaultKey) -> bool {
        if self.record.keys.contains(key) {
            return false;
        }
        self.record.keys.push(key.clone());
        if self.record.keys.len() > limits::VAULT_KEYS_MAX {
            self.record.keys.remove(0);
        }
        true
    }

    /// Takes a decision over, if it is later than the one in force.
    pub(crate) fn decide(&mut self, setting: VaultSetting, decided: Timestamp) -> bool {
        if decided <= self.record.decided {
            return false;
        }
        let changed = setting != self.record.setting;
        self.record.setting = setting;
        self.record.decided = decided;
        changed
    }

    /// The key of the phrase in force.
    pub(crate) fn key(&self, recovery: &[u8; 32]) -> Option<&VaultKey> {
        let mut keys = self.record.keys.iter();
        keys.find(|key| key.recovery == *recovery)
    }

    /// What a vault holds has changed; `true` if that is to be stored.
    pub(crate) fn note_change(&mut self, now: Timestamp) -> bool {
        if self.record.setting == VaultSetting::Off {
            return false;
        }
        self.force(now)
    }

    /// The vault is to be written anew whatever it holds.
    pub(crate) fn force(&mut self, now: Timestamp) -> bool {
        self.changed = match self.changed {
            Some((first, _)) => Some((first, now)),
            None => Some((now, now)),
        };
        !std::mem::replace(&mut self.record.stale, true)
    }

    /// A change waits for no quiet time any more.
    pub(crate) fn hurry(&mut self) {
        if self.changed.is_some() {
            self.changed = Some((Timestamp(0), Timestamp(0)));
        }
    }

    /// When the next vault is due.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        if let Some((first, last)) = self.changed {
            let quiet = last.after_ms(limits::VAULT_QUIET_MS);
            return Some(quiet.min(first.after_ms(limits::VAULT_DELAY_MS_MAX)));
        }
        // Only what was published can expire.
        let renewed = self.record.published.after_ms(limits::VAULT_RENEW_MS);
        (self.record.published > Timestamp(0)).then_some(renewed)
    }

    /// A vault of this digest says nothing new, and the last one is young enough.
    pub(crate) fn is_current(&self, key: &VaultKey, digest: &[u8; 32], now: Timestamp) -> bool {
        let young = now < self.record.published.after_ms(limits::VAULT_RENEW_MS);
        young && self.record.sealed_to == key.recovery && self.record.digest == *digest
    }

    /// Nothing is waiting any more.
    pub(crate) fn rest(&mut self) {
        self.changed = None;
        self.record.stale = false;
    }

    /// The counter of the next vault: of several writers the later one counts further.
    pub(crate) fn next_counter(&self, now: Timestamp) -> u64 {
        self.record.counter.saturating_add(1).max(now.0)
    }

    pub(crate) fn published(
        &mut self,
        key: [u8; 32],
        (counter, digest, left_out): (u64, [u8; 32], u64),
        now: Timestamp,
    ) {
        self.record.counter = counter;
        self.record.digest = digest;
        self.record.sealed_to = key;
        self.record.published = now;
        self.record.left_out = left_out;
        self.rest();
    }

    pub(crate) fn has_published(&self) -> bool {
        self.record.published > Timestamp(0)
    }

    pub(crate) fn status(&self, recovery: &[u8; 32]) -> VaultStatus {
        VaultStatus {
            setting: self.record.setting,
            has_key: self.key(recovery).is_some(),
            published: self.has_published().then_some(self.record.published),
            stale: self.record.stale,
            left_out: self.record.left_out,
        }
    }
}
