//! What must hold when the world is at rest.

use std::collections::BTreeSet;

use sheaf_crypto::{ConversationId, EpochId, Role};
use sheaf_replica::{Act, ConversationInfo, Event, Misbehaviour, Suspect};

use super::World;
use super::cuts::Log;

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
    all_is_synced(world)?;
    nothing_forgotten_is_held(world)?;
    nothing_is_lost_or_doubled(world)?;
    nobody_is_accused(world)?;
    every_relay_holds_everything(world)?;
    all_agree(world)?;
    the_relay_reads_nothing(world)
}

/// Whoever shows a conversation as synced can prove it; at rest everybody can.
fn all_is_synced(world: &World) -> Result<(), Failure> {
    for (number, device) in world.devices.iter().enumerate() {
        for info in device.replica.conversations() {
            if !info.synced {
                return Err(Failure(format!(
                    "device {number} does not see that all is synced: {:?}; these wait: {:?}",
                    info.peers,
                    waiting(world, &info.conversation)
                )));
            }
        }
    }
    Ok(())
}

/// What was to be forgotten is on no disk of a device that takes part, and nothing waits for it.
fn nothing_forgotten_is_held(world: &World) -> Result<(), Failure> {
    for by in &world.devices {
        for (conversation, epochs) in &by.forgotten {
            // Who was removed or demoted meanwhile may have said it in vain.
            let mut touched = world.touched.iter();
            if touched.any(|(place, _)| place == conversation) {
                continue;
            }
            for (number, device) in world.devices.iter().enumerate() {
                let info = device.replica.conversation(conversation);
                let Some(info) = info.filter(|info| info.takes_part) else {
                    continue;
                };
                // Cuts that were made at once may share a window by chance, which is said.
                if info.forgetting.as_ref().is_some_and(|waits| waits.shared) {
                    continue;
                }
                if let Some(waits) = info.forgetting {
                    let failure = format!("device {number} does not forget: {waits:?}");
                    return Err(Failure(failure));
                }
                if device.epochs().any(|epoch| epochs.contains(&epoch)) {
                    return Err(Failure(format!("device {number} holds what is forgotten")));
                }
            }
        }
    }
    Ok(())
}

/// Devices with records that wait, and what for.
fn waiting(world: &World, conversation: &ConversationId) -> Vec<(usize, Vec<String>)> {
    let devices = world.devices.iter().enumerate();
    let waiting = devices.filter_map(|(number, device)| {
        let info = device.replica.conversation(conversation)?;
        (info.parked > 0).then_some((number, info.waiting))
    });
    waiting.collect()
}

