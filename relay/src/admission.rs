//! Who may use the relay at all. Access to a topic is another question, answered by a proof.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use sha2::{Digest, Sha256};
use sheaf_protocol::RelayId;

use crate::config::{AdmissionConfig, AdmissionMode};
use crate::tls::DeviceKey;

/// Why an admission file is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdmissionError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// A line is not a device key.
    #[error("{} line {line}: not a device key (43 characters of unpadded base64url)", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Number of the line, from one.
        line: usize,
    },
}

/// By what a connection was admitted; kept so that a later change can end it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    device: DeviceKey,
    /// Hash of the token, so that looking it up tells nothing about it through time.
    token: Option<[u8; 32]>,
}

impl Credential {
    pub(crate) fn new(device: DeviceKey, token: Option<&str>) -> Self {
        let token = token.map(|token| Sha256::digest(token).into());
        Self { device, token }
    }
}

#[derive(Debug)]
enum Rule {
    Open,
    Tokens(HashSet<[u8; 32]>),
    Devices(HashSet<DeviceKey>),
}

/// The rule in force.
#[derive(Debug)]
pub(crate) struct Admission {
    config: AdmissionConfig,
    rule: RwLock<Arc<Rule>>,
}

impl Admission {
    pub(crate) fn load(config: AdmissionConfig) -> Result<Self, AdmissionError> {
        let rule = RwLock::new(Arc::new(read(&config)?));
        Ok(Self { config, rule })
    }

    /// Reads the files again. After an error the old rule stays in force.
    pub(crate) fn reload(&self) -> Result<(), AdmissionError> {
        let rule = Arc::new(read(&self.config)?);
        *self.rule.write().unwrap_or_else(PoisonError::into_inner) = rule;
        Ok(())
    }

    pub(crate) fn admits(&self, credential: &Credential) -> bool {
        let rule = Arc::clone(&self.rule.read().unwrap_or_else(PoisonError::into_inner));
        match &*rule {
            Rule::Open => true,
            Rule::Tokens(tokens) => credential
                .token
                .is_some_and(|token| tokens.contains(&token)),
            Rule::Devices(devices) => devices.contains(&credential.device),
        }
    }
}

fn read(config: &AdmissionConfig) -> Result<Rule, AdmissionError> {
    let path = |path: &Option<PathBuf>| path.clone().unwrap_or_default();
    match config.mode {
        AdmissionMode::Open => Ok(Rule::Open),
        AdmissionMode::Token => {
            let lines = lines(&path(&config.tokens_file))?;
            let hashes = lines.iter().map(|(_, line)| Sha256::digest(line).into());
            Ok(Rule::Tokens(hashes.collect()))
        }
        AdmissionMode::Allow => {
            let path = path(&config.allow_file);
            let mut devices = HashSet::new();
            for (line, text) in lines(&path)? {
                let key: RelayId = text.parse().map_err(|_| AdmissionError::Line {
                    path: path.clone(),
                    line,
                })?;
                devices.insert(key.0);
            }
            Ok(Rule::Devices(devices))
        }
    }
}

/// The lines that say something, with their numbers.
fn lines(path: &Path) -> Result<Vec<(usize, String)>, AdmissionError> {
    let text = std::fs::read_to_string(path).map_err(|source| AdmissionError::File {
        path: path.to_owned(),
        source,
    })?;
    let meaningful = text
        .lines()
        .zip(1..)
        .map(|(line, number)| (number, line.split('#').next().unwrap_or_default().trim()))
        .filter(|(_, line)| !line.is_empty())
        .map(|(number, line)| (number, line.to_owned()));
    Ok(meaningful.collect())
}
