//! HPKE: RFC 9180 A.2.1 (base) and A.2.2 (psk), and X-Wing with HKDF-SHA256 and ChaCha20-Poly1305 in
//! base mode (draft-ietf-hpke-pq; data/hpke-x-wing.json is Go's vector, as kept by rozbb/rust-hpke).

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::{Kem, X25519HkdfSha256};
use hpke::{Deserializable, OpModeR, OpModeS, PskBundle, Serializable};
use serde_json::Value;

use super::data::{Prescribed, array, bytes};
use crate::kem::{self, Suite};

const INFO: &[u8] = b"Ode on a Grecian Urn";
const TEXT: &[u8] = b"Beauty is truth, truth beauty";

#[test]
fn rfc_9180_a_2_1_base_holds_both_ways() {
    let ikm = bytes("909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b");
    let public = bytes("4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a");
    let secret = array("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb");
    assert_eq!(kem::public_of(Suite::X25519, &secret).unwrap(), public);
    let expected = bytes(concat!(
        "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a",
        "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db",
        "21993c62ce81883d2dd1b51a28"
    ));
    let key = (Suite::X25519, public.as_slice());
    let sealed = kem::seal(&mut Prescribed(ikm), key, INFO, b"Count-0", TEXT).unwrap();
    assert_eq!(sealed, expected);
    let opened = kem::open((Suite::X25519, &secret), INFO, b"Count-0", &sealed).unwrap();
    assert_eq!(opened.as_slice(), TEXT);
}

/// Ciphertexts of A.2.2.1 by sequence number.
const PSK_SEALED: [&str; 3] = [
    "4a177f9c0d6f15cfdf533fb65bf84aecdc6ab16b8b85b4cf65a370e07fc1d78d28fb073214525276f4a89608ff",
    "5c3cabae2f0b3e124d8d864c116fd8f20f3f56fda988c3573b40b09997fd6c769e77c8eda6cda4f947f5b704a8",
    "14958900b44bdae9cbe5a528bf933c5c990dbb8e282e6e495adf8205d19da9eb270e3a6f1e0613ab7e757962a4",
];

/// Exports of A.2.2.2 by exporter context.
const PSK_EXPORTS: [(&[u8], &str); 3] = [
    (
        b"",
        "813c1bfc516c99076ae0f466671f0ba5ff244a41699f7b2417e4c59d46d39f40",
    ),
    (
        b"\0",
        "2745cf3d5bb65c333658732954ee7af49eb895ce77f8022873a62a13c94cb4e1",
    ),
    (
        b"TestContext",
        "ad40e3ae14f21c99bfdebc20ae14ab86f4ca2dc9a4799d200f43a25f99fa78ae",
    ),
];

#[test]
fn rfc_9180_a_2_2_psk_holds_as_linking_uses_it() {
    type K = X25519HkdfSha256;
    let ikm = bytes("35706a0b09fb26fb45c39c2f5079c709c7cf98e43afa973f14d88ece7e29c2e3");
    let secret = bytes("77d114e0212be51cb1d76fa99dd41cfd4d0166b08caa09074430a6c59ef17879");
    let public = bytes("13640af826b722fc04feaa4de2f28fbd5ecc03623b317834e7ff4120dbe73062");
    let psk = bytes("0247fd33b913760fa1fa51e1892d9f307fbe65eb171e8132c2af18555a738b82");
    let enc = bytes("2261299c3f40a9afc133b969a97f05e95be2c514e54f3de26cbe5644ac735b04");
    let psk = PskBundle::new(&psk, b"Ennyn Durin aran Moria").unwrap();
    let (encapsulated, mut sender) =
        hpke::setup_sender_with_rng::<ChaCha20Poly1305, HkdfSha256, K>(
            &OpModeS::Psk(psk),
            &<K as Kem>::PublicKey::from_bytes(&public).unwrap(),
            INFO,
            &mut Prescribed(ikm),
        )
        .unwrap();
    assert_eq!(encapsulated.to_bytes().as_slice(), enc);
    let mut receiver = hpke::setup_receiver::<ChaCha20Poly1305, HkdfSha256, K>(
        &OpModeR::Psk(psk),
        &<K as Kem>::PrivateKey::from_bytes(&secret).unwrap(),
        &encapsulated,
        INFO,
    )
    .unwrap();
    for (number, expected) in PSK_SEALED.iter().enumerate() {
        let aad = format!("Count-{number}");
        let sealed = sender.seal(TEXT, aad.as_bytes()).unwrap();
        assert_eq!(sealed, bytes(expected));
        assert_eq!(receiver.open(&sealed, aad.as_bytes()).unwrap(), TEXT);
    }
    for (context, expected) in PSK_EXPORTS {
        let (mut ours, mut theirs) = ([0; 32], [0; 32]);
        sender.export(context, &mut ours).unwrap();
        receiver.export(context, &mut theirs).unwrap();
        assert_eq!((ours, theirs), (array(expected), array(expected)));
    }
}

#[test]
fn the_x_wing_vector_holds_both_ways() {
    let vector: Value = serde_json::from_str(include_str!("data/hpke-x-wing.json")).unwrap();
    let field = |name: &str| bytes(vector[name].as_str().unwrap());
    assert_eq!(vector["kem_id"], 0x647a);
    assert_eq!(
        (&vector["kdf_id"], &vector["aead_id"]),
        (&1.into(), &3.into())
    );
    let secret: [u8; 32] = field("skRm").try_into().unwrap();
    let public = kem::public_of(Suite::XWing, &secret).unwrap();
    assert_eq!(public, field("pkRm"));
    let first = &vector["encryptions"][0];
    let part = |name: &str| bytes(first[name].as_str().unwrap());
    let (info, aad, text) = (field("info"), part("aad"), part("pt"));
    let expected = [field("enc"), part("ct")].concat();
    let opened = kem::open((Suite::XWing, &secret), &info, &aad, &expected).unwrap();
    assert_eq!(opened.as_slice(), text);
    let randomness = &mut Prescribed(field("ikmE"));
    let sealed = kem::seal(randomness, (Suite::XWing, &public), &info, &aad, &text).unwrap();
    assert_eq!(sealed, expected);
}
