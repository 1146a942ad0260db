use super::*;
use crate::recovery::RecoveryPhrase;
use crate::testing::{device, rng};
use crate::user::UserGenesis;

fn card() -> Card {
    let phrase = RecoveryPhrase::generate(&mut rng(1));
    let genesis = UserGenesis::create(&mut rng(2), &phrase, &device(1), "laptop").unwrap();
    Card {
        log: UserLog {
            genesis,
            operations: Vec::new(),
        },
        relay: Some("sheaf://relay.example:4433/#key".into()),
        name: "Ada".into(),
    }
}

#[test]
fn a_card_reads_back() {
    let card = card();
    let text = card.to_text().unwrap();
    assert!(text.starts_with("sheaf:"));
    let read = Card::parse(&format!(" {text}\n")).unwrap();
    assert_eq!(read, card);
    assert_eq!(read.user(), card.log.genesis.user());
}

#[test]
fn every_cut_and_foreign_text_is_refused() {
    let text = card().to_text().unwrap();
    for length in 0..text.len() {
        assert!(Card::parse(text.get(..length).unwrap()).is_err());
    }
    for foreign in ["", "sheaf:", "sheaf-link:AAAA", "sheaf:!!", "hello"] {
        assert!(Card::parse(foreign).is_err());
    }
    assert!(Card::parse(&format!("{text}AAAA")).is_err());
}

#[test]
fn bounds_hold_on_the_way_out() {
    let mut long = card();
    long.name = "x".repeat(limits::NAME_BYTES_MAX + 1);
    assert_eq!(long.to_text().unwrap_err(), StatementError::TooLarge);
    let mut long = card();
    long.relay = Some("x".repeat(limits::RELAY_BYTES_MAX + 1));
    assert_eq!(long.to_text().unwrap_err(), StatementError::TooLarge);
}
