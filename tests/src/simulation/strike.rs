//! Connections to relays, and relays that die, lose their stores and come back.

use sheaf_replica::Input;

use super::relay::{Session, exporter};
use super::world::{Happening, World};
use super::{below, one_in};

impl World {
    /// Connects a device to every relay that lives and that it is not connected to.
    pub(super) fn connect(&mut self, device: usize) {
        for relay in 0..self.relays.len() {
            let linked = self.devices[device].connections.contains_key(&relay);
            if !linked && !self.relays[relay].dead {
                self.connect_to(device, relay);
            }
        }
    }

    fn connect_to(&mut self, device: usize, place: usize) {
        self.connections += 1;
        let connection = self.connections;
        let relay = &mut self.relays[place];
        relay.sessions.insert(connection, Session::default());
        let input = Input::LinkUp {
            relay: relay.id(),
            exporter: exporter(connection),
            log: relay.log,
        };
        self.devices[device].connections.insert(place, connection);
        self.input(device, input);
    }

    pub(super) fn disconnect(&mut self, device: usize) {
        for relay in 0..self.relays.len() {
            self.disconnect_from(device, relay);
        }
    }

    fn disconnect_from(&mut self, device: usize, relay: usize) {
        if let Some(connection) = self.devices[device].connections.remove(&relay) {
            self.relays[relay].sessions.remove(&connection);
            let id = self.relays[relay].id();
            self.input(device, Input::LinkDown(id));
        }
    }

    /// A device loses some of its connections for a while.
    pub(super) fn lose_links(&mut self, device: usize) {
        match self.faults.relays && one_in(&mut self.rng, 2) {
            true => {
                let relay = below(&mut self.rng, self.relays.len() as u64) as usize;
                self.disconnect_from(device, relay);
            }
            false => self.disconnect(device),
        }
        let away = below(&mut self.rng, 3_000);
        self.plan(away, Happening::Connect(device));
    }

    /// A relay dies, with its store, with its store as it was at a backup, or without losing any of
    /// it, and comes back some time later. All of them may be away at once.
    pub(super) fn strike(&mut self) {
        let place = below(&mut self.rng, self.relays.len() as u64) as usize;
        if self.relays[place].dead {
            return;
        }
        for device in 0..self.devices.len() {
            self.disconnect_from(device, place);
        }
        let log = self.rng_log();
        let relay = &mut self.relays[place];
        relay.dead = true;
        relay.sessions.clear();
        let id = relay.id();
        match below(&mut self.rng, 3) {
            0 => {
                self.relays[place].wipe(log);
                self.wiped.insert(id);
            }
            1 if self.faults.roll_back => {
                self.relays[place].roll_back();
                self.rolled_back.insert(id);
            }
            _ => {}
        }
        let away = below(&mut self.rng, 4_000);
        self.plan(away, Happening::Revive(place));
    }

    fn rng_log(&mut self) -> u64 {
        below(&mut self.rng, u64::MAX)
    }

    pub(super) fn revive(&mut self, relay: usize) {
        self.relays[relay].dead = false;
        for device in 0..self.devices.len() {
            let back = 1 + below(&mut self.rng, 500);
            self.plan(back, Happening::Connect(device));
        }
    }
}
