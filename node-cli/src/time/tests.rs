use super::parse_since;

#[test]
fn times_and_durations_are_understood() {
    assert_eq!(parse_since("1970-01-01T00:00:05Z", 9_000), Some(5_000));
    assert_eq!(parse_since("2s", 9_000), Some(7_000));
    assert_eq!(parse_since("2h", 7_200_001), Some(1));
    assert_eq!(parse_since("7d", 9_000), Some(0));
    for text in [
        "",
        "h",
        "-2h",
        "2",
        "2 h",
        "2y",
        "soon",
        "99999999999999999999d",
        "1é",
    ] {
        assert_eq!(parse_since(text, 9_000), None, "{text}");
    }
}
