//! One link for each relay: each has its own task, so that a relay that is slow or away holds up
//! nothing but itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use sheaf_protocol::{ClientFrame, RelayAddress, RelayId};
use tokio::sync::{mpsc, watch};

use crate::activity::Activity;
use crate::driver::LinkState;
use crate::link::{Control, LinkEvent, Pace, Target, Traffic, Transport, manage};

/// Frames of one relay that may wait; more wait in the connection, which slows that relay down.
const FRAMES_IN_MAX: usize = 256;

/// What a link tells the driver, and which one.
pub(crate) type Told = (RelayId, LinkEvent);

/// A relay that is to be connected to.
struct Slot {
    address: RelayAddress,
    control: watch::Sender<Control>,
    connection: Option<(u64, mpsc::Sender<ClientFrame>)>,
    state: LinkState,
    transport: Option<Transport>,
}

/// A relay to connect to, and how that stands.
pub(crate) struct Standing {
    pub(crate) address: RelayAddress,
    pub(crate) state: LinkState,
    pub(crate) transport: Option<Transport>,
}

/// All links.
pub(crate) struct Links {
    slots: BTreeMap<RelayId, Slot>,
    told: mpsc::Sender<Told>,
    traffic: Arc<Traffic>,
    activity: Activity,
}

impl Links {
    pub(crate) fn new(told: mpsc::Sender<Told>, traffic: Arc<Traffic>) -> Self {
        Self {
            slots: BTreeMap::new(),
            told,
            traffic,
            activity: Activity::default(),
        }
    }

    /// Connects to these relays and no others; gives those whose connection was given up.
    pub(crate) fn follow(&mut self, targets: Vec<Target>) -> Vec<RelayId> {
        let kept = |relay: &RelayId| targets.iter().any(|t| t.address.relay == *relay);
        let relays: Vec<RelayId> = self.slots.keys().copied().collect();
        let gone: Vec<RelayId> = relays.into_iter().filter(|relay| !kept(relay)).collect();
        for relay in &gone {
            // Its task ends when it hears no more.
            self.slots.remove(relay);
        }
        for target in targets {
            let relay = target.address.relay;
            if !self.slots.contains_key(&relay) {
                let slot = self.start(target.address.clone());
                self.slots.insert(relay, slot);
            }
            if let Some(slot) = self.slots.get_mut(&relay) {
                slot.address = target.address.clone();
                let target = Some(target);
                slot.control.send_if_modified(|control| {
                    let changed = control.target != target;
                    control.target = target;
                    changed
                });
            }
        }
        gone
    }

    fn start(&self, address: RelayAddress) -> Slot {
        let (control, controlled) = watch::channel(Control {
            activity: self.activity,
            ..Control::default()
        });
        let (events, mut heard) = mpsc::channel(FRAMES_IN_MAX);
        let (told, relay) = (self.told.clone(), address.relay);
        drop(tokio::spawn(manage(
            controlled,
            events,
            Arc::clone(&self.traffic),
            Pace::default(),
        )));
        drop(tokio::spawn(async move {
            while let Some(event) = heard.recv().await {
                if told.send((relay, event)).await.is_err() {
                    return;
                }
            }
        }));
        Slot {
            address,
            control,
            connection: None,
            state: LinkState::Offline,
            transport: None,
        }
    }

    /// Tries to connect at once.
    pub(crate) fn urge(&self) {
        for slot in self.slots.values() {
            slot.control.send_modify(|control| control.urgency += 1);
        }
    }

    /// The network is another one.
    pub(crate) fn network_changed(&self) {
        for slot in self.slots.values() {
            slot.control.send_modify(|control| control.network += 1);
        }
    }

    /// Tells every link what the app is doing.
    pub(crate) fn set_activity(&mut self, activity: Activity) {
        self.activity = activity;
        for slot in self.slots.values() {
            slot.control.send_if_modified(|control| {
                let changed = control.activity != activity;
                control.activity = activity;
                changed
            });
        }
    }

    /// Whether another relay than this one is connected.
    pub(crate) fn is_up_beside(&self, relay: &RelayId) -> bool {
        let mut slots = self.slots.iter();
        slots.any(|(known, slot)| known != relay && slot.connection.is_some())
    }

    /// Whether a relay is one of those to connect to.
    pub(crate) fn knows(&self, relay: &RelayId) -> bool {
        self.slots.contains_key(relay)
    }

    pub(crate) fn set_state(&mut self, relay: &RelayId, state: LinkState) {
        if let Some(slot) = self.slots.get_mut(relay) {
            if !matches!(state, LinkState::Synchronizing) {
                slot.connection = None;
                slot.transport = None;
            }
            slot.state = state;
        }
    }

    pub(crate) fn up(
        &mut self,
        relay: &RelayId,
        number: u64,
        frames: mpsc::Sender<ClientFrame>,
        transport: Transport,
    ) {
        if let Some(slot) = self.slots.get_mut(relay) {
            slot.connection = Some((number, frames));
            slot.state = LinkState::Synchronizing;
            slot.transport = Some(transport);
        }
    }

    /// Whether a frame is of the connection that stands.
    pub(crate) fn is_current(&self, relay: &RelayId, number: u64) -> bool {
        let slot = self.slots.get(relay);
        let connection = slot.and_then(|slot| slot.connection.as_ref());
        connection.is_some_and(|(known, _)| *known == number)
    }

    pub(crate) fn transmit(&mut self, relay: &RelayId, frame: ClientFrame) {
        let Some(slot) = self.slots.get_mut(relay) else {
            return;
        };
        let Some((_, frames)) = &slot.connection else {
            return;
        };
        if frames.try_send(frame).is_err() {
            // The link is gone or hopelessly behind: the next connection starts from the cursors.
            slot.connection = None;
            slot.control.send_modify(|control| control.urgency += 1);
        }
    }

    /// How the device stands: as well as its best link.
    pub(crate) fn state(&self, caught_up: bool) -> LinkState {
        let mut states = self.slots.values();
        if states.any(|slot| slot.connection.is_some()) {
            return match caught_up {
                true => LinkState::Active,
                false => LinkState::Synchronizing,
            };
        }
        let states = self.slots.values().map(|slot| &slot.state);
        let waiting = |state: &&LinkState| matches!(state, LinkState::Connecting);
        let best = states
            .clone()
            .find(waiting)
            .or_else(|| states.clone().next());
        best.cloned().unwrap_or_default()
    }

    /// Relays to connect to, and how each stands.
    pub(crate) fn all(&self) -> Vec<Standing> {
        let slots = self.slots.values();
        let standing = slots.map(|slot| Standing {
            address: slot.address.clone(),
            state: slot.state.clone(),
            transport: slot.transport,
        });
        standing.collect()
    }
}
