//! One's own devices, contacts' standing, and the audit log.

use sheaf_crypto::{ConversationId, DeviceId, UserId};
use sheaf_replica::record::Kind;
use sheaf_replica::{
    AuditEntry, AuditHead, AuditVerifier, Command, CommandError, DeviceChange, DeviceReport,
    QuarantineInfo, RecoveryWords, Replica, Reply, Timestamp,
};
use zeroize::Zeroizing;

use crate::engine::{Engine, EngineError, unexpected};
use crate::store::{Newest, ReadError, Store};

/// Entries of the audit log that are read at once.
const AUDIT_PAGE: usize = 512;

/// What became of the conversations that a revoked device was part of.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RevocationReport {
    /// The device.
    pub device: DeviceId,
    /// Conversations that it is out of, under new keys.
    pub rotated: Vec<ConversationId>,
    /// Conversations where this device could not take it out: another device or member will.
    pub outstanding: Vec<ConversationId>,
    /// What the device had, and who knows that it is out.
    pub report: DeviceReport,
}

impl Engine {
    async fn change_device(
        &self,
        device: DeviceId,
        change: DeviceChange,
    ) -> Result<Reply, EngineError> {
        self.command(Command::ChangeDevice { device, change }).await
    }

    /// Gives one of one's own devices another name.
    ///
    /// # Errors
    /// [`EngineError::Command`].
    pub async fn rename_device(&self, device: DeviceId, name: &str) -> Result<(), EngineError> {
        let change = DeviceChange::Rename(name.to_owned());
        self.change_device(device, change).await.map(|_| ())
    }

    /// The emergency brake: the device gets no new secret, and its new content waits.
    ///
    /// # Errors
    /// [`EngineError::Command`].
    pub async fn freeze_device(&self, device: DeviceId) -> Result<(), EngineError> {
        let done = self.change_device(device, DeviceChange::Freeze).await;
        done.map(|_| ())
    }

    /// Takes a freeze back.
    ///
    /// # Errors
    /// [`EngineError::Command`] if this device is not senior to the one that froze.
    pub async fn thaw_device(&self, device: DeviceId) -> Result<(), EngineError> {
        let done = self.change_device(device, DeviceChange::Thaw).await;
        done.map(|_| ())
    }

    /// Makes a device the primary one.
    ///
    /// # Errors
    /// [`EngineError::Command`].
    pub async fn hand_over(&self, device: DeviceId) -> Result<(), EngineError> {
        let done = self.change_device(device, DeviceChange::Primary).await;
        done.map(|_| ())
    }

    /// Ends a device: out of the account and of every conversation, each under a new key.
    ///
    /// # Errors
    /// [`EngineError::Command`] if this device is not senior to it.
    pub async fn revoke_device(&self, device: DeviceId) -> Result<RevocationReport, EngineError> {
        match self.change_device(device, DeviceChange::Revoke).await? {
            Reply::Revoked {
                device,
                rotated,
                outstanding,
            } => Ok(RevocationReport {
                device,
                rotated,
                outstanding,
                report: self.device_report(device).await?,
            }),
            _ => Err(unexpected()),
        }
    }

    /// What a device of this account had, and who knows that it is out.
    ///
    /// # Errors
    /// [`EngineError::Command`] if it is no device of the account.
    pub async fn device_report(&self, device: DeviceId) -> Result<DeviceReport, EngineError> {
        let report = self
            .query(move |replica| replica.device_report(&device))
            .await?;
        report.ok_or_else(|| CommandError::UnknownDevice.into())
    }

    /// Says that this device is not to be primary, because it is about to be away or does not want
    /// to: the next one in order is, until a handover names this one again.
    ///
    /// # Errors
    /// [`EngineError::Command`].
    pub async fn decline_primary(&self) -> Result<(), EngineError> {
        let this = self.overview().await?.device;
        let device = this.ok_or(CommandError::NoAccount)?;
        let done = self.change_device(device, DeviceChange::Decline).await;
        done.map(|_| ())
    }

    /// Devices whose content is kept back as misbehaviour.
    ///
    /// # Errors
    /// [`EngineError::Closed`].
    pub async fn quarantines(&self) -> Result<Vec<QuarantineInfo>, EngineError> {
        self.query(Replica::quarantines).await
    }

    /// Becomes a new device of an account whose other devices are lost; they are revoked. `card` is
    /// the account's own, as any contact has it.
    ///
    /// # Errors
    /// [`EngineError::Command`] if the phrase is not the account's, or the store holds one already.
    pub async fn recover_account(
        &self,
        phrase: &str,
        card: &str,
        device: &str,
    ) -> Result<(UserId, DeviceId), EngineError> {
        let command = Command::RecoverAccount {
            phrase: RecoveryWords(Zeroizing::new(phrase.to_owned())),
            card: card.to_owned(),
            device: device.to_owned(),
        };
        match self.command(command).await? {
            Reply::Recovered { user, device } => Ok((user, device)),
            _ => Err(unexpected()),
        }
    }

