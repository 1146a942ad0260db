//! The ladder of quarantines.

use super::*;

const DAY_MS: u64 = 24 * 3_600 * 1_000;

/// Offends and waits for the end; the duration in minutes, or nothing if it does not end.
fn served(conduct: &mut Conduct, offence: Offence, now: &mut Timestamp) -> Option<u64> {
    let quarantine = conduct.offend(offence, *now).expect("a quarantine");
    assert_eq!(conduct.quarantine, Some(quarantine));
    let until = quarantine.until?;
    assert!(
        !conduct.expire(Timestamp(until.0 - 1)),
        "not before its time"
    );
    let minutes = until.since_ms(*now) / 60_000;
    *now = until;
    assert!(conduct.expire(*now), "by itself");
    Some(minutes)
}

#[test]
fn refused_content_is_held_longer_each_time_and_at_last_until_it_is_lifted() {
    let (mut conduct, mut now) = (Conduct::default(), Timestamp(DAY_MS));
    let mut next = || served(&mut conduct, Offence::RefusedContent, &mut now);
    assert_eq!(next(), Some(10));
    assert_eq!(next(), Some(60));
    assert_eq!(next(), Some(24 * 60));
    assert_eq!(next(), None);
}

#[test]
fn a_week_without_an_offence_makes_good() {
    let (mut conduct, mut now) = (Conduct::default(), Timestamp(DAY_MS));
    for _ in 0..3 {
        served(&mut conduct, Offence::RefusedContent, &mut now);
    }
    now = now.after_ms(8 * DAY_MS);
    let first = served(&mut conduct, Offence::RefusedContent, &mut now);
    assert_eq!(first, Some(10));
    assert_eq!(conduct.counts, [(Offence::RefusedContent, 1)]);
}

#[test]
fn some_mistakes_are_tolerated_in_an_hour() {
    let mut conduct = Conduct::default();
    let start = Timestamp(DAY_MS);
    for number in 0..50 {
        let now = start.after_ms(number * 20 * 60_000);
        let held = conduct.offend(Offence::WrongEpoch, now);
        let hourly = number >= u64::from(limits::OFFENCES_TOLERATED);
        assert_eq!(held.is_some(), hourly, "{number}");
        if hourly {
            return;
        }
    }
}

#[test]
fn floods_are_delayed_and_never_for_good() {
    let (mut conduct, mut now) = (Conduct::default(), Timestamp(DAY_MS));
    let minutes: Vec<_> = (0..6)
        .map(|_| served(&mut conduct, Offence::Flood, &mut now))
        .collect();
    assert_eq!(minutes, [1, 1, 10, 60, 60, 60].map(Some));
}

#[test]
fn a_rate_is_counted_by_the_minute() {
    let now = Timestamp(DAY_MS);
    let mut rate = Rate::new(now);
    assert!(!rate.exceeds(100, 100, now));
    assert!(rate.exceeds(1, 100, now.after_ms(59_999)));
    let mut rate = Rate::new(now);
    assert!(!rate.exceeds(100, 100, now));
    assert!(!rate.exceeds(100, 100, now.after_ms(60_000)));
}
