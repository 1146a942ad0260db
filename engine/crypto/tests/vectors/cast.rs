//! The fixed cast of the vectors and their comparison with the frozen files.

use std::fs;
use std::path::Path;

use data_encoding::HEXLOWER;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_json::Value;
use sheaf_crypto::{ConversationId, DeviceSecrets, Recipient, Suite};

/// ChaCha20 with a seed of one repeated byte.
pub(crate) fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

pub(crate) fn device(seed: u8) -> DeviceSecrets {
    device_of(seed, Suite::XWing)
}

pub(crate) fn device_of(seed: u8, suite: Suite) -> DeviceSecrets {
    DeviceSecrets::generate(&mut rng(seed), suite)
}

pub(crate) fn recipient(device: &DeviceSecrets) -> Recipient {
    Recipient {
        device: device.device(),
        kem: device.kem_record().unwrap(),
    }
}

pub(crate) fn conversation() -> ConversationId {
    ConversationId([0xc0; 32])
}

pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> String {
    HEXLOWER.encode(bytes.as_ref())
}

/// Compares with the frozen file, or writes it when asked to.
pub(crate) fn check(name: &str, vector: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("vectors/{name}.json"));
    let text = serde_json::to_string_pretty(vector).unwrap() + "\n";
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        fs::write(&path, text).unwrap();
        return;
    }
    let frozen = fs::read_to_string(&path).unwrap();
    assert!(frozen == text, "{} is another format", path.display());
}
