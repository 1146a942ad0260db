//! The connections that are up, by device and by part of the network.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::admission::{Admission, Credential};
use crate::config::LimitConfig;
use crate::misbehaviour::CloseCode;
use crate::rate::Prefix;
use crate::tls::DeviceKey;
use crate::wire::Wire;

/// Knows every connection that is up.
#[derive(Debug)]
pub(crate) struct Registry {
    per_device: usize,
    per_prefix: usize,
    total: usize,
    // A std mutex: it is never held across an await.
    entries: Arc<Mutex<Entries>>,
}

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    open: HashMap<u64, Entry>,
    by_device: HashMap<DeviceKey, Vec<u64>>,
    by_prefix: HashMap<Prefix, usize>,
}

#[derive(Debug)]
struct Entry {
    wire: Wire,
    credential: Credential,
    device: DeviceKey,
    prefix: Option<Prefix>,
}

/// A connection's place; dropping it gives it up.
#[derive(Debug)]
pub(crate) struct Place {
    number: u64,
    entries: Arc<Mutex<Entries>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut entries = lock(&self.entries);
        entries.remove(self.number);
    }
}

fn lock(entries: &Mutex<Entries>) -> MutexGuard<'_, Entries> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    pub(crate) fn new(limits: &LimitConfig) -> Self {
        Self {
            per_device: limits.connections_per_device as usize,
            per_prefix: limits.connections_per_prefix as usize,
            total: limits.connections_max as usize,
            entries: Arc::default(),
        }
    }

    /// Gives a connection its place, or `None` where there are too many. A device that has too many
    /// loses its oldest: it may have lost that one itself when its network changed.
    pub(crate) fn enter(
        &self,
        wire: &Wire,
        credential: &Credential,
        device: &DeviceKey,
    ) -> Option<Place> {
        let prefix = Prefix::of(wire.remote_address().ip());
        let mut entries = lock(&self.entries);
        let own = entries.by_device.get(device).map_or(0, Vec::len);
        if own >= self.per_device {
            entries.replace_oldest(device);
        }
        let near = prefix.and_then(|prefix| entries.by_prefix.get(&prefix));
        if entries.open.len() >= self.total || near.is_some_and(|near| *near >= self.per_prefix) {
            return None;
        }
        let number = entries.insert(Entry {
            wire: wire.clone(),
            credential: credential.clone(),
            device: *device,
            prefix,
        });
        let entries = Arc::clone(&self.entries);
        Some(Place { number, entries })
    }

    /// Closes the connections that the rule in force no longer admits; says how many.
    pub(crate) fn close_unadmitted(&self, admission: &Admission) -> usize {
        let entries = lock(&self.entries);
        let refused = entries
            .open
            .values()
            .filter(|entry| !admission.admits(&entry.credential));
        refused
            .map(|entry| entry.wire.close(CloseCode::NotAdmitted))
            .count()
    }
}

impl Entries {
    fn insert(&mut self, entry: Entry) -> u64 {
        let number = self.next;
        self.next += 1;
        self.by_device.entry(entry.device).or_default().push(number);
        if let Some(prefix) = entry.prefix {
            *self.by_prefix.entry(prefix).or_default() += 1;
        }
        self.open.insert(number, entry);
        number
    }

    fn replace_oldest(&mut self, device: &DeviceKey) {
        let oldest = self
            .by_device
            .get(device)
            .and_then(|numbers| numbers.first());
        if let Some(entry) = oldest.copied().and_then(|oldest| self.remove(oldest)) {
            entry.wire.close(CloseCode::Replaced);
        }
    }

    fn remove(&mut self, number: u64) -> Option<Entry> {
        let entry = self.open.remove(&number)?;
        if let Some(numbers) = self.by_device.get_mut(&entry.device) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.by_device.remove(&entry.device);
            }
        }
        if let Some(prefix) = entry.prefix
            && let Some(count) = self.by_prefix.get_mut(&prefix)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_prefix.remove(&prefix);
            }
        }
        Some(entry)
    }
}
