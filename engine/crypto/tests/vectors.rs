//! Frozen known answers for every construction: `vectors/*.json`. A run with `UPDATE_VECTORS=1`
//! writes them; every other run compares. A changed vector is a changed format.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

#[path = "vectors/account_vault.rs"]
mod account_vault;
#[path = "vectors/cast.rs"]
mod cast;
#[path = "vectors/operations.rs"]
mod operations;
#[path = "vectors/statement.rs"]
mod statement;

use cast::{check, conversation, device, hex, recipient, rng};
use rand_core::CryptoRng;
use serde_json::{Value, json};
use sheaf_crypto::{
    Argon2Params, Card, DeviceId, EpochId, EpochKeys, EpochSecret, ErasableKey, Inner, ItemId,
    Join, Kind, Offer, OperationId, RecoveryPhrase, RunId, Suite, Unlock, UserGenesis, UserId,
    UserLog, Vault, actor_bytes, document_digest, epoch_id, fingerprint, forward, inbox_capability,
    join_inbox_parts, open, open_chain, open_forward, open_inbox_part, open_rekey, rekey,
    safety_number, seal, seal_inbox,
};
use sheaf_protocol::RelayId;

#[test]
fn identities() {
    let phrase = RecoveryPhrase::generate(&mut rng(1));
    let first = device(2);
    let genesis = UserGenesis::create(&mut rng(3), &phrase, &first, "laptop").unwrap();
    let (user, _) = genesis.verify().unwrap();
    let second = cast::device_of(4, Suite::X25519);
    let certificate = second.certificate("phone").unwrap();
    let possession = second.prove_possession(&user, &certificate).unwrap();
    certificate.verify_possession(&user, &possession).unwrap();
    let log = UserLog {
        genesis: genesis.clone(),
        operations: vec![operations::added(&genesis, &first, &second)],
    };
    let card = Card {
        log: log.clone(),
        relay: None,
        name: "Ada".into(),
    };
    let (_, recovery_kem) = phrase.kem_public().unwrap();
    check(
        "identity",
        &json!({
            "recovery_words": *phrase.words(),
            "recovery_signing_public": hex(phrase.signing_public()),
            "recovery_kem_public": hex(recovery_kem),
            "recovery_vault_topic": phrase.vault_capability().topic().to_string(),
            "device_secrets": hex(first.to_bytes().unwrap()),
            "device_signing_public": hex(first.signing_public()),
            "device_id": first.device().to_string(),
            "device_relay_seed": hex(*first.relay_identity_seed(&RelayId([9; 32]))),
            "genesis": hex(&genesis.bytes),
            "genesis_recovery_signature": hex(genesis.recovery_signature.0),
            "genesis_device_signature": hex(genesis.device_signature.0),
            "genesis_id": genesis.id().to_string(),
            "user_id": user.to_string(),
            "second_certificate": hex(postcard::to_allocvec(&certificate).unwrap()),
            "second_possession": hex(possession.0),
            "user_log": hex(log.to_bytes().unwrap()),
            "card": card.to_text().unwrap(),
        }),
    );
}

#[test]
fn user_operations() {
    check("user-operations", &operations::user_operations());
}

#[test]
fn control_operations() {
    check("operations", &operations::control_operations());
}

