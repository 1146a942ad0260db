//! A device that signs two histories, and what the others must come to all the same.

use std::collections::{BTreeMap, BTreeSet};

use sheaf_crypto::ConversationId;
use sheaf_replica::{Command, Event, MessageId, Suspect};

use super::Failure;
use super::check::the_relay_reads_nothing;
use super::device::Device;
use super::world::{Happening, World};
use super::{below, one_in};

impl World {
    /// A device is closed in order and opened twice. Both go on in the run that the relay confirmed,
    /// and write where the other does not see it.
    pub(super) fn fork(&mut self) {
        let others = self.devices.len() as u64 - 1;
        let device = 1 + below(&mut self.rng, others) as usize;
        if self.faults.copy {
            return self.copy(device);
        }
        self.settle();
        self.ask(device, Command::Close);
        self.settle();
        self.forked = self.devices[device].replica.overview().device;
        let place = self.devices[device].place();
        let twin = self.devices[device].twin(place, self.now);
        self.restart(device, usize::MAX);
        self.devices.push(twin);
        self.generation.push(0);
        let both = [device, self.devices.len() - 1];
        for side in both {
            self.connect(side);
        }
        self.settle();
        for side in both {
            self.disconnect(side);
        }
        for side in both {
            for _ in 0..1 + below(&mut self.rng, 4) {
                self.write(side);
            }
            let away = below(&mut self.rng, 3_000);
            self.plan(away, Happening::Connect(side));
        }
        // The other devices may learn of one side long before the other.
        if one_in(&mut self.rng, 2) {
            self.settle();
        }
    }

    /// A device's disk is copied when it has sent everything, and both go on.
    fn copy(&mut self, device: usize) {
        self.settle();
        let twin = self.devices[device].twin(u8::MAX, self.now);
        self.devices.push(twin);
        self.generation.push(0);
        let away = below(&mut self.rng, 3_000);
        self.plan(away, Happening::Connect(self.devices.len() - 1));
    }

    /// Devices that signed one history each.
    fn honest(&self) -> Vec<&Device> {
        let devices = self.devices.iter();
        let honest = devices.filter(|device| device.replica.overview().device != self.forked);
        honest.collect()
    }
}

/// Honest devices agree, nothing that they wrote is lost, and they accuse the one that forked alone.
pub(super) fn check(world: &World) -> Result<(), Failure> {
    the_relay_reads_nothing(world)?;
    nobody_else_is_accused(world)?;
    let honest = world.honest();
    for device in &honest {
        let overview = device.replica.overview();
        if overview.pending != 0 || overview.parked != 0 || !overview.caught_up {
            return Err(Failure(format!("{device:?} is not settled: {overview:?}")));
        }
    }
    let twice = named_twice(&honest);
    for conversation in &world.conversations {
        honest_agree(&honest, conversation, &twice)?;
        nothing_honest_is_lost(&honest, conversation, &twice)?;
    }
    Ok(())
}

/// Ids that two copies of a store gave at once: which of the two messages shows is chance
/// (docs/THREAT_MODEL.md). Clocks that go in step make that likelier here than it is.
fn named_twice(honest: &[&Device]) -> BTreeSet<MessageId> {
    let mut texts: BTreeMap<MessageId, BTreeSet<&str>> = BTreeMap::new();
    for (_, id, text) in honest.iter().flat_map(|device| &device.acknowledged) {
        texts.entry(*id).or_default().insert(text);
    }
    texts.retain(|_, texts| texts.len() > 1);
    texts.into_keys().collect()
}

fn nobody_else_is_accused(world: &World) -> Result<(), Failure> {
    for device in world.honest() {
        for event in &device.events {
            let Event::Misbehaved(report) = event else {
                continue;
            };
            let by = match report.by {
                Suspect::Device(by) => Some(by),
                _ => None,
            };
            // Whoever finds its store copied says so of itself.
            let own = by.is_some() && by == device.replica.overview().device;
            if by != world.forked && !own && !matches!(report.by, Suspect::Relay(_)) {
                let failure = format!("{device:?} accuses an honest party: {report:?}");
                return Err(Failure(failure));
            }
        }
    }
    Ok(())
}

fn honest_agree(
    honest: &[&Device],
    conversation: &ConversationId,
    twice: &BTreeSet<MessageId>,
) -> Result<(), Failure> {
    let Some((first, rest)) = honest.split_first() else {
        return Ok(());
    };
    let shown = |device: &Device| {
        let info = device.replica.conversation(conversation);
        let info = info.ok_or_else(|| Failure(format!("{device:?} lost a conversation")))?;
        let members = info.members.into_iter();
        let roles: BTreeSet<_> = members.map(|(user, _, role, n)| (user, role, n)).collect();
        let frozen: BTreeSet<_> = info.frozen.into_iter().collect();
        // A segment from which all was set aside is as good as one that never was.
        let listed = device.messages(conversation);
        let heads = info.heads.into_iter();
        let heads = heads.filter(|(segment, _)| listed.iter().any(|m| m.segment == *segment));
        Ok((heads.collect::<Vec<_>>(), frozen, roles))
    };
    let messages = |device: &Device| {
        let mut listed = device.messages(conversation);
        listed.retain(|m| !twice.contains(&m.message));
        listed
    };
    let reference = shown(first)?;
    let listed = messages(first);
    for device in rest {
        if messages(device) != listed {
            return Err(Failure(format!("{device:?} lists other messages")));
        }
        let other = shown(device)?;
        if other.0 != reference.0 {
            return Err(Failure(format!("{device:?} has other documents")));
        }
        if (&other.1, &other.2) != (&reference.1, &reference.2) {
            let failure = format!("{device:?} sees {other:?} and the first {reference:?}");
            return Err(Failure(failure));
        }
    }
    Ok(())
}

/// By its text: what was built on the side that fell is written again under another id, and may show
/// twice if sides change once more.
fn nothing_honest_is_lost(
    honest: &[&Device],
    conversation: &ConversationId,
    twice: &BTreeSet<MessageId>,
) -> Result<(), Failure> {
    for device in honest {
        let listed = device.messages(conversation);
        let mut texts: BTreeMap<&str, u32> = BTreeMap::new();
        for message in &listed {
            *texts.entry(message.text.as_str()).or_default() += 1;
        }
        for writer in honest {
            let written = writer.acknowledged.iter();
            let written = written.filter(|(place, ..)| place == conversation);
            for (_, id, text) in written.filter(|(_, id, _)| !twice.contains(id)) {
                let times = texts.get(text.as_str()).copied().unwrap_or(0);
                if times == 0 {
                    let other = listed.iter().find(|m| m.message == *id).map(|m| &m.text);
                    let failure =
                        format!("{device:?} lists {text:?} {times} times, under its id {other:?}");
                    return Err(Failure(failure));
                }
            }
        }
    }
    Ok(())
}
