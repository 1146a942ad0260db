//! Reading the vault topic with the phrase alone: which vaults count, and what they say together.

use std::collections::BTreeMap;

use sheaf_crypto::{
    AccountVaultPart, DeviceId, RecoveryPhrase, UserBody, VaultNumber, join_account_vault,
    open_account_vault_part,
};

use super::VaultBody;
use crate::command::CommandError;
use crate::limits;
use crate::user::Devices;

/// A vault that a live device of its own user log signed.
struct Found {
    number: VaultNumber,
    devices: Devices,
    body: VaultBody,
}

/// Takes the records of a vault topic in. Nothing that it holds is trusted before it verifies, and
/// memory is bounded whatever the topic holds.
#[derive(Default)]
pub(crate) struct VaultReader {
    /// Parts of vaults that are not whole, the oldest first.
    partial: Vec<([u8; 32], Vec<AccountVaultPart>)>,
    /// The newest whole vault of each device.
    found: BTreeMap<DeviceId, Found>,
    refused: u64,
}

/// What the vaults of a topic say together.
pub(crate) struct Chosen {
    /// The user log, merged of all of them.
    pub(crate) devices: Devices,
    /// The newest last.
    pub(crate) bodies: Vec<VaultBody>,
    /// When the newest was written, by its writer's clock, in milliseconds.
    pub(crate) written_ms: u64,
    /// Records and vaults that did not count.
    pub(crate) refused: u64,
}

impl VaultReader {
    /// Takes one record in; says why it does not count.
    pub(crate) fn take(&mut self, phrase: &RecoveryPhrase, record: &[u8]) -> Result<(), String> {
        let taken = self.take_part(phrase, record);
        if taken.is_err() {
            self.refused = self.refused.saturating_add(1);
        }
        taken
    }

    fn take_part(&mut self, phrase: &RecoveryPhrase, record: &[u8]) -> Result<(), String> {
        let part = open_account_vault_part(phrase, record).map_err(|error| error.to_string())?;
        let (group, count) = (part.group(), usize::from(part.count()));
        if count > limits::VAULT_PARTS_MAX {
            return Err("it has more parts than a vault has".to_owned());
        }
        let known = self.partial.iter().position(|(known, _)| *known == group);
        let place = known.unwrap_or_else(|| {
            if self.partial.len() >= limits::VAULT_PARTIAL_MAX {
                self.partial.remove(0);
            }
            self.partial.push((group, Vec::new()));
            self.partial.len().saturating_sub(1)
        });
        let Some((_, parts)) = self.partial.get_mut(place) else {
            return Ok(());
        };
        if parts.iter().any(|known| known.index() == part.index()) {
            return Ok(());
        }
        parts.push(part);
        if parts.len() < count {
            return Ok(());
        }
        let (_, parts) = self.partial.remove(place);
        self.take_whole(phrase, parts)
    }

    fn take_whole(
        &mut self,
        phrase: &RecoveryPhrase,
        parts: Vec<AccountVaultPart>,
    ) -> Result<(), String> {
        let joined = join_account_vault(parts).map_err(|error| error.to_string())?;
        let body = VaultBody::decode(joined.unverified_body()).map_err(|e| e.to_string())?;
        let devices = Devices::decode(&body.log).map_err(|error| error.to_string())?;
        if devices.user != joined.user() {
            return Err("its user log is of another account".to_owned());
        }
        let Some(rotations) = rotations_if_named(&devices, phrase) else {
            return Err("it is the vault of an account that this phrase is not of".to_owned());
        };
        if joined.number().generation != rotations {
            return Err("its generation is not that of its user log".to_owned());
        }
        let writer = joined.device();
        let signing = writer_key(&devices, &writer)?;
        let vault = joined.verify(&signing).map_err(|error| error.to_string())?;
        let number = vault.number;
        let newer = self
            .found
            .get(&writer)
            .is_none_or(|known| known.number < number);
        if newer {
            let found = Found {
                number,
                devices,
                body,
            };
            self.found.insert(writer, found);
        }
        Ok(())
    }

