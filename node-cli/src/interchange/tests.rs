use std::io::Write;

use super::{LineKind, Lines};

#[test]
fn plain_and_gzipped_files_read_alike() {
    let text = concat!(
        r#"{"conversation":"a","seq":1,"time":"2004-12-25T09:14:00Z","kind":"text","author":"x","text":"hi"}"#,
        "\n\n",
        r#"{"conversation":"a","seq":2,"time":"2004-12-25T09:15:00Z","kind":"system","author":null,"text":"joined","reply_to":1}"#,
    );
    let mut plain = tempfile::NamedTempFile::new().unwrap();
    plain.write_all(text.as_bytes()).unwrap();
    let zipped = tempfile::NamedTempFile::new().unwrap();
    let mut encoder =
        flate2::write::GzEncoder::new(zipped.reopen().unwrap(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap();
    for file in [&plain, &zipped] {
        let lines: Vec<_> = Lines::open(file.path())
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].time_ms(), Some(1_103_966_040_000));
        assert_eq!(lines[1].kind, LineKind::System);
        assert_eq!(lines[1].reply_to, Some(1));
    }
}

#[test]
fn a_wrong_line_is_named() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"\n{\"seq\":1}\n").unwrap();
    let failure = Lines::open(file.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap_err();
    assert!(failure.to_string().contains("line 2"), "{failure}");
}