#[test]
fn epochs() {
    let me = device(2);
    let (conversation, parents) = (conversation(), [OperationId([1; 32])]);
    let old = EpochSecret::from_bytes(&[7; 64]).unwrap();
    let old_epoch = epoch_id(
        &conversation,
        me.device(),
        1,
        &old.commitment(&conversation),
    );
    let recipients = [
        recipient(&me),
        recipient(&cast::device_of(4, Suite::X25519)),
    ];
    let (epoch, secret, rekey) = rekey(
        &mut rng(5),
        &conversation,
        me.device(),
        2,
        &parents,
        &recipients,
        &[(old_epoch, &old)],
    )
    .unwrap();
    let (_, opened) = open_rekey(&rekey, &conversation, me.device(), 2, &parents, &me).unwrap();
    assert_eq!(opened.to_bytes(), secret.to_bytes());
    let chain = rekey.chain.clone().unwrap();
    let chained = open_chain(&secret, epoch, &conversation, &chain).unwrap();
    let forward = forward(
        &mut rng(6),
        &conversation,
        epoch,
        rekey.commitment,
        &secret,
        &parents,
        &recipients[1],
    )
    .unwrap();
    let second = cast::device_of(4, Suite::X25519);
    open_forward(&forward, &conversation, &parents, &second).unwrap();
    let keys = EpochKeys::derive(&conversation, epoch, &secret);
    let proof = keys.capability().prove(&RelayId([3; 32]), &[4; 32]);
    check(
        "epoch",
        &json!({
            "conversation": conversation.to_string(),
            "author": me.device().to_string(),
            "seq": 2,
            "parents": parents.map(|parent| parent.to_string()),
            "secrets": [hex(me.to_bytes().unwrap()), hex(second.to_bytes().unwrap())],
            "secret": hex(secret.to_bytes()),
            "commitment": hex(rekey.commitment),
            "epoch": epoch.to_string(),
            "rekey": hex(postcard::to_allocvec(&rekey).unwrap()),
            "chain": hex(chain),
            "chained_epoch": chained[0].0.to_string(),
            "chained_secret": hex(chained[0].1.to_bytes()),
            "forward": hex(postcard::to_allocvec(&forward).unwrap()),
            "blob_key": hex(keys.blob_key()),
            "ephemeral_key": hex(keys.ephemeral_key().unwrap()),
            "topic": keys.topic().to_string(),
            "capability": hex(proof.capability),
            "access_proof": hex(proof.signature),
        }),
    );
}

#[test]
fn envelopes() {
    let me = device(2);
    let conversation = conversation();
    let secret = EpochSecret::from_bytes(&[7; 64]).unwrap();
    let epoch = epoch_id(
        &conversation,
        me.device(),
        1,
        &secret.commitment(&conversation),
    );
    let keys = EpochKeys::derive(&conversation, epoch, &secret);
    let mut vectors = Vec::new();
    for (seed, body) in [
        (10, b"".to_vec()),
        (11, b"hello".to_vec()),
        (12, vec![1; 1_000]),
    ] {
        let inner = Inner {
            kind: Kind::Content,
            user: UserId([1; 32]),
            device: me.device(),
            run: RunId([2; 16]),
            incarnation: OperationId([3; 32]),
            seq: 1_000,
            previous: Some(ItemId([4; 32])),
            control_heads: vec![OperationId([5; 32])],
            dependencies: vec![sheaf_crypto::Dependency {
                device: DeviceId([6; 32]),
                run: RunId([7; 16]),
                seq: 8,
                item: ItemId([9; 32]),
            }],
            body,
        };
        let wire = seal(&keys, &inner, &me, &mut rng(seed)).unwrap();
        let opened = open(&keys, &wire).unwrap();
        assert_eq!(opened.verify(&me.signing_public()).unwrap(), inner);
        vectors.push(json!({
            "inner": hex(postcard::to_allocvec(&inner).unwrap()),
            "wire": hex(&wire),
            "item": sheaf_crypto::item_of_record(&wire).to_string(),
        }));
    }
    check(
        "envelope",
        &json!({
            "conversation": conversation.to_string(),
            "epoch": epoch.to_string(),
            "secret": hex(secret.to_bytes()),
            "signing_public": hex(me.signing_public()),
            "topic": keys.topic().to_string(),
            "envelopes": vectors,
        }),
    );
}

#[test]
fn inboxes() {
    let (sender, me) = (device(2), device(4));
    let mut vectors = Vec::new();
    for (seed, suite) in [(1, Suite::X25519), (2, Suite::XWing)] {
        let me = cast::device_of(4, suite);
        let body = b"come in";
        let parts = seal_inbox(
            &mut rng(seed),
            &recipient(&me),
            &sender,
            UserId([1; 32]),
            body,
        )
        .unwrap();
        let opened = parts
            .iter()
            .map(|part| open_inbox_part(&me, part).unwrap())
            .collect();
        let joined = join_inbox_parts(opened).unwrap();
        let message = joined.verify(&sender.signing_public()).unwrap();
        assert_eq!(message.body, body);
        vectors.push(json!({
            "suite": u8::from(suite),
            "secrets": hex(me.to_bytes().unwrap()),
            "records": parts.iter().map(hex).collect::<Vec<_>>(),
        }));
    }
    check(
        "inbox",
        &json!({
            "sender_public": hex(sender.signing_public()),
            "body": hex(b"come in"),
            "inbox_seed": hex(me.inbox_seed()),
            "inbox_topic": inbox_capability(me.inbox_seed()).topic().to_string(),
            "messages": vectors,
        }),
    );
}

