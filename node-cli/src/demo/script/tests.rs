use super::{Act, Script};
use crate::arguments::DemoArguments;

fn sample(messages: Option<usize>) -> Script {
    Script::read(DemoArguments {
        input: None,
        conversations: None,
        messages,
    })
    .unwrap()
}

#[test]
fn the_acts_hold_every_line_once_and_in_order() {
    let script = sample(None);
    let mut numbers = Vec::new();
    for act in [Act::Online, Act::Offline, Act::OnlineAgain] {
        let chunks: Vec<_> = script.chunks(act).unwrap().map(Result::unwrap).collect();
        assert!(!chunks.is_empty(), "{act:?} is empty");
        numbers.extend(
            chunks
                .iter()
                .flat_map(|chunk| chunk.lines.iter().map(|line| line.seq)),
        );
    }
    let count = u64::try_from(script.lines()).unwrap();
    assert_eq!(numbers, (0..count).collect::<Vec<_>>());
}

#[test]
fn limits_hold_and_nothing_is_an_error() {
    assert_eq!(sample(Some(7)).lines(), 7);
    let none = Script::read(DemoArguments {
        input: None,
        conversations: Some(0),
        messages: None,
    });
    assert!(none.is_err());
}
