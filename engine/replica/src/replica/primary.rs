//! Taking the primary's place when it has not been heard of (requirement R-D5).
//!
//! That it was not heard of is judged by the clock of the device whose turn it is, and becomes a fact
//! only by that device's signed handover to itself. Of two such handovers side by side all devices
//! choose the same one, because who is primary follows from the user log alone.

use sheaf_crypto::DeviceId;

use super::Replica;
use crate::time::Timestamp;

impl Replica {
    /// Takes the primary's place, where it is this device's turn and the primary is long gone.
    pub(super) fn claim_primary(&mut self) {
        let (Some(account), Some(absent_ms)) = (&self.account, self.policy.primary_absent_ms)
        else {
            return;
        };
        let (own, primary) = (account.device(), account.devices.primary());
        if primary == own || account.devices.next_primary() != Some(own) {
            return;
        }
        // Whoever was away himself has heard of nobody: first everything is read.
        if !self.was_caught_up {
            return;
        }
        let watched = self.peers.get(&primary).and_then(|peer| peer.watched);
        let Some(watched) = watched else {
            let now = self.now;
            let noted = self.peers.edit(&primary, |peer| peer.watched = Some(now));
            self.stage.writes(noted.map(|((), write)| write));
            return;
        };
        let heard = self.last_heard(&primary).max(Some(watched));
        let silent = heard.map_or(0, |heard| self.now.since_ms(heard));
        if silent < absent_ms {
            return;
        }
        let Some(account) = self.account.as_mut() else {
            return;
        };
        if let Err(error) = account.devices.hand_over(&account.secrets, &own) {
            tracing::warn!(%error, "primary's place not taken");
            return;
        }
        self.account_grew();
        self.tell_own_devices();
        let days = silent / (24 * 3_600 * 1_000);
        let what =
            format!("this device made primary: the primary was not heard of for {days} days");
        self.audit(what, None);
    }

    /// A device gave a sign of life that no conversation shows.
    pub(super) fn heard_of(&mut self, device: &DeviceId) {
        let watched = self.peers.get(device);
        if watched.is_some_and(|peer| peer.watched.is_some()) {
            let now = self.now;
            let noted = self.peers.edit(device, |peer| peer.watched = Some(now));
            self.stage.writes(noted.map(|((), write)| write));
        }
    }

    /// When something that a device wrote was last taken in.
    pub(super) fn last_heard(&self, device: &DeviceId) -> Option<Timestamp> {
        let times = self
            .conversations
            .values()
            .flat_map(|known| known.last_seen());
        let own = times.filter(|(author, _)| author == device);
        own.map(|(_, time)| time).max()
    }
}
