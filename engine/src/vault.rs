//! The account vault, and recovery from it.

use std::time::Duration;

use sheaf_replica::{
    Command, CommandError, RecoveryWords, Reply, VaultRecovery, VaultSetting, VaultStatus,
};
use zeroize::Zeroizing;

use crate::engine::{Engine, EngineError, unexpected};

impl Engine {
    /// Becomes a new device of an account by nothing but its phrase: everything else comes from the
    /// vault that the account's devices keep on the relay. The other devices are revoked.
    ///
    /// # Errors
    /// [`EngineError::Link`] if the relay is not reached in time, [`CommandError::NoVault`] if it
    /// holds none, [`CommandError::BadPhrase`].
    pub async fn recover_from_vault(
        &self,
        phrase: &str,
        device: &str,
        timeout: Duration,
    ) -> Result<VaultRecovery, EngineError> {
        let command = Command::RecoverFromVault {
            phrase: RecoveryWords(Zeroizing::new(phrase.to_owned())),
            device: device.to_owned(),
        };
        let recovery = tokio::time::timeout(timeout, self.command(command)).await;
        let Ok(recovered) = recovery else {
            self.command(Command::CancelRecovery).await?;
            // Whether the relay is not reached, and why, or says nothing.
            self.wait_connected(Duration::ZERO).await?;
            return Err(CommandError::RelayUnreachable.into());
        };
        match recovered? {
            Reply::RecoveredFromVault(recovery) => Ok(recovery),
            _ => Err(unexpected()),
        }
    }

    /// Keeps a vault of the account on the relay, or empties it and keeps none, on all devices.
    /// Where this device does not have the vault's key, `phrase` gives it.
    ///
    /// # Errors
    /// [`EngineError::Command`] if the key is missing or the phrase is not the one in force.
    pub async fn set_vault(
        &self,
        setting: VaultSetting,
        phrase: Option<&str>,
    ) -> Result<(), EngineError> {
        let phrase = phrase.map(|words| RecoveryWords(Zeroizing::new(words.to_owned())));
        self.command(Command::SetVault { setting, phrase })
            .await
            .map(|_| ())
    }

    /// Writes the vault without waiting for a quiet time, if something changed since the last one.
    ///
    /// # Errors
    /// [`EngineError::Command`] without an account.
    pub async fn publish_vault(&self) -> Result<(), EngineError> {
        self.command(Command::PublishVault).await.map(|_| ())
    }

    /// Where the vault stands; nothing without an account.
    ///
    /// # Errors
    /// [`EngineError::Closed`].
    pub async fn vault_status(&self) -> Result<Option<VaultStatus>, EngineError> {
        self.query(|replica| replica.vault_status()).await
    }
}
