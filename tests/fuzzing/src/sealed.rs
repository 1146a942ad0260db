//! What is sealed: envelopes, inbox messages, the linking of a device, the vault.

use sheaf_crypto::{
    Argon2Params, ConversationId, EpochId, EpochKeys, EpochSecret, Inner, Join, Kind, LinkStep,
    Offer, OperationId, RunId, Signature, SignedInner, Unlock, UserId, Vault, VaultHeader,
    join_inbox_parts, open, open_inbox_part, seal, seal_inbox,
};

use super::Seed;
use super::reader::{Reader, put_bytes};
use super::statement::{CONVERSATION, device, recipient, rng};

const NOW_MS: u64 = 1_700_000_000_000;
const USER: UserId = UserId([4; 32]);

fn keys(conversation: &ConversationId) -> EpochKeys {
    let secret = EpochSecret::from_bytes(&[1; 64]).unwrap();
    EpochKeys::derive(conversation, EpochId([2; 32]), &secret)
}

fn inner(body: &[u8]) -> Inner {
    Inner {
        kind: Kind::Content,
        user: USER,
        device: device(1).device(),
        run: RunId([8; 16]),
        incarnation: OperationId([9; 32]),
        seq: 300,
        previous: None,
        control_heads: vec![OperationId([10; 32])],
        dependencies: Vec::new(),
        body: body.to_vec(),
    }
}

/// The first byte chooses: a record as it comes from a relay, the signed part of one, or the body of
/// an honest one that is then altered at one place.
pub(super) fn envelope(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    let me = device(1);
    let keys = keys(&CONVERSATION);
    match reader.byte() % 3 {
        0 => open(&keys, reader.rest()).is_ok_and(|opened| {
            let _verified = opened.verify(&me.signing_public());
            true
        }),
        1 => {
            let signed = SignedInner {
                header_hash: [0; 32],
                commitment: [0; 32],
                inner: reader.rest().to_vec(),
                signature: Signature([0; 64]),
            };
            let refused = signed.verify(&me.signing_public()).unwrap_err();
            refused == sheaf_crypto::EnvelopeError::Signature
        }
        _ => {
            let (place, flip) = (usize::from(reader.short()), reader.byte());
            let inner = inner(reader.rest());
            let Ok(mut record) = seal(&keys, &inner, &me, &mut rng(6)) else {
                return false;
            };
            let opened = open(&keys, &record).expect("own envelope opens");
            let verified = opened.verify(&me.signing_public());
            assert!(verified.is_ok_and(|read| read == inner));
            let length = record.len();
            record[place % length] ^= flip;
            assert_eq!(
                open(&keys, &record).is_ok(),
                flip == 0,
                "altered, yet it opens"
            );
            true
        }
    }
}

/// Records as they come from a relay, each with its length in front; those that open are joined.
pub(super) fn inbox(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    let (me, sender) = (device(1), device(2));
    let mut parts = Vec::new();
    while !reader.is_empty() {
        if let Ok(part) = open_inbox_part(&me, reader.bytes()) {
            let _place = (part.group(), part.index(), part.count());
            parts.push(part);
        }
    }
    let opened = !parts.is_empty();
    if let Ok(joined) = join_inbox_parts(parts) {
        let _claim = (joined.sender_user(), joined.sender_device());
        let _verified = joined.verify(&sender.signing_public());
    }
    opened
}

/// A code, a request, a reveal and messages of an account, each with its length in front. An empty
/// one stands for the honest one.
pub(super) fn link(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    let (existing, new) = (device(1), device(2));
    let offer = Offer::new(&mut rng(10), NOW_MS, None).unwrap();
    let honest = |bytes: &[u8], own: Vec<u8>| {
        if bytes.is_empty() {
            own
        } else {
            bytes.to_vec()
        }
    };
    let own_code = offer.code();
    let code = honest(reader.bytes(), own_code.clone().into_bytes());
    let Ok(code) = String::from_utf8(code) else {
        return false;
    };
    let Ok((join, request)) = Join::start(&mut rng(11), &code, NOW_MS, &new, "phone") else {
        return false;
    };
    let _place = (join.capability().topic(), join.relay());
    let request = honest(reader.bytes(), request);
    let _step = LinkStep::of(&request);
    let certificate = existing.certificate("laptop").unwrap();
    let answered = offer.receive_request(&request, NOW_MS, &mut rng(12), USER, &certificate);
    let Ok((waiting, reply)) = answered else {
        return false;
    };
    let Ok((shown, reveal)) = join.receive_reply(&honest(reader.bytes(), reply), &new) else {
        return false;
    };
    let Ok(ready) = waiting.receive_reveal(&honest(reader.bytes(), reveal)) else {
        return false;
    };
    // Another code with the same keys, say with another relay, shows in the digits.
    let approved = ready.approve(&shown.digits);
    assert_eq!(
        approved.is_ok(),
        code.trim() == own_code,
        "the digits cover the code"
    );
    let Ok(approved) = approved else {
        return false;
    };
    let account = reader.bytes();
    let mut messages = approved.seal_account(account).unwrap();
    while !reader.is_empty() {
        messages.push(reader.bytes().to_vec());
    }
    let opened = shown.open_account(&messages);
    assert!(opened.is_ok_and(|opened| opened.as_slice() == account));
    true
}

