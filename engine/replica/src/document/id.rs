//! Names of messages, ordered by time.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// First instant of the year 2200, in milliseconds since the epoch. Ids from then on are invalid,
/// so that no member can pin every later message of a conversation to the end of time.
const MS_CEILING: u64 = 7_258_118_400_000;
const COUNTER_BITS: u32 = 16;
/// Takes two bytes on the wire.
const FIRST_COUNTER_MAX: u16 = (1 << 14) - 1;
/// Leaves room for 128 messages a millisecond on average before the time runs ahead.
const STEP_MAX: u16 = (1 << 10) - 1;
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Why bytes or text are not a [`MessageId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IdError {
    /// Not 32 lowercase hexadecimal digits.
    #[error("not 32 lowercase hexadecimal digits")]
    Digits,
    /// The time lies in the year 2200 or later.
    #[error("time of id is out of range")]
    Time,
}

/// Hybrid logical time: 48 bits of milliseconds since the epoch, then a 16-bit counter.
///
/// The counter orders what one millisecond holds and carries into the milliseconds when it is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HybridTime(u64);

impl HybridTime {
    /// The latest valid time.
    pub const MAX: Self = Self((MS_CEILING << COUNTER_BITS) - 1);

    /// The time with these 64 bits, or `None` from the year 2200 on.
    #[must_use]
    pub fn from_bits(bits: u64) -> Option<Self> {
        (bits <= Self::MAX.0).then_some(Self(bits))
    }

    /// `ms` milliseconds since the epoch with a counter, or `None` from the year 2200 on.
    #[must_use]
    pub fn new(ms: u64, counter: u16) -> Option<Self> {
        (ms < MS_CEILING).then(|| Self((ms << COUNTER_BITS) | u64::from(counter)))
    }

    /// A time that is neither before `now_ms` nor at or before `last`, and as near as `chance` lets it
    /// be: up to a quarter of a millisecond after the one, up to 1,024 steps after the other. Two
    /// copies of one device whose clocks agree come to other times by chance alone.
    ///
    /// Both are cut to the latest valid time, where the result stays; the caller's clock would
    /// have to be broken for that.
    #[must_use]
    pub fn next_after(now_ms: u64, last: Self, chance: u16) -> Self {
        let now =
            now_ms.min(MS_CEILING - 1) << COUNTER_BITS | u64::from(chance & FIRST_COUNTER_MAX);
        let step = u64::from(chance & STEP_MAX).saturating_add(1);
        Self(now.max(last.0.saturating_add(step)).min(Self::MAX.0))
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub fn ms(self) -> u64 {
        self.0 >> COUNTER_BITS
    }

    /// The place within the millisecond.
    #[must_use]
    pub fn counter(self) -> u16 {
        u16::try_from(self.0 & 0xffff).unwrap_or(u16::MAX)
    }

    /// All 64 bits: milliseconds above, counter below.
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0
    }
}

/// Name of a message: its [`HybridTime`], then eight bytes that name the author's device.
///
/// Both big-endian, so bytes, text and value sort alike: by time, then by author.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId([u8; 16]);

impl MessageId {
    /// The id of a message written at `time` by the device that `author_tag` names.
    #[must_use]
    pub fn new(time: HybridTime, author_tag: [u8; 8]) -> Self {
        let mut bytes = [0; 16];
        let (front, back) = bytes.split_at_mut(8);
        front.copy_from_slice(&time.0.to_be_bytes());
        back.copy_from_slice(&author_tag);
        Self(bytes)
    }

    /// The id with these bytes.
    ///
    /// # Errors
    /// [`IdError::Time`] if the time is not valid.
    pub fn from_bytes(bytes: [u8; 16]) -> Result<Self, IdError> {
        let id = Self(bytes);
        HybridTime::from_bits(id.time().0)
            .map(|_| id)
            .ok_or(IdError::Time)
    }

    /// The bytes of the id.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// When the message was written, by the hybrid clock of its author.
    #[must_use]
    pub fn time(&self) -> HybridTime {
        HybridTime(u64::from_be_bytes(self.half::<0>()))
    }

    /// The tag of the author's device.
    #[must_use]
    pub fn author_tag(&self) -> [u8; 8] {
        self.half::<8>()
    }

    fn half<const START: usize>(&self) -> [u8; 8] {
        let mut half = [0; 8];
        for (to, from) in half.iter_mut().zip(self.0.iter().skip(START)) {
            *to = *from;
        }
        half
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MessageId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::from_digits(text.as_bytes())
    }
}

impl MessageId {
    /// The id that 32 lowercase hexadecimal digits spell.
    pub(super) fn from_digits(digits: &[u8]) -> Result<Self, IdError> {
        let mut bytes = [0; 16];
        if digits.len() != 32 {
            return Err(IdError::Digits);
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            for digit in pair {
                let value = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'a'..=b'f' => digit - b'a' + 10,
                    _ => return Err(IdError::Digits),
                };
                *byte = (*byte << 4) | value;
            }
        }
        Self::from_bytes(bytes)
    }

    /// The 32 digits, as the document's keys hold them.
    pub(super) fn digits(&self) -> [u8; 32] {
        let mut digits = [0; 32];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            for (digit, nibble) in pair.iter_mut().zip([byte >> 4, byte & 15]) {
                *digit = DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
            }
        }
        digits
    }
}

impl Serialize for MessageId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_bytes().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for MessageId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = <[u8; 16]>::deserialize(deserializer)?;
        Self::from_bytes(bytes).map_err(serde::de::Error::custom)
    }
}
