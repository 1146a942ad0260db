//! What the app is doing, and how the connection stands because of it.

use std::time::Duration;

use sheaf_protocol::{ErrorCode, Refusal};
use sheaf_replica::{LifeCycle, Scope, Timestamp};

use crate::link::{LinkError, LinkEvent, Transport};

/// An app in front that has asked for nothing for so long is idle.
pub(crate) const IDLE_AFTER_MS: u64 = 5 * 60 * 1_000;

/// What the app is doing. Reported by it with [`Engine::set_activity`](crate::Engine::set_activity).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Activity {
    /// It is in front of a person: everything is read at once.
    #[default]
    Foreground,
    /// Nobody is looking: everything is read, with a slow heartbeat. An app in front that asks for
    /// nothing for five minutes is taken for idle, until it asks for something.
    Idle,
    /// It is not shown: only what is critical is read (docs/ARCHITECTURE.md has the table).
    Background,
}

/// How the connection to the relay stands.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct LinkStatus {
    /// Where its life is.
    pub state: LifeCycle,
    /// What carries it, while there is one.
    pub transport: Option<Transport>,
    /// Why the last one ended or did not come about; nothing once one is up.
    pub error: Option<LinkError>,
    /// When it is tried again, while there is none.
    pub retry_at: Option<Timestamp>,
    /// The relay asked for that time, and it is kept even if the app is in a hurry.
    pub retry_asked: bool,
    /// What the relay said when it last did not take a record on this connection.
    pub refused: Option<String>,
    /// Until when the relay takes no more from this device, as it said itself.
    pub refused_until: Option<Timestamp>,
    /// Round trip of the last heartbeat.
    pub round_trip: Option<Duration>,
}

/// Follows the connection's life.
#[derive(Debug, Default)]
pub(crate) struct Life {
    pub(crate) status: LinkStatus,
    activity: Activity,
    /// Foreground without a request for a while.
    dozing: bool,
    used: Timestamp,
    up: bool,
    caught_up: bool,
    closing: bool,
}

impl Life {
    /// What the link and the replica are to know of the app.
    pub(crate) fn activity(&self) -> Activity {
        match self.activity {
            Activity::Foreground if self.dozing => Activity::Idle,
            other => other,
        }
    }

    pub(crate) fn scope(&self) -> Scope {
        match self.activity {
            Activity::Background => Scope::Critical,
            Activity::Foreground | Activity::Idle => Scope::Everything,
        }
    }

    /// When an app in front counts as idle.
    pub(crate) fn idle_at(&self) -> Option<Timestamp> {
        let awake = self.activity == Activity::Foreground && !self.dozing;
        awake.then(|| self.used.after_ms(IDLE_AFTER_MS))
    }

    pub(crate) fn doze(&mut self) {
        self.dozing = true;
    }

    /// The app asked for something.
    pub(crate) fn used(&mut self, now: Timestamp) {
        self.used = now;
        self.dozing = false;
    }

    pub(crate) fn set_activity(&mut self, activity: Activity, now: Timestamp) {
        self.activity = activity;
        self.used(now);
    }

    pub(crate) fn close(&mut self) {
        self.closing = true;
    }

    pub(crate) fn caught_up(&mut self) {
        self.caught_up = true;
    }

    /// Less is read, or more: what was read to its end may not be any more.
    pub(crate) fn reading_anew(&mut self) {
        self.caught_up = false;
    }

    pub(crate) fn refused(&mut self, refusal: &Refusal, now: Timestamp) {
        let after = refusal.retry_after_ms;
        if after > 0 {
            self.status.refused_until = Some(now.after_ms(u64::from(after)));
        }
        if matches!(
            refusal.code,
            ErrorCode::RecordTooLarge
                | ErrorCode::Full
                | ErrorCode::RateLimited
                | ErrorCode::Unavailable
        ) {
            self.status.refused = Some(refusal.message.clone());
        }
    }

    pub(crate) fn link(&mut self, event: &LinkEvent, now: Timestamp) {
        match event {
            LinkEvent::Connecting => {
                self.status.transport = None;
                self.status.retry_at = None;
                self.status.state = LifeCycle::Connecting;
            }
            LinkEvent::Authenticating(transport) => {
                self.status.transport = Some(*transport);
                self.status.state = LifeCycle::Authenticating;
            }
            LinkEvent::Up { transport, .. } => {
                self.up = true;
                self.caught_up = false;
                self.status.transport = Some(*transport);
                self.status.error = None;
                self.status.refused = None;
                self.status.retry_at = None;
            }
            LinkEvent::Frame(..) => {}
            LinkEvent::Down {
                error,
                retry_ms,
                asked,
            } => {
                self.up = false;
                self.status.transport = None;
                self.status.error = Some(error.clone());
                self.status.retry_at = Some(now.after_ms(*retry_ms));
                self.status.retry_asked = *asked;
                self.status.state = LifeCycle::Disconnected;
            }
        }
    }

    /// Where the connection's life is now.
    pub(crate) fn state(&self) -> LifeCycle {
        match (self.up, self.activity()) {
            _ if self.closing => LifeCycle::Disconnecting,
            (false, _) => self.status.state,
            (true, Activity::Background) => LifeCycle::Backgrounded,
            (true, _) if !self.caught_up => LifeCycle::Synchronizing,
            (true, Activity::Foreground) => LifeCycle::Active,
            (true, Activity::Idle) => LifeCycle::Idle,
        }
    }
}

#[cfg(test)]
mod tests;
