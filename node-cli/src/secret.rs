//! Where the secret that unlocks the store comes from. It is never taken from an argument, printed
//! or logged.

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::exit::{Code, Failure};
use crate::home::Home;
use crate::keyring;

const KEY_BYTES: usize = 32;
const PASSPHRASE_BYTES_MAX: u64 = 4_096;

/// What unlocks a store.
pub(crate) enum Secret {
    Passphrase(Zeroizing<String>),
    Key(Zeroizing<[u8; KEY_BYTES]>),
}

/// Whether a store is being made or opened: a new one asks for the passphrase twice and makes a
/// missing key file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Create,
    Open,
}

/// Where to look.
#[derive(Debug)]
pub(crate) enum SecretSource {
    KeyFile(PathBuf),
    PassphraseFile(PathBuf),
    /// The platform's keyring, under this name.
    Keyring(String),
    /// The environment, then a prompt.
    Asked(Asked),
}

/// Whether the secret is the one in use or the one to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Present,
    New,
}

impl Asked {
    fn variable(self) -> &'static str {
        match self {
            Self::Present => "SHEAF_PASSPHRASE",
            Self::New => "SHEAF_NEW_PASSPHRASE",
        }
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Present => ("Passphrase: ", "Passphrase again: "),
            Self::New => ("New passphrase: ", "New passphrase again: "),
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::Present => "set SHEAF_PASSPHRASE, or give --passphrase-file or --key-file",
            Self::New => {
                "set SHEAF_NEW_PASSPHRASE, or give --new-passphrase-file or --new-key-file"
            }
        }
    }
}

impl SecretSource {
    pub(crate) fn new(key_file: Option<PathBuf>, passphrase_file: Option<PathBuf>) -> Self {
        match (key_file, passphrase_file) {
            (Some(file), _) => Self::KeyFile(file),
            (None, Some(file)) => Self::PassphraseFile(file),
            (None, None) => Self::Asked(Asked::Present),
        }
    }

    /// The keyring in the place of a question, where this home's key is in it. What was given, in an
    /// argument or in the environment, comes first.
    ///
    /// # Errors
    /// A failure when what the home remembers does not read.
    pub(crate) fn or_keyring(self, home: &Home) -> Result<Self, Failure> {
        if !matches!(self, Self::Asked(asked) if std::env::var_os(asked.variable()).is_none()) {
            return Ok(self);
        }
        let remembered = home.remembered()?.keyring;
        Ok(remembered.map_or(self, Self::Keyring))
    }

    /// Where the secret that is to take the present one's place comes from.
    pub(crate) fn next(key_file: Option<PathBuf>, passphrase_file: Option<PathBuf>) -> Self {
        match Self::new(key_file, passphrase_file) {
            Self::Asked(_) => Self::Asked(Asked::New),
            other @ (Self::KeyFile(_) | Self::PassphraseFile(_) | Self::Keyring(_)) => other,
        }
    }

    /// Whether a person types it each time, so that asking again says that the person is there.
    pub(crate) fn is_typed(&self) -> bool {
        match self {
            Self::Asked(asked) => {
                std::env::var_os(asked.variable()).is_none() && std::io::stdin().is_terminal()
            }
            Self::KeyFile(_) | Self::PassphraseFile(_) | Self::Keyring(_) => false,
        }
    }

    /// Reads the secret.
    ///
    /// # Errors
    /// A usage failure when there is none and no terminal to ask at.
    pub(crate) fn read(&self, purpose: Purpose) -> Result<Secret, Failure> {
        match self {
            Self::KeyFile(path) => read_key(path, purpose).map(Secret::Key),
            Self::PassphraseFile(path) => read_passphrase(path).map(Secret::Passphrase),
            Self::Keyring(name) => keyring::read(name).map(Secret::Key),
            Self::Asked(asked) => match std::env::var(asked.variable()) {
                Ok(passphrase) => checked(Zeroizing::new(passphrase), asked.variable()),
                Err(std::env::VarError::NotUnicode(_)) => {
                    let variable = asked.variable();
                    Err(Failure::usage(format!("{variable} is not UTF-8")))
                }
                Err(std::env::VarError::NotPresent) => prompt(*asked, purpose),
            }
            .map(Secret::Passphrase),
        }
    }
}

fn read_key(path: &Path, purpose: Purpose) -> Result<Zeroizing<[u8; KEY_BYTES]>, Failure> {
    let cannot = |error: std::io::Error| {
        Failure::failed(format!("cannot use key file {}: {error}", path.display()))
    };
    match File::open(path) {
        Ok(file) => {
            let mut bytes = Zeroizing::new(Vec::with_capacity(2 * KEY_BYTES));
            file.take(1_024).read_to_end(&mut bytes).map_err(cannot)?;
            let key = bytes.as_slice().try_into().map(Zeroizing::new);
            key.map_err(|_| {
                Failure::new(
                    Code::WrongPassphrase,
                    format!(
                        "key file {} does not hold {KEY_BYTES} bytes",
                        path.display()
                    ),
                )
                .advise("give the key file that init made for this store")
            })
        }
        Err(error)
            if error.kind() == std::io::ErrorKind::NotFound && purpose == Purpose::Create =>
        {
            let mut key = Zeroizing::new([0; KEY_BYTES]);
            getrandom::fill(key.as_mut_slice())
                .map_err(|_| Failure::failed("the system gave no random bytes"))?;
            create_key(path, key.as_slice()).map_err(cannot)?;
            Ok(key)
        }
        Err(error) => Err(cannot(error)),
    }
}

fn create_key(path: &Path, key: &[u8]) -> Result<(), std::io::Error> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(key)?;
    file.sync_all()
}

fn read_passphrase(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let cannot = |error: std::io::Error| {
        Failure::failed(format!(
            "cannot use passphrase file {}: {error}",
            path.display()
        ))
    };
    let mut text = Zeroizing::new(String::new());
    let file = File::open(path).map_err(cannot)?;
    file.take(PASSPHRASE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(cannot)?;
    let line = text.lines().next().unwrap_or_default();
    checked(Zeroizing::new(line.to_owned()), "the passphrase file")
}

fn prompt(asked: Asked, purpose: Purpose) -> Result<Zeroizing<String>, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(
            Failure::usage("there is no passphrase, and no terminal to ask at")
                .advise(asked.advice()),
        );
    }
    let (words, again) = asked.words();
    let passphrase = ask(words)?;
    if purpose == Purpose::Create && *ask(again)? != *passphrase {
        return Err(Failure::usage("the two passphrases differ").advise("try again"));
    }
    checked(passphrase, "the passphrase")
}

fn ask(words: &str) -> Result<Zeroizing<String>, Failure> {
    rpassword::prompt_password(words)
        .map(Zeroizing::new)
        .map_err(|error| Failure::failed(format!("the passphrase was not read: {error}")))
}

fn checked(passphrase: Zeroizing<String>, from: &str) -> Result<Zeroizing<String>, Failure> {
    if passphrase.is_empty() {
        return Err(Failure::usage(format!("{from} is empty")));
    }
    Ok(passphrase)
}
