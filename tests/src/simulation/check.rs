//! What must hold when the world is at rest.

use std::collections::BTreeSet;

use sheaf_replica::Event;

use super::World;

/// A check that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(pub String);

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) fn all(world: &World) -> Result<(), Failure> {
    nothing_waits(world)?;
    nothing_is_lost_or_doubled(world)?;
    nobody_is_accused(world)?;
    all_agree(world)?;
    the_relay_reads_nothing(world)
}

fn nothing_waits(world: &World) -> Result<(), Failure> {
    for (number, device) in world.devices.iter().enumerate() {
        let overview = device.replica.overview();
        if overview.pending != 0 || overview.parked != 0 || !overview.caught_up {
            return Err(Failure(format!(
                "device {number} is not settled: {overview:?}"
            )));
        }
    }
    Ok(())
}

fn nothing_is_lost_or_doubled(world: &World) -> Result<(), Failure> {
    for (number, device) in world.devices.iter().enumerate() {
        for conversation in &world.conversations {
            let listed = device.messages(conversation);
            let texts: BTreeSet<&str> = listed.iter().map(|m| m.text.as_str()).collect();
            if texts.len() != listed.len() {
                return Err(Failure(format!("device {number} lists a message twice")));
            }
            for writer in &world.devices {
                for (place, id, text) in &writer.acknowledged {
                    let here =
                        |m: &&sheaf_replica::MessageRecord| m.message == *id && m.text == *text;
                    if place == conversation && !listed.iter().any(|m| here(&m)) {
                        return Err(Failure(format!("device {number} lost {text:?}")));
                    }
                }
            }
        }
    }
    Ok(())
}

fn all_agree(world: &World) -> Result<(), Failure> {
    let (first, rest) = world.devices.split_first().expect("there are devices");
    for conversation in &world.conversations {
        let listed = first.messages(conversation);
        for message in &listed {
            let target = message.reply_to;
            if target.is_some_and(|target| target >= message.message) {
                return Err(Failure("a reply comes before what it answers".into()));
            }
        }
        let heads = first
            .replica
            .conversation(conversation)
            .map(|info| info.heads);
        for device in rest {
            if device.messages(conversation) != listed {
                return Err(Failure(format!(
                    "{device:?} lists other messages than the first"
                )));
            }
            let other = device
                .replica
                .conversation(conversation)
                .map(|info| info.heads);
            if other != heads {
                let failure = format!("{device:?} has other heads of {conversation:?}");
                return Err(Failure(failure));
            }
        }
    }
    Ok(())
}

/// Everybody here is honest: whoever is reported is wronged.
fn nobody_is_accused(world: &World) -> Result<(), Failure> {
    for device in &world.devices {
        for event in &device.events {
            if let Event::Misbehaved(report) = event {
                return Err(Failure(format!("an honest party is accused: {report:?}")));
            }
        }
    }
    Ok(())
}

fn the_relay_reads_nothing(world: &World) -> Result<(), Failure> {
    let needle = b"message ";
    for record in world.relay.records() {
        if record.windows(needle.len()).any(|window| window == needle) {
            return Err(Failure("a record holds plaintext".into()));
        }
    }
    Ok(())
}
