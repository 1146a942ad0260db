//! RFC 9106, section 5.3: Argon2id, version 0x13.

use argon2::{Algorithm, Argon2, AssociatedData, ParamsBuilder, Version};

use super::data::array;

#[test]
fn rfc_9106_section_5_3_holds() {
    let params = ParamsBuilder::new()
        .m_cost(32)
        .t_cost(3)
        .p_cost(4)
        .data(AssociatedData::new(&[4; 12]).unwrap())
        .build()
        .unwrap();
    let argon =
        Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params).unwrap();
    let mut tag = [0; 32];
    argon
        .hash_password_into(&[1; 32], &[2; 16], &mut tag)
        .unwrap();
    let expected: [u8; 32] =
        array("0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659");
    assert_eq!(tag, expected);
}