/// While the world is in motion: what a device shows as synced is on every device that takes part.
pub(super) fn nobody_shows_too_much(world: &World) -> Result<(), Failure> {
    for (number, device) in world.devices.iter().enumerate() {
        for info in device.replica.conversations().iter().filter(|i| i.synced) {
            let listed = device.messages(&info.conversation);
            for peer in &info.peers {
                let other = world
                    .devices
                    .iter()
                    .find(|d| d.replica.overview().device == Some(peer.device));
                let theirs = other.map(|other| other.messages(&info.conversation));
                let theirs = theirs.unwrap_or_default();
                if let Some(missing) = listed.iter().find(|m| !theirs.contains(m)) {
                    return Err(Failure(format!(
                        "device {number} shows a conversation as synced, and a device lacks {:?}",
                        missing.text
                    )));
                }
            }
        }
    }
    Ok(())
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
                        let away = device.replica.conversation(conversation);
                        let away = away.map(|info| info.away);
                        let failure = format!("device {number} lost {text:?}; away: {away:?}");
                        return Err(Failure(failure));
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

/// Every relay holds every item of a document again, whatever it lost.
fn every_relay_holds_everything(world: &World) -> Result<(), Failure> {
    for relay in &world.relays {
        let held: BTreeSet<&[u8]> = relay.records().map(tail).collect();
        for device in &world.devices {
            if let Some(lost) = device.envelopes().find(|kept| !held.contains(tail(kept))) {
                let place = &lost[..20.min(lost.len())];
                return Err(Failure(format!(
                    "a relay lacks an item of {device:?}: {place:?}"
                )));
            }
            let behind = device.replica.relays().into_iter();
            if let Some(info) = behind
                .into_iter()
                .find(|info| info.behind > 0 || info.pending > 0)
            {
                return Err(Failure(format!("{device:?} owes a relay: {info:?}")));
            }
        }
    }
    Ok(())
}

/// The end of a record, by which it is told from others.
fn tail(record: &[u8]) -> &[u8] {
    &record[record.len().saturating_sub(32)..]
}

/// Everybody here is honest: whoever is reported is wronged, but for a relay that lost something.
fn nobody_is_accused(world: &World) -> Result<(), Failure> {
    let lossy = |report: &Misbehaviour| match (report.by, &report.act) {
        (Suspect::Relay(relay), Act::StoreReplaced) => world.wiped.contains(&relay),
        (
            Suspect::Relay(relay),
            Act::RolledBack | Act::OtherHistory | Act::Contradiction | Act::Withheld,
        ) => world.rolled_back.contains(&relay),
        // A relay behind a partition does not answer in time, and is said not to.
        (Suspect::Relay(_), Act::Unconfirmed | Act::Unanswered) => true,
        // After weeks relays have let go of what everybody has; who reads again finds a hole.
        // What somebody who was away for long sealed to a key that is erased does not open.
        (Suspect::Topic(_), Act::LeftOut { .. } | Act::RefusedInbox(_)) => world.faults.weeks,
        _ => false,
    };
    for device in &world.devices {
        for event in &device.events {
            if let Event::Misbehaved(report) = event
                && !lossy(report)
            {
                return Err(Failure(format!("an honest party is accused: {report:?}")));
            }
            if let Event::DocumentsDiffer { segments, .. } = event {
                return Err(Failure(format!("documents differ in {segments:?}")));
            }
        }
    }
    Ok(())
}

pub(super) fn the_relay_reads_nothing(world: &World) -> Result<(), Failure> {
    let needle = b"message ";
    for record in world.relays.iter().flat_map(super::ModelRelay::records) {
        if record.windows(needle.len()).any(|window| window == needle) {
            return Err(Failure("a record holds plaintext".into()));
        }
    }
    Ok(())
}

/// What must hold when people removed each other: members agree in everything, nothing that a
/// member wrote is lost, and who is out holds none of the newest secrets.
pub(super) fn members(world: &World) -> Result<(), Failure> {
    nobody_is_accused(world)?;
    the_relay_reads_nothing(world)?;
    newcomers_see_nothing_older(world)?;
    nothing_forgotten_is_held(world)?;
    for conversation in &world.conversations {
        let inside = members_agree(world, conversation)?;
        nothing_of_members_is_lost(world, conversation, &inside)?;
        outsiders_hold_nothing_new(world, conversation, &inside)?;
        the_last_words_reach_everybody(world, conversation, &inside)?;
    }
    Ok(())
}

/// Members agree who they are and what there is; gives their devices.
fn members_agree(world: &World, conversation: &ConversationId) -> Result<Vec<usize>, Failure> {
    let views = world
        .devices
        .iter()
        .map(|d| d.replica.conversation(conversation));
    let views: Vec<_> = views.collect();
    let owner = views.first().and_then(Option::as_ref);
    let reference = owner.ok_or_else(|| Failure("the owner lost the conversation".into()))?;
    let mut inside = Vec::new();
    for (number, (device, view)) in world.devices.iter().zip(&views).enumerate() {
        let user = device.user();
        let is_in = reference
            .members
            .iter()
            .any(|(member, ..)| Some(*member) == user);
        let Some(view) = view.as_ref().filter(|_| is_in) else {
            if is_in {
                return Err(Failure(format!(
                    "member device {number} has no conversation"
                )));
            }
            continue;
        };
        inside.push(number);
        // Who lost the right to write keeps what was not sent.
        let pending = match user.map(|user| world.touched.contains(&(*conversation, user))) {
            Some(true) => 0,
            Some(false) | None => view.pending,
        };
        let overview = (pending, view.parked, view.caught_up);
        if overview != (0, 0, true) {
            return Err(Failure(format!(
                "device {number} is not settled: {overview:?}, waits for {:?}",
                view.waiting
            )));
        }
        let roles = |view: &ConversationInfo| {
            let members = view.members.iter();
            let mut roles: Vec<_> = members.map(|(u, _, role, n)| (*u, *role, *n)).collect();
            roles.sort_unstable();
            roles
        };
        if (roles(view), &view.name) != (roles(reference), &reference.name) {
            return Err(Failure(format!("device {number} sees other members")));
        }
        if !view.synced && !world.touched.iter().any(|(place, _)| place == conversation) {
            return Err(Failure(format!(
                "device {number} does not see that all is synced: {:?}; these wait: {:?}",
                view.peers,
                waiting(world, conversation)
            )));
        }
        // Readers may hold what they wrote when they were writers and nobody saw in time.
        let user = user.expect("a device of somebody");
        let mut roles = view.members.iter().map(|(u, _, role, _)| (u, role));
        let reads = roles.any(|(member, role)| *member == user && *role == Role::Reader);
        if reads && world.touched.contains(&(*conversation, user)) {
            continue;
        }
        if view.since.is_some() {
            newcomer_agrees(world, number, conversation)?;
            continue;
        }
        if view.heads != reference.heads {
            return Err(Failure(format!("device {number} has other documents")));
        }
        if device.messages(conversation) != world.devices[0].messages(conversation) {
            return Err(Failure(format!("device {number} lists other messages")));
        }
    }
    Ok(inside)
}

fn nothing_of_members_is_lost(
    world: &World,
    conversation: &ConversationId,
    inside: &[usize],
) -> Result<(), Failure> {
    for writer in inside.iter().map(|number| &world.devices[*number]) {
        let user = writer.user().expect("a device of somebody");
        if world.touched.contains(&(*conversation, user)) {
            continue;
        }
        let listed = world.devices[0].messages(conversation);
        for (place, id, text) in &writer.acknowledged {
            if place == conversation && !listed.iter().any(|m| m.message == *id) {
                return Err(Failure(format!("a member's message is lost: {text:?}")));
            }
        }
    }
    Ok(())
}

fn outsiders_hold_nothing_new(
    world: &World,
    conversation: &ConversationId,
    inside: &[usize],
) -> Result<(), Failure> {
    let view = world.devices[0].replica.conversation(conversation);
    let newest = view.map(|view| view.writing).unwrap_or_default();
    for (number, device) in world.devices.iter().enumerate() {
        if inside.contains(&number) {
            continue;
        }
        let view = device.replica.conversation(conversation);
        let held = view.map(|view| view.epochs).unwrap_or_default();
        let holds = |epoch: &EpochId| held.iter().any(|(known, held)| known == epoch && *held);
        if newest.iter().any(holds) {
            return Err(Failure(format!("device {number} is out and reads on")));
        }
    }
    Ok(())
}

/// Of what a newcomer reads he reads everything.
fn newcomer_agrees(
    world: &World,
    number: usize,
    conversation: &ConversationId,
) -> Result<(), Failure> {
    let view = |device: &super::Device| device.replica.conversation(conversation);
    let (device, first) = (&world.devices[number], &world.devices[0]);
    let reference = view(first).map(|view| view.heads).unwrap_or_default();
    let own = view(device).expect("a member has it");
    // What is left of an earlier membership is as it was when that ended.
    let log = Log::of(device, conversation);
    let user = device.user().expect("a device of somebody");
    let left = |segment: u32| log.was_here_before(&user) && !log.reads(&user, segment);
    let heads = own.heads.into_iter().filter(|(segment, _)| !left(*segment));
    for (segment, known) in heads.filter(|(segment, _)| Some(*segment) >= own.since) {
        if !reference.contains(&(segment, known)) {
            let failure = format!("newcomer {number} has another segment {segment}");
            return Err(Failure(failure));
        }
        let of = |device: &super::Device| -> Vec<_> {
            let listed = device.messages(conversation).into_iter();
            listed.filter(|m| m.segment == segment).collect()
        };
        if of(device) != of(first) {
            let failure = format!("newcomer {number} lists other messages in {segment}");
            return Err(Failure(failure));
        }
    }
    Ok(())
}

/// Whoever was added reads nothing that the one who added him had before, and holds no key of it.
fn newcomers_see_nothing_older(world: &World) -> Result<(), Failure> {
    for before in &world.before {
        for device in &world.devices {
            if device.user() != Some(before.user) {
                continue;
            }
            let listed = device.messages(&before.conversation);
            if listed.iter().any(|m| before.messages.contains(&m.message)) {
                return Err(Failure(format!("{device:?} lists what came before it")));
            }
            let info = device.replica.conversation(&before.conversation);
            let epochs = info.map(|info| info.epochs).unwrap_or_default();
            let mut held = epochs.iter().filter(|(_, held)| *held);
            if held.any(|(epoch, _)| before.epochs.contains(epoch)) {
                return Err(Failure(format!("{device:?} holds a key from before it")));
            }
        }
    }
    Ok(())
}

fn the_last_words_reach_everybody(
    world: &World,
    conversation: &ConversationId,
    inside: &[usize],
) -> Result<(), Failure> {
    for writer in inside {
        let from = world.words.get(*writer).copied().unwrap_or_default();
        let said = world.devices[*writer].acknowledged.iter().skip(from);
        for (_, id, text) in said.filter(|(place, ..)| place == conversation) {
            for reader in inside {
                let listed = world.devices[*reader].messages(conversation);
                if !listed.iter().any(|m| m.message == *id) {
                    return Err(Failure(format!("device {reader} misses {text:?}")));
                }
            }
        }
    }
    Ok(())
}
