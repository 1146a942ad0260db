//! Keeps ciphertext by topic until it expires.
