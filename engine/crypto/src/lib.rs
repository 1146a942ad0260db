//! Seals and opens: keys, epochs, envelopes, statements, the vault.
