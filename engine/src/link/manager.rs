//! Keeps one connection up, and builds it anew when it breaks.

use std::sync::Arc;
use std::time::Duration;

use rand_core::Rng;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::reach::{Failure, Greeted, Means, reach};
use super::session::{Ended, Session};
use super::{LinkError, LinkEvent, Pace, Target, Traffic, Transport};
use crate::activity::Activity;
use crate::entropy::OsEntropy;

/// Delays between attempts, in milliseconds; each is drawn from half to the whole of it.
const DELAYS_MS: [u64; 5] = [1_000, 2_000, 4_000, 8_000, 16_000];
/// A connection that lasted so long was a good one: the delays begin anew.
const STEADY: Duration = Duration::from_secs(10);
/// No relay makes a device try again sooner, nor keeps it away longer.
const ASKED_MIN: Duration = Duration::from_millis(200);
const ASKED_MAX: Duration = Duration::from_secs(3_600);

/// What the driver asks of the link.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Control {
    /// Where to be connected to; nothing means nowhere.
    pub(crate) target: Option<Target>,
    /// Raised to try at once.
    pub(crate) urgency: u64,
    /// Raised when the network is another one.
    pub(crate) network: u64,
    /// What the app is doing.
    pub(crate) activity: Activity,
}

/// Runs until the driver is gone.
pub(crate) async fn manage(
    control: watch::Receiver<Control>,
    events: mpsc::Sender<LinkEvent>,
    traffic: Arc<Traffic>,
    pace: Pace,
) {
    let manager = Manager {
        control,
        events,
        traffic,
        pace,
        attempts: 0,
        number: 0,
        remembered: None,
        network: 0,
    };
    // Nothing is left to say once the driver is gone.
    let _gone = Box::pin(manager.run()).await;
}

/// The driver is gone.
struct Gone;

struct Manager {
    control: watch::Receiver<Control>,
    events: mpsc::Sender<LinkEvent>,
    traffic: Arc<Traffic>,
    pace: Pace,
    attempts: usize,
    number: u64,
    /// UDP is blocked, as far as is known, until then.
    remembered: Option<Instant>,
    network: u64,
}

impl Manager {
    async fn run(mut self) -> Result<(), Gone> {
        loop {
            let target = self.control.borrow_and_update().target.clone();
            let Some(target) = target else {
                self.control.changed().await.map_err(|_| Gone)?;
                continue;
            };
            let mut ended = Box::pin(self.connect(&target)).await?;
            while let Some(successor) = ended.successor.take() {
                ended = Box::pin(self.session(&target, successor)).await;
            }
            self.pause(&target, ended).await?;
        }
    }

    /// One connection from the first packet to its end.
    async fn connect(&mut self, target: &Target) -> Result<Ended, Gone> {
        self.events
            .send(LinkEvent::Connecting)
            .await
            .map_err(|_| Gone)?;
        self.look_at_network();
        let first = match self.remembered {
            Some(until) if Instant::now() < until => Transport::WebSocket,
            Some(_) | None => Transport::Quic,
        };
        let means = Means {
            pace: &self.pace,
            events: &self.events,
            traffic: &self.traffic,
        };
        let mut control = self.control.clone();
        let network = self.network;
        let reached = tokio::select! {
            reached = reach(target, first, means) => reached,
            () = elsewhere(&mut control, target, network) => {
                let mut ended = Ended::from(LinkError::Broken("closed here".to_owned()));
                ended.moved = true;
                return Ok(ended);
            }
        };
        match reached {
            Ok(greeted) => Ok(self.session(target, greeted).await),
            Err(Failure { error, retry_after }) => Ok(Ended {
                retry_after,
                ..Ended::from(error)
            }),
        }
    }

    async fn session(&mut self, target: &Target, greeted: Greeted) -> Ended {
        self.remembered = match greeted.side.transport() {
            Transport::Quic => None,
            Transport::WebSocket => Some(Instant::now() + self.pace.remember),
        };
        self.number = self.number.saturating_add(1);
        let session = Session {
            number: self.number,
            target,
            means: Means {
                pace: &self.pace,
                events: &self.events,
                traffic: &self.traffic,
            },
            control: self.control.clone(),
        };
        let began = Instant::now();
        let mut control = self.control.clone();
        let ended = tokio::select! {
            ended = session.run(greeted) => ended,
            () = retargeted(&mut control, target) => {
                LinkError::Broken("closed here".to_owned()).into()
            }
        };
        if began.elapsed() >= STEADY {
            self.attempts = 0;
        }
        ended
    }

    /// Says what happened and waits until the next attempt. What the relay asked for is obeyed even
    /// if the app is in a hurry; only another relay is not bound by it.
    async fn pause(&mut self, target: &Target, ended: Ended) -> Result<(), Gone> {
        let asked = ended
            .retry_after
            .map(|asked| asked.clamp(ASKED_MIN, ASKED_MAX));
        let hurry = ended.moved && asked.is_none();
        let delay = match asked {
            Some(asked) => asked,
            None if hurry || self.is_retargeted(target) => Duration::ZERO,
            None => Duration::from_millis(backoff(self.attempts)),
        };
        self.attempts = self.attempts.saturating_add(1);
        let down = LinkEvent::Down {
            error: ended.error,
            retry_ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            asked: asked.is_some(),
        };
        self.events.send(down).await.map_err(|_| Gone)?;
        let until = Instant::now() + delay;
        let urgency = self.control.borrow().urgency;
        loop {
            if self.is_retargeted(target) {
                self.attempts = 0;
                return Ok(());
            }
            tokio::select! {
                () = sleep_until(until) => return Ok(()),
                changed = self.control.changed() => changed.map_err(|_| Gone)?,
            }
            let moved = self.look_at_network();
            let urged = self.control.borrow_and_update().urgency != urgency;
            if (moved || urged) && asked.is_none() {
                self.attempts = 0;
                return Ok(());
            }
        }
    }

    fn is_retargeted(&self, target: &Target) -> bool {
        self.control.borrow().target.as_ref() != Some(target)
    }

    /// What was learned about a network is of no use on another one.
    fn look_at_network(&mut self) -> bool {
        let network = self.control.borrow().network;
        let moved = std::mem::replace(&mut self.network, network) != network;
        if moved {
            self.remembered = None;
        }
        moved
    }
}

fn backoff(attempts: usize) -> u64 {
    let place = attempts.min(DELAYS_MS.len().saturating_sub(1));
    let whole = DELAYS_MS.get(place).copied().unwrap_or(16_000);
    let half = whole / 2;
    half.saturating_add(OsEntropy.next_u64() % half.max(1))
}

async fn retargeted(control: &mut watch::Receiver<Control>, target: &Target) {
    let other = |now: &Control| now.target.as_ref() != Some(target);
    // An error means that the driver is gone: the connection ends too.
    let _gone = control.wait_for(other).await;
}

async fn elsewhere(control: &mut watch::Receiver<Control>, target: &Target, network: u64) {
    let other = |now: &Control| now.target.as_ref() != Some(target) || now.network != network;
    let _gone = control.wait_for(other).await;
}

#[cfg(test)]
mod tests;
