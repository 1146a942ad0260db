//! The Automerge sync protocol between two replicas of a segment.
//!
//! ```text
//! version 1 | Automerge sync message without changes | number of payloads
//!           | per payload: actor (16) | payload
//! ```
//!
//! Lengths are LEB128. Automerge finds out what the other side lacks; the changes themselves travel
//! in our own payloads and pass the same gate as any other. Automerge never sees a byte of a change
//! that it would have to inflate, and its second message version, which sends whole documents, is
//! never spoken.

use std::collections::BTreeMap;
use std::fmt;

use automerge::sync::{BloomFilter, ChunkList, Message, MessageVersion, State, SyncDoc};

use super::{Incoming, Outcome, Segment};
use crate::document::bound;
use crate::document::codec::{decode_payload, encode_payload};
use crate::document::error::{Refusal, SyncError};
use crate::document::gate::guarded;
use crate::document::varint::{Reader, put_length};

const VERSION: u8 = 1;
/// What Automerge writes into every Bloom filter; anything else is an attempt on our memory.
const BLOOM_BITS_PER_ENTRY: u64 = 10;
const BLOOM_PROBES: u64 = 7;
/// Changes per payload, so that none comes near its bounds.
const CHANGES_PER_PAYLOAD: usize = 256;
const BYTES_PER_PAYLOAD: usize = 512 * 1024;

/// What one replica knows of the other while they sync.
#[derive(Clone, Default)]
pub struct SyncState(State);

impl SyncState {
    /// What is worth keeping for the next time: the heads that both are known to have.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.0.encode()
    }

    /// The state that [`SyncState::encode`] kept; a fresh one if the bytes are anything else, which
    /// costs more traffic and nothing besides.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Self {
        let state = guarded(|| State::decode(bytes).ok()).flatten();
        Self(state.unwrap_or_default())
    }
}

impl fmt::Debug for SyncState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = self.0.shared_heads.len();
        f.debug_struct("SyncState")
            .field("shared_heads", &shared)
            .finish_non_exhaustive()
    }
}

impl Segment {
    /// The state to begin with towards a replica of which nothing is known.
    #[must_use]
    pub fn sync_state(&self) -> SyncState {
        SyncState::default()
    }

    /// The next message to the other replica; `None` if there is nothing to say.
    pub fn generate_sync_message(&self, state: &mut SyncState) -> Option<Vec<u8>> {
        let generated = guarded(|| {
            let message = self.doc.generate_sync_message(&mut state.0)?;
            Some(self.encode_sync(message))
        });
        if generated.is_none() {
            *state = SyncState::default();
        }
        generated.flatten()
    }

    fn encode_sync(&self, mut message: Message) -> Vec<u8> {
        let mut chains: BTreeMap<[u8; 16], Vec<Vec<u8>>> = BTreeMap::new();
        for chunk in message.changes.iter() {
            // Automerge deflates what is long; `Change` gives back the plain form of our own.
            let Ok(change) = automerge::Change::try_from(chunk) else {
                continue;
            };
            if let Ok(actor) = change.actor_id().to_bytes().try_into() {
                chains
                    .entry(actor)
                    .or_default()
                    .push(change.raw_bytes().to_vec());
            }
        }
        message.changes = ChunkList::empty();
        message.flags = None;
        message.version = MessageVersion::V1;
        let mut payloads = Vec::new();
        for (actor, changes) in &chains {
            for part in parts(changes) {
                if let Ok(payload) = encode_payload(&self.genesis, actor, part) {
                    payloads.push((*actor, payload));
                }
            }
        }
        let message = message.encode();
        let mut out = vec![VERSION];
        put_length(&mut out, message.len());
        out.extend_from_slice(&message);
        put_length(&mut out, payloads.len());
        for (actor, payload) in &payloads {
            out.extend_from_slice(actor);
            put_length(&mut out, payload.len());
            out.extend_from_slice(payload);
        }
        out
    }

    /// Takes a message of the other replica. `authors` says which device's tag an actor's messages
    /// bear. Returns what became of each change in the message.
    ///
    /// # Errors
    /// [`SyncError::Malformed`] if the message does not decode; nothing of it was taken then.
    /// [`SyncError::NotApplicable`] if its changes were judged but the state could not follow.
    pub fn receive_sync_message(
        &mut self,
        state: &mut SyncState,
        bytes: &[u8],
        authors: impl Fn(&[u8; 16]) -> Option<[u8; 8]>,
    ) -> Result<Vec<Outcome>, SyncError> {
        let (message, chains) = self.decode_sync(bytes).ok_or(SyncError::Malformed)?;
        let mut outcomes = Vec::new();
        let mut incoming = Vec::new();
        for (actor, changes) in chains {
            let Some(author_tag) = authors(&actor) else {
                outcomes.push(Outcome::Refused(Refusal::UnknownActor));
                continue;
            };
            for change in changes {
                incoming.push(Incoming {
                    actor,
                    author_tag,
                    changes: vec![change],
                });
            }
        }
        outcomes.extend(self.merge(&incoming));
        let mut next = state.0.clone();
        let taken = guarded(|| {
            let mut doc = self.doc.clone();
            doc.receive_sync_message(&mut next, message).ok()
        });
        taken.flatten().ok_or(SyncError::NotApplicable)?;
        state.0 = next;
        Ok(outcomes)
    }