fn vault_key() -> Unlock<'static> {
    Unlock::KeyFile(&[1; 32])
}

fn own_vault() -> (VaultHeader, Vault) {
    let quick = Argon2Params {
        memory_kib: 64,
        passes: 1,
        lanes: 1,
    };
    Vault::create(&mut rng(5), &vault_key(), quick).unwrap()
}

/// The first byte chooses: a vault's header or a stored record.
pub(super) fn vault(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    if reader.byte().is_multiple_of(2) {
        let Ok(header) = VaultHeader::from_bytes(reader.rest()) else {
            return false;
        };
        let _opened = header.open(&vault_key());
        let again = VaultHeader::from_bytes(&header.to_bytes().unwrap());
        assert_eq!(again.as_ref(), Ok(&header));
        return true;
    }
    let (_, vault) = own_vault();
    vault.open_record(1, b"name", reader.rest()).is_ok()
}

pub(super) fn envelope_seeds() -> Vec<Seed> {
    let keys = keys(&CONVERSATION);
    let record = seal(&keys, &inner(b"body"), &device(1), &mut rng(7)).unwrap();
    // Content and padding of an envelope of the smallest size, as its author signs them.
    let mut signed = postcard::to_allocvec(&inner(b"body")).unwrap();
    signed.resize(content_bytes(&keys, &record), 0);
    vec![
        Seed::new("record", [&[0], &*record].concat()),
        Seed::new("signed", [&[1], &*signed].concat()),
        Seed::new("altered", [&[2, 40, 0, 1], b"body".as_slice()].concat()),
        Seed::new("whole", [&[2, 0, 0, 0], b"body".as_slice()].concat()),
    ]
}

/// Bytes of content and padding inside a record.
fn content_bytes(keys: &EpochKeys, record: &[u8]) -> usize {
    let opened = open(keys, record).unwrap();
    match opened.evidence(sheaf_crypto::ItemId([0; 32])) {
        sheaf_crypto::Evidence::Shown(signed) => signed.inner.len(),
        sheaf_crypto::Evidence::Named(_) => panic!("the record is small"),
    }
}

pub(super) fn inbox_seeds() -> Vec<Seed> {
    let (me, sender) = (device(1), device(2));
    let seal = |body: &[u8]| {
        let parts = seal_inbox(&mut rng(9), &recipient(&me), &sender, USER, body).unwrap();
        let mut bytes = Vec::new();
        for part in &parts {
            put_bytes(&mut bytes, part);
        }
        bytes
    };
    vec![
        Seed::new("one", seal(b"a body")),
        Seed::new("longer", seal(&[7; 3_000])),
    ]
}

pub(super) fn link_seeds() -> Vec<Seed> {
    let offer = Offer::new(&mut rng(10), NOW_MS, None).unwrap();
    let mut code = Vec::new();
    put_bytes(&mut code, offer.code().as_bytes());
    let mut account = vec![0; 8];
    put_bytes(&mut account, b"the account");
    put_bytes(&mut account, &[1, 4, 0, 2, 9, 9]);
    vec![
        Seed::new("honest", Vec::new()),
        Seed::new("code", code),
        Seed::new("account", account),
    ]
}

pub(super) fn vault_seeds() -> Vec<Seed> {
    let (header, vault) = own_vault();
    let record = vault
        .seal_record(1, b"name", b"value", &mut rng(3))
        .unwrap();
    vec![
        Seed::new("header", [&[0], &*header.to_bytes().unwrap()].concat()),
        Seed::new("record", [&[1], &*record].concat()),
    ]
}
