use super::{Code, Failure};

#[test]
fn a_closed_pipe_is_success_without_words() {
    let closed = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
    let failure = Failure::from(closed);
    assert_eq!(failure.code, Code::Done);
    assert!(failure.is_silent());
}

#[test]
fn words_say_what_failed_and_then_what_to_do() {
    let failure = Failure::failed("no relay is configured").advise("give one with --relay URL");
    assert_eq!(
        failure.to_string(),
        "no relay is configured\n  give one with --relay URL"
    );
}
