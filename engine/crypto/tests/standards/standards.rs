//! Published vectors against the algorithms as this crate calls them, one file for each standard.
//! A module of the crate's unit tests (`src/lib.rs`), because what is called is private.

mod argon2;
mod bip39;
mod data;
mod ed25519;
mod hkdf;
mod hpke;
mod ml_kem;
mod x25519;
mod x_wing;
mod xchacha20_poly1305;
