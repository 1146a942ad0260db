use super::{harmless, table};

#[test]
fn columns_line_up() {
    let rows = vec![
        vec!["laptop".to_owned(), "12".to_owned()],
        vec!["phone".to_owned(), "1234".to_owned()],
    ];
    assert_eq!(
        table(&["device", "messages"], &rows),
        "device  messages\nlaptop  12\nphone   1234"
    );
}

#[test]
fn text_of_others_cannot_drive_the_terminal() {
    assert_eq!(harmless("a\u{1b}[31mb\nc"), "a\u{fffd}[31mb c");
    assert_eq!(harmless("\u{202e}abc"), "\u{fffd}abc");
}
