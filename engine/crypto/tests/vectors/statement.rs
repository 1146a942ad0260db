//! What a relay signs: receipts, statements, and evidence out of two.

use ed25519_dalek::{Signer, SigningKey};
use serde_json::json;
use sheaf_protocol::{
    Contradiction, Cursor, Evidence, History, LogId, Receipt, RelayId, Statement, TopicId,
    hash_record, receipt_message, statement_message,
};

use crate::cast::{check, hex};

const TOPIC: TopicId = TopicId([3; 32]);

#[test]
fn statements_of_relays() {
    let key = SigningKey::from_bytes(&[5; 32]);
    let relay = RelayId(key.verifying_key().to_bytes());
    let (mut histories, mut history) = (Vec::new(), History::default());
    let mut statements = Vec::new();
    for (sequence, record) in [(1, b"one"), (2, b"two"), (2, b"six")] {
        if record == b"six" {
            history = histories[0];
        }
        history = history.then(&TOPIC, sequence, &hash_record(record));
        histories.push(history);
        let cursor = Cursor {
            log: LogId(7),
            sequence,
        };
        let message = statement_message(&TOPIC, cursor, &history);
        let signature = key.sign(&message).to_bytes().to_vec();
        statements.push(Statement {
            topic: TOPIC,
            cursor,
            history,
            signature,
        });
    }
    let cursor = statements[1].cursor;
    let record = hash_record(b"two");
    let receipt = Receipt {
        topic: TOPIC,
        cursor,
        record,
        signature: key
            .sign(&receipt_message(&TOPIC, cursor, &record))
            .to_bytes()
            .to_vec(),
    };
    receipt.verify(&relay).unwrap();
    let piece = Evidence {
        relay,
        words: Contradiction::Histories(statements[1].clone(), statements[2].clone()),
    };
    assert_eq!(piece.verify().unwrap().cursor, cursor);
    let signatures: Vec<String> = statements.iter().map(|s| hex(&s.signature)).collect();
    let histories: Vec<String> = histories.iter().map(ToString::to_string).collect();
    check(
        "statement",
        &json!({
            "relay": hex(relay.0),
            "topic": TOPIC.to_string(),
            "log": 7,
            "sequences": [1, 2, 2],
            "records": ["one", "two", "six"],
            "histories": histories,
            "statements": signatures,
            "receipt": hex(&receipt.signature),
            "evidence": piece.to_string(),
        }),
    );
}
