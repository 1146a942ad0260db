use proptest::prelude::*;

use super::*;

#[test]
fn time_moves_forward_only() {
    let first = HybridTime::next_after(1_000, HybridTime::default());
    assert_eq!((first.ms(), first.counter()), (1_000, 0));
    let second = HybridTime::next_after(900, first);
    assert_eq!((second.ms(), second.counter()), (1_000, 1));
    let full = HybridTime::new(1_000, u16::MAX).unwrap();
    let carried = HybridTime::next_after(1_000, full);
    assert_eq!((carried.ms(), carried.counter()), (1_001, 0));
    assert_eq!(
        HybridTime::next_after(u64::MAX, HybridTime::MAX),
        HybridTime::MAX
    );
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
