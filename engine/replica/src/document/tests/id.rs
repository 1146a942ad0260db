use proptest::prelude::*;

use super::*;

#[test]
fn time_moves_forward_only() {
    let first = HybridTime::next_after(1_000, HybridTime::default(), 0);
    assert_eq!((first.ms(), first.counter()), (1_000, 0));
    let second = HybridTime::next_after(900, first, 0);
    assert_eq!((second.ms(), second.counter()), (1_000, 1));
    let full = HybridTime::new(1_000, u16::MAX).unwrap();
    let carried = HybridTime::next_after(1_000, full, 0);
    assert_eq!((carried.ms(), carried.counter()), (1_001, 0));
    assert_eq!(
        HybridTime::next_after(u64::MAX, HybridTime::MAX, u16::MAX),
        HybridTime::MAX
    );
}

#[test]
fn copies_with_one_clock_come_to_other_times() {
    let last = HybridTime::new(1_000, 7).unwrap();
    for ms in [900, 1_000, 1_001] {
        let mut times: Vec<_> = (0..1024)
            .map(|chance| HybridTime::next_after(ms, last, chance))
            .collect();
        assert!(times.iter().all(|time| *time > last && time.ms() >= ms));
        assert!(times.iter().all(|time| time.ms() <= ms.max(1_001)));
        times.dedup();
        assert!(times.len() > 900, "{} times", times.len());
    }
}

#[test]
fn the_year_2200_is_out_of_range() {
    assert!(HybridTime::new(7_258_118_399_999, u16::MAX).is_some());
    assert!(HybridTime::new(7_258_118_400_000, 0).is_none());
    assert_eq!(MessageId::from_bytes([0xff; 16]), Err(IdError::Time));
    assert_eq!(
        "ffffffffffffffffffffffffffffffff".parse::<MessageId>(),
        Err(IdError::Time)
    );
}

#[test]
fn only_32_lowercase_digits_are_an_id() {
    for wrong in [
        "",
        "00",
        "0000000000000000000000000000000G",
        "0000000000000000000000000000000A",
    ] {
        assert_eq!(wrong.parse::<MessageId>(), Err(IdError::Digits));
    }
}

proptest! {
    #[test]
    fn text_and_order_agree(left in any::<[u8; 16]>(), right in any::<[u8; 16]>()) {
        let (mut left, mut right) = (left, right);
        left[0] = 1;
        left[1] = 0x40;
        right[..4].copy_from_slice(&left[..4]);
        let (left, right) = (MessageId::from_bytes(left).unwrap(), MessageId::from_bytes(right).unwrap());
        prop_assert_eq!(left.to_string().parse(), Ok(left));
        prop_assert_eq!(left.cmp(&right), left.to_string().cmp(&right.to_string()));
        prop_assert_eq!(MessageId::new(left.time(), left.author_tag()), left);
    }
}
