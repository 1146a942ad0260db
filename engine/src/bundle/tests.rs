use super::{BundleError, read, write};

#[test]
fn a_file_comes_back_as_it_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bundle");
    let records = vec![vec![1; 300], Vec::new(), vec![2; 64 * 1024]];
    write(&path, &records).unwrap();
    assert_eq!(read(&path).unwrap(), records);
}

#[test]
fn a_file_that_was_cut_off_anywhere_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bundle");
    write(&path, &[vec![7; 40], vec![8; 50]]).unwrap();
    let whole = std::fs::read(&path).unwrap();
    // After the head and after each record it could end there.
    let ends = [13, 13 + 44, 13 + 44 + 54];
    for length in (0..whole.len()).filter(|length| !ends.contains(length)) {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = read(&path).unwrap_err();
        assert!(
            matches!(error, BundleError::NotABundle(_)),
            "{length}: {error}"
        );
    }
}

#[test]
fn another_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bundle");
    for other in [
        &b"another-file\x01\0\0\0\x01x"[..],
        b"sheaf-bundle\0\0\0\0\x01x",
    ] {
        std::fs::write(&path, other).unwrap();
        assert!(matches!(
            read(&path).unwrap_err(),
            BundleError::NotABundle(_)
        ));
    }
    std::fs::write(&path, b"sheaf-bundle\x01\xff\xff\xff\xffx").unwrap();
    assert!(matches!(
        read(&path).unwrap_err(),
        BundleError::NotABundle(_)
    ));
}

#[test]
fn a_file_of_a_newer_version_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bundle");
    std::fs::write(&path, b"sheaf-bundle\x02whatever").unwrap();
    let error = read(&path).unwrap_err();
    assert!(matches!(error, BundleError::TooNew(_, 2)), "{error}");
    assert!(error.to_string().contains("newer version"), "{error}");
}
