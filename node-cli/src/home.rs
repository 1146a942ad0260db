//! The home: the directory that holds this device's store and what the command line remembers.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sheaf_protocol::{AddressError, RelayAddress};

use crate::exit::{Code, Failure};

const CONFIG: &str = "config.json";
const STATE: &str = "state";

/// The directory given with `--home`.
#[derive(Debug, Clone)]
pub(crate) struct Home(PathBuf);

/// What is remembered between commands. Nothing in it is secret.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Memory {
    /// The relay in use, as it was remembered while there was only one; read, never written.
    #[serde(skip_serializing)]
    relay: Option<String>,
    /// The relays in use.
    relays: Vec<String>,
    /// When everything was last known to be exchanged, in milliseconds since 1970.
    pub(crate) last_sync_ms: Option<u64>,
    /// The name under which the platform's keyring has the store's key, if it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keyring: Option<String>,
}

impl Home {
    /// The directory given, or the platform's.
    ///
    /// # Errors
    /// A usage failure when none is given and the platform names none.
    pub(crate) fn locate(given: Option<PathBuf>) -> Result<Self, Failure> {
        if let Some(directory) = given {
            return Ok(Self(directory));
        }
        let platform = directories::ProjectDirs::from("", "", "sheaf");
        let directory = platform.map(|directories| directories.data_dir().to_owned());
        directory.map(Self).ok_or_else(|| {
            Failure::usage("the platform names no data directory")
                .advise("give one with --home DIR")
        })
    }

    /// Where the engine keeps its store.
    pub(crate) fn state(&self) -> PathBuf {
        self.0.join(STATE)
    }

    /// Makes the directory, for its owner only.
    ///
    /// # Errors
    /// A failure that names the directory.
    pub(crate) fn create(&self) -> Result<(), Failure> {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder
            .create(&self.0)
            .map_err(|error| Failure::failed(format!("cannot make {}: {error}", self.0.display())))
    }

    /// Fails with "no store" where there is none, before anybody is asked for a passphrase.
    ///
    /// # Errors
    /// [`Code::NoStore`].
    pub(crate) fn expect_store(&self) -> Result<(), Failure> {
        if self.state().is_dir() {
            return Ok(());
        }
        Err(no_store(&self.0))
    }

    /// Takes away a store that was made just now and holds no account: whatever secret is given next
    /// time may make another one.
    ///
    /// # Errors
    /// A failure that names the directory.
    pub(crate) fn remove_store(&self) -> Result<(), Failure> {
        let state = self.state();
        std::fs::remove_dir_all(&state).map_err(|error| unusable(&state, &error))
    }

    /// What is remembered; nothing at first.
    ///
    /// # Errors
    /// A failure that names the file when it does not read.
    pub(crate) fn remembered(&self) -> Result<Memory, Failure> {
        let path = self.0.join(CONFIG);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Memory::default());
            }
            Err(error) => return Err(unusable(&path, &error)),
        };
        let read = serde_json::from_str::<Memory>(&text);
        let mut memory = read.map_err(|error| unusable(&path, &error))?;
        // What was written while there was only one.
        memory.relays.splice(..0, memory.relay.take());
        Ok(memory)
    }

    /// Remembers, so that a crash leaves either the old or the new.
    ///
    /// # Errors
    /// A failure that names the file.
    pub(crate) fn remember(&self, memory: &Memory) -> Result<(), Failure> {
        let path = self.0.join(CONFIG);
        let text = serde_json::to_string_pretty(memory).map_err(|error| unusable(&path, &error))?;
        let write = || -> Result<(), std::io::Error> {
            let mut draft = tempfile::NamedTempFile::new_in(&self.0)?;
            writeln!(draft, "{text}")?;
            draft.as_file().sync_all()?;
            draft.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(|error| unusable(&path, &error))
    }

    /// The relays to use: those given, which are remembered from now on in place of others, or the
    /// remembered ones.
    ///
    /// # Errors
    /// A failure when a remembered one does not read.
    pub(crate) fn relays(&self, given: &[RelayAddress]) -> Result<Vec<RelayAddress>, Failure> {
        let mut memory = self.remembered()?;
        let known = std::mem::take(&mut memory.relays);
        if given.is_empty() {
            let parsed = known.iter().map(|text| text.parse());
            let parsed: Result<_, AddressError> = parsed.collect();
            return parsed.map_err(|error| unusable(&self.0.join(CONFIG), &error));
        }
        memory.relays = given.iter().map(ToString::to_string).collect();
        if memory.relays != known {
            self.remember(&memory)?;
        }
        Ok(given.to_vec())
    }

    /// Remembers that no relay is used.
    ///
    /// # Errors
    /// A failure that names the file.
    pub(crate) fn forget_relays(&self) -> Result<(), Failure> {
        let mut memory = self.remembered()?;
        memory.relays.clear();
        self.remember(&memory)
    }

    /// Remembers that the store's key is in the keyring, or that it is there no longer.
    ///
    /// # Errors
    /// A failure that names the file.
    pub(crate) fn note_keyring(&self, name: Option<&str>) -> Result<(), Failure> {
        let mut memory = self.remembered()?;
        memory.keyring = name.map(str::to_owned);
        self.remember(&memory)
    }

    /// Notes that everything was exchanged just now.
    ///
    /// # Errors
    /// A failure that names the file.
    pub(crate) fn note_sync(&self, now_ms: u64) -> Result<(), Failure> {
        let mut memory = self.remembered()?;
        memory.last_sync_ms = Some(now_ms);
        self.remember(&memory)
    }
}

/// There is no store in this home.
pub(crate) fn no_store(home: &Path) -> Failure {
    Failure::new(Code::NoStore, format!("there is no store in {}", home.display())).advise(
        "create an account with `sheaf init`, join one with `sheaf device join`, or give another --home",
    )
}

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::failed(format!("cannot use {}: {error}", path.display()))
}
