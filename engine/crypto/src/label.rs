//! Every label of the construction, in one place: no two uses share one, and within the hashes and
//! within the signatures no label starts another, so that no input can be read as two things.

/// Labels in front of what SHA-256 hashes.
pub(crate) mod hash {
    pub(crate) const USER: &[u8] = b"sheaf1/user";
    pub(crate) const DEVICE: &[u8] = b"sheaf1/dev";
    pub(crate) const IDENTITY_OPERATION: &[u8] = b"sheaf1/identity-op";
    pub(crate) const CONVERSATION: &[u8] = b"sheaf1/conv";
    pub(crate) const OPERATION: &[u8] = b"sheaf1/op";
    pub(crate) const EPOCH: &[u8] = b"sheaf1/epoch-id";
    pub(crate) const ACTOR: &[u8] = b"sheaf1/actor";
    pub(crate) const DOCUMENTS: &[u8] = b"sheaf1/documents";
    pub(crate) const SAFETY_NUMBER: &[u8] = b"sheaf1/sn";
    pub(crate) const LINK_COMMITMENT: &[u8] = b"sheaf1/sas-commit";
    pub(crate) const LINK_TRANSCRIPT: &[u8] = b"sheaf1/link-transcript";
    pub(crate) const INBOX_BODY: &[u8] = b"sheaf1/inbox-body";
    pub(crate) const INBOX_MESSAGE: &[u8] = b"sheaf1/inbox-whole";
    pub(crate) const VAULT_BODY: &[u8] = b"sheaf1/vault-body";
    pub(crate) const VAULT_WHOLE: &[u8] = b"sheaf1/vault-whole";
}

/// Labels in front of what Ed25519 signs.
pub(crate) mod signature {
    pub(crate) const KEM_RECORD: &[u8] = b"sheaf1/kem-sig";
    pub(crate) const POSSESSION: &[u8] = b"sheaf1/possession";
    pub(crate) const GENESIS_BY_RECOVERY: &[u8] = b"sheaf1/user-recovery-sig";
    pub(crate) const GENESIS_BY_DEVICE: &[u8] = b"sheaf1/user-device-sig";
    pub(crate) const IDENTITY_OPERATION: &[u8] = b"sheaf1/identity-op-sig";
    pub(crate) const ROTATED_RECOVERY: &[u8] = b"sheaf1/recovery-possession";
    pub(crate) const OPERATION: &[u8] = b"sheaf1/op-sig";
    pub(crate) const THAW: &[u8] = b"sheaf1/thaw-sig";
    pub(crate) const ENVELOPE: &[u8] = b"sheaf1/env-sig";
    pub(crate) const INBOX: &[u8] = b"sheaf1/inbox-sig";
    pub(crate) const VAULT: &[u8] = b"sheaf1/vault-sig";
}

/// The `info` of HKDF.
pub(crate) mod key {
    pub(crate) const EPOCH_COMMITMENT: &[u8] = b"sheaf1/epoch-commit";
    pub(crate) const ENVELOPE: &[u8] = b"sheaf1/env";
    pub(crate) const CHAIN: &[u8] = b"sheaf1/chain";
    pub(crate) const CAPABILITY: &[u8] = b"sheaf1/cap";
    pub(crate) const BLOB: &[u8] = b"sheaf1/blob";
    pub(crate) const EPHEMERAL: &[u8] = b"sheaf1/eph";
    pub(crate) const RELAY_AUTH: &[u8] = b"sheaf1/relay-auth";
    pub(crate) const INBOX_CAPABILITY: &[u8] = b"sheaf1/inbox-cap";
    pub(crate) const RECOVERY_SIGNING: &[u8] = b"sheaf1/recovery-sign";
    pub(crate) const RECOVERY_KEM: &[u8] = b"sheaf1/recovery-kem";
    pub(crate) const RECOVERY_VAULT: &[u8] = b"sheaf1/recovery-vault";
    pub(crate) const LINK_CAPABILITY: &[u8] = b"sheaf1/link-cap";
    pub(crate) const LINK_DIGITS: &[u8] = b"sheaf1/sas";
    pub(crate) const SLOT_KEY_FILE: &[u8] = b"sheaf1/slot-key-file";
    pub(crate) const STORE_VALUE: &[u8] = b"sheaf1/store-value";
    pub(crate) const STORE_ERASABLE: &[u8] = b"sheaf1/store-erasable";
    pub(crate) const STORE_NAME: &[u8] = b"sheaf1/store-name";
}

/// The first bytes of a committing box's header.
pub(crate) mod sealed {
    pub(crate) const ENVELOPE: &[u8] = b"sheaf1/env";
    pub(crate) const CHAIN: &[u8] = b"sheaf1/chain-box";
    pub(crate) const SLOT: &[u8] = b"sheaf1/slot";
}

/// The first bytes of the `info` of HPKE.
pub(crate) mod hpke {
    pub(crate) const SEAL: &[u8] = b"sheaf1/seal";
    pub(crate) const FORWARD: &[u8] = b"sheaf1/forward";
    pub(crate) const INBOX: &[u8] = b"sheaf1/inbox";
    pub(crate) const LINK: &[u8] = b"sheaf1/link";
    pub(crate) const VAULT: &[u8] = b"sheaf1/vault";
}

/// Contexts of HPKE's `export`.
pub(crate) mod export {
    pub(crate) const LINK_TO_NEW: &[u8] = b"sheaf1/link-to-new";
    pub(crate) const LINK_TO_EXISTING: &[u8] = b"sheaf1/link-to-existing";
}

/// The first bytes of the associated data of an XChaCha20-Poly1305 that is not a committing box.
pub(crate) mod associated {
    pub(crate) const STORE: &[u8] = b"sheaf1/store";
    pub(crate) const LINK: &[u8] = b"sheaf1/link-channel";
}

#[cfg(test)]
mod tests;