#[test]
fn linking() {
    let (existing, new, now_ms) = (device(2), device(4), 1_700_000_000_000);
    let user = UserId([1; 32]);
    let offer = Offer::new(&mut rng(1), now_ms, None).unwrap();
    let code = offer.code();
    let topic = offer.capability().topic().to_string();
    let (join, request) = Join::start(&mut rng(2), &code, now_ms, &new, "phone").unwrap();
    let certificate = existing.certificate("laptop").unwrap();
    let (waiting, reply) = offer
        .receive_request(&request, now_ms, &mut rng(3), user, &certificate)
        .unwrap();
    let (shown, reveal) = join.receive_reply(&reply, &new).unwrap();
    let ready = waiting.receive_reveal(&reveal).unwrap();
    let approved = ready.approve(&shown.digits).unwrap();
    let possession = approved.device().1.0;
    let account = approved.seal_account(b"account").unwrap();
    assert_eq!(shown.open_account(&account).unwrap().as_slice(), b"account");
    check(
        "linking",
        &json!({
            "code": code,
            "topic": topic,
            "request": hex(request),
            "reply": hex(reply),
            "reveal": hex(reveal),
            "digits": shown.digits,
            "possession": hex(possession),
            "account": account.iter().map(hex).collect::<Vec<_>>(),
        }),
    );
}

#[test]
fn vaults() {
    let params = Argon2Params {
        memory_kib: 64,
        passes: 2,
        lanes: 2,
    };
    let passphrase = Unlock::Passphrase("correct horse battery staple");
    let key = [7; 32];
    let (mut header, vault) = Vault::create(&mut rng(1), &passphrase, params).unwrap();
    header
        .add(&mut rng(2), &vault, &Unlock::KeyFile(&key), params)
        .unwrap();
    let sealed = vault
        .seal_record(3, b"name", b"value", &mut rng(3))
        .unwrap();
    let erasable = ErasableKey::draw(&mut rng(4), 7);
    let locked = vault.lock(&erasable, &mut rng(5)).unwrap();
    let erasable = vault
        .seal_erasable(&erasable, 5, b"name", b"secret", &mut rng(6))
        .unwrap();
    for unlock in [passphrase, Unlock::KeyFile(&key)] {
        let opened = header.open(&unlock).unwrap();
        let value = opened.open_record(3, b"name", &sealed).unwrap();
        assert_eq!(value.as_slice(), b"value");
        let key = opened.unlock(7, &locked).unwrap();
        let value = opened.open_erasable(&key, 5, b"name", &erasable).unwrap();
        assert_eq!(value.as_slice(), b"secret");
    }
    check(
        "vault",
        &json!({
            "passphrase": "correct horse battery staple",
            "key_file": hex(key),
            "header": hex(header.to_bytes().unwrap()),
            "kind": 3,
            "name": hex(b"name"),
            "value": hex(b"value"),
            "record": hex(sealed),
            "record_name": hex(vault.name(3, b"key")),
            "erasable_generation": 7,
            "erasable_locked": hex(locked),
            "erasable_kind": 5,
            "erasable_name": hex(b"name"),
            "erasable_value": hex(b"secret"),
            "erasable_record": hex(erasable),
        }),
    );
}

#[test]
fn names_and_numbers() {
    let (a, b) = (UserId([1; 32]), UserId([2; 32]));
    let mut drawn = [0; 16];
    draw(&mut rng(1), &mut drawn);
    let actor = actor_bytes(&DeviceId([1; 32]), &conversation(), 3, &RunId([4; 16]));
    let vector: Value = json!({
        "safety_number": safety_number(&a, &b),
        "fingerprint": fingerprint(&a),
        "actor": hex(actor),
        "documents": hex(document_digest(&conversation(), 3, &[[9; 32], [8; 32]])),
        "epoch": epoch_id(&conversation(), DeviceId([1; 32]), 7, &[2; 32]).to_string(),
        "epoch_zero": EpochId::default().to_string(),
        "generator": hex(drawn),
    });
    check("names", &vector);
}

fn draw(rng: &mut impl CryptoRng, to: &mut [u8]) {
    rng.fill_bytes(to);
}
