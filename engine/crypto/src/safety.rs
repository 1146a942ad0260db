//! What two people compare by eye or voice.

use crate::derive::hash;
use crate::id::UserId;
use crate::label;

const SAFETY_DIGITS: usize = 60;
const FINGERPRINT_DIGITS: usize = 30;
const GROUP_DIGITS: usize = 5;

/// The safety number of two users, the same on both sides: `H("sheaf1/sn" || lower id || higher id)`
/// as a big-endian number, its last 60 decimal digits in groups of five.
#[must_use]
pub fn safety_number(a: &UserId, b: &UserId) -> String {
    let (lower, higher) = if a <= b { (a, b) } else { (b, a) };
    let digest = hash(&[label::hash::SAFETY_NUMBER, &lower.0, &higher.0]);
    grouped_digits(digest, SAFETY_DIGITS)
}

/// One user's fingerprint: the last 30 decimal digits of `H("sheaf1/sn" || user)`, about 100 bits.
#[must_use]
pub fn fingerprint(user: &UserId) -> String {
    grouped_digits(
        hash(&[label::hash::SAFETY_NUMBER, &user.0]),
        FINGERPRINT_DIGITS,
    )
}

/// The last `count` decimal digits of a big-endian number.
fn grouped_digits(mut number: [u8; 32], count: usize) -> String {
    let mut digits = Vec::with_capacity(count);
    for _ in 0..count {
        let mut remainder = 0;
        for byte in &mut number {
            let value = remainder * 256 + u32::from(*byte);
            *byte = u8::try_from(value / 10).unwrap_or(u8::MAX);
            remainder = value % 10;
        }
        digits.push(char::from_digit(remainder, 10).unwrap_or('0'));
    }
    digits.reverse();
    digits
        .chunks(GROUP_DIGITS)
        .map(|group| group.iter().collect::<String>())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests;
