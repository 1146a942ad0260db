//! Randomness of the operating system, as the other crates take it.

use std::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};

/// The operating system's generator. It stops the process rather than give weak randomness.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct OsEntropy;

impl TryRng for OsEntropy {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        while let Err(error) = getrandom::fill(bytes) {
            // Keys must not be made of anything else: wait until there is randomness.
            tracing::error!(%error, "no randomness from the operating system; waiting");
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        Ok(())
    }
}

impl TryCryptoRng for OsEntropy {}
