use super::*;

#[test]
fn padme_adds_little_and_is_idempotent() {
    for bytes in 0..200_000 {
        let padded = padded_len(bytes);
        assert!(padded >= bytes.max(256));
        assert_eq!(padded_len(padded), padded);
        if bytes >= 256 {
            assert!((padded - bytes) * 100 <= bytes * 12, "{bytes} to {padded}");
        }
    }
}

#[test]
fn the_published_examples_hold() {
    // Padme of 2^E + 1 keeps floor(log2 E) + 1 leading bits after the first.
    assert_eq!(padded_len(257), 272);
    assert_eq!(padded_len(1_025), 1_088);
    assert_eq!(padded_len(65_536), 65_536);
    assert_eq!(padded_len(65_537), 67_584);
}
