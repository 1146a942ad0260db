//! What is done with a store that no engine runs over: backup, restoration, check, another secret.

use std::path::PathBuf;

use sheaf_crypto::{DeviceId, Unlock, UserId};
use sheaf_protocol::RelayAddress;
use zeroize::Zeroizing;

use super::{EngineBuilder, Secret, replica};
use crate::store::{
    BackupError, BackupMade, CheckReport, OpenError, Overwrite, Store, restore, write_backup,
};

/// A store that was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// The person, if the store holds an account.
    pub user: Option<UserId>,
    /// This device.
    pub device: Option<DeviceId>,
    /// The relay that the account names to others.
    pub relay: Option<RelayAddress>,
    /// Records in the store.
    pub records: u64,
}

impl EngineBuilder {
    /// The passphrase that is to open the store from now on; see [`Self::change_secret`].
    #[must_use]
    pub fn new_passphrase(mut self, passphrase: &str) -> Self {
        self.new_secret = Some(Secret::Passphrase(Zeroizing::new(passphrase.to_owned())));
        self
    }

    /// The 32 random bytes that are to open the store from now on; see [`Self::change_secret`].
    #[must_use]
    pub fn new_key(mut self, key: [u8; 32]) -> Self {
        self.new_secret = Some(Secret::Key(Zeroizing::new(key)));
        self
    }

    /// Puts the new secret in the place of the present one. At any moment one of them opens the
    /// store. Backups that were made before still open by the old one.
    ///
    /// # Errors
    /// [`OpenError`]; with [`OpenError::WrongKey`] nothing was changed.
    pub async fn change_secret(self) -> Result<(), OpenError> {
        self.aside(|this, unlock| {
            let new = Secret::unlock(this.new_secret.as_ref())?;
            let store = Store::open(&this.directory, unlock, None)?;
            store.change_secret(unlock, &new, this.argon2)
        })
        .await
    }

    /// Writes everything in the store to one file, sealed as it is at rest. The same secret opens
    /// it. A damaged store is refused.
    ///
    /// # Errors
    /// [`BackupError`]; then there is no new file.
    pub async fn backup(
        self,
        file: impl Into<PathBuf>,
        overwrite: Overwrite,
    ) -> Result<BackupMade, BackupError> {
        let file = file.into();
        self.aside(move |this, unlock| {
            let store = Store::open(&this.directory, unlock, None)?;
            let report = checked(&store)?;
            if !report.is_sound() {
                let what = "some of its records do not open; `sheaf store check` says which";
                return Err(OpenError::Damaged(what.to_owned()).into());
            }
            write_backup(&store, &file, overwrite)
        })
        .await
    }

    /// Makes a store of a backup where there is none. The device writes under a new run: what the
    /// lost store sent after the backup comes back from the relay and is not contradicted.
    ///
    /// # Errors
    /// [`BackupError`]; then there is no store.
    pub async fn restore(self, file: impl Into<PathBuf>) -> Result<Restored, BackupError> {
        let file = file.into();
        self.aside(move |this, unlock| {
            restore(&file, &this.directory, unlock, |store, report| {
                let overview = replica(store)?.overview();
                Ok(Restored {
                    user: overview.user,
                    device: overview.device,
                    relay: overview.relay,
                    records: report.records(),
                })
            })
        })
        .await
    }

    /// Opens and decodes every record of the store.
    ///
    /// # Errors
    /// [`OpenError`] if it cannot even be opened.
    pub async fn check(self) -> Result<CheckReport, OpenError> {
        self.aside(|this, unlock| checked(&Store::open(&this.directory, unlock, None)?))
            .await
    }

    /// Argon2id and whole stores: not on a thread that others wait for.
    async fn aside<T, E>(
        self,
        work: impl FnOnce(&Self, &Unlock<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<OpenError> + Send + 'static,
    {
        let done = tokio::task::spawn_blocking(move || {
            let unlock = Secret::unlock(self.secret.as_ref())?;
            work(&self, &unlock)
        });
        done.await
            .map_err(|error| OpenError::Io(std::io::Error::other(error)))?
    }
}

/// Every record by itself, and all of them together.
fn checked(store: &Store) -> Result<CheckReport, OpenError> {
    let unread = |error: crate::ReadError| OpenError::Damaged(error.to_string());
    let mut report = store.check().map_err(unread)?;
    if report.is_sound()
        && let Err(OpenError::Damaged(what)) = replica(store).map(drop)
    {
        report.contradiction = Some(what);
    }
    Ok(report)
}
