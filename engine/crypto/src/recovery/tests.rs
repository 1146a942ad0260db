use super::*;
use crate::testing::rng;

const ZEROES: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon \
    abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
    abandon abandon abandon art";

#[test]
fn a_phrase_is_24_words_and_reads_back() {
    let phrase = RecoveryPhrase::generate(&mut rng(1));
    let words = phrase.words();
    assert_eq!(words.split(' ').count(), 24);
    let messy = format!("  {}\n", words.to_uppercase().replace(' ', " \t "));
    let read = RecoveryPhrase::parse(&messy).unwrap();
    assert_eq!(read.signing_public(), phrase.signing_public());
    assert_eq!(read.words(), words);
}

#[test]
fn the_published_vector_of_zeroes_holds() {
    let phrase = RecoveryPhrase::parse(ZEROES).unwrap();
    assert_eq!(phrase.entropy.as_slice(), [0; 32]);
    assert_eq!(phrase.words().as_str(), ZEROES);
}

#[test]
fn mistakes_are_named_without_repeating_a_word() {
    assert_eq!(
        RecoveryPhrase::parse("abandon art").unwrap_err(),
        PhraseError::WordCount(2)
    );
    assert_eq!(
        RecoveryPhrase::parse(&ZEROES.replace("art", "harvest")).unwrap_err(),
        PhraseError::Checksum
    );
    let refused = RecoveryPhrase::parse(&ZEROES.replace("art", "sheafs")).unwrap_err();
    assert_eq!(refused, PhraseError::UnknownWord(24));
    assert!(!refused.to_string().contains("sheafs"));
    assert!(RecoveryPhrase::parse("").is_err());
}

#[test]
fn its_keys_are_apart() {
    let phrase = RecoveryPhrase::parse(ZEROES).unwrap();
    let (_, kem) = phrase.kem_public().unwrap();
    assert_eq!(kem.len(), 1_216);
    let other = RecoveryPhrase::generate(&mut rng(1));
    assert_ne!(
        phrase.vault_capability().topic(),
        other.vault_capability().topic()
    );
    assert_eq!(format!("{phrase:?}"), "RecoveryPhrase { .. }");
}