    /// Begins to compare with another replica: what this one has, for [`Self::lacking`] over there.
    #[must_use]
    pub fn compare_message(&self) -> Option<Vec<u8>> {
        self.generate_sync_message(&mut SyncState::default())
    }

    /// The same where the other replica is known to have all that this one has: what comes after these
    /// heads is lacking here, exactly. A filter would leave out some of it, by chance.
    #[must_use]
    pub fn continue_message(&self) -> Option<Vec<u8>> {
        let generated = guarded(|| {
            let mut message = self.doc.generate_sync_message(&mut State::new())?;
            for have in &mut message.have {
                have.last_sync.clone_from(&message.heads);
                have.bloom = BloomFilter::default();
            }
            Some(self.encode_sync(message))
        });
        generated.flatten()
    }

    /// Changes that the replica lacks which a message came from: actor and hash of each.
    ///
    /// # Errors
    /// [`SyncError`] if the message does not decode or does not apply.
    pub fn lacking(&self, bytes: &[u8]) -> Result<Vec<ActorChange>, SyncError> {
        let (message, _) = self.decode_sync(bytes).ok_or(SyncError::Malformed)?;
        let mut state = State::new();
        let answer = guarded(|| {
            let mut doc = self.doc.clone();
            doc.receive_sync_message(&mut state, message).ok()?;
            Some(doc.generate_sync_message(&mut state))
        });
        let answer = answer.flatten().ok_or(SyncError::NotApplicable)?;
        let chunks = answer.iter().flat_map(|message| message.changes.iter());
        let changes = chunks.filter_map(|chunk| automerge::Change::try_from(chunk).ok());
        let named = changes.filter_map(|change| {
            let actor = change.actor_id().to_bytes().try_into().ok()?;
            Some((actor, change.hash().0))
        });
        Ok(named.collect())
    }

    fn decode_sync(&self, bytes: &[u8]) -> Option<(Message, Chains)> {
        if bytes.len() > bound::SYNC_BYTES_MAX {
            return None;
        }
        let mut reader = Reader::new(bytes);
        if reader.byte()? != VERSION {
            return None;
        }
        let encoded = reader.prefixed()?;
        let message = guarded(|| Message::decode(encoded).ok()).flatten()?;
        if !is_plain(&message) {
            return None;
        }
        let mut chains = Chains::new();
        let mut total = 0_usize;
        for _ in 0..reader.length()? {
            let actor = reader.array()?;
            let payload = reader.prefixed()?;
            let changes = decode_payload(&self.genesis, &actor, payload).ok()?;
            total = changes
                .iter()
                .map(Vec::len)
                .fold(total, usize::saturating_add);
            if total > bound::SYNC_BYTES_MAX {
                return None;
            }
            chains.push((actor, changes));
        }
        reader.is_empty().then_some((message, chains))
    }
}

/// Actor and hash of a change.
pub(super) type ActorChange = ([u8; 16], [u8; 32]);

type Chains = Vec<([u8; 16], Vec<Vec<u8>>)>;

/// Whether the message is one that [`Segment::generate_sync_message`] of an honest replica gives.
fn is_plain(message: &Message) -> bool {
    let bounded = |hashes: &[automerge::ChangeHash]| {
        hashes.len() <= bound::SYNC_HASHES_MAX && hashes.is_sorted()
    };
    let have = message.have.len() <= 1
        && message
            .have
            .iter()
            .all(|have| bounded(&have.last_sync) && is_own_bloom(&have.bloom.to_bytes()));
    let need = message.need.len() <= bound::SYNC_HASHES_MAX;
    let flags = message.flags.is_none() && message.version == MessageVersion::V1;
    have && need && flags && bounded(&message.heads) && message.changes.is_empty()
}

/// An empty filter, or one with the parameters that Automerge writes. Others divide by zero or
/// reserve gigabytes.
fn is_own_bloom(bytes: &[u8]) -> bool {
    if bytes.is_empty() {
        return true;
    }
    let mut reader = Reader::new(bytes);
    let entries = reader.unsigned();
    let parameters = (reader.unsigned(), reader.unsigned());
    entries.is_some_and(|entries| entries > 0)
        && parameters == (Some(BLOOM_BITS_PER_ENTRY), Some(BLOOM_PROBES))
}

/// Cuts a chain into pieces that fit into payloads.
fn parts(changes: &[Vec<u8>]) -> Vec<&[Vec<u8>]> {
    let mut parts = Vec::new();
    let mut rest = changes;
    while !rest.is_empty() {
        let mut bytes = 0_usize;
        let count = rest
            .iter()
            .take(CHANGES_PER_PAYLOAD)
            .take_while(|change| {
                bytes = bytes.saturating_add(change.len());
                bytes <= BYTES_PER_PAYLOAD
            })
            .count()
            .max(1);
        let (part, after) = rest.split_at(count.min(rest.len()));
        parts.push(part);
        rest = after;
    }
    parts
}
