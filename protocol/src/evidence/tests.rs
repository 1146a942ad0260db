use ed25519_dalek::{Signer, SigningKey};

use super::*;
use crate::{History, LogId, RecordHash, hash_record, receipt_message, statement_message};

const TOPIC: TopicId = TopicId([3; 32]);
const PLACE: Cursor = Cursor {
    log: LogId(7),
    sequence: 12,
};

fn key() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

fn relay() -> RelayId {
    RelayId(key().verifying_key().to_bytes())
}

fn statement(cursor: Cursor, history: [u8; 32]) -> Statement {
    let history = History(history);
    let message = statement_message(&TOPIC, cursor, &history);
    Statement {
        topic: TOPIC,
        cursor,
        history,
        signature: key().sign(&message).to_bytes().to_vec(),
    }
}

fn receipt(record: &[u8]) -> Receipt {
    let record: RecordHash = hash_record(record);
    let message = receipt_message(&TOPIC, PLACE, &record);
    Receipt {
        topic: TOPIC,
        cursor: PLACE,
        record,
        signature: key().sign(&message).to_bytes().to_vec(),
    }
}

fn histories(one: Statement, other: Statement) -> Evidence {
    Evidence {
        relay: relay(),
        words: Contradiction::Histories(one, other),
    }
}

#[test]
fn two_histories_or_records_for_one_place_are_evidence() {
    let piece = histories(statement(PLACE, [1; 32]), statement(PLACE, [2; 32]));
    let verdict = piece.verify().unwrap();
    assert_eq!((verdict.cursor, verdict.of), (PLACE, "histories"));
    let piece = Evidence {
        relay: relay(),
        words: Contradiction::Records(receipt(b"a"), receipt(b"b")),
    };
    assert_eq!(piece.verify().unwrap().of, "records");
}

#[test]
fn what_does_not_contradict_is_none() {
    let same = histories(statement(PLACE, [1; 32]), statement(PLACE, [1; 32]));
    assert_eq!(same.verify(), Err(EvidenceError::Same));
    for cursor in [
        Cursor {
            sequence: 13,
            ..PLACE
        },
        Cursor {
            log: LogId(8),
            ..PLACE
        },
    ] {
        let apart = histories(statement(PLACE, [1; 32]), statement(cursor, [2; 32]));
        assert_eq!(apart.verify(), Err(EvidenceError::Apart));
    }
    let mut forged = statement(PLACE, [2; 32]);
    forged.history = History([9; 32]);
    let forged = histories(statement(PLACE, [1; 32]), forged);
    assert_eq!(forged.verify(), Err(EvidenceError::Signature));
}

#[test]
fn every_changed_byte_is_refused() {
    let piece = histories(statement(PLACE, [1; 32]), statement(PLACE, [2; 32]));
    let text = piece.to_string();
    assert_eq!(text.parse(), Ok(piece.clone()));
    for place in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap().parse::<Evidence>();
        let verdict = changed.and_then(|piece| piece.verify());
        assert!(verdict.is_err(), "byte {place} may be changed");
    }
    for bytes in [
        &piece.to_bytes()[..20],
        &[&piece.to_bytes()[..], &[0]].concat(),
    ] {
        assert_eq!(Evidence::from_bytes(bytes), Err(EvidenceError::Malformed));
    }
}

/// Pinned, and recomputed by engine/crypto/vectors/check.py: a change here is a change of the format.
#[test]
fn a_history_is_pinned() {
    let first = History::default().then(&TOPIC, 1, &hash_record(b"a"));
    let second = first.then(&TOPIC, 2, &hash_record(b"b"));
    assert_eq!(second.to_string(), PINNED_HISTORY);
    let message = statement_message(&TOPIC, PLACE, &second);
    assert_eq!(message.len(), 16 + 32 + 8 + 8 + 32);
    assert_eq!(&message[..16], b"sheaf1/statement");
    assert_eq!(
        &message[48..64],
        &[0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 12]
    );
}

const PINNED_HISTORY: &str = "ed70d1136f0f4288bc6aa3c69e57f9a9776f170c1add5d849d77742bb7395b2c";
