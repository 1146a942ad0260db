//! How many bytes may wait to be written.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes of batches that may wait. Who has more waits until enough is written; a batch that is larger
/// than this by itself waits until nothing else does.
pub(super) const QUEUE_BYTES_MAX: usize = 16 << 20;

#[derive(Default)]
struct Waiting {
    bytes: usize,
    ended: bool,
}

/// Counts what waits.
#[derive(Default)]
pub(super) struct Budget {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl Budget {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts so many bytes, once there is room for them; `false` if nothing is written any more.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let full = |waiting: &mut Waiting| {
            let after = waiting.bytes.saturating_add(bytes);
            !waiting.ended && waiting.bytes > 0 && after > QUEUE_BYTES_MAX
        };
        let waiting = self.changed.wait_while(self.lock(), full);
        let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        waiting.bytes = waiting.bytes.saturating_add(bytes);
        !waiting.ended
    }

    /// So many bytes are written.
    pub(super) fn give_back(&self, bytes: usize) {
        let mut waiting = self.lock();
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
        self.changed.notify_all();
    }

    /// Nothing is written any more: nobody waits for it.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests;
