//! Padme (research/keys.md 2.6): sizes leak at most the order of magnitude and a few leading bits.

use crate::limits;

/// The padded size of `bytes`: at least [`limits::PADDED_BYTES_MIN`], then Padme, which adds at most
/// 12 % and is idempotent.
pub(crate) fn padded_len(bytes: usize) -> usize {
    let bytes = bytes.max(limits::PADDED_BYTES_MIN);
    let exponent = bytes.ilog2();
    let kept_bits = exponent.checked_ilog2().unwrap_or(0) + 1;
    let mask = 1usize
        .checked_shl(exponent.saturating_sub(kept_bits))
        .map_or(0, |unit| unit - 1);
    bytes.saturating_add(mask) & !mask
}

#[cfg(test)]
mod tests;