    /// What is to be gone on with: all vaults by devices that all of them together leave live.
    pub(crate) fn choose(mut self, phrase: &RecoveryPhrase) -> Result<Chosen, CommandError> {
        let newest = |found: &BTreeMap<DeviceId, Found>| {
            let numbers = found.iter().map(|(device, vault)| (vault.number, *device));
            numbers.max().map(|(_, device)| device)
        };
        let first = newest(&self.found).and_then(|device| self.found.get(&device));
        let Some(mut devices) = first.map(|vault| vault.devices.clone()) else {
            return Err(CommandError::NoVault(none_there(self.refused)));
        };
        let user = devices.user;
        for vault in self.found.values().filter(|v| v.devices.user == user) {
            devices.merge(&vault.devices);
        }
        let before = self.found.len();
        self.found.retain(|device, vault| {
            vault.devices.user == user && writer_key(&devices, device).is_ok()
        });
        let dropped = before.saturating_sub(self.found.len());
        let dropped = u64::try_from(dropped).unwrap_or(u64::MAX);
        self.refused = self.refused.saturating_add(dropped);
        if devices.recovery().signing != phrase.signing_public() {
            let words = "it was replaced by another phrase";
            return Err(CommandError::BadPhrase(words.to_owned()));
        }
        let mut vaults: Vec<Found> = self.found.into_values().collect();
        vaults.sort_by_key(|vault| vault.number);
        let Some(last) = vaults.last() else {
            return Err(CommandError::NoVault(none_there(self.refused)));
        };
        if last.body.erased {
            let words = "the vault was turned off and is empty";
            return Err(CommandError::NoVault(words.to_owned()));
        }
        let written_ms = last.number.counter;
        let bodies = vaults.into_iter().map(|vault| vault.body);
        Ok(Chosen {
            devices,
            bodies: bodies.filter(|body| !body.erased).collect(),
            written_ms,
            refused: self.refused,
        })
    }
}

fn none_there(refused: u64) -> String {
    match refused {
        0 => "the relay holds no vault of this phrase".to_owned(),
        refused => format!(
            "the relay holds no vault of this phrase; {refused} records there are damaged or forged"
        ),
    }
}

/// The key of a writer whose vaults count: a live device that is not frozen.
fn writer_key(devices: &Devices, writer: &DeviceId) -> Result<[u8; 32], String> {
    let known = devices.device(writer).filter(|known| !known.frozen);
    known
        .map(|known| known.certificate.signing)
        .ok_or_else(|| "its writer is not a live device of the account".to_owned())
}

/// How often the phrase was replaced in a log; nothing if the log names this phrase nowhere. Only
/// who has the phrase can make a log name it: the genesis is signed by it, and a rotation proves
/// possession of it for this one account.
fn rotations_if_named(devices: &Devices, phrase: &RecoveryPhrase) -> Option<u64> {
    let own = phrase.signing_public();
    let genesis = devices.log().genesis.verify().ok()?;
    let mut named = genesis.1.recovery.signing == own;
    let mut rotations: u64 = 0;
    for operation in &devices.log().operations {
        if let Ok(operation) = operation.decode()
            && let UserBody::RotateRecovery { recovery, .. } = &operation.body
        {
            rotations = rotations.saturating_add(1);
            named |= recovery.signing == own;
        }
    }
    named.then_some(rotations)
}

/// How often the phrase was replaced in a log.
pub(crate) fn rotations(devices: &Devices) -> u64 {
    let operations = devices.log().operations.iter();
    let rotated = operations.filter(|operation| {
        operation
            .decode()
            .is_ok_and(|operation| matches!(operation.body, UserBody::RotateRecovery { .. }))
    });
    u64::try_from(rotated.count()).unwrap_or(u64::MAX)
}
