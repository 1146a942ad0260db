//! Account vaults: of one record, and of several.

use serde_json::{Value, json};
use sheaf_crypto::{
    RecoveryKeys, RecoveryPhrase, UserId, VaultNumber, join_account_vault, open_account_vault_part,
    seal_account_vault,
};
use sheaf_protocol::hash_record;

use crate::cast::{check, device, hex, rng};

/// Version, suite, id, generation, counter, index, count.
const HEADER_BYTES: usize = 36;

#[test]
fn account_vaults() {
    let phrase = RecoveryPhrase::generate(&mut rng(1));
    let recovery = RecoveryKeys::of(&phrase).unwrap();
    let writer = device(2);
    let number = VaultNumber {
        generation: 1,
        counter: 1_700_000_000_000,
    };
    let vault = |seed: u8, body: &[u8]| -> Value {
        let user = UserId([1; 32]);
        let parts =
            seal_account_vault(&mut rng(seed), &recovery, (user, &writer), number, body).unwrap();
        let opened = parts
            .iter()
            .map(|part| open_account_vault_part(&phrase, part).unwrap())
            .collect();
        let joined = join_account_vault(opened).unwrap();
        let read = joined.verify(&writer.signing_public()).unwrap();
        assert_eq!(read.body.as_slice(), body);
        let records = parts.iter().map(|part| {
            json!({
                "header": hex(&part[..HEADER_BYTES]),
                "bytes": part.len(),
                "sha256": hex(hash_record(part).0),
            })
        });
        json!({
            "body_bytes": body.len(),
            "body_byte": body.first(),
            "rng_seed_byte": seed,
            "records": records.collect::<Vec<_>>(),
        })
    };
    check(
        "account-vault",
        &json!({
            "recovery_words": *phrase.words(),
            "writer_public": hex(writer.signing_public()),
            "user": hex([1; 32]),
            "generation": number.generation,
            "counter": number.counter,
            "vaults": [vault(3, b"v"), vault(4, &[5; 100_000])],
        }),
    );
}
