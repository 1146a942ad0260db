use super::*;

#[test]
fn both_sides_read_the_same_sixty_digits() {
    let (a, b) = (UserId([1; 32]), UserId([2; 32]));
    let number = safety_number(&a, &b);
    assert_eq!(number, safety_number(&b, &a));
    assert_eq!(number.split(' ').count(), 12);
    assert!(number.split(' ').all(|group| group.len() == 5));
    assert_ne!(number, safety_number(&a, &UserId([3; 32])));
    assert_eq!(fingerprint(&a).split(' ').count(), 6);
    assert_ne!(fingerprint(&a), fingerprint(&b));
}

#[test]
fn digits_are_those_of_the_number() {
    let mut number = [0; 32];
    number[30..].copy_from_slice(&12_345u16.to_be_bytes());
    assert_eq!(grouped_digits(number, 10), "00000 12345");
    // 2^256 - 1 ends in ...584007913129639935.
    assert_eq!(grouped_digits([0xff; 32], 15), "00791 31296 39935");
}
