//! The relay's own keys: its identity, and two that make restarts invisible.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signer, SigningKey};
use sheaf_protocol::{
    Cursor, History, Receipt, RecordHash, RelayId, Statement, TopicId, receipt_message,
    statement_message,
};
use zeroize::Zeroizing;

const SEED_BYTES: usize = 32;
/// What stands before a 32-byte Ed25519 seed in its PKCS#8 form (RFC 8410).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// Why a key file is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It cannot be read or written.
    #[error("cannot use key file {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// It is not a key.
    #[error(
        "key file {} does not hold exactly {SEED_BYTES} bytes; restore it from a backup, or move it \
         away for a new identity (devices will then need the new address)",
        .0.display()
    )]
    Damaged(PathBuf),
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random,
}

/// Fills an array from the system's randomness.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| KeyError::Random)?;
    Ok(bytes)
}

/// Reads a 32-byte secret, or makes one (readable by the owner only) where there is none.
pub(crate) fn load_or_create(path: &Path) -> Result<Zeroizing<[u8; SEED_BYTES]>, KeyError> {
    let fail = |source| KeyError::File {
        path: path.to_owned(),
        source,
    };
    match std::fs::File::open(path) {
        Ok(file) => {
            let mut bytes = Zeroizing::new(Vec::with_capacity(2 * SEED_BYTES));
            file.take(1024).read_to_end(&mut bytes).map_err(fail)?;
            let seed = bytes.as_slice().try_into();
            seed.map(Zeroizing::new)
                .map_err(|_| KeyError::Damaged(path.to_owned()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let seed = Zeroizing::new(random::<SEED_BYTES>()?);
            create(path, seed.as_slice()).map_err(fail)?;
            Ok(seed)
        }
        Err(error) => Err(fail(error)),
    }
}

/// Writes a file that is either there as a whole or not at all.
fn create(path: &Path, bytes: &[u8]) -> Result<(), std::io::Error> {
    let draft = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    std::fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// The relay's identity.
pub(crate) struct RelayKey(SigningKey);

impl std::fmt::Debug for RelayKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RelayKey({})", self.id())
    }
}

impl RelayKey {
    pub(crate) fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        let seed = load_or_create(path)?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    pub(crate) fn id(&self) -> RelayId {
        RelayId(self.0.verifying_key().to_bytes())
    }

    /// The key in the form that the TLS library takes.
    pub(crate) fn pkcs8(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([&PKCS8_PREFIX[..], self.0.as_bytes()].concat())
    }

    /// Signs the promise that a record is durable.
    pub(crate) fn receipt(&self, topic: TopicId, cursor: Cursor, record: RecordHash) -> Receipt {
        let message = receipt_message(&topic, cursor, &record);
        Receipt {
            topic,
            cursor,
            record,
            signature: self.0.sign(&message).to_bytes().to_vec(),
        }
    }

    /// Signs what the records of a topic come to up to a place.
    pub(crate) fn statement(&self, topic: TopicId, cursor: Cursor, history: History) -> Statement {
        let message = statement_message(&topic, cursor, &history);
        Statement {
            topic,
            cursor,
            history,
            signature: self.0.sign(&message).to_bytes().to_vec(),
        }
    }
}