    /// Takes every freeze of a device back by the phrase, where no device is senior enough.
    ///
    /// # Errors
    /// [`EngineError::Command`] if the phrase is not the one in force.
    pub async fn thaw_by_phrase(&self, device: DeviceId, phrase: &str) -> Result<(), EngineError> {
        let phrase = RecoveryWords(Zeroizing::new(phrase.to_owned()));
        let command = Command::ThawByPhrase { phrase, device };
        self.command(command).await.map(|_| ())
    }

    /// Replaces the recovery phrase and gives the new one, which is kept nowhere.
    ///
    /// # Errors
    /// [`EngineError::Command`] if the phrase is not the one in force.
    pub async fn rotate_recovery(&self, phrase: &str) -> Result<RecoveryWords, EngineError> {
        let phrase = RecoveryWords(Zeroizing::new(phrase.to_owned()));
        match self.command(Command::RotateRecovery { phrase }).await? {
            Reply::RecoveryRotated(words) => Ok(words),
            _ => Err(unexpected()),
        }
    }

    /// The sixty digits that two people compare to know that they mean each other.
    ///
    /// # Errors
    /// [`EngineError::Closed`]; without an account it is empty.
    pub async fn safety_number(&self, user: UserId) -> Result<String, EngineError> {
        self.query(move |replica| replica.safety_number(&user).unwrap_or_default())
            .await
    }

    /// Says that a contact's safety number was compared, or takes that back.
    ///
    /// # Errors
    /// [`EngineError::Command`].
    pub async fn set_verified(&self, user: UserId, verified: bool) -> Result<(), EngineError> {
        let command = Command::SetVerified { user, verified };
        self.command(command).await.map(|_| ())
    }

    /// Refuses a contact's invites, or takes them again.
    ///
    /// # Errors
    /// [`EngineError::Command`].
    pub async fn set_blocked(&self, user: UserId, blocked: bool) -> Result<(), EngineError> {
        let command = Command::SetBlocked { user, blocked };
        self.command(command).await.map(|_| ())
    }

    /// Lets content of a device count again that was held back as misbehaviour.
    ///
    /// # Errors
    /// [`EngineError::Command`].
    pub async fn lift_quarantine(&self, device: DeviceId) -> Result<(), EngineError> {
        self.command(Command::LiftQuarantine(device))
            .await
            .map(|_| ())
    }

    /// Entries of the audit log since a time, in order. The chain of hashes is checked over the whole
    /// log.
    ///
    /// # Errors
    /// [`EngineError::Audit`] if an entry was changed or is missing; [`EngineError::Read`] if one
    /// cannot be read.
    pub fn audit(&self, since: Timestamp) -> Result<Vec<AuditEntry>, EngineError> {
        let store = self.store()?;
        loop {
            let head = audit_head(&store)?;
            let read = read_audit(&store, head, since);
            // What is written meanwhile may take the oldest entry away.
            if read.is_ok() || audit_head(&store)? == head {
                return read;
            }
        }
    }
}

fn audit_head(store: &Store) -> Result<AuditHead, EngineError> {
    let row = store.point(Kind::AuditHead, &[])?;
    let head = row.map(|row| AuditHead::decode(&row.value)).transpose();
    Ok(head.map_err(|_| ReadError::Damaged)?.unwrap_or_default())
}

fn read_audit(
    store: &Store,
    head: AuditHead,
    since: Timestamp,
) -> Result<Vec<AuditEntry>, EngineError> {
    let mut verifier = AuditVerifier::new(head);
    let mut entries = Vec::new();
    let mut after: Option<[u8; 8]> = None;
    loop {
        let bounds = (after.as_ref().map(<[u8; 8]>::as_slice), None);
        let rows = store.page(Kind::Audit, &[], bounds, AUDIT_PAGE, Newest::Last)?;
        for row in &rows {
            let entry = AuditEntry::decode(&row.value).map_err(|_| ReadError::Damaged)?;
            // Written after the head was read.
            if entry.number >= head.next {
                verifier.end()?;
                return Ok(entries);
            }
            verifier.entry(&entry)?;
            after = Some(entry.number.to_be_bytes());
            if entry.time >= since {
                entries.push(entry);
            }
        }
        if rows.len() < AUDIT_PAGE {
            verifier.end()?;
            return Ok(entries);
        }
    }
}
