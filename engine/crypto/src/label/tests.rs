use super::{associated, export, hash, hpke, key, sealed, signature};

fn assert_apart(labels: &[&[u8]]) {
    for (place, label) in labels.iter().enumerate() {
        assert!(label.starts_with(b"sheaf1/"));
        for (other_place, other) in labels.iter().enumerate() {
            assert!(
                place == other_place || !other.starts_with(label),
                "{} starts {}",
                String::from_utf8_lossy(label),
                String::from_utf8_lossy(other)
            );
        }
    }
}

#[test]
fn no_signature_label_starts_another() {
    use signature as s;
    assert_apart(&[
        s::KEM_RECORD,
        s::POSSESSION,
        s::GENESIS_BY_RECOVERY,
        s::GENESIS_BY_DEVICE,
        s::IDENTITY_OPERATION,
        s::ROTATED_RECOVERY,
        s::OPERATION,
        s::THAW,
        s::ENVELOPE,
        s::INBOX,
        s::VAULT,
        b"sheaf1/access",
        b"sheaf1/receipt",
        b"sheaf1/statement",
    ]);
}

#[test]
fn no_hash_label_starts_another() {
    use hash as h;
    assert_apart(&[
        h::USER,
        h::DEVICE,
        h::IDENTITY_OPERATION,
        h::CONVERSATION,
        h::OPERATION,
        h::EPOCH,
        h::ACTOR,
        h::SAFETY_NUMBER,
        h::LINK_COMMITMENT,
        h::LINK_TRANSCRIPT,
        h::INBOX_BODY,
        h::INBOX_MESSAGE,
        h::VAULT_BODY,
        h::VAULT_WHOLE,
        b"sheaf1/topic",
        b"sheaf1/history",
        // The headers of committing boxes are hashed too.
        sealed::ENVELOPE,
        sealed::CHAIN,
        sealed::SLOT,
    ]);
}

#[test]
fn derivations_do_not_share_a_label() {
    let labels = [
        key::EPOCH_COMMITMENT,
        key::ENVELOPE,
        key::CHAIN,
        key::CAPABILITY,
        key::BLOB,
        key::EPHEMERAL,
        key::RELAY_AUTH,
        key::INBOX_CAPABILITY,
        key::RECOVERY_SIGNING,
        key::RECOVERY_KEM,
        key::RECOVERY_VAULT,
        key::LINK_CAPABILITY,
        key::LINK_DIGITS,
        key::SLOT_KEY_FILE,
        key::STORE_VALUE,
        key::STORE_ERASABLE,
        key::STORE_NAME,
    ];
    for (place, label) in labels.iter().enumerate() {
        assert!(!labels[place + 1..].contains(label));
    }
    assert_apart(&[
        hpke::SEAL,
        hpke::FORWARD,
        hpke::INBOX,
        hpke::LINK,
        hpke::VAULT,
    ]);
    assert_apart(&[export::LINK_TO_NEW, export::LINK_TO_EXISTING]);
    assert_apart(&[associated::STORE, associated::LINK]);
}
