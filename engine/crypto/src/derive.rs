//! `H` and `KDF` of research/keys.md section 2: SHA-256 and HKDF-SHA256.

use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// `H(part || part || ...)`.
pub(crate) fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// `KDF(ikm, salt, info, N)`.
pub(crate) fn kdf<const N: usize>(ikm: &[u8], salt: &[u8], info: &[u8]) -> Zeroizing<[u8; N]> {
    const { assert!(N <= 255 * 32, "HKDF-SHA256 yields at most 8,160 bytes") };
    let mut output = Zeroizing::new([0; N]);
    let done = Hkdf::<Sha256>::new(Some(salt), ikm).expand(info, output.as_mut_slice());
    debug_assert!(done.is_ok(), "the length is checked at compile time");
    output
}
