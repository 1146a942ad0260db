//! What a store gives back: a replica opens over altered rows or says that they are damaged.

use sheaf_replica::record::{MessageRecord, decode_token};

use super::Seed;
use super::cast::{NOW, cast};
use super::peer::{Peer, restored};
use super::reader::Reader;

/// The first byte chooses a row, the next two a place in it, the next how many bytes go; the rest
/// comes in their stead.
pub(super) fn rows(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    let mut disk = cast().bob.clone();
    let keys: Vec<_> = disk.keys().cloned().collect();
    let key = &keys[reader.below(keys.len())];
    let value = disk.get_mut(key).expect("a key of this disk");
    let start = usize::from(reader.short()).min(value.len());
    let end = (start + usize::from(reader.byte())).min(value.len());
    value.splice(start..end, reader.rest().iter().copied());
    let _message = MessageRecord::decode(value);
    let _token = decode_token(value);
    assert!(restored(&disk).len() <= disk.len());
    let Ok(mut peer) = Peer::open(2, 1, NOW, disk) else {
        return false;
    };
    peer.link_up(NOW);
    peer.settle(&mut cast().log.clone(), NOW);
    true
}

pub(super) fn row_seeds() -> Vec<Seed> {
    let rows = cast().bob.len().min(60) as u8;
    (0..rows)
        .step_by(4)
        .map(|row| Seed::new(format!("row_{row}"), [row, 0, 0, 0]))
        .collect()
}
