//! Hexadecimal text, and a generator that yields prescribed bytes.

use std::convert::Infallible;

use data_encoding::HEXLOWER_PERMISSIVE;
use rand_core::{TryCryptoRng, TryRng};

pub(super) fn bytes(hex: &str) -> Vec<u8> {
    HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).unwrap()
}

pub(super) fn array<const N: usize>(hex: &str) -> [u8; N] {
    bytes(hex).try_into().unwrap()
}

/// Yields these bytes and stops the test when more are asked for.
pub(super) struct Prescribed(pub(super) Vec<u8>);

impl TryRng for Prescribed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        rand_core::utils::next_word_via_fill(self)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        rand_core::utils::next_word_via_fill(self)
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Infallible> {
        let rest = self.0.split_off(target.len());
        target.copy_from_slice(&self.0);
        self.0 = rest;
        Ok(())
    }
}

impl TryCryptoRng for Prescribed {}
