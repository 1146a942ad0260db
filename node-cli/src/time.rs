//! Times as people and scripts read them.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// RFC 3339 in UTC; times beyond the calendar are shown as the number they are.
pub(crate) fn rfc3339(ms: u64) -> String {
    let known = i64::try_from(ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok());
    known.map_or_else(|| ms.to_string(), |time| format!("{time:.3}"))
}

/// The same for times that may lie before 1970.
pub(crate) fn rfc3339_signed(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| format!("{time:.3}"))
}

/// Milliseconds since 1970 of an RFC 3339 time.
pub(crate) fn parse_rfc3339(text: &str) -> Option<i64> {
    let time: Timestamp = text.parse().ok()?;
    Some(time.as_millisecond())
}

/// Milliseconds since 1970 of a time, or of so long before now.
pub(crate) fn parse_since(text: &str, now_ms: u64) -> Option<u64> {
    if let Some(time) = parse_rfc3339(text) {
        return u64::try_from(time).ok();
    }
    let unit = text.chars().next_back()?;
    let ms_per_unit = match unit {
        's' => 1_000_u64,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return None,
    };
    let count: u64 = text.strip_suffix(unit)?.parse().ok()?;
    Some(now_ms.saturating_sub(count.checked_mul(ms_per_unit)?))
}

/// Now, in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let ms = now.unwrap_or_default().as_millis();
    u64::try_from(ms).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
