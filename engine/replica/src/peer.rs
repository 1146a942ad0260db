//! What is remembered of single devices, beside what conversations and user logs say of them: their
//! newest sealing keys, when they were heard of, and how they behaved.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use sheaf_crypto::{ConversationId, DeviceId, KemRecord, Recipient};

use crate::limits;
use crate::misbehaviour::Conduct;
use crate::record::{Kind, Write};
use crate::time::Timestamp;

/// What is remembered of one device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PeerRecord {
    pub(crate) device: DeviceId,
    /// Its newest sealing key, if it is not that of its certificate.
    pub(crate) kem: Option<KemRecord>,
    /// This device's own sealing keys that it still holds, and when each was drawn.
    pub(crate) drawn: Vec<(u64, Timestamp)>,
    /// Since when this device looks whether that one is there.
    pub(crate) watched: Option<Timestamp>,
    pub(crate) conduct: Conduct,
    /// Conversations that it was taken out of, and the messages that were here then.
    pub(crate) taken_out: Vec<(ConversationId, u64)>,
}

impl PeerRecord {
    fn new(device: DeviceId) -> Self {
        Self {
            device,
            kem: None,
            drawn: Vec::new(),
            watched: None,
            conduct: Conduct::default(),
            taken_out: Vec::new(),
        }
    }
}

/// Every device that something is remembered of.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    known: BTreeMap<DeviceId, PeerRecord>,
    /// When the next quarantine ends.
    next_release: Option<Timestamp>,
    held: usize,
}

impl Peers {
    pub(crate) fn restore(&mut self, record: PeerRecord) {
        self.known.insert(record.device, record);
        self.look();
    }

    pub(crate) fn get(&self, device: &DeviceId) -> Option<&PeerRecord> {
        self.known.get(device)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&DeviceId, &PeerRecord)> {
        self.known.iter()
    }

    /// Changes what is remembered of a device; gives the write. Nothing for a new device beyond
    /// [`limits::PEERS_MAX`].
    pub(crate) fn edit<T>(
        &mut self,
        device: &DeviceId,
        change: impl FnOnce(&mut PeerRecord) -> T,
    ) -> Option<(T, Write)> {
        if !self.known.contains_key(device) && self.known.len() >= limits::PEERS_MAX {
            return None;
        }
        let entry = self.known.entry(*device);
        let record = entry.or_insert_with(|| PeerRecord::new(*device));
        let before = record.conduct.quarantine;
        let result = change(record);
        let changed = record.conduct.quarantine != before;
        let write = Write::put(Kind::Peer, &device.0, &[], record);
        if changed {
            self.look();
        }
        Some((result, write))
    }

    fn look(&mut self) {
        let quarantines = self.known.values();
        let quarantines = quarantines.filter_map(|record| record.conduct.quarantine);
        self.held = quarantines.clone().count();
        self.next_release = quarantines.filter_map(|quarantine| quarantine.until).min();
    }

    pub(crate) fn next_release(&self) -> Option<Timestamp> {
        self.next_release
    }

    pub(crate) fn holds_any(&self) -> bool {
        self.held > 0
    }

    /// Devices in quarantine.
    pub(crate) fn quarantined(&self) -> Vec<DeviceId> {
        let held = self.known.iter();
        let held = held.filter(|(_, record)| record.conduct.quarantine.is_some());
        held.map(|(device, _)| *device).collect()
    }

    /// The device with the newest of the sealing keys that are known of it.
    pub(crate) fn newest(&self, mut to: Recipient) -> Recipient {
        let newest = self
            .known
            .get(&to.device)
            .and_then(|peer| peer.kem.as_ref());
        if let Some(newest) = newest.filter(|newest| newest.counter > to.kem.counter) {
            to.kem = newest.clone();
        }
        to
    }

    /// The same for several devices.
    pub(crate) fn newest_of(&self, to: Vec<Recipient>) -> Vec<Recipient> {
        to.into_iter().map(|to| self.newest(to)).collect()
    }

    /// Takes a sealing key that a device announced; the highest counter wins. `signing` is the
    /// device's key. Gives the write if it is news.
    pub(crate) fn learn_kem(&mut self, record: &KemRecord, signing: &[u8; 32]) -> Option<Write> {
        let known = self.known.get(&record.device);
        let known = known.and_then(|peer| peer.kem.as_ref());
        if known.is_some_and(|known| known.counter >= record.counter) || !record.verify(signing) {
            return None;
        }
        let learned = self.edit(&record.device, |peer| peer.kem = Some(record.clone()));
        learned.map(|((), write)| write)
    }
}
