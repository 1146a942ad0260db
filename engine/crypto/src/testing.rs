//! What the unit tests of this crate share: seeded randomness and a small cast.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::{
    ConversationId, DeviceSecrets, EpochKeys, EpochSecret, Inner, Kind, OperationId, Recipient,
    RunId, Suite, UserId, epoch_id,
};

pub(crate) fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

pub(crate) fn device(seed: u8) -> DeviceSecrets {
    DeviceSecrets::generate(&mut rng(seed), Suite::default())
}

pub(crate) fn recipient(device: &DeviceSecrets) -> Recipient {
    Recipient {
        device: device.device(),
        kem: device.kem_record().unwrap(),
    }
}

pub(crate) fn conversation(byte: u8) -> ConversationId {
    ConversationId([byte; 32])
}

pub(crate) fn epoch_keys(conversation: &ConversationId, seed: u8) -> EpochKeys {
    let secret = EpochSecret::from_bytes(&[seed; 64]).unwrap();
    let commitment = secret.commitment(conversation);
    let epoch = epoch_id(
        conversation,
        device(1).device(),
        u64::from(seed),
        &commitment,
    );
    EpochKeys::derive(conversation, epoch, &secret)
}

pub(crate) fn inner(device: &DeviceSecrets, body: &[u8]) -> Inner {
    Inner {
        kind: Kind::Content,
        user: UserId([7; 32]),
        device: device.device(),
        run: RunId([8; 16]),
        incarnation: OperationId([9; 32]),
        seq: 300,
        previous: None,
        control_heads: vec![OperationId([10; 32])],
        dependencies: Vec::new(),
        body: body.to_vec(),
    }
}
