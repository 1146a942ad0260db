//! A fork that the recovery key forgives, and what it does not forgive by that.

use sheaf_crypto::{Body, ThawByRecovery};

use super::cast::Cast;

fn rename() -> Body {
    Body::Rename {
        name: "yard".to_owned(),
    }
}

#[test]
fn the_frozen_device_itself_brings_the_word_of_its_recovery_key() {
    let mut cast = Cast::new();
    let proofs = cast.prove_fork("admin");
    assert!(cast.is_frozen("admin"));
    cast.write("admin", rename()).unwrap_err();
    let word = cast.thaw("admin", "admin", "admin", &proofs[..1]);
    cast.write("admin", word).unwrap();
    assert!(cast.is_frozen("admin"), "the other proof stands");
    let word = cast.thaw("admin", "admin", "admin", &proofs[1..]);
    cast.write("admin", word).unwrap();
    assert!(!cast.is_frozen("admin"));
    cast.write("admin", rename()).unwrap();
}

#[test]
fn the_word_is_of_no_use_for_a_later_fork() {
    let mut cast = Cast::new();
    let proofs = cast.prove_fork("writer");
    let word = cast.thaw("writer", "writer", "writer", &proofs);
    cast.write("writer", word.clone()).unwrap();
    let again = cast.prove_fork("writer");
    assert!(cast.is_frozen("writer"));
    cast.write("writer", word).unwrap_err();
    assert!(cast.is_frozen("writer"));
    let word = cast.thaw("writer", "writer", "writer", &again);
    cast.write("writer", word).unwrap();
    assert!(!cast.is_frozen("writer"));
}

#[test]
fn nobody_else_has_a_word_in_it() {
    let mut cast = Cast::new();
    let rising = cast.prove_fork("writer");
    let [one, next] = rising;
    let falling = [next, one];
    let mut refused = vec![
        ("writer", cast.thaw("writer", "owner", "writer", &rising)),
        ("writer", cast.thaw("writer", "owner", "owner", &rising)),
        ("owner", cast.thaw("writer", "owner", "owner", &rising)),
        ("owner", cast.thaw("writer", "writer", "writer", &rising)),
        ("removed", cast.thaw("writer", "writer", "writer", &rising)),
        ("writer", cast.thaw("writer", "writer", "writer", &[])),
        ("writer", cast.thaw("writer", "writer", "writer", &falling)),
        (
            "writer",
            cast.thaw("writer", "writer", "writer", &[one, one]),
        ),
        ("writer", cast.thaw("other", "writer", "writer", &rising)),
    ];
    if let Body::ThawByRecovery(word) = cast.thaw("writer", "writer", "writer", &rising) {
        let short = ThawByRecovery {
            proofs: rising[..1].to_vec(),
            ..word
        };
        refused.push(("writer", Body::ThawByRecovery(short)));
    }
    let before = cast.said();
    for (place, (who, body)) in refused.into_iter().enumerate() {
        cast.write(who, body).unwrap_err();
        assert_eq!(cast.said(), before, "case {place}");
    }
    let word = cast.thaw("writer", "writer", "writer", &rising);
    cast.write("writer", word).unwrap();
    assert!(!cast.is_frozen("writer"));
}
