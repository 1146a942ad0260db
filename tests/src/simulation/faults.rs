//! What goes wrong, and what people do besides writing.

/// How bad the world is.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// Connections break and partitions last.
    pub network: bool,
    /// Devices lose power between write and flush.
    pub crashes: bool,
    /// The relay delivers again what it delivered, and forgets connections.
    pub relay: bool,
    /// There are two relays, which die, lose their stores and come back.
    pub relays: bool,
    /// One of them is put back to a backup at times.
    pub roll_back: bool,
    /// People add and remove each other, change roles and draw epochs.
    pub members: bool,
    /// Some conversations let newcomers read only from their own beginning on.
    pub since_join: bool,
    /// Somebody joins in the middle, where a snapshot was made.
    pub newcomer: bool,
    /// Hours pass in which nothing happens, and relays let go of what everybody has.
    pub release: bool,
    /// People cut the history and let what came before be forgotten.
    pub forget: bool,
    /// Weeks pass: sealing keys and epochs are drawn anew, old sealing keys are erased.
    pub weeks: bool,
    /// A device signs two histories.
    pub fork: bool,
    /// A device's store is copied, and both go on.
    pub copy: bool,
    /// Steps of life.
    pub steps: u64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            network: true,
            crashes: true,
            relay: true,
            relays: false,
            roll_back: false,
            members: false,
            since_join: false,
            newcomer: false,
            release: false,
            forget: false,
            weeks: false,
            fork: false,
            copy: false,
            steps: 120,
        }
    }
}

impl Faults {
    /// Somebody may join after a cut, and begins there.
    pub(super) fn begins_late(&self) -> bool {
        self.forget && self.newcomer
    }

    /// One device is there twice.
    pub(super) fn doubles(&self) -> bool {
        self.fork || self.copy
    }
}
