//! What a device has done wrong, and for how long its content waits because of it.
//!
//! A quarantine is this device's own policy: it keeps content back for a time and takes all of it in
//! afterwards. It never changes what counts: an item that another member builds on is taken in at
//! once, so that replicas come to the same whoever was held here and for how long.

use serde::{Deserialize, Serialize};

use super::Act;
use crate::limits;
use crate::time::Timestamp;

/// What a device did that its signature proves, or that only it can have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Offence {
    /// It wrote without being a member device.
    Outsider,
    /// It wrote what its role does not allow.
    NotAllowed,
    /// It sealed under an epoch outside its own view.
    WrongEpoch,
    /// It wrote two items for one place.
    Fork,
    /// An item of it does not follow the one before.
    BrokenChain,
    /// Its content does not pass the gate.
    RefusedContent,
    /// Its operation is not valid.
    RefusedOperation,
    /// Its user sent more than the limit of messages just written.
    Flood,
    /// It stated, or verified, what a conversation does not come to.
    FalseSnapshot,
}

impl std::fmt::Display for Offence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Outsider => "wrote without being a member device",
            Self::NotAllowed => "wrote what its role does not allow",
            Self::WrongEpoch => "sealed under an epoch outside its own view",
            Self::Fork => "wrote two items for one place",
            Self::BrokenChain => "broke its own chain",
            Self::RefusedContent => "sent content that was refused",
            Self::RefusedOperation => "sent operations that were refused",
            Self::Flood => "sent too many messages at once",
            Self::FalseSnapshot => "made a false snapshot",
        })
    }
}

impl Offence {
    /// The offence that an act of a device is; what others could have done in its name is none.
    pub(crate) fn of(act: &Act) -> Option<Self> {
        match act {
            Act::NotAMember => Some(Self::Outsider),
            Act::NotAllowed => Some(Self::NotAllowed),
            Act::WrongEpoch => Some(Self::WrongEpoch),
            Act::Equivocation { .. } => Some(Self::Fork),
            Act::BrokenChain { .. } => Some(Self::BrokenChain),
            Act::RefusedContent(_) => Some(Self::RefusedContent),
            Act::RefusedOperation(_) => Some(Self::RefusedOperation),
            Act::FalseSnapshot(_) => Some(Self::FalseSnapshot),
            Act::Unopenable(_)
            | Act::BadSignature
            | Act::Replayed
            | Act::RefusedInbox(_)
            | Act::RefusedVault(_)
            | Act::BadReceipt
            | Act::BadDelivery
            | Act::StoreReplaced
            | Act::RolledBack
            | Act::OtherHistory
            | Act::Contradiction
            | Act::BadStatement
            | Act::LeftOut { .. }
            | Act::Withheld
            | Act::Unanswered
            | Act::Unconfirmed
            | Act::OwnRollback => None,
        }
    }

    /// Of how many the first quarantine follows. What follows refused content may build on it.
    fn tolerated(self) -> u32 {
        match self {
            Self::RefusedContent | Self::Flood => 0,
            Self::Outsider
            | Self::NotAllowed
            | Self::WrongEpoch
            | Self::Fork
            | Self::BrokenChain
            | Self::RefusedOperation
            | Self::FalseSnapshot => limits::OFFENCES_TOLERATED,
        }
    }
}

/// A quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// Since when.
    pub since: Timestamp,
    /// When it ends by itself; `None` if somebody has to lift it.
    pub until: Option<Timestamp>,
    /// What it is for.
    pub why: Offence,
}

/// What a device has done wrong lately.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Conduct {
    /// How often each offence was committed since all was forgiven.
    pub(crate) counts: Vec<(Offence, u64)>,
    /// Offences since the last quarantine, of the last hour.
    points: u32,
    last: Timestamp,
    /// Quarantines since all was forgiven, and how many of them were for floods.
    steps: u32,
    floods: u32,
    pub(crate) quarantine: Option<Quarantine>,
}

impl Conduct {
    /// Counts an offence; gives the quarantine that follows from it.
    pub(crate) fn offend(&mut self, offence: Offence, now: Timestamp) -> Option<Quarantine> {
        self.forgive(now);
        match self.counts.iter_mut().find(|(known, _)| *known == offence) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.counts.push((offence, 1)),
        }
        self.last = now;
        if self.quarantine.is_some() {
            return None;
        }
        self.points = self.points.saturating_add(1);
        if self.points <= offence.tolerated() {
            return None;
        }
        self.points = 0;
        // A flood may be somebody in a hurry: it is delayed longer and longer, never for good.
        let duration = if offence == Offence::Flood {
            let durations = &limits::FLOOD_QUARANTINES_MS;
            durations.get(next(&mut self.floods)).or(durations.last())
        } else {
            limits::QUARANTINES_MS.get(next(&mut self.steps))
        };
        let quarantine = Quarantine {
            since: now,
            until: duration.map(|duration| now.after_ms(*duration)),
            why: offence,
        };
        self.quarantine = Some(quarantine);
        Some(quarantine)
    }

    /// Forgets what is long past.
    fn forgive(&mut self, now: Timestamp) {
        let calm = now.since_ms(self.last);
        if calm > limits::OFFENCES_FORGIVEN_MS && self.quarantine.is_none() {
            *self = Self::default();
        } else if calm > limits::OFFENCES_COUNTED_MS {
            self.points = 0;
        }
    }

    /// Ends the quarantine whose time is over.
    pub(crate) fn expire(&mut self, now: Timestamp) -> bool {
        let until = self.quarantine.and_then(|quarantine| quarantine.until);
        let over = until.is_some_and(|until| until <= now);
        if over {
            self.quarantine = None;
        }
        over
    }

    /// The next limit of the user's messages follows from how often it was exceeded.
    pub(crate) fn floods(&self) -> u32 {
        self.floods
    }
}

/// The present step of a ladder; the next time it is the next one.
fn next(step: &mut u32) -> usize {
    let place = usize::try_from(*step).unwrap_or(usize::MAX);
    *step = step.saturating_add(1);
    place
}

/// How many messages of one user came lately.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    began: Timestamp,
    messages: u64,
}

impl Rate {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            began: now,
            messages: 0,
        }
    }

    /// Counts messages; `true` if there are more than so many in the present minute. It begins with
    /// the first message after the last one ended.
    pub(crate) fn exceeds(&mut self, count: u64, limit: u64, now: Timestamp) -> bool {
        if now.since_ms(self.began) >= limits::MINUTE_MS {
            *self = Self::new(now);
        }
        self.messages = self.messages.saturating_add(count);
        let over = self.messages > limit;
        if over {
            // It starts again once what is over the limit is let go.
            self.messages = 0;
        }
        over
    }

    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        now.since_ms(self.began) >= limits::MINUTE_MS
    }
}

#[cfg(test)]
mod tests;
