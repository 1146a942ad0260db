//! X-Wing: the vectors of draft-connolly-cfrg-xwing-kem (data/x-wing.json, from its repository's
//! spec/test-vectors.json).

use serde_json::Value;
use x_wing::{Decapsulate, Encapsulate, Kem, XWingKem};

use super::data::{Prescribed, bytes};
use crate::kem::{Suite, public_is_sound, public_of};

#[test]
fn the_vectors_of_the_draft_hold() {
    let vectors: Vec<Value> = serde_json::from_str(include_str!("data/x-wing.json")).unwrap();
    assert_eq!(vectors.len(), 3);
    for vector in vectors {
        let field = |name: &str| bytes(vector[name].as_str().unwrap());
        let seed: [u8; 32] = field("seed").try_into().unwrap();
        let public = public_of(Suite::XWing, &seed).unwrap();
        assert_eq!(public, field("pk"));
        assert!(public_is_sound(Suite::XWing, &public));
        let (secret, key) = XWingKem::generate_keypair_from_rng(&mut Prescribed(seed.to_vec()));
        let (sealed, shared) = key.encapsulate_with_rng(&mut Prescribed(field("eseed")));
        assert_eq!(sealed.as_slice(), field("ct"));
        assert_eq!(shared.as_slice(), field("ss"));
        assert_eq!(secret.decapsulate(&sealed).as_slice(), field("ss"));
    }
}
